"""kill -9 at any moment loses no film: every order is there afterwards and becomes the film it would have been.

HEADWATER_KILLS: how often (3 unless told; `make soak` says 100).
"""

from __future__ import annotations

import io
import os
import random
import time

import av
import c2pa
import httpx
import numpy as np
from film_made import drift
from PIL import Image
from server import HubProcess

KILLS = int(os.environ.get("HEADWATER_KILLS", "3"))
AT_ONCE = 3


def photo() -> bytes:
    out = io.BytesIO()
    Image.fromarray(next(drift(1, (240, 320)))).save(out, "PNG")
    return out.getvalue()


def order(client: httpx.Client, data: bytes, seed: int) -> str:
    answer = client.post("/v1/videos", files={"input_reference": ("a.png", data, "image/png")}, data={
        "prompt": "pan left", "model": "headwater/plain", "seconds": "1", "fps": "12", "size": "320x240",
        "seed": str(seed)})
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


def frames(client: httpx.Client, film: str) -> np.ndarray:
    data = client.get(f"/v1/videos/{film}/content").content
    assert c2pa.Reader("video/mp4", io.BytesIO(data)).get_validation_state() == "Valid"
    with av.open(io.BytesIO(data)) as box:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in box.decode(video=0)])


def test_no_film_is_lost_and_each_is_the_one_that_was_ordered(tmp_path):
    draw, data, promised = random.Random(7), photo(), []
    hub = HubProcess(tmp_path / "data", film_queue_user_max=10_000, requests_per_minute=0)
    for number in range(KILLS):
        with hub, httpx.Client(base_url=hub.url, timeout=30) as client:
            waiting = len(unfinished(client))
            for _ in range(max(0, AT_ONCE - waiting)):
                promised.append(order(client, data, seed=number))
            # One is finished in each life: a job whose process died five times is taken for the cause of it.
            end = time.monotonic() + 60
            while len(unfinished(client)) >= AT_ONCE:
                assert time.monotonic() < end, hub.tail()
                time.sleep(0.05)
            time.sleep(draw.uniform(0, 1.2))
            hub.kill()
    with hub, httpx.Client(base_url=hub.url, timeout=30) as client:
        end = time.monotonic() + 120
        while unfinished(client):
            assert time.monotonic() < end, unfinished(client)
            time.sleep(0.2)
        for film in promised:
            told = client.get(f"/v1/videos/{film}").json()
            assert told["status"] == "completed", told
        alike = frames(client, promised[0])
        for film in [promised[-1], promised[len(promised) // 2]]:
            assert np.array_equal(frames(client, film), alike)
        assert not [path for path in (tmp_path / "data" / "tmp").iterdir() if path.name.startswith("film-")]


def unfinished(client: httpx.Client) -> list[str]:
    found, after = [], None
    while True:
        page = client.get("/v1/videos", params={"limit": 100} | ({"after": after} if after else {})).json()
        found += [one["id"] for one in page["data"] if one["status"] in ("queued", "in_progress")]
        if not page["has_more"]:
            return found
        after = page["last_id"]
