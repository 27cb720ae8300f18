"""Where the camera looks, frame by frame: a matrix from film pixels to photo pixels that never leaves the photo.

Six axes, as Kling names them: horizontal and vertical move the camera (near things move more), pan and tilt turn it,
roll turns the picture, zoom comes closer. Without one it comes slowly closer to what matters in the photo.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MARGIN = 0.12
"""Share of the picture kept in hand on each side for the camera to move into, at strength 10."""
PUSH = 0.075
"""How much closer the camera comes when no move was asked for."""
NEARER = 0.22
"""How much farther near things move than far ones, of the camera's way."""


def seen_share(asked: dict[str, float]) -> float:
    """How much of the photo's width the film shows where it shows least."""
    return 1 - 2 * MARGIN * max((min(10.0, abs(value)) for value in asked.values()), default=0.0) / 10


@dataclass(frozen=True)
class View:
    """matrix: 3x3, film pixel to photo pixel. shift: photo pixels by which nearness 1 is moved beyond that; closer:
    share by which nearness 1 grows beyond that, about `middle`."""

    matrix: np.ndarray
    shift: tuple[float, float]
    closer: float
    middle: tuple[float, float]


class Camera:
    """film, photo: (width, height). focus: photo pixels, what is kept in sight. asked: FilmRequest.camera."""

    def __init__(self, film: tuple[int, int], photo: tuple[int, int], focus: tuple[float, float],
                 asked: dict[str, float], still: bool = False):
        self._film, self._photo, self._focus = film, photo, np.array(focus)
        self._axis, strength = next(((axis, value) for axis, value in asked.items() if value), ("", 0.0))
        self._way = MARGIN * float(np.clip(strength, -10, 10)) / 10
        self._push = 0.0 if still else PUSH
        self.fill = min(photo[0] / film[0], photo[1] / film[1])

    def at(self, t: float) -> View:
        """t from 0 to 1 through the film."""
        eased = t * t * (3 - 2 * t)
        if not self._axis:
            return self._pushed(eased)
        move = self._way * (2 * eased - 1)
        scale = self.fill * (1 - 2 * abs(self._way))
        turn, lean, nod, shift, closer = 0.0, 0.0, 0.0, (0.0, 0.0), 0.0
        aim = np.array(self._centre(scale))
        if self._axis == "zoom":
            scale = self.fill * (1 - abs(self._way) - move)
            aim, closer = np.array(self._centre(scale)), 0.5 * (move + abs(self._way)) * NEARER
        elif self._axis == "roll":
            turn = move * 1.6
            wide, high = self._film
            long = max(wide, high) / min(wide, high)
            most = abs(self._way) * 1.6
            scale = self.fill / (np.cos(most) + long * np.sin(most))
            aim = np.array(self._centre(scale * (np.cos(most) + long * np.sin(most))))
        elif self._axis in ("horizontal", "pan"):
            room = (self._photo[0] - self._film[0] * scale) / 2
            aim[0] = self._photo[0] / 2 + room * move / max(abs(self._way), 1e-9)
            lean = 0.5 * move / self._film[0] if self._axis == "pan" else 0.0
            shift = (-move * self._film[0] * scale * NEARER, 0.0) if self._axis == "horizontal" else shift
        else:
            room = (self._photo[1] - self._film[1] * scale) / 2
            aim[1] = self._photo[1] / 2 - room * move / max(abs(self._way), 1e-9)
            nod = -0.5 * move / self._film[1] if self._axis == "tilt" else 0.0
            shift = (0.0, move * self._film[1] * scale * NEARER) if self._axis == "vertical" else shift
        return View(self._matrix(scale, turn, aim, lean, nod), shift, closer, (float(aim[0]), float(aim[1])))

    def _pushed(self, eased: float) -> View:
        scale = self.fill * (1 - self._push * eased)
        aim = self._centre(scale)
        return View(self._matrix(scale, 0.0, np.array(aim), 0.0, 0.0), (0.0, 0.0), 0.3 * self._push * eased,
                    (float(self._focus[0]), float(self._focus[1])))

    def _centre(self, scale: float) -> tuple[float, float]:
        """As near to the focus as the window of this scale can be without leaving the photo; without a jump as the
        window shrinks."""
        out = []
        for side in (0, 1):
            middle = self._photo[side] / 2
            slack = max(0.0, (self._photo[side] - self._film[side] * scale) / 2)
            out.append(middle + float(np.clip((self._focus[side] - middle) / middle, -1, 1)) * slack)
        return out[0], out[1]

    def _matrix(self, scale: float, turn: float, aim: np.ndarray, lean: float, nod: float) -> np.ndarray:
        cos, sin = scale * np.cos(turn), scale * np.sin(turn)
        half = ((self._film[0] - 1) / 2, (self._film[1] - 1) / 2)
        # Perspective bends around the middle; the window's corners reach out by what it takes back here.
        give = 1 - 0.5 * (abs(lean) * self._film[0] + abs(nod) * self._film[1])
        to = np.array([[cos * give, -sin * give, 0], [sin * give, cos * give, 0], [lean, nod, 1.0]])
        to = np.array([[1, 0, aim[0] - 0.5], [0, 1, aim[1] - 0.5], [0, 0, 1.0]]) @ to
        return to @ np.array([[1, 0, -half[0]], [0, 1, -half[1]], [0, 0, 1.0]])
