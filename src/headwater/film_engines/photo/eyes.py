"""Close an eye: the upper lid slides down column by column, its skin stretched, over an eyeball that keeps still.

Bending the whole photo cannot do that, because what is hidden must not be squeezed. Works on the photo's own pixels,
in the few around the eye, before anything else is moved. Knows no time.
"""

from __future__ import annotations

import numpy as np

from headwater.film_engines.photo.faces import Eye, Face

OPEN_MIN = 0.13
LASHES = 0.06
"""How thick the dark edge of a lid is, of the eye's width."""
HOODED = 0.55
"""How light a lid must be beside the skin under the eye."""
SIZE_MIN = 9.0
"""Pixels an eye must be wide before a blink can be seen, and be right."""


class Lids:
    """One eye of a photo, ready to be closed by any amount."""

    def __init__(self, eye: Eye, down: np.ndarray, photo: np.ndarray):
        width = eye.width
        along = (eye.upper[-1] - eye.upper[0]) / width
        below = np.array([-along[1], along[0]])
        if below @ down < 0:
            below = -below
        corner = eye.upper[0]
        low = np.minimum(eye.lower.min(0), eye.upper.min(0)) - 0.75 * width
        high = np.maximum(eye.lower.max(0), eye.upper.max(0)) + 0.6 * width
        self._x0, self._y0 = np.clip(np.floor(low), 0, None).astype(int).tolist()
        x1, y1 = np.minimum(np.ceil(high), [photo.shape[1], photo.shape[0]]).astype(int).tolist()
        self._shape = (max(0, y1 - self._y0), max(0, x1 - self._x0))
        x, y = np.meshgrid(np.arange(self._x0, x1, dtype=np.float32), np.arange(self._y0, y1, dtype=np.float32))
        u = (x - corner[0]) * along[0] + (y - corner[1]) * along[1]
        self._v = (x - corner[0]) * below[0] + (y - corner[1]) * below[1]
        self._x, self._y, self._below, self._width = x, y, below.astype(np.float32), width

        def line(points: np.ndarray) -> np.ndarray:
            return _line((points - corner) @ along, (points - corner) @ below, width, u)

        self._upper, self._lower = line(eye.upper), line(eye.lower)
        self._lower = np.maximum(self._lower, self._upper)
        # The lashes reach beyond the corners, and come down a little there too.
        self._fall = _line(*_table(eye, corner, along, below, width), width, u, soft=0.18)
        # The skin that is stretched ends well below the brow, whose hairs would be drawn down with it.
        skin = np.clip(0.8 * (self._upper - line(eye.brow)), 0.14 * width, 0.55 * width)
        self._top = (self._upper - skin).astype(np.float32)
        lid = eye.upper[2:7] - (0.5 * skin.mean() + 0.03 * width) * below
        under = eye.lower[2:7] + 0.2 * width * below
        # Under a low brow there is shadow where a lid would be, and no skin to draw down: such an eye only narrows.
        self._most = 1.0 if _light(photo, lid) > HOODED * _light(photo, under) else 0.4

    def close(self, photo: np.ndarray, by: float) -> None:
        """In place. by: 0 open as it is, 1 closed."""
        import cv2

        by *= self._most
        if by <= 0 or min(self._shape) < 4:
            return
        rows = slice(self._y0, self._y0 + self._shape[0])
        columns = slice(self._x0, self._x0 + self._shape[1])
        eye = photo[rows, columns].copy()
        gap, edge = self._lower - self._upper, by * self._width
        shut = np.clip(gap / (0.06 * self._width), 0, 1)  # towards the corners the lids meet already
        upper = self._upper + by * 0.86 * np.maximum(gap, self._fall)
        lower = self._lower - by * (0.14 * gap)
        lid = self._stretched(upper, self._upper - 0.012 * edge * shut)
        cheek = self._v + (self._lower + 0.02 * edge * shut - lower) * np.exp(
            -np.clip(self._v - lower, 0, None) / (0.3 * self._width))
        over = np.clip(upper - self._v + 0.5, 0, 1) * np.clip(self._fall / (0.02 * self._width), 0, 1)
        under = np.clip(self._v - lower + 0.5, 0, 1) * (gap > 1e-3)
        out = eye.astype(np.float32)
        for source, share in ((cheek, under), (lid, over)):
            shift = (source - self._v).astype(np.float32)
            part = cv2.remap(eye, self._x - self._x0 + shift * self._below[0],
                             self._y - self._y0 + shift * self._below[1], cv2.INTER_CUBIC,
                             borderMode=cv2.BORDER_REPLICATE)
            out += share[..., None] * (part - out)
        photo[rows, columns] = np.clip(np.rint(out), 0, 255).astype(np.uint8)

    def _stretched(self, edge: np.ndarray, source: np.ndarray) -> np.ndarray:
        """Which row of the photo is seen at each row above the lid's edge, when that is at `edge` and was at `source`:
        the lashes as they are, and above them the skin up to the top, stretched least at the top."""
        lashes = np.minimum(LASHES * self._width, 0.5 * (source - self._top))
        length = np.maximum(edge - lashes - self._top, 1e-3)
        ratio = np.clip((source - lashes - self._top) / length, 0.05, 1.0)
        s = np.clip((self._v - self._top) / length, 0, 1)
        bent = s + (ratio - 1) * s * s
        mix = np.clip((ratio - 0.5) / 0.1, 0, 1)
        skin = self._top + length * (mix * bent + (1 - mix) * ratio * s)
        return np.where(self._v < self._top, self._v,
                        np.where(self._v > edge - lashes, self._v - edge + source, skin))


def closable(face: Face, photo: np.ndarray) -> list[tuple[int, Lids]]:
    """(which eye: 0 left, 1 right; how to close it) for each eye that is open, large enough, turned to us, and not
    behind dark glasses."""
    out = []
    near = 0 if face.points[4, 0] > face.points[list((234, 454)), 0].mean() else 1  # the side that shows more of it
    for which, eye in enumerate(face.eyes):
        hidden = face.aside > 0.85 and which != near
        if eye.open >= OPEN_MIN and eye.width >= SIZE_MIN and not hidden and not _shaded(eye, face, photo):
            out.append((which, Lids(eye, face.down, photo)))
    return out


def _shaded(eye: Eye, face: Face, photo: np.ndarray) -> bool:
    """Whether the skin right around the eye is far darker than the cheek: sunglasses."""
    around = np.concatenate([eye.lower[2:7] + 0.22 * eye.width * face.down,
                             eye.upper[2:7] - 0.16 * eye.width * face.down])
    cheek = face.points[[50, 280, 101, 330], :2]
    return _light(photo, around) < 0.5 * _light(photo, cheek)


def _light(photo: np.ndarray, at: np.ndarray) -> float:
    places = np.clip(np.round(at).astype(int), 0, np.array(photo.shape[1::-1]) - 1)
    return float(np.median(photo[places[:, 1], places[:, 0]].mean(axis=1))) + 1


def _table(eye: Eye, corner: np.ndarray, along: np.ndarray, below: np.ndarray,
           width: float) -> tuple[np.ndarray, np.ndarray]:
    """Places along the eye, and how far apart the lids are there."""
    at = np.linspace(-0.3 * width, 1.3 * width, 65)
    lines = []
    for lid in (eye.upper, eye.lower):
        u, v = (lid - corner) @ along, (lid - corner) @ below
        order = np.argsort(u, kind="stable")
        lines.append(np.interp(at, u[order], v[order]))
    return at, np.clip(lines[1] - lines[0], 0, None) * ((at >= 0) & (at <= width))


def _line(u: np.ndarray, v: np.ndarray, width: float, at: np.ndarray, soft: float = 0.03) -> np.ndarray:
    """v at each place `at` along the eye, smoothed over a share of its width; beyond the ends as at the ends."""
    order = np.argsort(u, kind="stable")
    table = np.linspace(-0.4 * width, 1.4 * width, 181)
    values = np.interp(table, u[order], v[order])
    half = max(1, round(soft * 200))
    kernel = np.hanning(2 * half + 1)
    values = np.convolve(np.pad(values, half, mode="edge"), kernel / kernel.sum(), mode="valid")
    return np.interp(at, table, values).astype(np.float32)
