"""Lay a revision out as a folder for engines: hard links to blobs where that works, else copies."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from headwater.core.errors import Damaged
from headwater.core.types import Commit, Entry, Repo, Snapshot
from headwater.hub import Hub
from headwater.hub.browse import files
from headwater.hub.intake import disk_error


def lay_out(hub: Hub, repo: Repo, commit: Commit) -> Snapshot:
    """The snapshot of the revision, made the first time it is asked for. Appears whole or not at all."""
    entries = tuple(files(hub, commit))
    folder = hub.settings.data / "snapshots" / str(repo.id) / commit.oid
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(prefix="making-", dir=folder.parent))
        try:
            for entry in entries:
                _put(hub, entry, making / entry.path)
            try:
                making.rename(folder)
            except OSError:  # another process laid it out meanwhile
                if not folder.is_dir():
                    raise
        except OSError as error:
            raise disk_error(error) from error
        finally:
            shutil.rmtree(making, ignore_errors=True)
    return Snapshot(repo, commit.oid, str(folder), entries)


def forget_snapshots(hub: Hub, repo_id: int, keep: frozenset[str] = frozenset()) -> None:
    """Remove the laid-out revisions of a repo but those in `keep`. Workers that hold the files open go on."""
    for folder in (hub.settings.data / "snapshots" / str(repo_id)).glob("*"):
        if folder.name not in keep:
            shutil.rmtree(folder, ignore_errors=True)


def _put(hub: Hub, entry: Entry, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    source = hub.blobs.path(entry.digest)
    if source is not None:
        try:
            os.link(source, target)
            return
        except OSError:  # another file system, or one without hard links: copy below
            pass
    # Never over what is there: on a file system blind to case that would be a link to another file's blob.
    try:
        chunks = hub.blobs.read(entry.digest)
    except FileNotFoundError:
        raise Damaged(f"The hub has lost the bytes of {entry.path}.",
                      hint="Push or add the model again; `headwater scrub` lists what else is gone.") from None
    with target.open("xb") as file:
        for chunk in chunks:
            file.write(chunk)
