"""Two models at hand, looked at in whole: all neurons of corresponding layers, and tensor beside tensor.

The second, deeper step after two fingerprints were judged: it says which layers correspond, this says by which neurons,
what those read and write, and what was done to each tensor. One layer of each model is in memory at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from headwater.core.errors import BadInput
from headwater.trace.adapter_pair import adapter_evidence, deepen_adapter
from headwater.trace.aligned_rows import as_evidence, rows_met
from headwater.trace.all_neurons import NeuronPair, Side, match_layers
from headwater.trace.judgement import Direction, Evidence, Judgement, LayerPair, Verdict
from headwater.trace.reader import OpenFile, Reader
from headwater.trace.roles import Layer, Roles, find_roles
from headwater.trace.said import said
from headwater.trace.tensor_pairs import TensorPair, compare_tensors
from headwater.trace.turning import LAYERS as TURNING_LAYERS
from headwater.trace.turning import find_turning, search_turning
from headwater.weights.tokens import Tokens

LAYERS = 8
"""Compared by default, evenly spread over those that correspond."""
SHOWN = 20
LINE = 0.1
"""Share of all neurons from which layers correspond, in the median. Two of Qwen that were trained apart reach .12 in
their last layer and .0002 in the median one; noise twice the weights, rotated, leaves .19."""
FEWEST_PACKED = 4
ROUNDED = 0.95
"""Share of numbers from which a packed model is the other's, rounded; GPTQ, which makes up for each column's error in
those behind it, leaves .68."""
NEAR, WIDENED = 0.9, 0.06
"""Shares from which the finer one's numbers lie near the steps of the packed one, and how far they do at least: widened
to 16 bits alone they lie nearer."""
REDERIVED = 0.99
NOT_REDERIVED = 0.05

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class LayerMatch:
    """agreement: share of the neurons that both matchings join. control: what chance gives. of: neurons compared."""

    a: int
    b: int
    agreement: float
    control: float
    of: int


@dataclass(frozen=True)
class PairReport:
    """agreement: of the median layer, all its neurons; None where they cannot be matched. neurons: the best matched of
    all layers. evidence: what this adds to a judgement."""

    agreement: float | None
    layers: tuple[LayerMatch, ...]
    neurons: tuple[tuple[int, int, NeuronPair], ...]
    tensors: tuple[TensorPair, ...]
    evidence: tuple[Evidence, ...]

    def as_json(self) -> dict[str, Any]:
        return {"agreement": self.agreement, "layers": [asdict(y) for y in self.layers],
                "neurons": [{"layer_a": x, "layer_b": y, **asdict(pair)} for x, y, pair in self.neurons],
                "tensors": [asdict(t) for t in self.tensors], "evidence": [e.as_json() for e in self.evidence]}

    @staticmethod
    def from_json(data: dict[str, Any]) -> PairReport:
        """Of what as_json gave. Raises KeyError, TypeError or ValueError for anything else."""
        neurons = tuple((one["layer_a"], one["layer_b"], NeuronPair(**{
            key: tuple(value) if isinstance(value, list) else value for key, value in one.items()
            if key not in ("layer_a", "layer_b")})) for one in data["neurons"])
        tensors = tuple(TensorPair(**{**one, "shape": tuple(one["shape"]), "lattice": tuple(one["lattice"])})
                        for one in data["tensors"])
        return PairReport(data["agreement"], tuple(LayerMatch(**one) for one in data["layers"]), neurons, tensors,
                          tuple(map(Evidence.from_json, data["evidence"])))

    def flipped(self) -> PairReport:
        """The same of B and A."""
        return replace(self, layers=tuple(replace(y, a=y.b, b=y.a) for y in self.layers),
                       neurons=tuple((y, x, pair.flipped()) for x, y, pair in self.neurons),
                       tensors=tuple(t.flipped() for t in self.tensors))


def compare_files(open_a: OpenFile, files_a: Mapping[str, int], open_b: OpenFile, files_b: Mapping[str, int],
                  layers: Sequence[LayerPair], *, most: int = LAYERS, progress: Progress | None = None,
                  guess_tokens: Callable[[int], Tokens | None] | None = None) -> PairReport:
    """layers: which correspond, as layers_to_compare gives them. Where no neurons can be matched by tokens, a rotation
    is looked for without (trace/turning.py). Raises CorruptFile for a model that does not hold together, BadInput for
    layers that are not there."""
    chosen = _spread(layers, most)
    with ExitStack() as stack, np.errstate(all="ignore"):
        sides = []
        for open_file, files in ((open_a, files_a), (open_b, files_b)):
            reader = stack.enter_context(Reader(open_file, files))
            sides.append(Side(reader, _roles(reader, guess_tokens)))
        if any(side.roles.adapter for side in sides):
            return PairReport(None, (), (), (), adapter_evidence(*((side.reader, side.roles) for side in sides)))
        if any(x >= len(sides[0].roles.layers) or y >= len(sides[1].roles.layers) for x, y in chosen):
            raise BadInput("a layer was named that one of the models does not have.")
        report = _compare(sides[0], sides[1], chosen, progress or (lambda done, total: None))
        if report.agreement is not None and report.agreement > LINE:
            return report
        one, two = ((side.reader, side.roles) for side in sides)
        found = find_turning(one, two, _spread(layers, TURNING_LAYERS))
        if found is None or found.held_out <= LINE:
            # Nobody knows which layers to put side by side: they may have been dropped or put in another order.
            found = search_turning(one, two) or found
        return report if found is None else replace(report, evidence=(*report.evidence, found.as_evidence(LINE)))


def _spread(layers: Sequence[LayerPair], most: int) -> list[tuple[int, int]]:
    return [(layers[n].a, layers[n].b)
            for n in np.unique(np.linspace(0, len(layers) - 1, min(most, len(layers))).astype(int))]


def layers_to_compare(judgement: Judgement, layers_a: int, layers_b: int) -> tuple[LayerPair, ...]:
    """Those judge found to correspond; where it found none, those of one number, spread over the longer model."""
    if judgement.agreement is not None and judgement.agreement >= 0.25:
        return judgement.layers
    fewer = min(layers_a, layers_b)
    spread = [np.linspace(0, count - 1, fewer).round().astype(int) for count in (layers_a, layers_b)]
    return tuple(LayerPair(int(x), int(y), 0.0) for x, y in zip(*spread, strict=True))


def _roles(reader: Reader, guess_tokens: Callable[[int], Tokens | None] | None) -> Roles:
    if reader.tokens is None and guess_tokens is not None:
        table = find_roles(reader.header, None, reader.columns).embedding
        reader.tokens = guess_tokens(table.shape[0]) if table is not None else None
    return find_roles(reader.header, len(reader.tokens) if reader.tokens is not None else None, reader.columns)


def _compare(a: Side, b: Side, chosen: Sequence[tuple[int, int]], progress: Progress) -> PairReport:
    matches: list[LayerMatch] = []
    neurons: list[tuple[int, int, NeuronPair]] = []
    tensors: list[TensorPair] = []
    met, rng = [], np.random.default_rng(0)
    for done, (x, y) in enumerate(chosen):
        one, two = a.roles.layers[x], b.roles.layers[y]
        found = match_layers(a, one, b, two)
        if found is not None:
            matches.append(LayerMatch(x, y, found.share, found.control, found.of))
            best = found.pairs[:max(2, SHOWN // len(chosen))]
            neurons += [(x, y, _told(a, one, b, two, *numbers)) for numbers in best]
        tensors += _tensors(a, one, b, two, (x, y))
        met.append(rows_met(a.reader, one, b.reader, two, rng))
        progress(done + 1, len(chosen))
    neurons.sort(key=lambda item: -abs(item[2].gate * item[2].up))
    agreement = float(np.median([m.agreement for m in matches])) if matches else None
    rows = as_evidence([one for one in met if one is not None])
    return PairReport(agreement, tuple(matches), tuple(neurons[:SHOWN]), tuple(tensors),
                      (*_evidence(matches, tensors), *([rows] if rows is not None else [])))


def _told(a: Side, one: Layer, b: Side, two: Layer, i: int, j: int, gate: float, up: float) -> NeuronPair:
    reads = "gates" if one.gates else "ups"
    sign = -1.0 if (up if one.gates else gate) < 0 else 1.0
    return NeuronPair(i, j, round(gate, 4), round(up, 4), a.told(one, reads, i),
                      b.told(two, reads, j, 1.0 if one.gates else sign), a.told(one, "downs", i),
                      b.told(two, "downs", j, sign))


def _tensors(a: Side, one: Layer, b: Side, two: Layer, layers: tuple[int, int]) -> list[TensorPair]:
    """Role against role; of attention those at one place among the layer's, if both have as many."""
    roles = [(name, x[0], y[0]) for name, x, y in (("gate", one.gates, two.gates), ("up", one.ups, two.ups),
                                                   ("down", one.downs, two.downs)) if len(x) == len(y) == 1]
    if len(one.attention) == len(two.attention):
        names = [m.tensor.name.rsplit(".weight", 1)[0].rsplit(".", 1)[-1] for m in one.attention]
        order = _by_name(two, names) if a.reader.header.format == b.reader.header.format else range(len(names))
        roles += [(name, x, two.attention[n]) for name, x, n in zip(names, one.attention, order, strict=True)]
    found = [compare_tensors(name, layers, a.reader, x, b.reader, y) for name, x, y in roles]
    return [pair for pair in found if pair is not None]


def _by_name(layer: Layer, names: Sequence[str]) -> Sequence[int]:
    mine = [m.tensor.name.rsplit(".weight", 1)[0].rsplit(".", 1)[-1] for m in layer.attention]
    return [mine.index(name) for name in names] if sorted(mine) == sorted(names) else range(len(names))


def _evidence(matches: Sequence[LayerMatch], tensors: Sequence[TensorPair]) -> tuple[Evidence, ...]:
    found = []
    if matches:
        share, control = (float(np.median([getattr(m, w) for m in matches])) for w in ("agreement", "control"))
        found.append(Evidence(
            "all neurons", "strong" if share > LINE and share > 10 * control else "none",
            said("In the median of %(n)s layers %(share)s of all neurons correspond; %(chance)s would by chance.",
                 n=len(matches), share=f"{share:.1%}", chance=f"{control:.1%}"),
            {"share": round(share, 4), "control": round(control, 5), "layers": len(matches)}))
    written = [t.rederived for t in tensors if t.rederived is not None]
    if written:
        rows = float(np.mean(written))
        says = said("Written in the coarser one's form, %(share)s of the finer one's rows come out bit for bit (%(n)s "
                    "tensors).", share=f"{rows:.0%}", n=len(written))
        found.append(Evidence("rederived", "proof" if rows >= REDERIVED else
                              "strong" if rows >= 0.5 else "none", says, {"rows": round(rows, 4)}))
    steps = [t.nearest for t in tensors if t.nearest is not None]
    if len(steps) >= FEWEST_PACKED:
        found.append(_of_steps(steps))
    low = [t for t in tensors if 0 < t.rank <= t.rank_of // 4 and t.cosine > 0.5]
    if low and len(low) * 2 >= len([t for t in tensors if t.rank]):
        rank = max(t.rank for t in low)
        found.append(Evidence("low rank", "moderate", said(
            "The difference of %(n)s tensors has rank %(rank)s at most, as after a merged adapter.", n=len(low),
            rank=rank), {"rank": rank, "tensors": len(low)}))
    return tuple(found)


def _of_steps(steps: Sequence[tuple[float, bool, float, float]]) -> Evidence:
    """Of tensors of which the coarser one is packed. What was trained from packed numbers lies near their steps, or
    beyond the nearest in every column; what they were made from lies between them. GPTQ moves all columns but one."""
    whole, (share, spread) = sum(step[1] for step in steps), (float(np.mean([x[n] for x in steps])) for n in (0, 2))
    figures = {"share": round(share, 4), "tensors": whole, "of": len(steps), "spread": round(spread, 3)}
    if 2 * whole >= len(steps):
        return Evidence("rounded from", "strong", said(
            "Rounded to the coarser one's steps, %(share)s of the finer one's numbers are what it holds; in %(n)s of "
            "%(of)s tensors there are columns of which all are, and lie between the steps.", share=f"{share:.1%}",
            n=whole, of=len(steps)), figures)
    # Of 8 bits the steps are so fine that 16 bits in between turn numbers over.
    near = share >= NEAR and 10 * whole <= len(steps) and spread >= WIDENED and max(step[3] for step in steps) < 6
    return Evidence("near the steps", "strong" if near else "none", said(
        "Rounded to the coarser one's steps, %(share)s of the finer one's numbers are what it holds; they lie "
        "%(spread)s of half a step from them in the mean, and numbers that were rounded lie .5.", share=f"{share:.1%}",
        spread=f"{spread:.2f}"), figures)


def deepen(judgement: Judgement, report: PairReport) -> Judgement:
    """The judgement with what the whole files add: re-encoded where that is proved, kin where all neurons show it."""
    of_adapter = deepen_adapter(judgement, report.evidence)
    if of_adapter is not None:
        return of_adapter
    by_name = {e.name: e for e in report.evidence}
    evidence = judgement.evidence + report.evidence
    operations = [judgement.operation] if judgement.operation else []
    if "low rank" in by_name and judgement.verdict.kin:
        operations.append("adapter merged")
    verdict, says = judgement.verdict, judgement.says
    if verdict is Verdict.DESCENDS and "rederived" in by_name and by_name["rederived"].strength != "none":
        verdict, says = Verdict.REENCODED, said(
            "A and B have the same weights: %(how)s", how=by_name["rederived"].says)
    direction, clues = _direction(judgement, by_name)
    made = clues[-1].name if len(clues) > len(judgement.direction_evidence) else ""
    if made == "rounded from" and verdict is Verdict.DESCENDS and float(
            by_name[made].figures["share"] or 0) >= ROUNDED:
        verdict, says = Verdict.REENCODED, said("A and B have the same weights: %(how)s", how=by_name[made].says)
    if made == "near the steps" and verdict is Verdict.REENCODED:
        verdict, says = Verdict.DESCENDS, said("Weights of one are in the other, or both have theirs from a third. "
                                               "%(how)s", how=by_name[made].says)
    if _not_rounded(judgement, by_name):
        # What moved the norms as rounding would was not rounding of this model.
        verdict, direction = Verdict.DESCENDS, "unknown"
        says = said("Weights of one are in the other, or both have theirs from a third. %(how)s",
                    how=by_name["rederived"].says)
    for name in ("all neurons", "turning", "aligned rows"):
        if not verdict.kin and name in by_name and by_name[name].strength in ("strong", "proof"):
            verdict, says = Verdict.DESCENDS, by_name[name].says
            operations += ["words or embeddings replaced"] if name == "turning" else []
    return replace(judgement, verdict=verdict, direction=direction, direction_evidence=clues, says=says,
                   evidence=evidence, operation=", ".join(operations) or None)


def _direction(judgement: Judgement, by_name: Mapping[str, Evidence]) -> tuple[Direction, tuple[Evidence, ...]]:
    """As it was judged, or as the steps of a packed one show it, unless another strong clue says otherwise."""
    steps = next((by_name[name] for name in ("rounded from", "near the steps") if name in by_name
                  and by_name[name].strength == "strong"), None)
    bits = [float(e.figures[f"bits_{side}"] or 0) for e in judgement.evidence if e.name == "precision" for side in "ab"]
    if steps is None or not judgement.verdict.kin or len(bits) != 2 or bits[0] == bits[1]:
        return judgement.direction, judgement.direction_evidence
    child = "a" if (bits[0] < bits[1]) == (steps.name == "rounded from") else "b"
    clues = (*judgement.direction_evidence, Evidence(steps.name, "strong", steps.says, {"child": child}))
    if any(clue.strength in ("proof", "strong") and clue.figures["child"] != child for clue in clues):
        return "unknown", clues
    return ("a-from-b" if child == "a" else "b-from-a"), clues


def _not_rounded(judgement: Judgement, by_name: Mapping[str, Evidence]) -> bool:
    """Whether the coarser file should come out of the finer one, by the verdict or its direction, and no row does. A
    form of 8 bits says nothing here: 16 bits in between turn it over (docs/log.md)."""
    clues = {clue.name for clue in judgement.direction_evidence if clue.strength == "moderate"}
    coarse = min(float(e.figures[f"bits_{side}"] or 99) for e in judgement.evidence if e.name == "precision"
                 for side in "ab")
    return judgement.verdict in (Verdict.REENCODED, Verdict.DESCENDS) and "fewer bits" in clues and coarse < 6 \
        and "rederived" in by_name and float(by_name["rederived"].figures["rows"] or 0) < NOT_REDERIVED
