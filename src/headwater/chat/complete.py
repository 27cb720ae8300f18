"""Ask a model, hear its answer event by event. The one way to talk, for every API, page and terminal.

The worker is always asked to stream, whatever the client wants: only a stream can be broken off. Nothing is
buffered here: a slow listener makes the worker wait.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import random
from collections.abc import AsyncGenerator
from contextlib import aclosing
from functools import partial
from typing import TYPE_CHECKING, Any

from headwater.chat import Chat
from headwater.chat.adapters import find_with_adapters, scales, told
from headwater.chat.features import check
from headwater.chat.pictures import with_plain_pictures
from headwater.chat.process import WorkerProcess
from headwater.chat.queue import OnWait
from headwater.chat.reasoning import told_apart
from headwater.chat.spelled import needed, shown_ends, spelled
from headwater.chat.switches import settle
from headwater.chat.tools import PROBE, arrange, as_call
from headwater.chat.types import (
    ChatEvent,
    ChatModel,
    ChatRequest,
    Finished,
    Origin,
    Piece,
    Started,
    UnsupportedParameter,
    Usage,
)
from headwater.core.errors import BadInput, EngineFailed, HeadwaterError
from headwater.core.held import Held
from headwater.core.types import Actor

if TYPE_CHECKING:
    import aiohttp

SEEDS = 2**31
ERROR_MAX = 64 * 1024
PROMPT_MAX = 64 * 1024 * 1024
NO_CHAT = ("does not support logits computation",)
TOO_LONG = ("too large to process",)
"""Words of llama.cpp that are the client's affair, though it calls them its own failure (500)."""


async def complete(chat: Chat, actor: Actor, request: ChatRequest,
                   on_wait: OnWait | None = None) -> AsyncGenerator[ChatEvent]:
    """Started, then Pieces, then Finished. Closing the iterator (contextlib.aclosing) stops the engine.

    on_wait: awaited with the place in the queue, once the wait lasts more than a moment.
    Raises before Started: ModelNotFound, Busy (also QuotaSpent), EngineFailed, UnsupportedParameter (by this model),
    BadInput (the engine refused the request,
    or a picture is none).
    Raises after it: EngineFailed, when the worker dies or hangs mid-answer.
    """
    await chat.quotas.take(actor)
    answer = _answer(chat, actor, request, on_wait)
    used = partial(chat.quotas.used, actor)
    async with aclosing(chat.meter.listen(actor.name, request.model, answer, used)) as events:
        async for event in events:
            yield event


async def _answer(chat: Chat, actor: Actor, request: ChatRequest,
                  on_wait: OnWait | None) -> AsyncGenerator[ChatEvent]:
    model, request = await find_with_adapters(chat, actor, request)
    check(model, request)
    if request.pictures:
        request = await with_plain_pictures(chat, model, request)
    async with chat.workers.hold(model, actor.name, on_wait) as worker:
        forced, notes = request.tools and request.tool_choice != "auto", ()
        if request.tools or request.speaks_of_tools:
            request, notes = arrange(request, await _rendered(chat, worker, PROBE))
        if request.switches:
            request, more = await settle(request, partial(_rendered, chat, worker))
            notes += more
        talk = _talk(chat, model, worker, request)
        if request.prompt is None:
            talk = told_apart(talk)
        async with aclosing(as_call(talk) if forced else talk) as events:
            async for event in events:
                if isinstance(event, Finished):
                    event = dataclasses.replace(event, warnings=notes + event.warnings)
                yield event


async def _by_numbers(chat: Chat, worker: WorkerProcess, request: ChatRequest, body: dict[str, Any]) -> dict[str, Any]:
    """The same request for a bare prompt, with the conversation in it."""
    rendered = await _rendered(chat, worker, {"messages": list(request.messages)}, PROMPT_MAX)
    if not rendered:
        raise BadInput(f"{worker.model.repo.full_name} refused the request: its template does not take it.")
    speech, rest = worker.speech, {name: value for name, value in body.items() if name != "messages"}
    if rest.pop("logprobs", None):
        rest["logprobs"] = rest.pop("top_logprobs")
    return rest | {"prompt": spelled(json.loads(rendered)["prompt"], speech.pieces, speech.adds_bos)}


async def _rendered(chat: Chat, worker: WorkerProcess, body: dict[str, Any], most: int = ERROR_MAX) -> str:
    """A conversation as the model's template renders it, "" when it cannot."""
    import aiohttp

    end = worker.endpoint
    try:
        async with chat.workers.http().post(f"{end.url}/apply-template", json=body,
                                            headers={"Authorization": f"Bearer {end.key}"}) as response:
            return (await response.content.read(most)).decode("utf-8", "replace") if response.ok else ""
    except (aiohttp.ClientError, TimeoutError):
        raise await died(worker) from None


async def _talk(chat: Chat, model: ChatModel, worker: WorkerProcess, request: ChatRequest) -> AsyncGenerator[ChatEvent]:
    import aiohttp

    seed = random.randrange(SEEDS) if request.seed is None else request.seed
    end = worker.endpoint
    origin = Origin(model.repo.full_name, model.commit.oid, end.engine, end.build, model.path, seed,
                    told(model, request))
    response = None
    try:
        path = "/v1/chat/completions" if request.prompt is None else "/v1/completions"
        body = _body(request, seed)
        if worker.model.adapters:
            body["lora"] = scales(worker.model, model, request)
        held = None
        if request.tell_stop and request.stop and "counts" in getattr(model.engine, "features", ()):
            # looked for here, because the engine does not say which it was; it counts on the way, for it is cut off
            held = Held(body.pop("stop"))
            body["timings_per_token"] = True
        if ends := shown_ends(worker, request):
            body["stop"] = [*body.get("stop", ()), *ends]
        if needed(worker.speech, request):
            path, body = "/v1/completions", await _by_numbers(chat, worker, request, body)
        response = await chat.workers.http().post(f"{end.url}{path}", json=body,
                                                  headers={"Authorization": f"Bearer {end.key}"})
        if response.status != 200:
            raise refusal(worker, response.status, await response.content.read(ERROR_MAX))
        yield Started(origin)
        async with aclosing(_events(worker, response, held)) as events:
            async for event in events:
                yield event
    except TimeoutError:  # aiohttp's are TimeoutErrors too
        await chat.workers.condemn(worker)
        raise worker.failure(f"said nothing for {chat.settings.worker_silence_s} s and was stopped") from None
    except aiohttp.ClientError:
        raise await died(worker) from None
    finally:
        if response is not None:
            response.close()


def _body(request: ChatRequest, seed: int) -> dict[str, Any]:
    given = {"temperature": request.temperature, "top_p": request.top_p, "max_tokens": request.max_tokens,
             "presence_penalty": request.presence_penalty, "frequency_penalty": request.frequency_penalty,
             "stop": list(request.stop) or None, "top_k": request.top_k, "prompt": request.prompt,
             "chat_template_kwargs": request.words or None,
             "tools": list(request.tools) or None, "parallel_tool_calls": request.parallel_tool_calls}
    if request.prompt is None:
        given["messages"] = list(request.messages)
    if request.form is not None:
        given["response_format"] = {"type": "json_schema", "json_schema": {"name": "answer", "schema": request.form}} \
            if request.form else {"type": "json_object"}
    if request.logprobs is not None:
        wanted = max(1, request.logprobs)  # to llama.cpp 0 means none at all
        given.update({"logprobs": True, "top_logprobs": wanted} if request.prompt is None else {"logprobs": wanted})
    # return_progress: llama.cpp notices a hang-up only when it writes, and otherwise writes nothing while it reads a
    # long prompt (5.9 s until the slot was free, 0.3 s with it)
    return {"seed": seed, "stream": True, "return_progress": True,
            "stream_options": {"include_usage": True}, **{name: v for name, v in given.items() if v is not None}}


async def _events(worker: WorkerProcess, response: aiohttp.ClientResponse,
                  held: Held | None = None) -> AsyncGenerator[ChatEvent]:
    """The pieces of a worker's stream, and what ended it. held: stop texts to look for; the stream ends at one."""
    reason, usage, warnings, stopped_by = None, None, (), None
    async with aclosing(_lines(worker, response)) as lines:
        async for data in lines:
            if error := data.get("error"):
                raise worker.failure(f"failed in the middle of an answer: {_message(error)}")
            warnings += tuple(data.get("warnings") or ())
            usage = _usage(data) or usage
            stopped_by = data.get("stopped_by") or stopped_by
            for choice in data.get("choices", ()):
                reason = choice.get("finish_reason") or reason
                if (piece := _piece(choice)) is None:
                    continue
                if held is not None:
                    piece = dataclasses.replace(piece, text=held.add(piece.text))
                if piece != Piece(""):
                    yield piece
            if held is not None and held.stopped:
                yield Finished("stop", usage, warnings, held.found)
                return
    if reason is None:
        raise await died(worker)
    if held is not None and (rest := held.rest()):
        yield Piece(rest)
    yield Finished(reason, usage, warnings, stopped_by)


def _usage(data: dict[str, Any]) -> Usage | None:
    """What a chunk says was counted so far; llama.cpp's timings say it before the end."""
    if count := data.get("usage"):
        return Usage(count["prompt_tokens"], count["completion_tokens"])
    if timed := data.get("timings"):
        return Usage(timed["cache_n"] + timed["prompt_n"], timed["predicted_n"])
    return None


def _piece(choice: dict[str, Any]) -> Piece | None:
    """What a chunk of a chat or of a plain completion adds, None when that is nothing."""
    delta = choice.get("delta") or {"content": choice.get("text")}
    piece = Piece(delta.get("content") or "", delta.get("reasoning_content") or "",
                  tuple(delta.get("tool_calls") or ()), tuple((choice.get("logprobs") or {}).get("content") or ()))
    return piece if piece != Piece("") else None


async def _lines(worker: WorkerProcess, response: aiohttp.ClientResponse) -> AsyncGenerator[dict[str, Any]]:
    """The data of each server-sent event until [DONE]. Whole lines are decoded, so no character is ever split."""
    try:
        async for line in response.content:
            if not line.startswith(b"data:"):
                continue
            data = line[5:].strip()
            if data == b"[DONE]":
                return
            yield json.loads(data)
    except ValueError as error:  # a line of more than 64 KiB, or no JSON
        raise worker.failure(f"sent what is no event ({error})") from None


def refusal(worker: WorkerProcess, status: int, body: bytes) -> HeadwaterError:
    """What the worker's answer of another status than 200 means to the client."""
    try:
        message = _message(json.loads(body).get("error"))
    except (ValueError, AttributeError):
        message = body[:500].decode("utf-8", "replace")
    repo = worker.model.repo.full_name
    if any(words in message for words in NO_CHAT):
        return UnsupportedParameter(f"{repo} makes vectors of texts or ranks them, and does not chat.", param="model",
                                    hint="POST /v1/embeddings or /v1/rerank.")
    if status in (400, 413, 422) or any(words in message for words in TOO_LONG):
        return BadInput(f"{repo} refused the request: {message}")
    return worker.failure(f"answered {status}: {message}")


def _message(error: Any) -> str:
    return str(error.get("message", error) if isinstance(error, dict) else error)[:1000]


async def died(worker: WorkerProcess) -> EngineFailed:
    """The connection broke. Give the process a moment to be seen dead, so that its last words are read."""
    try:
        await asyncio.wait_for(asyncio.shield(asyncio.ensure_future(worker.ended())), 1)
    except TimeoutError:
        return worker.failure("broke off its answer")
    return worker.failure("died in the middle of an answer")
