"""Make a commit: bytes first, then one transaction that moves the branch. Knows trees and leases, not HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from headwater.core.errors import (
    BadInput,
    Busy,
    EntryNotFound,
    RepoNotFound,
    RevisionNotFound,
    StaleParent,
    TooLarge,
)
from headwater.core.types import Actor, Card, Commit, Digest, Entry, EntryKind, Oid, Repo, Staged
from headwater.hub import Hub
from headwater.hub.browse import MAIN, listing, read, resolve
from headwater.hub.browse import file as find_file
from headwater.hub.card import MAX_BYTES, parse_card, tags_of_files
from headwater.hub.edit import TreeEditor
from headwater.hub.git import make_commit, pointer_id
from headwater.hub.intake import keep_all, stage
from headwater.hub.names import branch_ref, check_path

TRIES = 20


@dataclass(frozen=True)
class Add:
    """Put a file. Exactly one source: `content` (small), `staged` (received, not yet kept) or `digest`
    (already kept and leased to this repo, or in its history)."""

    path: str
    content: bytes | None = None
    staged: Staged | None = None
    digest: Digest | None = None
    size: int | None = None


@dataclass(frozen=True)
class Copy:
    """Put at `path` the file that stands at `source` in `revision` of the same repo (None: the branch's head)."""

    path: str
    source: str
    revision: str | None = None


@dataclass(frozen=True)
class Delete:
    """Remove a file, or with is_folder everything under it."""

    path: str
    is_folder: bool = False


Change = Add | Copy | Delete


def commit(hub: Hub, actor: Actor, repo: Repo, branch: str, changes: Sequence[Change], *, title: str,
           message: str = "", parent: Oid | None = None) -> Commit:
    """Apply the changes on top of the branch.

    parent: the commit the client looked at; if the branch moved since, StaleParent and nothing is written.
    None: the changes go on top of whatever is there, again if somebody was faster. A commit that changes nothing
    answers the head as it is; a retry of a commit whose answer was lost answers that commit.
    Raises RevisionNotFound if there is no such branch, EntryNotFound for a digest never uploaded here.
    """
    # 1. keep the bytes, so that nothing below waits for them
    ref = branch_ref(branch)
    ready = _keep_bytes(hub, repo, changes)
    # 2. move the branch; whoever loses the race looks again
    for _ in range(TRIES):
        head = _head(hub, repo, ref, branch)
        base = head
        if parent is not None and parent != head.oid:
            base = _retried(hub, repo, head, parent)
        made = _build(hub, actor, repo, base, ready, title, message)
        if base is not head:
            if _same_work(made[0], head):
                return head
            raise StaleParent(f"{branch} of {repo.full_name} stands at {head.oid[:12]}, not at {parent[:12]}.",
                              hint="Fetch it, apply your change on top and commit again.")
        new, trees, grown = made
        if new.tree == head.tree:
            return head
        size = _new_size(hub, repo, ref, grown)
        stale = hub.history.advance(repo, ref, expect=head.oid, commit=new, trees=trees, size_bytes=size, by=actor,
                                    detail={"title": title, "files": len(changes)})
        if stale is None:
            if ref == MAIN:
                describe(hub, repo)
            return new
    raise Busy(f"{TRIES} others committed to {branch} of {repo.full_name} first.", hint="Try again.")


def describe(hub: Hub, repo: Repo) -> None:
    """Read the card and the file names at main again and put them where search finds them."""
    described = None
    # Again if main moved meanwhile: else the slower of two could leave what it read before the other's commit.
    while (now := hub.repos.get(repo.id)) is not None and now.head != described:
        described = now.head
        try:
            hub.repos.describe(repo, _card_at(hub, repo, described))
        except RepoNotFound:  # deleted meanwhile: nothing to describe
            return
        except RevisionNotFound:  # squashed away meanwhile: look again
            continue


def _card_at(hub: Hub, repo: Repo, revision: Oid) -> Card:
    entries = [e for e in listing(hub, resolve(hub, repo, revision)) if e.kind is EntryKind.FILE]
    readme = next((e for e in entries if e.path == "README.md"), None)
    text = b"".join(read(hub, readme, 0, min(readme.size, 4 * MAX_BYTES))) if readme else b""
    card = parse_card(text)
    return replace(card, tags=tuple(dict.fromkeys([*card.tags, *tags_of_files([e.path for e in entries])])))


def squash(hub: Hub, actor: Actor, repo: Repo, branch: str, title: str) -> Commit:
    """Replace the branch's history by one commit of its present files. What only the history named is freed."""
    ref = branch_ref(branch)
    for _ in range(TRIES):
        head = _head(hub, repo, ref, branch)
        new = make_commit(head.tree, (), actor.name, noreply(actor), title, "", int(hub.now()))
        if new.oid == head.oid:
            return head
        size = _new_size(hub, repo, ref, 0)
        if hub.history.advance(repo, ref, expect=head.oid, commit=new, trees=(), size_bytes=size, by=actor,
                               action="squash") is None:
            return new
    raise Busy(f"{branch} of {repo.full_name} keeps moving.", hint="Try again.")


def looks_binary(sample: bytes) -> bool:
    """Whether a file's first bytes say it should travel as LFS: a NUL, or not UTF-8 (a cut last character is fine)."""
    if b"\0" in sample:
        return True
    try:
        sample.decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start < len(sample) - 4
    return False


def _keep_bytes(hub: Hub, repo: Repo, changes: Sequence[Change]) -> list[Change]:
    """Check every path; turn content and staged bytes into kept digests; check the digests named."""
    for change in changes:
        check_path(change.path)
    received = {i: change.staged or _stage(hub, change) for i, change in enumerate(changes)
                if isinstance(change, Add) and change.digest is None}
    if received:
        keep_all(hub, repo, list(received.values()))
    named = {c.digest: c.size for c in changes if isinstance(c, Add) and c.digest is not None}
    sizes = hub.holdings.sizes(repo, named)
    ready: list[Change] = []
    for i, change in enumerate(changes):
        if i in received:
            change = Add(change.path, digest=received[i].digest, size=received[i].size, staged=received[i])
        elif isinstance(change, Add):
            change = replace(change, size=_size_named(repo, change, sizes))
        ready.append(change)
    return ready


def _size_named(repo: Repo, add: Add, sizes: dict[Digest, int]) -> int:
    """The size of the digest a change names. Raises EntryNotFound if it may not be named, BadInput for a wrong size."""
    if add.digest not in sizes:
        raise EntryNotFound(f"The bytes sha256 {add.digest} were not uploaded to {repo.full_name}.",
                            hint="Upload them (LFS or Xet), then commit again.")
    size = sizes[add.digest]
    if add.size is not None and add.size != size:
        raise BadInput(f"sha256 {add.digest} has {size:,} bytes, not {add.size:,}.")
    return size


def _stage(hub: Hub, change: Add) -> Staged:
    if change.content is None:
        raise BadInput(f"{change.path!r} comes without content.")
    if len(change.content) > hub.settings.file_max_bytes:
        raise TooLarge(f"{change.path!r} has {len(change.content):,} bytes.")
    return stage(hub, [change.content], limit=len(change.content), git_size=len(change.content))


def _head(hub: Hub, repo: Repo, ref: str, branch: str) -> Commit:
    found = hub.history.ref(repo, ref)
    head = hub.history.commit(repo, found.commit) if found else None
    if head is None:
        raise RevisionNotFound(f"{repo.full_name} has no branch {branch!r}.", hint="Create it first.")
    return head


def _retried(hub: Hub, repo: Repo, head: Commit, parent: Oid) -> Commit:
    """The commit a stale client stands on, when the head is its direct child; StaleParent otherwise."""
    base = hub.history.commit(repo, parent) if head.parents == (parent,) else None
    if base is None:
        raise StaleParent(f"{repo.full_name} stands at {head.oid[:12]}, not at {parent[:12]}.",
                          hint="Fetch it, apply your change on top and commit again.")
    return base


def _same_work(new: Commit, head: Commit) -> bool:
    return (new.tree, new.author, new.title, new.message) == (head.tree, head.author, head.title, head.message)


def _build(hub: Hub, actor: Actor, repo: Repo, base: Commit, changes: Sequence[Change], title: str,
           message: str) -> tuple[Commit, list, int]:
    editor = TreeEditor(base.tree, hub.history.trees)
    # Deletions first, whatever their order, so that a folder may give way to a file of its name in one commit.
    for change in changes:
        if isinstance(change, Delete):
            editor.remove(change.path)
    for change in changes:
        if isinstance(change, Add):
            editor.put(change.path, _entry(change))
        elif isinstance(change, Copy):
            source = resolve(hub, repo, change.revision) if change.revision else base
            editor.put(change.path, find_file(hub, source, check_path(change.source)))
    root, trees = editor.write()
    new = make_commit(root, (base.oid,), actor.name, noreply(actor), title, message, int(hub.now()))
    return new, trees, editor.grown


def _entry(add: Add) -> Entry:
    # A regular file's git oid is of its bytes; without one it is a pointer, as git-lfs would have it.
    oid = add.staged.git_oid if add.staged else None
    return Entry(add.path, EntryKind.FILE, oid or pointer_id(add.digest, add.size), add.size, add.digest,
                 lfs=oid is None)


def _new_size(hub: Hub, repo: Repo, ref: str, grown: int) -> int:
    fresh = hub.repos.get(repo.id)
    size = (fresh.size_bytes if fresh else 0) + (grown if ref == MAIN else 0)
    quota = hub.settings.repo_quota_bytes
    if quota and grown > 0 and size > quota:
        raise TooLarge(f"{repo.full_name} would hold {size:,} bytes; at most {quota:,} are allowed.")
    return size


def noreply(actor: Actor) -> str:
    # Real addresses do not belong into history that strangers may read.
    return f"{actor.name}@users.noreply.headwater"


def drop(staged: Sequence[Staged]) -> None:
    """Forget bytes received for a commit that will not be."""
    for item in staged:
        Path(item.path).unlink(missing_ok=True)
