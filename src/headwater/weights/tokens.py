"""The token strings of a model, by number, whatever tokenizer wrote them, as canonical bytes.

Byte-level BPE writes a leading space as 'Ġ', SentencePiece as '▁', WordPiece writes nothing and marks the pieces that
continue a word with '##'. Canonical bytes say what the token stands for in text: b" the", b"ing", b"\\n". Which of the
three it is is seen from the strings themselves, since names of tokenizers are as free as names of models.
Knows nothing of normalisers, merges or special tokens' meaning; encodes no text.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

import numpy as np

from headwater.core.errors import CorruptFile
from headwater.weights import jsontext
from headwater.weights.source import Source
from headwater.weights.string_walk import walk

MAX_TOKENS = 4_000_000
MAX_BYTES = 64 << 20
"""Of a tokenizer file. The largest seen (Gemma's tokenizer.json) has 33 MB."""
FILES = ("tokenizer.json", "vocab.json", "vocab.txt", "tokenizer.model")
"""Names of files that hold tokens, the one to take first."""

Style = Literal["bytes", "space", "pieces", "plain"]
_STARTS = {"bytes": "Ġ".encode(), "space": "▁".encode(), "pieces": b"##"}
_BYTE = re.compile(rb"<0x([0-9A-Fa-f]{2})>\Z")
_GGUF_TOKENS = "tokenizer.ggml.tokens"


@dataclass(frozen=True)
class Tokens:
    """raw: the strings one after another as the file has them; token i is raw[starts[i]:stops[i]].

    A number without a token is an empty string. style: how the strings mark spaces.
    """

    raw: np.ndarray
    starts: np.ndarray
    stops: np.ndarray

    def __len__(self) -> int:
        return len(self.starts)

    def text(self, number: int) -> bytes:
        return self.raw[self.starts[number]:self.stops[number]].tobytes()

    def canonical(self, number: int) -> bytes:
        """What the token stands for in text."""
        return _canonical(self.text(number), self.style)

    @cached_property
    def style(self) -> Style:
        """The marker that begins most tokens; WordPiece's is rarer, because it marks the rest of the word."""
        counts = {style: int(self.beginning_with(mark).sum()) for style, mark in _STARTS.items()}
        style = max(counts, key=counts.__getitem__)
        return style if counts[style] > len(self) // 50 else "plain"  # type: ignore[return-value]

    def beginning_with(self, mark: bytes) -> np.ndarray:
        """bool (n,): which tokens begin with these bytes, at most 4."""
        whole = np.uint32((1 << 8 * len(mark)) - 1)
        same = (self._heads & whole) == np.uint32(int.from_bytes(mark, "little"))
        return same & (self.stops - self.starts >= len(mark))

    @cached_property
    def _heads(self) -> np.ndarray:
        """uint32 (n,): each token's first 4 bytes, those behind it too where it is shorter."""
        return self.bytes_at(self.starts, 4).view("<u4")[:, 0]

    def bytes_at(self, places: np.ndarray, count: int) -> np.ndarray:
        """uint8 (n, count): the bytes from each place of `raw` on; zeros behind its end."""
        found = np.zeros((len(places), count), np.uint8)
        room = len(self.raw) - count
        inside = places <= room
        if room >= 0:
            views = np.lib.stride_tricks.sliding_window_view(self.raw, count)
            if inside.all():
                return views[places]
            found[inside] = views[places[inside]]
        for row in np.flatnonzero(~inside):
            rest = self.raw[places[row]:places[row] + count]
            found[row, :len(rest)] = rest
        return found


def from_strings(strings: list[bytes]) -> Tokens:
    lengths = np.fromiter(map(len, strings), np.int64, len(strings))
    stops = np.cumsum(lengths)
    return Tokens(np.frombuffer(b"".join(strings), np.uint8), stops - lengths, stops)


def read_tokens(name: str, data: bytes) -> Tokens:
    """From a tokenizer file, by its name (see FILES). Raises CorruptFile."""
    last = name.rpartition("/")[2].lower()
    if last.endswith(".model"):
        return _sentencepiece(data)
    if last.endswith(".txt"):
        data = data.removesuffix(b"\n")
        return from_strings([line.rstrip(b"\r") for line in _at_most(data, data.count(b"\n")).split(b"\n")])
    return _json_vocabulary(data, last)


def _at_most(data: bytes, count: int) -> bytes:
    if len(data) > MAX_BYTES:
        raise CorruptFile(f"the tokenizer file is {len(data)} bytes long; at most {MAX_BYTES} are read.")
    if count > MAX_TOKENS:
        raise CorruptFile(f"the tokenizer file holds {count} tokens; at most {MAX_TOKENS} are read.")
    return data


# --- tokenizer.json, vocab.json


def _json_vocabulary(data: bytes, name: str) -> Tokens:
    _at_most(data, 0)
    try:
        text = data.decode("utf-8")
        value, added = _vocabulary(text) if name != "vocab.json" else (json.loads(text), [])
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise CorruptFile(f"{name} cannot be read: {error}.") from None
    if isinstance(value, list):  # Unigram: [["piece", score], ...]
        pairs = [(entry[0], number) for number, entry in enumerate(value)
                 if isinstance(entry, list) and entry and isinstance(entry[0], str)]
        tokens, numbers = [token for token, _ in pairs], [number for _, number in pairs]
    elif isinstance(value, dict):
        tokens, numbers = list(value), list(value.values())
        if set(map(type, numbers)) != {int}:
            tokens = [token for token, number in value.items() if type(number) is int]
            numbers = [number for number in numbers if type(number) is int]
    else:
        raise CorruptFile(f"{name} holds no vocabulary.")
    more = [(entry["content"], entry["id"]) for entry in added if isinstance(entry, dict)
            and isinstance(entry.get("content"), str) and type(entry.get("id")) is int]
    return _by_number(tokens + [token for token, _ in more], numbers + [number for _, number in more], name)


def _vocabulary(text: str) -> tuple[object, list[object]]:
    """The "vocab" and the added tokens of a tokenizer.json. The merges, half of the file, are stepped over."""
    decoder = json.JSONDecoder()
    found: object = None
    for match in re.finditer(r'"vocab"\s*:\s*(?=[{\[])', text):
        found, _ = decoder.raw_decode(text, match.end())
        break
    added: object = []
    match = re.search(r'"added_tokens"\s*:\s*(?=\[)', text)
    if match:
        added, _ = decoder.raw_decode(text, match.end())
    return found, added if isinstance(added, list) else []


def _by_number(tokens: list[str], numbers: list[int], name: str) -> Tokens:
    """Of two with one number the later counts."""
    if not tokens:
        raise CorruptFile(f"{name} holds no tokens.")
    highest = max(numbers)
    if not -1 < highest < MAX_TOKENS or min(numbers) < 0:
        raise CorruptFile(f"{name} numbers its tokens up to {highest}; 0 to {MAX_TOKENS - 1} are read.")
    # Encoded in one go; a byte that is no continuation begins a character, and how many each token has is known.
    raw = np.frombuffer("".join(tokens).encode("utf-8", "replace"), np.uint8)
    characters = np.append(np.flatnonzero(raw & 0xC0 != 0x80), len(raw))
    ends = characters[np.cumsum(np.fromiter(map(len, tokens), np.int64, len(tokens)))]
    starts, stops = np.zeros((2, highest + 1), np.int64)
    starts[numbers] = np.append(0, ends[:-1])
    stops[numbers] = ends
    return Tokens(raw, starts, stops)


# --- SentencePiece: a protocol buffer whose field 1 repeats, each a message whose field 1 is the piece


def _sentencepiece(data: bytes) -> Tokens:
    _at_most(data, 0)
    pieces: list[bytes] = []
    at = 0
    while at < len(data):
        field, kind, start, at = _field(data, at)
        if field == 1 and kind == 2:
            inner_at = start
            while inner_at < at:
                inner, inner_kind, inner_start, inner_at = _field(data, inner_at)
                if inner == 1 and inner_kind == 2:
                    pieces.append(data[inner_start:min(inner_at, at)])
                    break
            _at_most(b"", len(pieces))
    if not pieces:
        raise CorruptFile("tokenizer.model holds no SentencePiece pieces.")
    return from_strings(pieces)


def _field(data: bytes, at: int) -> tuple[int, int, int, int]:
    """(field number, wire type, first byte of its value, byte after it)."""
    key, at = _varint(data, at)
    kind = key & 7
    if kind == 0:
        return key >> 3, kind, at, _varint(data, at)[1]
    if kind == 2:
        length, at = _varint(data, at)
    else:
        length = {1: 8, 5: 4}.get(kind, -1)
    if length < 0 or at + length > len(data):
        raise CorruptFile(f"tokenizer.model is no SentencePiece model: byte {at} starts a field that cannot be.")
    return key >> 3, kind, at, at + length


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise CorruptFile(f"tokenizer.model is no SentencePiece model: no number ends at byte {at}.")


# --- GGUF


def from_gguf(source: Source, stop: int) -> Tokens | None:
    """The tokens in a GGUF file's metadata; None if it has none. `stop`: where its header ends.

    Call it on a file whose header gguf.read_header has accepted: only then are the lengths known to fit.
    """
    data = source.read(0, min(stop, MAX_BYTES * 2))
    key = _GGUF_TOKENS.encode()
    mark = len(key).to_bytes(8, "little") + key + (9).to_bytes(4, "little") + (8).to_bytes(4, "little")
    at = data.find(mark)
    if at < 0:
        return None
    at += len(mark)
    count = int.from_bytes(data[at:at + 8], "little")
    at += 8
    if count > MAX_TOKENS:
        raise CorruptFile(f"the GGUF file lists {count} tokens; at most {MAX_TOKENS} are read.")
    starts, stops = walk(data, at, count)
    if len(starts) < count:
        raise CorruptFile(f"a token of the GGUF file reaches past byte {len(data)}, where its header ends.")
    return Tokens(np.frombuffer(data, np.uint8), starts, stops)


# --- canonical


def _canonical(text: bytes, style: Style) -> bytes:
    if style == "bytes":
        table = _byte_of_character()
        try:
            return bytes(table[character] for character in text.decode("utf-8"))
        except (KeyError, UnicodeDecodeError):
            return text  # an added token, written as it is
    if style == "space":
        byte = _BYTE.match(text)
        return bytes([int(byte[1], 16)]) if byte else text.replace(_STARTS["space"], b" ")
    if style == "pieces":
        return text[2:] if text.startswith(b"##") else b" " + text
    return text


@lru_cache(maxsize=1)
def _byte_of_character() -> dict[str, int]:
    """GPT-2's printable stand-ins: bytes that print stand for themselves, the others for U+0100 and on, in order."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + n): byte for n, byte in enumerate(others)}


def readable_text(data: bytes, limit: int = 40) -> str:
    """Canonical bytes for a person's eyes: bytes that are no UTF-8 become U+FFFD."""
    return jsontext.shown(data.decode("utf-8", "replace"), limit)
