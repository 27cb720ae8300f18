"""Vectors of texts, and scores of documents, from the models made for it. Knows nothing of HTTP clients."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from headwater.chat import Chat
from headwater.chat.complete import ERROR_MAX, died, refusal
from headwater.chat.features import need
from headwater.chat.metrics import Run
from headwater.chat.models import find
from headwater.chat.process import WorkerProcess
from headwater.chat.types import Origin, UnsupportedParameter
from headwater.core.types import Actor

AT_ONCE = 16
"""Texts a worker is handed at a time: when the client hangs up, it finishes these and no more."""
ANSWER_MAX = 64 * 1024 * 1024


@dataclass(frozen=True)
class Embedded:
    """One vector a text, as the model makes them: llama.cpp scales each to length 1."""

    origin: Origin
    vectors: list[list[float]]
    tokens: int


@dataclass(frozen=True)
class Ranked:
    """One score a document, in their order; more is closer. What the numbers mean is the model's own."""

    origin: Origin
    scores: list[float]
    tokens: int


async def embed(chat: Chat, actor: Actor, name: str, texts: Sequence[str]) -> Embedded:
    """Raises ModelNotFound, Busy, EngineFailed, UnsupportedParameter (not made for it), BadInput (a text too long)."""
    await chat.quotas.take(actor)
    with chat.meter.measured(actor.name, name, partial(chat.quotas.used, actor)) as run:
        made = await _embed(chat, actor, name, texts, run)
        run.answered(made.origin, made.tokens)
        return made


async def _embed(chat: Chat, actor: Actor, name: str, texts: Sequence[str], run: Run) -> Embedded:
    model = await asyncio.to_thread(find, chat, actor, name)
    need(model, "embeddings", "model")
    vectors: list[list[float]] = []
    tokens = 0
    async with chat.workers.hold(model, actor.name) as worker:
        if await _ask(chat, worker, "/v1/rerank", {"query": "a", "documents": ["a"]}, probe=True) is not None:
            raise UnsupportedParameter(f"{name} ranks documents and makes no embeddings.", param="model",
                                       hint="POST /v1/rerank is for it.")
        for start in range(0, len(texts), AT_ONCE):
            said = await _ask(chat, worker, "/v1/embeddings", {"input": list(texts[start:start + AT_ONCE])})
            made = sorted(said["data"], key=lambda one: one["index"])
            vectors += [one["embedding"] for one in made]
            tokens += said["usage"]["prompt_tokens"]
            run.read = tokens
    if any(value is None for vector in vectors for value in vector):
        raise worker.failure("made a vector with numbers that are none")
    return Embedded(_origin(worker), vectors, tokens)


async def rank(chat: Chat, actor: Actor, name: str, query: str, documents: Sequence[str]) -> Ranked:
    """How close each document is to the query. Raises as embed() does."""
    await chat.quotas.take(actor)
    with chat.meter.measured(actor.name, name, partial(chat.quotas.used, actor)) as run:
        made = await _rank(chat, actor, name, query, documents, run)
        run.answered(made.origin, made.tokens)
        return made


async def _rank(chat: Chat, actor: Actor, name: str, query: str, documents: Sequence[str], run: Run) -> Ranked:
    model = await asyncio.to_thread(find, chat, actor, name)
    need(model, "rerank", "model")
    scores: list[float] = []
    tokens = 0
    async with chat.workers.hold(model, actor.name) as worker:
        for start in range(0, len(documents), AT_ONCE):
            part = list(documents[start:start + AT_ONCE])
            said = await _ask(chat, worker, "/v1/rerank", {"query": query, "documents": part, "top_n": len(part)})
            scores += [one["relevance_score"] for one in sorted(said["results"], key=lambda one: one["index"])]
            tokens += said["usage"]["prompt_tokens"]
            run.read = tokens
    if any(score is None for score in scores):
        raise worker.failure("made a score that is no number")
    return Ranked(_origin(worker), scores, tokens)


async def _ask(chat: Chat, worker: WorkerProcess, path: str, body: dict[str, Any], probe: bool = False) -> Any:
    """The worker's answer; with `probe` None when it does not do this."""
    import aiohttp

    end, repo = worker.endpoint, worker.model.repo.full_name
    try:
        async with chat.workers.http().post(f"{end.url}{path}", json=body,
                                            headers={"Authorization": f"Bearer {end.key}"}) as response:
            if response.status == 501:
                if probe:
                    return None
                raise UnsupportedParameter(f"{repo} is not made for {path}.", param="model",
                                           hint="Only models whose file says how texts become vectors are.")
            if response.status != 200:
                raise refusal(worker, response.status, await response.content.read(ERROR_MAX))
            if (response.content_length or 0) > ANSWER_MAX:
                raise worker.failure(f"answered {response.content_length:,} bytes")
            return await response.json(content_type=None)
    except TimeoutError:
        await chat.workers.condemn(worker)
        raise worker.failure(f"said nothing for {chat.settings.worker_silence_s} s and was stopped") from None
    except aiohttp.ClientError:
        raise await died(worker) from None


def _origin(worker: WorkerProcess) -> Origin:
    """Nothing is drawn here: the seed is 0."""
    model, end = worker.model, worker.endpoint
    return Origin(model.repo.full_name, model.commit.oid, end.engine, end.build, model.path, 0)
