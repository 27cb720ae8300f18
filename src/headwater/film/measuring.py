"""Measures of a film that was made (measures.py), taken once, when somebody first looks at it, and kept in its receipt.

A job of its own takes them from the kept file, so that neither the making nor the page waits for it. At most FRAMES_MAX
frames are read.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from headwater.core.errors import HeadwaterError, NotFound
from headwater.core.film import PIXELS_MAX
from headwater.core.types import Account, Job, KeptFile, KeptFilm
from headwater.core.work import Progress, Work
from headwater.film import Film
from headwater.film.encode import decode
from headwater.film.measures import measure

KIND = "film measures"
FRAMES_MAX = 1_200
PHOTO_SIDE = 1_024


def taken(kept: KeptFilm) -> dict[str, Any] | None:
    """Measures.as_dict(), or {"problem": why there are none}; None while nobody has tried."""
    return (kept.receipt or {}).get("measures")


def take(film: Film, account: Account, kept: KeptFilm) -> Job | None:
    """Has them taken, if they are not yet: the job that does, None when there is nothing to do or nothing to do it
    with."""
    if kept.state != "done" or kept.video is None or taken(kept) is not None or find_spec("cv2") is None:
        return None
    return film.jobs.enqueue(KIND, {"film_id": kept.id}, title=f"Measures: {kept.asked['prompt'][:60] or kept.id}",
                             by=account.name, key=f"measures {kept.id}")


def measuring_job(film: Film) -> Work:
    """payload {film_id}."""

    def work(payload: dict[str, Any], progress: Progress) -> dict[str, Any] | None:
        kept = film.films.get(payload["film_id"])
        if kept is None or kept.receipt is None or taken(kept) is not None:
            return None
        try:
            said = _measured(film, kept)
        except (HeadwaterError, OSError, ValueError) as error:  # kept, so that not every look tries again
            said = {"problem": str(error)}
        film.films.update(kept.id, receipt={**kept.receipt, "measures": said})
        return said

    return work


@contextmanager
def on_disk(film: Film, file: KeptFile) -> Iterator[Path]:
    """The bytes of a kept file as a file, for libraries that read nothing else."""
    if path := film.blobs.path(file.digest):
        yield Path(path)
        return
    with tempfile.NamedTemporaryFile(dir=film.tmp, suffix=".mp4") as copy:  # kept in an object store
        for chunk in film.bytes_of(file):
            copy.write(chunk)
        copy.flush()
        yield Path(copy.name)


def _measured(film: Film, kept: KeptFilm) -> dict[str, Any]:
    video = film.files.get(kept.account_id, kept.video or "")
    if video is None:
        raise NotFound("The film's file is gone.")
    with on_disk(film, video) as path:
        fps = (kept.receipt or {}).get("fps") or kept.asked["fps"]  # another server's may have a pace of its own
        found = measure(islice(decode(path), FRAMES_MAX), float(fps), _photo(film, kept))
    return found.as_dict()


def _photo(film: Film, kept: KeptFilm) -> np.ndarray | None:
    """The first frame's model, uint8 RGB; None where there is none, or the camera begins with a part of it."""
    file = film.files.get(kept.account_id, kept.photo) if kept.photo else None
    if file is None or any(kept.asked["camera"].values()):
        return None
    from PIL import Image, ImageOps

    with on_disk(film, file) as path, Image.open(path) as image:
        if image.width * image.height > PIXELS_MAX:
            return None
        upright = ImageOps.exif_transpose(image)
        upright.thumbnail((PHOTO_SIDE, PHOTO_SIDE))
        return np.array(upright.convert("RGB"))
