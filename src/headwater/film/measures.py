"""What can be said of a film without a model: how much moves, how smoothly, whether it freezes, cuts or flickers, and
whether it begins with the photo. Knows no engine; reads frames once, at most SIDE pixels wide, and holds three.

None of it is a judgement of beauty. A frozen film is perfectly smooth, so smoothness is never given without motion.
Flicker is VBench's (mean absolute difference of neighbours); flow is Farneback's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from headwater.core.errors import BadInput

SIDE = 256
STILL = 0.12
"""Grey levels, of 255, two frames may differ by and still be the same picture, after compression."""
FREEZE_S = 0.5
CUT = 18.0
"""Grey levels that remain after motion is taken out, from which two frames show different scenes."""
FLOW = (None, 0.5, 3, 15, 3, 5, 1.2, 0)


@dataclass(frozen=True)
class Measures:
    """frames: counted. flicker: mean absolute difference of neighbouring frames, grey levels of 255. warp_error: what
    remains of it when the motion is taken out. motion: what the fastest twentieth of the picture covers, percent of the
    picture's width a second. jerk: how much the motion changes from frame to frame, in the same unit. smoothness: 1
    when it does not change, towards 0 when it changes as much as there is motion; None when nothing moves.
    first_psnr (dB) and first_ssim: the first frame beside the photo, None without one. freezes: (first, last frame) of
    stretches without any change. cuts: numbers of the frames that begin another scene. black: share of black frames.
    """

    frames: int
    flicker: float
    warp_error: float
    motion: float
    jerk: float
    smoothness: float | None
    first_psnr: float | None
    first_ssim: float | None
    freezes: tuple[tuple[int, int], ...]
    cuts: tuple[int, ...]
    black: float

    @property
    def pair(self) -> tuple[float | None, float]:
        """(smoothness, motion): the two that say something only together."""
        return self.smoothness, self.motion

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def measure(frames: Iterable[np.ndarray], fps: float, photo: np.ndarray | None = None) -> Measures:
    """frames: uint8 (height, width, 3) RGB, one or more. photo: the picture it was made from, any size.

    Raises BadInput for no frame.
    """
    import cv2

    flicker, warped, motion, jerk, cuts = [], [], [], [], []
    still: list[bool] = []
    black = count = 0
    first = before = flow_before = None
    for frame in frames:
        now = _small(frame)
        black += float(now.mean()) < 4
        if before is None:
            first = now
        else:
            difference = float(np.abs(now - before).mean())
            flow = cv2.calcOpticalFlowFarneback(before.astype(np.uint8), now.astype(np.uint8), *FLOW) \
                if difference else np.zeros((*now.shape, 2), np.float32)
            rest = _rest(before, now, flow)
            flicker.append(difference)
            still.append(difference < STILL)
            if rest > CUT:
                cuts.append(count)
                flow_before = None
            else:
                warped.append(rest)
                speed = 100 * fps / now.shape[1]
                motion.append(speed * float(np.percentile(np.linalg.norm(flow, axis=2), 95)))
                if flow_before is not None:
                    jerk.append(speed * float(np.percentile(np.linalg.norm(flow - flow_before, axis=2), 95)))
                flow_before = flow
        before = now
        count += 1
    if first is None:
        raise BadInput("There is no frame to measure.")
    moved, changed = _mean(motion), _mean(jerk)
    psnr, ssim = _beside(first, photo) if photo is not None else (None, None)
    return Measures(count, _mean(flicker), _mean(warped), moved, changed,
                    moved / (moved + changed) if moved > 0.05 else None, psnr, ssim, _stretches(still, fps),
                    tuple(cuts), black / count)


def _small(frame: np.ndarray) -> np.ndarray:
    import cv2

    grey = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY)
    scale = SIDE / grey.shape[1]
    if scale < 1:
        grey = cv2.resize(grey, (SIDE, max(16, round(grey.shape[0] * scale))), interpolation=cv2.INTER_AREA)
    return grey.astype(np.float32)


def _rest(before: np.ndarray, now: np.ndarray, flow: np.ndarray) -> float:
    """Mean absolute difference after the frame before was moved along; without the rim, where it came from outside."""
    import cv2

    y, x = (part.astype(np.float32) for part in np.mgrid[0:now.shape[0], 0:now.shape[1]])
    back = cv2.remap(now, x + flow[..., 0], y + flow[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    rim = max(2, now.shape[1] // 40)
    return float(np.abs(back - before)[rim:-rim, rim:-rim].mean())


def _beside(first: np.ndarray, photo: np.ndarray) -> tuple[float, float]:
    """(PSNR, SSIM) of grey pictures, the photo cut in its middle to the film's shape. SSIM as Wang et al. 2004, with
    Gaussian windows of 1.5 pixels that lie within the picture."""
    import cv2

    height, width = photo.shape[:2]
    scale = min(width / first.shape[1], height / first.shape[0])
    wide, high = round(first.shape[1] * scale), round(first.shape[0] * scale)
    x, y = (width - wide) // 2, (height - high) // 2
    grey = cv2.cvtColor(np.ascontiguousarray(photo[y:y + high, x:x + wide]), cv2.COLOR_RGB2GRAY)
    other = cv2.resize(grey, first.shape[::-1], interpolation=cv2.INTER_AREA).astype(np.float32)
    error = float(((first - other) ** 2).mean())

    def blur(values: np.ndarray) -> np.ndarray:
        return cv2.GaussianBlur(values, (11, 11), 1.5)

    a, b = blur(first), blur(other)
    variance_a, variance_b = blur(first * first) - a * a, blur(other * other) - b * b
    both = blur(first * other) - a * b
    one, two = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    ssim = (2 * a * b + one) * (2 * both + two) / ((a * a + b * b + one) * (variance_a + variance_b + two))
    return float(10 * np.log10(255 ** 2 / max(error, 1e-3))), float(ssim[5:-5, 5:-5].mean())


def _stretches(still: list[bool], fps: float) -> tuple[tuple[int, int], ...]:
    out, start = [], None
    for number, same in enumerate([*still, False]):
        if same and start is None:
            start = number
        elif not same and start is not None:
            if number - start >= FREEZE_S * fps:
                out.append((start, number))
            start = None
    return tuple(out)


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else 0.0
