"""Clips made of shapes, seeded: enough picture for a codec and a mark, nothing to download."""

from collections.abc import Iterator

import numpy as np


def drift(count: int, size: tuple[int, int] = (96, 128), seed: int = 0) -> Iterator[np.ndarray]:
    """`count` frames uint8 (height, width, 3): soft blobs that move over a gradient."""
    draw = np.random.default_rng(seed)
    height, width = size
    y, x = (part.astype(np.float32) for part in np.ogrid[0:height, 0:width])
    blobs = [(draw.uniform(0, width), draw.uniform(0, height), draw.uniform(-2, 2), draw.uniform(-1, 1),
              draw.uniform(width / 20, width / 7), draw.uniform(-160, 160, 3)) for _ in range(24)]
    ground = np.stack(np.broadcast_arrays(x / width, y / height, 1 - x / width), 2) * draw.uniform(60, 160, 3)
    for t in range(count):
        frame = ground.copy()
        for cx, cy, vx, vy, radius, colour in blobs:
            across = np.exp(-((x - cx - vx * t) ** 2) / (2 * radius * radius))
            down = np.exp(-((y - cy - vy * t) ** 2) / (2 * radius * radius))
            frame += (down * across)[..., None] * colour
        yield np.clip(frame, 0, 255).astype(np.uint8)
