"""A photo taken apart once, then shown at any time: who is in it, how each part moves, where the camera looks.

Every frame is the photo bent and seen by the camera; no pixel comes from elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from headwater.core.film import FilmRequest
from headwater.film_engines._still import open_still
from headwater.film_engines.photo.brush import Moving
from headwater.film_engines.photo.camera import Camera, View, seen_share
from headwater.film_engines.photo.eyes import Lids, closable
from headwater.film_engines.photo.faces import OVAL, Face, find_faces
from headwater.film_engines.photo.fields import STEP, FaceFields, Grid, depth, face_fields
from headwater.film_engines.photo.script import Curves, draw
from headwater.film_engines.photo.still import cleaned, open_mask
from headwater.film_engines.photo.words import Wish, read_words

if TYPE_CHECKING:
    from headwater.film_engines.photo.nets import Nets

SMALL, LARGE = 22.0, 70.0
"""Pixels of the film a face must be across: below the first it keeps still, from the second it moves in full."""
SWAY = 0.006
"""How far near things move beside far ones as the camera drifts, of the film's width."""


@dataclass(frozen=True)
class Person:
    """A face, how much of every motion it gets (0 to 1), and its motions."""

    face: Face
    amount: float
    fields: FaceFields
    lids: list[tuple[int, Lids]]
    curves: Curves


class Scene:
    """Raises BadInput for a photo, mask or point that cannot be used."""

    def __init__(self, request: FilmRequest, nets: Nets | None):
        film = (request.width, request.height)
        path = next(one.path for one in request.pictures if one.role == "first")
        self._request, self._film = request, film
        self.photo = open_still(path, film, seen_share(request.camera))
        height, width = self.photo.shape[:2]
        self.grid = Grid(height, width)
        self.wish: Wish = read_words(request.prompt)
        self.faces = find_faces(nets, cleaned(self.photo), request.points) if nets else []
        someone = _someone(nets, self.photo, self.faces, self.grid) if nets and self.faces else None
        self.people = [self._person(number, face, someone) for number, face in enumerate(self.faces)]
        self.near = depth(self.grid, [one.face for one in self.people if one.amount > 0.2], someone)
        self._brushes(width, height)
        self._camera = Camera(film, (width, height), self._focus(), request.camera, self.wish.still)
        total = request.frames
        self._drift = draw(replace(self.wish, plain=True), total, request.fps, request.seed, 1_000).sway
        self._places, self._edges = _film_grid(film), self.grid.edges()

    def frame(self, number: int) -> np.ndarray:
        """uint8 (height, width, 3) of the film's size."""
        import cv2

        photo = self._face_of(number)
        x, y = self.map(number)
        how = cv2.INTER_LINEAR if self._request.preset == "draft" else cv2.INTER_CUBIC
        return cv2.remap(photo, x, y, how, borderMode=cv2.BORDER_REFLECT_101)

    def map(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        """Where in the photo each film pixel comes from: x, y float32 (height, width)."""
        import cv2

        total = self._request.frames
        view = self._camera.at(number / max(1, total - 1))
        moved = self.moved(number, view)
        x, y = self._places
        m = view.matrix.astype(np.float64)
        w = m[2, 0] * x + m[2, 1] * y + m[2, 2]
        px = ((m[0, 0] * x + m[0, 1] * y + m[0, 2]) / w).astype(np.float32)
        py = ((m[1, 0] * x + m[1, 1] * y + m[1, 2]) / w).astype(np.float32)
        by = cv2.remap(moved, (px + 0.5) / STEP - 0.5, (py + 0.5) / STEP - 0.5, cv2.INTER_LINEAR,
                       borderMode=cv2.BORDER_REPLICATE)
        return _grown(px - by[..., 0], self._film), _grown(py - by[..., 1], self._film)

    def moved(self, number: int, view: View | None = None) -> np.ndarray:
        """How far each node of the grid has moved, photo pixels (rows, columns, 2)."""
        view = view or self._camera.at(number / max(1, self._request.frames - 1))
        out = np.zeros((*self.grid.shape, 2), np.float32)
        for one in self.people:
            if one.amount > 0:
                out += np.float32(one.amount) * _sum(one.fields, one.curves, number)
        if self._keep is not None:
            out *= self._keep
        drift = self._drift[number] * SWAY * self._film[0] * self._camera.fill if not self.wish.still else 0.0
        x, y = self.grid.places()
        near = self.near - (0.5 if self.people else 0.0)
        out[..., 0] += near * np.float32(view.shift[0] + drift) + near * np.float32(view.closer) * (x - view.middle[0])
        out[..., 1] += near * np.float32(view.shift[1]) + near * np.float32(view.closer) * (y - view.middle[1])
        return out * self._edges

    # --- parts

    def _face_of(self, number: int) -> np.ndarray:
        """The photo with eyes closed and painted parts moved as they are in this frame."""
        photo = self.photo
        blinks = [(lids, one.curves.blink[number, which]) for one in self.people for which, lids in one.lids]
        if self._moving or any(by > 0 for _, by in blinks):
            photo = photo.copy()
        for moving in self._moving:
            moving.draw(photo, number / self._request.fps)
        for lids, by in blinks:
            lids.close(photo, float(by))
        return photo

    def _person(self, number: int, face: Face, someone: np.ndarray | None) -> Person:
        scale = min(self.photo.shape[1] / self._film[0], self.photo.shape[0] / self._film[1])
        big = float(np.clip((face.size / scale - SMALL) / (LARGE - SMALL), 0, 1))
        amount = face.sure * (0.0 if big == 0 else 0.4 + 0.6 * big)
        room = min([float(np.linalg.norm(face.centre - other.centre)) for other in self.faces if other is not face],
                   default=1e9)
        curves = draw(self.wish, self._request.frames, self._request.fps, self._request.seed, number)
        if face.aside > 0.5:  # from the side, what a turn would show is not in the photo
            less = 1 - 1.2 * (face.aside - 0.5)
            curves = replace(curves, turn=curves.turn * less, smile=curves.smile * less)
        lids = closable(face, self.photo) if amount > 0.3 else []
        return Person(face, amount, face_fields(face, self.grid, someone, room), lids, curves)

    def _brushes(self, width: int, height: int) -> None:
        self._moving: list[Moving] = []
        self._keep: np.ndarray | None = None
        for brush in self._request.brushes:
            mask = open_mask(brush.mask, (width, height))
            if len(brush.way) >= 2:
                self._moving.append(Moving(self.photo, mask, brush.way, self._request.seconds))
            else:
                import cv2

                kept = 1 - cv2.GaussianBlur(self.grid.shrunk(mask), None, 4.0)[..., None]
                self._keep = kept if self._keep is None else self._keep * kept

    def _focus(self) -> tuple[float, float]:
        """What the camera keeps in sight: the faces, by size."""
        seen = [one for one in self.people if one.amount > 0]
        if not seen:
            return self.photo.shape[1] / 2, self.photo.shape[0] / 2
        weights = np.array([one.face.size ** 2 for one in seen])
        at = (np.array([one.face.centre for one in seen]) * weights[:, None]).sum(axis=0) / weights.sum()
        return float(at[0]), float(at[1])


def _sum(fields: FaceFields, curves: Curves, number: int) -> np.ndarray:
    return (fields.turn * np.float32(np.sin(np.radians(curves.turn[number])))
            + fields.nod * np.float32(np.sin(np.radians(curves.nod[number])))
            + fields.tilt * np.float32(np.radians(curves.tilt[number]))
            + fields.smile * np.float32(curves.smile[number])
            + fields.breath * np.float32(curves.breath[number])
            + fields.sway * np.float32(curves.sway[number]))


def _someone(nets: Nets, photo: np.ndarray, faces: list[Face], grid: Grid) -> np.ndarray | None:
    """How much of a person there is at each node, or None where the model does not see one around the faces."""
    mask = nets.person(photo)
    rows, columns = mask.shape
    seen = []
    for face in faces:
        inside = np.round(face.points[list(OVAL), :2] * 0.8 + face.centre * 0.2).astype(int)
        x = np.clip(inside[:, 0] * columns // photo.shape[1], 0, columns - 1)
        y = np.clip(inside[:, 1] * rows // photo.shape[0], 0, rows - 1)
        seen.append(float(np.median(mask[y, x])))
    if max(seen) < 0.5:
        return None
    import cv2

    return cv2.resize(mask, grid.shape[::-1], interpolation=cv2.INTER_LINEAR)


def _film_grid(film: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Every STEP-th film pixel and one more on each side, x and y."""
    columns, rows = (-(-side // STEP) + 2 for side in film)
    x, y = np.meshgrid((np.arange(columns) - 0.5) * STEP - 0.5, (np.arange(rows) - 0.5) * STEP - 0.5)
    return x, y


def _grown(values: np.ndarray, film: tuple[int, int]) -> np.ndarray:
    """From the grid to every pixel of the film."""
    import cv2

    grown = cv2.resize(values, (values.shape[1] * STEP, values.shape[0] * STEP), interpolation=cv2.INTER_LINEAR)
    return np.ascontiguousarray(grown[STEP:STEP + film[1], STEP:STEP + film[0]])
