"""What can be seen in a film of brook's world by plain counting: which colour, which shape, what it does, how fast.

No classifier was learned. The ground is the commonest colour of the rim; a thing is what stands out from it; its colour
the nearest in the list; its shape the one of six whose ideal picture in the same box it overlaps most; its motion read
from centre, area and outline, frame by frame. Knows nothing of the words a film was asked for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from brook import world

STANDS_OUT = 60.0
"""Distance in red, green and blue from which a pixel is not ground."""
LEAST = 12
"""Pixels of the smallest thing."""
SLOW, FAST = 1.08, 1.85
"""Pixels a frame between slow, neither and fast: half way between the bounds of world.PACE."""


@dataclass(frozen=True)
class Seen:
    """colour, shape and motion: words of world, or 'none'. pace: '', 'slowly', 'quickly'; of the four ways alone."""

    colour: str
    shape: str
    motion: str
    pace: str
    ground: str


def ground(film: np.ndarray) -> np.ndarray:
    """The median colour of the outermost two pixels, over all frames; float (3,)."""
    rim = np.concatenate([film[:, :2].reshape(-1, 3), film[:, -2:].reshape(-1, 3), film[:, :, :2].reshape(-1, 3),
                          film[:, :, -2:].reshape(-1, 3)])
    return np.median(rim, axis=0)


def named(colour: np.ndarray, names: dict[str, tuple[int, int, int]]) -> str:
    return min(names, key=lambda name: float(np.sum((np.asarray(names[name]) - colour) ** 2)))


def see(film: np.ndarray, colour: str | None = None) -> Seen:
    """film: uint8 (frames, height, width, 3). colour: of two things, the one of this colour, else all that is there."""
    base = ground(film)
    on = named(base, world.GROUNDS)
    pixels = film.astype(np.float32)
    masks = np.linalg.norm(pixels - base, axis=-1) > STANDS_OUT
    if colour is not None:
        masks &= _nearest(pixels, base) == list(world.COLOURS).index(colour)
    masks = np.stack([_largest(mask) for mask in masks])
    if (masks.sum((1, 2)) >= LEAST).sum() < len(film) * 0.7:
        return Seen("none", "none", "none", "", on)
    inner = np.stack([_eroded(mask) for mask in masks])
    own = np.median(pixels[inner] if inner.sum() >= LEAST else pixels[masks], axis=0)
    motion, pace = moved(masks)
    sharp = masks & (_share(pixels, base, own) > 0.5)  # a soft edge is where it is half the thing
    upright = sharp[sharp.any((1, 2))][:1] if motion == "spins" else sharp
    return Seen(colour or named(own, world.COLOURS), _shape(upright), motion, pace, on)


def _share(pixels: np.ndarray, base: np.ndarray, own: np.ndarray) -> np.ndarray:
    """How much of each pixel is of the colour `own`, the rest being ground."""
    towards = own - base
    return (pixels - base) @ towards / float(towards @ towards)


def _nearest(pixels: np.ndarray, base: np.ndarray) -> np.ndarray:
    """The number of the nearest colour of each pixel, by direction from the ground, since edges are mixed with it."""
    away = pixels - base
    towards = np.array(list(world.COLOURS.values()), np.float32) - base
    share = np.clip((away @ towards.T) / (towards ** 2).sum(1), 0, 1)
    rest = np.stack([np.linalg.norm(away - share[..., n:n + 1] * towards[n], axis=-1)
                     + 40 * (1 - share[..., n]) for n in range(len(towards))], -1)
    return rest.argmin(-1)


def _eroded(mask: np.ndarray) -> np.ndarray:
    out = mask.copy()
    for axis in (0, 1):
        out &= np.roll(mask, 1, axis) & np.roll(mask, -1, axis)
    return out


def _largest(mask: np.ndarray) -> np.ndarray:
    """The largest connected part; small specks do not count as the thing."""
    import cv2

    count, parts, facts, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=4)
    return mask if count < 2 else parts == 1 + int(facts[1:, cv2.CC_STAT_AREA].argmax())


# --- shape


def _shape(masks: np.ndarray) -> str:
    """The shape that all frames together overlap most; frames that show the thing cut off by the rim count only if
    there are no others."""
    whole = [mask for mask in masks if mask.sum() >= LEAST
             and not (mask[0].any() or mask[-1].any() or mask[:, 0].any() or mask[:, -1].any())]
    overlap = sum((_overlaps(mask) for mask in whole or list(masks) if mask.any()), np.zeros(len(world.SHAPES)))
    return world.SHAPES[int(overlap.argmax())] if overlap.any() else "none"


def _overlaps(mask: np.ndarray) -> np.ndarray:
    """float64 (shapes,): of the thing and each ideal picture in the same box, what they share of what either has."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = mask[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1]
    places = [(np.arange(24) + 0.5) * side / 24 for side in box.shape]
    square = box[np.ix_(places[0].astype(int), places[1].astype(int))]
    return np.array([(square & ideal).sum() / (square | ideal).sum() for ideal in _IDEAL.values()])


def _ideal(shape: str) -> np.ndarray:
    """bool (24, 24): the shape filling its box."""
    one = np.ones(1, np.float32)
    mask = world.distance(shape, 32 * one, 32 * one, 24 * one, 0 * one)[0] < 0
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    box = mask[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1]
    places = [((np.arange(24) + 0.5) * side / 24).astype(int) for side in box.shape]
    return box[np.ix_(*places)]


_IDEAL = {name: _ideal(name) for name in world.SHAPES}


# --- motion


def moved(masks: np.ndarray) -> tuple[str, str]:
    """(motion, pace) of bool (frames, height, width)."""
    at = [n for n, mask in enumerate(masks) if mask.sum() >= LEAST]
    places = np.array([np.argwhere(masks[n]).mean(0) for n in at])[:, ::-1]
    areas = np.array([masks[n].sum() for n in at], float)
    net = places[-1] - places[0]
    span = places.max(0) - places.min(0)
    growth = areas[-3:].mean() / areas[:3].mean()
    if max(span) < 6 and not 0.5 < growth < 2:
        return ("grows" if growth > 1 else "shrinks"), ""
    if max(span) >= 6:
        axis = int(span.argmax())
        steps = np.diff(places[:, axis])
        turned = np.abs(steps).sum() > 1.6 * abs(net[axis])
        if turned:
            return ("swings", "bounces")[axis], ""
        way = (("left", "right"), ("up", "down"))[axis][int(net[axis] > 0)]
        pace = abs(net[axis]) / (at[-1] - at[0])
        return way, "slowly" if pace < SLOW else "quickly" if pace > FAST else ""
    return ("spins" if _turns([masks[n] for n in at], places) else "still"), ""


def _turns(masks: list[np.ndarray], places: np.ndarray) -> bool:
    """Whether the outline changes though place and size do not: the first frame beside the later ones, centred."""
    def centred(n: int) -> np.ndarray:
        x, y = (masks[n].shape[0] / 2 - places[n]).round().astype(int)
        return np.roll(masks[n], (y, x), (0, 1))

    first = centred(0)
    rest = [1 - (first & centred(n)).sum() / (first | centred(n)).sum() for n in range(1, len(masks))]
    return float(np.quantile(rest, 0.75)) > 0.16
