"""Whether a model is a weighted sum of others, and with what weights: least squares over rows of all its matrices.

The candidates must have the child's shapes and their numbers must correspond (nothing shuffled since). Models that have
no part in it come out near zero; the residual says how much of the child the sum does not explain.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from headwater.core.errors import BadInput
from headwater.trace.judgement import Evidence, Judgement, Verdict
from headwater.trace.reader import OpenFile, Reader
from headwater.trace.roles import Matrix, Roles, find_roles
from headwater.trace.said import said, sentences

ROWS = 32
MOST_CANDIDATES = 16
PART = 0.02
"""A coefficient smaller than this is not a parent's."""
EXPLAINED = 0.2
"""Of the child's distance from its nearest candidate, what may be left over. Models that are no merge leave .35 and
more (notes/trace.md §3.7)."""


@dataclass(frozen=True)
class Model:
    """What it takes to read one: a name for the report, and its files."""

    name: str
    open_file: OpenFile
    files: Mapping[str, int]


@dataclass(frozen=True)
class Mixture:
    """coefficients: by candidate's name. residual: norm of what is left over the child's norm. nearest: the same for
    the nearest single candidate. is_merge: two and more have a part, and together explain what none does alone.
    adapters: those of the names that are adapters merged into the other, by their scale."""

    coefficients: dict[str, float]
    residual: float
    nearest: float
    is_merge: bool
    adapters: Sequence[str] = ()


def find_mixture(child: Model, candidates: Sequence[Model]) -> Mixture:
    """Memory: ROWS rows of one matrix of every model. Raises BadInput for shapes that differ, or too many at once."""
    if not 1 <= len(candidates) <= MOST_CANDIDATES:
        raise BadInput(f"{len(candidates)} candidates were given; 1 to {MOST_CANDIDATES} can be mixed.")
    with ExitStack() as stack:
        readers = [stack.enter_context(Reader(m.open_file, m.files)) for m in (child, *candidates)]
        listed = [_matrices(_roles(reader)) for reader in readers]
        for model, matrices in zip(candidates, listed[1:], strict=True):
            if [m.shape for m in matrices] != [m.shape for m in listed[0]]:
                raise BadInput(f"{model.name} has other shapes than {child.name}, so their numbers do not correspond.")
        products = np.zeros((len(readers), len(readers)))
        for matrices in zip(*listed, strict=True):
            numbers = np.unique(np.linspace(0, matrices[0].shape[0] - 1, ROWS).astype(np.int64))
            rows = [np.nan_to_num(r.rows(m, numbers).astype(np.float64), posinf=0, neginf=0).ravel()
                    for r, m in zip(readers, matrices, strict=True)]
            products += np.array([[float(x @ y) for y in rows] for x in rows])
    return _solve(products, [model.name for model in candidates])


def _roles(reader: Reader) -> Roles:
    return find_roles(reader.header, len(reader.tokens) if reader.tokens is not None else None, reader.columns)


def _matrices(roles: Roles) -> list[Matrix]:
    return [m for layer in roles.layers for m in (*layer.gates, *layer.ups, *layer.downs, *layer.attention)]


def _solve(products: np.ndarray, names: Sequence[str]) -> Mixture:
    """From the products of all pairs, the child first."""
    whole = max(float(products[0, 0]), 1e-30)
    gram, toward = products[1:, 1:], products[1:, 0]
    weights = np.linalg.lstsq(gram, toward, rcond=1e-9)[0]
    left = max(0.0, float(whole - 2 * weights @ toward + weights @ gram @ weights))
    single = np.maximum(whole - 2 * toward + np.diag(gram), 0.0)
    residual, nearest = float(np.sqrt(left / whole)), float(np.sqrt(single.min() / whole))
    parts = [w for w in weights if abs(w) >= PART]
    is_merge = len(parts) >= 2 and residual < EXPLAINED * nearest
    return Mixture({name: round(float(w), 5) for name, w in zip(names, weights, strict=True)}, residual, nearest,
                   is_merge)


def with_mixture(judgement: Judgement, found: Mixture, child: Literal["a", "b"]) -> Judgement:
    """The judgement of a merge and one of its parents, when the mixture is proved; else the mixture beside it."""
    parts = ", ".join(f"{name} {share:.3f}" for name, share in found.coefficients.items() if abs(share) >= PART)
    evidence = Evidence("mixture", "proof" if found.is_merge else "none",
                        said("The nearest sum of the candidates leaves %(residual)s of %(child)s over, the nearest "
                             "single one %(nearest)s.", residual=f"{found.residual:.1%}", child=child.upper(),
                             nearest=f"{found.nearest:.1%}"),
                        {"residual": round(found.residual, 5), "nearest": round(found.nearest, 5)})
    if not found.is_merge:
        return replace(judgement, evidence=(*judgement.evidence, evidence))
    places = {"child": child.upper(), "parts": parts}
    what = said("%(child)s is a model with adapters merged into it: %(parts)s.", **places) if found.adapters else \
        said("%(child)s is a weighted sum of others: %(parts)s.", **places)
    return replace(judgement, verdict=Verdict.MERGE, direction="a-from-b" if child == "a" else "b-from-a",
                   direction_evidence=(*judgement.direction_evidence,
                                       Evidence("mixture", "proof", evidence.says, {"child": child})),
                   evidence=(*judgement.evidence, evidence), operation="adapter merged" if found.adapters else "merged",
                   coefficients=found.coefficients,
                   says=sentences([what, evidence.says]))
