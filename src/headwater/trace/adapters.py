"""What an adapter changes: each of its changes beside the tensor of a base that it belongs to.

Names are spelled in many ways (PEFT, kohya, ComfyUI, GGUF), so they are compared by their pieces from the end, as far
as these still name one tensor only; the shapes must fit. Reads no numbers and judges nothing.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from headwater.trace.changes import Change
from headwater.trace.roles import Matrix, Roles
from headwater.weights.header import Header, Tensor

_HALF = re.compile(r"[._]?lora_?(embedding_)?(a|b|up|down)(?![a-z]).*$", re.I)
_KOHYA = re.compile(r"^lora_(unet|te\d?|transformer)_")
_GGUF = {"attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
         "attn_output": "self_attn.o_proj", "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj",
         "ffn_down": "mlp.down_proj"}
_ROTARY = re.compile(r"(q|k)_proj$")
MAX_TARGETS = 4_096
Item = TypeVar("Item")


@dataclass(frozen=True)
class Target:
    """A matrix of the base, its neurons or outputs as rows (out, in), and what is added to it. name: in one spelling,
    with dots. first: where in the change the matrix's rows begin, where the matrix is a part of a fused one."""

    name: str
    matrix: Matrix
    change: Change
    first: int = 0


@dataclass(frozen=True)
class Fit:
    """targets: changes that fit a tensor of the base. misfits: those whose tensor has another shape. of: all."""

    targets: tuple[Target, ...]
    misfits: int
    of: int

    @property
    def whole(self) -> bool:
        return 0 < self.of == len(self.targets)


def spelled(name: str) -> str:
    """The tensor's name in one spelling: layers of GGUF as transformers have them, no ".weight"."""
    name = re.sub(r"\.(weight|default)$", "", name)
    match = re.match(r"blk\.(\d+)\.(\w+)$", name)
    return f"layers.{match[1]}.{_GGUF.get(match[2], match[2])}" if match else name


def stem_of(name: str) -> str:
    """What a tensor of an adapter belongs to, as its name says it."""
    return spelled(_KOHYA.sub("", _HALF.sub("", name.removesuffix(".weight")).removesuffix(".weight")))


def _pieces(name: str) -> list[str]:
    return [piece.lower() for piece in re.split(r"[._/]", name) if piece]


def _ends(name: str) -> list[str]:
    """The ends of a name, the longest first, that still hold a number and something behind it."""
    pieces = _pieces(name)
    last = max((n for n, piece in enumerate(pieces[:-1]) if piece.isdigit()), default=-1)
    return [".".join(pieces[n:]) for n in range(last + 1)]


class ByEnd(Generic[Item]):
    """Things by name, found by any end of their names that names one only."""

    def __init__(self, named: Iterable[tuple[str, Item]]):
        self._by_end: dict[str, list[Item]] = defaultdict(list)
        for name, item in named:
            for end in _ends(name):
                self._by_end[end].append(item)

    def find(self, name: str) -> Item | None:
        for end in _ends(name):
            found = self._by_end.get(end, ())
            if found:
                return found[0] if len(found) == 1 else None
        return None


class Named(ByEnd[Tensor]):
    """The matrices of a header. columns: names of those stored as (in, out)."""

    def __init__(self, header: Header, columns: frozenset[str] = frozenset()):
        super().__init__((spelled(t.name), t) for t in header.tensors if len(t.shape) == 2 and t.elements)
        self.columns = columns

    def matrix(self, name: str, shape: tuple[int, int]) -> Matrix | None:
        """The matrix of that name as (out, in) of that shape; None where there is none of it."""
        tensor = self.find(name)
        if tensor is None:
            return None
        columns = tensor.name in self.columns
        for seen in (Matrix(tensor, columns), Matrix(tensor, not columns)):
            if seen.shape == shape:
                return seen
        return None


def fit(adapter: Roles, base: Header, columns: frozenset[str] = frozenset()) -> Fit:
    """The adapter's changes beside the base's tensors."""
    named, targets, misfits = Named(base, columns), [], 0
    for change in adapter.changes[:MAX_TARGETS]:
        name = stem_of(change.down.name)
        matrix = named.matrix(name, change.shape)
        if matrix is not None:
            targets.append(Target(name, matrix, change))
        else:
            misfits += named.find(name) is not None
    return Fit(tuple(targets), misfits, len(adapter.changes))


def rows_alike(name: str, one: Header, two: Header) -> bool:
    """Whether rows of one number correspond in the two files, as far as their forms tell: llama.cpp keeps those of
    queries and keys in another order. name: as `spelled` has it."""
    return (one.format == "gguf") == (two.format == "gguf") or _ROTARY.search(name) is None


def evenly(count: int, most: int) -> np.ndarray:
    return np.unique(np.linspace(0, count - 1, min(most, count)).astype(np.int64))
