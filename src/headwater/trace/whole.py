"""Two models compared in whole: the job "compare", what is kept of it, and how it is added to a judgement.

The two are always looked at in one order, that of their tensors' hashes, whoever asks and in whatever order: so the
hub and `headwater trace A B --whole` on the files alone come to the same numbers, and A and B only change names.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from headwater.core.descent import Edge, Whole
from headwater.core.errors import CorruptFile
from headwater.core.types import Actor, Job, Oid, Repo
from headwater.core.work import Progress, Work
from headwater.trace import Trace
from headwater.trace.fingerprint import Fingerprint
from headwater.trace.judgement import Judgement
from headwater.trace.null import NullLibrary
from headwater.trace.pair import PairReport, deepen, layers_to_compare
from headwater.trace.reading import Guess, ModelFile, ReadBytes, Tell, model_files, run_apart
from headwater.trace.said import as_told

VERSION = 3
"""Moves when the same files would be compared differently."""
REPORT_MAX = 256 << 10
MEMORY = 6 << 30
"""Address space of the child: all neurons of two layers and their products."""


@dataclass(frozen=True)
class Side:
    """One model: its fingerprint, its files (trace/reading.py: model_files), and bytes of those that are not local."""

    made: Fingerprint
    files: Mapping[str, ModelFile]
    read: ReadBytes | None = None


def compare_whole(a: Side, b: Side, null: NullLibrary, *, tell: Tell | None = None,
                  guess: Guess | None = None) -> PairReport:
    """Of A and B in the order given. Raises CannotRead, and what the sides' `read` raises."""
    report = _compare(*in_order(a, b), null, tell, guess)
    return report if in_order(a, b)[0] is a else report.flipped()


def in_order(a: Side, b: Side) -> tuple[Side, Side]:
    """The two as they are always looked at."""
    return (b, a) if _mark(b.made) < _mark(a.made) else (a, b)


def _compare(first: Side, second: Side, null: NullLibrary, tell: Tell | None, guess: Guess | None) -> PairReport:
    from headwater.trace.judge import judge

    said = judge(first.made, second.made, null)
    layers = layers_to_compare(said, first.made.architecture.layers, second.made.architecture.layers)
    files, read = joined([first.files, second.files], [first.read, second.read])
    data = run_apart("headwater.trace.whole_child", files, read, tell=tell, guess=guess, most=REPORT_MAX,
                     memory=MEMORY, asked={"layers": [[pair.a, pair.b] for pair in layers]})
    return PairReport.from_json(json.loads(data))


def _mark(made: Fingerprint) -> bytes:
    return sha256(made.tensors.tobytes()).digest()


def joined(files: list[Mapping[str, ModelFile]],
           reads: list[ReadBytes | None]) -> tuple[dict[str, ModelFile], ReadBytes]:
    """Files of several models in one list, as trace/whole_child.py has them."""
    found = {f"{number}/{path}": file for number, mine in enumerate(files) for path, file in mine.items()}

    def read(path: str, start: int, stop: int) -> bytes:
        number, _, rest = path.partition("/")
        verb = reads[int(number)]
        if verb is None:
            raise CorruptFile(f"the bytes of {rest} are not at hand.")
        return verb(rest, start, stop)

    return found, read


def shown(judgement: Judgement, report: PairReport) -> dict[str, Any]:
    """The report as JSON, with the verdict it leads to."""
    from headwater.trace.work import finite

    deep = deepen(judgement, report)
    return finite({**report.as_json(), "verdict": str(deep.verdict), "says": str(deep.says), "told": as_told(deep.says),
                   "operation": deep.operation})


# --- in the hub


def enqueue(trace: Trace, first: tuple[Repo, Oid], second: tuple[Repo, Oid], *, by: str, again: bool = False) -> Job:
    """The job that compares two revisions; the one under way if there is one. Both have fingerprints: the caller has
    seen to that, and that `by` may read them."""
    ends = [[repo.id, revision] for repo, revision in (first, second)]
    return trace.jobs.enqueue("compare", {"a": ends[0], "b": ends[1], "again": again}, by=by,
                              title=f"Compare {first[0].full_name} with {second[0].full_name}",
                              key=f"compare {sorted(ends)}")


def compare_job(trace: Trace) -> Work:
    """The body of a "compare" job: payload {a, b: [repo_id, revision], again}."""

    def work(payload: dict[str, Any], progress: Progress) -> dict[str, Any] | None:
        from headwater.trace.closer import keep
        from headwater.trace.lineage import fingerprint_of
        from headwater.trace.work import read_revision

        progress(0, None, stage="listing the files", unit="layers")
        sides, ids = [], []
        for repo_id, revision in (payload["a"], payload["b"]):
            repo = trace.repos.get(repo_id)
            if repo is None or not (kept := trace.records.at(repo, revision) or
                                    read_revision(trace, repo, revision, progress)):  # deleted since
                return None
            files = model_files(trace.files_of(repo, revision))
            ids.append(kept.id)
            sides.append(Side(Fingerprint.from_bytes(fingerprint_of(trace, repo, revision)), files,
                              read_of(trace, files)))
        if not payload.get("again") and report_of(trace, *ids) is not None:
            return {"known": True}
        report = _compared(trace, ids, sides, lambda done, total: progress(done, total or None, stage="comparing",
                                                                           unit="layers"))
        if report is not None and ids[0] != ids[1]:  # two repos may hold the very same files
            keep(trace, *ids, dict(zip(ids, (side.made for side in sides), strict=True)))
        return {"known": False, "agreement": report.agreement} if report is not None else None

    return work


def _compared(trace: Trace, ids: list[int], sides: list[Side], tell: Tell | None = None) -> PairReport | None:
    """Compare and keep, by fingerprints' ids; as in_order looked at them. None if one of them is gone."""
    from headwater.trace.work import guess_of

    first, second = in_order(sides[0], sides[1])
    report = _compare(first, second, trace.null, tell, guess_of(trace))
    told = {"first": ids[0 if first is sides[0] else 1], **finite_report(report)}
    return report if trace.records.compared(Whole(max(ids), min(ids), VERSION, told)) else None


def compare_kept(trace: Trace, a: int, b: int, bodies: Mapping[int, Fingerprint]) -> PairReport | None:
    """What is kept of two fingerprints, compared now if they were not; None if the files of one are gone. Raises
    CannotRead."""
    from headwater.trace.mixing import files_of

    known = report_of(trace, a, b)
    if known is not None:
        return known
    files = [files_of(trace, number) for number in (a, b)]
    if not all(files):
        return None
    sides = [Side(bodies[number], mine, read_of(trace, mine)) for number, mine in zip((a, b), files, strict=True)]
    return _compared(trace, [a, b], sides) and report_of(trace, a, b)


def seen_whole(trace: Trace, edge: Edge) -> Edge:
    """The edge as the whole files show it, where they were compared and show kin that the fingerprints do not; else as
    it is."""
    from headwater.trace.adapters_in_hub import with_judgement

    report = None if edge.kin else report_of(trace, edge.a_id, edge.b_id)
    deep = None if report is None else kin_by_whole(Judgement.from_json(edge.judgement), report, trace.null)
    return edge if deep is None else with_judgement(edge, deep)


def kin_by_whole(judgement: Judgement, report: PairReport, null: NullLibrary) -> Judgement | None:
    """The judgement of two that whole files show to be kin and fingerprints do not, with the share that shows it and
    the independent pairs beside; else None."""
    deep = judgement if judgement.verdict.kin else deepen(judgement, report)
    if judgement.verdict.kin or not deep.verdict.kin:
        return None
    share, figures = null.beside_whole(judgement.null.kind, report.evidence)
    return replace(deep, agreement=share, null=figures, would_change="A third model that both come from.")


def finite_report(report: PairReport) -> dict[str, Any]:
    from headwater.trace.work import finite

    return finite(report.as_json())


def read_of(trace: Trace, files: Mapping[str, ModelFile]) -> ReadBytes:
    return lambda path, start, stop: trace.read(files[path].digest, start, stop)


def report_of(trace: Trace, a: int, b: int) -> PairReport | None:
    """What is kept of two fingerprints, a and b in the order asked; None while they are not compared."""
    kept = trace.records.whole(a, b)
    if kept is None or kept.version != VERSION:
        return None
    report = PairReport.from_json(kept.report)
    return report if kept.report["first"] == a else report.flipped()


def whole_of(trace: Trace, viewer: Actor, first: tuple[Repo, Oid], second: tuple[Repo, Oid],
             judgement: Judgement) -> dict[str, Any] | None:
    """What the whole files of two add to their judgement, plain JSON; None while they were not compared.

    The caller has seen that the viewer may read both. merge: {child: "a" or "b", shares, residual, nearest} where one
    of the two is a proved sum of models that the viewer may read, and the other is among them; else None."""
    ends = [trace.records.at(repo, revision) for repo, revision in (first, second)]
    ids = [kept.id for kept in ends if kept is not None]
    report = report_of(trace, ids[0], ids[1]) if len(ids) == 2 else None
    if report is None:
        return None
    names = dict(zip(ids, (first[0].full_name, second[0].full_name), strict=True))
    return shown(judgement, report) | {"merge": _merge(trace, viewer, names)}


def _merge(trace: Trace, viewer: Actor, names: dict[int, str]) -> dict[str, Any] | None:
    from headwater.trace.mixing import proved

    ids, mixtures = list(names), trace.records.mixtures(names)
    parts = {int(number) for one in mixtures.values() for number in one.found["coefficients"]}
    for place in trace.records.places(parts, viewer):
        names.setdefault(place.fingerprint_id, place.repo.full_name)
    for child, shares in proved(trace, names).items():
        if child in ids and set(ids) - {child} <= shares.keys():
            found = mixtures[child].found
            return {"child": "ab"[ids.index(child)], "shares": {names[n]: share for n, share in shares.items()},
                    "residual": found["residual"], "nearest": found["nearest"]}
    return None
