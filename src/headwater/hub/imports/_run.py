"""The verb: plan, compare with what is here, fetch what is missing, commit. And the job that runs it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from headwater.core.errors import BadInput, DiskFull, NotSignedIn, RepoExists, TooLarge
from headwater.core.types import Access, Actor, Commit, Entry, Job, Kind, Repo, Staged
from headwater.core.work import Progress, Work
from headwater.hub import Hub
from headwater.hub.access import find_repo, may_create_in, need_admin, need_scope
from headwater.hub.browse import files, resolve
from headwater.hub.commit import Add, Change, Delete, commit
from headwater.hub.imports._folder import work_folder
from headwater.hub.imports._shelf import Meter, Offer, Plan, path_of, source_of
from headwater.hub.names import check_name, check_owner, check_path, split_full_name
from headwater.hub.repos import create

KIND = "import"
LOOK_BACK = 1_000
"""Commits searched for an earlier import."""


@dataclass(frozen=True)
class Imported:
    """already: this version was here, and nothing was done. fetched: files whose bytes came; bytes: how many."""

    repo: Repo
    commit: Commit
    already: bool
    fetched: int
    bytes: int
    shown: dict[str, Any]

    def result(self) -> dict[str, Any]:
        return {"repo": self.repo.full_name, "kind": self.repo.kind.value, "revision": self.commit.oid,
                "already": self.already, "fetched": self.fetched, "bytes": self.bytes, **self.shown}


def import_source(hub: Hub, actor: Actor, source: str, as_name: str | None = None, progress: Progress | None = None,
                  *, private: bool = False) -> Imported:
    """Add what `source` names to the hub, as `as_name` (owner/name) or under the name the source suggests.

    Run again after a crash it goes on where it was. Files that are here are not fetched; a repo that was imported
    before gets what changed there since, and keeps what was changed here alone. private: of a repo that is new.
    """
    need_scope(actor, Access.WRITE)
    meter = Meter(_quiet if progress is None else progress)
    with source_of(source).open(hub, actor, source.strip(), meter) as plan:
        owner, name = split_full_name(as_name) if as_name else (plan.owner or actor.name, plan.name)
        repo = _target(hub, actor, plan.kind, owner, name)
        head, before = _earlier(hub, repo, plan)
        if repo and head and before and plan.version and _trailer(plan) in before.message.splitlines():
            return Imported(repo, head, True, 0, 0, plan.shown)
        wanted, gone = _compare(hub, plan, head, before)
        _check_room(hub, wanted)
        with work_folder(hub, f"{plan.origin}\n{plan.kind}/{owner}/{name}".lower()) as folder:
            changes = [*(Delete(path) for path in gone), *_fetch(hub, repo, wanted, folder, meter)]
            meter.stage("committing")
            repo, made = _publish(hub, actor, plan, repo, (owner, name), changes,
                                  private or plan.private)
        fetched = [offer for offer, change in zip(wanted, changes[len(gone):], strict=True) if change.staged]
    return Imported(repo, made, False, len(fetched), sum(offer.size for offer in fetched), plan.shown)


def _quiet(done: int, total: int | None = None, *, stage: str | None = None, unit: str | None = None) -> None:
    pass


def _target(hub: Hub, actor: Actor, kind: Kind, owner: str, name: str) -> Repo | None:
    """The repo to import into, or None when it is to be made. Raises before any byte is fetched for nothing."""
    found = hub.repos.find(kind, owner, name)
    if found and found.full_name.lower() == f"{owner}/{name}".lower():  # not a redirect from an old name
        return find_repo(hub, actor, kind, f"{owner}/{name}", Access.WRITE)
    check_name(name)
    account = hub.accounts.find(check_owner(owner))
    may_create_in(hub, actor, account.name if account else owner)
    if account is None:
        need_admin(actor)
    return None


def _earlier(hub: Hub, repo: Repo | None, plan: Plan) -> tuple[Commit | None, Commit | None]:
    """(head of main, newest commit on it that imported from this origin)."""
    if repo is None:
        return None, None
    head = resolve(hub, repo, "main")
    mark = f"Imported-From: {plan.origin}@"
    log = hub.history.log(repo, head.oid, limit=LOOK_BACK)
    before = next((c for c in log if any(line.startswith(mark) for line in c.message.splitlines())), None)
    return head, before


def _trailer(plan: Plan) -> str:
    return f"Imported-From: {plan.origin}@{plan.version}"


def _compare(hub: Hub, plan: Plan, head: Commit | None, before: Commit | None) -> tuple[list[Offer], list[str]]:
    """(offers to fetch, paths to delete): what changed at the source since `before`, as far as it is not here."""
    here = {e.path: e for e in files(hub, head)} if head else {}
    then = {e.path: e for e in files(hub, before)} if before else {}
    offered = {check_path(offer.path): offer for offer in plan.offers}
    if len(offered) != len(plan.offers):
        raise BadInput("The source lists a path twice.")
    wanted = [offer for path, offer in offered.items()
              if not _same(then.get(path), offer) and not _same(here.get(path), offer)]
    gone = [path for path, entry in then.items() if plan.whole and path not in offered
            and path in here and here[path].oid == entry.oid]
    return wanted, gone


def _same(entry: Entry | None, offer: Offer) -> bool:
    if entry is None:
        return False
    return entry.digest == offer.digest if offer.digest else offer.oid is not None and entry.oid == offer.oid


def _check_room(hub: Hub, wanted: list[Offer]) -> None:
    limit, total = hub.settings.file_max_bytes, sum(offer.size for offer in wanted)
    for offer in wanted:
        if offer.size > limit:
            raise TooLarge(f"{offer.path} has {offer.size:,} bytes; this hub takes files up to {limit:,}.",
                           hint="The setting file_max_bytes changes that.")
    hub.tmp.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(hub.tmp).free
    if total > free:
        raise DiskFull(f"The import needs {total:,} bytes and the disk has {free:,} free.", hint="Free space first.")


def _fetch(hub: Hub, repo: Repo | None, wanted: list[Offer], folder: Path, meter: Meter) -> list[Add]:
    """The bytes of each offer, staged in `folder`; those the repo may name already are not fetched."""
    held = hub.holdings.sizes(repo, [o.digest for o in wanted if o.digest]) if repo else {}
    meter.start("fetching", sum(offer.size for offer in wanted))
    got: dict[tuple[str | None, str | None], Staged] = {}
    adds = []
    for number, offer in enumerate(wanted, 1):
        meter.stage(f"{offer.path} ({number} of {len(wanted)})")
        key = (offer.digest, offer.oid)
        if offer.digest and held.get(offer.digest) == offer.size:
            adds.append(Add(offer.path, digest=offer.digest, size=offer.size))
            meter.add(offer.size)
        elif key != (None, None) and key in got:
            # Two paths, one file: its bytes are staged once, and named twice.
            adds.append(Add(offer.path, digest=got[key].digest, size=offer.size, staged=replace(got[key], path="")))
            meter.add(offer.size)
        else:
            got[key] = offer.fetch(folder, meter)
            adds.append(Add(offer.path, staged=got[key]))
    return adds


def _publish(hub: Hub, actor: Actor, plan: Plan, repo: Repo | None, where: tuple[str, str], changes: list[Change],
             private: bool) -> tuple[Repo, Commit]:
    fresh = repo is None
    if repo is None:
        try:
            repo = create(hub, actor, plan.kind, *where, private=private)
        except RepoExists:  # made by somebody while the bytes came
            repo, fresh = find_repo(hub, actor, plan.kind, "/".join(where), Access.WRITE), False
    lines = [_trailer(plan)] if plan.version else [f"Imported-From: {plan.origin}"]
    try:
        made = commit(hub, actor, repo, "main", changes, title=plan.title, message="\n".join([*plan.notes, *lines]))
    except BaseException:
        if fresh:  # nothing was there before; leave nothing
            hub.repos.delete(repo, by=actor)
        raise
    return hub.repos.get(repo.id) or repo, made


# --- as a job


def import_job(hub: Hub) -> Work:
    """What the executor runs for jobs of the kind `import`."""

    def work(payload: dict[str, Any], progress: Progress) -> dict[str, Any]:
        made = import_source(hub, _actor(hub, payload), payload["source"], payload["as"], progress,
                             private=payload["private"])
        return made.result()

    return work


def enqueue_import(hub: Hub, actor: Actor, source: str, as_name: str | None = None, *, private: bool = False,
                   is_local: bool = False) -> Job:
    """The job that will import `source` in the actor's name. What can be refused at once is.

    is_local: the actor sits at the hub's own machine, so an administrator may name files of it.
    """
    account = need_scope(actor, Access.WRITE)
    if source_of(source, local=is_local and actor.is_admin).local and not path_of(source.strip()).is_absolute():
        raise BadInput(f"{source[:200]!r} is a relative path.", hint="Name it from the root: the hub stands elsewhere.")
    if as_name:
        owner, name = split_full_name(as_name)
        check_owner(owner), check_name(name)
    payload = {"source": source.strip(), "as": as_name, "private": private, "account": account.id,
               "scope": actor.scope.value, "token": [actor.token_id, actor.token_name],
               "repos": list(actor.repos) if actor.repos is not None else None}
    key = f"import:{source.strip()}:{as_name or ''}:{account.id}"
    return hub.jobs.enqueue(KIND, payload, title=f"Import {source.strip()[:200]}", by=account.name, key=key)


def _actor(hub: Hub, payload: dict[str, Any]) -> Actor:
    account = hub.accounts.get(payload["account"])
    if account is None:
        raise NotSignedIn("The account that asked for this import is gone.")
    repos = payload["repos"]
    return Actor(account, Access(payload["scope"]), *payload["token"], tuple(repos) if repos is not None else None)
