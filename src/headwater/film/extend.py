"""A film that goes on where another ended: its last frame is the first picture of what is made by the same recipe, and
both are joined, frame by frame, into one film that says which film it extends.

Any engine that films from a picture can do it; knows none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from headwater.core.errors import BadInput, Conflict, NotFound
from headwater.core.types import Account, Actor, Digest, KeptFilm, Staged
from headwater.film import Film
from headwater.film.footage import Footage, ending, frames_of
from headwater.film.order import PHOTO_MAX, SECONDS, Asked, asked_again, forget, order

SECONDS_MAX = 120.0
"""Of the whole film."""


def extend(film: Film, actor: Actor, account: Account, kept: KeptFilm, **changed: Any) -> KeptFilm:
    """Go on where one of the account's films ended; changed: fields of Asked, as prompt, seconds, seed, model. Its
    words and its camera stay unless others are said.

    Raises Conflict for a film that is not made, NotFound when its video is gone, and as order().
    """
    if kept.state != "done":
        raise Conflict(f"The film is {kept.state}; only one that is made can be extended.",
                       hint="Wait until it is done.")
    file = film.files.get(account.id, kept.video or "")
    if file is None:
        raise NotFound("The video of this film is gone, so nothing can go on from it.")
    asked, photo = asked_again(film, account, replace(kept, photo=None, asked={
        name: value for name, value in kept.asked.items() if name not in ("brushes", "last", "points", "extends")}), {})
    forget(asked, photo)
    if "prompt" in changed and changed["prompt"] != kept.asked["prompt"]:
        asked = replace(asked, camera=kept.asked.get("camera_said", {}))
    source = film.stage(film.bytes_of(file), limit=file.size + 1)
    try:
        seen = ending(Path(source.path))
    finally:
        Path(source.path).unlink(missing_ok=True)
    return _ordered(film, actor, account, replace(asked, **changed), seen, None, {"film": kept.id, "file": file.id})


def extend_footage(film: Film, actor: Actor, account: Account, source: Staged, asked: Asked) -> KeptFilm:
    """The same with a video that was sent, which is consumed. Raises CorruptFile, and as order()."""
    try:
        return _ordered(film, actor, account, asked, ending(Path(source.path)), source, {"film": "", "file": ""})
    finally:
        Path(source.path).unlink(missing_ok=True)


def join(source: Path, made: Iterator[np.ndarray], pace: int, footage: Footage) -> Iterator[np.ndarray]:
    """The frames of the earlier film, then those of the new one without its first, which is the other's last. pace:
    frames a second of what is new; it is brought to the size and pace of what was before, by its nearest frames."""
    yield from frames_of(source)
    place = 0
    for number, frame in enumerate(made):
        while place * pace // footage.fps == number:
            if place:
                yield _fitted(frame, footage)
            place += 1


def _ordered(film: Film, actor: Actor, account: Account, asked: Asked, seen: Footage, source: Staged | None,
             named: dict[str, Any]) -> KeptFilm:
    seconds = asked.seconds or SECONDS
    if seen.seconds + seconds > SECONDS_MAX:
        raise BadInput(f"The film would be {seen.seconds + seconds:.1f} s; the most is {SECONDS_MAX:.0f}.",
                       hint="Go on for fewer seconds.")
    extends = {**named, "own": source is not None, "frames": seen.frames, "fps": seen.fps, "width": seen.width,
               "height": seen.height}
    told = () if seen.pace == seen.fps else (
        f"{seen.fps} frames a second were taken for {seen.pace:.3g} of the earlier film.",)
    photo = film.stage([seen.last], limit=max(PHOTO_MAX, len(seen.last)))
    return order(film, actor, account, replace(
        asked, seconds=seconds, fps=seen.fps, size=(seen.width, seen.height), extends=extends, footage=source,
        told=asked.told + told), photo)


def _fitted(frame: np.ndarray, footage: Footage) -> np.ndarray:
    if frame.shape[:2] == (footage.height, footage.width):
        return frame
    from PIL import Image

    return np.asarray(Image.fromarray(frame).resize((footage.width, footage.height), Image.Resampling.LANCZOS))


@dataclass(frozen=True)
class Earlier:
    """What a film under way goes on from, laid beside it. film: its id here, "" for one that was sent. generates:
    whether a model made it; None: not known."""

    path: Path
    footage: Footage
    film: str
    digest: Digest
    generates: bool | None

    def told(self) -> dict[str, Any]:
        """For the recipe."""
        return {"film": self.film or None, "sha256": self.digest, "frames": self.footage.frames}

    def wanted(self, frames: int, pace: int) -> int:
        """Frames of the whole film, when the new part has so many."""
        return self.footage.frames + -(-frames * self.footage.fps // pace) - 1


def earlier(film: Film, kept: KeptFilm, account: Account, room: Path) -> Earlier | None:
    """Raises NotFound when it was deleted meanwhile."""
    said = kept.asked.get("extends")
    if not said:
        return None
    file = film.files.get(account.id, said["file"])
    if file is None:
        raise NotFound("The film this one goes on from was deleted before it was made.")
    path = room / "earlier.mp4"
    with path.open("wb") as out:
        for chunk in film.bytes_of(file):
            out.write(chunk)
    source = film.films.get(said["film"]) if said["film"] else None
    made = (source.receipt or {}).get("generates") if source else None
    footage = Footage(said["width"], said["height"], said["frames"], said["fps"], float(said["fps"]))
    return Earlier(path, footage, said["film"], file.digest, made)
