"""The null library: how far models agree that are known to have nothing of each other. Verdicts are read against it.

A file of JSON beside this module, grown by `make calibrate` (docs/design/007-judgement.md has its form). Kinds are kept
apart, because what is usual differs: "gated" and "plain" MLPs of real models, and "tiny" ones trained for calibration.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from headwater.core.errors import CorruptFile
from headwater.trace import fingerprint
from headwater.trace.compared import Compared
from headwater.trace.evidence import embeddings
from headwater.trace.fingerprint import Architecture, Fingerprint
from headwater.trace.judgement import Evidence, NullFigures

FILE = Path(__file__).with_name("null.json")
TINY = 128
"""Models no wider than this are of the kind "tiny"."""


class Line(NamedTuple):
    """kin: a median layer's agreement from which two models are kin, if no independent pair reached it. layer: from
    which it is the layers that descend, and not the basis of the stream alone."""

    kin: float
    layer: float


WHOLE = "whole files"
"""The kind of figures that are of whole files and not of fingerprints."""
_SHARES = {"all neurons": "share", "turning": "held_out"}
LINES: Mapping[str, Line] = {"gated": Line(0.1, 0.1), "plain": Line(0.1, 0.5), "tiny": Line(0.1, 0.1)}
"""Twice and more what unrelated pairs reach. In encoders that norm after each block, neighbouring layers of one model
agree at up to .35, so a middling figure there shows a common basis, not a common layer."""


@dataclass(frozen=True)
class NullPair:
    """a, b: names, or what tells them apart. median: of the layers' agreement. inner: the greatest of the inner layers,
    0.0 if there are none. embedding: cosine of the signs of shared words' rows, None if it could not be had."""

    a: str
    b: str
    median: float
    inner: float
    embedding: float | None


class NullWhole(NamedTuple):
    """Independent pairs of one kind whose whole files were compared: how many, and the greatest share by the name of
    what found it ("all neurons", "turning")."""

    pairs: int
    greatest: Mapping[str, float]


@dataclass
class NullLibrary:
    """pairs by kind. source: for each kind, where its pairs come from, for the report. whole: by kind, of those that
    were compared in whole."""

    pairs: dict[str, list[NullPair]] = field(default_factory=dict)
    source: dict[str, str] = field(default_factory=dict)
    whole: dict[str, NullWhole] = field(default_factory=dict)

    @staticmethod
    def load(path: Path = FILE) -> NullLibrary:
        """Raises CorruptFile if it does not hold together, or was made with fingerprints of another version."""
        try:
            data = json.loads(path.read_text("utf-8"))
            if data["fingerprint"] != fingerprint.VERSION:
                raise ValueError(f"fingerprints of version {data['fingerprint']}, and this is {fingerprint.VERSION}")
            pairs = {str(kind): [NullPair(str(a), str(b), float(m), float(i), None if e is None else float(e))
                                 for a, b, m, i, e in one["pairs"]] for kind, one in data["kinds"].items()}
            whole = {str(kind): NullWhole(int(one["pairs"]), {str(n): float(x) for n, x in one["greatest"].items()})
                     for kind, one in data["whole"].items()}
            return NullLibrary(pairs, {kind: str(one["source"]) for kind, one in data["kinds"].items()}, whole)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise CorruptFile(f"the null library {path.name} does not hold together: {error}.",
                              hint="Have it made again with `make calibrate`.") from None

    def save(self, path: Path = FILE) -> None:
        kinds: dict[str, Any] = {}
        for kind in sorted(self.pairs):
            rows = [[p.a, p.b, round(p.median, 4), round(p.inner, 4),
                     None if p.embedding is None else round(p.embedding, 4)] for p in self.pairs[kind]]
            kinds[kind] = {"source": self.source.get(kind, ""), "pairs": rows}
        text = json.dumps({"fingerprint": fingerprint.VERSION, "kinds": kinds,
                           "whole": {kind: {"pairs": one.pairs, "greatest": dict(one.greatest)}
                                     for kind, one in sorted(self.whole.items())}}, ensure_ascii=False)
        # One pair a line: a change to it can be read.
        path.write_text(text.replace("], [", "],\n[").replace('"pairs": [[', '"pairs": [\n[') + "\n", "utf-8")

    def add(self, a: Fingerprint, b: Fingerprint, names: tuple[str, str]) -> NullPair | None:
        """Measure two models known to be independent and keep their figures; None where nothing could be compared."""
        compared = Compared(a, b)
        if compared.agreement.median is None:
            return None
        cosine = embeddings.look(compared).figures.get("cosine")
        inner = max((p.agreement for p in compared.inner_pairs), default=0.0)
        found = NullPair(*names, compared.agreement.median, inner, None if cosine is None else float(cosine))
        self.pairs.setdefault(kind_of(a, b), []).append(found)
        return found

    def figures(self, kind: str, median: float | None) -> NullFigures:
        """Of the library's pairs of this kind, beside a pair that agrees as far as `median`."""
        medians = [pair.median for pair in self.pairs.get(kind, ())]
        as_high = 0 if median is None else sum(m >= median for m in medians)
        return NullFigures(len(medians), max(medians, default=0.0), as_high, kind)

    def beside_whole(self, kind: str, evidence: Sequence[Evidence]) -> tuple[float | None, NullFigures]:
        """(the greatest share that whole files show, None if none does; the library's pairs of this kind beside it)."""
        shares = {e.name: float(e.figures[_SHARES[e.name]] or 0) for e in evidence if e.name in _SHARES}
        if not shares:
            return None, NullFigures(0, 0.0, 0, WHOLE)
        name = max(shares, key=lambda one: shares[one])
        known = self.whole.get(kind)
        if known is None or name not in known.greatest:
            return shares[name], NullFigures(0, 0.0, 0, WHOLE)
        as_high = 0 if shares[name] > known.greatest[name] else known.pairs
        return shares[name], NullFigures(known.pairs, known.greatest[name], as_high, WHOLE)

    def line(self, kind: str) -> Line:
        """The line of the kind, lifted above every pair the library holds."""
        low, layer = LINES[kind]
        highest = max((pair.median for pair in self.pairs.get(kind, ())), default=0.0)
        return Line(max(low, 1.25 * highest), max(layer, 1.25 * highest))


def kind_of(a: Fingerprint, b: Fingerprint) -> str:
    """"tiny" if both are; else whether the one with layers to compare has gates."""
    shapes: list[Architecture] = [a.architecture, b.architecture]
    if all(0 < shape.width <= TINY for shape in shapes):
        return "tiny"
    return "plain" if any(shape.form == "plain" for shape in shapes) else "gated"
