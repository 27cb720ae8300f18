"""A small sign in the corner of every frame that says the film is a machine's work: "AI", or "AI 生成".

Drawn before the film is encoded, so it outlives every copy. The words are masks kept beside this file (drawn from Noto
Sans CJK, SIL Open Font License), so that no font need be there. Knows no film.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

WORDS = {"en": "AI", "zh": "AI 生成"}
SHARE, LEAST = 0.055, 20
"""Its height, of the frame's shorter side, and in pixels at least."""
INSIDE, MARGIN, GROUND = 0.28, 0.6, 0.6
"""Space around the words, and around the sign, as shares of its height; how dark the ground is."""


def drawn(frames: Iterator[np.ndarray], badge: str) -> Iterator[np.ndarray]:
    """uint8 (height, width, 3), with the sign at the lower right. A frame too small for it raises ValueError."""
    sign: np.ndarray | None = None
    for frame in frames:
        height, width = frame.shape[:2]
        if sign is None:
            sign = _sign(badge, max(LEAST, round(SHARE * min(height, width))))
        tall, wide = sign.shape
        edge = min(round(MARGIN * tall), max(0, (min(height - tall, width - wide)) // 2))
        top, left = height - edge - tall, width - edge - wide
        if top < 0 or left < 0:
            raise ValueError(f"A frame of {width}x{height} has no room for the sign.")
        shown = frame.copy()
        part = shown[top:top + tall, left:left + wide].astype(np.float32) * (1 - GROUND)
        shown[top:top + tall, left:left + wide] = part + (255 - part) * sign[..., None] + 0.5
        yield shown


def _sign(badge: str, height: int) -> np.ndarray:
    """float32 (height, width): how white each pixel is."""
    from PIL import Image

    with Image.open(Path(__file__).with_name(f"badge_{badge}.png")) as mask:
        tall = max(8, round(height * (1 - 2 * INSIDE)))
        words = mask.convert("L").resize((max(1, round(mask.width * tall / mask.height)), tall),
                                         Image.Resampling.LANCZOS)
    side = round(height * INSIDE)
    sign = np.zeros((height, words.width + 2 * side), np.float32)
    top = (height - tall) // 2
    sign[top:top + tall, side:side + words.width] = np.asarray(words, np.float32) / 255
    return sign
