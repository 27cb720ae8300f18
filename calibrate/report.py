"""docs/calibration.md out of figures.json: nothing is measured here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from calibrate import ROOT
from calibrate.measure import EVERY, FILE, GAP
from headwater.stats.counts import at_most, share_interval
from headwater.trace.null import LINES, NullLibrary

TARGET = ROOT / "docs" / "calibration.md"
METHODS = ("trace", "AWM", "std fingerprint", "spectra", "weightscope")
Figures = dict[str, Any]


def write() -> Path:
    TARGET.write_text(page(json.loads(FILE.read_text("utf-8")), NullLibrary.load()), "utf-8")
    return TARGET


def page(figures: Figures, library: NullLibrary) -> str:
    parts = [_HEAD, _null(figures, library), _lines(library), _operations(figures), _disguises(figures),
             _middle(figures), _beside(figures, library), _real(figures), _CANNOT]
    return "\n".join(parts)


_HEAD = """# Calibration of trace

Made by `make calibrate`, which trains everything from its seeds (about 15 minutes of one core; kept in the
environment), measures, fills `trace/null.json` and writes this page. Agreement is the median layer's, of the
fingerprints alone. Brackets hold exact 95 % intervals (Clopper and Pearson).

The population: models of Llama's layout, 4 layers, 64 wide, 256 neurons, 512 words, trained in numpy on three bodies of
text out of the Python installation (`calibrate/populations.py` lists each by its seed). They are tiny and under-trained
(loss 3.3 to 3.9), and move further from each other and from their beginning than large models do. What they can show is
how the statistic behaves where the truth is known of every pair; what they cannot is trillions of tokens.
"""


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _share(found: int, tried: int) -> str:
    low, high = share_interval(found, tried)
    return f"{found} of {tried} ({low:.3f} to {high:.3f})"


def _null(figures: Figures, library: NullLibrary) -> str:
    rows = [[one["class"], f"{one['n']:,}", f"{one['median']:.4f}", f"{one['p99']:.4f}", f"{one['max']:.4f}"]
            for one in sorted(figures["null"], key=lambda one: -one["n"])]
    kin, total = figures["called kin"]["kin"], len(library.pairs["tiny"])
    whole = [[kind, str(one.pairs), *(f"{one.greatest[name]:.4f}" if name in one.greatest else "not measured"
                                      for name in ("all neurons", "turning"))]
             for kind, one in sorted(library.whole.items())]
    verdicts = ", ".join(f"{count:,} {name}" for name, count in sorted(figures["called kin"]["verdicts"].items()))
    return f"""## Models that have nothing of each other

{_table(["classes of the pair", "pairs", "median", "99 %", "greatest"], rows)}
Called kin: **{len(kin)} of {total:,}** independent pairs; the share is below {at_most(len(kin), total):.2%} with
95 % confidence. What was said of them: {verdicts}. The smallest index-aligned p of
all: 10^{figures['called kin']['log10_p']} (the line is 10^-9).

Compared in whole, too (tiny ones: a part of the pairs of one width), none called kin. The greatest share of all neurons
that agree in the median layer, and under a rotation found without words in the layers it was not taken from (both
lines: .1; encoders may not be rotated):

{_table(["kind", "pairs in whole", "all neurons", "rotation"], whole)}
"""


def _lines(library: NullLibrary) -> str:
    rows = []
    for kind, line in LINES.items():
        told = library.figures(kind, line.kin)
        rows.append([kind, f"{told.n:,}", f"{told.max:.4f}", f"{library.line(kind).kin:.3f}",
                     f"{told.as_high} of {told.n:,}"])
    return f"""## Lines

{_table(["kind", "independent pairs", "greatest", "line", "at or above the line"], rows)}
A verdict that rests on agreement asks for the line and for more than every pair of its kind. The tests fail if a pair
of the library reaches the line, and train a few models anew.
"""


def _operations(figures: Figures) -> str:
    rows, total = [], {"plain": [0, 0], "disguised": [0, 0]}
    for one in figures["operations"]:
        row = [one["operation"], str(one["n"])]
        for state in ("plain", "disguised"):
            told = one[state]
            row += [_share(told["found"], one["n"]), str(told["whole"]), f"{told['median']:.2f} ({told['least']:.2f})"]
            if one["operation"] != GAP:
                total[state][0] += told["whole"]
                total[state][1] += one["n"]
        rows.append(row)
    sums = ", ".join(f"{_share(*total[state])} {state}" for state in total)
    return f"""## Descendants, as they are and disguised

Each descendant was judged beside its ancestor twice: as it came out of training, and after one to eight disguises drawn
by its seed (below), half of the time rounded to 4 bits at the end. *Found*: by the fingerprints alone; *whole files*:
how many after both models were compared in whole (all neurons; else a rotation looked for without words).

{_table(["what was done", "n", "found", "whole files", "agreement: median (least)", "found disguised",
         "whole files", "agreement"], rows)}
Whole files, without the row of new embeddings: {sums}.
"""


def _disguises(figures: Figures) -> str:
    rows = [[one["disguise"], _share(one["found"], one["n"]), f"{one['least']:.2f}"] for one in figures["disguises"]]
    return f"""### By disguise

Of descendants with embeddings of their ancestor, those whose draw held the disguise, alone or with others.

{_table(["disguise", "found", "least agreement"], rows)}"""


def _middle(figures: Figures) -> str:
    if "middle" not in figures:
        return ""
    found = figures["middle"]
    apart = [[kind, one["class"], str(one["n"]), f"{one['median']:.4f}", f"{one['max']:.4f}"]
             for kind in ("encoders", "gateds") for one in sorted(found[f"{kind} apart"]["classes"],
                                                                  key=lambda one: -one["n"])]
    rows = [[kind, one["operation"], str(one["n"]), *(_state(one, state) for state in ("plain", "disguised"))]
            for kind in ("encoders", "gateds") for one in found[f"{kind}' descendants"]]
    told = [f"{len(found[f'{kind} apart']['kin'])} of {sum(found[f'{kind} apart']['verdicts'].values())} pairs of "
            f"{found[f'{kind} apart']['models']} {_KINDS[kind]} (in any one layer at most "
            f"{found[f'{kind} apart']['greatest of any layer']:.3f})" for kind in ("encoders", "gateds")]
    own = ", ".join(f"{name} {value:.2f}" for name, value in found["encoders' own layers"].items())
    return f"""## Encoders, and gated models of middling size

Trained with torch in seconds to a minute each (`calibrate/middle.py`: BERT's and GPT-2's layout 144 wide, Llama's 192
wide, 6 layers, 2,049 words, 150 to 200 steps of 256 tokens), on the same bodies of text. Called kin:

{chr(10).join(f"- {one}" for one in told)}

Beside them stand in the library: four real decoders with each other, and two real MiniLMs with each model trained here.

{_table(["kind", "classes of the pair", "pairs", "median", "greatest"],
        [[_KINDS[row[0]], *row[1:]] for row in apart])}
Descendants; encoders also with neurons and stream permuted, 30 % of the words left out and the others shuffled, noise
of 5 %, 4 bits and every name another, all at once:

{_table(["kind", "what was done", "n", "found: agreement, median (least)", "disguised"],
        [[_KINDS[row[0]], *row[1:]] for row in rows])}
What this population cannot show: encoders trained for long, whose neighbouring layers grow alike (two layers of one
model agree at most at: {own}). No two *real* encoders that are known to have nothing of each other were to be had.
"""


_KINDS = {"encoders": "encoders", "gateds": "gated models"}


def _state(one: Figures, state: str) -> str:
    if state not in one:
        return ""
    told = one[state]
    return f"{_share(told['found'], one['n'])}: {told['median']:.2f} ({told['least']:.2f})"


def _beside(figures: Figures, library: NullLibrary) -> str:
    every = {state: {which: sum(one[state][which] for one in figures["operations"]) for which in ("found", "whole")}
             for state in ("plain", "disguised")}
    total = sum(one["n"] for one in figures["operations"])
    rows = [["trace, its verdict by the fingerprints", f"{len(library.pairs['tiny']):,}", "none kin",
             _share(every["plain"]["found"], total), "", _share(every["disguised"]["found"], total), ""],
            ["trace, its verdict by the whole files", f"{figures['whole']['pairs']:,}", "none kin",
             _share(every["plain"]["whole"], total), "", _share(every["disguised"]["whole"], total), ""]]
    for one in figures["baselines"]:
        name = "trace, its agreement alone" if one["method"] == "trace" else one["method"]
        row = [name, f"{one['pairs']:,}", f"{one['max']:.4g}"]
        for state in ("plain", "disguised"):
            row += [_share(one[state]["found"], one[state]["n"]), f"{one[state]['area']:.3f}"]
        rows.append(row)
    return f"""## Beside other methods, the same pairs

Share of all the descendants above, those with new embeddings among them, whose score is higher than every independent
pair's, and the area under the curve. Of trace also its verdict, which rests on more than agreement. The others saw one
in {EVERY} of the independent pairs, which favours them. All were written anew from their descriptions
(`calibrate/baselines.py`).

{_table(["method", "independent pairs", "greatest", "found", "area", "found disguised", "area"], rows)}"""


def _real(figures: Figures) -> str:
    if "real" not in figures:
        return ""
    rows = []
    for one in figures["real"]:
        scores = ["" if name not in one else f"{one[name]:.3f}" if name != "spectra" else f"{one[name]:.1e}"
                  for name in METHODS]
        verdict = f"**{one['verdict']}**" if one["found"] != one["kin"] else one["verdict"]
        if "whole" in one:
            verdict += f"; whole files: {one['whole']['verdict']}"
        rows.append([one["case"], verdict, *scores])
    seconds = {name: sorted(one["seconds"][name] for one in figures["real"] if name in one["seconds"])
               for name in METHODS}
    told = ", ".join(f"{name} {values[len(values) // 2]:.2f}" for name, values in seconds.items() if values)
    return f"""## SmolLM2-135M

All 30 layers, each disguise beside the original; below, models that have nothing of it. Bold: not as it is. The tuned
ones went through real steps of AdamW (5e-4, 96 tokens a step). A method tells kin only by scores above those it gives
the strangers at the end.

{_table(["SmolLM2, and", "verdict", *METHODS], rows)}
Processor seconds a pair, median: {told}.
The others read both models' attention and embeddings whole; trace reads two fingerprints, which the hub has.
"""


_CANNOT = """## What this does not show

- Training of 10^12 tokens, and pruning followed by as much, on models of billions (docs/adversary.md).
- Encoders trained for long, mixtures, vision.
- Models made by people who know this page.
"""
