"""Who is trained how: models that began apart, and descendants of some of them, each by its plan and its seed.

Trained once into a folder (fp16, some 200 MB) and read from there afterwards. Knows nothing of trace.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from calibrate import text, tiny
from calibrate.tiny import Course, Params

STEPS = 200
"""Of a base model's training; what descendants go through is told beside it."""
_AT_ONCE = 10


@dataclass(frozen=True)
class Plan:
    """One model. group: what it is, for the report. parent: whose weights it begins with, "" if it begins apart.

    seed: of its beginning (where it has no parent), its order of data and what is drawn. change: done to the parent's
    weights first, a name in CHANGES. shape: width, neurons, layers. teacher: whose answers it learns.
    """

    name: str
    group: str
    body: str
    seed: int
    order: int
    steps: int = STEPS
    parent: str = ""
    change: str = ""
    rate: float = 4e-3
    rank: int = 0
    shape: tuple[int, int, int] = (tiny.WIDTH, tiny.NEURONS, tiny.LAYERS)
    teacher: str = ""

    @property
    def alike(self) -> tuple[object, ...]:
        """Plans that can be trained in one batch."""
        return self.group, self.steps, self.rate, self.rank, self.shape, self.teacher, self.change


def independents() -> list[Plan]:
    """62 models with nothing of each other. "same": the same data in the same order; "students" learn the first
    one's answers."""
    found = [Plan(f"same-{n}", "same data and order", "source", n, 1_000) for n in range(16)]
    found += [Plan(f"source-{n}", "same data", "source", 100 + n, 2_000 + n) for n in range(10)]
    found += [Plan(f"{body}-{n}", "other data", body, 200 + 10 * k + n, 3_000 + 10 * k + n)
              for k, body in enumerate(("english", "headers")) for n in range(8)]
    found += [Plan(f"long-{n}", "trained 5 times as long", "source", 300 + n, 4_000 + n, 5 * STEPS)
              for n in range(8)]
    found += [Plan(f"wide-{n}", "of another shape", "source", 400 + n, 5_000 + n, shape=(96, 320, 5))
              for n in range(6)]
    found += [Plan(f"student-{n}", "students of one teacher", "source", 500 + n, 6_000 + n, teacher="same-0")
              for n in range(6)]
    return found


BASES = (*(f"same-{n}" for n in range(8)), *(f"source-{n}" for n in range(4)), *(f"english-{n}" for n in range(4)),
         *(f"headers-{n}" for n in range(4)))


def descendants() -> list[Plan]:
    """Of each base one of every kind that is trained; merges are made of two of these afterwards."""
    found = []
    for number, base in enumerate(BASES):
        own = base.partition("-")[0].replace("same", "source")
        other, third = [body for body in text.BODIES if body != own]
        seed = 10_000 + 100 * number
        plan = partial(Plan, parent=base)
        found += [
            plan(f"{base}/tuned-20", "tuned, 10 % of its steps", own, seed, seed, 20, rate=1e-3),
            plan(f"{base}/tuned-100", "tuned, 50 %, other data", other, seed, seed + 1, 100),
            plan(f"{base}/tuned-200", "tuned, 100 %, third data", third, seed, seed + 2, 200),
            plan(f"{base}/adapter", "adapter of rank 4, merged", other, seed, seed + 4, 100, rank=4),
            plan(f"{base}/layer", "a layer dropped, then 50 %", other, seed, seed + 5, 100, change="layer"),
            plan(f"{base}/pruned", "half the neurons pruned, then 50 %", other, seed, seed + 6, 100, change="pruned"),
            plan(f"{base}/words", "all embeddings new, then 50 %", other, seed, seed + 7, 100, change="words"),
            Plan(f"{base}/chain", "a chain: 50 %, then 100 %", third, seed, seed + 8, 200, f"{base}/tuned-100"),
            Plan(f"{base}/begun", "only the beginning in common", other, seed, seed + 10, 200, base, "begun"),
        ]
        if number % 4 == 0:
            found += [plan(f"{base}/tuned-600", "tuned, 300 %, other data", other, seed, seed + 3, 600),
                      plan(f"{base}/pruned-400", "half the neurons pruned, then 200 %", other, seed, seed + 9, 400,
                           change="pruned")]
    return found


def _without_a_layer(model: Params, rng: np.random.Generator) -> Params:
    gone, found = int(rng.integers(1, tiny.depth(model) - 1)), {}
    for name, array in model.items():
        head, dot, rest = name.partition(".")
        if dot and int(head) == gone:
            continue
        found[f"{int(head) - (int(head) > gone)}.{rest}" if dot else name] = array
    return found


def _half_the_neurons(model: Params, rng: np.random.Generator) -> Params:
    found = dict(model)
    for n in range(tiny.depth(model)):
        weight = np.linalg.norm(model[f"{n}.gate"], axis=1) * np.linalg.norm(model[f"{n}.down"], axis=0)
        kept = np.sort(np.argsort(-weight)[:len(weight) // 2])
        found |= {f"{n}.gate": model[f"{n}.gate"][kept], f"{n}.up": model[f"{n}.up"][kept],
                  f"{n}.down": model[f"{n}.down"][:, kept]}
    return found


def _new_words(model: Params, rng: np.random.Generator) -> Params:
    rows = rng.normal(size=model["embed"].shape).astype(np.float32) * model["embed"].std()
    return model | {"embed": rows}


CHANGES = {"layer": _without_a_layer, "pruned": _half_the_neurons, "words": _new_words}


def load(folder: Path, names: Iterable[str]) -> Iterator[tuple[str, Params]]:
    for name in names:
        with np.load(_file(folder, name)) as kept:
            yield name, {key: kept[key].astype(np.float32) for key in kept.files}


def _file(folder: Path, name: str) -> Path:
    return folder / f"{name.replace('/', '_')}.npz"


def make(folder: Path, plans: list[Plan], workers: int = 2) -> None:
    """Train what is not there. A model waits for its parent and its teacher."""
    folder.mkdir(parents=True, exist_ok=True)
    everyone = {plan.name: plan for plan in [*independents(), *descendants()]}
    missing = [plan for plan in plans if not _file(folder, plan.name).is_file()]
    while missing:
        names = {plan.name for plan in missing}
        ready = [plan for plan in missing if not {plan.parent, plan.teacher} & names]
        with ProcessPoolExecutor(workers) as pool:
            for told in pool.map(_train, [(folder, batch, everyone) for batch in _batches(ready)]):
                print(told, flush=True)
        missing = [plan for plan in missing if plan not in ready]


def _batches(plans: list[Plan]) -> list[list[Plan]]:
    by_course: dict[tuple[object, ...], list[Plan]] = {}
    for plan in plans:
        by_course.setdefault(plan.alike, []).append(plan)
    batches = [found[n:n + _AT_ONCE] for found in by_course.values() for n in range(0, len(found), _AT_ONCE)]
    return sorted(batches, key=lambda batch: -batch[0].steps * len(batch))


def _train(work: tuple[Path, list[Plan], Mapping[str, Plan]]) -> str:
    folder, plans, everyone = work
    models = [_start(folder, plan, everyone) for plan in plans]
    first = plans[0]
    teacher = dict(load(folder, [first.teacher]))[first.teacher] if first.teacher else None
    course = Course(first.steps, [p.body for p in plans], [p.order for p in plans], first.rate, first.rank, (), teacher)
    trained, losses = tiny.train(models, course, text.bodies()[1])
    for plan, model in zip(plans, trained, strict=True):
        ours = folder / f".{os.getpid()}.npz"
        np.savez(ours, **{name: array.astype(np.float16) for name, array in model.items()})
        ours.rename(_file(folder, plan.name))
    return f"{len(plans)} models, {first.group}: loss {losses.mean():.2f}"


def _start(folder: Path, plan: Plan, everyone: Mapping[str, Plan]) -> Params:
    if not plan.parent:
        width, neurons, layers = plan.shape
        return tiny.begin(plan.seed, width, neurons, layers)
    if plan.change == "begun":
        return tiny.begin(everyone[plan.parent].seed)
    model = dict(load(folder, [plan.parent]))[plan.parent]
    return CHANGES[plan.change](model, np.random.default_rng(plan.seed)) if plan.change else model


def merges(folder: Path) -> Iterator[tuple[str, str, Params]]:
    """(name, its base, the mean of two descendants of one base)."""
    for base in BASES:
        pair = [model for _, model in load(folder, (f"{base}/tuned-100", f"{base}/tuned-200"))]
        yield f"{base}/merge", base, {name: (pair[0][name] + pair[1][name]) / 2 for name in pair[0]}
