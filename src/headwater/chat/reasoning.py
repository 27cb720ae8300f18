"""Tells what a model thinks aloud from what it answers: an answer that begins with <think> thinks until </think>.

Engines that know their template do this themselves; for the others, and for models whose template does not say.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncGenerator
from contextlib import aclosing

from headwater.chat.types import ChatEvent, Finished, Piece

OPEN, CLOSE = "<think>", "</think>"


class Thoughts:
    """Text on its way out, told apart. Holds back at most what may be part of a mark."""

    def __init__(self) -> None:
        self._held, self._state = "", "start"

    def add(self, text: str) -> tuple[str, str]:
        """(answer, reasoning) that may be said now."""
        if self._state == "answer":
            return text, ""
        if self._state == "gap":
            return self._after(text), ""
        self._held += text
        if self._state == "start" and not self._begun():
            return ("", "") if self._state == "start" else (self._take(len(self._held)), "")
        return self._thinking()

    def rest(self) -> tuple[str, str]:
        """What is held back when the model has ended."""
        held = self._take(len(self._held))
        return (held, "") if self._state == "start" else ("", held)

    def _begun(self) -> bool:
        """Whether thinking has begun; the state stays `start` while that is not yet known."""
        bare = self._held.lstrip()
        if bare.startswith(OPEN):
            self._held, self._state = bare[len(OPEN):].lstrip("\n"), "thinking"
            return True
        if not OPEN.startswith(bare):
            self._state = "answer"
        return False

    def _thinking(self) -> tuple[str, str]:
        at = self._held.find(CLOSE)
        if at >= 0:
            thought, rest = self._held[:at], self._held[at + len(CLOSE):]
            self._held, self._state = "", "gap"
            return self._after(rest), thought.rstrip("\n")
        for length in range(min(len(CLOSE) - 1, len(self._held)), 0, -1):
            if CLOSE.startswith(self._held[-length:]):
                return "", self._take(len(self._held) - length)
        return "", self._take(len(self._held))

    def _after(self, text: str) -> str:
        """Without the empty lines between a thought and the answer."""
        if text := text.lstrip():
            self._state = "answer"
        return text

    def _take(self, length: int) -> str:
        said, self._held = self._held[:length], self._held[length:]
        return said


async def told_apart(events: AsyncGenerator[ChatEvent]) -> AsyncGenerator[ChatEvent]:
    """The same events, with the reasoning out of the text."""
    thoughts, waiting, begun = Thoughts(), (), False
    async with aclosing(events):
        async for event in events:
            if isinstance(event, Piece):
                text, thought = thoughts.add(event.text)
                if not begun:  # llama.cpp tells the line break after an opening <think> too
                    event = dataclasses.replace(event, reasoning=event.reasoning.lstrip("\n"))
                    begun = bool(event.reasoning)
                waiting += event.logprobs
                event = Piece(text, event.reasoning + thought, event.calls, waiting)
                if not (event.text or event.reasoning or event.calls):
                    continue
                waiting = ()
            elif isinstance(event, Finished):
                text, thought = thoughts.rest()
                if text or thought or waiting:
                    yield Piece(text, thought, (), waiting)
            yield event
