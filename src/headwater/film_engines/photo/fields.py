"""How far each part of a photo moves, as fields over it: one for each motion of a person, and one for depth.

A field is float32 (rows, columns, 2) on a grid of every STEP-th pixel: pixels to the right and down at full strength.
Fields are smooth and fade out, so their sum, scaled by a film's curves, bends the photo like a sheet and never tears
or folds it; folds() counts where it would. Knows no time and no camera.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headwater.film_engines.photo.faces import EARS, MOUTH, OVAL, Face

STEP = 4
RIM = 0.06
"""Share of the photo's width and height over which motion dies away towards its rim."""


@dataclass(frozen=True)
class Grid:
    """The grid over a photo of (height, width)."""

    height: int
    width: int

    @property
    def shape(self) -> tuple[int, int]:
        return -(-self.height // STEP), -(-self.width // STEP)

    def places(self) -> tuple[np.ndarray, np.ndarray]:
        """x and y of the nodes in the photo's pixels."""
        rows, columns = self.shape
        return np.meshgrid((np.arange(columns, dtype=np.float32) + 0.5) * STEP - 0.5,
                           (np.arange(rows, dtype=np.float32) + 0.5) * STEP - 0.5)

    def edges(self) -> np.ndarray:
        """0 at the photo's rim, 1 inside: across for what moves sideways, down for the rest. Times this, nothing is
        drawn in from beyond the photo."""
        x, y = self.places()
        wide, high = RIM * self.width, RIM * self.height
        return np.stack([1 - _fade(np.minimum(x, self.width - 1 - x), 0, wide),
                         1 - _fade(np.minimum(y, self.height - 1 - y), 0, high)], 2)

    def shrunk(self, picture: np.ndarray) -> np.ndarray:
        import cv2

        return cv2.resize(picture.astype(np.float32), self.shape[::-1], interpolation=cv2.INTER_AREA)


@dataclass(frozen=True)
class FaceFields:
    """turn, nod: at a sine of 1 (multiply by the sine of the angle). tilt: per radian. smile, breath, sway: at 1."""

    turn: np.ndarray
    nod: np.ndarray
    tilt: np.ndarray
    smile: np.ndarray
    breath: np.ndarray
    sway: np.ndarray


def face_fields(face: Face, grid: Grid, person: np.ndarray | None, room: float) -> FaceFields:
    """person: grid array, how much there is of a person, or None where nobody is surely seen. room: pixels from the
    face's centre to the nearest other face; what moves with this one ends before it."""
    x, y = grid.places()
    size, down = face.size, face.down
    across = np.array([down[1], -down[0]])
    crowd = float(np.clip(room / (2.2 * size), 0.35, 1.0))
    outside = _outside(face, grid)
    height = _height(face, grid) * _fade(outside, 0.02 * size, 0.46 * size * crowd)
    head = _fade(outside, 0.18 * size * crowd, 0.85 * size * crowd)
    pivot = face.points[152, :2] + 0.25 * size * down
    turned = np.stack([-(y - pivot[1]), x - pivot[0]], 2) * head[..., None]
    return FaceFields(
        turn=_along(height, across), nod=_along(height, down), tilt=turned.astype(np.float32),
        smile=_smile(face, x, y), breath=_breath(face, x, y, person, head, crowd),
        sway=_along(head * 0.022 * size, across))


def depth(grid: Grid, faces: list[Face], person: np.ndarray | None) -> np.ndarray:
    """Nearness of each node: people 1 (their faces a little more), the ground rising towards the viewer to 0.5, the
    rest 0. Where nobody is seen the ground's rise is all there is."""
    import cv2

    _, y = grid.places()
    rise = 0.5 * np.clip((y / grid.height - 0.35) / 0.65, 0, 1) ** 1.5
    if not faces:
        return (2 * rise).astype(np.float32)
    near = np.zeros(grid.shape, np.float32)
    for face in faces:
        near = np.maximum(near, _fade(_outside(face, grid), 0.2 * face.size, 0.9 * face.size))
    if person is not None:
        blur = max(1.0, 0.16 * faces[0].size / STEP)
        near = np.maximum(0.85 * near, cv2.GaussianBlur(person, None, blur))
    out = np.maximum(near, rise)
    for face in faces:
        out = out + 0.35 * face.sure * _height(face, grid) / face.size * _fade(_outside(face, grid), 0, 0.4 * face.size)
    return out.astype(np.float32)


def folds(moved: np.ndarray) -> int:
    """Nodes of a displacement field (pixels) around which the sheet would turn over: its Jacobian is not positive."""
    ddx = np.gradient(moved, STEP, axis=1)
    ddy = np.gradient(moved, STEP, axis=0)
    return int(((1 - ddx[..., 0]) * (1 - ddy[..., 1]) - ddx[..., 1] * ddy[..., 0] <= 0).sum())


def _outside(face: Face, grid: Grid) -> np.ndarray:
    """Pixels from the face's outline, 0 within."""
    import cv2

    inside = np.ones(grid.shape, np.uint8)
    outline = (face.points[list(OVAL), :2] + 0.5) / STEP - 0.5
    cv2.fillPoly(inside, [np.round(outline).astype(np.int32)], 0)
    if inside.all():  # smaller than a cell
        at = np.clip(np.round(face.centre / STEP).astype(int), 0, np.array(grid.shape[::-1]) - 1)
        inside[at[1], at[0]] = 0
    return cv2.distanceTransform(inside, cv2.DIST_L2, 5) * STEP


def _height(face: Face, grid: Grid) -> np.ndarray:
    """How far each node of the face stands before the plane of its ears, pixels; carried on smoothly outside of it."""
    import cv2

    rows, columns = grid.shape
    up = np.clip(face.points[list(EARS), 2].mean() - face.points[:, 2], 0, 0.9 * face.size)
    at = np.round((face.points[:, :2] + 0.5) / STEP - 0.5).astype(int)
    there = (at[:, 0] >= 0) & (at[:, 0] < columns) & (at[:, 1] >= 0) & (at[:, 1] < rows)
    total, count = np.zeros((2, rows, columns), np.float32)
    np.add.at(total, (at[there, 1], at[there, 0]), up[there].astype(np.float32))
    np.add.at(count, (at[there, 1], at[there, 0]), 1)
    out = np.zeros((rows, columns), np.float32)
    weight = np.zeros((rows, columns), np.float32)
    for share, trust in ((0.055, 1.0), (0.12, 1e-2), (0.3, 1e-4)):  # fine where landmarks are dense, else from afar
        blur = max(0.8, share * face.size / STEP)
        out += trust * cv2.GaussianBlur(total, None, blur)
        weight += trust * cv2.GaussianBlur(count, None, blur)
    return cv2.GaussianBlur(out / np.maximum(weight, 1e-9), None, max(0.8, 0.03 * face.size / STEP))


def _smile(face: Face, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Corners of the mouth out and up, cheeks up. Less where the mouth is wide already."""
    size, down = face.size, face.down
    across = np.array([down[1], -down[0]])
    corners = face.points[list(MOUTH), :2]
    wide = float(np.linalg.norm(corners[0] - corners[1]) / max(face.width, 1e-6))
    amount = float(np.clip(1.9 - 2.6 * wide, 0.3, 1.0)) * (1 - 0.7 * face.aside)
    field = np.zeros((*x.shape, 2), np.float32)
    for corner, cheek, way in ((corners[0], 50, -1.0), (corners[1], 280, 1.0)):
        field += _pull(x, y, corner, (way * across * 0.030 - down * 0.034) * size * amount, 0.125 * size)
        field += _pull(x, y, face.points[cheek, :2], (way * across * 0.006 - down * 0.020) * size * amount, 0.15 * size)
    return field


def _breath(face: Face, x: np.ndarray, y: np.ndarray, person: np.ndarray | None, head: np.ndarray,
            crowd: float) -> np.ndarray:
    """The chest rises, and the head a little with it. Only where a person is surely seen."""
    size, down = face.size, face.down
    chin = face.points[152, :2]
    below = ((x - chin[0]) * down[0] + (y - chin[1]) * down[1]) / size
    beside = ((x - chin[0]) * down[1] - (y - chin[1]) * down[0]) / size
    body = np.clip(below / 0.8, 0, 1) * np.exp(-(beside / (1.5 * crowd)) ** 2) * np.exp(-(below / 2.6) ** 4)
    if person is not None:
        import cv2

        body = body * cv2.GaussianBlur(person, None, max(1.0, 0.12 * size / STEP))
    else:
        body = body * 0.4
    out = np.maximum(body, 0.35 * head)
    swell = 0.006 * size * np.sign(beside) * np.minimum(abs(beside), 1) * body
    across = np.array([down[1], -down[0]])
    return _along(-0.024 * size * out, down) + _along(swell, across)


def _pull(x: np.ndarray, y: np.ndarray, at: np.ndarray, by: np.ndarray, reach: float) -> np.ndarray:
    weight = np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * reach * reach))
    return (weight[..., None] * by).astype(np.float32)


def _along(amount: np.ndarray, way: np.ndarray) -> np.ndarray:
    return (amount[..., None] * way).astype(np.float32)


def _fade(distance: np.ndarray, start: float, stop: float) -> np.ndarray:
    """1 up to start, 0 from stop on, smooth between."""
    t = np.clip((distance - start) / max(stop - start, 1e-6), 0, 1)
    return (1 - t * t * (3 - 2 * t)).astype(np.float32)
