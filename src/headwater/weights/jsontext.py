"""JSON from strangers, with its size, depth and number of values bounded before and while it is read.

Stricter than the json module: a key twice in one object, NaN, and numbers like -0 or 1e400 are refused.
tests/weights/test_safetensors.py holds the worst of it under MAX_MEMORY.
"""

from __future__ import annotations

import json
from typing import Any

from headwater.core.errors import CorruptFile

MAX_BYTES = 25_000_000
"""As the Hugging Face clients have it for a safetensors header. A quarter of it if not plain ASCII, because
Python then takes up to four bytes for each character."""
MAX_VALUES = 2_500_000
MAX_DEPTH = 100
MAX_MEMORY = 400_000_000
MAX_DIGITS = 20


def parse(data: bytes, what: str, *, offset: int = 0) -> Any:
    """The value. `what` names it in messages; `offset` is the byte of the file where `data` starts.

    Raises CorruptFile.
    """
    limit = MAX_BYTES if data.isascii() else MAX_BYTES // 4
    if len(data) > limit:
        raise CorruptFile(f"{what} is {len(data)} bytes long; at most {limit} are read.")
    # Every value and key is preceded by one of these, so their count bounds the objects Python will make.
    values = sum(data.count(mark) for mark in (b",", b":", b"[", b"{"))
    if values > MAX_VALUES:
        raise CorruptFile(f"{what} holds about {values} values; at most {MAX_VALUES} are read.")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        byte = data[error.start]
        raise CorruptFile(f"{what} is not UTF-8: byte {offset + error.start} is 0x{byte:02x}.") from None
    try:
        value = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        byte = offset + len(text[:error.pos].encode())
        raise CorruptFile(f"{what} is not JSON: {error.msg.lower().removesuffix(' at')} at byte {byte}.") from None
    except _Refused as error:
        raise CorruptFile(f"{what} {error}.") from None
    except RecursionError:
        raise CorruptFile(f"{what} is nested more than {MAX_DEPTH} deep.") from None
    if deeper_than(value, MAX_DEPTH):
        raise CorruptFile(f"{what} is nested more than {MAX_DEPTH} deep.")
    return value


def deeper_than(value: Any, depth: int) -> bool:
    """Whether lists and objects stand more than `depth` inside one another."""
    level = [value]
    for _ in range(depth + 1):
        inner: list[Any] = []
        for item in level:
            if type(item) is dict:
                inner.extend(v for v in item.values() if type(v) in (dict, list))
            elif type(item) is list:
                inner.extend(v for v in item if type(v) in (dict, list))
        if not inner:
            return False
        level = inner
    return True


class _Refused(Exception):
    """JSON that parses and is refused all the same; the text continues "the header ..."."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise _Refused(f"names {shown(twice)} twice in one object")
    return found


def _integer(digits: str) -> int:
    if len(digits) > MAX_DIGITS or digits == "-0":
        raise _Refused(f"holds the number {digits[:24]}, which is no whole number of 64 bits")
    return int(digits)


def _constant(name: str) -> Any:
    raise _Refused(f"holds {name}, which is not JSON")


def shown(name: object, limit: int = 80) -> str:
    """A name out of a stranger's file, quoted, cut and without control characters."""
    text = str(name)
    return repr(text) if len(text) <= limit else f"{text[:limit]!r}…"


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_constant=_constant)
