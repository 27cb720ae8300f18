"""Make one fingerprint in a process of its own: python -I -m headwater.trace.child

A model file is a stranger's. Whatever it makes of the reading, it does so with little memory, little time, no file to
write and nothing of the hub in reach. First line in: JSON {files: {path: {size, local}}, memory, seconds}, local a path
of this machine or null. Lines out, JSON each: {progress}, {read} and {tokens} (asked of the parent, which answers a
line {size} and as many bytes), at last {problem} or {done} and as many bytes.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any, BinaryIO

from headwater.core.errors import HeadwaterError
from headwater.trace.make import make_fingerprint
from headwater.weights import tokens
from headwater.weights.pickles import limit_self
from headwater.weights.source import MappedSource, Source, whole

AHEAD = 2 << 20
"""Where a file was read in order three times, as many bytes more as were asked for are fetched, up to this many:
a question to the parent may be one over a network."""


class Parent:
    """The two pipes."""

    def __init__(self, into: BinaryIO, out: BinaryIO):
        self._in, self._out = into, out

    def first(self) -> dict[str, Any]:
        return json.loads(self._in.readline())

    def say(self, body: bytes = b"", **what: Any) -> None:
        self._out.write(json.dumps(what).encode() + b"\n" + body)
        self._out.flush()

    def ask(self, **what: Any) -> tuple[dict[str, Any], bytes]:
        self.say(**what)
        answer = json.loads(self._in.readline())
        return answer, self._in.read(answer["size"])


class AskedSource:
    """A file whose bytes the parent has. Holds the last answer, and of what it expects to be asked next."""

    gap_bytes = 64 << 10

    def __init__(self, parent: Parent, path: str, size: int):
        self.size, self._parent, self._path = size, parent, path
        self._start, self._held, self._next, self._in_order = 0, b"", -1, 0

    def read(self, start: int, stop: int) -> bytes:
        self._in_order = self._in_order + 1 if start == self._next else 0
        if not self._start <= start <= stop <= self._start + len(self._held):
            ahead = min(stop - start, AHEAD) if self._in_order >= 3 else 0
            end = max(stop, min(self.size, stop + ahead))
            self._held = whole(self._parent.ask(read=[self._path, start, end])[1], start, end)
            self._start = start
        self._next = stop
        return self._held[start - self._start:stop - self._start]


class Asked:
    """What the first line asks: files by path, and how to open them and to guess their tokens."""

    def __init__(self, parent: Parent, line: dict[str, Any]):
        self.line, self._parent = line, parent
        self.sizes: dict[str, int] = {path: file["size"] for path, file in line["files"].items()}

    def open_file(self, path: str) -> Source:
        local = self.line["files"][path]["local"]
        return MappedSource(local) if local else AskedSource(self._parent, path, self.sizes[path])

    def guess_tokens(self, rows: int) -> tokens.Tokens | None:
        answer, data = self._parent.ask(tokens=rows)
        return tokens.read_tokens(answer["name"], data) if data else None

    def tell(self, done: int, total: int) -> None:
        self._parent.say(progress=[done, total])


def fingerprint(asked: Asked) -> bytes:
    return make_fingerprint(asked.open_file, asked.sizes, asked.tell, asked.guess_tokens).to_bytes()


def serve(run: Callable[[Asked], bytes]) -> int:
    """Answer the one question there is by what `run` makes of it, or say why not."""
    parent = Parent(sys.stdin.buffer, sys.stdout.buffer)
    asked = Asked(parent, parent.first())
    limit_self(memory=asked.line["memory"], seconds=asked.line["seconds"], files=1200)
    try:
        data = run(asked)
        parent.say(data, done=len(data))
    except HeadwaterError as error:
        parent.say(problem=error.message)
    except MemoryError:
        parent.say(problem=f"it takes more than {asked.line['memory'] >> 20} MiB of memory to read.")
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, ArithmeticError, RecursionError,
            OSError) as error:
        parent.say(problem=f"it is not what its header says ({type(error).__name__}).")
    return 0


if __name__ == "__main__":
    raise SystemExit(serve(fingerprint))
