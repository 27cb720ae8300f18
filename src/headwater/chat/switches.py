"""What a client says of thinking, and of anything else a chat template can be told: words the template is given.

Whether a template has a switch is tried and not guessed: the worker renders a short talk with the switch one way and
the other. One that changes nothing is told as ignored. Knows no template and no engine.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from headwater.chat.types import ChatRequest, Ignored, Switch, UnsupportedParameter
from headwater.weights.speech import THINKING

Render = Callable[[dict[str, Any]], Awaitable[str]]
"""A body for /apply-template to the text of the prompt; "" when the worker renders none."""

EFFORT = "reasoning_effort"
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
TALK = [{"role": "user", "content": "Hello"}]
WORDS_MAX, LETTERS_MAX = 16, 1000
RESERVED = frozenset({"messages", "tools", "documents", "add_generation_prompt", "bos_token", "eos_token"})


def thinking(asked: str, wanted: bool | str) -> Switch:
    """wanted: whether to think, or how hard, in OpenAI's words. Raises UnsupportedParameter for another word."""
    if isinstance(wanted, bool):
        return Switch(asked, dict.fromkeys(THINKING, wanted))
    if wanted not in EFFORTS:
        raise UnsupportedParameter(f"{asked} must be one of {', '.join(EFFORTS)}.", param=asked)
    return Switch(asked, dict.fromkeys(THINKING, wanted != "none") | ({EFFORT: wanted} if wanted != "none" else {}))


def words(asked: str, given: Mapping[str, Any]) -> tuple[Switch, ...]:
    """A switch for each of vLLM's and llama.cpp's chat_template_kwargs. Raises UnsupportedParameter."""
    if len(given) > WORDS_MAX:
        raise UnsupportedParameter(f"{asked} may have {WORDS_MAX} names.", param=asked)
    for name, value in given.items():
        plain = isinstance(value, bool | int | float) or (isinstance(value, str) and len(value) <= LETTERS_MAX)
        if name in RESERVED or not name.isidentifier() or len(name) > 64 or not plain:
            raise UnsupportedParameter(f"{asked}.{name[:100]} cannot be handed to a template: a name of its own, and "
                                       "true, false, a number or a short text.", param=asked)
    return tuple(Switch(f"{asked}.{name}", {name: value}) for name, value in given.items())


async def settle(request: ChatRequest, render: Render) -> tuple[ChatRequest, tuple[str, ...]]:
    """The request with the words its model's template reads, and what to tell of the others."""
    told: list[str] = []
    read: list[Switch] = []
    renders = bool(await render({"messages": TALK}))
    why = ": the template of this model has no such switch" if renders else ": this engine hands templates no words"
    for switch in request.switches:
        own = {name: value for name, value in switch.words.items() if await _is_read(name, value, render)}
        if not own:
            told.append(Ignored(switch.asked, why))
        elif EFFORT in switch.words and EFFORT not in own:
            told.append(f"{switch.asked}: this model is told to think, and not how hard")
        read.append(Switch(switch.asked, own))
    return dataclasses.replace(request, switches=tuple(read)), tuple(told)


async def _is_read(name: str, value: Any, render: Render) -> bool:
    """Whether the prompt differs for another value of this name, or without it."""
    texts = {json.dumps(words): await render({"messages": TALK, **words}) for words in (
        {"chat_template_kwargs": {name: value}}, {"chat_template_kwargs": {name: _another(value)}}, {})}
    return len(set(texts.values())) > 1


def _another(value: Any) -> Any:
    return not value if isinstance(value, bool) else "low" if value == "high" else "high"
