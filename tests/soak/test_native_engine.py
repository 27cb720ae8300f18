"""llama.cpp compiled for this processor answers as an engine does, and the real model finds its form on it.

It is compiled here, unless SOAK_ENGINES names the folder `engines` of a hub's data where that was done before.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import aclosing

import httpx
import pytest
from chat_made import asking, chat_over
from engine_samples import free_port, smollm2, snapshot_of
from llama_made import llama_gguf, llava_gguf, lora_gguf, says
from png_made import picture

from headwater.chat import form_probe
from headwater.chat.complete import complete
from headwater.chat.types import ChatModel
from headwater.core.settings import load
from headwater.core.types import ANYONE
from headwater.engines import ENGINES, _build, _native

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]
SECTION = ("llama.cpp compiled here", "The source package of the index, compiled here, and SmolLM2 on it.")


@pytest.fixture(scope="module")
def built(tmp_path_factory, figures):
    """A data folder with the build, and the build."""
    data, begin = tmp_path_factory.mktemp("native"), time.monotonic()
    if there := os.environ.get("SOAK_ENGINES"):
        shutil.copytree(there, data / "engines", symlinks=True, ignore=shutil.ignore_patterns(".making-*"))
    made = _build.build(data, lambda *_, **__: None)
    figures["an engine compiled for this processor"] = (
        "runs", f"{made.compiler}" + ("" if there else f", made in {time.monotonic() - begin:.0f} s"))
    return data, made


def test_a_compiled_engine_answers_and_finds_the_form_of_the_real_model(built, figures):
    tmp_path, made = built
    assert _native.usable(tmp_path) == made
    smollm2(tmp_path / "model")
    settings = load(tmp_path, {"llamacpp_build": "native"}, environ={})
    snapshot = snapshot_of(tmp_path / "model", "me/m")
    model = ChatModel(snapshot.repo, None, ENGINES["llamacpp"], "SmolLM2-135M-Instruct.Q4_1.gguf")

    async def say():
        async with chat_over({"me/m": tmp_path / "model"}, data=tmp_path, llamacpp_build="native") as (chat, _):
            asked = asking("me/m", max_tokens=24, temperature=0, messages=(
                {"role": "system", "content": "You are a helpful assistant."},
                {"role": "user", "content": "What is the capital of France?"}))
            async with aclosing(complete(chat, ANYONE, asked)) as events:
                return [event async for event in events]

    events = asyncio.run(say())
    assert events[0].origin.build == made.says
    assert "Paris" in "".join(getattr(event, "text", "") for event in events)
    found = form_probe.probe(settings, replace_commit(model), snapshot, lambda *_, **__: None, smaller=True)
    by_name = {trial["form"]: trial for trial in found["trials"]}
    assert by_name["BF16"]["refused"] is None and by_name["Q8_0"]["refused"] is None
    assert "something else" in by_name["Q4_0"]["refused"], "fewer bits than the file has change what it computes"
    figures["the fastest faithful form of SmolLM2-135M Q4_1 on it"] = ("found", f"{found['form'] or 'as stored'}")


def test_a_compiled_engine_sees_takes_adapters_and_ends_where_the_wheel_does(built, tmp_path):
    data, made = built
    llama_gguf(tmp_path / "m.gguf", 512, tensors=says("house", 4))  # ends with <|done|>, which the file does not name
    llava_gguf(tmp_path / "mmproj.gguf", 512)
    lora_gguf(tmp_path / "adapter.gguf", 512, strength=8.0)
    answers = [_asked(tmp_path, native) for native in (None, data / _native.FOLDER / made.name)]
    assert answers[0] == answers[1], "the build and the wheel say the same"
    plain, adapted, seen = answers[1]
    assert plain == ("house", "stop") and adapted != plain and seen[0]


def _asked(folder, native):
    """What a worker says plainly, with the adapter, and of a picture: (text, why it ended)."""
    from headwater.chat.process import environment

    port, blue = free_port(), base64.b64encode(picture(28, 28)).decode()
    argv = [sys.executable, "-m", "headwater.engines.llamacpp", str(folder / "m.gguf"), "--port", str(port),
            "--threads", "1", "--context", "512", "--projector", str(folder / "mmproj.gguf"),
            "--adapter", str(folder / "adapter.gguf")]
    told = {"HEADWATER_WORKER_SPEECH": json.dumps({"stops": [[4, "<|done|>"]], "no_bos": True}),
            **({"HEADWATER_NATIVE_BUILD": str(native)} if native else {})}
    worker = subprocess.Popen(argv, stdin=subprocess.PIPE, env={**environment("k", 1), **told})
    shown = [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{blue}"}}]
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"Authorization": "Bearer k"}, timeout=60,
                          transport=httpx.HTTPTransport(retries=9)) as http:
            while http.get("/health").status_code != 200:
                time.sleep(0.1)
            said = []
            for content, scale in (("hi", 0.0), ("hi", 1.0), (shown, 0.0)):
                body = {"messages": [{"role": "user", "content": content}], "max_tokens": 12, "temperature": 0,
                        "lora": [{"id": 0, "scale": scale}]}
                (choice,) = http.post("/v1/chat/completions", json=body).raise_for_status().json()["choices"]
                said.append((choice["message"]["content"], choice["finish_reason"]))
            return said
    finally:
        worker.kill()
        worker.wait()
        worker.stdin.close()


def replace_commit(model: ChatModel) -> ChatModel:
    from dataclasses import replace

    from chat_made import Shelf

    return replace(model, commit=Shelf({}).commit("me/m"))
