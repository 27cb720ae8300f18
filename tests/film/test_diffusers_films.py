"""Diffusion models of the hub make films, through the real clients: pushed by huggingface_hub, ordered by openai."""

from __future__ import annotations

import base64
import filecmp
import json
import re
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from diffusers_hub import FilmHub, needs_torch
from PIL import Image

pytestmark = needs_torch


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    ramp = np.random.default_rng(0).integers(0, 255, (6, 8, 3), np.uint8)
    Image.fromarray(ramp).resize((400, 320), Image.Resampling.BICUBIC).save(path)
    return path


FILMS = [("wan21-t2v", False), ("wan22-a14b", False), ("wan22-ti2v", False), ("wan22-ti2v", True),
         ("wan21-i2v", True), ("ltx", False), ("ltx", True), ("cogvideox", False), ("hunyuan15", False)]


@pytest.mark.parametrize(("name", "from_photo"), FILMS, ids=[f"{n}-{'i2v' if p else 't2v'}" for n, p in FILMS])
def test_a_model_of_the_hub_makes_a_film(film_hub: FilmHub, photo: Path, name: str, from_photo: bool):
    video = film_hub.made(film_hub.order(f"local/{name}", photo if from_photo else None, num_frames="8", fps="8",
                                         size="70x64"))
    assert video.status == "completed", video.error
    told = video.headwater
    each = 8 if name == "ltx" else 4
    assert told["notes"][0].startswith("64x64 pixels (asked 70x64: ")
    assert re.fullmatch(rf"9 frames \(asked 8: [\w. ]+ needs {each}k\+1\)\.", told["notes"][1])
    assert (told["engine"], told["generates"]) == ("diffusers", True) and told["build"].startswith("diffusers 0.")
    frames = film_hub.frames(video.id)
    assert len(frames) == 9 and frames[0].shape == (64, 64, 3) and np.stack(frames).std() > 1


def test_a_film_of_a_model_that_says_its_own_size_needs_no_other_word(film_hub: FilmHub):
    video = film_hub.made(film_hub.order("local/wan21-t2v"))
    assert (video.size, video.seconds, video.headwater["fps"]) == ("64x64", "1.125", 8)
    assert video.headwater["notes"] == []


def film(hub: FilmHub, **more: Any) -> tuple[np.ndarray, Any]:
    """Frames and record of a film of the first model, of eight pixels' worth of work unless more is asked."""
    video = hub.made(hub.order("local/wan21-t2v", **more))
    assert video.status == "completed", video.error
    return np.stack(hub.frames(video.id)), video


@pytest.fixture(scope="module")
def plain(film_hub: FilmHub) -> np.ndarray:
    return film(film_hub)[0]


def far(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


def test_what_was_pushed_is_pulled_as_it_was(film_hub: FilmHub, tiny_repos: Path, tmp_path: Path):
    from huggingface_hub import snapshot_download

    pulled = Path(snapshot_download("local/wan22-a14b", endpoint=film_hub.url, token="hf_whoever", cache_dir=tmp_path))
    names = [path.relative_to(tiny_repos / "wan22-a14b") for path in (tiny_repos / "wan22-a14b").rglob("*.*")]
    assert filecmp.cmpfiles(tiny_repos / "wan22-a14b", pulled, names, shallow=False)[0] == names


def test_the_same_order_gives_the_same_film_and_another_seed_another(film_hub: FilmHub, plain):
    assert np.array_equal(film(film_hub)[0], plain)
    assert not np.array_equal(film(film_hub, seed="8")[0], plain)


def until_steps(hub: FilmHub, film_id: str, least: int) -> None:
    """Waits till a film has so many of its steps behind it."""
    until = time.monotonic() + 60
    while time.monotonic() < until:
        video = hub.client().videos.retrieve(film_id)
        assert video.status in ("queued", "in_progress"), video
        if video.headwater["stage"] == "denoise" and video.headwater["done"] >= least:
            return
        time.sleep(0.02)
    raise AssertionError(video)


def test_a_cancelled_film_leaves_its_worker_warm_for_the_next(film_hub: FilmHub, plain):
    workers = film_hub.workers()
    assert len(workers) == 1
    running = film_hub.order("local/wan21-t2v", size="256x256", num_inference_steps="200")
    until_steps(film_hub, running, 1)
    assert httpx.get(f"{film_hub.url}/v1/videos/{running}/preview").content[:2] == b"\xff\xd8"
    assert httpx.post(f"{film_hub.url}/v1/videos/{running}/cancel").status_code == 200
    assert film_hub.made(running).error.code == "cancelled"
    assert np.array_equal(film(film_hub)[0], plain)
    assert film_hub.workers() == workers


def test_a_film_finished_early_is_whole_and_says_that_it_is_a_draft(film_hub: FilmHub):
    running = film_hub.order("local/wan21-t2v", size="256x256", num_inference_steps="200")
    until_steps(film_hub, running, 2)
    assert httpx.post(f"{film_hub.url}/api/headwater/films/{running}/finish").status_code == 200
    video = film_hub.made(running)
    assert video.status == "completed", video.error
    assert len(film_hub.frames(running)) == 9
    told = httpx.get(f"{film_hub.url}/api/headwater/films/{running}").json()
    assert 2 <= int(re.fullmatch(r"(\d+) of 200 steps", told["draft"])[1]) < 200


def test_a_lora_changes_the_film_and_a_scale_of_nothing_does_not(film_hub: FilmHub, plain):
    def lora(**more: Any) -> str:
        return json.dumps([{"repo": "local/loras", **more}])

    assert np.array_equal(film(film_hub, lora=lora(file="style.safetensors", scale=0))[0], plain)
    styled, _ = film(film_hub, lora=lora(file="style.safetensors", scale=1))
    fast, video = film(film_hub, lora=lora(file="wan21_t2v_lightx2v_4step.safetensors"))
    assert not np.array_equal(styled, plain) and not np.array_equal(fast, styled)
    assert "4 steps, as wan21_t2v_lightx2v_4step.safetensors was distilled for." in video.headwater["notes"]
    assert np.array_equal(film(film_hub)[0], plain), "the model is as it was once the LoRA is out"


def test_a_lora_is_fused_into_the_expert_it_is_for(film_hub: FilmHub):
    def made(expert: str, scale: float = 1.0) -> bytes:
        said = [{"repo": "local/loras", "file": "style.safetensors", "expert": expert, "scale": scale}]
        video = film_hub.made(film_hub.order("local/wan22-a14b", lora=json.dumps(said)))
        assert video.status == "completed", video.error
        return np.stack(film_hub.frames(video.id)).tobytes()

    assert len({made("both", 0), made("high"), made("low"), made("both")}) == 4


def test_a_gguf_of_eight_bits_makes_nearly_the_same_film(film_hub: FilmHub, plain):
    small, _ = film(film_hub, gguf=json.dumps([{"repo": "local/gguf"}]))
    assert 0 < far(small, plain) < 1


def test_int8_makes_nearly_the_same_film_or_says_what_it_lacks(film_hub: FilmHub, plain):
    video = film_hub.made(film_hub.order("local/wan21-t2v", precision="int8"))
    if video.status == "failed":
        assert "pip install torchao" in video.error.message
    else:
        assert far(np.stack(film_hub.frames(video.id)), plain) < 1


def test_a_film_between_two_pictures(film_hub: FilmHub, photo: Path):
    picture = base64.b64encode(photo.read_bytes()).decode()
    said = {"model_name": "local/wan21-flf2v", "image": picture, "image_tail": picture, "prompt": "it opens",
            "duration": "5"}
    task = httpx.post(f"{film_hub.url}/v1/videos/image2video", json=said).json()
    assert task["code"] == 0, task
    video = film_hub.made(task["data"]["task_id"])
    assert (video.status, video.seconds, len(film_hub.frames(video.id))) == ("completed", "5.125", 41), video.error


@pytest.mark.parametrize(("model", "more", "why"), [
    ("local/loras", {}, "not a model of film"),
    ("local/wan21-t2v", {"lora": '[{"repo": "local/nowhere"}]'}, "not here"),
    ("local/ltx", {"lora": '[{"repo": "local/loras", "file": "style.safetensors"}]'}, "of another model"),
    ("local/wan21-i2v", {}, "needs a photo"), ("local/wan21-t2v", {"num_inference_steps": "500"}, "steps")])
def test_what_cannot_be_made_is_refused_when_it_is_ordered(film_hub: FilmHub, model, more, why):
    import openai

    with pytest.raises(openai.APIStatusError, match=why):
        film_hub.order(model, **more)


def test_a_hub_that_starts_again_makes_the_same_film_and_encodes_no_words_twice(
        film_hub: FilmHub, plain):
    kept = film_hub.data / "film" / "kept"
    words = {path.name: path.stat().st_ino for path in (kept / "words").iterdir()}
    assert words and list((kept / "previews").iterdir())
    film_hub.kill()
    assert film_hub.start().workers() == []
    assert np.array_equal(film(film_hub)[0], plain)
    assert {path.name: path.stat().st_ino for path in (kept / "words").iterdir()} == words
