"""A photo as it comes in: opened within bounds, upright, in eight bits, at the size the film needs.

Knows files and pixels; finds nothing in them.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from headwater.core.errors import BadInput
from headwater.core.film import PIXELS_MAX

if TYPE_CHECKING:
    from PIL.Image import Image as Still

ROOM = 1.12
"""Photo pixels kept for each film pixel. More would shimmer as it moves, fewer would blur."""


def open_still(path: Path, film: tuple[int, int], seen: float = 1.0) -> np.ndarray:
    """uint8 RGB, upright by EXIF, no larger than a film of (width, height) can use that shows the share `seen` of its
    width at a time. Transparent parts become white.

    Raises BadInput when it cannot be read or has more than PIXELS_MAX pixels (before its pixels are read).
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            if image.width * image.height > PIXELS_MAX:
                raise BadInput(f"The photo has {image.width * image.height / 1e6:.0f} megapixels; "
                               f"the most is {PIXELS_MAX / 1e6:.0f}.", hint="Make it smaller first.")
            if min(image.size) < 16:
                raise BadInput(f"The photo is {image.width}x{image.height} pixels; a film needs 16 a side at least.")
            upright = ImageOps.exif_transpose(image)
            scale = min(1.0, ROOM / seen * max(film[0] / upright.width, film[1] / upright.height))
            if upright.mode in ("RGBA", "LA", "PA") or "transparency" in upright.info:
                clear = upright.convert("RGBA")
                upright = Image.new("RGB", clear.size, "white")
                upright.paste(clear, mask=clear.getchannel("A"))
            upright = _eight_bits(upright).convert("RGB")
            size = (max(16, round(upright.width * scale)), max(16, round(upright.height * scale)))
            if size != upright.size:
                upright = upright.resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
            return np.array(upright)
    except UnidentifiedImageError:  # whose words name the file it lies in
        raise BadInput("The photo cannot be read: it is no picture.", hint="Save it as JPEG, PNG or WebP.") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BadInput(f"The photo cannot be read: {error}.", hint="Save it as JPEG, PNG or WebP.") from None


def _eight_bits(image: Still) -> Still:
    """16-bit and float greys brought to 8 bits by their own range: Pillow would cut them off at 255."""
    from PIL import Image

    if image.mode not in ("I", "I;16", "I;16B", "F"):
        return image
    values = np.nan_to_num(np.asarray(image, np.float64))
    low, high = float(values.min()), float(values.max())
    return Image.fromarray(np.uint8(255 * (values - low) / max(high - low, 1e-9)))
