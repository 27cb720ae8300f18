"""Every engine on the shelf, through the hub: ffmpeg decodes what it made, frame by frame as the record says; C2PA
reads who made it, and tells one flipped bit."""

from __future__ import annotations

import io
import json
from fractions import Fraction
from typing import Any

import httpx
import pytest
from diffusers_hub import FilmHub, needs_torch
from film_made import drift
from film_witness import Seen, decoded, flipped, manifest, state
from huggingface_hub import HfApi
from PIL import Image

from headwater.film.credit import ANIMATED_PHOTO, GENERATED, GENERATED_FROM_PHOTO
from headwater.film_engines import FILM_ENGINES

pytestmark = [*needs_torch, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
SHORT = {"seconds": "0.5", "fps": "12", "size": "160x120"}
ORDERS: dict[str, tuple[str, bool, dict[str, Any], str]] = {
    "plain": ("headwater/plain", True, SHORT, ANIMATED_PHOTO),
    "photo": ("headwater/photo", True, SHORT, ANIMATED_PHOTO),
    "diffusers": ("local/wan21-t2v", False, {"badge": "en"}, GENERATED),
    "remote_videos": ("local/elsewhere", True, {"seconds": "1", "fps": "12", "size": "128x96"}, GENERATED_FROM_PHOTO),
}
"""By engine: a model of it, whether it is given a photo, what else is asked, and what the credential calls it."""


@pytest.fixture(scope="module")
def orders(film_hub: FilmHub, film_server, tmp_path_factory) -> dict[str, str]:
    """A film of each engine, and one that goes on where another ended, by the engine's name."""
    api = HfApi(endpoint=film_hub.url, token="hf_whoever")
    api.create_repo("local/elsewhere", exist_ok=True)
    said = {"url": film_server.url, "model": "maker-1"}
    api.upload_file(repo_id="local/elsewhere", path_or_fileobj=json.dumps(said).encode(),
                    path_in_repo="remote-videos.json")
    photo = tmp_path_factory.mktemp("photo") / "photo.png"
    Image.fromarray(next(drift(1, (240, 320)))).save(photo)
    made = {engine: film_hub.order(model, photo if given else None, **more)
            for engine, (model, given, more, _) in ORDERS.items()}
    assert film_hub.made(made["plain"]).status == "completed"
    ended = film_hub.client().videos.download_content(made["plain"]).content
    made["plain, extended"] = film_hub.client().videos.extend(video=("film.mp4", ended), prompt="zoom in",
                                                              seconds="1").id
    return made


@pytest.fixture(scope="module", params=[*ORDERS, "plain, extended"])
def made(request: pytest.FixtureRequest, film_hub: FilmHub, orders: dict[str, str]) -> tuple[Any, bytes]:
    """(the record, the file)."""
    video = film_hub.made(orders[request.param])
    assert video.status == "completed", video.error
    assert video.headwater["engine"] == request.param.partition(",")[0]
    return video, film_hub.client().videos.download_content(video.id).content


def test_no_engine_of_the_shelf_is_left_out():
    assert set(ORDERS) == set(FILM_ENGINES.names())


def test_ffmpeg_decodes_every_frame_the_record_names(made):
    video, data = made
    fps = video.headwater["fps"]
    frames = float(video.seconds) * fps
    assert frames == pytest.approx(round(frames), abs=1e-3)
    assert decoded(data) == Seen(round(frames), *map(int, video.size.split("x")), Fraction(fps))


def test_ffmpeg_decodes_picture_and_sheet_too(made, film_hub: FilmHub):
    video, _ = made
    shown = {variant: film_hub.client().videos.download_content(video.id, variant=variant).content
             for variant in ("thumbnail", "spritesheet")}
    for data in shown.values():
        with Image.open(io.BytesIO(data)) as image:
            assert decoded(data)[:3] == (1, *image.size)
    assert decoded(shown["thumbnail"])[1:3] == tuple(map(int, video.size.split("x")))


def test_the_credential_names_model_revision_words_and_seed(made, film_server):
    video, data = made
    said, active, recipe = manifest(data)
    seen = decoded(data)
    assert said == "Valid"
    told = {"film": video.id, "model": video.model, "revision": video.headwater["revision"] or "",
            "prompt": video.prompt, "seed": video.headwater["seed"], "frames": seen.frames, "fps": seen.fps,
            "size": video.size}
    assert {name: recipe[name] for name in told} == told
    engine, extended = video.headwater["engine"], video.headwater["extends"]
    assert json.dumps(active).count(ORDERS[engine][3]) == 1
    titles = [one["title"] for one in active.get("ingredients", ())]
    assert titles == [*(["photo"] if ORDERS[engine][1] else []), *(["the film it extends"] if extended else []),
                      *([f"film made by 127.0.0.1:{film_server.port}"] if engine == "remote_videos" else [])], titles


def test_one_flipped_bit_of_the_pictures_or_their_index_is_told_by_c2pa_and_by_the_hub(made, film_hub):
    video, data = made
    touched = list(flipped(data, 40))
    assert state(data) == "Valid" and not [one for one in touched if state(one) == "Valid"]
    told = [httpx.post(f"{film_hub.url}/api/headwater/films/verify", content=one, timeout=30)
            for one in (data, *touched[:3])]
    assert told[0].json()["credential"] == "trusted" and told[0].json()["film"] == video.id
    for answer in told[1:]:
        assert answer.status_code == 400 or answer.json()["credential"] == "broken", answer.text
