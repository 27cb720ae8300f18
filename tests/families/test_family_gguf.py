"""Each family as GGUF, end to end: a tiny model of its real architecture under its vocabulary, run by llama.cpp as the
hub runs it. What is asked is what the family's template says, and the answer ends at each of its ends."""

import asyncio
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from chat_made import asking, chat_over
from conversations import FAMILIES, Family
from page import PAGE, row
from talkers import QUESTIONS, SAYS

from headwater.chat.complete import complete
from headwater.chat.types import Finished, Piece
from headwater.core.types import Access, Actor
from headwater.weights.describe import Papers, describe
from headwater.weights.gguf import read_header
from headwater.weights.marks import from_gguf
from headwater.weights.source import FileSource
from headwater.weights.speech import Voice, audit, bos_of, choose_template
from headwater.weights.template import Case, one_bos, render, render_all

pytestmark = pytest.mark.xdist_group("engines")
READER = Actor(None, Access.READ)


@pytest.fixture(params=FAMILIES, ids=lambda family: family.name)
def family(request: pytest.FixtureRequest) -> Family:
    return request.param


def test_a_family_speaks_by_its_template_and_stops_at_each_of_its_ends(family: Family, tmp_path):
    assert heard(family, tmp_path / "model") in PAGE.read_text("utf-8"), "run: python tools/families.py"


def heard(family: Family, folder: Path) -> str:
    """The family's row, once everything it says was found to be so."""
    family.write_gguf(folder)
    prompts, speech = [wanted(family, question) for question in QUESTIONS], audit(read_voice(folder), render_all)

    async def run():
        async with chat_over({"local/model": folder}, lambda *_: speech, worker_threads=1) as (chat, _):
            told = [await talk(chat, question) for question in QUESTIONS]
            async with at_worker(chat) as worker:
                return told, await made(worker, QUESTIONS[0]), [
                    await read(worker, prompt, family.roles) for prompt in prompts]

    told, prompt, read_prompts = asyncio.run(run())
    bos = family.bos or ""
    assert prompt.removeprefix(bos) == prompts[0].removeprefix(bos)
    for answer, (numbers, last), end in zip(told, read_prompts, (family.ends[0], family.ends[-1]), strict=True):
        assert answer["text"] + answer["reasoning"] == SAYS  # no mark of any turn in it
        assert answer["reason"] == "stop" and answer["made"] == 1 + len("🌊".encode()) + 1
        assert answer["prompt"] == numbers  # BOS as often as the family wants it, marks as one token each
        assert last == end
    texts = family.whole().tokens
    return row(family, "llamacpp", speech, {last: texts[last].decode() for _, last in read_prompts})


def read_voice(folder: Path) -> Voice:
    """What the hub reads of the repo's one file."""
    path = next(folder.glob("*.gguf"))
    with FileSource(path) as source:
        header = read_header(source)
    with FileSource(path) as source:
        return Voice(gguf=header.metadata, marks=from_gguf(source),
                     template=describe(header, Papers(), header_path=path.name).chat_template)


def wanted(family: Family, question: str) -> str:
    """The text our own renderer makes, with BOS as the family wants it."""
    voice = family.voice()
    bos, adds = bos_of(voice)
    words = {"bos_token": bos or "", "eos_token": "</s>"}
    if family.dated:
        words["date_string"] = datetime.now().strftime("%d %b %Y")  # llama.cpp's own word for Llama 3's templates
    messages = [{"role": "user", "content": question}]
    return one_bos(render(choose_template(voice).text, Case(messages, True, words)), bos, adds)


async def talk(chat: Any, question: str, **fields: Any) -> dict[str, Any]:
    """The answer as the hub tells it."""
    said = {"text": "", "reasoning": ""}
    request = asking("local/model", messages=({"role": "user", "content": question},), temperature=0, max_tokens=40,
                     **fields)
    async for event in complete(chat, READER, request):
        if isinstance(event, Piece):
            said["text"] += event.text
            said["reasoning"] += event.reasoning
        if isinstance(event, Finished):
            said |= {"reason": event.reason, "prompt": event.usage.prompt_tokens, "warnings": event.warnings,
                     "made": event.usage.completion_tokens}
    return said


def at_worker(chat: Any) -> httpx.AsyncClient:
    """A client of the one worker that runs, in the hub's place."""
    end = next(seat.worker for seat in chat.workers._seats.values() if seat.worker).endpoint
    return httpx.AsyncClient(base_url=end.url, headers={"Authorization": f"Bearer {end.key}"})


async def made(worker: httpx.AsyncClient, question: str) -> str:
    """The text llama.cpp's own renderer makes."""
    return (await worker.post("/apply-template", json={
        "messages": [{"role": "user", "content": question}]})).json()["prompt"]


async def read(worker: httpx.AsyncClient, prompt: str, roles: Mapping[str, int]) -> tuple[int, int]:
    """(tokens of the prompt, nothing added; the token its answer ends with). roles: marks that text never becomes."""
    numbers: list[int] = []
    for part in re.split("(" + "|".join(roles) + ")", prompt) if roles else [prompt]:
        numbers += [roles[part]] if part in roles else (await worker.post("/tokenize", json={
            "content": part, "add_special": False, "parse_special": True})).json()["tokens"]
    answer = (await worker.post("/completion", json={
        "prompt": numbers, "temperature": 0, "n_predict": 40, "return_tokens": True})).json()
    return len(numbers), answer["tokens"][-1]
