"""Whether a model is another with adapters merged into it: its difference from the base beside the adapters' products.

Least squares over rows of the matrices that layers have: child - base = sum of scale x up @ down. An adapter that has
no part in it comes out near zero; what is left over says how much the adapters do not explain. Rows must
correspond: a shuffled or rotated child is not seen. Knows the adapters it is given, and no others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headwater.core.errors import BadInput
from headwater.trace.adapters import Named, Target, evenly, fit, rows_alike, spelled
from headwater.trace.change_rows import rows_of
from headwater.trace.merges import PART
from headwater.trace.reader import Reader
from headwater.trace.roles import Matrix, find_roles

ROWS = 32
MOST_ADAPTERS = 8
EXPLAINED = 0.5
"""Of the child's difference from the base, what may be left over. bf16 moves each number by a few parts in a thousand,
which is a third of what a light adapter does; adapters of other trainings leave more than .99."""


@dataclass(frozen=True)
class Applied:
    """scales: one for each adapter, by its name. left: norm of what they leave over the norm of the whole difference.
    change: norm of the difference over the base's. is_applied: the adapters that have a part explain the difference."""

    scales: dict[str, float]
    left: float
    change: float
    is_applied: bool

    @property
    def parts(self) -> dict[str, float]:
        return {name: scale for name, scale in self.scales.items() if abs(scale) >= PART}


def find_applied(child: Reader, base: Reader, adapters: Sequence[tuple[str, Reader]]) -> Applied:
    """Memory: ROWS rows of a matrix of each, and the adapters' halves of it. Raises BadInput for too many at once."""
    if not 1 <= len(adapters) <= MOST_ADAPTERS:
        raise BadInput(f"{len(adapters)} adapters were given; 1 to {MOST_ADAPTERS} can be looked for.")
    theirs = Named(child.header, child.columns)
    targets = [{t.matrix.tensor.name: t for t in fit(find_roles(reader.header), base.header, base.columns).targets
                if rows_alike(t.name, reader.header, base.header)} for _, reader in adapters]
    products, whole = np.zeros((len(adapters) + 1, len(adapters) + 1)), 0.0
    for matrix in _matrices(base, targets):
        name = spelled(matrix.tensor.name)
        same = theirs.matrix(name, matrix.shape)
        if same is None or not rows_alike(name, base.header, child.header):
            continue
        numbers = evenly(matrix.shape[0], ROWS)
        first, second = (np.nan_to_num(reader.rows(one, numbers).astype(np.float64), posinf=0, neginf=0)
                         for reader, one in ((base, matrix), (child, same)))
        whole += float(np.vdot(first, first))
        rows = [(second - first).ravel(), *(_added(reader, found.get(matrix.tensor.name), numbers, first)
                                            for (_, reader), found in zip(adapters, targets, strict=True))]
        products += np.array([[float(x @ y) for y in rows] for x in rows])
    return _solve(products, whole, [name for name, _ in adapters])


def _matrices(base: Reader, targets: Sequence[dict[str, Target]]) -> list[Matrix]:
    """Those of the base's layers, each as (out, in), and whatever else an adapter changes."""
    roles = find_roles(base.header, len(base.tokens) if base.tokens is not None else None, base.columns)
    found = {m.tensor.name: Matrix(m.tensor, m.tensor.name in base.columns) for layer in roles.layers
             for m in (*layer.gates, *layer.ups, *layer.downs, *layer.attention) if len(m.tensor.shape) == 2}
    for mine in targets:
        found |= {name: target.matrix for name, target in mine.items()}
    return list(found.values())


def _added(adapter: Reader, target: Target | None, numbers: np.ndarray, base: np.ndarray) -> np.ndarray:
    """What is added to these rows of the base; zeros where the adapter leaves the matrix as it is."""
    if target is None:
        return np.zeros(base.size)
    return rows_of(adapter, target.change, numbers, base.astype(np.float32)).astype(np.float64).ravel()


def _solve(products: np.ndarray, whole: float, names: Sequence[str]) -> Applied:
    """From the products of all pairs, the difference first."""
    size = float(products[0, 0])
    change = float(np.sqrt(size / max(whole, 1e-30)))
    if not size > 0:
        return Applied(dict.fromkeys(names, 0.0), 1.0, 0.0, False)
    gram, toward = products[1:, 1:], products[1:, 0]
    scales = np.linalg.lstsq(gram, toward, rcond=1e-9)[0]
    left = float(np.sqrt(max(0.0, size - 2 * scales @ toward + scales @ gram @ scales) / size))
    return Applied({name: round(float(x), 5) for name, x in zip(names, scales, strict=True)}, left, change,
                   left < EXPLAINED and any(abs(x) >= PART for x in scales))
