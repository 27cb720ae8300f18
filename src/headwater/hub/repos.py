"""Make, rename, duplicate and remove repos."""

from __future__ import annotations

from headwater.core.errors import Conflict
from headwater.core.types import EMPTY_TREE, Access, Actor, Entry, Kind, Ref, Repo
from headwater.hub import Hub
from headwater.hub.access import find_repo, may_create_in, need_admin
from headwater.hub.accounts import create_org
from headwater.hub.browse import files, resolve
from headwater.hub.commit import MAIN, describe, noreply
from headwater.hub.edit import TreeEditor
from headwater.hub.git import make_commit
from headwater.hub.names import branch_ref, check_name, check_owner, tag_ref


def create(hub: Hub, actor: Actor, kind: Kind, owner: str, name: str, *, private: bool = False) -> Repo:
    """An empty repo with a branch main. An administrator may create under a name nobody has yet: it becomes an
    organisation (so that 01-ai/Yi-6B can be kept under its own name).

    Raises RepoExists, BadName, Forbidden, NotSignedIn.
    """
    check_name(name)
    account = hub.accounts.find(owner)
    if account is None:
        may_create_in(hub, actor, owner)
        need_admin(actor)
        account = create_org(hub, actor, owner)
    may_create_in(hub, actor, account.name)
    first = make_commit(EMPTY_TREE, (), actor.name, noreply(actor), "initial commit", "", int(hub.now()))
    return hub.repos.create(kind, account.name, name, private=private, first=first, by=actor)


def move(hub: Hub, actor: Actor, repo: Repo, owner: str, name: str) -> Repo:
    """Rename; the old name redirects. Needs ADMIN on the repo and the right to create at the new place."""
    check_name(name)
    find_repo(hub, actor, repo.kind, repo.full_name, Access.ADMIN)
    account = hub.accounts.find(check_owner(owner))
    may_create_in(hub, actor, account.name if account else owner)
    if account is None:
        need_admin(actor)
        account = create_org(hub, actor, owner)
    if (account.name, name) == (repo.owner, repo.name):
        return repo
    return hub.repos.move(repo, account.name, name, by=actor)


def duplicate(hub: Hub, actor: Actor, source: Repo, owner: str, name: str, *, private: bool | None = None) -> Repo:
    """A new repo whose main holds the files of the source's main, in one commit. No bytes are stored twice."""
    commit_there = resolve(hub, source, "main")
    repo = create(hub, actor, source.kind, owner, name, private=source.private if private is None else private)
    entries = files(hub, commit_there)
    hub.holdings.grant_all(repo, {e.digest: e.size for e in entries}, seconds=hub.settings.upload_seconds)
    put_entries(hub, actor, repo, entries, title=f"Duplicate {source.full_name}",
                message=f"From revision {commit_there.oid}")
    return repo


def put_entries(hub: Hub, actor: Actor, repo: Repo, entries: list[Entry], *, title: str, message: str = "") -> None:
    """A commit on main that adds entries as they are, git oids and all."""
    head = resolve(hub, repo, "main")
    editor = TreeEditor(head.tree, hub.history.trees)
    for e in entries:
        editor.put(e.path, e)
    root, trees = editor.write()
    new = make_commit(root, (head.oid,), actor.name, noreply(actor), title, message, int(hub.now()))
    if hub.history.advance(repo, MAIN, expect=head.oid, commit=new, trees=trees,
                           size_bytes=repo.size_bytes + editor.grown, by=actor) is not None:
        raise Conflict(f"{repo.full_name} changed meanwhile.", hint="Try again.")
    describe(hub, repo)


def create_branch(hub: Hub, actor: Actor, repo: Repo, name: str, start: str = "main", *, empty: bool = False) -> Ref:
    """Raises Conflict if there is one of that name."""
    if empty:
        first = make_commit(EMPTY_TREE, (), actor.name, noreply(actor), "initial commit", "", int(hub.now()))
        if hub.history.advance(repo, branch_ref(name), expect=None, commit=first, trees=(), size_bytes=repo.size_bytes,
                               by=actor, action="branch.create") is not None:
            raise Conflict(f"{repo.full_name} has a branch {name!r} already.")
        return Ref(branch_ref(name), first.oid)
    ref = Ref(branch_ref(name), resolve(hub, repo, start).oid)
    if not hub.history.place(repo, ref, by=actor):
        raise Conflict(f"{repo.full_name} has a branch {name!r} already.")
    return ref


def create_tag(hub: Hub, actor: Actor, repo: Repo, name: str, revision: str = "main",
               message: str | None = None) -> Ref:
    """Raises Conflict if there is one of that name."""
    ref = Ref(tag_ref(name), resolve(hub, repo, revision).oid, message)
    if not hub.history.place(repo, ref, by=actor):
        raise Conflict(f"{repo.full_name} has a tag {name!r} already.")
    return ref


