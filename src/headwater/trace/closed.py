"""Hold a closed model beside one of this hub: an order, the answers as they come, what they show. Verbs, and a job.

The closed model is asked by whoever ordered it, with a key the hub never sees, and its answers are handed in; the hub
asks its own models itself, and counts. So what is shown rests on one person's word for the closed side, and says whose.
Answers are kept by who was asked: what broke off goes on, and a control is asked once for many orders.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import log
from typing import Any
from urllib.parse import urlsplit

from headwater.core.descent import Behaviour
from headwater.core.errors import BadInput, Conflict, NotFound
from headwater.core.ports import Behaviours
from headwater.core.types import Actor, Job, Oid, Repo
from headwater.core.work import Progress, Work
from headwater.trace import Trace
from headwater.trace.asking import PATHS, Way, way_of
from headwater.trace.behaviour import (
    FEWEST_PROMPTS,
    MOST_PROMPTS,
    VERSION,
    Likeness,
    beginning,
    likenesses,
    prompts,
)

AskMany = Callable[[Repo, Oid, Way, Sequence[str]], list[str]]
"""The beginnings of a model's answers, at temperature 0. Blocking; raises HeadwaterError where it cannot answer."""
CONTROLS, CONTROLS_MAX = 2, 6
TEXT_MAX, GIVEN_MAX = 400, 200
KEPT_S = 7 * 86_400.0
"""How long answers are good for: behind one name there may be another model next week."""
_BATCH = 16


@dataclass(frozen=True)
class Closed:
    """What the verbs stand on. ask: of models of this hub."""

    trace: Trace
    records: Behaviours
    ask: AskMany
    now: Callable[[], float]


def order(closed: Closed, actor: Actor, end: tuple[Repo, Oid], url: str, model: str,
          controls: Sequence[tuple[Repo, Oid]], count: int) -> Behaviour:
    """Keep what is to be asked; the same order again goes on where it was. The caller has seen that the actor may write
    to the repo of `end` and read the controls. Without controls the nearest in size that are no kin are taken.

    Raises BadInput for an address with a secret in it, a control that is kin, or too few of them.
    """
    _check(url, model, count)
    chosen = list(controls) or _unrelated(closed.trace, actor, end)
    if len({repo.id for repo, _ in chosen} - {end[0].id}) < CONTROLS or len(chosen) > CONTROLS_MAX:
        raise BadInput(f"{CONTROLS} to {CONTROLS_MAX} other models of this hub that are not related to "
                       f"{end[0].full_name} are needed to compare with.",
                       hint="Name them with --control; add models of other makers and about its size first.")
    for control in controls:
        _check_unrelated(closed.trace, end, control)
    made = Behaviour(_id(end, url, model), end[0].id, end[1], url, model,
                     tuple((repo.id, oid) for repo, oid in chosen), count, actor.name)
    known = closed.records.get(made.id)
    if known is None or (known.controls, known.prompts, known.by) != (made.controls, made.prompts, made.by) \
            or (known.found is not None and known.at < closed.now() - KEPT_S):
        closed.records.forget(closed.now() - KEPT_S)
        if not closed.records.order(made):
            raise NotFound(f"{end[0].full_name} was deleted meanwhile.")
    found = closed.records.get(made.id)
    assert found is not None
    return found


def given(closed: Closed, behaviour: Behaviour) -> int:
    """How many answers of the closed model are in."""
    return min(behaviour.prompts, len(closed.records.answers(_asked_closed(behaviour))))


def missing(closed: Closed, behaviour: Behaviour) -> dict[int, int]:
    """How many answers each of the hub's models still owes, by the id of its repo."""
    ends = ((behaviour.repo_id, behaviour.revision), *behaviour.controls)
    return {repo: max(0, behaviour.prompts - len(closed.records.answers(_asked_ours(behaviour, oid))))
            for repo, oid in ends}


def give(closed: Closed, behaviour: Behaviour, first: int, answers: Sequence[str]) -> int:
    """Answers of the closed model to the prompts from number `first` on; how many are in. Raises Conflict when others
    came in meanwhile."""
    asked = prompts(behaviour.prompts)
    if len(answers) > GIVEN_MAX or first + len(answers) > len(asked) or any(len(a) > TEXT_MAX for a in answers):
        raise BadInput(f"At most {GIVEN_MAX} answers at once, of {TEXT_MAX} letters, and {len(asked)} in all.")
    short = [beginning(prompt, answer) for prompt, answer in zip(asked[first:], answers, strict=False)]
    kept = closed.records.answer(_asked_closed(behaviour), first, short)
    if kept != first + len(answers):
        raise Conflict(f"{kept} answers are in already.", hint="Go on from there.")
    return kept


def enqueue(closed: Closed, behaviour: Behaviour) -> Job:
    """The job that asks the hub's models and counts; the one under way if there is one. Raises Conflict while answers
    are missing."""
    if (there := given(closed, behaviour)) < behaviour.prompts:
        raise Conflict(f"{there} of {behaviour.prompts} answers are in.", hint="Hand the others in first.")
    repo = closed.trace.repos.get(behaviour.repo_id)
    name = repo.full_name if repo is not None else "a model that is gone"
    return closed.trace.jobs.enqueue("behaviour", {"id": behaviour.id}, by=behaviour.by,
                                     title=f"Hold {behaviour.model} beside {name}", key=f"behaviour {behaviour.id}")


def behaviour_job(closed: Closed) -> Work:
    """The body of a "behaviour" job: payload {id}. Goes on where it broke off."""

    def work(payload: dict[str, Any], progress: Progress) -> dict[str, Any] | None:
        behaviour = closed.records.get(payload["id"])
        if behaviour is None:  # deleted since
            return None
        ends = ((behaviour.repo_id, behaviour.revision), *behaviour.controls)
        told: dict[int, list[str]] = {}
        for number, (repo_id, oid) in enumerate(ends):
            repo = closed.trace.repos.get(repo_id)
            if repo is None:
                return None
            told[repo_id] = _answers(closed, behaviour, repo, oid, lambda done, number=number, repo=repo: progress(
                number * behaviour.prompts + done, len(ends) * behaviour.prompts, unit="answers",
                stage=f"asking {repo.full_name}"))
        found = _found(closed, behaviour, told)
        return found if closed.records.found(behaviour, found) else None

    return work


def _answers(closed: Closed, behaviour: Behaviour, repo: Repo, oid: Oid, tell: Callable[[int], None]) -> list[str]:
    asked, way, key = prompts(behaviour.prompts), way_of(behaviour.url), _asked_ours(behaviour, oid)
    kept = closed.records.answers(key)[:len(asked)]
    while len(kept) < len(asked):
        tell(len(kept))
        some = asked[len(kept):len(kept) + _BATCH]
        said = [beginning(p, a) for p, a in zip(some, closed.ask(repo, oid, way, some), strict=True)]
        closed.records.answer(key, len(kept), said)
        kept += said
    return kept


def _found(closed: Closed, behaviour: Behaviour, told: dict[int, list[str]]) -> dict[str, Any]:
    """Plain JSON: what Likeness has, and how much each control agrees."""
    child = closed.records.answers(_asked_closed(behaviour))[:behaviour.prompts]
    before = [b.found["p"] for b in closed.records.beside(behaviour.url, behaviour.model)
              if b.found is not None and b.id != behaviour.id]
    name = str(behaviour.repo_id)
    controls = {str(repo): told[repo] for repo, _ in behaviour.controls}
    like = likenesses(child, {name: told[behaviour.repo_id]}, controls, before)[0]
    same = {repo: sum(x == y != "" for x, y in zip(told[repo], child, strict=True)) for repo, _ in behaviour.controls}
    return {"version": VERSION, "agree": like.agree, "asked": like.asked, "interval": list(like.interval),
            "control": like.control, "p": like.p, "adjusted": like.adjusted, "alike": like.alike,
            "tests": len(before) + 1, "controls": [[repo, agree] for repo, agree in same.items()]}


# --- what is shown


@dataclass(frozen=True)
class Beside:
    """A closed model beside a revision, as a viewer may know it. state: asking (the closed model's answers are not all
    in), counting (the hub asks its own), failed, or done. job: the last one, if any; problem: why it failed. controls:
    (name or None for one the viewer may not read, how many answers agree). weights: what is known of them: nothing."""

    id: str
    url: str
    model: str
    revision: Oid
    prompts: int
    given: int
    state: str
    problem: str | None
    job: str | None
    likeness: Likeness | None
    controls: tuple[tuple[str | None, int | None], ...]
    tests: int
    by: str
    at: float
    weights: str = "not seen"


def beside(closed: Closed, viewer: Actor, repo: Repo) -> list[Beside]:
    """All of a repo the viewer may read, newest first."""
    return [shown(closed, viewer, one) for one in closed.records.of(repo.id)]


def shown(closed: Closed, viewer: Actor, one: Behaviour) -> Beside:
    found, job = one.found, None
    if found is None:
        jobs = (j for state in ("running", "queued", "failed") for j in
                closed.trace.jobs.list(state=state, kind="behaviour", limit=1000))
        job = next((j for j in jobs if j.payload.get("id") == one.id), None)
    agree = dict(found["controls"]) if found else {}
    controls = tuple((_name(closed.trace, viewer, repo), agree.get(repo)) for repo, _ in one.controls)
    state = "done" if found else "asking" if job is None else "counting" if not job.state.final else "failed"
    like = Likeness("", found["agree"], found["asked"], tuple(found["interval"]), found["control"], found["p"],
                    found["adjusted"]) if found else None
    return Beside(one.id, one.url, one.model, one.revision, one.prompts, given(closed, one) if not found else
                  one.prompts, state, job.error if job else None, job.id if job else None, like, controls,
                  found["tests"] if found else 0, one.by, one.at)


def _name(trace: Trace, viewer: Actor, repo_id: int) -> str | None:
    repo = trace.repos.get(repo_id)
    return repo.full_name if repo is not None and trace.find(viewer, repo.full_name) is not None else None


# --- who may be a control


def _unrelated(trace: Trace, viewer: Actor, end: tuple[Repo, Oid]) -> list[tuple[Repo, Oid]]:
    """Models that were read and are no kin, nearest in size: those of other owners' names first is not asked for."""
    mine = trace.records.at(*end)
    if mine is None:
        return []
    kin = {other for edge in trace.records.edges([mine.id]) for other in (edge.a_id, edge.b_id)} | {mine.id}
    places = [p for p in trace.records.heads(viewer, limit=1000) if p.fingerprint_id not in kin]
    about = {number: kept.about.get("parameters") or 0
             for number, kept in trace.records.get({p.fingerprint_id for p in places}).items()}
    size = mine.about.get("parameters") or 1
    places = [p for p in places if about[p.fingerprint_id]]
    places.sort(key=lambda p: abs(log(about[p.fingerprint_id] / size)))
    first = {p.fingerprint_id: p for p in reversed(places)}  # of copies one
    return [(p.repo, p.revision) for p in places if first[p.fingerprint_id] is p][:3]


def _check_unrelated(trace: Trace, end: tuple[Repo, Oid], control: tuple[Repo, Oid]) -> None:
    one, other = trace.records.at(*end), trace.records.at(*control)
    if one is None or other is None:
        return
    edge = trace.records.edge(one.id, other.id) if one.id != other.id else None
    if one.id == other.id or (edge is not None and edge.kin):
        raise BadInput(f"{control[0].full_name} is kin to {end[0].full_name}: it is no control.",
                       hint="Name models of other makers.")


def _check(url: str, model: str, count: int) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or not url.endswith(tuple(PATHS.values())):
        raise BadInput(f"{url[:100]!r} is no address of completions.", hint="https://host/v1/completions")
    if parts.username or parts.password or parts.query or parts.fragment or "@" in parts.netloc:
        raise BadInput("The address has more than a place in it; nothing secret may be kept here.",
                       hint="Give the key by the environment: HEADWATER_API_KEY.")
    if not (0 < len(model) <= 200 and model.isprintable() and len(url) <= 300 and url.isprintable()):
        raise BadInput("The address has at most 300 letters, the model's name 200, all printable.")
    if not FEWEST_PROMPTS <= count <= MOST_PROMPTS:
        raise BadInput(f"{FEWEST_PROMPTS} to {MOST_PROMPTS} prompts are put.", hint="400 is a good number.")


# --- who was asked


def _id(end: tuple[Repo, Oid], url: str, model: str) -> str:
    return _digest("order", str(end[0].id), end[1], url, model)


def _asked_closed(behaviour: Behaviour) -> str:
    return _digest("closed", behaviour.by, behaviour.url, behaviour.model, str(behaviour.prompts), str(VERSION))


def _asked_ours(behaviour: Behaviour, oid: Oid) -> str:
    return _digest("ours", oid, way_of(behaviour.url), str(behaviour.prompts), str(VERSION))


def _digest(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]
