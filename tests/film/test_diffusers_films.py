"""Diffusion models of the hub make films, through the real clients: pushed by huggingface_hub, ordered by openai."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import openai
import pytest
from diffusers_hub import FilmHub, film_hub, needs_torch, tiny_repos, torch_and_ours  # noqa: F401
from PIL import Image

pytestmark = needs_torch


@pytest.fixture(scope="module")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("photo") / "photo.png"
    ramp = np.random.default_rng(0).integers(0, 255, (6, 8, 3), np.uint8)
    Image.fromarray(ramp).resize((160, 120), Image.Resampling.BICUBIC).save(path)
    return path


FILMS = [("wan21-t2v", False), ("wan22-a14b", False), ("wan22-ti2v", False), ("wan22-ti2v", True),
         ("wan21-i2v", True), ("ltx", False), ("ltx", True), ("cogvideox", False)]


@pytest.mark.parametrize(("name", "from_photo"), FILMS, ids=[f"{n}-{'i2v' if p else 't2v'}" for n, p in FILMS])
def test_a_model_of_the_hub_makes_a_film(film_hub: FilmHub, photo: Path, name: str, from_photo: bool):  # noqa: F811
    video = film_hub.made(film_hub.order(f"local/{name}", photo if from_photo else None, num_frames="8", fps="8",
                                         size="70x64"))
    assert video.status == "completed", video.error
    told = video.headwater
    each = 8 if name == "ltx" else 4
    assert told["notes"][0].startswith("64x64 pixels (asked 70x64: ")
    assert f"9 frames (asked 8: {told['notes'][1].split(': ')[1].split()[0]} needs {each}k+1)." == told["notes"][1]
    assert (told["engine"], told["generates"]) == ("diffusers", True) and told["build"].startswith("diffusers 0.")
    frames = film_hub.frames(video.id)
    assert len(frames) == 9 and frames[0].shape == (64, 64, 3) and np.stack(frames).std() > 1


def test_a_film_of_a_model_that_says_its_own_size_needs_no_other_word(film_hub: FilmHub):  # noqa: F811
    video = film_hub.made(film_hub.order("local/wan21-t2v"))
    assert (video.size, video.seconds, video.headwater["fps"]) == ("64x64", "1.125", 8)
    assert video.headwater["notes"] == []


def film(hub: FilmHub, **more: Any) -> np.ndarray:
    video = hub.made(hub.order("local/wan21-t2v", **more))
    assert video.status == "completed", video.error
    return np.stack(hub.frames(video.id))
