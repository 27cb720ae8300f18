"""Put prompts to a model behind an OpenAI-compatible address and hear the beginnings of its answers.

Knows HTTP and nothing of what the answers are for. The key stays in the client and is part of no message.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Literal

from headwater.core.errors import BadInput, Unavailable

if TYPE_CHECKING:
    import httpx

Way = Literal["text", "chat"]
PATHS: dict[Way, str] = {"text": "/completions", "chat": "/chat/completions"}
TOKENS: dict[Way, int] = {"text": 8, "chat": 32}
"""Of an answer. A chat may say the prompt again before it goes on."""
TRIES, WAIT_MAX_S = 6, 60.0
_NO_TEXTS = (400, 404, 405, 422, 501)
"""What models that only talk answer to a bare text."""


def message(prompt: str) -> str:
    """What a model that only talks is told."""
    return f"Continue this sentence with a few words: {prompt}"


def way_of(url: str) -> Way:
    return "chat" if url.endswith(PATHS["chat"]) else "text"


class Remote:
    """A model at `base` (".../v1"). Always temperature 0. To be closed.

    Asks for completions where there are any, else in chat: `url` is where it is asked, known after `settle`.
    """

    def __init__(self, base: str, model: str, key: str | None = None, *, timeout: float = 60.0):
        import httpx

        if not base.startswith(("http://", "https://")):
            raise BadInput(f"{base[:100]!r} is no address.", hint="Write https://host/v1.")
        self._base, self._model, self._way = base.rstrip("/"), model, None
        self._client = httpx.Client(timeout=timeout, headers={"Authorization": f"Bearer {key}"} if key else {})
        if self._base.endswith(tuple(PATHS.values())):
            self._way = way_of(self._base)
            self._base = self._base.removesuffix(PATHS[self._way])

    _way: Way | None

    @property
    def url(self) -> str:
        return self._base + PATHS[self._way or "text"]

    def close(self) -> None:
        self._client.close()

    def settle(self, prompt: str) -> str:
        """The answer to a first prompt, which shows whether it completes texts or talks."""
        if self._way is None:
            self._way = "text"
            if self._post(prompt).status_code in _NO_TEXTS:
                self._way = "chat"
        return self.ask(prompt)

    def ask(self, prompt: str) -> str:
        """Raises Unavailable if it cannot be reached or refuses; a refusal for a while is waited for."""
        for left in range(TRIES - 1, -1, -1):
            answer = self._post(prompt)
            if left and (answer.status_code == 429 or answer.status_code >= 500):
                time.sleep(_wait(answer, TRIES - left))
                continue
            break
        if answer.status_code != 200:
            raise Unavailable(f"{self._model} answered {answer.status_code}.", hint="Is the name right, and the key?")
        try:
            choice = answer.json()["choices"][0]
            return str((choice["message"]["content"] if self._way == "chat" else choice["text"]) or "")
        except (ValueError, KeyError, IndexError, TypeError) as error:
            raise Unavailable(f"{self._model} answered something else: {type(error).__name__}.") from None

    def _post(self, prompt: str) -> httpx.Response:
        import httpx

        way = self._way or "text"
        body: dict[str, Any] = {"model": self._model, "max_tokens": TOKENS[way], "temperature": 0, "seed": 0}
        body |= {"messages": [{"role": "user", "content": message(prompt)}]} if way == "chat" else {"prompt": prompt}
        try:
            return self._client.post(self._base + PATHS[way], json=body)
        except httpx.HTTPError as error:
            raise Unavailable(f"{self._model} could not be asked: {type(error).__name__}.") from None


def _wait(answer: httpx.Response, tried: int) -> float:
    """What it asks for, else longer each time."""
    said = answer.headers.get("retry-after", "")
    return min(WAIT_MAX_S, float(said) if said.isdigit() else 0.5 * 2 ** tried)
