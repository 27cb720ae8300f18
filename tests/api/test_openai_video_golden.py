"""Requests the real OpenAI client sent, kept byte for byte: a program that was never changed still gets its film.

`python tests/api/test_openai_video_golden.py` takes them again from the client that is installed.
"""

from __future__ import annotations

import io
import json
import re
import warnings
from pathlib import Path

import httpx
import openai
import pytest

pytestmark = pytest.mark.xdist_group("openai_videos")
KEPT = Path(__file__).parent / "golden_videos"
FILM = "video_00000000000000000000000000000000"
CONTENT = b"the bytes of the film"
REPLY = {"id": FILM, "object": "video", "model": "sora-2", "status": "completed", "progress": 100, "created_at": 1,
         "completed_at": 2, "expires_at": None, "seconds": "4", "size": "320x240", "prompt": "", "error": None,
         "remixed_from_video_id": None, "deleted": True, "data": [], "has_more": False}


def photo() -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.linear_gradient("L").resize((320, 240)).convert("RGB").save(out, "PNG", optimize=True)
    return out.getvalue()


def calls(client: openai.OpenAI):
    """(name, what a program does)."""
    ours = {"model": "plain", "fps": 6, "num_frames": 6, "seed": 7}
    picture = ("photo.png", photo(), "image/png")
    yield "create", lambda: client.videos.create(prompt="the camera pans left", model="sora-2", seconds="4",
                                                 size="1280x720", input_reference=picture)
    yield "create_more", lambda: client.videos.create(prompt="zoom", input_reference=picture, extra_body=ours)
    yield "retrieve", lambda: client.videos.retrieve(FILM)
    yield "list", lambda: client.videos.list(limit=2, order="asc")
    yield "content", lambda: client.videos.download_content(FILM)
    yield "thumbnail", lambda: client.videos.download_content(FILM, variant="thumbnail")
    yield "spritesheet", lambda: client.videos.download_content(FILM, variant="spritesheet")
    yield "remix", lambda: client.videos.remix(FILM, prompt="zoom out")
    yield "edit", lambda: client.videos.edit(prompt="zoom out", video=("film.mp4", CONTENT, "video/mp4"))
    yield "extend", lambda: client.videos.extend(prompt="zoom out", seconds="4",
                                                 video=("film.mp4", CONTENT, "video/mp4"))
    yield "delete", lambda: client.videos.delete(FILM)


def sent() -> dict[str, bytes]:
    """What the installed client sends, as HTTP text; what differs each time is made plain."""
    taken: dict[str, bytes] = {}
    name = ""

    def keep(request: httpx.Request) -> httpx.Response:
        body = request.read()
        kind = request.headers.get("content-type", "")
        if found := re.search(r"boundary=(\S+)", kind):
            body, kind = body.replace(found[1].encode(), b"GOLDEN"), kind.replace(found[1], "GOLDEN")
        head = f"{request.method} {request.url.raw_path.decode()}\ncontent-type: {kind}\n\n"
        taken[name] = head.encode() + body
        return httpx.Response(200, json=REPLY)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        client = openai.OpenAI(base_url="http://hub.test/v1", api_key="any", max_retries=0,
                               http_client=httpx.Client(transport=httpx.MockTransport(keep)))
        for name, call in calls(client):  # noqa: B007  (keep reads the name)
            call()
    return taken


def test_the_client_still_sends_what_was_kept():
    taken = sent()
    for name, data in taken.items():
        assert data == (KEPT / f"{name}.http").read_bytes(), f"{name}: run this file to take it anew"
    assert {path.stem for path in KEPT.iterdir()} == set(taken)


def test_every_kept_request_is_answered_as_a_sora_program_needs(open_server):
    with httpx.Client(base_url=open_server.url, timeout=60) as wire:
        made = send(wire, "create_more", FILM, b"").json()
        while (now := wire.get(f"/v1/videos/{made['id']}").json())["status"] in ("queued", "in_progress"):
            pass
        assert now["status"] == "completed", now
        content = wire.get(f"/v1/videos/{made['id']}/content").content
        for name in ("create", "retrieve", "list", "content", "thumbnail", "spritesheet", "remix", "edit", "extend",
                     "delete"):
            answer = send(wire, name, made["id"], content)
            assert answer.status_code == 200, (name, answer.text)
            if name in ("create", "remix", "edit", "extend"):
                assert answer.json()["status"] == "queued"
                wire.delete(f"/v1/videos/{answer.json()['id']}")
        assert wire.get(f"/v1/videos/{made['id']}").status_code == 404


def send(wire: httpx.Client, name: str, film: str, content: bytes) -> httpx.Response:
    head, _, body = (KEPT / f"{name}.http").read_bytes().replace(FILM.encode(), film.encode()).partition(b"\n\n")
    body = body.replace(CONTENT, content)
    first, kind = head.decode().split("\n")
    method, path = first.split(" ")
    kind = kind.removeprefix("content-type: ")
    return wire.request(method, path, content=body, headers={"content-type": kind} if kind else {})


if __name__ == "__main__":
    KEPT.mkdir(exist_ok=True)
    for name, data in sent().items():
        (KEPT / f"{name}.http").write_bytes(data)
        print(name, len(data), json.dumps(data[:60].decode(errors="replace")))
