"""The marks of a vocabulary: tokens that stand for a turn, a role or an end and not for text, with their numbers.

Read from GGUF headers, tokenizer.json (its beginning), tokenizer_config.json, added_tokens.json and SentencePiece
models. Everything is bounded; of 150,000 tokens only the marks are kept. Encodes no text.
"""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from headwater.core.errors import CorruptFile
from headwater.weights import gguf
from headwater.weights.source import Source

LOOKS = re.compile(r"<\|[^|<>\s]{1,80}\|>|<｜[^｜<>\s]{1,80}｜>|</?[\w-]{1,60}>|\[/?[A-Z_]{2,40}\]")
"""How marks are written: <|im_end|>, <｜User｜>, <s>, </think>, <reserved_106>, [INST]."""
MAX_MARKS, MAX_LENGTH = 20_000, 200
TOKENIZER_HEAD = 4_000_000
"""Bytes at the start of tokenizer.json in which its list of added tokens stands."""
_CONTROL, _USER_DEFINED = 3, 4


class Mark(NamedTuple):
    """special: tokenizers read the mark as this one token wherever its text stands. Otherwise it has a number,
    but text is cut into other tokens: Baichuan 2's <reserved_106>."""

    id: int
    special: bool


Marks = Mapping[str, Mark]


def from_gguf(source: Source) -> dict[str, Mark]:
    """Raises CorruptFile. Reads the header only, twice over the tokens."""
    cursor = gguf._Cursor(source)
    gguf._version(cursor, source)
    cursor.u64("the tensor count")
    keys, budget = cursor.u64("the metadata count"), gguf._Budget()
    tokens_at, types = None, array("i")
    for _ in range(min(keys, gguf.MAX_KEYS)):
        key = cursor.name(gguf.MAX_KEY, "a metadata key")
        kind = cursor.u32("the type of a value")
        if key == "tokenizer.ggml.tokens":
            tokens_at = cursor.at
        if key == "tokenizer.ggml.token_type" and kind == gguf._ARRAY:
            types = _integers(cursor)
        else:
            gguf._value(cursor, kind, "metadata", budget)
    if tokens_at is None:
        return {}
    found: dict[str, Mark] = {}
    for number, data in _strings(source, tokens_at):
        kind = types[number] if number < len(types) else 0
        if len(data) <= MAX_LENGTH and len(found) < MAX_MARKS and (kind == _CONTROL or data[:1] in (b"<", b"[")):
            text = data.decode("utf-8", "replace")
            if kind == _CONTROL or LOOKS.fullmatch(text):
                found[text] = Mark(number, kind in (_CONTROL, _USER_DEFINED))
    return found


def _integers(cursor: Any) -> array:
    kind, count = cursor.u32("the type of token types"), cursor.u64("the number of token types")
    if kind not in (4, 5) or count > gguf.MAX_STRINGS:
        raise CorruptFile(f"the token types of this GGUF are {count} items of type {kind}; int32 was expected.")
    values = array("i")
    while len(values) < count:
        values.frombytes(cursor.take(4 * min(count - len(values), 65_536), "token types"))
    return values


def _strings(source: Source, at: int) -> Iterator[tuple[int, bytes]]:
    cursor = gguf._Cursor(source)
    cursor.at = at
    kind, count = cursor.u32("the type of tokens"), cursor.u64("the number of tokens")
    if kind != gguf._STRING:
        raise CorruptFile("the tokens of this GGUF are no strings.")
    for number in range(count):
        length = cursor.u64("a token's length")
        if length <= MAX_LENGTH:
            yield number, cursor.take(length, "a token")
        else:
            cursor.skip(length, "a token")


def from_tokenizer_json(head: bytes) -> dict[str, Mark]:
    """From the first TOKENIZER_HEAD bytes of tokenizer.json: its added_tokens; {} where they are not there."""
    text = head.decode("utf-8", "ignore")
    place = re.search(r'"added_tokens"\s*:\s*', text)
    if not place:
        return {}
    try:
        listed, _ = json.JSONDecoder().raw_decode(text, place.end())
    except (ValueError, RecursionError):
        return {}
    rows = [row for row in listed if isinstance(row, dict)] if isinstance(listed, list) else []
    return _kept((row.get("content"), row.get("id")) for row in rows)


def from_papers(tokenizer_config: Mapping[str, Any], added: Mapping[str, Any]) -> dict[str, Mark]:
    """From added_tokens_decoder of tokenizer_config.json, and added_tokens.json ({text: number})."""
    decoder = tokenizer_config.get("added_tokens_decoder")
    rows = decoder.items() if isinstance(decoder, dict) else ()
    pairs = ((row.get("content"), int(number)) for number, row in rows
             if isinstance(row, dict) and isinstance(number, str) and number.isdecimal() and len(number) < 10)
    return _kept(added.items()) | _kept(pairs)


def from_sentencepiece(data: bytes) -> dict[str, Mark]:
    """From tokenizer.model, a protocol buffer: field 1 of it is a piece {1: text, 3: kind}. Raises CorruptFile."""
    found: dict[str, Mark] = {}
    number = 0
    for field, piece in _fields(data):
        if field != 1 or not isinstance(piece, bytes):
            continue
        said = dict(_fields(piece))
        text, kind = said.get(1, b""), said.get(3, 1)
        if isinstance(text, bytes) and len(text) <= MAX_LENGTH and len(found) < MAX_MARKS:
            word = text.decode("utf-8", "replace")
            if kind == _CONTROL or LOOKS.fullmatch(word):
                found[word] = Mark(number, kind in (_CONTROL, _USER_DEFINED))
        number += 1
    return found


def _fields(data: bytes) -> Iterator[tuple[int, bytes | int]]:
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        if tag & 7 == 0:
            value, at = _varint(data, at)
            yield tag >> 3, value
            continue
        if tag & 7 == 2:
            length, at = _varint(data, at)
        elif tag & 7 in (1, 5):
            length = 8 if tag & 7 == 1 else 4
        else:
            raise CorruptFile(f"tokenizer.model is no protocol buffer: byte {at} has wire type {tag & 7}.")
        if at + length > len(data):
            raise CorruptFile(f"tokenizer.model is cut short: a field of {length} bytes starts at byte {at}.")
        yield tag >> 3, data[at:at + length]
        at += length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 64, 7):
        if at >= len(data):
            break
        value |= (data[at] & 127) << shift
        at += 1
        if data[at - 1] < 128:
            return value, at
    raise CorruptFile(f"tokenizer.model is no protocol buffer: a number ends nowhere at byte {at}.")


def _kept(pairs: Any) -> dict[str, Mark]:
    found: dict[str, Mark] = {}
    for text, number in pairs:
        if isinstance(text, str) and type(number) is int and 0 <= number < 1 << 31 and len(text) <= MAX_LENGTH:
            found[text] = Mark(number, True)
        if len(found) >= MAX_MARKS:
            break
    return found
