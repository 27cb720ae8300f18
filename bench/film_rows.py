"""Films: seconds of work for a second of film, how soon a cancelled film frees its worker, and what it costs to have a
film made by another hub. The film's own length and a plain loop of Pillow and PyAV are what it is set beside."""

from __future__ import annotations

import functools
import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ground
import httpx

SECONDS, ROUNDS = 2.0, 3
SIZE = (640, 480)


def rows() -> Iterator[ground.Row]:
    with ground.folder() as folder, ground.hub(folder / "hub") as url, httpx.Client(base_url=url, timeout=120) as http:
        data = _photo()
        for engine in ("plain", "photo"):
            made = tuple(_make(http, data, f"headwater/{engine}") for _ in range(ROUNDS))
            yield ground.Row(f"a film of {SECONDS:g} s, {SIZE[0]}x{SIZE[1]}, by headwater/{engine}, ordered to signed",
                             "the film's own length", made, (SECONDS,) * ROUNDS, "< 10",
                             note="without face models" if engine == "photo" else "")
        ours, theirs = ground.in_turns(lambda: _make(http, data, "headwater/plain"),
                                       functools.partial(_by_hand, data, folder), ROUNDS)
        yield ground.Row("the same by headwater/plain", "a script of Pillow and PyAV in one process", ours, theirs, "",
                         note="a process of its own, credential, poster, sheet, mark and records are what it adds")
        freed = tuple(_cancelled(http, data) for _ in range(ROUNDS))
        yield ground.Row("from cancel to the next film's first step", "one second", freed, (1.0,) * ROUNDS, "< 3",
                         note="a film of 30 s is given up in the middle")
        yield _elsewhere(folder, url, http, data)


def _elsewhere(folder: Path, url: str, there: httpx.Client, data: bytes) -> ground.Row:
    """The same film ordered here and made by that hub, and ordered there."""
    repo = folder / "there"
    repo.mkdir()
    repo_file = repo / "remote-videos.json"
    repo_file.write_text(json.dumps(
        {"url": f"{url}/v1", "model": "headwater/plain", "kinds": ["i2v"], "camera": True}))
    with ground.hub(folder / "here", remotes=json.dumps({f"{url}/v1": ""})) as here, \
            httpx.Client(base_url=here, timeout=120) as http:
        http.post("/api/headwater/imports", json={"source": str(repo), "as": "local/there"}).raise_for_status()
        end = time.monotonic() + 60
        while repo_file.name not in http.get("/api/models/local/there").text and time.monotonic() < end:
            time.sleep(0.05)
        ours, theirs = ground.in_turns(lambda: _make(http, data, "local/there"),
                                       lambda: _make(there, data, "headwater/plain"), ROUNDS)
    return ground.Row("a film ordered here and made by another hub", "ordered at that hub", ours, theirs, "",
                      note="brought over, read in a process of its own, encoded, signed and marked again")


def _photo() -> bytes:
    import numpy as np
    from PIL import Image

    spots = np.random.default_rng(0).integers(0, 255, (9, 12, 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(spots).resize((1600, 1200), Image.Resampling.BICUBIC).save(out, "JPEG", quality=90)
    return out.getvalue()


def _order(http: httpx.Client, data: bytes, model: str, seconds: float) -> str:
    answer = http.post("/v1/videos", files={"input_reference": ("a.jpg", data, "image/jpeg")}, data={
        "prompt": "pan left", "model": model, "seconds": str(seconds), "fps": "24",
        "size": f"{SIZE[0]}x{SIZE[1]}"})
    answer.raise_for_status()
    return answer.json()["id"]


def _until(http: httpx.Client, film: str, states: tuple[str, ...]) -> dict[str, Any]:
    end = time.monotonic() + 300
    while (told := http.get(f"/v1/videos/{film}").json())["status"] not in states:
        if time.monotonic() > end:
            raise TimeoutError(str(told))
        time.sleep(0.02)
    return told


def _make(http: httpx.Client, data: bytes, model: str) -> float:
    begin = time.perf_counter()
    told = _until(http, _order(http, data, model, SECONDS), ("completed", "failed"))
    if told["status"] == "failed":
        raise RuntimeError(str(told["error"]))
    return time.perf_counter() - begin


def _cancelled(http: httpx.Client, data: bytes) -> float:
    first, second = _order(http, data, "headwater/plain", 30), _order(http, data, "headwater/plain", 1)
    while not (told := _until(http, first, ("in_progress",)))["headwater"]["done"]:
        time.sleep(0.02)
    if told["status"] != "in_progress":
        raise RuntimeError(str(told))
    begin = time.perf_counter()
    http.post(f"/v1/videos/{first}/cancel").raise_for_status()
    _until(http, second, ("in_progress", "completed"))
    took = time.perf_counter() - begin
    _until(http, second, ("completed",))
    return took


def _by_hand(data: bytes, folder: Path) -> None:
    import av
    import numpy as np
    from PIL import Image

    picture = Image.open(io.BytesIO(data)).convert("RGB")
    with av.open(str(folder / "plain.mp4"), "w") as out:
        stream = out.add_stream("libx264", rate=24, options={"crf": "18", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        total = int(SECONDS * 24)
        for number in range(total):
            x = 256 * number / total
            frame = picture.transform(SIZE, Image.Transform.AFFINE, (2.0, 0, x, 0, 2.0, 120), Image.Resampling.BICUBIC)
            out.mux(stream.encode(av.VideoFrame.from_ndarray(np.asarray(frame), format="rgb24")))
        out.mux(stream.encode(None))
