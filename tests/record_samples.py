"""Records to test with: a clock that is moved by hand, and commits with genuine git oids."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from headwater.core.types import ANYONE, EMPTY_TREE, Access, Account, Actor, Commit, Entry, EntryKind, Kind, Repo, Tree
from headwater.hub.git import make_commit, make_tree, pointer_id
from headwater.storage.records import Records

MAIN = "refs/heads/main"
HOUR = 3600.0


class Clock:
    def __init__(self, at: float = 1_700_000_000.0):
        self.at = at

    def __call__(self) -> float:
        return self.at


def digest(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def file(name: str, content: str) -> Entry:
    size = len(content)
    return Entry(name, EntryKind.FILE, pointer_id(digest(content), size), size, digest(content), True)


def folder(name: str, tree: Tree) -> Entry:
    return Entry(name, EntryKind.DIRECTORY, tree.oid)


@dataclass
class World:
    """Records with somebody in them, and short ways to do what hub/ does."""

    records: Records
    clock: Clock
    ann: Account = field(init=False)
    me: Actor = field(init=False)

    def __post_init__(self):
        self.ann = self.account("ann")
        self.me = Actor(self.ann, Access.WRITE, token_name="laptop")

    def account(self, name, **fields):
        given = {"is_org": False, "fullname": "", "email": None, "is_admin": False, "password_hash": None, **fields}
        return self.records.accounts.create(name, by=ANYONE, **given)

    def first(self, title="initial commit") -> Commit:
        return make_commit(EMPTY_TREE, (), "ann", "ann@example.org", title, "", int(self.clock()))

    def repo(self, name="yi", owner="ann", kind=Kind.MODEL, private=False) -> Repo:
        return self.records.repos.create(kind, owner, name, private=private, first=self.first(), by=self.me)

    def keep(self, repo, *contents, seconds=HOUR):
        for content in contents:
            self.records.holdings.grant(repo, digest(content), len(content), seconds=seconds)
            self.records.holdings.kept(digest(content))

    def head(self, repo, ref=MAIN):
        return self.records.history.ref(repo, ref).commit

    def push(self, repo, files: dict[str, str], ref=MAIN, title="work", parents=None, expect=...) -> Commit:
        """Keep the contents and commit exactly these files (names without folders)."""
        self.keep(repo, *files.values())
        tree = make_tree(file(name, content) for name, content in files.items())
        return self.commit(repo, tree, [tree], ref, title, parents, expect)

    def commit(self, repo, root, trees, ref=MAIN, title="work", parents=None, expect=...) -> Commit:
        at = self.records.history.ref(repo, ref)
        stands = at.commit if at else None
        parents = ((stands,) if stands else ()) if parents is None else parents
        commit = make_commit(root.oid, parents, "ann", "ann@example.org", title, "", int(self.clock()))
        stale = self.records.history.advance(repo, ref, expect=stands if expect is ... else expect, commit=commit,
                                             trees=trees, size_bytes=sum(e.size for e in root.entries), by=self.me)
        assert stale is None, stale
        return commit

    def sweep(self, grace_s=0.0, limit=1000) -> set[str]:
        """What was deleted."""
        gone = []
        told = self.records.holdings.sweep(grace_s=grace_s, limit=limit, delete=gone.append)
        assert [d for d, _ in told] == gone
        return set(gone)
