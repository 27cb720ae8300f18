"""Keep model files as the difference to their parents', where that saves enough, and make them whole again.

Which revision is whose parent is handed in; how a difference is written and read is behind core.ports.Differences.
Work of the background only: one process at a time, never in the path of a request. docs/design/021-descent-storage.md.
"""

from __future__ import annotations

import fcntl
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from headwater.core.errors import Busy, CorruptFile, HeadwaterError, NotFound
from headwater.core.ports import Differences
from headwater.core.types import Delta, Digest, Entry, Kind, Oid, Pair, Repo, Search
from headwater.core.work import Progress, Work
from headwater.hub import Hub
from headwater.hub.accounts import owner_actor
from headwater.hub.browse import files, resolve
from headwater.hub.intake import Intake, disk_error
from headwater.weights.header import Header, Tensor
from headwater.weights.read import HEADER_ENDINGS, read_header
from headwater.weights.source import RangeSource

MIN_BYTES = 1 << 20
"""Smaller files are not worth a row."""
SPARE_BYTES = 1 << 28
"""Room that stays on the disk while a difference is written."""
Parents = Callable[[Repo, Oid], Iterable[tuple[Repo, Oid]]]


def descent_job(hub: Hub, parents: Parents) -> Work:
    """The body of "descent": payload {repo_id, revision}, or {} for main of every model."""

    def work(payload: dict[str, Any], progress: Progress) -> dict[str, Any]:
        if not hub.settings.descent_percent:
            return {"state": "switched off"}
        with working(hub):
            _tidy(hub)
            told: Counter[str] = Counter()
            for repo, revision in _asked(hub, payload):
                told.update(_keep_revision(hub, repo, revision, parents, progress, again=bool(payload)))
        return dict(told)

    return work


def is_worth_trying(hub: Hub, repo: Repo, revision: Oid, parents: Parents) -> bool:
    """Whether a job has anything to look at: files of weights, of a size, and somebody's to compare them with."""
    try:
        return bool(hub.settings.descent_percent and _weights(hub, repo, revision) and any(
            _weights(hub, *parent) for parent in parents(repo, revision)))
    except NotFound:
        return False


@contextmanager
def working(hub: Hub) -> Iterator[None]:
    """Only one process on this data folder writes differences, or makes them whole. Raises Busy."""
    with (hub.settings.data / "descent.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy("Files are being kept as differences just now.", retry_after=60,
                       hint="Try again when that is done.") from None
        yield


def free_bases(hub: Hub) -> int:
    """Make whole what is kept as the difference to bytes that nothing else holds, so that the sweep may take those.
    How many; what fails is left as it is, and its base with it. None is touched while other differences are made."""
    if not _differences(hub).stranded():
        return 0
    try:
        with working(hub):
            return sum(_make_whole(hub, delta) for delta in _differences(hub).stranded())
    except Busy:
        return 0


def make_all_whole(hub: Hub, progress: Progress) -> int:
    """Every file whole again, for whoever switches this off for good."""
    with working(hub):
        rows = [row for row in _differences(hub).of(d for d, _ in hub.holdings.all()).values() if row.state == "ready"]
        for done, row in enumerate(rows):
            progress(done, len(rows), stage="making whole", unit="files")
            _make_whole(hub, row)
    return len(rows)


class Saved(NamedTuple):
    """Files kept as differences, the bytes they hold and the bytes they take."""

    files: int
    whole: int
    packed: int


def kept_as_differences(hub: Hub) -> Saved:
    sizes = dict(hub.holdings.all())
    rows = hub.differences.of(sizes).values() if hub.differences is not None else ()
    ready = [row for row in rows if row.state == "ready"]
    return Saved(len(ready), sum(sizes[row.digest] for row in ready), sum(row.size for row in ready))


def pairs_of(child: Header, parent: Header) -> list[Pair]:
    """Tensors of the child and those of the parent with their name, shape and dtype; where names say nothing, those
    that stand in the same place among all of their shape and dtype, if there are as many of them."""
    by_name = {t.name: t for t in parent.tensors}
    found: dict[str, Tensor] = {t.name: by_name[t.name] for t in child.tensors
                                if t.name in by_name and _like(t) == _like(by_name[t.name])}
    used = {t.name for t in found.values()}
    mine = _by_likeness(t for t in child.tensors if t.name not in found)
    theirs = _by_likeness(t for t in parent.tensors if t.name not in used)
    for like, tensors in mine.items():
        if len(tensors) == len(theirs.get(like, ())):
            found |= {t.name: other for t, other in zip(tensors, theirs[like], strict=True)}
    return [Pair(t.start, t.stop, found[t.name].start, t.dtype) for t in child.tensors if t.name in found]


def _like(tensor: Tensor) -> tuple[object, ...]:
    return tensor.shape, tensor.dtype, tensor.nbytes


def _by_likeness(tensors: Iterable[Tensor]) -> dict[tuple[object, ...], list[Tensor]]:
    groups: dict[tuple[object, ...], list[Tensor]] = {}
    for tensor in tensors:
        groups.setdefault(_like(tensor), []).append(tensor)
    return groups


def _asked(hub: Hub, payload: dict[str, Any]) -> Iterator[tuple[Repo, Oid]]:
    if "repo_id" in payload:
        repo = hub.repos.get(payload["repo_id"])
        if repo is not None:
            yield repo, payload["revision"]
        return
    after = None
    while True:
        page = hub.repos.search(Search(Kind.MODEL, owner_actor(hub), sort="created", limit=500, after=after))
        yield from ((repo, repo.head) for repo in page.repos if repo.head)
        after = page.next
        if after is None:
            return


def _keep_revision(hub: Hub, repo: Repo, revision: Oid, parents: Parents, progress: Progress, *,
                   again: bool) -> Iterator[str]:
    """One word for each file that might be kept so: kept, passed over, in use, no parent."""
    try:
        mine = _weights(hub, repo, revision)
        rows = _differences(hub).of(f.digest for f in mine)
        mine = [f for f in mine if f.digest not in rows or (again and rows[f.digest].state == "plain")]
        theirs = [_weights(hub, *parent) for parent in parents(repo, revision)] if mine else []
    except NotFound:  # deleted since
        return
    for entry in mine:
        yield next(filter(None, (_keep(hub, entry, files, progress) for files in theirs)), "no parent")


def _weights(hub: Hub, repo: Repo, revision: Oid) -> list[Entry]:
    found = files(hub, resolve(hub, repo, revision))
    return [f for f in found if f.path.endswith(HEADER_ENDINGS) and f.size >= MIN_BYTES]


def _keep(hub: Hub, entry: Entry, parent: list[Entry], progress: Progress) -> str | None:
    """None: nothing in these files is a parent of this one."""
    header = _header(hub, entry)
    best: tuple[int, list[Pair], Entry] | None = None
    for other in sorted(parent, key=lambda f: f.path != entry.path):
        if header is None or other.digest == entry.digest or (theirs := _header(hub, other)) is None:
            continue
        pairs = pairs_of(header, theirs)
        covered = sum(pair.stop - pair.start for pair in pairs)
        if best is None or covered > best[0]:
            best = covered, pairs, other
        if other.path == entry.path and covered * 2 > entry.size:
            break
    if best is None or best[0] * 2 < entry.size:
        return None
    base = _differences(hub).possible(entry.digest, best[2].digest)
    if base is None:
        return "in use"
    if base != best[2].digest:  # the parent is itself a difference: its base, which has the same tensors or fewer
        pairs = _pairs_with(hub, header, base)
        return _write(hub, entry, base, pairs, progress) if pairs else None
    return _write(hub, entry, base, best[1], progress)


def _pairs_with(hub: Hub, header: Header, base: Digest) -> list[Pair]:
    try:
        return pairs_of(header, _header_of(hub, base))
    except (CorruptFile, FileNotFoundError):
        return []


def _write(hub: Hub, entry: Entry, base: Digest, pairs: list[Pair], progress: Progress) -> str:
    _need_room(hub, entry.size // 2)
    part = hub.tmp / f"in-difference-{entry.digest}"
    most = int(entry.size * (1 - hub.settings.descent_percent / 100))
    try:
        if not _differences(hub).pack(entry.digest, base, pairs, part, most=most, tell=lambda done: progress(
                done, entry.size, stage=f"packing {entry.path}", unit="bytes")):
            _differences(hub).passed_over(entry.digest)
            return "passed over"
        return "kept" if _differences(hub).swap(entry.digest, base, part) else "in use"
    except FileNotFoundError:  # swept, or set aside as damaged, on the way
        return "in use"
    except OSError as error:
        raise disk_error(error) from error
    finally:
        part.unlink(missing_ok=True)


def _header(hub: Hub, entry: Entry) -> Header | None:
    """None for a file that holds no tensors that can be named: it stays as it is."""
    try:
        return _header_of(hub, entry.digest)
    except (CorruptFile, FileNotFoundError):
        return None


def _header_of(hub: Hub, digest: Digest) -> Header:
    size = hub.blobs.size(digest)
    if size is None:
        raise FileNotFoundError(digest)
    return read_header(RangeSource(size, lambda start, stop: b"".join(hub.blobs.read(digest, start, stop))))


def _make_whole(hub: Hub, delta: Delta) -> bool:
    size = hub.blobs.size(delta.digest)
    if size is None:
        return False
    try:
        _need_room(hub, size)
        with Intake(hub.tmp, size) as intake:
            for chunk in hub.blobs.read(delta.digest):
                intake.write(chunk)
            staged = intake.finish()
        if staged.digest != delta.digest:
            Path(staged.path).unlink()
            return False
        _differences(hub).make_whole(delta.digest, Path(staged.path))
    except (HeadwaterError, FileNotFoundError):
        return False
    return True


def _differences(hub: Hub) -> Differences:
    assert hub.differences is not None, "app.py starts this work only over a store that keeps differences"
    return hub.differences


def _need_room(hub: Hub, size: int) -> None:
    """Raises DiskFull before anything is written, not after the disk has none left for uploads."""
    import errno

    if shutil.disk_usage(hub.tmp).free < size + SPARE_BYTES:
        raise disk_error(OSError(errno.ENOSPC, "too little room to keep a file as a difference"))


def _tidy(hub: Hub) -> None:
    alone = _differences(hub).tidy()
    for digest in hub.holdings.lost(alone):  # its base was damaged once, and came again
        if _differences(hub).readable(digest):
            hub.holdings.kept(digest)
