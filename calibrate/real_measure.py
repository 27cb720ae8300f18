"""Every disguise of SmolLM2-135M beside every baseline, and the real models that have nothing of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from disguises import fewer_neurons, layers, low_rank, merged, new_embeddings, other_words
from real_models import gemma_gguf, qwen_small_gguf
from trace_made import Made, noisy, permuted, rotated

from calibrate.baselines import BASELINES
from calibrate.disguise import (
    compose,
    experts,
    files_of,
    files_of_tensors,
    heads_shuffled,
    in_whole,
    narrower,
    print_of,
    print_of_files,
    rounded,
    scaled,
    stream_permuted,
)
from calibrate.measure import known as known_figures
from calibrate.real import HEAD, read_gguf, smollm2, tuned
from headwater.trace.fingerprint import Fingerprint
from headwater.trace.judge import judge
from headwater.trace.make import make_fingerprint
from headwater.trace.null import NullLibrary
from headwater.weights.source import FileSource

_WORDS = 6_000
"""Of each vocabulary, for the baselines: AWM asks no more."""
Figures = dict[str, Any]


@dataclass(frozen=True)
class Case:
    name: str
    make: Callable[[], Made]
    kin: bool = True


def cases() -> Iterator[Case]:
    """notes/trace.md §3.2, and compositions drawn at random."""
    base, thirds = smollm2, [n for n in range(30) if n % 3 != 2]
    yield Case("itself", base)
    for form in ("Q8_0", "Q4_0", "2 bits"):
        yield Case(f"rounded: {form}", lambda form=form: rounded(base(), form))
    yield Case("rotated, gains folded", lambda: rotated(base()))
    yield Case("stream permuted and negated, gains folded", lambda: stream_permuted(base()))
    for share in (0.1, 0.5, 1.0, 2.0):
        yield Case(f"noise of {share:.0%} of σ", lambda share=share: noisy(base(), share))
    for share in (0.3, 1.0):
        yield Case(f"adapter of rank 16 merged, {share} of the norm", lambda share=share: low_rank(base(), share))
    yield Case("neurons permuted, scaled, negated", lambda: scaled(permuted(base())))
    yield Case("heads permuted and rotated inside", lambda: heads_shuffled(base(), HEAD))
    yield Case("every third layer dropped", lambda: layers(base(), thirds))
    yield Case("layers reordered",
               lambda: layers(base(), np.random.default_rng(6).permutation(30).tolist()))
    yield Case("half the neurons pruned", lambda: fewer_neurons(base(), 0.5))
    yield Case("stream cut from 576 to 384", lambda: narrower(base(), 384))
    yield Case("40 % of the words left out, shuffled, 5,000 new", lambda: other_words(base(), 0.6, 5_000))
    yield Case("all embeddings new", lambda: new_embeddings(base()))
    yield Case("all embeddings new, rotated", lambda: rotated(new_embeddings(base())))
    yield Case("noise of 200 % of σ, rotated", lambda: rotated(noisy(base(), 2.0)))
    yield Case("tuned, 10 real steps", lambda: tuned(10))
    yield Case("tuned, 40 real steps", lambda: tuned(40))
    yield Case("merge of two descendants", lambda: merged(tuned(40), noisy(base(), 0.3)))
    yield Case("tuned, layers dropped, words, neurons, heads, rotated, Q4_0", _all_at_once)
    for seed in range(4):
        yield Case(f"composition {seed}", lambda seed=seed: compose(tuned(40), np.random.default_rng(seed), HEAD).model)


def _all_at_once() -> Made:
    hidden = other_words(layers(tuned(40), [n for n in range(30) if n % 3 != 2]), 0.6, 5_000)
    return rounded(rotated(heads_shuffled(permuted(hidden), HEAD)), "Q4_0")


def measure(told: Callable[[str], None], methods: tuple[str, ...] = tuple(BASELINES)) -> Figures:
    base, library = smollm2(), NullLibrary.load()
    known = print_of(base)
    few = _fewer_words(base)
    found = []
    for case in cases():
        model = case.make()
        files = files_of(model)
        row = _row(case.name, True, few, model, known, print_of_files(files), library, methods)
        if not row["found"]:
            row["whole"] = _whole(base, known, model, files, library)
        found.append(row)
        told(_line(found[-1]))
    mixture = print_of_files(files_of_tensors(experts(base), base.words))
    found.append(_row("a mixture of 4 experts of half the neurons", True, few, None, known, mixture, library, methods))
    told(_line(found[-1]))
    for name, make in _strangers(base):
        model, print_ = make()
        found.append(_row(name, False, few, model, known, print_, library, methods))
        told(_line(found[-1]))
    return {"real": [_with_known(row, methods) for row in found]}


def _with_known(row: Figures, methods: tuple[str, ...]) -> Figures:
    """The row with what was measured before of the methods that were left out."""
    before = next((one for one in known_figures().get("real", []) if one["case"] == row["case"]), {})
    left_out = {name: before[name] for name in BASELINES if name not in methods and name in before}
    seconds = {name: before["seconds"][name] for name in left_out if name in before.get("seconds", {})}
    return row | left_out | {"seconds": row["seconds"] | seconds}


def _strangers(base: Made) -> Iterator[tuple[str, Callable[[], tuple[Made, Fingerprint]]]]:
    def random() -> tuple[Made, Fingerprint]:
        rng = np.random.default_rng(6)

        def drawn(a: np.ndarray) -> np.ndarray:
            return rng.normal(a.mean(), a.std(), a.shape).astype(np.float32)

        model = Made(base.words, drawn(base.embed), [{n: drawn(a) for n, a in y.items()} for y in base.layers])
        return model, print_of(model)

    yield "random numbers of the same deviations", random
    for name, file in (("Gemma-3-270M", gemma_gguf), ("Qwen2.5-Coder-0.5B-Instruct", qwen_small_gguf)):
        def read(file: Callable[[], Any] = file) -> tuple[Made, Fingerprint]:
            path = file()
            files = {"m.gguf": path.stat().st_size}
            return read_gguf(path, ("q", "k", "v", "o"), 40_000), make_fingerprint(lambda _: FileSource(path), files)

        yield name, read


def _whole(base: Made, known: Fingerprint, model: Made, files: dict[str, bytes], library: NullLibrary) -> Figures:
    """What both files say where the fingerprints say nothing."""
    said = judge(known, print_of_files(files), library)
    deeper = in_whole(said, files_of(base), files, len(base.layers), len(model.layers))
    figures = {e.name: e.figures for e in deeper.evidence if e.name in ("all neurons", "turning")}
    return {"verdict": str(deeper.verdict), "kin": deeper.verdict.kin, "figures": figures}


def _fewer_words(model: Made) -> Made:
    numbers = np.linspace(0, len(model.words) - 1, min(_WORDS, len(model.words))).astype(np.int64)
    return replace(model, words=[model.words[n] for n in numbers], embed=model.embed[numbers])


def _row(name: str, kin: bool, few: Made, model: Made | None, known: Fingerprint, print_: Fingerprint,
         library: NullLibrary, methods: tuple[str, ...]) -> Figures:
    begin = time.process_time()
    said = judge(known, print_, library)
    row: Figures = {"case": name, "kin": kin, "verdict": str(said.verdict), "found": said.verdict.kin,
                    "trace": said.agreement or 0.0, "seconds": {"trace": time.process_time() - begin}}
    if model is None:
        return row
    for method in methods:
        begin = time.process_time()
        # weightscope compares whole models, the others only what they need.
        row[method] = BASELINES[method](smollm2() if method == "weightscope" else few, model)
        row["seconds"][method] = time.process_time() - begin
    return row


def _line(row: Figures) -> str:
    rest = ", ".join(f"{name} {row[name]:.3f}" for name in BASELINES if name in row)
    return f"{row['case']}: {row['verdict']} {row['trace']:.3f}; {rest}"
