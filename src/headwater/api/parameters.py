"""What becomes of each parameter a program may send, on every face: one table.

A parameter is *taken* (it is a field of the face's body), *ignored* (it changes nothing of what is said: told in
`headwater.ignored`, in `headwater.warnings` and in the header X-Headwater-Ignored) or *refused* (it would change the
answer: 400, naming it, unless its value asks for nothing). One that nobody knows is ignored, and told.
tests/api/test_parameters.py holds the signatures of the official clients against this table.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel

from headwater.chat.types import SHOWN_MAX, Ignored, UnsupportedParameter


@dataclass(frozen=True)
class Decided:
    """ignored: known to change nothing here. refused: with each name the values that ask for nothing."""

    ignored: frozenset[str]
    refused: Mapping[str, Sequence[Any]]


def _decided(ignored: str, **refused: Sequence[Any]) -> Decided:
    return Decided(frozenset(ignored.split()), refused)


_OPENAI = "prompt_cache_key prompt_cache_options prompt_cache_retention safety_identifier service_tier user "

FACES: dict[str, Decided] = {
    # verbosity: a wish, which no model here has a lever for
    "chat": _decided(
        _OPENAI + "metadata store verbosity",
        audio=(None,), function_call=(None, "none", "auto"), functions=(None, []), logit_bias=(None, {}),
        modalities=(None, ["text"]), moderation=(None,), prediction=(None,), web_search_options=(None,)),
    "completions": _decided("user", best_of=(None, 1), echo=(None, False), logit_bias=(None, {}), suffix=(None, "")),
    # max_tool_calls counts OpenAI's own tools, of which there are none
    "responses": _decided(
        _OPENAI + "access_programs max_tool_calls personality stream_options",
        background_options=(None, {}), context_management=(None, []), conversation=(None,), image=(None,),
        moderation=(None,), prompt=(None,), top_logprobs=(None, 0), truncation=(None, "disabled")),
    "responses.text": _decided("verbosity"),
    "embeddings": _decided("user"),
    "rerank": _decided("user", max_chunks_per_doc=(None,), max_tokens_per_doc=(None,), rank_fields=(None,)),
    "messages": _decided(
        "cache_control diagnostics inference_geo metadata output_format service_tier speed user_profile_id "
        "workspace_id", container=(None, {}), context_management=(None, {}), mcp_servers=(None, [])),
    "ollama": _decided("keep_alive", logprobs=(None, False), top_logprobs=(None, 0)),
    # context: tokens of an answer before, which are not kept; a conversation goes to /api/chat
    "ollama.generate": _decided("keep_alive", context=(None, []), suffix=(None, ""), template=(None, ""),
                                logprobs=(None, False), top_logprobs=(None, 0), width=(None,), height=(None,),
                                steps=(None,)),
    # where and how much at once is the hub's to say; what remains would change which tokens are drawn
    "ollama.options": _decided(
        "numa num_ctx num_batch num_gpu main_gpu low_vram f16_kv logits_all vocab_only use_mmap use_mlock "
        "embedding_only num_thread num_keep mirostat_tau mirostat_eta repeat_last_n penalize_newline",
        mirostat=(None, 0), tfs_z=(None, 1), typical_p=(None, 1), repeat_penalty=(None, 1, 1.1), min_p=(None, 0)),
}


def extras(face: str, given: BaseModel | Mapping[str, Any], where: str = "") -> list[str]:
    """A warning for each parameter that is not taken. Raises UnsupportedParameter for one that must have effect.

    given: a body, of which the fields are taken, or just the parameters that are not.
    """
    rest = (given.model_extra or {}) if isinstance(given, BaseModel) else given
    refused, warnings = FACES[face].refused, []
    for name, value in rest.items():
        if name in refused:
            if not _asks_nothing(value, refused[name]):
                raise UnsupportedParameter(f"{where}{name} is not supported.", param=where.rstrip(".") or name,
                                           hint="Leave it out.")
        elif value is not None:
            warnings.append(Ignored(f"{where}{name}"))
    return warnings


def _asks_nothing(value: Any, fine: Sequence[Any]) -> bool:
    # True equals 1 in Python; to a client it is another value
    return any(value == one and isinstance(value, bool) == isinstance(one, bool) for one in fine)


def shown(warnings: Sequence[str]) -> dict[str, list[str]]:
    """What a body says of warnings: the ignored parameters' names, and all in words."""
    more = [f"and {len(warnings) - SHOWN_MAX} more"] if len(warnings) > SHOWN_MAX else []
    ignored = [one.name for one in warnings[:SHOWN_MAX] if isinstance(one, Ignored)]
    return {"ignored": ignored, "warnings": [*map(str, warnings[:SHOWN_MAX]), *more]}


def ignored_headers(warnings: Sequence[str]) -> dict[str, str]:
    """X-Headwater-Ignored: the names, as far as a header takes them; none when nothing was ignored."""
    names = [re.sub(r"[^\w.\[\]-]", "_", one.name, flags=re.ASCII) for one in warnings if isinstance(one, Ignored)]
    return {"X-Headwater-Ignored": ", ".join(names)[:1000]} if names else {}
