"""What is known of where models come from, as it crosses from one room to another. All frozen; times as in types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from headwater.core.types import Digest, Oid, Repo


@dataclass(frozen=True)
class Kept:
    """A set of model files whose fingerprint was made, or could not be: then `problem` says why.

    files: sha256 over the paths and digests of the set, so the same set is read once. version: of the fingerprint's
    form. about: facts for people, plain JSON. at: when it was made; a new one of the same set has a later time.
    """

    id: int
    files: Digest
    version: int
    problem: str | None
    about: dict[str, Any]
    at: float


@dataclass(frozen=True)
class Place:
    """Where a fingerprinted set of files stands. head: whether main of the repo is at this revision now."""

    repo: Repo
    revision: Oid
    fingerprint_id: int
    at: float

    @property
    def head(self) -> bool:
        return self.repo.head == self.revision


@dataclass(frozen=True)
class Edge:
    """What was judged of two sets of files; a_id > b_id, and "a" and "b" of the judgement are these.

    kin: whether the tree has an edge here. version: of the judging. judgement: all of it, plain JSON.
    """

    a_id: int
    b_id: int
    kin: bool
    verdict: str
    direction: str
    agreement: float | None
    version: int
    judgement: dict[str, Any]
    at: float = 0.0


@dataclass(frozen=True)
class Whole:
    """What the whole files of two show; a_id >= b_id. The report is plain JSON; "a" in it is the one that its `first`
    names."""

    a_id: int
    b_id: int
    version: int
    report: dict[str, Any]
    at: float = 0.0


@dataclass(frozen=True)
class Mixed:
    """Of what others a model was tried to be a weighted sum. found: plain JSON, shares by the ids of fingerprints."""

    child_id: int
    version: int
    found: dict[str, Any]
    at: float = 0.0


@dataclass(frozen=True)
class Behaviour:
    """What a closed model is asked, to hold it beside a revision. url, model: whom; nothing secret is in them.
    controls: (repo id, revision) of models not related to it. found: plain JSON, None while answers are missing."""

    id: str
    repo_id: int
    revision: Oid
    url: str
    model: str
    controls: tuple[tuple[int, Oid], ...]
    prompts: int
    by: str
    found: dict[str, Any] | None = None
    at: float = 0.0


@dataclass(frozen=True)
class Dispute:
    """What somebody who may write to one of the two repos answers to what is said of both."""

    id: int
    repo_id: int
    other_id: int
    by: str
    text: str
    at: float
