"""Painted parts of a photo that move: water, clouds and smoke flow along their way, hair and leaves sway.

A long way makes the part flow: it is shown twice, half a period apart, each moved along and faded out before it has
gone far, so it never ends and never tears. A short way makes it sway there and back. Knows no faces.
"""

from __future__ import annotations

import numpy as np

from headwater.core.film import Point

SHORT = 0.06
"""Ways shorter than this share of the photo's diagonal make a part sway."""
FAR = 0.07
"""How far a flowing part is moved before it is faded out, of the photo's shorter side."""
SWAY_S = 2.7


class Moving:
    """One painted part. mask: float32 (height, width), 1 where painted; way: at least two points as shares."""

    def __init__(self, photo: np.ndarray, mask: np.ndarray, way: tuple[Point, ...], seconds: float):
        import cv2

        height, width = mask.shape
        soft = max(1.5, 0.006 * (height + width))
        rows, columns = np.nonzero(mask > 0.5)
        self._empty = len(rows) == 0
        if self._empty:
            return
        points = np.array(way, np.float64) * [width, height]
        steps = np.linalg.norm(np.diff(points, axis=0), axis=1)
        length = float(steps.sum())
        self._sways = length < SHORT * float(np.hypot(width, height))
        self._speed = length / max(seconds, 0.1)
        self._far = FAR * min(height, width)
        room = int(self._far + 3 * soft) + 2
        self._rows = slice(max(0, rows.min() - room), min(height, rows.max() + room + 1))
        self._columns = slice(max(0, columns.min() - room), min(width, columns.max() + room + 1))
        part = mask[self._rows, self._columns]
        solid = (part > 0.5).astype(np.uint8)
        # Fades out inwards, so nothing beside the painted part is moved or covered.
        inward = cv2.distanceTransform(np.pad(solid, 1), cv2.DIST_L2, 5)[1:-1, 1:-1]
        self._share = np.clip(inward / (2 * soft), 0, 1).astype(np.float32)[..., None]
        self._part = _carried_on(photo[self._rows, self._columns], solid)
        self._way = _directions(points, steps, self._rows, self._columns)
        self._y, self._x = (grid.astype(np.float32) for grid in np.mgrid[0:solid.shape[0], 0:solid.shape[1]])
        if self._sways:
            reach = cv2.GaussianBlur(np.clip(inward / max(float(inward.max()), 1), 0, 1).astype(np.float32), None,
                                     2 * soft)
            self._swing = (points[-1] - points[0]).astype(np.float32) * reach[..., None]

    def draw(self, photo: np.ndarray, t: float) -> None:
        """In place, as it is t seconds into the film; at 0 nothing is changed."""
        if self._empty:
            return
        if self._sways:
            swing = np.float32(0.5 * np.sin(2 * np.pi * t / SWAY_S) + 0.2 * np.sin(2 * np.pi * t / (0.43 * SWAY_S)))
            moved = self._seen(self._swing * swing)
        else:
            period = max(0.9, self._far / max(self._speed, 1e-3))
            phase = (t / period) % 1.0
            other = (phase + 0.5) % 1.0
            share = np.float32(1 - abs(2 * phase - 1))
            go = np.float32(min(self._speed * period, 2 * self._far))
            moved = share * self._seen(self._way * go * np.float32(phase - 0.5)) + \
                (1 - share) * self._seen(self._way * go * np.float32(other - 0.5))
        there = photo[self._rows, self._columns].astype(np.float32)
        there += self._share * (moved - there)
        photo[self._rows, self._columns] = np.clip(np.rint(there), 0, 255).astype(np.uint8)

    def _seen(self, by: np.ndarray) -> np.ndarray:
        import cv2

        return cv2.remap(self._part, self._x - by[..., 0], self._y - by[..., 1], cv2.INTER_LINEAR,
                         borderMode=cv2.BORDER_REFLECT_101).astype(np.float32)


def _carried_on(part: np.ndarray, solid: np.ndarray) -> np.ndarray:
    """The painted pixels, and around them what they would look like if they went on: else a flow would drag what is
    beside it along."""
    import cv2

    if solid.all():
        return part.copy()
    _, nearest = cv2.distanceTransformWithLabels(1 - solid, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    inside = solid > 0
    colours = np.zeros((int(nearest.max()) + 1, 3), part.dtype)
    colours[nearest[inside]] = part[inside]
    filled = np.where(inside[..., None], part, colours[nearest])
    smooth = cv2.GaussianBlur(filled, None, 3.0)
    return np.where(inside[..., None], part, smooth)


def _directions(points: np.ndarray, steps: np.ndarray, rows: slice, columns: slice) -> np.ndarray:
    """Unit vectors along the way, at each pixel those of the nearest stretches; float32 (h, w, 2)."""
    import cv2

    shape = (rows.stop - rows.start, columns.stop - columns.start)
    small = (max(1, shape[1] // 8), max(1, shape[0] // 8))
    x, y = np.meshgrid(columns.start + (np.arange(small[0]) + 0.5) * shape[1] / small[0],
                       rows.start + (np.arange(small[1]) + 0.5) * shape[0] / small[1])
    reach = max(0.15 * float(steps.sum()), 8.0)
    total = np.zeros((*x.shape, 2)) + 1e-12 * (points[-1] - points[0])
    for start, stop, step in zip(points[:-1], points[1:], steps, strict=True):
        if step > 0:
            middle = (start + stop) / 2
            distance = np.hypot(x - middle[0], y - middle[1])
            total += (np.exp(-distance / reach) * step)[..., None] * (stop - start) / step
    length = np.linalg.norm(total, axis=2, keepdims=True)
    return cv2.resize((total / np.maximum(length, 1e-30)).astype(np.float32), shape[::-1],
                      interpolation=cv2.INTER_LINEAR)
