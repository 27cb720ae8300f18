"""Two films side by side in the browser, without their names until one has said which is better."""

from __future__ import annotations

import io
from pathlib import Path

import av
import httpx
import numpy as np
import pytest
from PIL import Image, ImageDraw
from test_browser import violations
from web_world import World

from headwater.core.types import KeptFilm
from headwater.film.encode import encode
from headwater.film.order import delete, keep_file
from headwater.hub.accounts import owner_actor

HTML = {"accept": "text/html", "accept-language": "en"}
MADE = {"kind": "t2v", "revision": "", "prompt": "A boat drifts by", "negative": "", "seconds": 1.0, "fps": 12,
        "width": 320, "height": 180, "seed": 7, "steps": None, "guidance": None, "preset": "normal", "camera": {},
        "more": {}, "notes": []}


def clip(path: Path, colour: tuple[int, int, int]) -> bytes:
    def frames():
        for t in range(12):
            image = Image.new("RGB", (320, 180), "#cfe3ee")
            draw = ImageDraw.Draw(image)
            draw.rectangle((0, 120, 320, 180), fill="#3c7ea6")
            draw.polygon([(20 + 15 * t, 110), (100 + 15 * t, 110), (85 + 15 * t, 130), (35 + 15 * t, 130)], fill=colour)
            yield np.asarray(image)

    encode(frames(), path, fps=12)
    return path.read_bytes()


@pytest.fixture
def films(world: World, tmp_path: Path):
    """Two films of one prompt by two models, and a third of other words; gone afterwards."""
    here, owner = world.app.film, owner_actor(world.app.hub)
    kept = []
    for name, model, prompt, colour in (("1", "reader/wan-small", "A boat drifts by", (170, 60, 40)),
                                        ("2", "reader/ltx-small", "A boat drifts by", (240, 200, 60)),
                                        ("3", "reader/ltx-small", "Something else", (90, 60, 150))):
        data = clip(tmp_path / f"{name}.mp4", colour)
        video = keep_file(here, owner.account, here.stage([data], limit=10**7), f"{name}.mp4", "video/mp4")
        out = io.BytesIO()
        with av.open(io.BytesIO(data)) as box:
            next(box.decode(video=0)).to_image().save(out, "WEBP")
        poster = keep_file(here, owner.account, here.stage([out.getvalue()], limit=10**7), "a.webp", "image/webp")
        film = KeptFilm(f"video_{name * 32}", owner.account.id, None, "done",
                        MADE | {"engine": "diffusers", "model": model, "prompt": prompt}, None, video.id, poster.id,
                        None, {"build": "d 1", "seconds": 1.0, "work": 1, "frames": 12, "fps": 12, "generates": True,
                         "elsewhere": {"server": "far.example", "model": "wan-14b", "revision": "not known"}},
                        None, None, None, None, 1.8e9 + int(name), 1.8e9)
        here.films.add(film)
        kept.append(film)
    yield kept
    for film in kept:
        delete(here, owner.account, film)
    with here.votes._db.write() as connection:
        connection.exec_driver_sql("DELETE FROM film_votes")


def test_a_person_looks_at_two_films_answers_by_a_key_and_then_reads_the_names(visit, films):
    watched = visit()
    watched.open("/film/compare")
    page = watched.page
    watched.until("[...document.querySelectorAll('#versus video')].every(one => one.readyState >= 2)")
    assert page.locator("#versus h2, #prompt").inner_text() == "A boat drifts by"
    assert not {"reader/wan-small", "reader/ltx-small"} & set(page.locator("main").inner_text().split())
    assert violations(watched) == []
    watched.until("[...document.querySelectorAll('#versus video')].every(one => !one.paused)")
    page.keyboard.press(" ")
    watched.until("[...document.querySelectorAll('#versus video')].every(one => one.paused)")
    left = page.locator("#versus video").first.get_attribute("src").split("/")[3]
    page.keyboard.press("1")
    page.locator("#next").wait_for()
    names = page.locator("#versus figcaption a").all_inner_texts()
    assert sorted(names) == ["reader/ltx-small", "reader/wan-small"]
    assert (names[0] == "reader/wan-small") == (left == films[0].id)
    assert page.locator("figure.preferred").count() == 1
    assert page.locator("#versus video").first.get_attribute("src").split("/")[3] == left, "sides stay as seen"
    assert "not measured (1 of 10)" in page.locator("table").first.inner_text()
    assert violations(watched) == []
    page.locator("#next").click()
    page.get_by_text("No pair to look at").wait_for()
    watched.assert_clean()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_page_fits_a_phone_and_speaks_chinese(visit, films, theme):
    watched = visit(viewport={"width": 390, "height": 844}, locale="zh-CN", color_scheme=theme, reduced_motion="reduce")
    watched.open("/film/compare?a=video_" + "1" * 32 + "&b=video_" + "3" * 32)
    assert "哪部影片更好" in watched.page.title()
    assert not watched.page.evaluate("document.documentElement.scrollWidth > innerWidth")
    assert watched.page.locator("#versus video").first.evaluate("one => one.paused"), "less motion is wanted"
    assert violations(watched) == []
    watched.assert_clean()


def test_the_form_works_without_scripts_and_votes_once(world, films):
    with httpx.Client(base_url=world.url, headers=HTML, timeout=30) as http:
        said = {"a": films[1].id, "b": films[0].id, "seed": "5"}
        assert http.post("/film/compare", data=said | {"said": "worst"}).status_code == 400
        answer = http.post("/film/compare", data=said | {"said": "tie"})
        assert answer.status_code == 303
        after = http.get(answer.headers["location"]).text
        assert "You found them alike." in after and "reader/wan-small" in after
        assert http.post("/film/compare", data=said | {"said": "bad"}).status_code == 409
        for wrong in ("a=x&b=y", f"a={films[0].id}&b={films[0].id}", f"a={films[0].id}"):
            assert http.get(f"/film/compare?{wrong}").status_code in (400, 404)
        page = http.get(f"/film/watch/{films[0].id}").text
        assert "far.example · wan-14b" in page and "its revision is not known" in page
        assert "Choose two films" in http.get(f"/film/compare?a={films[0].id}&b={films[2].id}&seed=-1").text


def test_a_program_asks_for_a_pair_and_votes(world, films):
    with httpx.Client(base_url=world.url, timeout=30) as http:
        pair = http.get("/api/headwater/film-votes/pair").json()
        assert {pair["left"].split("/")[3], pair["right"].split("/")[3]} == {pair["a"], pair["b"]}
        assert http.get(pair["left"]).headers["content-type"] == "video/mp4"
        vote = {name: pair[name] for name in ("a", "b", "seed")} | {"said": "right"}
        assert http.post("/api/headwater/film-votes", json=vote | {"said": "both"}).status_code == 400
        told = http.post("/api/headwater/film-votes", json=vote)
        assert told.status_code == 201
        better = told.json()["right"]
        results = http.get("/api/headwater/film-votes", params={"everyone": True}).json()
        assert [one["won"] for one in results["models"] if one["model"] == better] == [1]
        assert results["pairs"][0]["share"] is None and results["measured_from"] == 10
        assert http.post("/api/headwater/film-votes", json=vote).status_code == 409
        assert http.get("/api/headwater/film-votes/pair").status_code == 404
        assert http.get("/api/headwater/film-votes/pair", params={"a": "x", "b": "y"}).status_code == 404


def test_a_stranger_is_asked_to_sign_in_and_only_administrators_see_all_votes(team_server):
    with team_server.client() as http:
        assert http.get("/api/headwater/film-votes").status_code == 401
    with team_server.client("alice") as http:
        assert http.get("/api/headwater/film-votes", params={"everyone": True}).status_code == 403
        assert http.get("/api/headwater/film-votes").json()["votes"] == 0
