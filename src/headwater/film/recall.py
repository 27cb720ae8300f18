"""Which of this hub's films is this file, or a copy of one? Its credential tells; where that is lost, its mark may."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from headwater.core.errors import CorruptFile
from headwater.core.types import KeptFilm
from headwater.film import Film, mark
from headwater.film.credit import Credential, authority, check


@dataclass(frozen=True)
class Recalled:
    """credential: as the file has it. film: the record that it names, or that its mark is nearest to; None if neither.
    distance: of the marks, 0 to 1, None where the credential alone told. mirrored: left and right are exchanged."""

    credential: Credential
    film: KeptFilm | None
    distance: float | None = None
    mirrored: bool = False


def recall(film: Film, file: Path, account_id: int | None) -> Recalled:
    """account_id: whose films are looked through, None for everybody's. Raises CorruptFile for what is no video."""
    try:
        credential = check(file, [authority(film.authority).trusted])
    except CorruptFile:  # another container: it may still be a video, and then its mark is read
        credential = Credential("none")
    if credential.state == "trusted" and credential.recipe:
        kept = film.films.get(str(credential.recipe.get("film")))
        if kept is not None and account_id in (None, kept.account_id):
            return Recalled(credential, kept)
    for name, distance, mirrored in mark.find(file, dict(film.films.marks())):
        kept = film.films.get(name)
        if kept is not None and account_id in (None, kept.account_id):
            return Recalled(credential, kept, distance, mirrored)
    return Recalled(credential, None)
