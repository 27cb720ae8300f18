"""Measure trace on models of middling size and on real ones: the null kinds "plain" and "gated", and descendants.

Encoders are disguised as tensors of a file, with what BERT's layout allows: its norms stand behind the blocks and take
the mean off, so the stream may be permuted and not turned.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType
from gguf.quants import dequantize, quantize
from real_models import (
    gemma_gguf,
    minilm_folder,
    minilm_l3,
    qwen_large_gguf,
    qwen_small_gguf,
    smollm2_gguf,
)
from safetensors.numpy import load_file

from calibrate.disguise import files_of_tensors, in_whole, print_of_files
from calibrate.measure import greatest_in_whole
from calibrate.middle import MIDDLE, Plan, descendants, independents
from headwater.trace.agree import agree
from headwater.trace.fingerprint import Fingerprint
from headwater.trace.judge import judge
from headwater.trace.judgement import Judgement
from headwater.trace.make import make_fingerprint
from headwater.trace.null import NullLibrary, NullWhole
from headwater.weights.source import FileSource
from headwater.weights.tokens import Tokens, read_tokens

Tensors = dict[str, np.ndarray]
Figures = dict[str, Any]
SOURCES = {"gated": "real models of the package index, and models of middling size trained apart by `make calibrate`",
           "plain": "encoders and decoders of middling size trained apart by `make calibrate`, beside real MiniLMs"}
_STREAM = ("query", "key", "value", "intermediate.dense")


def measure(told: Callable[[str], None]) -> Figures:
    """Also fills the null library's kinds "plain" and "gated" anew."""
    library = NullLibrary.load()
    found: Figures = {}
    for kind, null in (("encoder", "plain"), ("gated", "gated")):
        apart = independents(kind)
        prints = {plan.name: print_of(plan.name) for plan in apart}
        library.pairs[null], library.source[null] = [], SOURCES[null]
        for one, two in combinations(prints, 2):
            library.add(prints[one], prints[two], (one, two))
        _add_real(library, null, prints)
        whole = _in_whole(apart, prints, library)
        library.whole[null] = NullWhole(whole["pairs"], whole["greatest"])
        library.save()
        told(f"{null}: {len(library.pairs[null])} pairs, at most {library.figures(null, None).max:.4f}; whole: {whole}")
        found[f"{kind}s in whole"] = whole
        found[f"{kind}s apart"] = _apart(apart, prints, library)
        found[f"{kind}s' descendants"] = _descendants(kind, prints, library, told)
    found["encoders' own layers"] = _own_layers({"MiniLM-L6": _real_encoders()["MiniLM-L6"]})
    return {"middle": found}


def print_of(name: str, folder: Path = MIDDLE) -> Fingerprint:
    files = {path.name: path.stat().st_size for path in (folder / name).iterdir()}
    made = make_fingerprint(lambda path: FileSource(folder / name / path), files)
    return Fingerprint.from_bytes(made.to_bytes())


def _add_real(library: NullLibrary, null: str, prints: Mapping[str, Fingerprint]) -> None:
    """Real decoders with each other; of encoders, kin of each other, each with those trained here."""
    if null == "gated":
        real = {"SmolLM2-135M-Instruct": smollm2_gguf(), "Gemma-3-270M": gemma_gguf(),
                "Qwen2.5-Coder-0.5B-Instruct": qwen_small_gguf(), "Qwen2.5-Coder-1.5B-Instruct": qwen_large_gguf()}
        made = {name: _of_file(path) for name, path in real.items()}
        for one, two in combinations(made, 2):
            library.add(made[one], made[two], (one, two))
        return
    for real_name, print_ in _real_encoders().items():
        for name, other in prints.items():
            library.add(print_, other, (real_name, name))


def _real_encoders() -> dict[str, Fingerprint]:
    folder = minilm_folder()
    files = {path.name: path.stat().st_size for path in folder.iterdir() if path.is_file()}
    whole = make_fingerprint(lambda path: FileSource(folder / path), files)
    guessed = _of_file(minilm_l3(), lambda rows: read_tokens("tokenizer.json",
                                                             (folder / "tokenizer.json").read_bytes()))
    return {"MiniLM-L6": whole, "paraphrase-MiniLM-L3": guessed}


def _of_file(path: Path, guess: Callable[[int], Tokens | None] | None = None) -> Fingerprint:
    return make_fingerprint(lambda _: FileSource(path), {path.name: path.stat().st_size}, guess_tokens=guess)


def _apart(apart: list[Plan], prints: Mapping[str, Fingerprint], library: NullLibrary) -> Figures:
    verdicts: Counter[str] = Counter()
    by_class: dict[str, list[float]] = defaultdict(list)
    kin, inner = [], 0.0
    group = {plan.name: f"{plan.form}: {plan.group}" for plan in apart}
    for one, two in combinations(prints, 2):
        said = judge(prints[one], prints[two], library)
        verdicts[str(said.verdict)] += 1
        kin += [[one, two, said.says]] if said.verdict.kin else []
        inner = max(inner, *(pair.agreement for pair in said.layers))
        by_class[group[one] if group[one] == group[two] else "one of each of two classes"].append(said.agreement or 0)
    return {"models": len(prints), "verdicts": dict(verdicts), "kin": kin, "greatest of any layer": round(inner, 4),
            "classes": [{"class": name, "n": len(values), "median": float(np.median(values)), "max": max(values)}
                        for name, values in by_class.items()]}


def _in_whole(apart: list[Plan], prints: Mapping[str, Fingerprint], library: NullLibrary) -> Figures:
    """The files of every pair of one form and width."""
    shape = {plan.name: (prints[plan.name].architecture.form, prints[plan.name].architecture.width) for plan in apart}
    said = []
    for one, two in combinations(prints, 2):
        if shape[one] == shape[two]:
            before, files = judge(prints[one], prints[two], library), [_bytes(one), _bytes(two)]
            said.append(in_whole(before, *files, *(prints[name].architecture.layers for name in (one, two))))
    return greatest_in_whole(said)


def _bytes(name: str) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (MIDDLE / name).iterdir()}


def _descendants(kind: str, prints: Mapping[str, Fingerprint], library: NullLibrary,
                 told: Callable[[str], None]) -> list[Figures]:
    """Each as it is, and (encoders) disguised in all the ways of `disguised` at once."""
    rows: dict[str, list[dict[str, Judgement]]] = defaultdict(list)
    for number, plan in enumerate(descendants(kind)):
        said = {"plain": judge(prints[plan.parent], print_of(plan.name), library)}
        if kind == "encoder":
            hidden = disguised(*read(plan.name), np.random.default_rng(number))
            said["disguised"] = judge(prints[plan.parent], print_of_files(hidden), library)
            if not said["disguised"].verdict.kin:
                whole = files_of_tensors(*read(plan.parent))
                deeper = in_whole(said["disguised"], whole, hidden, 6, plan.layers)
                told(f"missed: {plan.name}, {said['disguised'].agreement}; whole files: {deeper.verdict}")
        rows[plan.group].append(said)
    return [{"operation": group, "n": len(found), **{state: _summed([row[state] for row in found])
                                                     for state in found[0]}} for group, found in rows.items()]


def _summed(said: list[Judgement]) -> Figures:
    agreements = [one.agreement or 0.0 for one in said]
    return {"found": sum(one.verdict.kin for one in said), "verdicts": dict(Counter(str(y.verdict) for y in said)),
            "median": float(np.median(agreements)), "least": min(agreements)}


def read(name: str) -> tuple[Tensors, list[str]]:
    tensors = {key: array.astype(np.float32) for key, array in load_file(MIDDLE / name / "model.safetensors").items()}
    words = json.loads((MIDDLE / name / "vocab.json").read_text("utf-8"))
    return tensors, sorted(words, key=words.get)


def disguised(tensors: Tensors, words: list[str], rng: np.random.Generator) -> dict[str, bytes]:
    """Neurons and stream permuted, 30 % of the words left out and the rest shuffled, noise of 5 %, 4 bits, and every
    name another."""
    table = next(name for name in tensors if "word_embeddings" in name)
    width = tensors[table].shape[1]
    order, kept = rng.permutation(width), rng.permutation(len(words))[:int(0.7 * len(words))]
    found = {}
    for name, array in tensors.items():
        if array.ndim == 2 and "embeddings" in name:
            array = array[kept] if name == table else array
            array = array[:, order]
        elif array.ndim == 2:
            array = array[:, order] if name.endswith(tuple(f"{s}.weight" for s in _STREAM)) else array
            array = array[order] if name.endswith("output.dense.weight") else array
        elif array.shape == (width,) and ("LayerNorm" in name or name.endswith("output.dense.bias")):
            array = array[order]
        found[name] = array
    for name in [n for n in found if n.endswith("intermediate.dense.weight")]:
        stem, neurons = name.removesuffix("intermediate.dense.weight"), rng.permutation(len(found[name]))
        found[name] = found[name][neurons]
        found[f"{stem}intermediate.dense.bias"] = found[f"{stem}intermediate.dense.bias"][neurons]
        found[f"{stem}output.dense.weight"] = found[f"{stem}output.dense.weight"][:, neurons]
    blurred = {_other_name(name): _rounded(a + rng.normal(size=a.shape).astype(np.float32) * a.std() * 0.05)
               if a.ndim == 2 else a for name, a in found.items()}
    return files_of_tensors(blurred, [words[n] for n in kept])


def _other_name(name: str) -> str:
    for one, two in (("bert.encoder.layer", "trunk.blocks"), ("attention.self", "mix"), ("intermediate.dense", "fc_in"),
                     ("LayerNorm", "norm"), ("bert.embeddings", "trunk.table")):
        name = name.replace(one, two)
    return name


def _rounded(array: np.ndarray) -> np.ndarray:
    kind = GGMLQuantizationType.Q4_0
    if array.shape[1] % 32:
        return array if array.shape[0] % 32 else np.ascontiguousarray(_rounded(np.ascontiguousarray(array.T)).T)
    return dequantize(quantize(np.ascontiguousarray(array), kind), kind)


def _own_layers(prints: Mapping[str, Fingerprint]) -> Figures:
    """The greatest agreement of two layers of one encoder."""
    found = {}
    for name, print_ in prints.items():
        table = agree(print_, print_).table.copy()
        np.fill_diagonal(table, 0)
        found[name] = round(float(table.max()), 4)
    return found
