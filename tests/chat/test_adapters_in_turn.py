"""What a worker keeps of prompts read with one adapter never reaches an answer with another, nor one without."""

import asyncio
import itertools
import random

import pytest
from chat_made import asking, chat_over
from llama_made import llama_gguf, lora_gguf

from headwater.chat.complete import complete
from headwater.chat.made import Made
from headwater.core.types import ANYONE

pytestmark = pytest.mark.xdist_group("engines")
PROMPTS = tuple([{"role": "user", "content": text * 5}] for text in (
    "the first long prompt about rivers and seas and hills. ", "another one of letters and their neighbours. "))
KINDS = ((), (("me/one", 1.0),), (("me/two", 1.0),))


async def odds(chat, messages, adapters) -> list[float]:
    made = Made()
    request = asking("me/base+me/one+me/two" if adapters is None else "me/base", messages=tuple(messages),
                     adapters=adapters or (), temperature=0.0, max_tokens=4, logprobs=0)
    async for event in complete(chat, ANYONE, request):
        made.add(event)
    return [token["logprob"] for token in made.logprobs]


def test_one_slot_that_answers_with_each_adapter_in_turn_never_mixes_them(tmp_path):
    for name, make in (("base", llama_gguf), ("one", lora_gguf), ("two", lora_gguf)):
        (tmp_path / name).mkdir()
        if name == "base":
            make(tmp_path / name / "tiny.gguf")
        else:
            make(tmp_path / name / "lora.gguf", seed=name)

    async def run():
        async with chat_over({f"me/{name}": tmp_path / name for name in ("base", "one", "two")}, worker_slots=1,
                             workers_max=1) as (chat, _):
            await odds(chat, PROMPTS[0], None)  # one worker with both
            first = {}
            for (n, prompt), kind in itertools.product(enumerate(PROMPTS), KINDS):
                await odds(chat, [{"role": "user", "content": f"z{n}{len(first)}"}], (("me/one", 0.3),))
                first[n, kind] = await odds(chat, prompt, kind)
            assert len({tuple(said) for said in first.values()}) == 6
            for n, kind in random.Random(5).choices(list(first), k=60):
                assert await odds(chat, PROMPTS[n], kind) == pytest.approx(first[n, kind], abs=0.01), (n, kind)
            assert len(chat.workers.loaded()) == 1

    asyncio.run(run())
