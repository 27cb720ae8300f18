"""What a model is made of, told by its small files and the headers of its weights; nothing is loaded or run.

Knows config.json, tokenizer_config.json, chat_template.jinja and GGUF's own keys. What a file does not say is None.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from headwater.core.errors import BadInput, HeadwaterError
from headwater.core.types import Commit, Entry, Repo
from headwater.hub import Hub, browse
from headwater.weights import jsontext
from headwater.weights.header import Clip, Header
from headwater.weights.read import read_header
from headwater.weights.source import RangeSource

SMALL = 4_000_000
SHARDS_MAX = 200
KEPT = 16


class Template(NamedTuple):
    """A chat template and the file that holds it."""

    text: str
    source: str


class Fact(NamedTuple):
    """One line of the panel: which fact (a key the template words), and its value."""

    key: str
    value: int | str


class Shard(NamedTuple):
    path: str
    header: Header


@dataclass(frozen=True)
class Inside:
    """parameters: by dtype, all shards together; empty when no header was read. problems: (path, what is wrong)."""

    facts: list[Fact] = field(default_factory=list)
    parameters: dict[str, int] = field(default_factory=dict)
    template: Template | None = None
    shards: list[Shard] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)

    @property
    def total(self) -> int:
        return sum(self.parameters.values())

    @property
    def known(self) -> bool:
        return bool(self.facts or self.parameters or self.template or self.problems)


def header_of(hub: Hub, entry: Entry) -> Header:
    """The header of a weights file, kept for the next to ask. Raises CorruptFile."""
    return _headers.get(entry.digest or "", lambda: read_header(
        RangeSource(entry.size, lambda a, b: b"".join(browse.read(hub, entry, a, b))), entry.path))


def inside(hub: Hub, repo: Repo, commit: Commit) -> Inside | None:
    """What the revision is made of; None when it holds nothing that says."""
    found = _insides.get((repo.id, commit.oid), lambda: _look(hub, commit))
    return found if found.known else None


def _look(hub: Hub, commit: Commit) -> Inside:
    entries = browse.files(hub, commit)
    by_path = {e.path: e for e in entries}
    problems: list[tuple[str, str]] = []
    config = _json(hub, by_path.get("config.json") or by_path.get("model_index.json"), problems)
    shards = _shards(hub, entries, problems)
    gguf = next((s for s in shards if s.header.format == "gguf"), None)
    parameters: dict[str, int] = {}
    for shard in shards if gguf is None else [gguf]:
        for dtype, n in shard.header.parameters.items():
            parameters[dtype] = parameters.get(dtype, 0) + n
    facts = _facts_of_config(config) if config else _facts_of_gguf(gguf.header.metadata) if gguf else []
    return Inside(facts, parameters, _template(hub, by_path, gguf, problems), shards, problems)


def _shards(hub: Hub, entries: list[Entry], problems: list[tuple[str, str]]) -> list[Shard]:
    """Headers of safetensors files and, of several GGUF files (they are the same model, quantised), of each."""
    out = []
    for entry in [e for e in entries if e.path.endswith((".safetensors", ".gguf"))][:SHARDS_MAX]:
        try:
            out.append(Shard(entry.path, header_of(hub, entry)))
        except BadInput as error:
            problems.append((entry.path, error.message))
    return out


def _facts_of_config(config: dict[str, Any]) -> list[Fact]:
    text = config.get("text_config") if isinstance(config.get("text_config"), dict) else {}
    found = []

    def put(key: str, *names: str) -> None:
        for name in names:
            value = config.get(name, text.get(name))
            value = value[0] if isinstance(value, list) and value else value
            if isinstance(value, int | str) and not isinstance(value, bool):
                found.append(Fact(key, value if isinstance(value, int) else value[:80]))
                return

    put("architecture", "architectures", "_class_name", "model_type")
    put("context", "max_position_embeddings", "n_positions", "max_sequence_length", "model_max_length")
    put("layers", "num_hidden_layers", "n_layer", "num_layers")
    put("hidden", "hidden_size", "n_embd", "d_model")
    put("heads", "num_attention_heads", "n_head")
    put("kv_heads", "num_key_value_heads")
    put("experts", "num_local_experts", "n_routed_experts", "num_experts")
    put("vocabulary", "vocab_size")
    return found


def _facts_of_gguf(metadata: dict[str, Any]) -> list[Fact]:
    name = metadata.get("general.architecture")
    if not isinstance(name, str):
        return []
    tokens = metadata.get("tokenizer.ggml.tokens")
    vocabulary = metadata.get(f"{name}.vocab_size")
    if vocabulary is None and tokens is not None:
        vocabulary = tokens.length if isinstance(tokens, Clip) else len(tokens)
    pairs = [("architecture", name), ("context", metadata.get(f"{name}.context_length")),
             ("layers", metadata.get(f"{name}.block_count")), ("hidden", metadata.get(f"{name}.embedding_length")),
             ("heads", metadata.get(f"{name}.attention.head_count")),
             ("kv_heads", metadata.get(f"{name}.attention.head_count_kv")),
             ("experts", metadata.get(f"{name}.expert_count")), ("vocabulary", vocabulary)]
    return [Fact(key, value if isinstance(value, int) else value[:80]) for key, value in pairs
            if isinstance(value, int | str) and not isinstance(value, bool)]


def _template(hub: Hub, by_path: dict[str, Entry], gguf: Shard | None,
              problems: list[tuple[str, str]]) -> Template | None:
    """The chat template in the order engines look: its own file, the tokenizer's config, the GGUF file."""
    own = by_path.get("chat_template.jinja")
    if own is not None and own.size <= SMALL:
        return Template(browse.read_small(hub, own, SMALL).decode("utf-8", "replace"), own.path)
    config = _json(hub, by_path.get("tokenizer_config.json"), problems)
    said = config.get("chat_template") if config else None
    if isinstance(said, list):  # several named templates: the default one
        said = next((t.get("template") for t in said if isinstance(t, dict) and t.get("name") == "default"), None)
    if isinstance(said, str):
        return Template(said, "tokenizer_config.json")
    text = gguf.header.metadata.get("tokenizer.chat_template") if gguf else None
    if isinstance(text, Clip) and isinstance(text.first, str):
        text = text.first + "…"
    return Template(text, gguf.path) if gguf and isinstance(text, str) else None


def _json(hub: Hub, entry: Entry | None, problems: list[tuple[str, str]]) -> dict[str, Any] | None:
    if entry is None:
        return None
    try:
        value = jsontext.parse(browse.read_small(hub, entry, SMALL), entry.path)
    except HeadwaterError as error:
        problems.append((entry.path, error.message))
        return None
    return value if isinstance(value, dict) else None


class _Kept:
    """The last KEPT answers, by key. What a digest or a commit holds never changes, so nothing goes stale."""

    def __init__(self) -> None:
        self._lock, self._values = threading.Lock(), OrderedDict[Any, Any]()

    def get(self, key: Any, make: Callable[[], Any]) -> Any:
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
                return self._values[key]
        value = make()
        with self._lock:
            self._values[key] = value
            while len(self._values) > KEPT:
                self._values.popitem(last=False)
        return value


_headers, _insides = _Kept(), _Kept()
