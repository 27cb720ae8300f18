"""Models of middling size, trained with torch: the null population of encoders, and more pairs for gated models.

144 and 192 wide, with 2,049 words: wide enough to count as real models, small enough to be trained in seconds each.
Who is trained how, by plan and seed, as calibrate/populations.py does for the tiny ones; kept in the environment.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from clients import torch_python

from calibrate import FOLDER, text

MIDDLE = FOLDER / "middle"
VOCABULARY, CHARACTERS = 2_048, 1_500_000
MASK = "<mask>"
STEPS = {"encoder": 200, "gated": 150}
_RATE = 2e-3


@dataclass(frozen=True)
class Plan:
    """One model. kind: "encoder" or "gated", the population; form: its layout. group: what it is, for the report.

    seed, order: of its beginning and of its data. parent: whose weights it begins with, "" if it begins apart. gone:
    layers of the parent left out."""

    name: str
    kind: str
    form: str
    group: str
    body: str
    seed: int
    order: int
    steps: int
    layers: int
    rate: float = _RATE
    parent: str = ""
    gone: tuple[int, ...] = ()


def _apart(kind: str, form: str, layers: int, counts: dict[str, int], seed: int) -> Iterable[Plan]:
    """counts: of "same" (one order of one body) and of each body with orders of their own."""
    for place, (what, count) in enumerate(counts.items()):
        group = "same data and order" if what == "same" else f"{what}, own order"
        for n in range(count):
            order = seed + 500 if what == "same" else seed + 600 + 20 * place + n
            yield Plan(f"{form}-{what}-{n}", kind, form, group, "source" if what == "same" else what,
                       seed + 20 * place + n, order, STEPS[kind], layers)


def independents(kind: str) -> list[Plan]:
    """Models with nothing of each other, all of one vocabulary."""
    if kind == "gated":
        return list(_apart(kind, "llama", 6, {"same": 5, "source": 2, "english": 2, "headers": 2}, 3_000))
    return [*_apart(kind, "bert", 6, {"same": 6, "source": 3, "english": 3, "headers": 3}, 1_000),
            *_apart(kind, "gpt2", 6, {"same": 1, "english": 1}, 2_000)]


_BASES = ("bert-same-0", "bert-same-1", "bert-source-0", "bert-source-1", "bert-english-0", "bert-english-1",
          "bert-headers-0")


def descendants(kind: str) -> list[Plan]:
    """Of encoders: three of each base. Of gated ones: one of two, to see that the line lies under them."""
    known = {plan.name: plan for plan in independents(kind)}
    steps, found = STEPS[kind], []
    for number, base in enumerate(_BASES if kind == "encoder" else ("llama-same-0", "llama-english-0")):
        first = known[base]
        other = "english" if first.body != "english" else "source"
        seed = first.seed + 5_000
        found.append(Plan(f"{base}-tuned-half", kind, first.form, "tuned, 50 %, other data", other, seed, seed,
                          steps // 2, first.layers, parent=base))
        if kind == "encoder":
            gone = ((1, 4), (0, 3), (2, 5))[number % 3]
            found += [Plan(f"{base}-tuned", kind, first.form, "tuned, 20 %", first.body, seed, seed + 1, steps // 5,
                           first.layers, 5e-4, base),
                      Plan(f"{base}-shorter", kind, first.form, "two of six layers dropped, then 30 %", other, seed,
                           seed + 2, steps * 3 // 10, 4, parent=base, gone=gone)]
    return found


def make(kind: str, folder: Path = MIDDLE) -> None:
    """Train what is not there, one after the other in a process of one thread."""
    plans = [*independents(kind), *descendants(kind)]
    if all((folder / plan.name).is_dir() for plan in plans):
        return
    folder.mkdir(parents=True, exist_ok=True)
    words, bodies = text.bodies(VOCABULARY, CHARACTERS)
    listed = [asdict(p) for every in ("encoder", "gated") for p in (*independents(every), *descendants(every))]
    (folder / "plans.json").write_text(json.dumps({"words": [*words, MASK], "plans": listed}, ensure_ascii=False))
    np.savez(folder / "tokens.npz", **bodies)
    script = Path(__file__).with_name("train_in_torch.py")
    subprocess.run([str(torch_python()), str(script), str(folder), kind], check=True)
