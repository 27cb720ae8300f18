"""What was said of the people in a photo that a film is made of: kept with the film and in the audit log.

The person who sends a photo answers for it. Knows no faces, and judges nothing.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from headwater.core.errors import BadInput

if TYPE_CHECKING:
    from headwater.core.types import Account, Actor, KeptFilm
    from headwater.film import Film
    from headwater.film.order import Asked

ANSWERS = {"none": "no people can be recognised", "agreed": "people can be recognised and agreed"}
HINT = "Say none (nobody can be recognised) or agreed (people can be recognised, and they agreed)."
NOT_ASKED = "consent not asked"
PROGRAM_MAX = 200


@dataclass(frozen=True)
class Sender:
    """Where an order came from, for the log. face: page, openai or kling. address: of the other end of the connection;
    program: its User-Agent."""

    face: str
    address: str = ""
    program: str = ""


def sent(face: str, address: str | None, program: str) -> Sender:
    return Sender(face, address or "", "".join(c for c in program[:PROGRAM_MAX] if c.isprintable()))


def people_in(asked: Asked, has_picture: bool) -> str | None:
    """One of ANSWERS, "" where nobody said, None where there is nothing to say it of: no picture from outside."""
    if asked.footage is not None or (has_picture and asked.extends is None):
        return asked.people or ""
    return asked.people if asked.extends is not None else None  # its first picture is the end of an earlier film


def check_people(film: Film, asked: Asked, has_picture: bool) -> None:
    """Raises BadInput for a word that is no answer, and for none where this hub wants one."""
    if asked.people and asked.people not in ANSWERS:
        raise BadInput(f"people: {asked.people[:50]!r} is none of {', '.join(ANSWERS)}.", hint=HINT)
    if film.settings.film_people_said and people_in(asked, has_picture) == "":
        raise BadInput("people: this hub sets no photo in motion unless the order says who is in it.", hint=HINT)


def note_people(film: Film, actor: Actor, account: Account, kept: KeptFilm, sender: Sender | None) -> None:
    """Into the audit log, what was said, or that nothing was. `after`: the film whose answer this one has."""
    people, extends = kept.asked.get("people"), kept.asked.get("extends") or {}
    if people is None:
        return
    after = kept.remixed_from or extends.get("film")
    film.note("film.consent", f"film/{kept.id}", actor, {
        "said": ANSWERS.get(people, NOT_ASKED), "photo": kept.photo, "account": account.name,
        **({name: value for name, value in asdict(sender).items() if value} if sender else {}),
        **({"after": after} if after else {})})
