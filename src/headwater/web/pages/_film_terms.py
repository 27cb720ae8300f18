"""Under which licences a film's model stands: its own and those of the models its card names, as far as they are here.

Declared, not judged: it says what the cards say, and where a card says nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

from headwater.core.errors import HeadwaterError
from headwater.core.types import Access, Actor, Kind
from headwater.hub import Hub
from headwater.hub.access import find_repo
from headwater.web import cards

DEEP, MANY = 8, 24


@dataclass(frozen=True)
class Term:
    """licence: as the card names it, None when it names none or the model is not in this hub (`here`)."""

    model: str
    licence: str | None
    here: bool


def terms(hub: Hub, actor: Actor, model: str) -> list[Term]:
    """The model first, then its declared ancestors, nearest first. Empty for what is built in."""
    found: list[Term] = []
    nearest = [model] if model else []
    for _ in range(DEEP):
        following: list[str] = []
        for name in nearest:
            if len(found) >= MANY or any(one.model == name for one in found):
                continue
            try:
                repo = find_repo(hub, actor, Kind.MODEL, name, Access.READ)
            except HeadwaterError:
                found.append(Term(name, None, False))
                continue
            found.append(Term(name, cards.licence(repo.card), True))
            declared = cards.declared(repo.card)
            following += declared.bases if declared else ()
        nearest = following
    return found
