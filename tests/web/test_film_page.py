"""Films in the browser and over HTTP: a photo is dropped and its film plays; a copy of a film is recognised."""

from __future__ import annotations

import io
import re
import warnings

import av
import httpx
import pytest
from PIL import Image
from test_browser import MISSING, violations
from web_world import World, picture

HTML = {"accept": "text/html", "accept-language": "en"}
DONE = "video_" + "f" * 32


@pytest.fixture(scope="module")
def http(world: World):
    with httpx.Client(base_url=world.url, headers=HTML, timeout=30) as client:
        yield client


def rows(world: World, action: str) -> list:
    return [row for row in world.app.hub.accounts.audit(limit=100) if row.action == action]


def drop(watched, data: bytes, name: str = "river.png", kind: str = "image/png") -> None:
    """As a hand drops a file, which Playwright has no verb for."""
    handle = watched.page.evaluate_handle(
        """([bytes, name, type]) => {
            const held = new DataTransfer();
            held.items.add(new File([new Uint8Array(bytes)], name, {type}));
            return held;
        }""", [list(data), name, kind])
    watched.page.dispatch_event("#drop", "drop", {"dataTransfer": handle})


def test_a_photo_is_dropped_and_its_film_plays(visit, world):
    watched = visit()
    watched.open("/film")
    drop(watched, picture(320, 240))
    watched.page.locator("#look").wait_for(state="visible")
    watched.page.fill("#prompt", "the camera pans left")
    watched.page.select_option("#model", "headwater/plain")
    watched.page.fill("#seconds", "1")
    watched.page.select_option("#size", "480x480")
    watched.page.locator("#plan", has_text="480×480, 24 frames").wait_for()
    assert "generates nothing new" in watched.page.locator("#plan").inner_text()
    watched.page.get_by_role("button", name="Make the film").click()
    assert watched.page.url.endswith("/film"), "the browser asks who is in the photo first"
    watched.page.get_by_label("Nobody who can be recognised").check()
    assert violations(watched) == []
    watched.page.get_by_role("button", name="Make the film").click()
    watched.page.wait_for_url("**/film/watch/video_*")
    watched.page.locator("video").wait_for(timeout=40_000)
    watched.until("document.querySelector('video').readyState >= 2")
    watched.page.evaluate("document.querySelector('video').play()")
    watched.until("document.querySelector('video').currentTime > 0.1")
    assert watched.page.locator("video").evaluate("one => [one.videoWidth, one.videoHeight]") == [480, 480]
    watched.page.get_by_text("whole, signed here").wait_for()
    assert violations(watched) == []
    watched.errors = [said for said in watched.errors if said not in MISSING]  # a preview that went as it was asked for
    watched.assert_clean()
    consent = rows(world, "film.consent")[0]
    assert consent.subject == f"film/{watched.page.url.rpartition('/')[2]}"
    assert consent.detail["said"] == "no people can be recognised"


def test_a_photo_is_pasted_and_left_out_again(visit):
    watched = visit()
    watched.open("/film")
    watched.page.evaluate("""(bytes) => {
        const held = new DataTransfer();
        held.items.add(new File([new Uint8Array(bytes)], "clip.png", {type: "image/png"}));
        document.dispatchEvent(new ClipboardEvent("paste", {clipboardData: held, bubbles: true}));
    }""", list(picture(64, 48)))
    watched.page.locator("#plan", has_text="720×540").wait_for()
    watched.page.get_by_role("button", name="Leave it out").click()
    assert watched.page.evaluate("document.getElementById('photo').files.length") == 0
    assert watched.page.locator("#people").is_hidden()


def test_what_cannot_be_made_is_said_before_it_is_ordered(visit):
    watched = visit()
    watched.open("/film")
    watched.page.fill("#prompt", "a city in the rain")
    watched.page.locator("#plan", has_text="needs a photo").wait_for()


def form(**said: str) -> dict[str, tuple]:
    return {name: (None, value) for name, value in said.items()} | {"photo": ("a.png", picture(320, 240), "image/png")}


def test_the_form_works_without_scripts_and_asks_about_people(http, world):
    before = len(rows(world, "film.consent"))
    wants = {"prompt": "zoom in", "seconds": "0.5", "fps": "12", "size": "480x480", "model": "headwater/plain"}
    refused = http.post("/film", files=form(**wants))
    assert refused.status_code == 400 and "whether people can be recognised" in refused.text
    assert 'value="0.5"' in refused.text, "what was typed is kept"
    made = http.post("/film", files=form(**wants, people="agreed"))
    assert made.status_code == 303
    watch = made.headers["location"]
    assert "video_" in watch and http.get(watch).status_code == 200
    assert len(rows(world, "film.consent")) == before + 1


@pytest.mark.parametrize(("wants", "why"), [
    ({"seconds": "soon"}, "seconds: must be a number"), ({"size": "bigxbig"}, "is not like 1280x720"),
    ({"seed": "-1"}, "whole number"), ({"axis": "sideways"}, "camera"), ({"model": "no/such"}, "no/such"),
    ({"seconds": "1e9"}, "seconds"), ({"preset": "<script>"}, "preset"),
])
def test_a_wrong_field_is_named_on_the_page(http, wants, why):
    for path in ("/film", "/film/plan"):
        answer = http.post(path, files=form(people="none", **wants))
        assert why in answer.text and "<script>" not in answer.text.replace('<script src="', "")
        assert answer.status_code in ((200,) if path == "/film/plan" else (400, 404))


def test_a_photo_that_is_none_and_a_form_that_is_none_are_refused(http):
    answer = http.post("/film", files={"people": (None, "none"), "photo": ("a.png", b"nothing", "image/png")})
    assert answer.status_code == 400 and "The photo cannot be read" in answer.text
    assert http.post("/film", data={"prompt": "x"}).status_code == 400
    broken = http.post("/film", content=b"--x\r\nno", headers={"content-type": "multipart/form-data; boundary=x"})
    assert broken.status_code == 400
    assert http.post("/film", content=b"", headers={"content-type": "multipart/form-data"}).status_code == 400


def test_a_photo_too_large_is_refused_while_it_arrives(http):
    def endless():
        yield b'--x\r\nContent-Disposition: form-data; name="photo"; filename="a"\r\n\r\n'
        for _ in range(30):
            yield b"\0" * 1_000_000

    answer = http.post("/film", content=endless(), headers={"content-type": "multipart/form-data; boundary=x"})
    assert answer.status_code == 413


def test_the_page_of_a_film_tells_what_made_it(http):
    text = http.get(f"/film/watch/{DONE}").text
    for told in ("headwater/plain", "(Pillow ", "zoom +4", ">7<", "96 × 72", "whole, signed here", "Made of",
                 "a photo set in motion; nothing was generated", "A note to read.", "Apache-2.0"):
        assert told in text, told
    assert "The film needs more memory." in http.get(f"/film/watch/video_{'e' * 32}").text
    assert "given up" in http.get(f"/film/watch/video_{'d' * 32}").text
    assert http.get("/film/watch/video_nothing").status_code == 404


def test_a_film_is_made_again_and_deleted(http, world):
    answer = http.post(f"/film/watch/{DONE}/again", data={"prompt": "zoom out", "seed": "same"})
    film = answer.headers["location"].rpartition("/")[2]
    kept = world.app.film.films.get(film)
    assert (kept.asked["seed"], kept.asked["prompt"], kept.remixed_from) == (7, "zoom out", DONE)
    fresh = http.post(f"/film/watch/{DONE}/again").headers["location"].rpartition("/")[2]
    assert world.app.film.films.get(fresh).asked["seed"] != 7
    for one in (film, fresh):
        assert http.post(f"/film/watch/{one}/delete").headers["location"] == "/film"
        assert http.get(f"/film/watch/{one}").status_code == 404


def test_a_film_and_its_copy_are_recognised(http):
    data = http.get(f"/v1/videos/{DONE}/content").content
    found = http.post("/film/verify", files={"film": ("a.mp4", data, "video/mp4")}).text
    assert "It is this film of yours" in found and "whole, signed here" in found and "The river comes closer" in found
    touched = bytearray(data)
    touched[-50] ^= 1
    assert "The file was changed" in http.post("/film/verify", files={"film": ("a.mp4", bytes(touched))}).text
    copy = http.post("/film/verify", files={"film": ("a.mp4", remuxed(data))}).text
    assert "It looks like a copy of this film of yours" in copy and "The file says nothing" in copy


def test_what_is_no_video_is_refused_by_name(http):
    assert http.post("/film/verify", files={"film": ("a.txt", b"words")}).status_code == 400
    assert "Choose a video first" in http.post("/film/verify", files={"other": (None, "x")}).text


def test_the_queue_alone_is_sent_to_the_script_that_asks(http):
    part = http.get("/film", headers={"hx-request": "true"}).text
    assert "<html" not in part and 'id="queue"' in part and "The film needs more memory." in part
    screen = http.get(f"/film/watch/{DONE}", headers={"hx-request": "true"}).text
    assert screen.lstrip().startswith('<div id="screen"') and not re.search("hx-trigger", screen)


def remuxed(data: bytes) -> bytes:
    """Copied into a new container, which loses the credential."""
    out = io.BytesIO()
    with warnings.catch_warnings(), av.open(io.BytesIO(data)) as read, av.open(out, "w", format="mp4") as write:
        source = read.streams.video[0]
        target = write.add_stream_from_template(source)
        for packet in read.demux(source):
            if packet.dts is not None:
                packet.stream = target
                write.mux(packet)
    return out.getvalue()


def test_the_poster_is_a_picture(http):
    data = http.get(f"/v1/videos/{DONE}/content?variant=thumbnail").content
    assert Image.open(io.BytesIO(data)).size[0] > 0
