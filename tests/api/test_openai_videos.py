"""/v1/videos by OpenAI's own client, as programs written for Sora call it."""

from __future__ import annotations

import base64
import io
import warnings

import av
import c2pa
import httpx
import numpy as np
import openai
import pytest
from openai import OpenAI
from PIL import Image

pytestmark = [pytest.mark.xdist_group("openai_videos"), pytest.mark.filterwarnings("ignore::DeprecationWarning")]


def picture(seed: int = 0, size: tuple[int, int] = (320, 240), form: str = "JPEG") -> bytes:
    spots = np.random.default_rng(seed).integers(0, 255, (9, 12, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(spots).resize(size, Image.Resampling.BICUBIC).save(out, form)
    return out.getvalue()


@pytest.fixture(scope="module")
def client(open_server):
    with warnings.catch_warnings(), OpenAI(base_url=f"{open_server.url}/v1", api_key="any", max_retries=0,
                                           timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def wire(open_server):
    with httpx.Client(base_url=open_server.url, timeout=60) as wire:
        yield wire


@pytest.fixture(scope="module")
def film(client):
    """A short film, made as a Sora program makes one."""
    return client.videos.create_and_poll(
        model="sora-2", prompt="the camera pans left", seconds="4", size="320x240",
        input_reference=("photo.jpg", picture(), "image/jpeg"), extra_body={"fps": 6, "seed": 7, "preset": "draft"})


def test_a_program_written_for_sora_gets_its_film(client, film):
    assert (film.status, film.progress, film.size, film.seconds) == ("completed", 100, "320x240", "4")
    data = client.videos.download_content(film.id).content
    with av.open(io.BytesIO(data)) as box:
        assert sum(1 for _ in box.decode(video=0)) == 24
    assert c2pa.Reader("video/mp4", io.BytesIO(data)).get_validation_state() == "Valid"
    told = film.model_extra["headwater"]
    assert told["seed"] == 7 and told["generates"] is False
    assert any("sora-2 cannot be had" in note for note in told["notes"])


def test_the_picture_and_the_sheet_of_a_film_come_as_webp(client, film):
    for variant in ("thumbnail", "spritesheet"):
        data = client.videos.download_content(film.id, variant=variant).content
        assert Image.open(io.BytesIO(data)).format == "WEBP"


def test_a_player_may_ask_for_a_part(wire, film):
    whole = wire.get(f"/v1/videos/{film.id}/content").content
    part = wire.get(f"/v1/videos/{film.id}/content", headers={"Range": "bytes=10-19"})
    assert part.status_code == 206 and part.content == whole[10:20]


def test_films_are_listed_page_by_page(client, film):
    second = client.videos.create(model="plain", prompt="zoom out", seconds="1", extra_body={"fps": "6"},
                                  input_reference=("p.png", picture(1, form="PNG"), "image/png"))
    listed = client.videos.list(limit=1)
    assert [one.id for one in listed.data] == [second.id] and listed.has_next_page()
    assert [one.id for one in listed.get_next_page().data] == [film.id]
    assert client.videos.poll(second.id).status == "completed"


def test_a_remix_follows_other_words_and_names_where_it_came_from(client, film):
    remix = client.videos.remix(film.id, prompt="zoom out")
    data = client.videos.download_content(film.id).content
    edit = client.videos.edit(prompt="tilt up", video=("film.mp4", data, "video/mp4"))
    for one, words in ((remix, "zoom out"), (edit, "tilt up")):
        done = client.videos.poll(one.id)
        assert (done.status, done.remixed_from_video_id, done.prompt) == ("completed", film.id, words)


def test_a_film_under_way_can_be_cancelled_and_the_clients_poll_ends(client, wire):
    film = client.videos.create(model="plain", prompt="zoom", seconds="30", size="1280x960",
                                input_reference=("p.jpg", picture(2), "image/jpeg"))
    answer = wire.get(f"/v1/videos/{film.id}")
    assert int(answer.headers["openai-poll-after-ms"]) > 0
    assert wire.get(f"/v1/videos/{film.id}/content").status_code == 409
    wire.post(f"/v1/videos/{film.id}/cancel").raise_for_status()
    ended = client.videos.poll(film.id)
    assert (ended.status, ended.error.code) == ("failed", "cancelled")
    assert wire.post(f"/v1/videos/{film.id}/cancel").status_code == 409


def test_a_deleted_film_is_gone(client):
    film = client.videos.create(model="plain", prompt="zoom", seconds="1",
                                input_reference=("p.jpg", picture(3), "image/jpeg"))
    assert client.videos.delete(film.id).deleted
    with pytest.raises(openai.NotFoundError):
        client.videos.retrieve(film.id)


def test_a_picture_may_come_as_a_data_url_in_json(wire):
    url = "data:image/png;base64," + base64.b64encode(picture(4, form="PNG")).decode()
    answer = wire.post("/v1/videos", json={
        "prompt": "zoom", "model": "plain", "seconds": 1, "width": 160, "height": 120, "num_frames": 6, "fps": 6,
        "flow_shift": 3, "camera": {"roll": 4}, "input_reference": {"image_url": url}})
    assert answer.status_code == 200, answer.text
    said = answer.json()
    assert said["size"] == "160x120" and said["seconds"] == "1"
    assert "flow_shift" in said["headwater"]["notes"][0]


def test_words_alone_are_refused_with_the_reason_where_no_model_follows_them(client):
    with pytest.raises(openai.BadRequestError, match="needs a"):
        client.videos.create(model="sora-2", prompt="a river in the morning")


def test_what_no_engine_does_is_refused_with_the_reason(client, film):
    with pytest.raises(openai.APIStatusError, match="cannot go on") as refused:
        data = client.videos.download_content(film.id).content
        client.videos.extend(prompt="more", seconds="4", video=("film.mp4", data, "video/mp4"))
    assert refused.value.status_code == 501
    with pytest.raises(openai.APIStatusError, match="characters"):
        client.videos.create_character(name="Ann", video=("a.mp4", b"0", "video/mp4"))


@pytest.mark.parametrize(("fields", "says"), [
    ({"seconds": "long"}, "seconds"), ({"size": "big"}, "size"), ({"seed": "x"}, "seed"), ({"fps": "1e3"}, "fps"),
    ({"camera": "{"}, "camera"), ({"camera": "[1]"}, "camera"), ({"prompt": ""}, "prompt"),
    ({"preset": "fast"}, "preset"), ({"seconds": "nan"}, "seconds"), ({"size": "99999x99999"}, "size"),
    ({"model": "nobody/none"}, "not here"),
])
def test_a_wrong_field_is_refused_by_its_name(wire, fields, says):
    answer = wire.post("/v1/videos", data={"prompt": "zoom", "model": "plain", **fields},
                       files={"input_reference": ("p.jpg", picture())})
    assert answer.status_code in (400, 404) and says in answer.json()["error"]["message"], answer.text


@pytest.mark.parametrize("data", [b"", b"not a picture", picture()[:300], b"\x89PNG\r\n\x1a\n" + b"\0" * 100])
def test_a_file_that_is_no_picture_is_refused(wire, data):
    answer = wire.post("/v1/videos", data={"prompt": "zoom", "model": "plain"},
                       files={"input_reference": ("p.jpg", data)})
    if answer.status_code == 200:  # its head is whole: the engine finds out
        film = answer.json()
        while film["status"] in ("queued", "in_progress"):
            film = wire.get(f"/v1/videos/{film['id']}").json()
        assert film["status"] == "failed" and "cannot be read" in film["error"]["message"]
    else:
        assert answer.status_code == 400 and "picture" in answer.text.replace("photo", "picture")


def test_a_hundred_megapixels_are_refused(wire):
    out = io.BytesIO()
    Image.new("1", (10_000, 10_001)).save(out, "PNG")
    answer = wire.post("/v1/videos", data={"prompt": "zoom", "model": "plain"},
                       files={"input_reference": ("p.png", out.getvalue())})
    assert answer.status_code == 400 and "100 megapixels" in answer.text
