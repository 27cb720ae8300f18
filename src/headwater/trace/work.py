"""The jobs of trace: read a revision, find what it may be kin to, judge, keep the edges.

"trace" does one revision, "trace-all" asks for those that were never read, or by an older version. Both may be run
again at any point: what is known is not read twice, and edges are replaced as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from headwater.core.descent import Edge, Kept
from headwater.core.errors import CorruptFile
from headwater.core.types import ANYONE, Job, Oid, Repo
from headwater.core.work import Progress, Work
from headwater.trace import Trace, adapters_in_hub, closer, judgement, mixing
from headwater.trace.declared import bases_of
from headwater.trace.fingerprint import VERSION, Fingerprint
from headwater.trace.reading import CannotRead, Guess, ModelFile, digest_of, model_files, read_apart
from headwater.trace.whole import seen_whole
from headwater.weights.tokens import FILES as TOKEN_FILES
from headwater.weights.tokens import MAX_BYTES as MAX_TOKENIZER

MOST = 20
"""Models judged for one upload."""
UNRELATED = 3
LOOKED_AT = 1_000
"""Of the newest, to find some of a model's shape."""
_SHAPE = ("width", "layers", "neurons")
_NONE = {"weights": False}


def enqueue(trace: Trace, repo: Repo, revision: Oid, *, by: str, again: bool = False) -> Job:
    """The job that reads this revision; the one under way if there is one. again: also if it was read."""
    payload = {"repo_id": repo.id, "revision": revision, "again": again}
    return trace.jobs.enqueue("trace", payload, title=f"Trace {repo.full_name}", by=by,
                              key=f"trace {repo.id} {revision}")


def trace_job(trace: Trace, *, looks_closer: bool = True) -> Work:
    """The body of a "trace" job: payload {repo_id, revision, again}. looks_closer: have a model without kin compared in
    whole with others of its shape (trace/closer.py)."""

    def work(payload: dict[str, Any], progress: Progress) -> dict[str, Any] | None:
        repo = trace.repos.get(payload["repo_id"])
        if repo is None:  # deleted since
            return None
        again = bool(payload.get("again"))
        if not again and repo.head != payload["revision"]:
            return {"state": "passed over", "why": "main has moved on"}
        kept = read_revision(trace, repo, payload["revision"], progress, again=again)
        if kept is None:
            return None
        found = compare(trace, kept, progress, again=again)
        for gone in trace.records.prune():
            trace.index.remove([gone])
        tried = mixing.enqueue(trace, kept) if found else 0
        closer_look = closer.enqueue(trace, kept) if looks_closer and found else None
        said = {"state": state_of(kept), "problem": kept.problem, "compared": found}
        return said | ({"look_merged": tried} if tried else {}) | ({"look_closer": True} if closer_look else {})

    return work


def trace_all_job(trace: Trace) -> Work:
    """The body of "trace-all": no payload. Enqueues a "trace" for every model that is not read."""

    def work(payload: dict[str, Any], progress: Progress) -> dict[str, Any]:
        after, count = 0, 0
        while repos := trace.records.unread(VERSION, after=after):
            for repo in repos:
                assert repo.head is not None
                enqueue(trace, repo, repo.head, by="headwater")
                count += 1
            after = repos[-1].id
            progress(count, None, unit="models")
        return {"enqueued": count}

    return work


def state_of(kept: Kept) -> str:
    """read, cannot-read or no-weights."""
    return "cannot-read" if kept.problem else "no-weights" if kept.about == _NONE else "read"


def read_revision(trace: Trace, repo: Repo, revision: Oid, progress: Progress, *, again: bool = False) -> Kept | None:
    """The fingerprint of a revision, made if it is not known; None if the repo is gone."""
    progress(0, None, stage="listing the files", unit="layers")
    files = model_files(trace.files_of(repo, revision))
    digest = digest_of(files)
    known = trace.records.find(digest)
    if known is not None and known.version == VERSION and not again and trace.records.place(repo, revision, known):
        return known
    body, problem, about = None, None, dict(_NONE)
    if files:
        paths = {path: file.digest for path, file in files.items()}
        try:
            body = read_apart(files, lambda path, start, stop: trace.read(paths[path], start, stop),
                              tell=lambda done, total: progress(done, total or None, stage="reading", unit="layers"),
                              guess=guess_of(trace))
            about = about_of(Fingerprint.from_bytes(body))
        except CannotRead as error:
            problem, about = _plain(error.message), {}
    return trace.records.keep(repo, revision, digest, version=VERSION, body=body, problem=problem, about=about)


def about_of(made: Fingerprint) -> dict[str, Any]:
    """What a person may want to know of a fingerprint, plain JSON."""
    return {**asdict(made.architecture), "tokens": made.tokenizer.count, "tokenizer": made.tokenizer.digest,
            "layers_kept": len(made.layers), "profiles": any(y.up is not None for y in made.layers),
            "notes": [_plain(note) for note in made.notes[:20]], "total_bytes": made.total_bytes,
            "bytes_read": made.bytes_read, "declared": _plain(made.architecture.declared)}


def compare(trace: Trace, kept: Kept, progress: Progress, *, again: bool = False) -> int:
    """Judge the candidates of a fingerprint and keep the edges; how many were judged."""
    trace.index.sync(trace.records.stamps(), trace.records.bodies,
                     lambda done, total: progress(done, total, stage="putting models in the index", unit="models"))
    body = trace.records.bodies([kept.id]).get(kept.id)
    if body is None or (not again and _is_judged(trace, kept)):
        return 0
    made = Fingerprint.from_bytes(body)
    others = {c.id for c in trace.index.candidates(made, limit=MOST, without=[kept.id])}
    others |= {*declared_ids(trace, kept), *adapters_in_hub.fitting(trace, kept)}
    others |= {*_beside(trace, kept, others | {kept.id})}
    if len(others) < UNRELATED:  # somebody unrelated to show beside
        others |= {c.id for c in trace.index.newest(UNRELATED, without=[kept.id])}
    edges = []
    for number, (other, theirs) in enumerate(sorted(trace.records.bodies(others - {kept.id}).items())):
        progress(number, len(others), stage="comparing", unit="models")
        try:
            second = Fingerprint.from_bytes(theirs)
        except CorruptFile:  # of another version: it will be read again, and then compared with this one
            continue
        edge = edge_of(trace, kept.id, made, other, second)
        edge = adapters_in_hub.looked_at_whole(trace, edge, {kept.id: made, other: second})
        edges.append(seen_whole(trace, edge))
    trace.records.judged(_worth_keeping(edges), of=kept.id, version=judgement.VERSION)
    return len(edges)


def _beside(trace: Trace, kept: Kept, without: set[int]) -> list[int]:
    """What the index did not name, the newest of each: models of its very shape, which may be its kin where it or they
    have no words for the index to go by; and others that can be told from it, of its form first, to show one as
    unrelated."""
    if kept.about.get("form") == "adapter":
        return []
    numbers = dict.fromkeys(place.fingerprint_id for place in trace.records.heads(None, limit=LOOKED_AT))
    about = {n: found.about for n, found in trace.records.get(numbers.keys() - without).items()}
    alike = [n for n in numbers if n in about and about[n].get("form") == kept.about.get("form")]
    shaped = [n for n in alike if all(about[n].get(key) == kept.about.get(key) for key in _SHAPE)]
    apart = [n for n in (*alike, *numbers) if n in about and n not in shaped and about[n].get("profiles")]
    return [*shaped[:UNRELATED], *(list(dict.fromkeys(apart))[:UNRELATED - 1] if kept.about.get("profiles") else ())]


def edge_of(trace: Trace, one: int, made: Fingerprint, other: int, theirs: Fingerprint) -> Edge:
    """The later one is a."""
    from headwater.trace.judge import judge

    (a, first), (b, second) = ((one, made), (other, theirs)) if one > other else ((other, theirs), (one, made))
    said = judge(first, second, trace.null)
    found = finite(said.as_json())
    return Edge(a, b, said.verdict.kin, str(said.verdict), said.direction, found["agreement"], judgement.VERSION, found)


def finite(value: Any) -> Any:
    """As JSON has it: numbers that are none become null."""
    if isinstance(value, dict):
        return {str(key): finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return _plain(value) if isinstance(value, str) else value


def declared_ids(trace: Trace, kept: Kept) -> Iterable[int]:
    """Fingerprints of what the cards of the repos that hold this one declare as base, and of what declares those."""
    places = trace.records.places([kept.id], None)
    for place in places:
        for name, _ in bases_of(place.repo.card)[:4]:
            owner, _, rest = name.partition("/")
            base = trace.repos.find(place.repo.kind, owner, rest) if rest else None
            found = trace.records.at(base, base.head) if base is not None and base.head else None
            if found is not None:
                yield found.id


def _is_judged(trace: Trace, kept: Kept) -> bool:
    edges = trace.records.edges([kept.id], kin=None)
    return any(e.a_id == kept.id and e.version == judgement.VERSION and e.at >= kept.at for e in edges)


def _worth_keeping(edges: list[Edge]) -> list[Edge]:
    """All kin, and of the others the nearest few: one is shown beside, and not every viewer may read each."""
    others = sorted((e for e in edges if not e.kin), key=lambda e: -(e.agreement or 0))
    return [e for e in edges if e.kin] + others[:UNRELATED]


def guess_of(trace: Trace) -> Guess:
    """Tokens of a public model of this hub that has as many: what a file without any may have been made with."""

    def guess(rows: int) -> tuple[str, bytes] | None:
        places = trace.records.heads(ANYONE, limit=1000)
        about = {n: kept.about for n, kept in trace.records.get([p.fingerprint_id for p in places]).items()}
        for place in places:
            if rows in (about[place.fingerprint_id].get("tokens"), about[place.fingerprint_id].get("vocabulary")):
                files = trace.files_of(place.repo, place.revision)
                for name in TOKEN_FILES:
                    file = files.get(name)
                    if file is not None and 0 < file.size <= MAX_TOKENIZER:
                        return name, _bytes_of(trace, file)
        return None

    return guess


def _bytes_of(trace: Trace, file: ModelFile) -> bytes:
    return file.local.read_bytes() if file.local else trace.read(file.digest, 0, file.size)


def _plain(text: str) -> str:
    """What every database takes, and no terminal minds."""
    return "".join(c if c.isprintable() else "?" for c in text.encode("utf-8", "replace").decode())[:2000]
