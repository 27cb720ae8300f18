"""What a revision's model is, read from headers and small files by ranges, and kept in memory while it is asked for.

A commit and a blob never change, so nothing kept goes stale. What cannot be read is told as a problem beside what can.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from headwater.core.errors import CorruptFile, HeadwaterError
from headwater.core.types import Commit, Entry, Repo
from headwater.hub import Hub, browse
from headwater.hub.card import parse_card
from headwater.weights import jsontext, shards
from headwater.weights.describe import Description, Papers, describe
from headwater.weights.header import Header
from headwater.weights.read import read_header
from headwater.weights.source import RangeSource

SMALL = 4_000_000
"""Bytes of a config, a template or a card that are read."""
INDEX_BYTES = 25_000_000
KEPT_TENSORS = 300_000
"""Tensors of all headers kept, about 400 bytes each; metadata count by their length."""
KEPT_FACTS = 64

Value = TypeVar("Value")


@dataclass(frozen=True)
class Facts:
    """headers: of the files that make the model, by path. model: those merged; None when there is none to read.

    problems: (path, what is wrong) of files that should have said something.
    """

    description: Description
    headers: dict[str, Header]
    model: Header | None
    problems: tuple[tuple[str, str], ...]


def facts(hub: Hub, repo: Repo, commit: Commit) -> Facts:
    """Raises nothing for a file that is corrupt or missing: those are problems."""
    return _facts.get((repo.id, commit.oid), lambda: _look(hub, commit))


def header_of(hub: Hub, entry: Entry) -> Header:
    """The header of one safetensors or GGUF file. Raises CorruptFile."""
    def make() -> Header:
        return read_header(RangeSource(entry.size, lambda a, b: b"".join(browse.read(hub, entry, a, b))), entry.path)

    return _headers.get((entry.digest, entry.path.lower().rpartition(".")[2]), make)


def safetensors_metadata(hub: Hub, repo: Repo, commit: Commit, path: str | None) -> dict[str, Any] | None:
    """path None: {parameters: {dtype: n}, total, sharded}, or None if the repo's model is not safetensors.

    With the path of an index or of a safetensors file: {index, headers: {path: header as in the file}}, as
    huggingface_hub's get_sharded_safetensors_metadata reads it. Raises EntryNotFound, CorruptFile.
    """
    if path is None:
        found = facts(hub, repo, commit)
        model = found.model
        if model is None or model.format != "safetensors":
            return None
        return {"parameters": model.parameters, "total": model.parameter_count, "sharded": len(found.headers) > 1}
    entry = browse.file(hub, commit, path)
    if not path.endswith(".json"):
        return {"index": {}, "headers": {path: _as_in_file(header_of(hub, entry))}}
    folder = path.rpartition("/")[0]
    index = shards.parse_index(browse.read_small(hub, entry, INDEX_BYTES))
    headers = {file: header_of(hub, browse.file(hub, commit, f"{folder}/{file}" if folder else file))
               for file in index.files}
    return {"index": {"metadata": index.metadata}, "headers": {file: _as_in_file(h) for file, h in headers.items()}}


def gguf_info(hub: Hub, repo: Repo, commit: Commit) -> dict[str, Any] | None:
    """{total, architecture, context_length, chat_template, ...} as the Hub's expand=["gguf"]; what the file does
    not say is left out. None if the repo's model is not GGUF."""
    found = facts(hub, repo, commit)
    if found.model is None or found.model.format != "gguf":
        return None
    said = found.model.metadata
    name = said.get("general.architecture")
    template = said.get("tokenizer.chat_template")
    info = {
        "total": found.model.parameter_count,
        "architecture": name,
        "context_length": said.get(f"{name}.context_length"),
        "chat_template": template if isinstance(template, str) else None,
        "bos_token": _token(said, "bos"),
        "eos_token": _token(said, "eos"),
        "quantize_imatrix_file": said.get("quantize.imatrix.file"),
    }
    return {key: value for key, value in info.items() if isinstance(value, str | int)}


def _token(said: dict[str, Any], which: str) -> str | None:
    """The text of a special token, where it stands among the tokens a header keeps."""
    number = said.get(f"tokenizer.ggml.{which}_token_id")
    tokens = said.get("tokenizer.ggml.tokens")
    first = getattr(tokens, "first", tokens)
    if type(number) is int and isinstance(first, tuple) and number < len(first):
        return first[number] if isinstance(first[number], str) else None
    return None


def _as_in_file(header: Header) -> dict[str, Any]:
    if header.format != "safetensors" or header.data_start is None:
        raise CorruptFile("not a safetensors file.")
    start = header.data_start
    told: dict[str, Any] = {"__metadata__": header.metadata} if header.metadata else {}
    return told | {t.name: {"dtype": t.dtype, "shape": list(t.shape), "data_offsets": [t.start - start, t.stop - start]}
                   for t in header.tensors}


class _Look:
    """One reading of a revision, gathering what is wrong on the way."""

    def __init__(self, hub: Hub, commit: Commit):
        self.hub = hub
        self.entries = {entry.path: entry for entry in browse.files(hub, commit)}
        self.problems: dict[str, str] = {}

    def bytes(self, path: str, limit: int = SMALL) -> bytes | None:
        entry = self.entries.get(path)
        if entry is None:
            return None
        try:
            return browse.read_small(self.hub, entry, limit)
        except HeadwaterError as error:
            self.problems[path] = error.message
            return None

    def text(self, path: str) -> str | None:
        data = self.bytes(path)
        return data.decode("utf-8", "replace") if data is not None else None

    def object(self, path: str) -> dict[str, Any] | None:
        data = self.bytes(path)
        if data is None:
            return None
        try:
            value = jsontext.parse(data, path)
        except CorruptFile as error:
            self.problems[path] = error.message
            return None
        if not isinstance(value, dict):
            self.problems[path] = f"{path} is a JSON {type(value).__name__}; an object was expected."
            return None
        return value

    def headers(self) -> tuple[dict[str, Header], shards.Index | None]:
        """Of the files that make the model."""
        paths, index_path = shards.model_files({path: entry.size for path, entry in self.entries.items()})
        index = None
        if index_path is not None and (data := self.bytes(index_path, INDEX_BYTES)) is not None:
            try:
                index = shards.parse_index(data)
                paths = index.files
            except CorruptFile as error:
                self.problems[index_path] = error.message
        headers: dict[str, Header] = {}
        for path in paths:
            try:
                if path not in self.entries:
                    raise CorruptFile(f"{index_path} names this file, and it is not here.")
                headers[path] = header_of(self.hub, self.entries[path])
            except HeadwaterError as error:
                self.problems[path] = error.message
        return headers, index if len(headers) == len(paths) else None


def _look(hub: Hub, commit: Commit) -> Facts:
    look = _Look(hub, commit)
    headers, index = look.headers()
    model = None
    if headers and not any(path.endswith((".safetensors", ".gguf")) for path in look.problems):
        try:
            model = shards.merge(headers, index)
        except CorruptFile as error:
            look.problems[shards.INDEX if index else next(iter(headers))] = error.message
    processor = look.object("chat_template.json") or {}
    said = processor.get("chat_template")
    papers = Papers(
        config=look.object("config.json") or look.object("model_index.json"),
        tokenizer_config=look.object("tokenizer_config.json"),
        chat_template=look.text("chat_template.jinja"),
        processor_template=said if isinstance(said, str) else None,
        files=tuple(path for path in look.entries if "/" not in path),
        licence=_licence(look.bytes("README.md")),
    )
    path = next(iter(headers), "the model file")
    return Facts(describe(model, papers, header_path=path), headers, model, tuple(look.problems.items()))


def _licence(readme: bytes | None) -> str | None:
    data = parse_card(readme).data if readme else {}
    said = data.get("license")
    said = said[0] if isinstance(said, list) and said else said
    if said == "other":
        said = data.get("license_name") or said
    return said[:200] if isinstance(said, str) else None


class _Kept(Generic[Value]):
    """The values asked for last, as long as their weights together stay under a limit. Two threads that ask for
    the same new thing may both make it."""

    def __init__(self, limit: int, weigh: Callable[[Value], int]):
        self._lock, self._values = threading.Lock(), OrderedDict[Hashable, Value]()
        self._limit, self._weigh, self._weight = limit, weigh, 0

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        value = make()
        with self._lock:
            if key not in self._values:
                self._values[key] = value
                self._weight += self._weigh(value)
            while self._weight > self._limit and len(self._values) > 1:
                self._weight -= self._weigh(self._values.popitem(last=False)[1])
        return value


def _weigh(header: Header) -> int:
    text = sum(len(value) for value in header.metadata.values() if isinstance(value, str))
    return 1 + len(header.tensors) + text // 400


_headers: _Kept[Header] = _Kept(KEPT_TENSORS, _weigh)
_facts: _Kept[Facts] = _Kept(KEPT_TENSORS,
                             lambda found: KEPT_TENSORS // KEPT_FACTS + sum(map(_weigh, found.headers.values())))
