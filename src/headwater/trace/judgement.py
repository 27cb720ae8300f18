"""What is said of two models: the verdict, what it rests on, and what would change it. Decides nothing itself.

Made by judge (trace/judge.py), kept as JSON beside an edge, shown by pages and the terminal. `a` and `b` are the two
models in the order they were given; a direction names the child first.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from enum import StrEnum
from typing import Any, Literal

import numpy as np

from headwater.trace.said import Said, as_told, from_told, said

VERSION = 3
"""Moves when the same two fingerprints would be judged differently."""


class Verdict(StrEnum):
    IDENTICAL = "identical"
    REENCODED = "re-encoded"
    DESCENDS = "descends"
    COMMON_ANCESTOR = "common-ancestor"
    MERGE = "merge"
    PRUNED = "pruned"
    UPCYCLED = "upcycled"
    DEPTH_SCALED = "depth-scaled"
    ADAPTER = "adapter"
    SHARES_EMBEDDINGS = "shares-embeddings"
    SAME_ARCHITECTURE = "same-architecture"
    BEHAVES_ALIKE = "behaves-alike"
    UNRELATED = "unrelated"
    CANNOT_TELL = "cannot-tell"

    @property
    def kin(self) -> bool:
        """Whether weights of one are in the other, or both have theirs from a third: an edge of the tree."""
        return self in _KIN


_KIN = {Verdict.IDENTICAL, Verdict.REENCODED, Verdict.DESCENDS, Verdict.COMMON_ANCESTOR, Verdict.MERGE, Verdict.PRUNED,
        Verdict.UPCYCLED, Verdict.DEPTH_SCALED, Verdict.ADAPTER, Verdict.SHARES_EMBEDDINGS}

Direction = Literal["a-from-b", "b-from-a", "unknown"]
Strength = Literal["proof", "strong", "moderate", "weak", "context", "none"]
"""proof: cannot come about otherwise. strong, moderate: measured against independent models. weak: often so. context:
says what the two are, and nothing of kinship. none: was looked for and not found, or could not be looked for."""
Figures = dict[str, float | int | str | bool | None]


@dataclass(frozen=True)
class NullFigures:
    """n: known-independent pairs of this kind of model in the library; as_high: how many of them agree as much as
    this pair. max: the most any of them does, 0.0 if there are none. kind: "gated", "plain" or "tiny"."""

    n: int
    max: float
    as_high: int
    kind: str

    @property
    def says(self) -> Said:
        if not self.n:
            return said("no independent pairs of this kind are known yet")
        return said("%(high)s of %(n)s independent pairs as high", high=self.as_high, n=f"{self.n:,}")


@dataclass(frozen=True)
class LayerPair:
    """A layer of a, the layer of b that suits it best (numbers among all MLP layers, from 0), and their agreement."""

    a: int
    b: int
    agreement: float


@dataclass(frozen=True)
class Evidence:
    """name: of the file in trace/evidence. says: one sentence for people, a Said but in records of before. figures:
    what it rests on."""

    name: str
    strength: Strength
    says: str
    figures: Figures = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """told: what the sentence was made of, where that is known."""
        told = as_told(self.says)
        return {**asdict(self), "says": str(self.says), **({"told": told} if told else {})}

    @staticmethod
    def from_json(data: dict[str, Any]) -> Evidence:
        """Raises KeyError, TypeError or ValueError for anything but what as_json gave."""
        plain = {key: value for key, value in data.items() if key != "told"}
        return Evidence(**plain | {"says": from_told(data.get("told"), data["says"])})


@dataclass(frozen=True)
class Judgement:
    """agreement: of the median layer, 0 to 1; None where the two have no profiles in common.

    layers: one for each layer of the model with fewer. table: float32 (layers of a, layers of b), the kept ones, whose
    numbers are table_a and table_b; (0, 0) if there is none. operation: what was done to the child, in words, or None.
    coefficients: of a merge, by the parents' names. would_change: what else could be looked at to say more.
    """

    verdict: Verdict
    direction: Direction
    direction_evidence: tuple[Evidence, ...]
    agreement: float | None
    null: NullFigures
    layers: tuple[LayerPair, ...]
    table: np.ndarray
    evidence: tuple[Evidence, ...]
    operation: str | None
    coefficients: dict[str, float]
    says: str
    would_change: str
    table_a: tuple[int, ...] = ()
    table_b: tuple[int, ...] = ()
    version: int = VERSION

    def as_json(self, table: bool = True) -> dict[str, Any]:
        """Plain numbers, strings and lists; without the table on wish. from_json reads it back."""
        found = {key: value for key, value in vars(self).items() if key != "table"}
        found |= {"verdict": str(self.verdict), "null": asdict(self.null),
                  "layers": [[y.a, y.b, round(y.agreement, 4)] for y in self.layers],
                  "evidence": [e.as_json() for e in self.evidence], "says": str(self.says),
                  "direction_evidence": [e.as_json() for e in self.direction_evidence],
                  "table_a": list(self.table_a), "table_b": list(self.table_b)}
        if self.agreement is not None:
            found["agreement"] = round(self.agreement, 4)
        if told := as_told(self.says):
            found["told"] = told
        if table:
            found["table"] = [[round(float(x), 3) for x in row] for row in self.table]
        return found

    @staticmethod
    def from_json(data: dict[str, Any]) -> Judgement:
        """Of what as_json gave. Raises KeyError, TypeError or ValueError for anything else."""
        rows = data.get("table") or []
        return Judgement(
            Verdict(data["verdict"]), data["direction"], _evidences(data["direction_evidence"]), data["agreement"],
            NullFigures(**data["null"]), tuple(LayerPair(int(a), int(b), float(x)) for a, b, x in data["layers"]),
            np.array(rows, np.float32).reshape(len(rows), -1 if rows else 0), _evidences(data["evidence"]),
            data["operation"], dict(data["coefficients"]), from_told(data.get("told"), data["says"]),
            data["would_change"],
            tuple(data["table_a"]), tuple(data["table_b"]), int(data["version"]))


def _evidences(listed: list[dict[str, Any]]) -> tuple[Evidence, ...]:
    return tuple(map(Evidence.from_json, listed))
