"""The world brook knows: flat things that move before a plain ground, drawn from words of a list of about fifty.

A scene is drawn by signed distances, so edges are smooth and a thing may stand between pixels. Knows no model.
Colours and shapes in HELD_OUT are never drawn together for training: they are what brook is asked for when measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from brook import FRAMES, SIDE

COLOURS = {"red": (222, 40, 44), "green": (44, 182, 64), "blue": (52, 96, 236), "yellow": (242, 222, 52),
           "orange": (246, 138, 28), "purple": (152, 60, 204), "pink": (250, 152, 192), "white": (246, 246, 246),
           "cyan": (60, 212, 222)}
GROUNDS = {"black": (14, 14, 18), "grey": (116, 116, 120), "navy": (20, 30, 82), "brown": (88, 58, 38)}
SHAPES = ("circle", "square", "triangle", "diamond", "cross", "ring")
WAYS = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1)}
MOTIONS = (*WAYS, "bounces", "swings", "grows", "shrinks", "spins", "still")
SPINNING = ("square", "triangle", "cross")
"""Shapes a turn can be seen of. A turned square is a diamond for a while, so a diamond does not spin."""
PACE = {"slowly": (0.6, 0.9), "": (1.25, 1.6), "quickly": (2.1, 2.4)}
"""Pixels from frame to frame."""
RADIUS = {"small": (6.0, 7.5), "": (6.5, 11.5), "big": (10.5, 12.0)}
HELD_OUT = (("red", "triangle"), ("green", "ring"), ("blue", "circle"), ("yellow", "cross"), ("orange", "square"),
            ("purple", "diamond"), ("pink", "circle"), ("white", "triangle"), ("cyan", "square"))
VERBS = ("drifts", "moves", "slides")


@dataclass(frozen=True)
class Thing:
    """size: '', 'small' or 'big'. pace: '', 'slowly' or 'quickly', of the four ways alone."""

    colour: str
    shape: str
    motion: str
    size: str = ""
    pace: str = ""


@dataclass(frozen=True)
class Scene:
    """One or two things; of two, the first is above. ground: the word said, and the colour if none was."""

    things: tuple[Thing, ...]
    ground: str
    ground_said: bool = True


def scene(rng: np.random.Generator, held_out: bool | None = False, pair: bool | None = None) -> Scene:
    """A scene by chance. held_out: with colours and shapes of HELD_OUT alone (True), never (False), either (None)."""
    two = rng.random() < 0.25 if pair is None else pair
    motions = (*WAYS, "still") if two else MOTIONS
    things: list[Thing] = []
    while len(things) < 1 + two:
        one = _thing(rng, motions, two)
        if held_out is not None and ((one.colour, one.shape) in HELD_OUT) != held_out:
            continue
        if not any(one.colour == other.colour for other in things):
            things.append(one)
    return Scene(tuple(things), str(rng.choice(list(GROUNDS))), bool(rng.random() < 0.6))


def _thing(rng: np.random.Generator, motions: tuple[str, ...], two: bool) -> Thing:
    chances = np.array([2.0 if m in WAYS else 1.0 for m in motions])
    motion = str(rng.choice(motions, p=chances / chances.sum()))
    shape = str(rng.choice(SPINNING if motion == "spins" else SHAPES))
    size = "" if two else str(rng.choice(["", "small", "big"], p=[0.5, 0.25, 0.25]))
    pace = str(rng.choice(["", "slowly", "quickly"], p=[0.3, 0.35, 0.35])) if motion in WAYS and not two else ""
    return Thing(str(rng.choice(list(COLOURS))), shape, motion, size, pace)


# --- words


def words(of: Scene, rng: np.random.Generator | None = None) -> str:
    """The scene said. Without rng always the same way, with it one of several."""
    said = " and ".join(_said(thing, rng) for thing in of.things)
    if rng is not None and not of.ground_said and len(of.things) == 1 and rng.random() < 0.2:
        one = of.things[0]
        return " ".join(w for w in (one.size, one.colour, one.shape, one.motion, one.pace) if w)
    return f"{said} on a {of.ground} background" if of.ground_said else said


def _said(thing: Thing, rng: np.random.Generator | None) -> str:
    def one_of(*ways: str) -> str:
        return ways[0] if rng is None else str(rng.choice(ways))

    adjectives = f"{thing.size} {thing.colour}".strip()
    article = "an" if adjectives[0] == "o" else "a"
    if thing.motion in WAYS:
        does = f"{one_of(*VERBS)} {one_of('', 'to the ') if thing.motion in ('left', 'right') else ''}{thing.motion}"
        does = f"{does} {thing.pace}".strip()
        if thing.pace and one_of("", "before"):
            does = f"{thing.pace} {does.removesuffix(thing.pace).strip()}"
    elif thing.motion == "still":
        does = one_of("stands still", "stays still")
    else:
        does = thing.motion
    return f"{article} {adjectives} {thing.shape} {does}"


def vocabulary() -> list[str]:
    """Every word that can be said, sorted."""
    kinds = {*COLOURS, *GROUNDS, *SHAPES, *MOTIONS, *VERBS, "small", "big", "slowly", "quickly"}
    return sorted(kinds | {"a", "an", "and", "on", "background", "to", "the", "stands", "stays"})


# --- drawing


def film(of: Scene, rng: np.random.Generator, frames: int = FRAMES) -> np.ndarray:
    """uint8 (frames, SIDE, SIDE, 3). What the words leave open (places, sizes, phases) is drawn from rng."""
    picture = np.broadcast_to(np.array(GROUNDS[of.ground], np.float32), (frames, SIDE, SIDE, 3)).copy()
    for number, thing in enumerate(of.things):
        band = (0.0, float(SIDE)) if len(of.things) == 1 else ((0.0, SIDE / 2), (SIDE / 2, float(SIDE)))[number]
        cover = _cover(thing, band, rng, frames)[..., None]
        picture += cover * (np.array(COLOURS[thing.colour], np.float32) - picture)
    return np.clip(picture + 0.5, 0, 255).astype(np.uint8)


def _cover(thing: Thing, band: tuple[float, float], rng: np.random.Generator, frames: int) -> np.ndarray:
    """float32 (frames, SIDE, SIDE): how much of each pixel the thing covers."""
    t = np.arange(frames, dtype=np.float32)
    whole = band[1] - band[0] == SIDE
    low, high = RADIUS[thing.size] if whole else (6.0, 8.0)
    radius = np.full(frames, rng.uniform(low, high), np.float32)
    if thing.motion in ("grows", "shrinks"):
        share = np.linspace(0.45, 1.0, frames, dtype=np.float32)
        radius = (radius + 4) * (share if thing.motion == "grows" else share[::-1])
    away = _path(thing, t, rng, (band[1] - band[0] - 2 * float(radius.max()) - 2))
    margin = float(radius.max()) + 1
    x = _placed(away[0], margin, 0.0, SIDE, rng)
    y = _placed(away[1], margin, *band, rng)
    angle = np.zeros(frames, np.float32)
    if thing.motion == "spins":
        angle = rng.choice([-1, 1]) * np.deg2rad(rng.uniform(8, 14)) * t
    return np.clip(0.5 - distance(thing.shape, x, y, radius, angle), 0, 1)


def _path(thing: Thing, t: np.ndarray, rng: np.random.Generator, room: float) -> tuple[np.ndarray, np.ndarray]:
    """Where the thing is, frame by frame, beside an unknown place. room: pixels a vertical way may take."""
    nought = np.zeros_like(t)
    if thing.motion in WAYS:
        pace = rng.uniform(*PACE[thing.pace])
        dx, dy = WAYS[thing.motion]
        if dy:
            pace = min(pace, room / (len(t) - 1))
        return dx * pace * t, dy * pace * t
    if thing.motion == "bounces":
        height = min(room, rng.uniform(20, 30))
        return nought, -height * np.abs(np.sin(np.pi * (t / (len(t) - 1) * 2 + rng.choice([0.0, 0.5]))))
    if thing.motion == "swings":
        return rng.uniform(10, 14) * np.sin(2 * np.pi * t / (len(t) - 1) + rng.choice([0.0, np.pi])), nought
    return nought, nought


def _placed(away: np.ndarray, margin: float, low: float, high: float, rng: np.random.Generator) -> np.ndarray:
    first, last = low + margin - float(away.min()), high - margin - float(away.max())
    return away + (rng.uniform(first, last) if last > first else (first + last) / 2)


def distance(shape: str, x: np.ndarray, y: np.ndarray, radius: np.ndarray, angle: np.ndarray) -> np.ndarray:
    """Signed pixels to the shape's edge, inside below zero; (frames, SIDE, SIDE). All arguments: (frames,)."""
    axis = np.arange(SIDE, dtype=np.float32) + 0.5
    dx, dy = axis[None, None, :] - x[:, None, None], axis[None, :, None] - y[:, None, None]
    cos, sin = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None]
    u, v, r = dx * cos + dy * sin, dy * cos - dx * sin, radius[:, None, None]
    a, b = np.abs(u), np.abs(v)
    if shape == "circle":
        return np.sqrt(u * u + v * v) - r
    if shape == "ring":
        return np.abs(np.sqrt(u * u + v * v) - 0.72 * r) - 0.28 * r
    if shape == "square":
        return np.maximum(a, b) - 0.88 * r
    if shape == "diamond":
        return (a + b - 1.1 * r) / np.float32(np.sqrt(2))
    if shape == "cross":
        return np.minimum(np.maximum(a - r, b - r / 3), np.maximum(a - r / 3, b - r))
    slope = np.float32(2 / np.sqrt(5))
    return np.maximum(v - 0.9 * r, (a - (v + 0.9 * r) / 2) * slope)


def films(seed: int, held_out: bool | None = False) -> Iterator[tuple[Scene, str, np.ndarray]]:
    """Without end: scene, one way of saying it, its film."""
    rng = np.random.default_rng(seed)
    while True:
        drawn = scene(rng, held_out)
        yield drawn, words(drawn, rng), film(drawn, rng)
