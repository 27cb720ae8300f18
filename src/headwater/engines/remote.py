"""Models that run elsewhere, behind OpenAI's chat completions: closed ones, vLLM, SGLang, another Headwater.

A repo for it has remote.json: {"url": "https://api.example.com/v1", "model": "gpt-4o"}. Repos are anybody's, so the
URL is reached only if it is one of the setting `remotes` ({url: key}), which administrators write; the key is taken
from there, given to the worker in its environment and told to nobody but that URL. Redirects are not followed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from headwater.core.errors import BadInput, EngineFailed
from headwater.core.settings import Settings
from headwater.core.types import Snapshot
from headwater.engines import _worker

FILE = "remote.json"
PASSED = frozenset({
    "messages", "seed", "temperature", "top_p", "max_tokens", "stop", "presence_penalty", "frequency_penalty",
    "stream", "stream_options", "tools", "tool_choice", "response_format", "logprobs", "top_logprobs"})
"""Fields of a request that are OpenAI's; what the hub adds for llama.cpp stays here."""
ERROR_MAX, CONNECT_S = 64 * 1024, 10


class Remote:
    name = "remote"
    slots = 32
    features = frozenset({"schema", "logprobs"})

    def available(self) -> str | None:
        return None

    def build(self) -> str:
        return "remote (OpenAI chat completions)"

    def accepts(self, files: Sequence[str]) -> str | None:
        return FILE if FILE in files else None

    def command(self, snapshot: Snapshot, path: str, *, port: int, threads: int, context: int) -> list[str]:
        return _worker.command(__name__, Path(snapshot.folder) / path, port=port, threads=threads, context=context)

    def environment(self, settings: Settings, snapshot: Snapshot, path: str) -> dict[str, str]:
        """What the worker is given beside its own key: the URL and the key for it. Raises EngineFailed for a URL no
        administrator named."""
        try:
            url, _ = read(Path(snapshot.folder) / path)
            known = listed(settings.remotes)
        except (BadInput, OSError, ValueError) as error:
            raise EngineFailed(f"{snapshot.repo.full_name} cannot be reached: {error}") from None
        if url not in known:
            raise EngineFailed(f"{snapshot.repo.full_name} is to be asked at {url}, which no administrator of this hub "
                               "has allowed.", hint="They can, in the setting `remotes`.")
        return {"HEADWATER_REMOTE_URL": url, "HEADWATER_REMOTE_KEY": known[url]}


ENGINE = Remote()


def read(path: Path) -> tuple[str, str]:
    """(url without a slash at its end, model) of a remote.json. Raises ValueError, OSError."""
    if path.stat().st_size > 64 * 1024:
        raise ValueError(f"{path.name} is larger than 64 KiB.")
    said = json.loads(path.read_text("utf-8"))
    url, model = (said.get("url"), said.get("model")) if isinstance(said, dict) else (None, None)
    if not isinstance(url, str) or not isinstance(model, str) or not url.startswith(("http://", "https://")):
        raise ValueError(f'{path.name} must be {{"url": "https://...", "model": "..."}}.')
    return url.rstrip("/"), model


def listed(remotes: str) -> dict[str, str]:
    """The setting: URL to key, an empty key for a URL that wants none. Raises BadInput; never shows its value."""
    try:
        known = json.loads(remotes or "{}")
    except ValueError:
        known = None
    if not isinstance(known, dict) or not all(isinstance(key, str) for key in known.values()):
        raise BadInput('The setting remotes must be JSON: {"https://host/v1": "key"}.')
    return {url.rstrip("/"): key for url, key in known.items()}


class Passage(_worker._Desk):
    """The worker's desk, which passes each request on and the answer back as it comes."""

    def __init__(self, url: str, name: str, secret: str, key: str):
        super().__init__(None, key)  # type: ignore[arg-type]  # nothing is computed here
        self.url, self.name, self.secret = url, name, secret

    async def chat(self, request: Any) -> Any:
        self._check(request)
        try:
            body = json.loads(await request.read())
            _worker._Order(body)
        except (_worker.Refused, ValueError, RecursionError) as error:
            return self._error(400, str(error))
        passed = {name: value for name, value in body.items() if name in PASSED} | {"model": self.name}
        self.busy += 1
        try:
            return await self._ask(request, passed)
        finally:
            self.busy -= 1

    async def _ask(self, request: Any, body: dict[str, Any]) -> Any:
        import aiohttp

        limit = aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S)
        headers = {"Authorization": f"Bearer {self.secret}"} if self.secret else {}
        try:
            async with aiohttp.ClientSession(timeout=limit, trust_env=False) as http, http.post(
                    f"{self.url}/chat/completions", json=body, headers=headers, allow_redirects=False) as answer:
                if answer.status != 200:
                    return self._refused(answer.status, await answer.content.read(ERROR_MAX))
                return await self._pass(request, answer)
        except (aiohttp.ClientError, TimeoutError) as error:
            return self._error(502, f"{self.url} cannot be reached: {type(error).__name__}")

    async def _pass(self, request: Any, answer: Any) -> Any:
        from aiohttp import web

        response = web.StreamResponse(headers={"Content-Type": answer.headers.get("Content-Type", "text/event-stream"),
                                               "Connection": "close"})
        response.force_close()
        await response.prepare(request)
        async for chunk in answer.content.iter_any():
            await response.write(chunk)
        await response.write_eof()
        return response

    def _refused(self, status: int, body: bytes) -> Any:
        try:
            error = json.loads(body).get("error")
            message = str(error.get("message") if isinstance(error, dict) else error)
        except (ValueError, AttributeError):
            message = body[:300].decode("utf-8", "replace")
        refusal = status in (400, 413, 422)
        return self._error(400 if refusal else 502, f"{self.url} answered {status}: {message}"[:1000])

    def _error(self, status: int, message: str) -> Any:
        from aiohttp import web

        if self.secret:  # a remote that says the key back must not have it shown
            message = message.replace(self.secret, "(key)")
        return web.json_response({"error": {"code": status, "message": message, "type": "invalid_request_error"}},
                                 status=status)


def main() -> None:
    from aiohttp import web

    given, key = _worker.arguments("A worker that asks elsewhere."), _worker.take_key()
    secret, allowed = os.environ.pop("HEADWATER_REMOTE_KEY", ""), os.environ.pop("HEADWATER_REMOTE_URL", "")
    _worker.die_with_parent()
    try:
        url, name = read(given.path)
    except (OSError, ValueError) as error:
        _worker.fail(f"{given.path.name} cannot be used: {error}")
    if url != allowed:
        _worker.fail(f"{given.path.name} names {url}, which no administrator has allowed.")
    desk = Passage(url, name, secret, key)
    app = web.Application(client_max_size=_worker.BODY_MAX)
    app.router.add_get("/health", desk.health)
    app.router.add_get("/slots", desk.slots)
    app.router.add_post("/v1/chat/completions", desk.chat)
    web.run_app(app, host="127.0.0.1", port=given.port, print=None, access_log=None, handler_cancellation=True)


if __name__ == "__main__":
    main()
