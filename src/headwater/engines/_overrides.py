"""Say metadata of a GGUF differently to llama.cpp while the file stays as it is: which token ends an answer, whether
BOS is put in front.

llama.cpp has this (--override-kv), but xllamacpp does not pass it on. So the list is put where llama.cpp looks for it,
in the memory of the parameters: its place is found beside two lists that can be set, and checked. A build laid out
otherwise is told from this one, and left alone. docs/design/010-ends.md says what else was tried.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any

_ENDS = frozenset((
    "<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>", "<end_of_turn>",
    "<|endoftext|>", "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "<|end_of_text|>",
    "<end_of_utterance>", "<eos>", "<turn|>", "<|tool_response>", "<｜end▁of▁sentence｜>", "[e~["))
"""Texts of tokens at which llama.cpp b11434 and later stop whatever the metadata say."""


def corrections(metadata: Mapping[str, Any], stops: Sequence[tuple[int, str | None]],
                no_bos: bool) -> tuple[dict[str, int | bool], list[int]]:
    """(values to say instead of those in a GGUF file, by key, so that llama.cpp stops at all of `stops` (number, text)
    and puts no BOS in front where the model has none; the stops for which there is no place: two can be named)."""
    eos, *places = (f"tokenizer.ggml.{which}_token_id" for which in ("eos", "eot", "eom"))
    texts, values = dict(stops), {}
    named = {metadata.get(key) for key in (eos, *places)}
    wanted = [number for number, text in stops if text not in _ENDS and number not in named]
    for key in places:
        said = metadata.get(key)
        # an end that is named and is one stays, unless llama.cpp stops at it anyway
        if wanted and (said not in texts or texts[said] in _ENDS):
            values[key] = wanted.pop(0)
    if no_bos and metadata.get("tokenizer.ggml.add_bos_token") is True:
        values["tokenizer.ggml.add_bos_token"] = False
    return values, wanted


_INT, _BOOL = 0, 2
_STRING_SIZES = (8, 32)
"""Of std::string, in the old and the new convention of GNU's C++."""


class _Override(ctypes.Structure):
    """llama_model_kv_override."""

    class _Value(ctypes.Union):
        _fields_ = (("int", ctypes.c_int64), ("float", ctypes.c_double), ("bool", ctypes.c_bool),
                    ("text", ctypes.c_char * 128))

    _fields_ = (("tag", ctypes.c_int32), ("key", ctypes.c_char * 128), ("value", _Value))


class Overrides:
    """In force on the parameters from put() to take_back(), which must come before Python frees them."""

    def __init__(self, values: Mapping[str, int | bool]):
        self.values = dict(values)
        self._list = (_Override * (len(values) + 1))()  # the last one stays empty: the end of the list
        for entry, (key, value) in zip(self._list, values.items(), strict=False):
            entry.key = key.encode("ascii")
            entry.tag = _BOOL if isinstance(value, bool) else _INT
            setattr(entry.value, "bool" if isinstance(value, bool) else "int", value)
        self._slots: Any = None

    def put(self, params: Any) -> bool:
        """False, and nothing is changed, where the place is not found."""
        if not self.values:
            return True
        place = _place(params)
        if place is None:
            return False
        address = ctypes.addressof(self._list)
        self._slots = (ctypes.c_uint64 * 3).from_address(place)
        self._slots[:] = address, address + ctypes.sizeof(self._list), address + ctypes.sizeof(self._list)
        return True

    def take_back(self) -> None:
        """Once the server has its own copy: the list is Python's memory, and not for C++ to free."""
        if self._slots is not None:
            self._slots[:] = 0, 0, 0

    def argv(self) -> list[str]:
        """The same for llama-server's command line."""
        return [word for key, value in self.values.items() for word in (
            "--override-kv", f"{key}={'bool' if isinstance(value, bool) else 'int'}:{str(value).lower()}")]


def _place(params: Any) -> int | None:
    """The address of the empty std::vector that follows `in_files` and `antiprompt` in the object; None if that is
    not exactly one place."""
    count = type(params).__basicsize__ // 8
    words = (ctypes.c_uint64 * count).from_address(id(params))
    params.in_files, params.antiprompt = ["x"] * 3, ["x"] * 5
    found = [at + 6 for at in range(count - 9)
             if any(words[at + 1] - words[at] == 3 * size and words[at + 4] - words[at + 3] == 5 * size
                    for size in _STRING_SIZES) and words[at + 6:at + 9] == [0, 0, 0]]
    params.in_files, params.antiprompt = [], []
    return id(params) + 8 * found[0] if len(found) == 1 else None
