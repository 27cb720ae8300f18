"""Vocabularies to write models with: llama.cpp's genuine ones, and from them those of families that no package carries.

What is made keeps the family's own numbers for its marks and the genuine pieces for all else.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from gguf import GGUFValueType, GGUFWriter
from llama_cpp_files import vocabulary

NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
_SIZES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_FORMS = {4: "<I", 5: "<i", 6: "<f", 7: "<?"}


@dataclass(frozen=True)
class Vocabulary:
    """tokens, types and scores by number; merges as GGUF has them. said: the numbers of BOS and EOS and the like."""

    model: str
    tokens: list[bytes]
    types: list[int]
    scores: list[float] | None
    merges: list[bytes]
    said: dict[str, Any]

    def number(self, text: str) -> int:
        return self.tokens.index(text.encode())

    def bytes_of(self, text: str) -> list[int]:
        """The numbers of its bytes, one each."""
        if self.model == "llama":
            return [self.number(f"<0x{byte:02X}>") for byte in text.encode()]
        return [self.number(letters()[byte]) for byte in text.encode()]

    def with_marks(self, marks: dict[str, int], kind: int = CONTROL) -> Vocabulary:
        """The same with these marks at their numbers; where there was none, fillers."""
        most = max(marks.values(), default=0)
        more = range(len(self.tokens), most + 1)
        tokens = self.tokens + [f"[PAD{n}]".encode() for n in more]
        types, scores = self.types + [UNUSED] * len(more), self.scores and self.scores + [0.0] * len(more)
        for text, number in marks.items():
            if text.encode() in tokens and (old := tokens.index(text.encode())) != number:
                tokens[old], types[old] = f"[PAD{old}]".encode(), UNUSED
            tokens[number], types[number] = text.encode(), kind
        return replace(self, tokens=tokens, types=types, scores=scores)

    def shifted(self, first: int, marks: dict[str, int]) -> Vocabulary:
        """The same pieces, less the `first` ones, after a place for marks of small numbers."""
        place = max(marks.values()) + 1
        moved = replace(
            self, tokens=[b"<unk>", *(f"<unused_{n}>".encode() for n in range(1, place)), *self.tokens[first:]],
            types=[UNKNOWN, *[UNUSED] * (place - 1), *self.types[first:]],
            scores=self.scores and [0.0] * place + self.scores[first:])
        return moved.with_marks(marks)

    def write(self, writer: Writer, said: dict[str, Any]) -> None:
        """Into a GGUF. said: over what the vocabulary itself says of BOS and EOS."""
        writer.add_tokenizer_model(self.model)
        writer.add_packed("tokenizer.ggml.tokens", 8, len(self.tokens), _strings(self.tokens))
        types = struct.pack(f"<{len(self.types)}i", *self.types)
        writer.add_packed("tokenizer.ggml.token_type", 5, len(self.types), types)
        if self.scores:
            scores = struct.pack(f"<{len(self.scores)}f", *self.scores)
            writer.add_packed("tokenizer.ggml.scores", 6, len(self.scores), scores)
        if self.merges:
            writer.add_packed("tokenizer.ggml.merges", 8, len(self.merges), _strings(self.merges))
        for name, value in {**self.said, **said}.items():
            if value is None:
                continue
            if isinstance(value, bool):
                writer.add_bool(name, value)
            elif isinstance(value, int):
                writer.add_uint32(name, value)
            else:
                writer.add_string(name, value)


class Writer(GGUFWriter):
    """The gguf package's, which packs 150,000 tokens one by one; here they may come packed."""

    def add_packed(self, key: str, kind: int, count: int, data: bytes) -> None:
        self.add_key_value(key, Packed(struct.pack("<IIQ", 9, kind, count) + data), GGUFValueType.ARRAY)

    def _pack_val(self, val: Any, *kinds: Any, **named: Any) -> bytes:
        return val if isinstance(val, Packed) else super()._pack_val(val, *kinds, **named)


class Packed(bytes):
    """A value as it stands in the file."""


def _strings(values: list[bytes]) -> bytes:
    return b"".join(part for value in values for part in (len(value).to_bytes(8, "little"), value))


@cache
def genuine(name: str) -> Vocabulary:
    """One of llama.cpp's files, as it is."""
    data, found, at = vocabulary(name).read_bytes(), {}, 24
    for _ in range(int.from_bytes(data[16:24], "little")):
        key, at = _text(data, at)
        kind, at = int.from_bytes(data[at:at + 4], "little"), at + 4
        found[key.decode()], at = _value(data, at, kind)
    pick = found.get
    said = {key: value for key, value in found.items()
            if key.startswith("tokenizer.ggml.") and isinstance(value, bool | int | str) and key[15:] != "model"}
    return Vocabulary(pick("tokenizer.ggml.model").decode(), pick("tokenizer.ggml.tokens"),
                      list(pick("tokenizer.ggml.token_type")), pick("tokenizer.ggml.scores"),
                      pick("tokenizer.ggml.merges") or [],
                      said | ({"tokenizer.ggml.pre": found["tokenizer.ggml.pre"].decode()}
                              if "tokenizer.ggml.pre" in found else {}))


def _text(data: bytes, at: int) -> tuple[bytes, int]:
    end = at + 8 + int.from_bytes(data[at:at + 8], "little")
    return data[at + 8:end], end


def _value(data: bytes, at: int, kind: int) -> tuple[Any, int]:
    if kind == 8:
        return _text(data, at)
    if kind != 9:
        end = at + _SIZES[kind]
        return struct.unpack(_FORMS.get(kind, f"<{_SIZES[kind]}s"), data[at:end])[0], end
    inner, count = struct.unpack("<IQ", data[at:at + 12])
    at, values = at + 12, []
    if inner == 8:
        for _ in range(count):
            value, at = _text(data, at)
            values.append(value)
        return values, at
    end = at + _SIZES[inner] * count
    return list(struct.unpack(f"<{count}{_FORMS[inner][1]}", data[at:end])), end


@cache
def letters() -> list[str]:
    """The letter by which byte-level BPE writes each byte, as GPT-2 set them."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    rest = iter(range(256, 512))
    return [chr(byte if byte in plain else next(rest)) for byte in range(256)]
