"""The small face and person models of the mediapipe wheel, run by LiteRT on one thread.

Shapes are those of the .tflite files of mediapipe 0.10.21 (Apache-2.0). Knows pictures as arrays; decides nothing about
what moves. Sources: the models' cards, and the graphs (.pbtxt) of mediapipe that name scales and anchors.
"""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from headwater.core.errors import BadInput, CorruptFile

FILES = ("face_detection_short_range.tflite", "face_detection_full_range_sparse.tflite", "face_landmark.tflite",
         "iris_landmark.tflite", "selfie_segmentation.tflite")
SCORE_MIN = 0.5
OVERLAP_MAX = 0.3
FILE_MAX = 20_000_000


def lacking(files: tuple[str, ...]) -> list[str]:
    """Which of FILES a repo with these files has not."""
    there = {PurePosixPath(file).name for file in files}
    return [name for name in FILES if name not in there]


class Nets:
    """Reads the models in `folder`. Raises BadInput when one is missing, CorruptFile when one is none of these."""

    def __init__(self, folder: Path):
        from ai_edge_litert.interpreter import Interpreter

        found = {path.name: path for path in sorted(folder.rglob("*.tflite"))}
        if missing := [name for name in FILES if name not in found]:
            raise BadInput(f"The face models lack {', '.join(missing)}.")
        self._nets: dict[str, Any] = {}
        for name in FILES:
            data = found[name].read_bytes()
            if len(data) > FILE_MAX or data[4:8] != b"TFL3":
                raise CorruptFile(f"{name} is no TensorFlow Lite model of this kind.")
            try:
                net = Interpreter(model_content=data, num_threads=1)
                net.allocate_tensors()
            except (ValueError, RuntimeError) as error:
                raise CorruptFile(f"{name} cannot be loaded: {error}") from None
            self._nets[name] = net

    def detect(self, picture: np.ndarray) -> np.ndarray:
        """Faces of an RGB picture, best first, shape (n, 9): x, y, width, height, score, and both eyes (x, y as seen,
        left one first), all in pixels."""
        found = [self._boxes(picture, FILES[0], 128, (8, 16, 16, 16)), self._boxes(picture, FILES[1], 192, (4,))]
        for x0, y0, part in _tiles(picture):  # small faces of a group fall below what the whole picture shows
            boxes = self._boxes(part, FILES[1], 192, (4,))
            boxes[:, [0, 5, 7]] += x0
            boxes[:, [1, 6, 8]] += y0
            found.append(boxes)
        return _apart(np.concatenate(found))

    def landmarks(self, crop: np.ndarray) -> tuple[np.ndarray, float]:
        """Of a face filling a square RGB crop: (468, 3) in shares of its side (z towards the camera is negative), and
        how sure the model is that there is a face, 0 to 1."""
        out = self._run(FILES[2], _sized(crop, 192) / 255)
        points = next(part for part in out if part.size == 1404).reshape(468, 3) / 192
        flag = next(part for part in out if part.size == 1)
        return points, float(_sigmoid(flag.ravel()[0]))

    def eye(self, crop: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Of an eye in a square RGB crop (its outer corner at the left): contour and brow (71, 2) and iris (5, 2), in
        shares of the side."""
        out = self._run(FILES[3], _sized(crop, 64) / 255)
        contour = next(part for part in out if part.size == 213).reshape(71, 3)
        iris = next(part for part in out if part.size == 15).reshape(5, 3)
        return contour[:, :2] / 64, iris[:, :2] / 64

    def person(self, picture: np.ndarray) -> np.ndarray:
        """How much each pixel belongs to a person, float32 (256, 256), 0 to 1, the picture stretched to a square."""
        out = self._run(FILES[4], _sized(picture, 256) / 255)
        return np.clip(out[0].reshape(256, 256), 0, 1)

    def _run(self, name: str, data: np.ndarray) -> list[np.ndarray]:
        net = self._nets[name]
        try:
            net.set_tensor(net.get_input_details()[0]["index"], data.astype(np.float32)[None])
            net.invoke()
            return [np.array(net.get_tensor(one["index"])) for one in net.get_output_details()]
        except (ValueError, RuntimeError) as error:
            raise CorruptFile(f"{name} does not run: {error}") from None

    def _boxes(self, picture: np.ndarray, name: str, side: int, strides: tuple[int, ...]) -> np.ndarray:
        square, scale = _letterboxed(picture, side)
        out = self._run(name, square / 127.5 - 1)
        where = next(part for part in out if part.shape[-1] == 16)[0]
        scores = _sigmoid(next(part for part in out if part.shape[-1] == 1)[0, :, 0])
        centres = _anchors(side, strides)
        if len(centres) != len(where):
            raise CorruptFile(f"{name} is no face detector of this kind.")
        keep = scores > SCORE_MIN
        where, centres, scores = where[keep], centres[keep] * side, scores[keep]
        middle, size = where[:, :2] + centres, where[:, 2:4]
        eyes = where[:, 4:8] + np.tile(centres, 2)
        return np.column_stack([(middle - size / 2) / scale, size / scale, scores, eyes / scale]).reshape(-1, 9)


def _anchors(side: int, strides: tuple[int, ...]) -> np.ndarray:
    """Centres of the places the detector answers for, shares of the side. Two a cell for each stride, one where there
    is a single stride; equal strides share a grid."""
    rows = []
    for stride in sorted(set(strides)):
        count = 1 if len(strides) == 1 else 2 * strides.count(stride)
        cells = side // stride
        y, x = np.mgrid[0:cells, 0:cells]
        centre = (np.stack([x, y], 2).reshape(-1, 2) + 0.5) / cells
        rows.append(np.repeat(centre, count, axis=0))
    return np.concatenate(rows)


def _tiles(picture: np.ndarray) -> list[tuple[int, int, np.ndarray]]:
    height, width = picture.shape[:2]
    if max(height, width) < 400:
        return []
    side = round(min(height, width) * 0.62)
    return [(x, y, picture[y:y + side, x:x + side])
            for y in np.linspace(0, height - side, 2 + (height > 1.3 * width)).astype(int).tolist()
            for x in np.linspace(0, width - side, 2 + (width > 1.3 * height)).astype(int).tolist()]


def _apart(boxes: np.ndarray) -> np.ndarray:
    """The best of boxes that overlap."""
    kept: list[np.ndarray] = []
    for box in boxes[np.argsort(-boxes[:, 4], kind="stable")]:
        if box[2] > 0 and box[3] > 0 and all(_overlap(box, other) < OVERLAP_MAX for other in kept):
            kept.append(box)
    return np.array(kept).reshape(-1, 9)


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Shared area as a share of the smaller one."""
    low = np.maximum(a[:2], b[:2])
    high = np.minimum(a[:2] + a[2:4], b[:2] + b[2:4])
    return float(np.prod(np.maximum(0, high - low)) / min(a[2] * a[3], b[2] * b[3]))


def _letterboxed(picture: np.ndarray, side: int) -> tuple[np.ndarray, float]:
    import cv2

    scale = side / max(picture.shape[:2])
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    square = np.zeros((side, side, 3), np.float32)
    square[:size[1], :size[0]] = small
    return square, scale


def _sized(picture: np.ndarray, side: int) -> np.ndarray:
    import cv2

    less = picture.shape[0] > side
    return cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA if less else cv2.INTER_LINEAR).astype(
        np.float32)


def _sigmoid(value: Any) -> Any:
    return 1 / (1 + np.exp(-np.clip(value, -60, 60)))
