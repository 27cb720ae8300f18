"""What brook is asked for when it is measured: words, the scene they mean, a seed, and for some a first frame.

Drawn once from a seed of its own. Held out: colour and shape were never together while the denoiser learned.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from brook import world

SEED = 3
COUNTS = {"held out": 40, "seen": 30, "two things": 20, "from a photo": 20}


@dataclass(frozen=True)
class Case:
    """film: the true one, drawn by the words; its first frame is the photo where a film begins with one."""

    kind: str
    scene: world.Scene
    prompt: str
    seed: int
    film: np.ndarray


def cases(counts: dict[str, int] = COUNTS) -> Iterator[Case]:
    for number, (kind, count) in enumerate(counts.items()):
        rng = np.random.default_rng([SEED, number])
        for n in range(count):
            held_out = {"held out": True, "from a photo": True}.get(kind, False)
            of = world.scene(rng, held_out, kind == "two things")
            yield Case(kind, of, world.words(of), SEED * 100_000 + number * 1_000 + n, world.film(of, rng))
