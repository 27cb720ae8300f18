"""Faces in a photo: landmarks, eyes, and how sure we are of each. Moves nothing.

Indices are those of mediapipe's face mesh of 468 points. "Left" is the left of the picture.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from headwater.core.errors import BadInput
from headwater.core.film import Point

if TYPE_CHECKING:
    from headwater.film_engines.photo.nets import Nets

OVAL = (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149,
        150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)
EARS = (234, 454, 127, 356, 93, 323)
LEFT_EYE = ((33, 246, 161, 160, 159, 158, 157, 173, 133), (33, 7, 163, 144, 145, 153, 154, 155, 133))
RIGHT_EYE = ((263, 466, 388, 387, 386, 385, 384, 398, 362), (263, 249, 390, 373, 374, 380, 381, 382, 362))
"""Upper lid and lower lid, from the outer corner to the inner one."""
LEFT_BROW, RIGHT_BROW = (46, 53, 52, 65, 55), (276, 283, 282, 295, 285)
MOUTH = (61, 291)
NOSE, CHIN, FOREHEAD = 4, 152, 10
HANDLES = {"left_eye": (33, 133), "right_eye": (263, 362), "nose": (4,), "mouth": (13, 14), "chin": (152,)}
"""What a person may correct: the middle of these landmarks."""
_TWINS = ((33, 263), (133, 362), (61, 291), (234, 454), (159, 386), (145, 374), (4, 4), (152, 152), (10, 10))
_IRIS_UPPER, _IRIS_LOWER = (0, 9, 10, 11, 12, 13, 14, 15, 8), (0, 1, 2, 3, 4, 5, 6, 7, 8)
MOST = 12
CROP = 1.5
EYE_CROP = 2.3


@dataclass(frozen=True)
class Eye:
    """upper, lower: lids (9, 2), outer corner first; brow (5, 2), outer end first. Pixels."""

    upper: np.ndarray
    lower: np.ndarray
    brow: np.ndarray

    @property
    def width(self) -> float:
        return float(np.linalg.norm(self.upper[0] - self.upper[-1]))

    @property
    def open(self) -> float:
        """The lids' distance in the middle as a share of the eye's width: some 0.3 for an open eye, < 0.12 closed."""
        return float(np.linalg.norm(self.upper[3:6] - self.lower[3:6], axis=1).mean() / max(self.width, 1e-6))


@dataclass(frozen=True)
class Face:
    """points: (468, 3) pixels, z negative towards the camera. sure: 0 to 1, how far the landmarks can be trusted, which
    scales every motion. eyes: left, right."""

    points: np.ndarray
    eyes: tuple[Eye, Eye]
    sure: float

    @property
    def width(self) -> float:
        return float(np.linalg.norm(self.points[234, :2] - self.points[454, :2])) or 1.0

    @property
    def height(self) -> float:
        return float(np.linalg.norm(self.points[FOREHEAD, :2] - self.points[CHIN, :2])) or 1.0

    @property
    def size(self) -> float:
        """Pixels; stays the same when the head is turned aside or bowed."""
        return max(self.width, 0.8 * self.height)

    @property
    def centre(self) -> np.ndarray:
        return self.points[list(OVAL), :2].mean(axis=0)

    @property
    def down(self) -> np.ndarray:
        """Unit vector from the forehead to the chin."""
        way = self.points[CHIN, :2] - self.points[FOREHEAD, :2]
        return way / max(float(np.linalg.norm(way)), 1e-6)

    @property
    def aside(self) -> float:
        """How far it is turned already: 0 seen from the front, towards 1 in profile."""
        across = np.array([self.down[1], -self.down[0]])
        ears = (self.points[[234, 454], :2] - self.points[NOSE, :2]) @ across
        near, far = sorted(abs(ears))
        return float(1 - near / max(far, 1e-6)) if ears[0] * ears[1] < 0 else 1.0


def find_faces(nets: Nets, picture: np.ndarray, corrected: dict[str, Point] | None = None) -> list[Face]:
    """Largest first. picture: uint8 RGB, already cleaned. corrected: points a person moved, see handles()."""
    rois = [_roi_of_box(box) for box in nets.detect(picture)[:MOST * 2]]
    faces: list[Face] = []
    for roi in rois:
        face = _face_at(nets, picture, roi)
        if face and face.sure > 0 and all(_distance(face, other) > 0.5 for other in faces):
            faces.append(face)
    faces = sorted(faces, key=lambda face: -face.size)[:MOST]
    return _corrected(nets, picture, faces, corrected) if corrected else faces


def handles(faces: list[Face], shape: tuple[int, ...]) -> dict[str, Point]:
    """The points a person may correct, named "face1.left_eye", …, as shares of the picture."""
    return {f"face{number}.{name}": (float(at[0] / shape[1]), float(at[1] / shape[0]))
            for number, face in enumerate(faces, 1) for name, at in _own_handles(face).items()}


def _own_handles(face: Face) -> dict[str, np.ndarray]:
    return {name: face.points[list(which), :2].mean(axis=0) for name, which in HANDLES.items()}


def check_points(said: dict[str, Point]) -> None:
    """Raises BadInput for a name that is none, or a place outside the picture."""
    for name, (x, y) in said.items():
        face, _, part = name.partition(".")
        number = face.removeprefix("face")
        if part not in HANDLES or not number.isdecimal() or not 1 <= int(number) <= MOST or not (
                0 <= x <= 1 and 0 <= y <= 1):
            raise BadInput(f"points: {name[:60]!r} at {x:g}, {y:g} is no point of a face.",
                           hint=f"Points are face1 to face{MOST} with .{', .'.join(HANDLES)}, from 0 to 1.")


def _corrected(nets: Nets, picture: np.ndarray, faces: list[Face], said: dict[str, Point]) -> list[Face]:
    """With the landmarks of each named face moved to where a person put its handles; a face that nobody found is looked
    for there. Raises BadInput for a name that is none."""
    faces = list(faces)
    check_points(said)
    groups: dict[int, dict[str, np.ndarray]] = {}
    for name, (x, y) in said.items():
        face, _, part = name.partition(".")
        groups.setdefault(int(face.removeprefix("face")), {})[part] = np.array(
            [x * picture.shape[1], y * picture.shape[0]])
    for number, parts in sorted(groups.items()):
        if number > len(faces):
            if not {"left_eye", "right_eye", "mouth"} <= set(parts):
                raise BadInput(f"face{number} was not found, so both its eyes and its mouth must be given.")
            found = _face_at(nets, picture, _roi_of_parts(parts), trusted=True)
            faces.append(_moved(found, parts) if found else None)  # type: ignore[arg-type]
        else:
            faces[number - 1] = _moved(faces[number - 1], parts)
    return [face for face in faces if face is not None]


def _moved(face: Face, parts: dict[str, np.ndarray]) -> Face:
    """Shifted, scaled and turned so that its handles lie where they were put, as nearly as that can be. Trusted."""
    own = _own_handles(face)
    source = np.array([own[name] for name in parts])
    target = np.array(list(parts.values()))
    a, b = source - source.mean(axis=0), target - target.mean(axis=0)
    norm = float((a ** 2).sum())
    turn = complex((a * b).sum(), (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()) / norm if norm > 1e-6 else 1 + 0j
    if not 0.3 < abs(turn) < 3:
        raise BadInput("points: a face cannot be so much larger or smaller than it was found.")
    matrix = np.array([[turn.real, -turn.imag], [turn.imag, turn.real]])

    def put(points: np.ndarray) -> np.ndarray:
        return (points - source.mean(axis=0)) @ matrix.T + target.mean(axis=0)

    points = np.column_stack([put(face.points[:, :2]), face.points[:, 2] * abs(turn)])
    eyes = tuple(Eye(put(eye.upper), put(eye.lower), put(eye.brow)) for eye in face.eyes)
    return replace(face, points=points, eyes=(eyes[0], eyes[1]), sure=max(face.sure, 0.9))


# --- one face


def _roi_of_box(box: np.ndarray) -> tuple[np.ndarray, float, float]:
    """(centre, side, angle) of the crop the landmark model was trained on."""
    eyes = box[5:9].reshape(2, 2)
    angle = float(np.arctan2(*(eyes[1] - eyes[0])[::-1]))
    return box[:2] + box[2:4] / 2, float(max(box[2:4]) * CROP), angle


def _roi_of_points(points: np.ndarray) -> tuple[np.ndarray, float, float]:
    eyes = points[[33, 263], :2]
    angle = float(np.arctan2(*(eyes[1] - eyes[0])[::-1]))
    back = _turn(-angle)
    flat = points[:, :2] @ back.T
    low, high = flat.min(axis=0), flat.max(axis=0)
    return (low + high) / 2 @ back, float(max(high - low) * CROP), angle


def _roi_of_parts(parts: dict[str, np.ndarray]) -> tuple[np.ndarray, float, float]:
    across = parts["right_eye"] - parts["left_eye"]
    eyes = (parts["right_eye"] + parts["left_eye"]) / 2
    side = 4.2 * max(float(np.linalg.norm(across)), 0.9 * float(np.linalg.norm(parts["mouth"] - eyes)))
    return eyes * 0.55 + parts["mouth"] * 0.45, side, float(np.arctan2(across[1], across[0]))


def _face_at(nets: Nets, picture: np.ndarray, roi: tuple[np.ndarray, float, float], *,
             trusted: bool = False) -> Face | None:
    """Landmarks twice, the second time centred by the first, and once more mirrored: where the mirrored ones disagree,
    the model guesses."""
    points, score = _mesh(nets, picture, roi)
    if score < 0.1 and not trusted:
        return None
    points, score = _mesh(nets, picture, _roi_of_points(points))
    mirrored, _ = _mesh(nets, picture, _roi_of_points(points), mirror=True)
    one, two = zip(*_TWINS, strict=True)
    face = Face(points, (_eye_of(points, LEFT_EYE, LEFT_BROW), _eye_of(points, RIGHT_EYE, RIGHT_BROW)), 1.0)
    apart = float(np.median(np.linalg.norm(
        np.concatenate([points[list(one), :2] - mirrored[list(two), :2],
                        points[list(two), :2] - mirrored[list(one), :2]]), axis=1)) / face.size)
    sure = _ramp(score, 0.3, 0.9) * _ramp(0.12 - apart, 0.0, 0.07)
    if trusted:
        sure = max(sure, 0.6)
    eyes = tuple(_fine_eye(nets, picture, points, lids, eye) for lids, eye in
                 zip((LEFT_EYE, RIGHT_EYE), face.eyes, strict=True))
    return replace(face, eyes=(eyes[0], eyes[1]), sure=sure)


def _mesh(nets: Nets, picture: np.ndarray, roi: tuple[np.ndarray, float, float], *,
          mirror: bool = False) -> tuple[np.ndarray, float]:
    centre, side, angle = roi
    side = max(side, 8.0)
    crop, back = _crop(picture, centre, side, angle, 192, mirror)
    points, score = nets.landmarks(crop)
    flat = np.column_stack([points[:, :2] * 192, np.ones(468)]) @ back.T
    return np.column_stack([flat, points[:, 2] * side]), score


def _fine_eye(nets: Nets, picture: np.ndarray, points: np.ndarray, lids: tuple[tuple[int, ...], ...],
              rough: Eye) -> Eye:
    """The lids as the iris model sees them, which is closer; the mesh's own where the two are far apart."""
    outer, inner = points[lids[0][0], :2], points[lids[0][-1], :2]
    mirror = outer[0] > inner[0]
    across = (outer - inner) if mirror else (inner - outer)
    side = float(np.linalg.norm(across)) * EYE_CROP
    if side < 12:
        return rough
    angle = float(np.arctan2(across[1], across[0]))
    crop, back = _crop(picture, (outer + inner) / 2, side, angle, 64, mirror)
    contour, _ = nets.eye(crop)
    there = np.column_stack([contour * 64, np.ones(71)]) @ back.T
    fine = Eye(there[list(_IRIS_UPPER)], there[list(_IRIS_LOWER)], rough.brow)
    apart = np.linalg.norm(fine.upper - rough.upper, axis=1).mean() / max(rough.width, 1e-6)
    return fine if apart < 0.25 else rough


def _eye_of(points: np.ndarray, lids: tuple[tuple[int, ...], ...], brow: tuple[int, ...]) -> Eye:
    return Eye(points[list(lids[0]), :2], points[list(lids[1]), :2], points[list(brow), :2])


def _crop(picture: np.ndarray, centre: np.ndarray, side: float, angle: float, size: int,
          mirror: bool) -> tuple[np.ndarray, np.ndarray]:
    """(the turned square, size x size, and the 2x3 matrix from its pixels back to the picture's)."""
    import cv2

    flip = np.array([[-1.0, 0], [0, 1]]) if mirror else np.eye(2)
    matrix = _turn(angle) @ flip * (side / size)
    back = np.column_stack([matrix, centre - matrix @ np.array([size / 2, size / 2])])
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    source, extra = picture, 1.0
    while side / size * extra > 2:  # sampled finely first, or a large face would be read from every tenth pixel
        extra /= 2
        source = cv2.resize(source, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    return cv2.warpAffine(source, back * extra, (size, size), flags=how, borderMode=cv2.BORDER_REPLICATE), back


def _turn(angle: float) -> np.ndarray:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin], [sin, cos]])


def _distance(one: Face, other: Face) -> float:
    return float(np.linalg.norm(one.centre - other.centre) / max(one.size, other.size))


def _ramp(value: float, low: float, high: float) -> float:
    return float(np.clip((value - low) / (high - low), 0, 1))
