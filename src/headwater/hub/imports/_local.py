"""Files of this machine as offers: copied into the import's folder while they are hashed, so that later edits of the
original change nothing here. And the card a model gets that came without one."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from headwater.core.errors import BadInput, CorruptFile
from headwater.core.types import Staged
from headwater.hub import Hub
from headwater.hub.commit import looks_binary
from headwater.hub.imports._shelf import Meter, Offer
from headwater.hub.intake import Intake
from headwater.weights.header import Header
from headwater.weights.read import read_header
from headwater.weights.source import FileSource

CHUNK = 1 << 20
_QUANT = re.compile(r"[.-](?:I?Q\d[\w]*|F16|F32|BF16|FP16|FP32|MXFP4\w*)$", re.I | re.A)


def file_offer(hub: Hub, path: str, file: Path) -> Offer:
    size = file.stat().st_size
    return Offer(path, size, partial(_copy, hub, partial(_chunks, file), path, size))


def bytes_offer(hub: Hub, path: str, content: bytes) -> Offer:
    return Offer(path, len(content), partial(_copy, hub, lambda: iter([content]), path, len(content)))


def stream_offer(hub: Hub, path: str, size: int, chunks: Callable[[], Iterable[bytes]]) -> Offer:
    return Offer(path, size, partial(_copy, hub, chunks, path, size))


def staged_offer(path: str, staged: Staged) -> Offer:
    """Bytes that already stand in the import's folder."""

    def hand_over(folder: Path, meter: Meter) -> Staged:
        meter.add(staged.size)
        return staged

    return Offer(path, staged.size, hand_over, digest=staged.digest)


def _chunks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            yield chunk


def _copy(hub: Hub, chunks: Callable[[], Iterable[bytes]], path: str, size: int, folder: Path, meter: Meter) -> Staged:
    """Staged bytes; regular or LFS by the rule the upload API has. Raises BadInput if the size changed meanwhile."""
    first = b""
    with Intake(Path(tempfile.mkdtemp(dir=folder)), size, git_size=size) as intake:
        for chunk in chunks():
            first = first or chunk[:512]
            intake.write(chunk)
            meter.add(len(chunk))
        if intake.size != size:
            raise BadInput(f"{path} changed while it was read.", hint="Add it again when nothing writes to it.")
        staged = intake.finish()
    large = size > hub.settings.regular_max_bytes or looks_binary(first)
    return Staged(staged.path, staged.digest, staged.size, None if large and size else staged.git_oid)


# --- names and cards


def model_name(stem: str) -> str:
    """A repo name from a file name without its ending: only allowed characters, no mark of its quantisation."""
    name = re.sub(r"--+", "-", re.sub(r"[^A-Za-z0-9._-]+|\.\.+", "-", _QUANT.sub("", stem))).strip("-._")[:90]
    return name or "model"


def header_of(file: Path, path: str) -> Header | None:
    """The header of a weight file, None for any other file. Raises CorruptFile for one that does not hold together."""
    if not path.lower().endswith((".gguf", ".safetensors")):
        return None
    with FileSource(file) as source:
        try:
            return read_header(source, path)
        except CorruptFile as error:
            raise CorruptFile(f"{path}: {error.message}", hint=error.hint) from None


def said(header: Header | None, key: str) -> str | None:
    """A short text of the header's metadata, on one line, or None."""
    value = header.metadata.get(key) if header else None
    return " ".join(value.split())[:200] if isinstance(value, str) and value.strip() else None


def front_matter(header: Header | None, licence: str | None) -> dict[str, Any]:
    """What the card may state: from the file itself, never guessed."""
    front: dict[str, Any] = {}
    if licence:
        front["license"] = licence
    if header and header.format == "gguf":
        front["tags"] = ["gguf"]
        if said(header, "tokenizer.chat_template") or "tokenizer.chat_template" in header.metadata:
            front["tags"].append("conversational")
        if said(header, "general.architecture") and "tokenizer.ggml.model" in header.metadata:
            front["pipeline_tag"] = "text-generation"
    elif header:
        front["tags"] = ["safetensors"]
    return front


def card(front: dict[str, Any], title: str, lines: Iterable[str]) -> bytes:
    head = f"---\n{yaml.safe_dump(front, sort_keys=False, allow_unicode=True)}---\n" if front else ""
    return f"{head}# {title}\n\n{chr(10).join(lines)}\n".encode()
