"""Disguises and their compositions: what notes and papers name, on made, tiny and real models alike.

Those tests already use are in tests/trace_made.py and tests/trace/disguises.py; here are the others, and the draw of
several one after another. Each takes a Made and gives a new one; no disguise looks at another model but a merge.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from disguises import fewer_neurons, layers, low_rank, other_words
from gguf import GGMLQuantizationType
from gguf.quants import dequantize, quantize
from safetensors.numpy import save
from trace_made import Made, hf_tensors, noisy, permuted, rotated

from calibrate.tiny import NAMES, Params, depth
from headwater.trace.fingerprint import Fingerprint
from headwater.trace.judgement import Judgement
from headwater.trace.make import make_fingerprint
from headwater.trace.pair import compare_files, deepen, layers_to_compare
from headwater.weights.source import BytesSource

Change = Callable[[Made, np.random.Generator], Made]


def made_of(params: Params, words: list[str]) -> Made:
    """A tiny model; the gain after the last layer is left out, as tied heads have it."""
    found = [{name: params[f"{n}.{name}"] for name in NAMES} for n in range(depth(params))]
    return Made(words, params["embed"], found)


def files_of(model: Made) -> dict[str, bytes]:
    return files_of_tensors(hf_tensors(model), model.words)


def files_of_tensors(tensors: dict[str, np.ndarray], words: list[str]) -> dict[str, bytes]:
    """As they would be uploaded: 16 bits and a vocabulary."""
    return {"model.safetensors": save({n: np.ascontiguousarray(a, np.float16) for n, a in tensors.items()}),
            "vocab.json": json.dumps({word: n for n, word in enumerate(words)}).encode()}


def print_of(model: Made) -> Fingerprint:
    return print_of_files(files_of(model))


def print_of_files(files: dict[str, bytes]) -> Fingerprint:
    made = make_fingerprint(lambda name: BytesSource(files[name]), {name: len(data) for name, data in files.items()})
    return Fingerprint.from_bytes(made.to_bytes())


def in_whole(said: Judgement, a: dict[str, bytes], b: dict[str, bytes], layers_a: int, layers_b: int) -> Judgement:
    """The judgement of two fingerprints, after both models' files were compared."""
    sizes = [{name: len(data) for name, data in files.items()} for files in (a, b)]
    report = compare_files(lambda name: BytesSource(a[name]), sizes[0], lambda name: BytesSource(b[name]), sizes[1],
                           layers_to_compare(said, layers_a, layers_b))
    return deepen(said, report)


def _each(model: Made, change: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]) -> Made:
    return replace(model, layers=[layer | change(layer) for layer in model.layers])


def rounded(model: Made, form: str) -> Made:
    """Every matrix written as Q8_0, Q4_0 … and read back; "2 bits": four values a block of 32."""
    def one(a: np.ndarray) -> np.ndarray:
        if a.ndim == 1:
            return a
        if a.shape[1] % 32:
            return np.ascontiguousarray(_blocks(a.T.copy(), form).T) if a.shape[0] % 32 == 0 else a
        return _blocks(np.ascontiguousarray(a), form)

    return replace(_each(model, lambda layer: {n: one(a) for n, a in layer.items()}), embed=one(model.embed))


def _blocks(a: np.ndarray, form: str) -> np.ndarray:
    if form != "2 bits":
        kind = GGMLQuantizationType[form]
        return dequantize(quantize(a, kind), kind)
    blocks = a.reshape(-1, 32)
    low, high = blocks.min(1, keepdims=True), blocks.max(1, keepdims=True)
    step = np.maximum((high - low) / 3, 1e-12)
    return (np.round((blocks - low) / step) * step + low).astype(np.float32).reshape(a.shape)


def stream_permuted(model: Made, seed: int = 1) -> Made:
    """The residual stream's numbers shuffled and half of them negated, gains folded into what follows."""
    rng = np.random.default_rng(seed)
    width = model.embed.shape[1]
    order, sign = rng.permutation(width), rng.choice([-1, 1], width).astype(np.float32)

    def one(layer: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        gains = dict.fromkeys("qkv", "norm1") | dict.fromkeys(("gate", "up"), "norm2")
        found = {name: (layer[name] * layer[gain])[:, order] * sign for name, gain in gains.items()}
        found |= {name: layer[name][order] * sign[:, None] for name in ("o", "down")}
        return found | {gain: np.ones_like(layer[gain]) for gain in ("norm1", "norm2")}

    return replace(_each(model, one), embed=model.embed[:, order] * sign)


def heads_shuffled(model: Made, head: int, seed: int = 2) -> Made:
    """Key heads with their query heads in another order, and a rotation between each value head and what reads it."""
    rng = np.random.default_rng(seed)

    def one(layer: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        keys, queries = len(layer["k"]) // head, len(layer["q"]) // head
        group = queries // keys
        order = rng.permutation(keys)
        of_queries = (order[:, None] * group + np.arange(group)).ravel()
        turns = [np.linalg.qr(rng.normal(size=(head, head)))[0].astype(np.float32) for _ in range(keys)]
        v = layer["v"].reshape(keys, head, -1)[order]
        o = layer["o"].reshape(len(layer["o"]), queries, head)[:, of_queries]
        return {"q": layer["q"].reshape(queries, head, -1)[of_queries].reshape(layer["q"].shape),
                "k": layer["k"].reshape(keys, head, -1)[order].reshape(layer["k"].shape),
                "v": np.concatenate([turn @ part for turn, part in zip(turns, v, strict=True)]),
                "o": np.concatenate([o[:, n] @ turns[n // group].T for n in range(queries)], axis=1)}

    return _each(model, one)


def scaled(model: Made, seed: int = 3) -> Made:
    """Each neuron's up made larger or smaller by up to 4, and its down the other way."""
    rng = np.random.default_rng(seed)

    def one(layer: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        by = np.exp(rng.uniform(-1.4, 1.4, len(layer["up"]))).astype(np.float32)
        return {"up": layer["up"] * by[:, None], "down": layer["down"] / by}

    return _each(model, one)


def narrower(model: Made, width: int) -> Made:
    """The stream cut to the numbers of greatest weight in the embeddings."""
    kept = np.sort(np.argsort(-np.linalg.norm(model.embed, axis=0))[:width])

    def one(layer: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {name: layer[name][:, kept] for name in ("q", "k", "v", "gate", "up")} | \
            {name: layer[name][kept] for name in ("o", "down", "norm1", "norm2")}

    return replace(_each(model, one), embed=model.embed[:, kept])


def experts(model: Made, count: int = 4, seed: int = 4) -> dict[str, np.ndarray]:
    """Tensors of a mixture: each layer's MLP `count` times, of half its neurons each, with a little noise."""
    rng, tensors = np.random.default_rng(seed), hf_tensors(model)
    for n, layer in enumerate(model.layers):
        for name in ("gate", "up", "down"):
            del tensors[f"model.layers.{n}.mlp.{name}_proj.weight"]
        for expert in range(count):
            kept = np.sort(rng.permutation(len(layer["gate"]))[:len(layer["gate"]) // 2])
            for name in ("gate", "up", "down"):
                array = layer[name][:, kept] if name == "down" else layer[name][kept]
                array = array + rng.normal(size=array.shape).astype(np.float32) * array.std() * 0.05
                tensors[f"model.layers.{n}.mlp.experts.{expert}.{name}_proj.weight"] = array
        tensors[f"model.layers.{n}.mlp.gate.weight"] = rng.normal(size=(count, layer["gate"].shape[1]))
    return tensors


@dataclass(frozen=True)
class Drawn:
    names: tuple[str, ...]
    model: Made


def compose(model: Made, rng: np.random.Generator, head: int, most: int = 8) -> Drawn:
    """Some of the disguises of issue 4, each at most once, in a random order; rounding to 4 bits is always the last."""
    seed = int(rng.integers(1 << 30))
    count = len(model.layers)
    choice: dict[str, Callable[[Made], Made]] = {
        "neurons permuted": lambda m: permuted(m, seed),
        "neurons scaled": lambda m: scaled(m, seed),
        "rotated, gains folded": lambda m: rotated(m, seed),
        "stream permuted": lambda m: stream_permuted(m, seed),
        "heads shuffled": lambda m: heads_shuffled(m, head, seed),
        "layer dropped": lambda m: layers(m, sorted(rng.permutation(count)[:-(-count * 2 // 3)].tolist())),
        "layers reordered": lambda m: layers(m, rng.permutation(len(m.layers)).tolist()),
        "vocabulary changed": lambda m: other_words(m, 0.7, 50, seed),
        "noise of 10 %": lambda m: noisy(m, 0.1, seed),
        "adapter merged": lambda m: low_rank(m, 0.2, 8, seed),
        "neurons pruned": lambda m: fewer_neurons(m, 0.75),
    }
    names = [list(choice)[n] for n in rng.permutation(len(choice))[:int(rng.integers(1, most + 1))]]
    for name in names:
        model = choice[name](model)
    if rng.random() < 0.5:
        names.append("rounded to 4 bits")
        model = rounded(model, "Q4_0")
    return Drawn(tuple(names), model)
