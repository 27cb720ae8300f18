"""Tiny models of Llama's layout trained in numpy, several at once: the populations that trace is calibrated on.

Parameters are float32 arrays whose first side counts the models, named as in Made (tests/trace_made.py). The
gradients are written out; tests/trace/test_calibration.py holds them against differences. Knows nothing of trace.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from calibrate.text import VOCABULARY

WIDTH, NEURONS, LAYERS, HEADS = 64, 256, 4, 4
BATCH, LENGTH = 6, 20
Params = dict[str, np.ndarray]
Kept = dict[str, Any]
NAMES = ("norm1", "q", "k", "v", "o", "norm2", "gate", "up", "down")


def begin(seed: int, width: int = WIDTH, neurons: int = NEURONS, layers: int = LAYERS) -> Params:
    """One model's parameters as they are before training, without the side that counts models."""
    rng = np.random.default_rng(seed)

    def draw(*shape: int, scale: float = 1.0) -> np.ndarray:
        return (rng.normal(size=shape) * scale / np.sqrt(shape[-1])).astype(np.float32)

    one = np.ones(width, np.float32)
    params = {"embed": (rng.normal(size=(VOCABULARY, width)) * 0.1).astype(np.float32), "norm": one}
    for n in range(layers):
        params |= {f"{n}.norm1": one, f"{n}.norm2": one, f"{n}.gate": draw(neurons, width),
                   f"{n}.up": draw(neurons, width), f"{n}.down": draw(width, neurons, scale=0.5)}
        params |= {f"{n}.{name}": draw(width, width, scale=0.5 if name == "o" else 1.0) for name in "qkvo"}
    return params


def stack(models: Sequence[Params]) -> Params:
    return {name: np.stack([m[name] for m in models]) for name in models[0]}


def unstack(params: Params) -> list[Params]:
    return [{name: a[n].copy() for name, a in params.items()} for n in range(len(params["embed"]))]


def depth(params: Mapping[str, np.ndarray]) -> int:
    return sum(name.endswith(".gate") for name in params)


def _turned(a: np.ndarray) -> np.ndarray:
    return np.swapaxes(a, -1, -2)


def _norm(x: np.ndarray, gain: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    scale = 1 / np.sqrt(np.mean(x * x, -1, keepdims=True) + np.float32(1e-5))
    unit = x * scale
    return unit * gain[:, None, :], unit, scale


def _norm_back(dy: np.ndarray, gain: np.ndarray, unit: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    inner = dy * gain[:, None, :]
    return scale * (inner - unit * np.mean(inner * unit, -1, keepdims=True)), np.sum(dy * unit, 1)


def _angles(length: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    angle = np.outer(np.arange(length), 100.0 ** (-np.arange(size // 2) / (size // 2)))
    return np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)


def _spin(x: np.ndarray, turn: tuple[np.ndarray, np.ndarray], sign: float = 1.0) -> np.ndarray:
    one, two = np.split(x, 2, -1)
    cos, sin = turn[0], turn[1] * np.float32(sign)
    return np.concatenate([one * cos - two * sin, one * sin + two * cos], -1)


@dataclass
class Tiny:
    """The models of `params` and what one pass keeps for the way back. tokens: int (models, BATCH, LENGTH)."""

    params: Params

    def forward(self, tokens: np.ndarray) -> tuple[np.ndarray, list[Kept]]:
        """(probabilities (models, positions, VOCABULARY), what `backward` needs)."""
        p, (models, batch, length) = self.params, tokens.shape
        self.shape = (models, batch, length, HEADS, p["embed"].shape[-1] // HEADS)
        self.turn = _angles(length, self.shape[-1])
        self.flat = tokens.reshape(models, -1)
        x = p["embed"][np.arange(models)[:, None], self.flat]
        kept = []
        for n in range(depth(p)):
            x, seen = self._layer(n, x)
            kept.append(seen)
        y, unit, scale = _norm(x, p["norm"])
        logits = y @ _turned(p["embed"])
        logits -= logits.max(-1, keepdims=True)
        np.exp(logits, out=logits)
        logits /= logits.sum(-1, keepdims=True)
        return logits, [*kept, {"y": y, "unit": unit, "scale": scale}]

    def _heads(self, a: np.ndarray) -> np.ndarray:
        return a.reshape(self.shape).transpose(0, 1, 3, 2, 4)

    def _joined(self, a: np.ndarray) -> np.ndarray:
        models, batch, length, heads, size = self.shape
        return a.transpose(0, 1, 3, 2, 4).reshape(models, batch * length, heads * size)

    def _layer(self, n: int, x: np.ndarray) -> tuple[np.ndarray, Kept]:
        w = {name: self.params[f"{n}.{name}"] for name in NAMES}
        a, unit1, scale1 = _norm(x, w["norm1"])
        q, k, v = (self._heads(a @ _turned(w[name])) for name in "qkv")
        q, k = _spin(q, self.turn), _spin(k, self.turn)
        size, length = self.shape[-1], self.shape[2]
        seen = q @ _turned(k) * np.float32(size**-0.5)
        seen += np.triu(np.full((length, length), -1e9, np.float32), 1)
        seen = np.exp(seen - seen.max(-1, keepdims=True))
        seen /= seen.sum(-1, keepdims=True)
        mixed = self._joined(seen @ v)
        x = x + mixed @ _turned(w["o"])
        b, unit2, scale2 = _norm(x, w["norm2"])
        gate, up = b @ _turned(w["gate"]), b @ _turned(w["up"])
        open_ = 1 / (1 + np.exp(-gate))
        act = gate * open_
        inner = act * up
        return x + inner @ _turned(w["down"]), {
            "a": a, "unit1": unit1, "scale1": scale1, "q": q, "k": k, "v": v, "seen": seen, "mixed": mixed, "b": b,
            "unit2": unit2, "scale2": scale2, "gate": gate, "up": up, "open": open_, "act": act, "inner": inner}

    def backward(self, dlogits: np.ndarray, kept: list[Kept]) -> Params:
        """dlogits: of the mean loss. Gradients by the names of the parameters."""
        p, last = self.params, kept[-1]
        grads = {"embed": _turned(dlogits) @ last["y"]}
        dx, grads["norm"] = _norm_back(dlogits @ p["embed"], p["norm"], last["unit"], last["scale"])
        for n in reversed(range(depth(p))):
            dx = self._layer_back(n, dx, kept[n], grads)
        for model, numbers in enumerate(self.flat):
            np.add.at(grads["embed"][model], numbers, dx[model])
        return grads

    def _layer_back(self, n: int, dx: np.ndarray, s: Kept, grads: Params) -> np.ndarray:
        w = {name: self.params[f"{n}.{name}"] for name in NAMES}
        g: Params = {"down": _turned(dx) @ s["inner"]}
        dinner = dx @ w["down"]
        dup = dinner * s["act"]
        dgate = dinner * s["up"] * (s["open"] + s["act"] * (1 - s["open"]))
        g["gate"], g["up"] = _turned(dgate) @ s["b"], _turned(dup) @ s["b"]
        back, g["norm2"] = _norm_back(dgate @ w["gate"] + dup @ w["up"], w["norm2"], s["unit2"], s["scale2"])
        dx = dx + back
        g["o"] = _turned(dx) @ s["mixed"]
        dmixed = self._heads(dx @ w["o"])
        dseen = dmixed @ _turned(s["v"])
        dscore = s["seen"] * (dseen - np.sum(dseen * s["seen"], -1, keepdims=True)) * np.float32(self.shape[-1]**-0.5)
        parts = {"q": _spin(dscore @ s["k"], self.turn, -1.0), "k": _spin(_turned(dscore) @ s["q"], self.turn, -1.0),
                 "v": _turned(s["seen"]) @ dmixed}
        da = np.zeros_like(dx)
        for name, part in parts.items():
            joined = self._joined(part)
            g[name] = _turned(joined) @ s["a"]
            da += joined @ w[name]
        back, g["norm1"] = _norm_back(da, w["norm1"], s["unit1"], s["scale1"])
        grads |= {f"{n}.{name}": gradient for name, gradient in g.items()}
        return dx + back


@dataclass(frozen=True)
class Course:
    """How models are trained. orders: one seed a model, of the order of its data. bodies: one name a model.

    rank: of adapters that alone are trained and then merged; 0 trains all. only: parts of names that are trained;
    empty is all. teacher: a model whose probabilities are learnt in place of the next token.
    """

    steps: int
    bodies: Sequence[str]
    orders: Sequence[int]
    rate: float = 4e-3
    rank: int = 0
    only: tuple[str, ...] = ()
    teacher: Params | None = None


def train(models: Sequence[Params], course: Course, texts: Mapping[str, np.ndarray]) -> tuple[list[Params], np.ndarray]:
    """AdamW, warmed up and cooled down. (the models trained, each one's mean loss over the last tenth)."""
    params, _, losses = _trained(models, course, texts)
    return unstack(params), losses


def train_adapters(models: Sequence[Params], course: Course, texts: Mapping[str, np.ndarray]) -> list[Params]:
    """Of each model the pairs that were trained: "0.gate/a" (rank, in) and "0.gate/b" (out, rank)."""
    pairs = _trained(models, course, texts)[1]
    return [{name: a[n].copy() for name, a in pairs.items()} for n in range(len(models))]


def _trained(models: Sequence[Params], course: Course,
             texts: Mapping[str, np.ndarray]) -> tuple[Params, Params, np.ndarray]:
    params = stack(models)
    names = [n for n in params if not course.only or any(part in n for part in course.only)]
    base, pairs = _adapters(params, course) if course.rank else ({}, {})
    trained = pairs or {n: params[n] for n in names}
    first, second = ({n: np.zeros_like(a) for n, a in trained.items()} for _ in range(2))
    draws = [np.random.default_rng(order) for order in course.orders]
    losses = []
    for step in range(course.steps):
        tokens = np.stack([_sample(texts[body], rng) for body, rng in zip(course.bodies, draws, strict=True)])
        grads, loss = _gradients(params, tokens, course.teacher)
        losses.append(loss)
        if pairs:
            grads = _of_adapters(grads, pairs)
        _step(trained, grads, first, second, step, course)
        if pairs:
            for n, start in base.items():
                params[n] = start + pairs[f"{n}/b"] @ pairs[f"{n}/a"]
    tail = np.array(losses[-max(1, course.steps // 10):])
    return params, pairs, tail.mean(0)


def _sample(text: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    starts = rng.integers(0, len(text) - LENGTH - 1, BATCH)
    return text[starts[:, None] + np.arange(LENGTH + 1)]


def _gradients(params: Params, tokens: np.ndarray, teacher: Params | None) -> tuple[Params, np.ndarray]:
    models, inputs, following = Tiny(params), tokens[..., :-1], tokens[..., 1:]
    chances, kept = models.forward(inputs)
    count, wanted = chances.shape[1], following.reshape(len(tokens), -1)
    at = (np.arange(len(tokens))[:, None], np.arange(count)[None], wanted)
    loss = -np.log(chances[at] + 1e-9).mean(1)
    if teacher is None:
        chances[at] -= 1
    else:
        for n in range(len(tokens)):
            chances[n] -= Tiny(stack([teacher])).forward(inputs[n:n + 1])[0][0]
    return models.backward(chances / np.float32(count), kept), loss


def _step(params: Params, grads: Params, first: Params, second: Params, step: int, course: Course) -> None:
    """In place. Each model's gradient is cut to norm 1."""
    norms = np.sqrt(sum(np.sum(grads[n] ** 2, axis=tuple(range(1, grads[n].ndim))) for n in params))
    cut = np.minimum(1, 1 / np.maximum(norms, 1e-9)).astype(np.float32)
    warm = min(1.0, (step + 1) / max(1, course.steps // 20))
    rate = course.rate * warm * (0.55 + 0.45 * np.cos(np.pi * step / course.steps))
    for n, a in params.items():
        grad = grads[n] * cut.reshape(-1, *[1] * (a.ndim - 1))
        first[n] += np.float32(0.1) * (grad - first[n])
        second[n] += np.float32(0.05) * (grad * grad - second[n])
        size = np.sqrt(second[n] / np.float32(1 - 0.95 ** (step + 1))) + np.float32(1e-8)
        a -= np.float32(rate) * (first[n] / np.float32(1 - 0.9 ** (step + 1)) / size)
        if a.ndim > 2:
            a *= np.float32(1 - rate * 0.1)


def _adapters(params: Params, course: Course) -> tuple[Params, Params]:
    """(matrices as they were, their low-rank pairs): one begins random, the other at zero."""
    rng = np.random.default_rng(course.orders[0])
    base = {n: params[n].copy() for n in params if params[n].ndim == 3 and n != "embed"}
    pairs: Params = {}
    for n, a in base.items():
        models, out, into = a.shape
        pairs[f"{n}/a"] = (rng.normal(size=(models, course.rank, into)) / np.sqrt(into)).astype(np.float32)
        pairs[f"{n}/b"] = np.zeros((models, out, course.rank), np.float32)
    return base, pairs


def _of_adapters(grads: Params, pairs: Params) -> Params:
    found: Params = {}
    for n in {name[:-2] for name in pairs}:
        found[f"{n}/a"] = _turned(pairs[f"{n}/b"]) @ grads[n]
        found[f"{n}/b"] = grads[n] @ _turned(pairs[f"{n}/a"])
    return found
