"""Copy a hub out and back: records of one moment, and every blob they name. Knows no database and no store.

A backup is a folder or one .tar file holding

    manifest.json            written last: what the backup holds; without it there is no backup
    records-<sha256>.gz      the records, a line each (core.ports.Archive), gzip
    blobs/aa/bb/<sha256>     the bytes

The sweep stands still meanwhile, so nothing the records name goes away. Uploads and commits go on; what they add
after the records were read is not part of this backup.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headwater import __version__
from headwater.core.errors import BadInput, Conflict, CorruptFile, Unavailable
from headwater.core.ports import Archive, Blobs
from headwater.core.types import Digest
from headwater.core.work import Progress
from headwater.hub import Hub
from headwater.hub.backup_files import Source, Target, blob_name, open_source, open_target
from headwater.hub.intake import Intake, disk_error
from headwater.hub.sweep import sweeping

MARK = "restoring.json"
"""Stands in a data folder while its restore is unfinished; no hub opens such a folder."""
_LINE_MAX = 1 << 30
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")


@dataclass(frozen=True)
class BackedUp:
    """What a backup holds. copied: blobs written this time; the others were there from an earlier one.
    lost: digests the records name whose bytes are damaged or gone; the rest of the backup is good."""

    target: str
    blobs: int
    bytes: int
    copied: int
    lost: tuple[Digest, ...]


@dataclass(frozen=True)
class Restored:
    blobs: int
    bytes: int
    lost: tuple[Digest, ...]


def backup(hub: Hub, archive: Archive, path: Path, progress: Progress | None = None) -> BackedUp:
    """Write a backup of the hub to `path` while it runs. Into a folder with an older backup only what is new is
    copied. Raises Busy while a sweep runs, Conflict for a place that holds something else, DiskFull."""
    path = path.absolute()
    if path.is_relative_to(hub.settings.data.absolute()):
        raise BadInput("A backup inside the data folder would be lost with it.", hint="Name a place outside.")
    with sweeping(hub), _disk_errors():
        target = open_target(path)
        try:
            with _records(hub, archive) as records:
                done = _copy(hub, archive, records, target, progress)
        except BaseException:
            target.abandon()
            raise
    return BackedUp(str(path), **done)


def _copy(hub: Hub, archive: Archive, records: Path, target: Target, progress: Progress | None) -> dict[str, Any]:
    name = f"records-{_sha256(records)}.gz"
    target.records(records, name)
    with gzip.open(records) as lines:
        todo = dict(archive.blobs(lines))
    total, copied, lost = sum(todo.values()), 0, []
    for digest, size in sorted(todo.items()):
        if not target.has(digest, size):
            copied += 1
            try:
                if not target.put(digest, size, hub.blobs.read(digest)):
                    lost.append(digest)
            except FileNotFoundError:
                lost.append(digest)
        if progress:
            progress(copied, len(todo), stage="copying", unit="files")
    target.finish({"format": 1, "headwater": __version__, "made_at": hub.now(), "records": name,
                   "blobs": len(todo), "bytes": total, "lost": lost}, todo.keys())
    return {"blobs": len(todo), "bytes": total, "copied": copied, "lost": tuple(lost)}


@contextmanager
def _records(hub: Hub, archive: Archive) -> Iterator[Path]:
    """The dump in a file of its own: read to the end at once, so that its transaction is short."""
    handle, name = tempfile.mkstemp(prefix="in-", dir=hub.tmp)
    try:
        with os.fdopen(handle, "wb") as file, gzip.GzipFile("", "wb", 1, file, mtime=0) as packed:
            for line in archive.dump():
                packed.write(line)
        yield Path(name)
    finally:
        Path(name).unlink(missing_ok=True)


def restore(path: Path, data: Path, archive: Archive, blobs: Blobs, progress: Progress | None = None) -> Restored:
    """Lay a backup out in `data` and the empty stores. Every blob is hashed again on the way.

    A restore that was interrupted goes on when it is started again with the same backup; until it is done no hub
    opens the folder. Raises Conflict unless folder and records are empty, CorruptFile for a broken backup.
    """
    with _disk_errors():
        source = open_source(path)
        try:
            mark = _begin(data, archive, source)
            done = _restore(source, data, archive, blobs, progress)
            mark.unlink()
            return done
        finally:
            source.close()


def check_whole(data: Path) -> None:
    """Raises Unavailable for a data folder whose restore was interrupted."""
    if (data / MARK).exists():
        raise Unavailable(f"The restore into {data} was not finished.",
                          hint="Run the same `headwater restore` again; it goes on where it stopped.")


def _begin(data: Path, archive: Archive, source: Source) -> Path:
    mark, name = data / MARK, str(source.manifest.get("records"))
    if mark.exists():
        if mark.read_text() != name:
            raise Conflict(f"Another backup is half restored in {data}.",
                           hint="Restore that one to its end, or empty the folder.")
        return mark
    strange = [p.name for p in data.iterdir() if not _may_be_there(p)] if data.exists() else []
    if strange or not archive.is_empty():
        what = f"{data} holds {strange[0]}" if strange else "The database holds records"
        raise Conflict(f"{what}; a backup is restored into an empty hub only.",
                       hint="Name an empty folder with --data, and an empty database.")
    data.mkdir(parents=True, exist_ok=True)
    mark.write_text(name)
    return mark


def _may_be_there(path: Path) -> bool:
    """What opening an empty hub leaves, and what one sets up before the first start."""
    if path.is_dir():
        return not any(path.iterdir())
    return path.suffix in (".lock", ".toml") or path.name.startswith("headwater.db")


def _restore(source: Source, data: Path, archive: Archive, blobs: Blobs, progress: Progress | None) -> Restored:
    tmp = data / "tmp"
    tmp.mkdir(exist_ok=True)
    records = tmp / "restoring.gz"
    _fetch_records(source, records)
    lost = set(map(str, source.manifest.get("lost", [])))
    with gzip.open(records) as lines:
        todo = {d: size for d, size in archive.blobs(_bounded(lines)) if d not in lost}
    for done, (digest, size) in enumerate(sorted(todo.items()), 1):
        if not _DIGEST.match(digest):
            raise CorruptFile(f"The records of the backup name {digest[:80]!r}, which is no sha256.")
        if blobs.size(digest) != size:
            _fetch_blob(source, digest, size, tmp, blobs)
        if progress:
            progress(done, len(todo), stage="restoring", unit="files")
    if archive.is_empty():  # else the last attempt ended just after this step
        with gzip.open(records) as lines:
            archive.load(_bounded(lines), lost=lost)
    shutil.rmtree(tmp)
    tmp.mkdir()
    return Restored(len(todo), sum(todo.values()), tuple(sorted(lost)))


def _fetch_records(source: Source, target: Path) -> None:
    name = str(source.manifest.get("records"))
    with source.open(name) as stream, target.open("wb") as file:
        shutil.copyfileobj(stream, file, 1 << 20)
    if name != f"records-{_sha256(target)}.gz":
        raise CorruptFile("The records of the backup do not hash to what its manifest says.",
                          hint="Use another backup.")


def _fetch_blob(source: Source, digest: Digest, size: int, tmp: Path, blobs: Blobs) -> None:
    with source.open(blob_name(digest)) as stream, Intake(tmp, size) as intake:
        while chunk := stream.read(1 << 20):
            intake.write(chunk)
        staged = intake.finish()
    if staged.digest != digest:
        Path(staged.path).unlink()
        raise CorruptFile(f"{blob_name(digest)} of the backup hashes to {staged.digest}.", hint="Use another backup.")
    blobs.adopt(Path(staged.path), digest)


def _bounded(lines: Any) -> Iterable[bytes]:
    while line := lines.readline(_LINE_MAX):
        yield line


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except (gzip.BadGzipFile, EOFError) as error:
        raise CorruptFile(f"The records of the backup cannot be unpacked: {error}.") from None
    except OSError as error:
        raise disk_error(error) from error
