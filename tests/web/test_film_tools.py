"""What a person does to a film on its pages: paint what moves, put a face right, order and edit the line, look at the
measures, find it again; and keys for programs that sign their own tokens."""

from __future__ import annotations

import io
import re
import time

import httpx
import jwt
import pytest
from PIL import Image
from real_models import face_nets, photo
from test_browser import violations
from web_world import World, picture

from headwater.core.types import Kind
from headwater.film.order import Asked, delete, order
from headwater.film.queue import go_on_all, pause_all
from headwater.hub.imports import import_source
from headwater.hub.key_pairs import actor_of_jwt
from headwater.web.pages._film_form import asked_of
from headwater.web.pages._film_terms import terms
from headwater.web.site import environment
from headwater.web.words import words

HTML = {"accept": "text/html", "accept-language": "en"}
DONE = "video_" + "f" * 32


@pytest.fixture(scope="module")
def http(world: World):
    with httpx.Client(base_url=world.url, headers=HTML, timeout=60) as client:
        yield client


@pytest.fixture
def waiting(world: World):
    """waiting("words", ...) orders films that stay in the line, which is paused. None is left behind."""
    here, account, ordered = world.app.film, world.owner.account, []
    before = {kept.id for kept in here.films.page(account.id, limit=100)[0]}
    pause_all(here, world.owner)

    def begin(*prompts: str) -> list[str]:
        for prompt in prompts:
            kept = order(here, world.owner, account,
                         Asked(prompt=prompt, model="headwater/plain", seconds=0.5, fps=6, size=(96, 72)),
                         here.stage([picture(96, 72)], limit=1_000_000))
            ordered.append(kept.id)
        return ordered[-len(prompts):]

    yield begin
    for kept in here.films.page(account.id, limit=100)[0]:
        if kept.id not in before:
            delete(here, account, kept)
    go_on_all(here, world.owner)


def prompts_in_line(text: str) -> list[str]:
    return re.findall(r'<p class="name" translate="no"><a [^>]*>([^<]*)</a>', text)


# --- what is painted


def drag(watched, way: list[tuple[float, float]]) -> None:
    over = watched.page.locator("#over")
    over.scroll_into_view_if_needed()
    box, mouse = over.bounding_box(), watched.page.mouse
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in way]
    mouse.move(*places[0])
    mouse.down()
    for place in places[1:]:
        mouse.move(*place, steps=4)
    mouse.up()


def test_water_is_painted_with_its_way_and_what_keeps_still_too(visit, world, waiting):
    waiting()
    watched = visit()
    watched.open("/film")
    watched.page.set_input_files("#photo", [{"name": "a.png", "mimeType": "image/png", "buffer": picture(320, 240)}])
    watched.page.locator("#paint summary").click()
    drag(watched, [(0.1, 0.5), (0.5, 0.6), (0.9, 0.5)])
    watched.page.locator("#plan", has_text="1 area keeps still").wait_for()  # a way is still to be drawn
    watched.page.get_by_label("Way", exact=True).check()
    drag(watched, [(0.1, 0.5), (0.5, 0.6), (0.9, 0.5)])
    watched.page.locator("#plan", has_text="1 area moves").wait_for()
    watched.page.get_by_label("Keeps still", exact=True).check()
    watched.page.get_by_label("Brush", exact=True).check()
    over = watched.page.locator("#over")
    over.focus()  # from the keyboard alone
    for key in ("Shift+ArrowUp", "Shift+ArrowUp", "ArrowRight", "+", " ", " "):
        over.press(key)
    assert re.search("Keeps still: .* of the photo", watched.page.locator("#painted").inner_text())
    watched.page.locator("#plan", has_text="1 area moves, 1 area keeps still").wait_for()
    over.press("Backspace")
    assert violations(watched) == []
    watched.page.get_by_label("Nobody who can be recognised").check()
    watched.page.get_by_role("button", name="Make the film").click()
    watched.page.wait_for_url("**/film/watch/video_*")
    watched.assert_clean()
    kept = world.app.film.films.get(watched.page.url.rpartition("/")[2])
    moving, still = kept.asked["brushes"]
    assert 2 <= len(moving["way"]) <= 77 and still["way"] == [], "the keyboard's second dab was undone, not the first"
    assert moving["way"][0] == pytest.approx([0.1, 0.5], abs=0.02)
    assert moving["way"][-1] == pytest.approx([0.9, 0.5], abs=0.02)
    water = mask_of(world, moving["mask"])
    assert water.getpixel((int(0.5 * water.width), int(0.6 * water.height))) > 200
    assert water.getpixel((int(0.5 * water.width), int(0.1 * water.height))) == 0
    assert "2 areas" in httpx.get(watched.page.url, headers=HTML).text


def mask_of(world: World, file_id: str) -> Image.Image:
    file = world.app.film.files.get(world.owner.account.id, file_id)
    return Image.open(io.BytesIO(b"".join(world.app.film.blobs.read(file.digest)))).getchannel("A")


@pytest.mark.parametrize(("wants", "why"), [
    ({"mask1": "data:image/png;base64,!"}, "mask1: is no painted area"), ({"mask2": "x" * 40}, "mask2: is no painted"),
    ({"mask1": "data:image/png;base64,aGVsbG8="}, "cannot be read"), ({"still": "data:text/html,x"}, "still: is no"),
    ({"mask1": "data:image/png;base64,", "way1": "0.5,0.5"}, "way1: a way has 2 to 77"),
    ({"mask1": "data:image/png;base64,", "way1": "1,2 nan,x"}, "way1: points are like"),
    ({"points": "[1"}, "points: are not like"), ({"points": '{"face1.nose": [9, 9]}'}, "knows no points"),
    ({"steps": "1.5"}, "steps: a whole number"), ({"badge": "loud"}, "badge"), ({"lora": "no/such 1"}, "no/such"),
    ({"lora": "a/b 1 2"}, "is not like owner/name"), ({"lora": "a/b loud"}, "lora: must be a number"),
])
def test_what_is_painted_wrong_is_named_and_nothing_of_it_stays(http, world, wants, why):
    before = sum(1 for one in world.app.hub.tmp.iterdir() if one.is_file())
    files = {name: (None, value) for name, value in wants.items()} | {"photo": ("a.png", picture(96, 72), "image/png")}
    assert why in http.post("/film/plan", files=files).text
    assert sum(1 for one in world.app.hub.tmp.iterdir() if one.is_file()) == before


def test_loras_are_told_in_one_line(world):
    said = asked_of(world.app.film, {"lora": "ann/slow 0.5, ann/fast/four/steps.safetensors high"})
    assert said.more == {"lora": [{"repo": "ann/slow", "scale": 0.5}, {
        "repo": "ann/fast", "scale": 1.0, "file": "four/steps.safetensors", "expert": "high"}]}


def test_controls_a_model_lacks_are_not_shown(visit, http):
    fields = dict(re.findall(r'data-needs="(\w+)"( hidden)?>', http.get("/film?model=headwater/plain").text))
    assert fields == {"camera": "", "steps": " hidden", "guidance": " hidden", "loras": " hidden",
                      "negative": " hidden", "last_frame": " hidden"}
    watched = visit()
    watched.open("/film")
    watched.page.set_input_files("#photo", [{"name": "a.png", "mimeType": "image/png", "buffer": picture(96, 72)}])
    watched.page.locator("#paint").wait_for(state="visible")
    watched.page.select_option("#model", "headwater/plain")
    watched.page.locator("#paint").wait_for(state="hidden")


def test_points_of_a_face_are_found_moved_and_sent_and_a_finger_paints(visit, world, waiting):
    waiting()
    made = import_source(world.app.hub, world.owner, str(face_nets()), "pypi/mediapipe")
    try:
        watched = visit(viewport={"width": 390, "height": 844}, has_touch=True)
        watched.open("/film")
        out = io.BytesIO()
        with Image.open(photo("astronaut.png")) as image:
            image.convert("RGB").resize((300, 300)).save(out, "PNG")
        watched.page.set_input_files("#photo", [{"name": "a.png", "mimeType": "image/png", "buffer": out.getvalue()}])
        watched.page.select_option("#size", "480x480")
        watched.page.locator("#face summary").click()
        nose = watched.page.locator('[data-point="face1.nose"]')
        nose.wait_for()
        at = nose.get_attribute("aria-label")
        nose.press("Shift+ArrowRight")
        nose.press("Shift+ArrowRight")
        assert nose.get_attribute("aria-label") != at and at.startswith("Face 1: Nose, ")
        chin = watched.page.locator('[data-point="face1.chin"]')
        at, box, mouse = chin.get_attribute("aria-label"), chin.bounding_box(), watched.page.mouse
        mouse.move(box["x"] + 12, box["y"] + 12)
        mouse.down()
        mouse.move(box["x"] + 12, box["y"] + 40, steps=3)
        mouse.up()
        assert chin.get_attribute("aria-label") != at
        watched.page.locator("#paint summary").tap()
        over = watched.page.locator("#over")
        over.scroll_into_view_if_needed()
        over.tap()  # by a finger
        watched.page.locator("#plan", has_text="1 area keeps still").wait_for()
        watched.page.locator("#plan", has_text="as you corrected it").wait_for()
        assert violations(watched) == []
        assert watched.page.evaluate("document.documentElement.scrollWidth") <= 390
        watched.page.get_by_label("Nobody who can be recognised").check()
        watched.page.get_by_role("button", name="Make the film").click()
        watched.page.wait_for_url("**/film/watch/video_*")
        kept = world.app.film.films.get(watched.page.url.rpartition("/")[2])
        assert set(kept.asked["points"]) == {f"face1.{name}" for name in (
            "left_eye", "right_eye", "nose", "mouth", "chin")}
    finally:
        world.app.hub.repos.delete(made.repo, by=world.owner)


# --- the line


def test_the_line_is_ordered_held_and_edited_without_scripts(http, world, waiting):
    one, two, three = waiting("first", "second", "third")

    def do(film: str, what: str) -> httpx.Response:
        return http.post(f"/film/line/{film}", data={"do": what})

    assert prompts_in_line(http.get("/film").text) == ["first", "second", "third"]
    assert do(three, "top").headers["location"].endswith("/film#being-made")
    assert do(one, "down").status_code == do(three, "up").status_code == 303
    text = http.get("/film").text
    assert prompts_in_line(text) == ["third", "second", "first"] and "Place 3 of 3" in text and "is paused" in text
    do(two, "hold")
    assert "Go on with second" in http.get("/film").text
    do(two, "go-on")
    assert "Pause second" in http.get("/film").text
    drawn = world.app.film.films.get(one).asked["seed"]
    form = dict(re.findall(r'name="(edition|seed|seconds|preset)"[^>]*value="([^"]*)"', http.get(
        f"/film/watch/{one}").text.partition('id="once-more"')[0]))
    assert form["seed"] == str(drawn) and http.post(f"/film/watch/{one}/change", data=form).status_code == 303
    assert world.app.film.films.get(one).asked["seed"] == drawn, "what was not touched stays"
    changed = {"prompt": "zoom out", "seconds": "0.4", "seed": "11", "preset": "best", "edition": "1"}
    assert http.post(f"/film/watch/{one}/change", data=changed).status_code == 303
    kept = world.app.film.films.get(one)
    assert [kept.asked[name] for name in ("prompt", "seconds", "seed", "preset")] == ["zoom out", 0.4, 11, "best"]
    late = http.post(f"/film/watch/{one}/change", data=changed)
    assert late.status_code == 409 and "Somebody changed this order" in late.text
    assert http.post(f"/film/watch/{one}/change", data={"seconds": "soon"}).status_code == 400
    assert http.post(f"/film/watch/{one}/change", data={"seed": "1" * 5_000}).status_code == 400
    do(two, "again")
    assert prompts_in_line(http.get("/film").text).count("second") == 2
    assert do(two, "finish").status_code == 409 and do(two, "dance").status_code == 400
    assert http.post(f"/film/watch/{two}/change", data={"prompt": "x", "edition": "0"}).status_code == 303
    do(two, "cancel")
    assert http.post(f"/film/watch/{two}/change", data={"prompt": "y"}).status_code == 409
    assert do("video_nothing", "top").status_code == 404


def test_the_line_is_ordered_live_and_the_keyboard_keeps_its_place(visit, waiting):
    one, two = waiting("the first of two", "the second of two")
    watched = visit(viewport={"width": 390, "height": 844}, locale="zh-CN", color_scheme="dark")
    watched.open("/film")
    button = watched.page.locator(f"#up-{two}")
    button.focus()
    button.press("Enter")
    watched.until("document.querySelector('.line .name').textContent.startsWith('the second')")
    assert watched.page.evaluate("document.activeElement.id") == f"up-{two}"
    time.sleep(2.2)  # the page asked anew meanwhile
    assert watched.page.evaluate("document.activeElement.id") == f"up-{two}"
    assert violations(watched) == []
    assert watched.page.evaluate("document.documentElement.scrollWidth") <= 390
    late = watched.page.request.post(f"{watched.url}/film/line/{one}", form={"do": "finish"},
                                     headers={"hx-request": "true"})
    assert late.status == 200 and "only one at work can be finished early" in late.text()
    watched.assert_clean()


def test_others_may_neither_steer_the_line_nor_touch_a_film(closed):
    with httpx.Client(base_url=closed.url, headers=HTML) as client:
        client.post("/sign-in", data={"name": "li", "password": "eight characters"})
        assert client.post("/film/line", data={"do": "pause"}).status_code == 403
        assert client.post(f"/film/line/{DONE}", data={"do": "cancel"}).status_code == 404
        assert "Pause the whole line" not in client.get("/film").text
        assert client.get("/film/gallery").status_code == 200


# --- what was made


def test_measures_are_taken_once_and_smoothness_stands_beside_motion(http, world):
    http.get(f"/film/watch/{DONE}")
    ends = time.monotonic() + 60
    while not (said := world.app.film.films.get(DONE).receipt.get("measures")):
        assert time.monotonic() < ends
        time.sleep(0.1)
    assert said["frames"] == 6 and said["motion"] > 0 and said["first_ssim"] is None  # the camera begins with a part
    part = http.get(f"/film/watch/{DONE}", headers={"hx-request": "true", "hx-target": "measures"}).text
    assert part.index("Motion, percent") < part.index("Smoothness beside it") and "hx-trigger" not in part
    assert "not measured" in part and "<html" not in part


def test_films_are_found_in_the_gallery_and_an_empty_one_says_what_to_do(http):
    assert DONE in http.get("/film/gallery").text
    assert DONE in http.get("/film/gallery?q=RIVER%20closer&model=headwater/plain").text
    assert "No film is like that" in http.get("/film/gallery?q=glacier").text
    assert "The film needs more memory." in http.get("/film/gallery?state=failed").text
    assert DONE in http.get("/film/gallery?state=bogus").text
    assert http.get("/film/gallery?after=video_nothing").status_code == 404


def test_a_film_goes_on_where_it_ended(http, world, waiting):
    waiting()
    answer = http.post(f"/film/watch/{DONE}/extend", data={"prompt": "zoom out", "seconds": "0.5"})
    kept = world.app.film.films.get(answer.headers["location"].rpartition("/")[2])
    assert kept.asked["extends"]["film"] == DONE and kept.asked["prompt"] == "zoom out"
    assert f'href="/film/watch/{DONE}"' in http.get(f"/film/watch/{kept.id}").text
    assert http.post(f"/film/watch/{kept.id}/extend", data={"prompt": "more"}).status_code == 409


def test_licences_are_those_of_the_model_and_of_all_it_comes_from(world):
    hub = world.app.hub
    rill = hub.repos.find(Kind.MODEL, "reader", "rill")
    said = terms(hub, world.app.trace, world.owner, rill.full_name, rill.head)
    assert [(one.model, one.licence, one.by) for one in said.models] == [
        ("reader/rill", "gemma", "itself"), ("reader/headspring", "gemma", "card")]
    assert said.read and [(duty.title, duty.checked) for duty in said.duties.duties] == [("Gemma Terms of Use", False)]
    brooklet = hub.repos.find(Kind.MODEL, "reader", "brooklet")  # its card names nobody
    assert terms(hub, world.app.trace, world.owner, brooklet.full_name, brooklet.head).models[0].licence == "mit"
    bare = hub.repos.find(Kind.MODEL, "reader", "bare")
    found = terms(hub, world.app.trace, world.owner, bare.full_name, bare.head)
    assert not found.read and found.duties.unknown == ("reader/bare",)
    assert terms(hub, world.app.trace, world.owner, "", "").models == ()


def test_what_licences_ask_is_said_in_the_visitors_language(world, http):
    rill = world.app.hub.repos.find(Kind.MODEL, "reader", "rill")
    said = terms(world.app.hub, world.app.trace, world.owner, rill.full_name, rill.head)
    panel = {name: str(environment(name).get_template("parts/film_bits.html").make_module().terms(said))
             for name in ("en", "zh_Hans")}
    assert "Pass a copy of the licence on." in panel["en"]
    assert "Pass a copy of the licence on." not in panel["zh_Hans"] and "Gemma Terms of Use" in panel["zh_Hans"]
    for ask in said.duties.duties[0].asks:
        assert words("zh_Hans").gettext(ask.template) != ask.template
    card = http.get("/reader/brooklet", headers={"accept-language": "zh"}).text
    conflict = re.search(r'<p class="note warn small"><b>[^<]*</b> ([^<]*)</p>', card)[1]
    assert "Gemma Terms of Use" in conflict and "The card says" not in conflict


def test_a_film_models_page_leads_to_the_form_with_the_model_chosen(http, world):
    made = import_source(world.app.hub, world.owner, str(face_nets()), "reader/nets")
    try:
        at = made.repo.head
        assert 'href="/film?model=reader%2Fnets"' in http.get("/reader/nets").text
        exact = f"reader/nets@{at}"
        assert f'href="/film?model={exact.replace("/", "%2F").replace("@", "%40")}"' in http.get(
            f"/reader/nets/tree/{at}").text
        for name in ("reader/nets", exact):
            assert re.search(f'<option value="{name}"[^>]* selected', http.get("/film", params={"model": name}).text)
        use = re.sub(r"<[^>]+>", "", http.get("/reader/nets/use").text)
        assert "Make a film with it" in use and "headwater film photo.jpg" in use and "--model reader/nets" in use
        assert "/film?model=" not in http.get("/reader/brook-markov").text
        assert "Make a film with it" not in http.get("/reader/brook-markov/use").text
    finally:
        world.app.hub.repos.delete(made.repo, by=world.owner)


def test_a_model_that_cannot_film_here_says_what_to_install(http, world, monkeypatch):
    made = import_source(world.app.hub, world.owner, "brook", "reader/brooks")
    monkeypatch.setattr(world.app.film.engines["diffusers"], "available", lambda: "torch not installed")
    try:
        assert 'href="/film?model=reader%2Fbrooks"' in http.get("/reader/brooks").text
        page = http.get("/film?model=reader/brooks").text
        assert re.search('<option value="reader/brooks"[^>]* selected', page)
        assert "diffusers cannot run here: torch not installed" in page
        assert "reader/brooks" not in http.get("/film").text
    finally:
        world.app.hub.repos.delete(made.repo, by=world.owner)


def test_what_makes_a_film_is_said_in_words(http, world):
    page = http.get("/film").text
    assert ">Photo in motion, built in</option>" in page
    assert ">Camera over the photo, built in</option>" in page and "what is built in" not in page
    zh = http.get("/film", headers={"accept-language": "zh"}).text
    assert ">内置：镜头在照片上移动</option>" in zh
    assert "Camera over the photo, built in" in http.get(f"/film/watch/{DONE}").text
    assert ">Camera over the photo, built in</option>" in http.get("/film/gallery").text


# --- keys


def test_a_key_pair_is_shown_once_signs_tokens_and_is_revoked(http, world):
    made = http.post("/settings/tokens/pair", data={"name": "script", "days": "30"})
    assert made.headers["cache-control"] == "no-store"
    access, secret = (re.search(f"{name}=([0-9a-f]{{64}})", made.text)[1] for name in ("ACCESS_KEY", "SECRET_KEY"))
    token = jwt.encode({"iss": access, "exp": int(time.time()) + 600}, secret, algorithm="HS256")
    assert actor_of_jwt(world.app.hub, token).account.name == "reader"
    text = http.get("/settings/tokens").text
    assert secret not in text and "Revoke key pair script" in text
    assert http.post("/settings/tokens/pair", data={"name": ""}).status_code == 400
    http.post("/settings/tokens/revoke", data={"name": "key pair script"})
    assert "key pair script" not in http.get("/settings/tokens").text
