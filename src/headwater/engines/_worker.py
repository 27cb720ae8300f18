"""The HTTP side of the worker contract, for engines written in Python. Knows nothing of any model.

docs/recipes/add-an-engine.md is the contract; tests/contracts/test_engines.py holds every engine to it.
"""

from __future__ import annotations

import argparse
import asyncio
import hmac
import json
import os
import random
import sys
import threading
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any, Protocol

from headwater.core.held import Held

BODY_MAX = 16 * 1024 * 1024
UNREAD = {"top_p": 1, "presence_penalty": 0, "frequency_penalty": 0}
"""What the contract has and models on this module are not given, each with the value that changes nothing."""


class Model(Protocol):
    """What an engine on this module brings. Reading the files happens in its constructor."""

    def count(self, messages: Sequence[dict[str, Any]]) -> int:
        """Tokens of the prompt these messages make."""

    def reply(self, messages: Sequence[dict[str, Any]], *, seed: int, temperature: float) -> AsyncGenerator[str]:
        """The answer, one token a time, until the model itself ends it. Closed when the listener hangs up.

        Long steps go through asyncio.to_thread, so that /health answers and a hang-up is noticed meanwhile.
        """


class Refused(Exception):
    """The request asks for what cannot be; shown to the client as 400. A model may have check(messages) to raise it."""


class Full(Exception):
    """Raised by reply() when the context has no room for another token: the answer ends as too long."""


# --- the process


def arguments(description: str, argv: Sequence[str] | None = None, beside: Sequence[str] = ()) -> argparse.Namespace:
    """PATH --port N --threads N --context N: what ChatEngine.command writes. beside: names of options that each bring
    a file more, any number of times; they come as lists of paths."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("path", type=Path)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--context", type=int, default=4096)
    for name in beside:
        parser.add_argument(f"--{name}", type=Path, action="append", default=[])
    return parser.parse_args(argv)


def command(module: str, path: Path, *, port: int, threads: int, context: int) -> list[str]:
    """argv for the arguments above."""
    return [sys.executable, "-m", module, str(path), "--port", str(port), "--threads", str(threads),
            "--context", str(context)]


def take_key() -> str:
    """The bearer key of this worker, taken out of the environment so that no child inherits it."""
    key = os.environ.pop("HEADWATER_WORKER_KEY", "")
    if not key:
        fail("HEADWATER_WORKER_KEY is not set: a worker does not run without a key.")
    return key


def slots(most: int) -> int:
    """Requests to compute at once: what the hub has memory for, else `most`."""
    return min(most, int(os.environ.get("HEADWATER_WORKER_SLOTS") or 0) or most)


def die_with_parent() -> None:
    """End the process as soon as its standard input ends: whoever started it is gone, kill -9 included."""

    def wait() -> None:
        while os.read(0, 4096):
            pass
        os._exit(0)

    threading.Thread(target=wait, daemon=True, name="lifeline").start()


def fail(message: str) -> None:
    """End with a last line that people will read in EngineFailed."""
    print(message, file=sys.stderr, flush=True)
    sys.stderr.flush()
    os._exit(3)


def serve(model: Model, *, port: int, key: str) -> None:
    """Serve one model on 127.0.0.1 until killed."""
    from aiohttp import web

    app = web.Application(client_max_size=BODY_MAX)
    desk = _Desk(model, key)
    app.router.add_get("/health", desk.health)
    app.router.add_get("/slots", desk.slots)
    app.router.add_post("/v1/chat/completions", desk.chat)
    # handler_cancellation: a hang-up cancels the handler, and with it the model's reply
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None, handler_cancellation=True)


# --- the HTTP side


class _Desk:
    def __init__(self, model: Model, key: str):
        self.model, self.key, self.busy = model, key, 0

    async def health(self, request: Any) -> Any:
        from aiohttp import web

        return web.json_response({"status": "ok"})

    async def slots(self, request: Any) -> Any:
        from aiohttp import web

        self._check(request)
        return web.json_response([{"id": n, "is_processing": True} for n in range(self.busy)])

    async def chat(self, request: Any) -> Any:
        from aiohttp import web

        self._check(request)
        try:
            order = _Order(json.loads(await request.read()))
            if check := getattr(self.model, "check", None):
                await asyncio.to_thread(check, order.messages)
        except (Refused, ValueError, RecursionError) as error:
            return web.json_response({"error": {"code": 400, "message": str(error), "type": "invalid_request_error"}},
                                     status=400)
        self.busy += 1
        try:
            return await (self._stream(request, order) if order.stream else self._whole(order))
        finally:
            self.busy -= 1

    def _check(self, request: Any) -> None:
        from aiohttp import web

        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), self.key.encode()):
            body = {"error": {"code": 401, "message": "wrong worker key", "type": "authentication_error"}}
            raise web.HTTPUnauthorized(text=json.dumps(body), content_type="application/json")

    async def _stream(self, request: Any, order: _Order) -> Any:
        from aiohttp import web

        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Connection": "close"})
        response.force_close()
        await response.prepare(request)

        async def say(**fields: Any) -> None:
            data = {**order.head("chat.completion.chunk"), "choices": [], **fields}
            await response.write(f"data: {json.dumps(data, ensure_ascii=False)}\n\n".encode())

        await say(choices=[_choice({"role": "assistant", "content": ""})], **order.notes())
        run = _Run(self.model, order)
        async with aclosing(run.texts()) as texts:
            async for text in texts:
                await say(choices=[_choice({"content": text})])
        await say(choices=[_choice({}, run.reason)], stopped_by=run.held.found)
        await say(usage=run.usage())
        await response.write(b"data: [DONE]\n\n")
        return response

    async def _whole(self, order: _Order) -> Any:
        from aiohttp import web

        run = _Run(self.model, order)
        text = "".join([text async for text in run.texts()])
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": run.reason}
        return web.json_response({**order.head("chat.completion"), "choices": [choice], "usage": run.usage()})


def _choice(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
    return {"index": 0, "delta": delta, "finish_reason": reason}


class _Order:
    """What a request body asks for, checked. Unknown fields are no concern of a worker."""

    def __init__(self, body: Any):
        if not isinstance(body, dict):
            raise Refused("The body must be a JSON object.")
        self.messages = _messages(body.get("messages"))
        self.stream = body.get("stream") is True
        stop = body.get("stop") or []
        self.stop = [s for s in ([stop] if isinstance(stop, str) else stop) if s]
        if not all(isinstance(s, str) for s in self.stop):
            raise Refused("stop must be a string or a list of strings.")
        self.temperature = float(_number(body, "temperature", 1.0))
        self.max_tokens = _number(body, "max_tokens", None)
        seed = _number(body, "seed", None)
        self.seed = random.getrandbits(31) if seed is None else int(seed)
        self.id = f"chatcmpl-{random.getrandbits(64):016x}"

        self.unread = [name for name in UNREAD if body.get(name) not in (None, 0, UNREAD[name])]

    def notes(self) -> dict[str, list[str]]:
        """What the client must be told was asked for and not done."""
        said = [f"{name} is not honoured by this engine." for name in self.unread]
        return {"warnings": said} if said else {}

    def head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": int(time.time()), "model": "worker"}


def _messages(given: Any) -> list[dict[str, Any]]:
    if not isinstance(given, list) or not given:
        raise Refused("messages must be a list of at least one message.")
    for message in given:
        if not isinstance(message, dict) or not isinstance(message.get("content"), str):
            raise Refused("Every message must be an object whose content is text.")
    return given


def _number(body: dict[str, Any], name: str, default: float | None) -> Any:
    value = body.get(name)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refused(f"{name} must be a number.")
    return value


class _Run:
    """One answer: the model's tokens, ended by stop strings and max_tokens, counted."""

    def __init__(self, model: Model, order: _Order):
        self.model, self.order = model, order
        self.made, self.reason = 0, "stop"
        self.held = Held(order.stop)

    async def texts(self) -> AsyncGenerator[str]:
        order, held = self.order, self.held
        tokens = self.model.reply(order.messages, seed=order.seed, temperature=order.temperature)
        try:
            if order.max_tokens == 0:
                self.reason = "length"
                return
            async for token in tokens:
                self.made += 1
                if text := held.add(token):
                    yield text
                if held.stopped:
                    return
                if self.made == order.max_tokens:
                    self.reason = "length"
                    break
            if text := held.rest():
                yield text
        except Full:
            self.reason = "length"
            if text := held.rest():
                yield text
        finally:
            await tokens.aclose()

    def usage(self) -> dict[str, int]:
        asked = self.model.count(self.order.messages)
        return {"prompt_tokens": asked, "completion_tokens": self.made, "total_tokens": asked + self.made}
