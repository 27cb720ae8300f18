"""Under which licences a film's model stands: its own, those of the models its card names, and those its weights were
seen to come from, with what each asks.

Not judged: it says what cards and weights say, where a card says nothing, and which texts nobody here has read.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

from headwater.core.errors import HeadwaterError
from headwater.core.types import Access, Actor, Kind, Repo
from headwater.hub import Hub
from headwater.hub.access import find_repo
from headwater.trace import Trace
from headwater.trace.duties import Duties, duties_of
from headwater.trace.lineage import lineage_of
from headwater.web import cards

DEEP, MANY = 8, 24


@dataclass(frozen=True)
class Term:
    """licence: as the card names it, None when it names none or the model is not in this hub (`here`). by: how it is
    known to have a part in the film: it makes it, a card names it, or the weights show it."""

    model: str
    licence: str | None
    here: bool
    by: Literal["itself", "card", "weights"]


@dataclass(frozen=True)
class Terms:
    """The model first, then its ancestors, nearest first; empty for what is built in. read: whether its weights were
    read, so that ancestors no card names would be here."""

    models: tuple[Term, ...] = ()
    duties: Duties = field(default_factory=lambda: duties_of(None, []))
    read: bool = False


def terms(hub: Hub, trace: Trace, actor: Actor, model: str, revision: str) -> Terms:
    if not model:
        return Terms()
    found: list[Term] = []
    nearest: list[tuple[str, Literal["itself", "card", "weights"]]] = [(model, "itself")]
    read = False
    for _ in range(DEEP):
        following: list[tuple[str, Literal["itself", "card", "weights"]]] = []
        for name, by in nearest:
            if len(found) >= MANY or any(one.model == name for one in found):
                continue
            repo = _repo(hub, actor, name)
            found.append(Term(name, cards.licence(repo.card) if repo else None, repo is not None, by))
            if repo is not None:
                seen, parents = _by_weights(trace, actor, repo, revision if by == "itself" else repo.head)
                read = read or (by == "itself" and seen)
                following += [(one, "card") for one in _by_card(repo)] + [(one, "weights") for one in parents]
        nearest = following
    own = found[0].licence
    return Terms(tuple(found), duties_of(own, [(one.model, one.licence) for one in found]), read)


def _repo(hub: Hub, actor: Actor, name: str) -> Repo | None:
    try:
        return find_repo(hub, actor, Kind.MODEL, name, Access.READ)
    except HeadwaterError:
        return None


def _by_card(repo: Repo) -> Iterator[str]:
    declared = cards.declared(repo.card)
    yield from declared.bases if declared else ()


def _by_weights(trace: Trace, actor: Actor, repo: Repo, revision: str | None) -> tuple[bool, list[str]]:
    """(whether the weights were read, the parents that were found in them)."""
    if revision is None or trace.records.at(repo, revision) is None:
        return False, []
    family = lineage_of(trace, actor, repo, revision)
    return family.status.state == "read", [one.repo for one in family.parents]
