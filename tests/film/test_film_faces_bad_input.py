"""What cannot be made into a film is refused alike by OpenAI's API, Kling's and the page: with the fact and the next
step; and a disk that fills up under a hub at work costs one film."""

from __future__ import annotations

import base64
import io
import os
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from film_witness import decoded
from PIL import Image
from server import HubProcess
from test_film_bad_input import PICTURES, png, saved

Order = Callable[[httpx.Client, bytes, dict[str, Any]], tuple[int, str, str]]
SAVE = "Save it as JPEG|Send JPEG"
NEXT = {"nothing": SAVE, "words": SAVE, "a page": SAVE,
        "a hundred megapixels": "Make it smaller", "two gigapixels": f"{SAVE}|Make it smaller",
        "no width": SAVE, "cut short": f"{SAVE}|at least 300", "wrong bytes": f"{SAVE}|at least 300"}
"""By picture: what a person is told to do."""


def by_openai(http: httpx.Client, picture: bytes, more: dict[str, Any]) -> tuple[int, str, str]:
    answer = http.post("/v1/videos", files={"input_reference": ("p.png", picture)},
                       data={"prompt": "zoom", "model": "plain", "seconds": "0.5", "size": "160x120", **more})
    said = answer.json()
    return answer.status_code, said["error"]["message"] if said.get("error") else "", said.get("id", "")


def by_kling(http: httpx.Client, picture: bytes, more: dict[str, Any]) -> tuple[int, str, str]:
    answer = http.post("/v1/videos/image2video", json={
        "image": base64.b64encode(picture).decode(), "model": "headwater/plain", "prompt": "zoom", **more})
    said = answer.json()
    return answer.status_code, said["message"], (said.get("data") or {}).get("task_id", "")


def by_page(http: httpx.Client, picture: bytes, more: dict[str, Any]) -> tuple[int, str, str]:
    answer = http.post("/film", files={"photo": ("p.png", picture), **{name: (None, value) for name, value in {
        "prompt": "zoom", "model": "plain", "seconds": "0.5", "people": "none", **more}.items()}})
    return answer.status_code, answer.text, answer.headers.get("location", "").rpartition("/")[2]


FACES: dict[str, Order] = {"openai": by_openai, "kling": by_kling, "page": by_page}


@pytest.fixture(scope="module")
def http(open_server: HubProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=open_server.url, timeout=120) as client:
        yield client


def ended(http: httpx.Client, film: str) -> dict[str, Any]:
    until = time.monotonic() + 120
    while (said := http.get(f"/v1/videos/{film}").json())["status"] in ("queued", "in_progress"):
        assert time.monotonic() < until, said
        time.sleep(0.05)
    return said


@pytest.mark.parametrize("face", FACES)
def test_a_picture_that_is_none_is_refused_with_the_next_step_or_its_film_fails_with_it(http, open_server, face):
    for what, then in NEXT.items():
        status, message, film = FACES[face](http, PICTURES[what], {})
        if status in (200, 303):  # its head is whole: the engine finds out
            failed = ended(http, film)
            assert failed["status"] == "failed", what
            message = failed["error"]["message"]
        else:
            assert status == 400, (what, message)
        if what != "nothing" or face == "openai":  # elsewhere that is no picture at all
            assert re.search(then, message), (what, message[-600:])
        assert str(open_server.data) not in message
    assert not list((open_server.data / "tmp").glob("film-*"))


def test_sizes_and_masks_that_cannot_be_are_refused_with_what_can(http):
    good = saved("PNG")
    for size, why in (("8x8", "a side has 64"), ("9000x9000", "a side has 64"), ("-1x5", "size"), ("0x0", "size")):
        status, message, _ = by_openai(http, good, {"size": size})
        assert status == 400 and why in message, (size, message)
    mask = base64.b64encode(saved("PNG")).decode()
    other = base64.b64encode(png(10_000, 10_000)).decode()
    photo = saved("JPEG")
    for said, why in (
            ({"dynamic_masks": [{"trajectories": [{"x": 1, "y": 1}, {"x": 9, "y": 9}]}]}, "mask: must be given"),
            ({"static_mask": "AAAA"}, "cannot be read"), ({"static_mask": other}, "100 megapixels"),
            ({"dynamic_masks": [{"mask": mask, "trajectories": []}]}, "2 to 77")):
        wide = base64.b64encode(_wide(photo)).decode()
        answer = http.post("/v1/videos/image2video", json={"image": wide, "model": "headwater/photo", **said})
        assert answer.status_code == 400 and why in answer.json()["message"], answer.text


def _wide(photo: bytes) -> bytes:
    """As large as Kling takes one."""
    out = io.BytesIO()
    Image.open(io.BytesIO(photo)).resize((400, 320)).save(out, "JPEG")
    return out.getvalue()


@pytest.fixture
def small_data(tmp_path: Path) -> Iterator[Path]:
    """A file system of 16 MB for a hub's data."""
    room = tmp_path / "room"
    room.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "none", str(room)], capture_output=True).returncode:
        pytest.skip("needs the right to mount a small file system")
    yield room / "data"
    subprocess.run(["umount", "-l", str(room)], check=True)


def test_a_disk_that_fills_up_in_the_middle_costs_one_film_and_the_next_is_made(small_data, tmp_path):
    noise = tmp_path / "noise.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)).save(noise, quality=60)
    with HubProcess(small_data) as hub, httpx.Client(base_url=hub.url, timeout=60) as http:
        assert ended(http, by_openai(http, saved("PNG"), {})[2])["status"] == "completed"
        ballast = small_data.parent / "ballast"
        ballast.write_bytes(b"\0" * (_left(small_data) - 1_200_000))
        _, _, film = by_openai(http, noise.read_bytes(), {"seconds": "1", "size": "640x480", "prompt": "roll"})
        failed = ended(http, film)
        assert failed["status"] == "failed" and "no room left" in failed["error"]["message"], failed
        assert "Free space, then order it again" in failed["error"]["message"]
        assert not list((small_data / "tmp").glob("film-*"))
        ballast.unlink()
        _, _, film = by_openai(http, noise.read_bytes(), {"seconds": "0.5", "size": "640x480", "prompt": "roll"})
        assert ended(http, film)["status"] == "completed"
        assert decoded(http.get(f"/v1/videos/{film}/content").content).frames == 12


def _left(folder: Path) -> int:
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize
