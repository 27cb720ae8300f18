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
from openai.types import Video
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


def test_a_film_is_extended_by_its_id_or_as_a_file_and_says_the_length_of_both(client, wire, film):
    data = client.videos.download_content(film.id).content
    by_file = client.videos.extend(prompt="zoom out", seconds="4", video=("film.mp4", data, "video/mp4"),
                                   extra_body={"seed": 3})
    fields = {"prompt": "zoom out", "seconds": "4", "seed": "3"}
    others = [wire.post("/v1/videos/extensions", json={**fields, "video": {"id": film.id}}),
              wire.post("/v1/videos/extensions", files={name: (None, value) for name, value in
                                                        {**fields, "video[id]": film.id}.items()})]
    by_id, by_form = (Video.construct(**one.json()) for one in others)
    for one in (by_file, by_id, by_form):
        told = one.model_extra["headwater"]
        assert (one.seconds, one.size, told["extends"], told["fps"]) == ("8", "320x240", film.id, 6)
    done = client.videos.poll(by_id.id)
    with av.open(io.BytesIO(client.videos.download_content(done.id).content)) as box:
        assert sum(1 for _ in box.decode(video=0)) == 47
    for one in (by_file, by_form):
        wire.delete(f"/v1/videos/{one.id}")


def test_a_video_made_elsewhere_is_extended_and_none_is_edited(client, tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as box:
        stream = box.add_stream("libx264", rate=6)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        box.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((120, 160, 3), 90, np.uint8), format="rgb24")))
        box.mux(stream.encode(None))
    file = ("a.mp4", (tmp_path / "a.mp4").read_bytes(), "video/mp4")
    longer = client.videos.extend(prompt="zoom", seconds="4", video=file, extra_body={"model": "plain"})
    assert longer.size == "160x120" and longer.model_extra["headwater"]["extends"] is None
    with pytest.raises(openai.BadRequestError, match="extensions"):
        client.videos.edit(prompt="zoom", video=file)
    with pytest.raises(openai.BadRequestError, match="cannot be read as a video"):
        client.videos.extend(prompt="zoom", seconds="4", video=("a.mp4", b"no video", "video/mp4"))
    client.videos.delete(longer.id)


def test_sync_answers_the_film_itself_and_a_refusal_as_any_other(wire, tmp_path):
    fields = {"prompt": "zoom", "model": "plain", "num_frames": "6", "fps": "6", "width": "160", "height": "120"}
    answer = wire.post("/v1/videos/sync", data=fields, files={"input_reference": ("p.jpg", picture())})
    assert answer.status_code == 200 and answer.headers["content-type"] == "video/mp4", answer.text
    with av.open(io.BytesIO(answer.content)) as box:
        assert sum(1 for _ in box.decode(video=0)) == 6
    assert wire.get(f"/v1/videos/{answer.headers['x-video-id']}").json()["status"] == "completed"
    assert wire.post("/v1/videos/sync", data={**fields, "fps": "x"}).status_code == 400


def test_vllm_omnis_fields_are_taken_and_those_without_effect_are_named(wire):
    url = "data:image/png;base64," + base64.b64encode(picture(4, form="PNG")).decode()
    further = {"num_inference_steps": "4", "guidance_scale": "5", "guidance_scale_2": "3", "boundary_ratio": "0.9",
               "flow_shift": "3", "negative_prompt": "blur", "lora": '{"name": "me/style", "scale": 0.5}',
               "extra_params": '{"sparse": true}', "audio_reference": '{"audio_url": "https://a.example/a.wav"}',
               "generate_sound": "true"}
    asked = {"prompt": "zoom", "model": "plain", "seconds": "1", "image_reference": f'{{"image_url": "{url}"}}'}
    refused = wire.post("/v1/videos", data={**asked, **further})
    assert refused.status_code == 404 and "me/style" in refused.json()["error"]["message"], refused.text
    del further["lora"]
    answer = wire.post("/v1/videos", files={name: (None, value) for name, value in {**asked, **further}.items()})
    assert answer.status_code == 200, answer.text
    note = answer.json()["headwater"]["notes"][0]
    for name in ("steps", "guidance", "guidance_scale_2", "boundary_ratio", "flow_shift", "negative prompt", "sparse",
                 "audio_reference", "generate_sound"):
        assert name in note
    wire.delete(f"/v1/videos/{answer.json()['id']}")


@pytest.mark.parametrize(("fields", "says"), [
    ({"image_reference": "[1, 2]"}, "image_reference"), ({"image_reference": "{"}, "image_reference"),
    ({"image_reference": '{"image_url": "http://127.0.0.1/a.png"}'}, "fetches no pictures"),
    ({"extra_params": "[]"}, "extra_params"), ({"flow_shift": "much"}, "flow_shift"),
    ({"video_reference": "x" * 5_000}, "video_reference"), ({"lora": "{"}, "lora"), ({"width": "64"}, "width"),
    ({"badge": "fr"}, "badge"),
])
def test_a_wrong_further_field_is_refused_by_its_name(wire, fields, says):
    answer = wire.post("/v1/videos", data={"prompt": "zoom", "model": "plain", **fields})
    assert answer.status_code == 400 and says in answer.json()["error"]["message"], answer.text


def test_what_no_engine_does_is_refused_with_the_reason(client):
    with pytest.raises(openai.APIStatusError, match="characters") as refused:
        client.videos.create_character(name="Ann", video=("a.mp4", b"0", "video/mp4"))
    assert refused.value.status_code == 501


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


def consent(wire, film_id: str) -> dict:
    return next(row["detail"] for row in wire.get("/api/headwater/audit", params={"subject": f"film/{film_id}"}).json()
                if row["action"] == "film.consent")


def test_a_client_that_knows_no_consent_is_served_and_the_log_says_that_nobody_was_asked(wire, film):
    told = consent(wire, film.id)
    assert (told["said"], told["face"], told["address"]) == ("consent not asked", "openai", "127.0.0.1")
    assert told["program"].startswith("OpenAI/Python") and film.model_extra["headwater"]["people"] is None


def test_who_is_in_the_picture_is_said_by_a_field_of_its_own(client, wire, film):
    said = {"model": "plain", "prompt": "zoom in", "seconds": "1",
            "input_reference": ("p.png", picture(3, form="PNG"), "image/png")}
    made = client.videos.create(**said, extra_body={"people": "agreed", "fps": 6})
    assert made.model_extra["headwater"]["people"] == "agreed"
    assert not any("people" in note for note in made.model_extra["headwater"]["notes"])
    assert consent(wire, made.id)["said"] == "people can be recognised and agreed"
    with pytest.raises(openai.BadRequestError, match="none of none, agreed"):
        client.videos.create(**said, extra_body={"people": "everyone"})
    anew = wire.post(f"/v1/videos/{film.id}/remix", json={"prompt": "zoom out", "people": "none"}).json()
    assert anew["headwater"]["people"] == "none" and consent(wire, anew["id"])["after"] == film.id
