"""Run beside torch: talk with each family's safetensors through the engine `transformers`, as a worker serves it.

Prints a JSON object: what was answered, by family. test_family_safetensors.py judges it.
"""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from conversations import FAMILIES, IN_TORCH, Family
from page import row
from talkers import QUESTIONS

from headwater.engines import _worker
from headwater.engines.transformers import ENGINE, Causal

KEY = "key-of-the-tests"


async def talk(model: Causal) -> list[dict[str, Any]]:
    from aiohttp import web
    from aiohttp.test_utils import TestClient, TestServer

    app = web.Application()
    app.router.add_post("/v1/chat/completions", _worker._Desk(model, KEY).chat)
    told = []
    async with TestClient(TestServer(app)) as client:
        for question in QUESTIONS:
            asked = {"messages": [{"role": "user", "content": question}], "max_tokens": 40, "temperature": 0}
            answer = await client.post("/v1/chat/completions", json=asked, headers={"Authorization": f"Bearer {KEY}"})
            told.append(await answer.json())
    return told


def heard(family: Family, folder: Path) -> dict[str, Any]:
    """What the engine says, what it sends, and what transformers itself would have sent."""
    files = [path.name for path in family.write_safetensors(folder).iterdir()]
    assert ENGINE.accepts(files) == "model.safetensors"
    model = Causal(folder, 1, 1024)
    messages = [[{"role": "user", "content": question}] for question in QUESTIONS]
    sent = [model._encode(one) for one in messages]
    own = None
    if model.tokenizer.chat_template:
        own = [model.tokenizer.apply_chat_template(one, add_generation_prompt=True, return_dict=False)
               for one in messages]
    return {"told": asyncio.run(talk(model)), "sent": sent, "own": own, "ends": [_end(model, one) for one in sent],
            "row": row(family, "transformers", model.speech, {
                _end(model, one)[0]: family.whole().tokens[_end(model, one)[0]].decode() for one in sent}),
            "class": type(model.model).__name__, "stops": sorted(model.ends)}


def _end(model: Causal, prompt: list[int]) -> tuple[int, float]:
    """(the token the answer ends with, its share of the probability)"""
    import torch

    logits, past = model._step(prompt, None)
    for _ in range(40):
        token = int(logits.argmax())
        if token in model.ends:
            break
        logits, past = model._step([token], past)
    return token, float(torch.softmax(logits, -1)[token])


def main() -> None:
    found = {}
    for family in FAMILIES:
        if family.name in IN_TORCH:
            with tempfile.TemporaryDirectory() as folder:
                found[family.name] = heard(family, Path(folder) / "model")
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
