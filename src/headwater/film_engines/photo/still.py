"""Painted masks, and the photo as the face models are shown it: without grain, with its full contrast."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from headwater.core.errors import BadInput
from headwater.core.film import PIXELS_MAX

CLEAN_SIDE = 900
NOISE_MIN = 3.0
"""Standard deviation of grain, of 255, from which a photo is cleaned before faces are looked for."""


def open_mask(path: Path, size: tuple[int, int]) -> np.ndarray:
    """float32 (height, width), 1 where painted. size: (width, height) of the photo. Raises BadInput."""
    import cv2
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            if image.width * image.height > PIXELS_MAX:
                raise BadInput("The brush's mask is too large.", hint="Paint it at the photo's size.")
            # A painted layer says by its alpha where it was painted, a black and white one by its light.
            grey = image.getchannel("A") if image.mode in ("RGBA", "LA") and image.getextrema()[-1][0] < 255 \
                else image.convert("L")
            mask = np.asarray(grey, np.float32) / 255
    except UnidentifiedImageError:  # whose words name the file it lies in
        raise BadInput("A brush's mask cannot be read: it is no picture.", hint="Save it as PNG.") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BadInput(f"A brush's mask cannot be read: {error}.", hint="Save it as PNG.") from None
    return cv2.resize(mask, size, interpolation=cv2.INTER_AREA if mask.shape[1] > size[0] else cv2.INTER_LINEAR)


def cleaned(photo: np.ndarray) -> np.ndarray:
    """What the face models are shown: the photo without grain and with its full contrast, of the same size. Old prints
    are flat and grainy, and the detector fails on them as they are."""
    import cv2

    seen = photo
    grain = noise(photo)
    if grain > NOISE_MIN:
        scale = min(1.0, CLEAN_SIDE / max(photo.shape[:2]))
        small = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        strength = min(14.0, 0.9 * noise(small) + 1)
        small = cv2.fastNlMeansDenoisingColored(small, None, strength, strength, 5, 15)
        seen = cv2.resize(small, photo.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    low, high = np.percentile(seen[::4, ::4].mean(axis=2), [0.5, 99.5])
    if high - low < 8:
        return seen
    if high - low > 200:
        return seen
    return np.clip((seen.astype(np.float32) - low) * (245 / (high - low)) + 5, 0, 255).astype(np.uint8)


def noise(photo: np.ndarray) -> float:
    """Standard deviation of the grain, of 255: the middle of small blocks' residues, so edges do not count."""
    import cv2

    grey = cv2.cvtColor(photo, cv2.COLOR_RGB2GRAY).astype(np.float32)
    rest = cv2.filter2D(grey, -1, np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32) / 6)
    height, width = (side // 16 * 16 for side in rest.shape)
    blocks = rest[:height, :width].reshape(height // 16, 16, width // 16, 16)
    return float(np.percentile(blocks.std(axis=(1, 3)), 30))
