"""A sheet of films for a page: one row each, every other frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

PER_KIND = {"held out": 4, "seen": 2, "two things": 1, "from a photo": 2}


def sheet(films: np.ndarray, kinds: list[str], out: Path) -> None:
    """The first films of each kind, in the order they were asked for and none chosen by its looks."""
    rows = []
    for kind, count in PER_KIND.items():
        places = [n for n, one in enumerate(kinds) if one == kind][:count]
        rows += [np.concatenate(list(films[n][::2]), axis=1) for n in places]
    Image.fromarray(np.concatenate(rows)).save(out, optimize=True)
