"""Look into a repo: revisions, folders, files, history. Reads only."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from headwater.core.errors import EntryNotFound, RevisionNotFound, TooLarge, Unavailable
from headwater.core.types import EMPTY_TREE, Commit, Entry, EntryKind, Oid, Repo
from headwater.hub import Hub
from headwater.hub.names import check_path

_OID = re.compile(r"[0-9a-f]{40}\Z")
_SHORT = re.compile(r"[0-9a-f]{7,39}\Z")
LAST_COMMIT_DEPTH = 1000
HISTORY_DEPTH = 10_000
MAIN = "refs/heads/main"


def resolve(hub: Hub, repo: Repo, revision: str) -> Commit:
    """The commit a branch, tag, refs/… name, full or short (7+) commit id stands for. Raises RevisionNotFound."""
    oid = _oid_of(hub, repo, revision)
    commit = hub.history.commit(repo, oid) if oid else None
    if commit is None:
        raise RevisionNotFound(f"{repo.full_name} has no revision {revision[:200]!r}.",
                               hint="Use a branch, a tag or a commit id; `headwater show` lists them.")
    return commit


def _oid_of(hub: Hub, repo: Repo, revision: str) -> Oid | None:
    names = [revision] if revision.startswith("refs/") else [f"refs/heads/{revision}", f"refs/tags/{revision}"]
    for name in names:
        if ref := hub.history.ref(repo, name):
            return ref.commit
    if _OID.match(revision):
        return revision
    if _SHORT.match(revision):
        found = hub.history.find_commits(repo, revision)
        return found[0] if len(found) == 1 else None
    return None


def entry(hub: Hub, commit: Commit, path: str) -> Entry:
    """The file or folder at `path` (full path in the answer). Raises EntryNotFound, BadPath."""
    steps = check_path(path).split("/")
    oid = commit.tree
    for depth, step in enumerate(steps):
        tree = hub.history.trees([oid]).get(oid)
        found = next((e for e in tree.entries if e.path == step), None) if tree else None
        last = depth == len(steps) - 1
        if found is None or (not last and found.kind is EntryKind.FILE):
            raise EntryNotFound(f"No {path!r} at revision {commit.oid[:12]}.")
        if last:
            return _at(found, path)
        oid = found.oid
    raise AssertionError("check_path lets no empty path through")


def entries(hub: Hub, commit: Commit, paths: Iterable[str]) -> dict[str, Entry]:
    """The files and folders at these full paths; those not there are left out. Reads each tree once."""
    lookup = _Paths(hub)
    found = {path: lookup.find(commit.tree, path) for path in paths}
    return {path: _at(e, path) for path, e in found.items() if e is not None}


def file(hub: Hub, commit: Commit, path: str) -> Entry:
    """As entry(), but a folder is EntryNotFound too."""
    found = entry(hub, commit, path)
    if found.kind is EntryKind.DIRECTORY:
        raise EntryNotFound(f"{path!r} is a folder at revision {commit.oid[:12]}.", hint="Name a file in it.")
    return found


def listing(hub: Hub, commit: Commit, folder: str = "", recursive: bool = False) -> list[Entry]:
    """Entries of a folder with full paths, in git's order; recursive walks depth first. Raises EntryNotFound."""
    oid = commit.tree
    if folder:
        found = entry(hub, commit, folder)
        if found.kind is EntryKind.FILE:
            raise EntryNotFound(f"{folder!r} is a file at revision {commit.oid[:12]}.")
        oid = found.oid
    if not recursive:
        tree = hub.history.trees([oid]).get(oid)
        return [_at(e, f"{folder}/{e.path}" if folder else e.path) for e in (tree.entries if tree else ())]
    return list(_walk(_load_all(hub, [oid]), oid, f"{folder}/" if folder else ""))


def files(hub: Hub, commit: Commit) -> list[Entry]:
    """Every file of the revision, with full paths."""
    return [e for e in listing(hub, commit, recursive=True) if e.kind is EntryKind.FILE]


def read(hub: Hub, entry: Entry, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
    """The file's bytes in [start, stop). Raises Unavailable at once if they are lost or were set aside as damaged."""
    assert entry.digest is not None, "a folder has no bytes"
    try:
        return hub.blobs.read(entry.digest, start, stop)
    except FileNotFoundError:
        raise Unavailable(f"The bytes of {entry.path!r} are damaged or lost.",
                          hint="Upload the file again, or restore a backup; `headwater scrub` names what is damaged.",
                          ) from None


def read_small(hub: Hub, entry: Entry, limit: int = 1_000_000) -> bytes:
    """The whole file, for files that are small by nature. Raises TooLarge beyond `limit` bytes."""
    if entry.size > limit:
        raise TooLarge(f"{entry.path} has {entry.size:,} bytes; at most {limit:,} are read here.")
    return b"".join(read(hub, entry))


def last_commits(hub: Hub, repo: Repo, commit: Commit, entries: list[Entry]) -> dict[str, Commit]:
    """For each path the newest commit that changed it, looking back at most LAST_COMMIT_DEPTH commits.

    A path older than that is given the oldest commit looked at.
    """
    history = hub.history.log(repo, commit.oid, limit=LAST_COMMIT_DEPTH)
    lookup = _Paths(hub)
    wanted = {e.path: e.oid for e in entries}
    answer: dict[str, Commit] = {}
    for newer, older in zip(history, [*history[1:], None], strict=True):
        for path, oid in list(wanted.items()):
            if older is None or lookup.oid(older.tree, path) != oid:
                answer[path] = newer
                del wanted[path]
        if not wanted:
            break
    return answer


def lfs_files(hub: Hub, repo: Repo) -> list[tuple[Entry, Commit | None, str | None]]:
    """Every LFS file of the repo's history once, with full path: (entry, commit, ref). Present ones first, with the
    ref they stand at and its commit; those only history names have (entry, None, None).

    Looks back HISTORY_DEPTH commits from each ref; reads every tree once.
    """
    heads = [(ref.name, commit) for ref in hub.history.refs(repo) if (commit := hub.history.commit(repo, ref.commit))]
    found: dict[str, tuple[Entry, Commit | None, str | None]] = {}
    for name, commit in sorted(heads, key=lambda head: head[0] != MAIN):
        for e in files(hub, commit):
            if e.lfs:
                found.setdefault(e.digest, (e, commit, name))
    past = {c.tree for _, head in heads for c in hub.history.log(repo, head.oid, limit=HISTORY_DEPTH)}
    trees = _load_all(hub, past - {head.tree for _, head in heads})
    for root in sorted(past & trees.keys()):
        for e in _walk(trees, root, ""):
            if e.lfs:
                found.setdefault(e.digest, (e, None, None))
    return list(found.values())


class _Paths:
    """Answers 'what stands at this path under this root' with every tree read once."""

    def __init__(self, hub: Hub):
        self._hub = hub
        self._trees: dict[Oid, dict[str, Entry]] = {EMPTY_TREE: {}}

    def oid(self, root: Oid, path: str) -> Oid | None:
        found = self.find(root, path)
        return found.oid if found else None

    def find(self, root: Oid, path: str) -> Entry | None:
        """None too where the path goes through a file."""
        found = Entry("", EntryKind.DIRECTORY, root)
        for step in path.split("/"):
            if found.kind is EntryKind.FILE:
                return None
            if found.oid not in self._trees:
                tree = self._hub.history.trees([found.oid]).get(found.oid)
                self._trees[found.oid] = {e.path: e for e in tree.entries} if tree else {}
            below = self._trees[found.oid].get(step)
            if below is None:
                return None
            found = below
        return found


def _at(entry: Entry, path: str) -> Entry:
    return Entry(path, entry.kind, entry.oid, entry.size, entry.digest, entry.lfs)


def _load_all(hub: Hub, roots: Iterable[Oid]) -> dict[Oid, tuple[Entry, ...]]:
    """Every tree under the roots, one question a level."""
    trees: dict[Oid, tuple[Entry, ...]] = {}
    level = set(roots)
    while level:
        found = hub.history.trees(level)
        trees |= {oid: tree.entries for oid, tree in found.items()}
        level = {e.oid for tree in found.values() for e in tree.entries if e.kind is EntryKind.DIRECTORY} - trees.keys()
    return trees


def _walk(trees: dict[Oid, tuple[Entry, ...]], root: Oid, prefix: str) -> Iterator[Entry]:
    for e in trees.get(root, ()):
        yield _at(e, prefix + e.path)
        if e.kind is EntryKind.DIRECTORY:
            yield from _walk(trees, e.oid, f"{prefix}{e.path}/")
