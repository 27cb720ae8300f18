"""A conversation as numbers where text would be read otherwise: marks that a tokenizer takes to pieces (Baichuan's
<reserved_106>, a token of its own that text never becomes) are sent by their numbers, all else as text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

from headwater.chat.types import ChatRequest
from headwater.weights.speech import Speech

if TYPE_CHECKING:
    from headwater.chat.process import WorkerProcess


def needed(speech: Speech | None, request: ChatRequest) -> bool:
    """Whether a conversation would reach this model wrong as text. Tools and pictures have no place in its template."""
    return bool(speech and speech.pieces and request.prompt is None and not request.tools and not request.pictures)


def spelled(text: str, pieces: Mapping[str, int], adds_bos: bool) -> list[str | int]:
    """The rendered text in parts, as /v1/completions of llama.cpp takes them: it puts BOS in front of a first part
    that is text, so an empty one goes first where BOS is wanted and a mark begins."""
    parts = re.split("(" + "|".join(map(re.escape, pieces)) + ")", text)
    made: list[str | int] = [pieces.get(part, part) for part in parts if part]
    return ["", *made] if adds_bos and made and isinstance(made[0], int) else made


def shown_ends(worker: WorkerProcess, request: ChatRequest) -> list[str]:
    """Ends the engine writes into its answer as text, so that they are cut off as stop texts are. Only such: in other
    models a user may ask for the text of an end, and it is no end then."""
    shows = getattr(worker.model.engine, "shows_end", lambda text: False)
    stops = worker.speech.stops if worker.speech and request.prompt is None else ()
    return [stop.text for stop in stops if stop.text and shows(stop.text)]
