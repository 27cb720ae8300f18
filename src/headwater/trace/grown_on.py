"""Whether an adapter was trained on a model: an exact test, for bases whose neurons stand in the order they had then.

What training adds to a row that writes a neuron's input follows the gradient that comes back to this neuron, and that
is the base's own next matrix times something all neurons share. So neurons which the base's next matrix treats alike
have alike rows in the adapter's up half. Of a model that had no part in the training any order of its neurons is as
likely as another: for each layer the likeness is held against ORDERS random orders of the base's neurons, and how many
layers beat all of theirs has a known chance. Found by nothing the adapter says of itself; a base that was fine-tuned
since passes too, and one whose neurons were shuffled or whose stream was turned does not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import log10
from typing import NamedTuple

import numpy as np

from headwater.stats.counts import binomial_tail
from headwater.trace.adapters import Named, Target, evenly
from headwater.trace.change_rows import written
from headwater.trace.evidence.aligned import LINE
from headwater.trace.judgement import Evidence
from headwater.trace.reader import Reader
from headwater.trace.roles import Matrix
from headwater.trace.said import said

ORDERS = 39
UNITS = 24
"""Layers looked at of each kind, evenly spread."""
_NEURONS, _PRODUCTS, _FEWEST = 1_536, 1 << 32, 32
_HEAD_PART = 16
"""Every head's width is a multiple of it; within a head the values may stand in any order."""
_VALUES = (("v_proj", "o_proj"), ("v_proj", "out_proj"), ("to_v", "to_out.0"), ("to_v", "to_out"),
           ("value", "output.dense"), ("attn.v", "attn.o"))
_FUSED = re.compile(r"(^|[._])c_attn$")
"""GPT-2's queries, keys and values in one, which `attn.c_proj` reads; both are stored as (in, out)."""
_NEURONS_OF = (("up_proj", "down_proj"), ("gate_proj", "down_proj"), ("fc1", "fc2"), ("c_fc", "c_proj"),
               ("ffn_up", "ffn_down"), ("net.0.proj", "net.2"), ("ffn.0", "ffn.2"), ("w1", "w2"), ("w3", "w2"),
               ("intermediate.dense", "output.dense"), ("linear_fc1", "linear_fc2"))
_GATED = {"gate_proj": "up_proj", "w1": "w3"}


@dataclass(frozen=True)
class Grown:
    """met: layers whose likeness beats all random orders, of `of`; log10_p: the chance of as many."""

    met: int
    of: int
    log10_p: float

    def as_evidence(self) -> Evidence:
        figures = {"met": self.met, "of": self.of, "log10_p": round(self.log10_p, 1), "orders": ORDERS}
        places = {"met": self.met, "of": self.of, "orders": ORDERS, "chance": f"{self.of / (ORDERS + 1):.1f}"}
        if self.log10_p <= LINE:
            return Evidence("grown on", "proof", said(
                "In %(met)s of %(of)s places the adapter follows the order of the model's neurons further than "
                "%(orders)s random orders; %(chance)s would by chance (p = 10^%(power)s).", **places,
                power=f"{self.log10_p:.0f}"), figures)
        return Evidence("grown on", "none", said(
            "In %(met)s of %(of)s places the adapter follows the order of the model's neurons further than %(orders)s "
            "random orders; %(chance)s would by chance.", **places), figures)


class _Part(NamedTuple):
    """A target, the base's matrix that reads what it writes (from its neurons), and for a gate the one beside it."""

    target: Target
    reads: Matrix
    beside: Matrix | None


class _Unit(NamedTuple):
    """Rows of one layer that may stand in any order, or in any order within parts of `part`. repeat: how many heads
    read each value, and how wide a head is."""

    parts: tuple[_Part, ...]
    part: int | None = None
    repeat: tuple[int, int] = (1, 0)


def grown_on(adapter: Reader, base: Reader, targets: Sequence[Target]) -> Grown | None:
    """targets: those that fit. None where the adapter changes nothing that could show it. Memory: two squares of
    _NEURONS, and one matrix of the base in whole."""
    rng, met, tried = np.random.default_rng(0), 0, 0
    for unit in _units(targets, base):
        met, tried = met + _beats(adapter, base, unit, rng), tried + 1
    return Grown(met, tried, log10(max(binomial_tail(met, tried, 1 / (ORDERS + 1)), 1e-300))) if tried else None


def _units(targets: Sequence[Target], base: Reader) -> list[_Unit]:
    """Gate and up of one layer are one unit: they share the neurons' order, so they are no two witnesses."""
    named = Named(base.header, base.columns)
    neurons: dict[str, list[_Part]] = {}
    values = []
    for target in targets:
        for here, there in _NEURONS_OF:
            reads = _reader_of(target, named, here, there)
            if reads is not None and reads.shape[0] == target.matrix.shape[0]:
                beside = named.matrix(_sibling(target, here, _GATED[here]), target.matrix.shape) \
                    if here in _GATED else None
                neurons.setdefault(reads.tensor.name, []).append(_Part(target, reads, beside))
                break
        else:
            values += _of_values(target, named, base)
    kinds = [[_Unit(tuple(parts)) for parts in neurons.values()], values]
    return [units[n] for units in kinds if units for n in evenly(len(units), UNITS)]


def _of_fused(target: Target, named: Named) -> list[_Unit]:
    """The values among GPT-2's queries, keys and values: the last third."""
    rows, rest = divmod(target.matrix.shape[0], 3)
    tensor = named.find(_FUSED.sub(r"\1c_proj", target.name))
    if rest or rows % _HEAD_PART or tensor is None or tensor.shape != (rows, target.matrix.shape[1]):
        return []
    values = replace(target, matrix=target.matrix._replace(span=(2 * rows, 3 * rows)), first=2 * rows)
    return [_Unit((_Part(values, Matrix(tensor), None),), _HEAD_PART)]


def _of_values(target: Target, named: Named, base: Reader) -> list[_Unit]:
    if _FUSED.search(target.name):
        return _of_fused(target, named)
    rows = target.matrix.shape[0]
    for here, there in _VALUES:
        reads = _reader_of(target, named, here, there)
        if reads is None or rows % _HEAD_PART or reads.shape[0] % rows:
            continue
        heads, width = reads.shape[0] // rows, head_width(base)
        if heads == 1 or (width and rows % width == 0):
            return [_Unit((_Part(target, reads, None),), _HEAD_PART, (heads, width))]
    return []


def _sibling(target: Target, here: str, there: str) -> str:
    """The name beside the target's. BERT has `self.value` and `output.dense` side by side."""
    stem = target.name[:-len(here)]
    return (re.sub(r"self[._]$", "", stem) if here == "value" else stem) + there


def _reader_of(target: Target, named: Named, here: str, there: str) -> Matrix | None:
    """The matrix `there` as (neurons, width), where the target is called `here` and has rows enough."""
    rows = target.matrix.shape[0]
    if rows < _FEWEST or not re.search(r"(^|[._])" + r"[._]".join(map(re.escape, here.split("."))) + "$", target.name):
        return None
    tensor = named.find(_sibling(target, here, there))
    if tensor is None:
        return None
    out, into = tensor.shape
    if into % rows == 0 and (tensor.name not in named.columns or out % rows):
        return Matrix(tensor, True)
    return Matrix(tensor) if out % rows == 0 else None


def head_width(base: Reader) -> int:
    """0 where the files do not say it."""
    config, metadata = base.config, base.header.metadata
    name = metadata.get("general.architecture")
    found = [config.get("head_dim"), metadata.get(f"{name}.attention.value_length")]
    for whole, heads in ((config.get("hidden_size"), config.get("num_attention_heads")),
                         (metadata.get(f"{name}.embedding_length"), metadata.get(f"{name}.attention.head_count"))):
        if isinstance(whole, int) and isinstance(heads, int) and heads > 0:
            found.append(whole // heads)
    return next((width for width in found if isinstance(width, int) and 0 < width <= 4_096), 0)


def _beats(adapter: Reader, base: Reader, unit: _Unit, rng: np.random.Generator) -> bool:
    """Whether the likeness of the base's rows and the adapter's is greater than under each of ORDERS orders."""
    rows = unit.parts[0].target.matrix.shape[0]
    width = unit.parts[0].reads.shape[1] * unit.repeat[0]
    numbers = np.arange(rows) if unit.part else evenly(rows, max(_FEWEST, min(_NEURONS, int((_PRODUCTS / width)**0.5))))
    numbers = numbers[:_NEURONS]
    orders = [np.arange(len(numbers)), *(_order(len(numbers), unit.part, rng) for _ in range(ORDERS))]
    likeness = np.zeros(len(orders))
    for part in unit.parts:
        table = _table(base, part, unit.repeat, numbers)
        mine = _centred(_centred(written(adapter, part.target.change, numbers + part.target.first), unit=False))
        found = np.array([float(np.vdot(mine[order], table @ mine[order])) for order in orders])
        likeness += found / max(float(found[1:].std()), 1e-30)
    return bool(likeness[0] > likeness[1:].max())


def _table(base: Reader, part: _Part, repeat: tuple[int, int], numbers: np.ndarray) -> np.ndarray:
    """float32 (n, n): how alike what follows treats two neurons; of gates times how alike their ups are, because the
    gradient of a gate is multiplied by the up. The diagonal is 0."""
    heads, width = repeat
    if heads == 1:
        rows = base.rows(part.reads, numbers)
    else:
        # The values of one head are read by `heads` heads that stand one after another.
        places = numbers // width * width * heads + numbers % width
        rows = np.concatenate([base.rows(part.reads, places + n * width) for n in range(heads)], axis=1)
    alike = _centred(rows)
    table = alike @ alike.T
    if part.beside is not None:
        beside = _centred(base.rows(part.beside, numbers))
        table *= beside @ beside.T
        table -= table.mean(0)
        table -= table.mean(1)[:, None]
    table[np.diag_indices_from(table)] = 0
    return table


def _centred(rows: np.ndarray, unit: bool = True) -> np.ndarray:
    """Rows less their mean; made unit first, so that no strong neuron outweighs the others."""
    rows = np.nan_to_num(rows, posinf=0, neginf=0)
    if unit:
        rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
    return rows - rows.mean(0)


def _order(count: int, part: int | None, rng: np.random.Generator) -> np.ndarray:
    if part is None:
        return rng.permutation(count)
    return np.concatenate([first + rng.permutation(min(part, count - first)) for first in range(0, count, part)])
