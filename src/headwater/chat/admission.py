"""What a model takes in memory, and whether that fits: before it is loaded, from the headers of its files.

Knows files and numbers; which models are loaded and may go is for workers.py. Weights are counted as stored, the
cache of a conversation as two bytes a number; what a worker of this model really took corrects that the next time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from headwater.chat.types import ChatModel
from headwater.core.errors import CorruptFile, Unavailable
from headwater.core.settings import Settings
from headwater.core.types import Snapshot

OVERHEAD_BYTES = 160 * 1024**2
"""A worker beside weights and cache: the interpreter, the library and its buffers."""
CACHE_NUMBER_BYTES = 2
CONTEXT_LEAST = 1024
LIMIT_OF_MACHINE = 0.8


class DoesNotFit(Unavailable):
    """The model needs more memory than there is, whoever leaves. Not tried, so it counts as no failed start."""

    code = "ModelTooLarge"


@dataclass(frozen=True)
class Estimate:
    """fixed: bytes whatever is asked. per_token: bytes of cache for a token of context, None when no file says.

    trained: tokens of context the model was made for, None when no file says.
    """

    fixed: int
    per_token: int | None
    trained: int | None

    def with_room(self, slots: int, context: int) -> Plan:
        context = min(context, self.trained or context)
        return Plan(slots, context, self.fixed + slots * context * (self.per_token or 0))

    def corrected(self, plan: Plan, took: int) -> Estimate:
        """The same after a worker with this plan was seen to take so many bytes.

        Never less than half: of weights that are mapped, only those read so far are seen.
        """
        return replace(self, fixed=max(self.fixed // 2, took - plan.slots * plan.context * (self.per_token or 0)))


@dataclass(frozen=True)
class Plan:
    """How a worker is loaded: so many slots of so many tokens each, which takes so many bytes."""

    slots: int
    context: int
    bytes: int


def plans(estimate: Estimate, slots: int, context: int) -> Iterator[Plan]:
    """Ways to load with the whole context, the one with most slots first."""
    for count in range(slots, 0, -1):
        yield estimate.with_room(count, context)


def short_plans(estimate: Estimate, context: int) -> Iterator[Plan]:
    """Ways to load with one slot and less context, the longest first; none below CONTEXT_LEAST."""
    while (context := context // 2) >= CONTEXT_LEAST:
        yield estimate.with_room(1, context)


def estimate(model: ChatModel, snapshot: Snapshot) -> Estimate:
    """Blocking. A file that cannot be read counts with its size: the engine says better what is wrong with it.

    Adapters are not counted: they are small, and what a worker took corrects its next load."""
    sizes = {entry.path: entry.size for entry in snapshot.files if entry.size}
    if model.path.lower().endswith(".gguf"):
        weights = sum(size for path, size in sizes.items()
                      if _same_model(path, model.path) or path == model.projector)
        per_token, trained = _gguf_shape(Path(snapshot.folder) / model.path)
        return Estimate(weights + OVERHEAD_BYTES, per_token, trained)
    weights = sum(size for path, size in sizes.items() if path.endswith((".safetensors", ".bin")))
    return Estimate((weights or sum(sizes.values())) + OVERHEAD_BYTES, None, None)


def _same_model(path: str, chosen: str) -> bool:
    """Whether it is the file itself or, of a model in parts, another part."""
    return path == chosen or ("-of-" in chosen and path.startswith(chosen.rpartition("-of-")[0][:-5]))


def _gguf_shape(path: Path) -> tuple[int | None, int | None]:
    """(bytes of cache a token, tokens it was trained for), None for what the header does not say."""
    from headwater.weights.gguf import read_header
    from headwater.weights.source import FileSource

    try:
        with FileSource(path) as source:
            said = read_header(source).metadata
    except (OSError, CorruptFile):
        return None, None
    name = said.get("general.architecture")
    return cache_per_token(lambda key: said.get(f"{name}.{key}")), _count(said.get(f"{name}.context_length"))


def cache_per_token(said: Any) -> int | None:
    """Keys and values of every layer and head. said: GGUF's value for a key, without the architecture's name."""
    layers, width, heads = (_count(said(key)) for key in ("block_count", "embedding_length", "attention.head_count"))
    if not layers or not width or not heads:
        return None
    kv_heads = said("attention.head_count_kv")
    if isinstance(kv_heads, tuple):  # one number a layer
        per_layer = [_count(one) or 0 for one in kv_heads[:layers]]
    else:
        per_layer = [_count(kv_heads) or heads] * layers
    key = _count(said("attention.key_length")) or width // heads
    value = _count(said("attention.value_length")) or width // heads
    return sum(per_layer) * (key + value) * CACHE_NUMBER_BYTES


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 < value < 1 << 40 else None


def limit(settings: Settings) -> int:
    """Bytes that all loaded models may take together."""
    return settings.models_memory_bytes or int(_machine() * LIMIT_OF_MACHINE)


def _machine() -> int:
    import psutil

    total = psutil.virtual_memory().total
    try:
        return min(total, int(Path("/sys/fs/cgroup/memory.max").read_text()))
    except (OSError, ValueError):  # no cgroup, or "max": no limit
        return total


def available() -> int:
    """Bytes of the machine that nothing uses now; file caches count as free."""
    import psutil

    return psutil.virtual_memory().available


def resident(pid: int) -> int:
    """Bytes the worker holds now; 0 when it is gone. Not its children: to find them every process is looked at."""
    import psutil

    try:
        return psutil.Process(pid).memory_info().rss
    except psutil.Error:
        return 0


HINT = "Take a smaller quantisation, lower chat_context, or raise models_memory_bytes."


def numbers(model: ChatModel, least: Plan, room: int, what: str) -> str:
    """least: the smallest way to load it. room: bytes there are. what: of what they are bytes."""
    return (f"{model.repo.full_name} needs {_gb(least.bytes)} of memory ({least.slots} x {least.context} tokens of "
            f"context included), and {_gb(room)} {what}.")


def _gb(size: int) -> str:
    return f"{size / 1e9:.2f} GB"
