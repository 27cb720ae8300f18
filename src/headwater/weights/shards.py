"""Models cut into several files: which files make one model, and their headers as one.

Knows the names loaders go by (model.safetensors, its index, name-00001-of-00003); reads no bytes itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from headwater.core.errors import CorruptFile
from headwater.weights import jsontext
from headwater.weights.header import Header, Tensor
from headwater.weights.jsontext import shown

INDEX = "model.safetensors.index.json"
MAX_SHARDS = 1_000
PREFERRED = ("q4_k_m", "q4_k_s", "q5_k_m", "q4_k", "q5_k", "q6_k", "q8_0", "q4_0", "q4_1", "q5", "bf16", "f16", "f32")
"""Quantisations, the one to take first."""
_NO_MODEL = re.compile(r"(^|[-_./])(mmproj|imatrix|lora|adapter)[-_.]", re.I)
_LATER_PART = re.compile(r"-(?!00001)\d{5}-of-\d{5}\.gguf$", re.I)
_SHARD = re.compile(r"(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<end>\.safetensors|\.gguf)\Z", re.I)


@dataclass(frozen=True)
class Index:
    """model.safetensors.index.json. weight_map: tensor name to file name, beside the index."""

    metadata: dict[str, Any]
    weight_map: dict[str, str]

    @property
    def files(self) -> list[str]:
        return sorted(set(self.weight_map.values()))


def parse_index(data: bytes) -> Index:
    """Raises CorruptFile; a file name that leaves the index's folder is refused too."""
    raw = jsontext.parse(data, "the safetensors index")
    weight_map = raw.get("weight_map") if isinstance(raw, dict) else None
    if not isinstance(weight_map, dict) or not all(isinstance(file, str) for file in weight_map.values()):
        raise CorruptFile("the safetensors index has no weight_map of tensor names to file names.")
    files = set(weight_map.values())
    for file in files:
        if not file.endswith(".safetensors") or file.startswith("/") or ".." in file.split("/") or "\\" in file:
            raise CorruptFile(f"the safetensors index names {shown(file)}; a .safetensors file beside it was expected.")
    if len(files) > MAX_SHARDS:
        raise CorruptFile(f"the safetensors index names {len(files)} files; at most {MAX_SHARDS} are read.")
    metadata = raw.get("metadata")
    return Index(metadata if isinstance(metadata, dict) else {}, weight_map)


def merge(headers: Mapping[str, Header], index: Index | None = None) -> Header:
    """The headers of a model's files, by path, as one; each tensor says its file.

    Metadata are the first file's (GGUF keeps all of it there). With an index, every tensor it names must stand in
    the file it says. Raises CorruptFile; also for a tensor that stands in two files.
    """
    if not headers:
        raise CorruptFile("no file to read a header from.")
    where: dict[str, str] = {}
    tensors: list[Tensor] = []
    for path, header in headers.items():
        for tensor in header.tensors:
            if tensor.name in where:
                raise CorruptFile(f"tensor {shown(tensor.name)} stands in {where[tensor.name]} and again in {path}.")
            where[tensor.name] = path
            tensors.append(tensor._replace(file=path))
    for name, file in (index.weight_map if index else {}).items():
        found = where.get(name)
        if found is None or found.rpartition("/")[2] != file.rpartition("/")[2]:
            raise CorruptFile(f"the index puts tensor {shown(name)} in {shown(file)}; "
                              f"it is in {found or 'none of the files'}.")
    first = next(iter(headers.values()))
    start = first.data_start if len(headers) == 1 else None
    return Header(first.format, first.metadata, tuple(tensors), data_start=start, version=first.version)


def model_files(sizes: Mapping[str, int]) -> tuple[list[str], str | None]:
    """The files that make the model a repo is about, and the path of its index if it has one.

    sizes: bytes by repo path. Safetensors at the root come first, then GGUF; of stray safetensors files the largest,
    of several quantisations the first of `gguf_models`. ([], None) when there is neither. Without an index the files
    of a model in parts are those numbered so; with one, [] stands for "as the index says".
    """
    roots = sorted(path for path in sizes if "/" not in path)
    if INDEX in sizes:
        return [], INDEX
    if "model.safetensors" in sizes:
        return ["model.safetensors"], None
    indexes = [path for path in roots if path.endswith(".safetensors.index.json")]
    if indexes:
        return [], indexes[0]
    tensors = [path for path in roots if path.lower().endswith(".safetensors")]
    if tensors:
        return _parts(max(tensors, key=lambda path: sizes[path]), sizes), None
    ggufs = gguf_models(sizes)
    return (_parts(ggufs[0], sizes), None) if ggufs else ([], None)


def gguf_models(paths: Iterable[str]) -> list[str]:
    """The GGUF files (of a model in parts, the first) that are models by themselves, the one to take first: nearest
    to the root, then the quantisation most people take, then by name."""
    whole = [path for path in paths if path.lower().endswith(".gguf") and not _NO_MODEL.search(path)
             and not _LATER_PART.search(path)]
    return sorted(whole, key=lambda path: (path.count("/"), _rank(path), path))


def _rank(path: str) -> int:
    name = path.lower()
    return next((n for n, form in enumerate(PREFERRED) if form in name), len(PREFERRED))


def _parts(path: str, sizes: Mapping[str, int]) -> list[str]:
    match = _SHARD.match(path)
    if match is None:
        return [path]
    names = [f"{match['stem']}-{number:05}-of-{match['count']}{match['end']}"
             for number in range(1, min(int(match["count"]), MAX_SHARDS) + 1)]
    return [name for name in names if name in sizes]
