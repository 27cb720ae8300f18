"""Have a child process read models (trace/child.py, trace/whole_child.py): bounded, and stopped when asked to.

Which files are a model's, and one digest for the set of them. Knows no repos and no stores: bytes come from a verb.
"""

from __future__ import annotations

import hashlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headwater.core.errors import CorruptFile
from headwater.trace.fingerprint import MAX_BYTES
from headwater.trace.reader import CONFIGS
from headwater.weights.tokens import FILES as TOKEN_FILES
from headwater.weights.tokens import MAX_BYTES as MAX_TOKENIZER

MEMORY = 3 << 30
"""Address space of the child. What it uses of it is bounded by trace.make.MEMORY."""
SECONDS = 120
BYTES_A_SECOND = 10_000_000
"""The child gets SECONDS and a second more for so many bytes; four times as much by the clock."""
MAX_FILES = 5_000
_WEIGHTS = (".safetensors", ".gguf", ".onnx", ".bin", ".pt", ".pth", ".ckpt")
_BESIDE = (".safetensors.index.json", ".bin.index.json", ".onnx_data", ".onnx.data", ".data", ".weight")
_NO_WEIGHTS = ("training_args", "optimizer", "scheduler", "rng_state")

ReadBytes = Callable[[str, int, int], bytes]
"""path, start, stop: exactly these bytes."""
Tell = Callable[[int, int], None]
Guess = Callable[[int], tuple[str, bytes] | None]
"""A tokenizer file (name, bytes) of a known model of so many tokens."""


class CannotRead(CorruptFile):
    """The message is why, for people."""


@dataclass(frozen=True)
class ModelFile:
    """local: a path of this machine that holds the bytes, or None where they must be asked for."""

    size: int
    digest: str = ""
    local: Path | None = None


def model_files(files: Mapping[str, ModelFile]) -> dict[str, ModelFile]:
    """Of a repo's files those a fingerprint may depend on; {} where there are no weights among them."""
    names = {path: path.rpartition("/")[2] for path in files}
    if not any(name.lower().endswith(_WEIGHTS) and not name.startswith(_NO_WEIGHTS) for name in names.values()):
        return {}
    kept = {path: file for path, file in files.items()
            if names[path].lower().endswith((*_WEIGHTS, *_BESIDE)) or path in (*CONFIGS, *TOKEN_FILES)}
    return dict(sorted(kept.items())[:MAX_FILES])


def digest_of(files: Mapping[str, ModelFile]) -> str:
    """sha256 over paths and digests: the same for the same set, in whatever repo."""
    lines = (f"{path}\0{file.digest}\n" for path, file in sorted(files.items()))
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogatepass")).hexdigest()


def folder_files(path: Path) -> dict[str, ModelFile]:
    """Of a folder, or of one file with the tokenizer and config beside it. Raises CannotRead."""
    if path.is_dir():
        found = {str(p.relative_to(path)): p for p in sorted(path.rglob("*")) if p.is_file()}
    else:
        beside = (path.parent / name for name in (*CONFIGS, *TOKEN_FILES))
        found = {p.name: p for p in (path, *beside) if p.is_file()}
        if path.suffix == ".gguf":
            found = {path.name: path}
    files = model_files({name: ModelFile(p.stat().st_size, "", p.resolve()) for name, p in found.items()})
    if not files:
        raise CannotRead(f"There are no weights in {path}.",
                         hint="A model is .safetensors, .gguf, .onnx or .bin files and their tokenizer.")
    return files


def read_apart(files: Mapping[str, ModelFile], read: ReadBytes | None = None, *, tell: Tell | None = None,
               guess: Guess | None = None) -> bytes:
    """The fingerprint, as bytes. read: for files that are not local. tell may raise to stop, and is called at least
    twice a second. Raises CannotRead, and what `read` raises: that says nothing of the model."""
    return run_apart("headwater.trace.child", files, read, tell=tell, guess=guess, most=2 * MAX_BYTES)


def run_apart(child: str, files: Mapping[str, ModelFile], read: ReadBytes | None = None, *, tell: Tell | None = None,
              guess: Guess | None = None, most: int, memory: int = 0,
              asked: dict[str, Any] | None = None) -> bytes:
    """What a child module (trace/child.py says how they talk) makes of the files: at most `most` bytes. asked: what
    else its first line holds. memory 0: MEMORY. Else as read_apart."""
    total = sum(file.size for file in files.values())
    seconds = SECONDS + total // BYTES_A_SECOND
    head = {**(asked or {}), "files": {path: {"size": f.size, "local": os.fspath(f.local) if f.local else None}
                                       for path, f in files.items()}, "memory": memory or MEMORY, "seconds": seconds}
    # One thread: small products on a busy machine wait for a second one longer than they take.
    environ = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"}
    process = subprocess.Popen([sys.executable, "-I", "-m", child], env=environ, cwd="/",
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, bufsize=0)
    try:
        return _Talk(process, read, tell, guess, time.monotonic() + 4 * seconds, most).run(head)
    finally:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


class _Talk:
    def __init__(self, process: subprocess.Popen[bytes], read: ReadBytes | None, tell: Tell | None,
                 guess: Guess | None, until: float, most: int):
        assert process.stdin is not None and process.stdout is not None
        self._process, self._into, self._out = process, process.stdin, process.stdout
        self._read, self._tell, self._guess, self._until, self._most = read, tell, guess, until, most
        self._point = (0, 0)
        self._buffer = bytearray()

    def run(self, head: dict[str, Any]) -> bytes:
        self._send(json.dumps(head).encode() + b"\n")
        while True:
            try:
                said = json.loads(self._line())
            except ValueError:
                raise CannotRead("the reader of the file broke.") from None
            if "progress" in said:
                self._point = tuple(said["progress"])
            elif "read" in said:
                self._answer(*self._bytes(*said["read"]))
            elif "tokens" in said:
                self._answer(*self._tokens(said["tokens"]))
            elif "done" in said and 0 < said["done"] <= self._most:
                return self._exactly(said["done"])
            else:
                raise CannotRead(str(said.get("problem") or "the reader of the file broke.")[:1000])
            if self._tell is not None:
                self._tell(*self._point)

    def _bytes(self, path: str, start: int, stop: int) -> tuple[dict[str, Any], bytes]:
        if self._read is None:
            raise CannotRead(f"the bytes of {path} are not at hand.")
        return {}, self._read(path, start, stop)

    def _tokens(self, rows: int) -> tuple[dict[str, Any], bytes]:
        name, data = (self._guess(rows) if self._guess is not None else None) or ("", b"")
        return {"name": name}, data if len(data) <= MAX_TOKENIZER else b""

    def _answer(self, more: dict[str, Any], data: bytes) -> None:
        self._send(json.dumps({**more, "size": len(data)}).encode() + b"\n" + data)

    def _send(self, data: bytes) -> None:
        try:
            view = memoryview(data)
            while len(view):
                view = view[self._into.write(view):]
        except BrokenPipeError:
            raise self._died() from None

    def _line(self) -> bytes:
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > 1 << 20:
                raise CannotRead("the reader of the file broke.")
            self._more()
        line = bytes(self._buffer[:end])
        del self._buffer[:end + 1]
        return line

    def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            self._more()
        return bytes(self._buffer[:size])

    def _more(self) -> None:
        while not select.select([self._out], [], [], 0.5)[0]:
            if self._tell is not None:
                self._tell(*self._point)
            if time.monotonic() > self._until:
                raise CannotRead("it takes too long to read.")
        data = self._out.read(1 << 16)
        if not data:
            raise self._died()
        self._buffer += data

    def _died(self) -> CannotRead:
        code = self._process.wait(10)
        if code < 0:
            return CannotRead(f"its reader was stopped by signal {-code}: it takes too much time or memory.")
        return CannotRead("the reader of the file broke.")
