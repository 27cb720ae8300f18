"""Where a model of the hub comes from and what comes from it, as a viewer may know it. Verbs for API, pages, terminal.

Everything about another repo goes through Lineage.places with the viewer in hand: of what somebody may not read, not
even a count is told. Reads records; starts no work but what `read_again` asks for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from headwater.core.descent import Dispute, Edge, Kept, Place
from headwater.core.errors import BadInput, NotFound, RepoNotFound
from headwater.core.types import Actor, Job, JobState, Kind, Oid, Repo
from headwater.trace import Trace, mixing, whole
from headwater.trace.declared import RELATIONS, bases_of
from headwater.trace.duties import Duties, duties_of
from headwater.trace.fingerprint import VERSION, Fingerprint
from headwater.trace.judgement import Judgement, Verdict
from headwater.trace.tree import Branch, Tree, grow_tree
from headwater.trace.work import enqueue, state_of

Order = Literal["parent", "child", "open"]
Merges = Mapping[int, Mapping[int, float]]
"""Shares by part, of each proved merge, by fingerprints' ids."""
TEXT_MAX = 10_000
FAMILY_MAX = 24
"""Kin among which the tree is grown for one page."""
_DISTANT = (Verdict.SHARES_EMBEDDINGS, Verdict.COMMON_ANCESTOR)


@dataclass(frozen=True)
class Status:
    """state: not-yet-read, waiting, reading, read, cannot-read or no-weights. done of total count in `unit` while it is
    being read; total None while it is not known. problem: why it cannot be read, or why the last try broke off."""

    state: str
    done: int = 0
    total: int | None = None
    unit: str = ""
    stage: str = ""
    problem: str | None = None
    job: str | None = None
    version: int | None = None
    at: float | None = None


@dataclass(frozen=True)
class Relative:
    """What stands on the other side of an edge. a, b: the names the judgement means by A and B.

    order: whether it is parent or child of the model asked for, or the order is open. order_by: "weights", "tree" (it
    follows from the other edges of the family), "declared", or "" while it is open. direct: whether no third model of
    the family stands between the two, as far as is seen. also: other repos that hold the very same files. judgement:
    as Judgement.as_json. share: of the parent in the child, where the files prove the child a sum of several.
    """

    repo: str
    revision: Oid
    verdict: str
    order: Order
    order_by: str
    agreement: float | None
    declared: bool
    a: str
    b: str
    judgement: dict[str, Any]
    also: tuple[str, ...] = ()
    at: float = 0.0
    direct: bool = True
    share: float | None = None


@dataclass(frozen=True)
class Declared:
    """What the card says. state: confirmed (kin in the weights), not-seen (both were read and no kinship was), open
    (the weights cannot tell), not-read, or not-here (no repo of that name that the viewer may read)."""

    name: str
    relation: str | None
    state: str


@dataclass(frozen=True)
class Tie:
    """Two who stand next to each other in the family's tree, by their repos' names; parent and child are in no order
    where `order` is "open". share: of the parent in a child that is a sum of several, else None."""

    parent: str
    child: str
    order: Literal["weights", "tree", "declared", "open"]
    verdict: str
    agreement: float | None
    share: float | None = None


@dataclass(frozen=True)
class Closer:
    """Of a model without kin by fingerprints (trace/closer.py). job: the one that compares it in whole with others of
    its shape, or waits to; None when none does. compared: those it was compared with that the viewer may read."""

    job: str | None
    compared: tuple[str, ...]


@dataclass(frozen=True)
class Family:
    """Parents and kin nearest first. same: repos with the very same files. closest: the nearest kin that is not known
    to be a child: the parent, as far as can be told, or None. offer: {base_model, relation} for the card, or None.
    ties: of the nearest kin, FAMILY_MAX of them, to draw the tree by. closer: None where it has kin, or nobody looked
    closer."""

    repo: str
    revision: Oid
    status: Status
    fingerprint: dict[str, Any] | None = None
    parents: tuple[Relative, ...] = ()
    children: tuple[Relative, ...] = ()
    kin: tuple[Relative, ...] = ()
    same: tuple[str, ...] = ()
    closest: Relative | None = None
    declared: tuple[Declared, ...] = ()
    undeclared: tuple[str, ...] = ()
    nearest_unrelated: Relative | None = None
    duties: Duties = field(default_factory=lambda: duties_of(None, []))
    offer: dict[str, Any] | None = None
    disputes: tuple[dict[str, Any], ...] = ()
    ties: tuple[Tie, ...] = ()
    closer: Closer | None = None


def status_of(trace: Trace, repo: Repo, revision: Oid) -> Status:
    kept = trace.records.at(repo, revision)
    current = kept is not None and kept.version == VERSION
    job = _job_of(trace, "trace", {"repo_id": repo.id, "revision": revision},
                  ("running", "queued") if current else ("running", "queued", "failed"))
    if job is not None and not job.state.final:
        state = "reading" if job.state is JobState.RUNNING else "waiting"
        return Status(state, job.done, job.total, job.unit, job.stage, job=job.id)
    if kept is None or not current:
        return Status("not-yet-read", problem=job.error if job is not None else None)
    return Status(state_of(kept), problem=kept.problem, version=kept.version, at=kept.at)


def _job_of(trace: Trace, kind: str, wanted: Mapping[str, Any], states: tuple[str, ...]) -> Job | None:
    jobs = (job for state in states for job in trace.jobs.list(state=state, kind=kind, limit=1000))
    return next((job for job in jobs if wanted.items() <= job.payload.items()), None)


def _closer(trace: Trace, viewer: Actor, kept: Kept) -> Closer | None:
    job = _job_of(trace, "trace-closer", {"fingerprint_id": kept.id}, ("running", "queued"))
    places = trace.records.places(trace.records.compared_with(kept.id, version=whole.VERSION), viewer)
    compared = tuple({place.fingerprint_id: place.repo.full_name for place in reversed(places)}.values())
    return Closer(job.id if job else None, tuple(sorted(compared))) if job is not None or compared else None


def unread(trace: Trace, viewer: Actor, limit: int) -> list[str]:
    """Models the viewer may read that nobody has read yet, of the first `limit` there are. Nothing is known of them."""
    return [repo.full_name for repo in trace.records.unread(VERSION, limit=limit)
            if _find(trace, viewer, repo.full_name) is not None]


def read_again(trace: Trace, repo: Repo, revision: Oid, *, by: str) -> Job:
    return enqueue(trace, repo, revision, by=by, again=True)


def lineage_of(trace: Trace, viewer: Actor, repo: Repo, revision: Oid) -> Family:
    """All that is known. `viewer` may read `repo`: the caller has seen to that."""
    status, kept = status_of(trace, repo, revision), trace.records.at(repo, revision)
    if kept is None or status.state == "no-weights":
        return Family(repo.full_name, revision, status, declared=_declared(trace, viewer, repo, None, []),
                      duties=duties_of(_licence(repo), []), disputes=disputes_of(trace, viewer, repo))
    edges = trace.records.edges([kept.id], kin=None)
    ends = {e.b_id if e.a_id == kept.id else e.a_id for e in edges} | {kept.id}
    stands: dict[int, list[Place]] = {}
    for place in trace.records.places(ends, viewer):
        stands.setdefault(place.fingerprint_id, []).append(place)
    same = tuple(p.repo.full_name for p in stands.pop(kept.id, []) if p.repo.id != repo.id) if not kept.problem else ()
    names = {number: places[0].repo.full_name for number, places in stands.items()} | {kept.id: repo.full_name}
    merges = mixing.proved(trace, names)
    found = [(e, _relative(repo, kept, e, places, merges)) for e in mixing.laid_over(trace, edges, names)
             if (places := stands.get(e.b_id if e.a_id == kept.id else e.a_id))]
    tree = _grown(trace, found, merges)
    found = _of_one_base(trace, [(e, _placed(kept, e, r, tree)) for e, r in found], names)
    kin = sorted((r for e, r in found if e.kin), key=_nearness)
    parents, closest = tuple(r for r in kin if r.order == "parent"), _closest(kin)
    named = {name.lower() for name, _ in bases_of(repo.card)}
    return Family(
        repo.full_name, revision, status, kept.about or None, parents, tuple(r for r in kin if r.order == "child"),
        tuple(r for r in kin if r.order == "open"), same, closest,
        _declared(trace, viewer, repo, kept, found),
        tuple(r.repo for r in parents if not named & {n.lower() for n in (r.repo, *r.also)}),
        min((r for e, r in found if not e.kin and e.verdict != Verdict.CANNOT_TELL), key=_nearness, default=None),
        duties_of(_licence(repo), [(r.repo, _licence(p)) for r in _ancestors(kin) for p in _repos_named(stands, r)],
                  repo.name),
        _offer(parents, closest, named), disputes_of(trace, viewer, repo),
        _ties(repo, kept, found, tree, merges, stands), None if kin else _closer(trace, viewer, kept))


def _nearness(relative: Relative) -> tuple[bool, bool, float, float]:
    return (relative.verdict in _DISTANT, not relative.direct, -(relative.agreement or 0.0), relative.at)


def _grown(trace: Trace, found: list[tuple[Edge, Relative]], merges: Merges) -> Tree | None:
    """The tree of the nearest kin, by fingerprints' numbers; None of fewer than three. Only of kin that is shown."""
    near = sorted((pair for pair in found if pair[0].kin), key=lambda pair: _nearness(pair[1]))[:FAMILY_MAX]
    ids = {end for edge, _ in near for end in (edge.a_id, edge.b_id)}
    if len(ids) < 3:
        return None
    among = trace.records.edges(ids, within=True)
    return grow_tree([str(n) for n in sorted(ids)],
                     {(str(e.a_id), str(e.b_id)): Judgement.from_json(e.judgement) for e in among},
                     {str(child): [str(part) for part in parts] for child, parts in merges.items() if child in ids})


def _placed(kept: Kept, edge: Edge, relative: Relative, tree: Tree | None) -> Relative:
    """The same, with what the tree says of who stands next to whom."""
    if tree is None or not edge.kin:
        return relative
    me, other = str(kept.id), str(edge.b_id if edge.a_id == kept.id else edge.a_id)
    branch = next((b for b in tree.branches if {b.parent, b.child} == {me, other}), None)
    if branch is None:
        members = {name for family in tree.families for name in family}
        return replace(relative, direct=False) if {me, other} <= members else relative
    if branch.order == "tree" and relative.order == "open":
        return replace(relative, order="child" if branch.parent == me else "parent", order_by="tree")
    return relative


def _of_one_base(trace: Trace, found: list[tuple[Edge, Relative]],
                 names: Mapping[int, str]) -> list[tuple[Edge, Relative]]:
    """The same with each adapter next to one of the models it fits. A family has its neurons in one order, so what was
    made for one member fits them all: the one that was here first stands for them, or the one its card names."""
    bases = {_child_of(e): set[int]() for e, _ in found if e.verdict == Verdict.ADAPTER}
    for e in trace.records.edges(bases) if bases else ():
        if e.verdict == Verdict.ADAPTER and _child_of(e) in bases and _parent_of(e) in names:
            bases[_child_of(e)].add(_parent_of(e))
    named = {_child_of(e): _parent_of(e) for e, r in found if e.verdict == Verdict.ADAPTER and r.declared}
    return [(e, replace(r, direct=_parent_of(e) == named.get(_child_of(e), min(bases[_child_of(e)])))
             if e.verdict == Verdict.ADAPTER else r) for e, r in found]


def _child_of(edge: Edge) -> int:
    return edge.b_id if edge.direction == "b-from-a" else edge.a_id


def _parent_of(edge: Edge) -> int:
    return edge.a_id if edge.direction == "b-from-a" else edge.b_id


def _ties(repo: Repo, kept: Kept, found: list[tuple[Edge, Relative]], tree: Tree | None,
          merges: Merges, stands: dict[int, list[Place]]) -> tuple[Tie, ...]:
    """Who is drawn next to whom: those next to this model as its page orders them, the others as the tree does or,
    where it leaves them open, as their cards say. stands: of each fingerprint, where it stands."""
    names = {str(e.b_id if e.a_id == kept.id else e.a_id): r.repo for e, r in found} | {str(kept.id): repo.full_name}
    mine = [_tie(repo.full_name, r) for e, r in found if e.kin and r.direct][:FAMILY_MAX]
    others = []
    for b in tree.branches if tree is not None else ():
        if str(kept.id) not in (b.parent, b.child):
            parent, child, order = _by_cards(names, b, stands)
            others.append(Tie(parent, child, order, str(b.verdict), b.agreement,
                              merges.get(int(b.child), {}).get(int(b.parent))))
    return (*mine, *others)


def _by_cards(names: dict[str, str], branch: Branch,
              stands: dict[int, list[Place]]) -> tuple[str, str, Literal["weights", "tree", "declared", "open"]]:
    """(parent, child, order) of a branch; where it is open, as one of the two cards says, unless both do."""
    parent, child = names[branch.parent], names[branch.child]
    if branch.order != "open":
        return parent, child, branch.order
    named = [{n.lower() for p in stands.get(int(end), ()) for n, _ in bases_of(p.repo.card)}
             for end in (branch.parent, branch.child)]
    says = child.lower() in named[0], parent.lower() in named[1]
    if says[0] == says[1]:
        return parent, child, "open"
    return (child, parent, "declared") if says[0] else (parent, child, "declared")


def _tie(name: str, relative: Relative) -> Tie:
    ends = (name, relative.repo) if relative.order == "child" else (relative.repo, name)
    order: Any = relative.order_by or "open"
    return Tie(*ends, order, relative.verdict, relative.agreement, relative.share)


def _closest(kin: list[Relative]) -> Relative | None:
    parents = [r for r in kin if r.order == "parent"]
    near = [r for r in kin if r.order == "open" and r.verdict not in _DISTANT]
    return (parents or near or [None])[0]


def _ancestors(kin: list[Relative]) -> list[Relative]:
    """Those whose licence may bind: parents, and what the weights leave open is not taken for one."""
    return [r for r in kin if r.order == "parent"]


def _repos_named(stands: dict[int, list[Place]], relative: Relative) -> list[Repo]:
    return [p.repo for places in stands.values() for p in places if p.repo.full_name == relative.repo][:1]


def _relative(repo: Repo, kept: Kept, edge: Edge, places: list[Place], merges: Merges) -> Relative:
    # The oldest place is where these files were first; others hold copies of them.
    first, i_am_a = places[0], edge.a_id == kept.id
    names = [p.repo.full_name for p in places]
    declares = {name.lower() for name, _ in bases_of(repo.card)}
    mine = bool(declares & {name.lower() for name in names})
    theirs = any(repo.full_name.lower() == name.lower() for p in places for name, _ in bases_of(p.repo.card))
    order, by = _order(edge, i_am_a, mine, theirs)
    here = f"{repo.full_name}"
    a, b = (here, first.repo.full_name) if i_am_a else (first.repo.full_name, here)
    return Relative(first.repo.full_name, first.revision, edge.verdict, order, by, edge.agreement, mine or theirs, a, b,
                    edge.judgement, tuple(names[1:]), edge.at, share=_share(merges, edge))


def _share(merges: Merges, edge: Edge) -> float | None:
    return merges.get(edge.a_id, {}).get(edge.b_id, merges.get(edge.b_id, {}).get(edge.a_id))


def _order(edge: Edge, i_am_a: bool, i_declare: bool, they_declare: bool) -> tuple[Order, str]:
    if edge.direction in ("a-from-b", "b-from-a"):
        return ("parent" if (edge.direction == "a-from-b") == i_am_a else "child"), "weights"
    if edge.verdict in _DISTANT or not edge.kin or i_declare == they_declare:
        return "open", ""
    return ("parent" if i_declare else "child"), "declared"


def _declared(trace: Trace, viewer: Actor, repo: Repo, kept: Kept | None,
              found: list[tuple[Edge, Relative]]) -> tuple[Declared, ...]:
    states = {}
    for edge, relative in found:
        state = "confirmed" if edge.kin else "open" if edge.verdict == Verdict.CANNOT_TELL else "not-seen"
        states |= {name.lower(): state for name in (relative.repo, *relative.also)}
    shown = []
    for name, relation in bases_of(repo.card):
        base = _find(trace, viewer, name)
        if base is None:
            state = "not-here"
        elif base.full_name.lower() in states:
            state = states[base.full_name.lower()]
        else:
            state = _unseen(trace, kept, base)
        shown.append(Declared(name, relation, state))
    return tuple(shown)


def _unseen(trace: Trace, kept: Kept | None, base: Repo) -> str:
    theirs = trace.records.at(base, base.head) if base.head else None
    if kept is None or theirs is None or kept.problem or theirs.problem:
        return "not-read"
    return "confirmed" if theirs.id == kept.id else "not-seen"


def _find(trace: Trace, viewer: Actor, name: str) -> Repo | None:
    try:
        found = trace.find(viewer, name)
    except (NotFound, BadInput):
        return None
    return found if found is not None and found.kind is Kind.MODEL else None


def _licence(repo: Repo) -> str | None:
    said = repo.card.data.get("license")
    name = repo.card.data.get("license_name")
    chosen = name if said in (None, "other") and isinstance(name, str) else said
    return chosen if isinstance(chosen, str) and chosen else None


def _offer(parents: tuple[Relative, ...], closest: Relative | None, named: set[str]) -> dict[str, Any] | None:
    """What the card could say of the nearest parent, unless it says so."""
    nearest = closest if closest is not None and closest in parents else None
    if nearest is None or named & {n.lower() for n in (nearest.repo, *nearest.also)}:
        return None
    relation = RELATIONS.get(Verdict(nearest.verdict))
    if nearest.verdict == Verdict.MERGE:
        return {"base_model": [r.repo for r in parents if r.verdict == Verdict.MERGE], "base_model_relation": relation}
    if nearest.verdict == Verdict.DESCENDS and "quant" in (nearest.judgement.get("operation") or ""):
        relation = "quantized"
    return {"base_model": [nearest.repo], "base_model_relation": relation}


# --- disputes


def dispute(trace: Trace, actor: Actor, repo: Repo, other: Repo, text: str) -> Dispute:
    """Answer to what is said of two repos. The caller has seen that the actor may write to one and read both."""
    text = text.strip()
    if not 0 < len(text) <= TEXT_MAX or "\0" in text:
        raise BadInput(f"An answer has 1 to {TEXT_MAX:,} characters.")
    return trace.records.dispute(repo, other, text, by=actor)


def disputes_of(trace: Trace, viewer: Actor, repo: Repo) -> tuple[dict[str, Any], ...]:
    """What was answered about a repo and others, where the viewer may read both."""
    shown = []
    for one in trace.records.disputes(repo.id):
        both = [trace.repos.get(one.repo_id), trace.repos.get(one.other_id)]
        names = [r.full_name for r in both if r is not None and _find(trace, viewer, r.full_name) is not None]
        if len(names) == 2:
            shown.append({"id": one.id, "repo": names[0], "other": names[1], "by": one.by, "text": one.text,
                          "at": one.at})
    return tuple(shown)


# --- pairs


def fingerprint_of(trace: Trace, repo: Repo, revision: Oid) -> bytes:
    """Raises NotFound while it is not read."""
    kept = trace.records.at(repo, revision)
    body = trace.records.bodies([kept.id]).get(kept.id) if kept is not None and kept.version == VERSION else None
    if body is None:
        status = status_of(trace, repo, revision)
        raise NotFound(f"{repo.full_name}@{revision[:12]} has no fingerprint: {status.problem or status.state}.",
                       hint="POST /api/headwater/lineage/{owner}/{name}/read has it read.")
    return body


def judge_pair(trace: Trace, first: tuple[Repo, Oid], second: tuple[Repo, Oid]) -> Judgement:
    """A and B in the order given; the same numbers as `headwater trace A B` on the files alone."""
    from headwater.trace.judge import judge

    bodies = [fingerprint_of(trace, repo, revision) for repo, revision in (first, second)]
    return judge(Fingerprint.from_bytes(bodies[0]), Fingerprint.from_bytes(bodies[1]), trace.null)


def with_proof(trace: Trace, viewer: Actor, ends: tuple[int, int], judgement: Judgement) -> Judgement:
    """The judgement of two fingerprints, A's and B's, as that of a merge and one of its parts where the files of all
    have proved it and the viewer may read every part."""
    from headwater.trace.work import finite

    parts = {int(n) for one in trace.records.mixtures(ends).values() for n in one.found["coefficients"]}
    names: dict[int, str] = {}
    for place in trace.records.places({*ends, *parts}, viewer) if parts else ():
        names.setdefault(place.fingerprint_id, place.repo.full_name)
    edge = Edge(*ends, judgement.verdict.kin, str(judgement.verdict), judgement.direction, judgement.agreement,
                judgement.version, finite(judgement.as_json()))
    laid, = mixing.laid_over(trace, [edge], names)
    return judgement if laid is edge else Judgement.from_json(laid.judgement)


@dataclass(frozen=True)
class Match:
    """Of a fingerprint from outside: A is that one, B is the repo."""

    repo: str
    revision: Oid
    judgement: Judgement


def find_kin(trace: Trace, viewer: Actor, body: bytes, *, limit: int = 20) -> list[Match]:
    """What a fingerprint from outside the hub is kin to, and the nearest that is not; nearest first. Keeps nothing."""
    from headwater.trace.judge import judge

    made = Fingerprint.from_bytes(body)
    trace.index.sync(trace.records.stamps(), trace.records.bodies)
    ids = [c.id for c in trace.index.candidates(made, limit=limit)] or [c.id for c in trace.index.newest(3)]
    first: dict[int, Place] = {}
    for place in trace.records.places(ids, viewer):
        first.setdefault(place.fingerprint_id, place)
    found = []
    for number, theirs in trace.records.bodies(first).items():
        said = judge(made, Fingerprint.from_bytes(theirs), trace.null)
        found.append(Match(first[number].repo.full_name, first[number].revision, said))
    found.sort(key=lambda m: (not m.judgement.verdict.kin, m.judgement.verdict is not Verdict.IDENTICAL,
                              -(m.judgement.agreement or 0)))
    kin = [m for m in found if m.judgement.verdict.kin]
    return kin + [m for m in found if not m.judgement.verdict.kin][:1]


def find_readable(trace: Trace, viewer: Actor, name: str) -> Repo:
    """Raises RepoNotFound."""
    repo = _find(trace, viewer, name)
    if repo is None:
        raise RepoNotFound(f"No model {name[:200]!r} here.", hint="`headwater list` shows what there is.")
    return repo
