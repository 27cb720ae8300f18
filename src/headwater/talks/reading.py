"""What is a file, and what can be read in it? Knows bytes; knows no account and no store.

Pictures are told by their first bytes; their pixels are the chat room's affair. A PDF is read in a child process
with limits (_pdf.py). Anything else is text if it decodes as text.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path

from headwater.core.errors import BadInput, Busy, TooLarge
from headwater.core.types import Digest

PDF = "application/pdf"
PICTURES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF87a": "image/gif",
            b"GIF89a": "image/gif"}
TEXT_MAX = 2_000_000
"""Characters; no model here has a context for more."""
PAGES_MAX, CPU_S, WALL_S, MEMORY = 1_000, 15, 45, 1_000_000_000
AT_ONCE, KEPT_MAX, KEPT_CHARACTERS = 2, 64, 8_000_000
_NOT_TEXT = frozenset(range(32)) - {9, 10, 12, 13, 27}


@dataclass(frozen=True)
class Read:
    """text: None when there is nothing a model could read, as in a picture."""

    media_type: str
    text: str | None


class Reader:
    """Reads files, at most AT_ONCE PDFs at a time, and remembers what it read lately: a conversation hands over the
    same file with every turn."""

    def __init__(self) -> None:
        self._turns = threading.BoundedSemaphore(AT_ONCE)
        self._lock = threading.Lock()
        self._read: OrderedDict[Digest, Read] = OrderedDict()

    def read(self, path: Path, digest: Digest, name: str) -> Read:
        """Raises BadInput for a PDF that cannot be read, TooLarge for more text than TEXT_MAX, Busy."""
        with self._lock:
            if digest in self._read:
                self._read.move_to_end(digest)
                return self._read[digest]
        found = self._look(path, name)
        with self._lock:
            self._read[digest] = found
            while len(self._read) > KEPT_MAX or sum(len(r.text or "") for r in self._read.values()) > KEPT_CHARACTERS:
                self._read.popitem(last=False)
        return found

    def _look(self, path: Path, name: str) -> Read:
        with path.open("rb") as file:
            head = file.read(1024)
        if b"%PDF-" in head:
            return Read(PDF, self._pdf(path, name))
        if kind := picture(head):
            return Read(kind, None)
        text = decode(path.read_bytes())
        if text is None:
            return Read("application/octet-stream", None)
        if len(text) > TEXT_MAX:
            raise TooLarge(f"{name} holds {len(text):,} characters, and at most {TEXT_MAX:,} are read.",
                           hint="Send the part that matters.")
        return Read("text/plain", text)

    def _pdf(self, path: Path, name: str) -> str:
        if not self._turns.acquire(timeout=WALL_S):
            raise Busy("Other PDFs are being read.", retry_after=10, hint="Try again in a moment.")
        try:
            return read_pdf(path, name)
        finally:
            self._turns.release()


def picture(head: bytes) -> str | None:
    """The media type, if these are the first bytes of a picture browsers know."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for start, kind in PICTURES.items() if head.startswith(start)), None)


def decode(data: bytes) -> str | None:
    """The text, in UTF-8, in UTF-16 with its mark, or in the GB18030 of Chinese files; None if it is none."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        codecs = ("utf-16",)
    elif _NOT_TEXT.intersection(data):
        return None
    else:
        codecs = ("utf-8-sig", "gb18030")
    for codec in codecs:
        try:
            text = data.decode(codec)
        except UnicodeDecodeError:
            continue
        if codec == "utf-8-sig" or all(letter.isprintable() or letter.isspace() for letter in text):
            return text.replace("\r\n", "\n").replace("\0", "")
    return None


def read_pdf(path: Path, name: str) -> str:
    """Raises BadInput, saying why. A text that was cut, or pages that were not read, are told in its last line."""
    program = Path(__file__).with_name("_pdf.py")
    argv = [sys.executable, "-I", str(program), *map(str, (MEMORY, CPU_S, PAGES_MAX, TEXT_MAX))]
    try:
        with path.open("rb") as file:
            run = subprocess.run(argv, stdin=file, capture_output=True, timeout=WALL_S, env={}, check=False)
        told = json.loads(run.stdout) if run.returncode == 0 else {"error": "reading it took too much time or memory"}
    except subprocess.TimeoutExpired:
        told = {"error": "reading it took too long"}
    except ValueError:
        told = {"error": "it does not hold together"}
    if error := told.get("error"):
        raise BadInput(f"The PDF {name} cannot be read: {error}.", hint="Send its text, or a PDF without a password."
                       if "encrypted" in error else "Print it to a new PDF, or send its text.")
    # Lone surrogates come from broken fonts, and can be kept nowhere.
    text = told["text"].encode("utf-8", "replace").decode().replace("\0", "")
    if not text.strip():
        if told["broken"]:
            raise BadInput(f"The PDF {name} cannot be read: {told['broken']:,} of its pages do not hold together.",
                           hint="Print it to a new PDF, or send its text.")
        raise BadInput(f"The PDF {name} holds no text: its {told['pages']:,} pages are pictures, or empty.",
                       hint="Send pictures of its pages to a model that sees.")
    return text + _left_out(told)


def _left_out(told: dict[str, int]) -> str:
    notes = []
    if told["read"] < told["pages"] or told["cut"]:
        notes.append(f"cut: {told['read']:,} of {told['pages']:,} pages were read")
    if told["broken"]:
        notes.append(f"{told['broken']:,} pages could not be read")
    return f"\n\n[{'; '.join(notes)}]" if notes else ""
