"""Two films side by side without their names, and what people said of such pairs.

Whose the films are is the caller's matter: every verb takes one account and looks at its films alone. A vote is kept
with what made the two films, so results stand when the films are gone. docs/design/026-remote-films.md.
"""

from __future__ import annotations

import hashlib
import random
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import combinations

from headwater.core.errors import BadInput
from headwater.core.types import Account, FilmVote, KeptFilm
from headwater.film import Film
from headwater.film.order import find
from headwater.stats.counts import share_interval

LOOKED_AT, VOTES_MAX = 300, 20_000
"""Films a pair is drawn from, and votes a table is made of: the newest so many."""
MEASURED_FROM = 10
"""Votes that prefer one of two, below which a share is not told."""
SAID = ("left", "right", "tie", "bad")


@dataclass(frozen=True)
class Pair:
    """a, b: by their ids, a first. seed: decides which is on the left."""

    a: KeptFilm
    b: KeptFilm
    seed: int

    @property
    def left(self) -> KeptFilm:
        return self.a if self._a_is_left() else self.b

    @property
    def right(self) -> KeptFilm:
        return self.b if self._a_is_left() else self.a

    def _a_is_left(self) -> bool:
        return hashlib.sha256(f"{self.seed} {self.a.id} {self.b.id}".encode()).digest()[0] < 128


@dataclass(frozen=True)
class Score:
    """Of the votes on `name` (against `other`, or against all when that is ""): how many preferred it, how many the
    other, ties, and "both bad". share and interval (exact, 95 %) are of those that preferred one; None below
    MEASURED_FROM of them."""

    name: str
    other: str
    won: int
    lost: int
    ties: int
    bad: int

    @property
    def n(self) -> int:
        return self.won + self.lost

    @property
    def share(self) -> float | None:
        return self.won / self.n if self.n >= MEASURED_FROM else None

    @property
    def interval(self) -> tuple[float, float] | None:
        return share_interval(self.won, self.n) if self.n >= MEASURED_FROM else None


def draw(film: Film, account: Account, rng: random.Random | None = None) -> Pair | None:
    """Two films of the account's with the same words and the same photo that different models made and it has not
    voted on; None when there are none."""
    draws = rng or random.Random(secrets.randbits(64))
    voted, alike = film.votes.pairs(account.id), {}
    for kept in made(film, account):
        alike.setdefault((kept.asked["prompt"].strip().casefold(), _photo(film, account, kept)), []).append(kept)
    open_pairs = [pair for films in alike.values() for pair in combinations(sorted(films, key=lambda one: one.id), 2)
                  if name_of(_made(pair[0])) != name_of(_made(pair[1])) and (pair[0].id, pair[1].id) not in voted]
    if not open_pairs:
        return None
    return Pair(*draws.choice(open_pairs), seed=draws.getrandbits(53))  # as much as a number of JSON holds


def made(film: Film, account: Account) -> list[KeptFilm]:
    """The newest films that can be looked at."""
    return [kept for kept in film.films.page(account.id, state="done", limit=LOOKED_AT)[0] if kept.video]


def chosen(film: Film, account: Account, one: str, other: str, seed: int | None = None) -> Pair:
    """Any two films of the account's. Raises NotFound, BadInput."""
    found = sorted((find(film, account, name) for name in (one, other)), key=lambda kept: kept.id)
    if found[0].id == found[1].id:
        raise BadInput("A film cannot be held beside itself.", hint="Choose two.")
    if not all(kept.video for kept in found):
        raise BadInput("Both films must be made first.", hint="Wait until they are done.")
    if seed is not None and not 0 <= seed < 2**53:
        raise BadInput("seed: a whole number from 0 to 2^53 - 1.")
    return Pair(*found, seed=secrets.randbits(53) if seed is None else seed)


def vote(film: Film, account: Account, pair: Pair, said: str) -> FilmVote:
    """said: one of SAID. Raises BadInput, and Conflict for a second vote on the pair."""
    if said not in SAID:
        raise BadInput(f"said: one of {', '.join(SAID)}.")
    better = {"left": pair.left, "right": pair.right}.get(said)
    kept = said if better is None else "a" if better.id == pair.a.id else "b"
    cast = FilmVote(account.id, pair.a.id, pair.b.id, pair.seed, kept, _made(pair.a), _made(pair.b),
                    pair.a.asked["prompt"], film.now())
    film.votes.add(cast)
    return cast


def results(votes: Iterable[FilmVote]) -> tuple[list[Score], list[Score]]:
    """(each model against all others, each two models against each other), the most voted on first. Votes on two films
    of one model say nothing of models and are left out."""
    counts: dict[tuple[str, str], list[int]] = {}
    for one in votes:
        names = name_of(one.made_a), name_of(one.made_b)
        if names[0] == names[1]:
            continue
        for mine, other, better in ((*names, "a"), (*names[::-1], "b")):
            place = {"tie": 2, "bad": 3}.get(one.said, 0 if one.said == better else 1)
            for key in ((mine, other), (mine, "")):
                counts.setdefault(key, [0, 0, 0, 0])[place] += 1
    scores = sorted((Score(*key, *row) for key, row in counts.items()),
                    key=lambda score: (-(score.n + score.ties + score.bad), score.name, score.other))
    return [one for one in scores if not one.other], [one for one in scores if one.other and one.name < one.other]


def name_of(made_by: dict[str, str]) -> str:
    """What a table calls it: the model at its revision, or the engine of one that needs no model."""
    if not made_by["model"]:
        return f"headwater/{made_by['engine']}"
    return f"{made_by['model']}@{made_by['revision'][:8]}" if made_by["revision"] else made_by["model"]


def _made(kept: KeptFilm) -> dict[str, str]:
    return {"model": kept.asked["model"], "revision": kept.asked["revision"], "engine": kept.asked["engine"],
            "build": (kept.receipt or {}).get("build", ""), "preset": kept.asked["preset"]}


def _photo(film: Film, account: Account, kept: KeptFilm) -> str | None:
    file = film.files.get(account.id, kept.photo) if kept.photo else None
    return file.digest if file else kept.photo
