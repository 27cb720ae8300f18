"""What an adapter adds to one matrix, whatever it is factored into: LoRA, DoRA, LoHa or LoKr.

LoRA adds up @ down. DoRA also sets the length of each row of the sum. LoHa adds the product, number by number, of two
such products; LoKr the Kronecker product of two small matrices, either of which may be a product itself (LyCORIS 4.1,
functional/loha.py and lokr.py; peft 0.21, tuners/lora/dora.py). Names are PEFT's, LyCORIS' and kohya's. Convolutions
(four dimensions, `_t1`, `_t2`, `_mid`) are not read. Knows names and shapes; numbers are read in change_rows.py.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from headwater.weights.header import Tensor

_PART = re.compile(r"(hada_w[12]_[ab]|lokr_w[12](?:_[ab])?|lora_magnitude_vector|dora_scale|"
                   r"lora_?(?:embedding_)?(a|b|up|down)(?![a-z]))", re.I)
_HALVES = {"a": "down", "b": "up", "down": "down", "up": "up"}
_CONVOLUTION = re.compile(r"(hada_t[12]|lokr_t2|lora_mid)", re.I)
MAX_FACTOR, MAX_ROWS, MAX_COLUMNS = 1 << 22, 1 << 22, 1 << 18
"""Numbers of each half of a Kronecker product, and the sides of the product: small files can tell of large ones."""


@dataclass(frozen=True)
class Change:
    """stem: what it belongs to, as its names say. down (rank, in) and up (out, rank): LoRA's own tensors; of other
    kinds tensors of no bytes that tell the shape. parts: by their own names (w1_a, w2, …). magnitude: DoRA's."""

    stem: str
    kind: Literal["lora", "loha", "lokr"]
    down: Tensor
    up: Tensor
    parts: Mapping[str, Tensor]
    magnitude: Tensor | None = None
    alpha: Tensor | None = None

    @property
    def shape(self) -> tuple[int, int]:
        return self.up.shape[0], self.down.shape[1]

    @property
    def rank(self) -> int:
        """Of its halves, which its scale is counted by; 0 where it has none."""
        if self.kind == "lora":
            return self.down.shape[0]
        inner = next((tensor for name, tensor in sorted(self.parts.items(), reverse=True) if name.endswith("_b")), None)
        return inner.shape[0] if inner is not None else 0

    @property
    def tensors(self) -> int:
        """How many of the file's it is made of."""
        return (len(self.parts) or 2) + (self.magnitude is not None) + (self.alpha is not None)

    @property
    def is_product(self) -> bool:
        """Whether up @ down is all there is to it."""
        return self.kind == "lora" and self.magnitude is None


def find_changes(tensors: Sequence[Tensor]) -> tuple[Change, ...]:
    """Of an adapter, in the order of their names. Empty unless they make up the file."""
    by_stem: dict[tuple[str, str], dict[str, Tensor]] = defaultdict(dict)
    for tensor in tensors:
        found = None if _CONVOLUTION.search(tensor.name) else _PART.search(tensor.name)
        if found is not None:
            name = _HALVES.get((found[2] or "").lower(), found[1])
            rest = re.sub(r"\.(weight|default)", "", tensor.name[found.end():])
            by_stem[tensor.name[:found.start()].rstrip("._"), rest][name] = tensor
    named = sum(map(len, by_stem.values()))
    if named < 2 or named * 2 < len(tensors):
        return ()
    alphas = {tensor.name.removesuffix(".alpha"): tensor for tensor in tensors if tensor.name.endswith(".alpha")}
    made = (_change(key[0], by_stem[key], alphas.get(key[0])) for key in sorted(by_stem))
    return tuple(change for change in made if change is not None)


def find_kept(tensors: Sequence[Tensor], changes: Sequence[Change]) -> tuple[Tensor, ...]:
    """Whole matrices that an adapter carries beside its changes (`modules_to_save`)."""
    if not changes:
        return ()
    return tuple(tensor for tensor in tensors if len(tensor.shape) == 2 and min(tensor.shape) > 1
                 and not _PART.search(tensor.name) and not _CONVOLUTION.search(tensor.name))


def _change(stem: str, parts: Mapping[str, Tensor], alpha: Tensor | None) -> Change | None:
    """None where halves are missing or do not fit."""
    magnitude = parts.get("lora_magnitude_vector") or parts.get("dora_scale")
    alpha = alpha if alpha is not None and alpha.elements == 1 else None
    mine = {name.partition("_")[2]: tensor for name, tensor in parts.items() if name.startswith(("hada", "lokr"))}
    if any(len(tensor.shape) != 2 or not tensor.elements for tensor in mine.values()):
        return None
    if "down" in parts and "up" in parts:
        down, up = parts["down"], parts["up"]
        if len(down.shape) != 2 or len(up.shape) != 2 or down.shape[0] != up.shape[1]:
            return None
        return Change(stem, "lora", down, up, {}, _fitting(magnitude, up.shape[0]), alpha)
    kind: Literal["loha", "lokr"] = "loha" if any(name.startswith("hada") for name in parts) else "lokr"
    shape, rank = (_hadamard if kind == "loha" else _kronecker)(mine)
    if not shape[0] or not shape[1]:
        return None
    any_ = next(iter(mine.values()))
    down = any_._replace(name=f"{stem}.lora_A.weight", shape=(rank, shape[1]), stop=any_.start)
    up = any_._replace(name=f"{stem}.lora_B.weight", shape=(shape[0], rank), stop=any_.start)
    return Change(stem, kind, down, up, mine, _fitting(magnitude, shape[0]), alpha)


def _fitting(magnitude: Tensor | None, rows: int) -> Tensor | None:
    """None where it sets the lengths of columns (1, in), as early versions of LyCORIS did: it is left out."""
    return magnitude if magnitude is not None and magnitude.shape in ((rows,), (rows, 1)) else None


_NONE = (0, 0), 0


def _hadamard(parts: Mapping[str, Tensor]) -> tuple[tuple[int, int], int]:
    """((out, in), rank); zeros where the halves do not fit each other."""
    if not {"w1_a", "w1_b", "w2_a", "w2_b"} <= parts.keys():
        return _NONE
    one, two = ((parts[f"w{n}_a"], parts[f"w{n}_b"]) for n in (1, 2))
    fit = all(a.shape[1] == b.shape[0] for a, b in (one, two)) and one[0].shape[0] == two[0].shape[0] \
        and one[1].shape[1] == two[1].shape[1]
    return ((one[0].shape[0], one[1].shape[1]), one[0].shape[1]) if fit else _NONE


def _kronecker(parts: Mapping[str, Tensor]) -> tuple[tuple[int, int], int]:
    shapes, ranks = [], []
    for half in ("w1", "w2"):
        whole, a, b = (parts.get(name) for name in (half, f"{half}_a", f"{half}_b"))
        if whole is not None:
            shapes.append(whole.shape)
            ranks.append(min(whole.shape))
        elif a is not None and b is not None and a.shape[1] == b.shape[0]:
            shapes.append((a.shape[0], b.shape[1]))
            ranks.append(a.shape[1])
        else:
            return _NONE
        if shapes[-1][0] * shapes[-1][1] > MAX_FACTOR:
            return _NONE
    (a, b), (c, d) = shapes
    if a * c > MAX_ROWS or b * d > MAX_COLUMNS:
        return _NONE
    return (a * c, b * d), ranks[0] * ranks[1]
