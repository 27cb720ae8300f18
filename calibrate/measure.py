"""Measure trace and its baselines on the tiny population: the figures docs/calibration.md is written from."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from trace_made import Made

from calibrate import populations, text
from calibrate.baselines import BASELINES
from calibrate.disguise import compose, files_of, in_whole, made_of, print_of
from calibrate.populations import Plan
from headwater.trace.fingerprint import Fingerprint
from headwater.trace.judge import judge
from headwater.trace.judgement import Judgement
from headwater.trace.null import NullLibrary, NullWhole

HEAD = 16
WHOLE_EVERY = 8
EVERY = 5
"""Of the independent pairs, one in so many is shown to the baselines."""
SOURCE = "tiny models of Llama's layout trained apart, by `make calibrate`"
Figures = dict[str, Any]
Score = Callable[[Made, Made], float]
_OURS = "trace"


def measure(folder: Path, told: Callable[[str], None], methods: Mapping[str, Score] = BASELINES) -> Figures:
    """Also fills the null library's kind "tiny" anew, from the same pairs. methods: those measured beside trace; what
    is known of the others is kept, because it does not change with the fingerprint."""
    words = text.bodies()[0]
    apart = populations.independents()
    models = {name: made_of(params, words) for name, params in populations.load(folder, [p.name for p in apart])}
    prints = {name: print_of(model) for name, model in models.items()}
    library = NullLibrary.load()
    library.pairs["tiny"], library.source["tiny"] = [], SOURCE
    for one, two in combinations(apart, 2):
        library.add(prints[one.name], prints[two.name], (one.name, two.name))
    library.save()
    told(f"{len(library.pairs['tiny'])} independent pairs, at most {library.figures('tiny', None).max:.4f}")
    found: Figures = {"null": _null_classes(apart, library)}
    found["called kin"] = _called_kin(apart, prints, library)
    told(f"called kin of them: {found['called kin']}")
    found["whole"] = _whole_of_strangers(models, prints, library)
    library.whole["tiny"] = NullWhole(found["whole"]["pairs"], found["whole"]["greatest"])
    library.save()
    told(f"whole files: {found['whole']}")
    scores: dict[str, list[float]] = {name: [] for name in (_OURS, *methods)}
    for one, two in list(combinations([p.name for p in apart], 2))[::EVERY]:
        for name, score in methods.items():
            scores[name].append(score(models[one], models[two]))
    scores[_OURS] = [pair.median for pair in library.pairs["tiny"]]
    rows = list(_descendants(folder, words, models, prints, library, told, methods))
    found["operations"] = _recall(rows)
    found["disguises"] = _by_disguise(rows)
    found["baselines"] = _beside(scores, rows)
    kept = known().get("baselines", [])
    found["baselines"] += [one for one in kept if one["method"] not in {row["method"] for row in found["baselines"]}]
    return found


def _null_classes(apart: list[Plan], library: NullLibrary) -> list[Figures]:
    group = {plan.name: plan.group for plan in apart}
    by_class: dict[str, list[float]] = defaultdict(list)
    for pair in library.pairs["tiny"]:
        one, two = group[pair.a], group[pair.b]
        by_class[one if one == two else _across(one, two)].append(pair.median)
    return [{"class": name, "n": len(values), "median": float(np.median(values)),
             "p99": float(np.quantile(values, 0.99)), "max": max(values)} for name, values in by_class.items()]


def _across(one: str, two: str) -> str:
    if "students of one teacher" in (one, two) and "same data and order" in (one, two):
        return "a student and another of its teacher's kind"
    return "one of each of two classes"


def _called_kin(apart: list[Plan], prints: Mapping[str, Fingerprint], library: NullLibrary) -> Figures:
    """Verdicts over all independent pairs, and the strongest index-aligned p among them."""
    verdicts: Counter[str] = Counter()
    least, kin = 0.0, []
    for one, two in combinations([p.name for p in apart], 2):
        found = judge(prints[one], prints[two], library)
        verdicts[str(found.verdict)] += 1
        if found.verdict.kin:
            kin.append([one, two, found.says])
        aligned = next(e for e in found.evidence if e.name == "aligned").figures.get("log10_p")
        least = min(least, float(aligned or 0))
    return {"verdicts": dict(verdicts), "kin": kin, "log10_p": least}


def _whole_of_strangers(models: Mapping[str, Made], prints: Mapping[str, Fingerprint], library: NullLibrary) -> Figures:
    """All neurons, and rotations found without words, of a part of the independent pairs of one shape."""
    chosen = [pair for pair in combinations(models, 2)
              if prints[pair[0]].architecture.width == prints[pair[1]].architecture.width][::WHOLE_EVERY]
    return greatest_in_whole([_deepened(judge(prints[one], prints[two], library), models[one], models[two])
                              for one, two in chosen])


def greatest_in_whole(said: Sequence[Judgement]) -> Figures:
    """Of strangers that were compared in whole: how many, how many are called kin, the greatest shares."""
    greatest: dict[str, float] = {}
    for evidence in (e for one in said for e in one.evidence if e.name in ("all neurons", "turning")):
        figure = float(evidence.figures["share" if evidence.name == "all neurons" else "held_out"] or 0)
        greatest[evidence.name] = max(greatest.get(evidence.name, 0.0), figure)
    return {"pairs": len(said), "kin": sum(one.verdict.kin for one in said), "greatest": greatest}


def _deepened(said: Judgement, a: Made, b: Made) -> Judgement:
    return in_whole(said, files_of(a), files_of(b), len(a.layers), len(b.layers))


def _descendants(folder: Path, words: list[str], models: Mapping[str, Made], prints: Mapping[str, Fingerprint],
                 library: NullLibrary, told: Callable[[str], None], methods: Mapping[str, Score]) -> Iterator[Figures]:
    """One row a descendant, as it is and disguised: what was said, how far it agrees, every baseline's score."""
    plans = populations.descendants()
    listed = [(p.name, p.name.partition("/")[0], p.group, made_of(params, words)) for p, (_, params)
              in zip(plans, populations.load(folder, [p.name for p in plans]), strict=True)]
    listed += [(name, base, "a merge of two tuned ones", made_of(params, words))
               for name, base, params in populations.merges(folder)]
    for number, (name, base, group, model) in enumerate(listed):
        drawn = compose(model, np.random.default_rng(70_000 + number), HEAD)
        row: Figures = {"name": name, "group": group, "disguises": list(drawn.names)}
        for state, seen in (("plain", model), ("disguised", drawn.model)):
            verdict = judge(prints[base], print_of(seen), library)
            kin = verdict.verdict.kin or _deepened(verdict, models[base], seen).verdict.kin
            row[state] = {_OURS: verdict.agreement or 0.0, "kin": verdict.verdict.kin, "whole": kin}
            row[state] |= {which: score(models[base], seen) for which, score in methods.items()}
        if not (row["plain"]["kin"] and row["disguised"]["kin"]):
            told(f"missed: {name}, {row['plain']['trace']:.2f} plain, {row['disguised']['trace']:.2f} disguised by "
                 f"{', '.join(drawn.names)}")
        yield row


def _recall(rows: list[Figures]) -> list[Figures]:
    by_group: dict[str, list[Figures]] = defaultdict(list)
    for row in rows:
        by_group[row["group"]].append(row)
    return [{"operation": group, "n": len(found), **{
        state: {"found": sum(r[state]["kin"] for r in found), "whole": sum(r[state]["whole"] for r in found),
                "least": min(r[state][_OURS] for r in found),
                "median": float(np.median([r[state][_OURS] for r in found]))}
        for state in ("plain", "disguised")}} for group, found in by_group.items()]


GAP = "all embeddings new, then 50 %"


def _by_disguise(rows: list[Figures]) -> list[Figures]:
    """Of descendants with embeddings of their own: found where this disguise was among those drawn."""
    told = [row for row in rows if row["group"] != GAP]
    names = sorted({name for row in told for name in row["disguises"]})
    return [{"disguise": name, "n": len(found), "found": sum(r["disguised"]["kin"] for r in found),
             "least": min(r["disguised"][_OURS] for r in found)}
            for name in names for found in [[row for row in told if name in row["disguises"]]]]


def _beside(scores: Mapping[str, list[float]], rows: list[Figures]) -> list[Figures]:
    """Share found with a line just above the greatest independent pair; and the area under the curve."""
    found = []
    for name, apart in scores.items():
        entry: Figures = {"method": name, "pairs": len(apart), "max": max(apart)}
        for state in ("plain", "disguised"):
            kin = np.array([row[state][name] for row in rows])
            order = np.concatenate([apart, kin])
            ranks = np.searchsorted(np.sort(order), order[len(apart):], "left") \
                + np.searchsorted(np.sort(order), order[len(apart):], "right")
            area = (ranks.sum() / 2 - len(kin) * len(kin) / 2) / (len(kin) * len(apart))
            entry[state] = {"found": int((kin > max(apart)).sum()), "n": len(kin), "area": round(float(area), 4)}
        found.append(entry)
    return found


FILE = Path(__file__).with_name("figures.json")


def keep(figures: Figures) -> None:
    """Beside what was kept before: the tiny population and the real models are measured one after the other."""
    FILE.write_text(json.dumps(known() | figures, indent=1, ensure_ascii=False) + "\n", "utf-8")


def known() -> Figures:
    return json.loads(FILE.read_text("utf-8")) if FILE.is_file() else {}


