"""A model file's header, whatever its format. The name is not asked: the first bytes say."""

from __future__ import annotations

from headwater.core.errors import CorruptFile
from headwater.weights import gguf, safetensors, sniff
from headwater.weights.header import Header
from headwater.weights.source import Source

HEADER_ENDINGS = (".safetensors", ".gguf")
"""Files that have a header to read."""


def read_header(source: Source, path: str | None = None) -> Header:
    """Raises CorruptFile. `path` settles what was meant when the first bytes are neither format's."""
    kind = sniff.kind_of(source.read(0, min(source.size, sniff.HEAD_BYTES)))
    name = (path or "").lower()
    if kind == "a GGUF file" and not name.endswith(".safetensors"):
        return gguf.read_header(source)
    if kind == "a safetensors file" and not name.endswith(".gguf"):
        return safetensors.read_header(source)
    if name.endswith(".gguf"):
        return gguf.read_header(source)
    if name.endswith(".safetensors"):
        return safetensors.read_header(source)
    raise CorruptFile(f"neither a safetensors nor a GGUF file: it starts like {kind or 'nothing known'}.")
