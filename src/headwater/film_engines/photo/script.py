"""When what moves: the curves of a film over time, drawn once from the seed. Knows no picture.

Every curve is 0 at the first frame, so that the film begins with the photo as it is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headwater.film_engines.photo.words import Wish

TURN, NOD, TILT = 8.0, 3.5, 2.2
"""Degrees at full strength. More than some 12 looks like rubber: what is turned into sight is not in the photo."""
BLINK_S = (0.10, 0.05, 0.19)
"""Closing, closed, opening."""
BREATH_S = 3.8


@dataclass(frozen=True)
class Curves:
    """Per frame: turn, nod, tilt in degrees (positive: right, down, clockwise as seen), blink of the left and the right
    eye, smile, breath from 0 to 1, and sway of the whole person from -1 to 1."""

    turn: np.ndarray
    nod: np.ndarray
    tilt: np.ndarray
    blink: np.ndarray
    smile: np.ndarray
    breath: np.ndarray
    sway: np.ndarray


def draw(wish: Wish, frames: int, fps: int, seed: int, who: int) -> Curves:
    """For the person number `who`; others of the same seed move at other times."""
    chance = np.random.default_rng([seed, 71, who])
    t = np.arange(frames) / fps
    length = max(frames - 1, 1) / fps
    quiet = 0.0 if wish.still else 1.0
    asked = wish.moves
    way = asked.get("turn", 0.0) or float(chance.choice([-1.0, 1.0]))
    turn = quiet * TURN * _turning(t, length, way, "turn" in asked, wish.plain, chance)
    nod = quiet * NOD * (0.22 * _drift(t, chance) + _nodding(t, length, asked.get("nod", 0.0)))
    if "shake" in asked:
        turn += 5.5 * np.sin(2 * np.pi * 1.35 * t) * _bell(t, 0.2 * length, min(0.85 * length, 0.2 * length + 2.4))
    lean = float(chance.choice([-1.0, 1.0]))
    tilt = quiet * TILT * (0.3 * _drift(t, chance) + (2.2 * lean * _ease(t, 0.1 * length, 0.55 * length)
                                                      if "tilt" in asked else 0.25 * turn / TURN))
    smile = _ease(t, 0.12 * length, 0.6 * length) * (1.0 if "smile" in asked else 0.45 if wish.plain else 0.0) * quiet
    blink = np.zeros((frames, 2)) if wish.still else _blinking(t, length, asked.get("blink"), chance)
    phase = (1 - np.cos(2 * np.pi * t / (BREATH_S * chance.uniform(0.92, 1.08)))) / 2
    breath = phase * (1.6 if "breathe" in asked else 1.0) * quiet
    sway = quiet * _drift(t, chance) * (1.8 if "sway" in asked else 0.8)
    return Curves(turn, nod, tilt, blink, smile, breath, sway)


def _turning(t: np.ndarray, length: float, way: float, asked: bool, plain: bool,
             chance: np.random.Generator) -> np.ndarray:
    drift = 0.16 * _drift(t, chance)
    if asked:
        return drift + 1.15 * way * _ease(t, 0.12 * length, 0.62 * length)
    if not plain:
        return drift
    turn = way * 0.62 * _ease(t, 0.06 * length, 0.5 * length)
    if length > 2.5:  # and back past the middle, where there is time for it
        turn -= way * 0.9 * _ease(t, 0.55 * length, 0.97 * length)
    return drift + turn


def _nodding(t: np.ndarray, length: float, how: float) -> np.ndarray:
    if abs(how) == 2:
        return 0.9 * how * _ease(t, 0.12 * length, 0.6 * length)
    if how:
        return 1.5 * np.sin(2 * np.pi * 1.05 * t) * _bell(t, 0.15 * length, min(0.85 * length, 0.15 * length + 2.2))
    return np.zeros_like(t)


def _blinking(t: np.ndarray, length: float, asked: float | None, chance: np.random.Generator) -> np.ndarray:
    """(frames, 2). The first blink comes early enough to be in the film; then one every few seconds."""
    lids = np.zeros((len(t), 2))
    if length < sum(BLINK_S) + 0.15:
        return lids
    first = chance.uniform(0.22, 0.34) * min(length, 4.0)
    starts = [min(first, length - sum(BLINK_S) - 0.05)]
    while starts[-1] < length:
        starts.append(starts[-1] + chance.uniform(1.3, 2.2) * (1 if asked else 1.7))
    down, closed, up = BLINK_S
    for start in starts:
        if start + down + closed + up > length + 1e-9:
            continue
        start = t[np.argmin(abs(t - start))]  # so that frames fall into the time the eye is closed
        one = np.minimum(_ease(t, start, start + down), 1 - _ease(t, start + down + closed, start + down + closed + up))
        lids = np.maximum(lids, one[:, None])
    if asked == -1.0:
        lids[:, int(chance.integers(2))] = 0
    return lids


def _drift(t: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """Slow and without a period, within about -1 and 1, and 0 at the start."""
    out = np.zeros_like(t)
    for period, size in ((6.1, 0.6), (3.3, 0.28), (1.9, 0.12)):
        phase = chance.uniform(0, 2 * np.pi)
        out += size * (np.sin(2 * np.pi * t / period + phase) - np.sin(phase))
    return out * np.minimum(1, t / 0.8)


def _bell(t: np.ndarray, start: float, stop: float) -> np.ndarray:
    edge = min(0.35, (stop - start) / 2)
    return _ease(t, start, start + edge) * (1 - _ease(t, stop - edge, stop))


def _ease(t: np.ndarray, start: float, stop: float) -> np.ndarray:
    x = np.clip((t - start) / max(stop - start, 1e-6), 0, 1)
    return x * x * x * (x * (6 * x - 15) + 10)
