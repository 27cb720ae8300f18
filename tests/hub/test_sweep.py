"""The sweep gives back what nobody names, and only that; the scrub finds what rotted."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from record_samples import Clock
from server import opened_hub

from headwater.core.errors import Busy, HeadwaterError, Unavailable
from headwater.core.types import Actor, Kind, Repo
from headwater.hub import Hub, browse, repos
from headwater.hub.accounts import owner_actor
from headwater.hub.commit import Add, Copy, Delete, commit, squash
from headwater.hub.intake import keep, stage
from headwater.hub.snapshot import lay_out
from headwater.hub.sweep import scrub, sweep, sweeping

GRACE = 100.0


def upload(hub: Hub, repo: Repo, data: bytes) -> str:
    staged = stage(hub, [data], limit=len(data))
    keep(hub, repo, staged)
    return staged.digest


def push(hub: Hub, repo: Repo, *changes, branch: str = "main"):
    return commit(hub, owner_actor(hub), repo, branch, changes, title="t")


def test_what_is_named_leased_or_young_stays(hub: Hub, repo: Repo, clock: Clock) -> None:
    named, leased = upload(hub, repo, b"named"), upload(hub, repo, b"leased")
    push(hub, repo, Add("w", digest=named))
    assert sweep(hub, grace_s=0).blobs == 0
    clock.at += hub.settings.upload_seconds + 1
    assert sweep(hub, grace_s=hub.settings.upload_seconds + 100).blobs == 0
    assert sweep(hub, grace_s=GRACE).blobs == 1
    assert list(hub.blobs.digests()) == [named] and hub.blobs.size(leased) is None


def test_deleting_a_repo_frees_its_bytes_but_not_those_a_duplicate_names(hub: Hub, owner: Actor, repo: Repo,
                                                                         clock: Clock) -> None:
    push(hub, repo, Add("w", digest=upload(hub, repo, b"shared")))
    copy = repos.duplicate(hub, owner, repo, owner.name, "copy")
    push(hub, repo, Add("x", digest=upload(hub, repo, b"own")))
    hub.repos.delete(repo, by=owner)
    clock.at += hub.settings.upload_seconds + 1
    assert sweep(hub, grace_s=0).blobs == 1
    assert b"".join(browse.read(hub, browse.file(hub, browse.resolve(hub, copy, "main"), "w"))) == b"shared"


def test_squashing_frees_what_only_the_history_named(hub: Hub, owner: Actor, repo: Repo, clock: Clock) -> None:
    push(hub, repo, Add("w", digest=upload(hub, repo, b"old")))
    push(hub, repo, Add("w", digest=upload(hub, repo, b"new")))
    clock.at += hub.settings.upload_seconds + 1
    assert sweep(hub, grace_s=0).blobs == 0
    squash(hub, owner, repo, "main", "one")
    swept = sweep(hub, grace_s=0)
    assert (swept.blobs, swept.bytes) == (1, 3)


def test_uploads_given_up_and_revisions_gone_are_tidied(hub: Hub, owner: Actor, repo: Repo, clock: Clock) -> None:
    head = push(hub, repo, Add("a", b"1"))
    lay_out(hub, repo, head)
    (hub.tmp / "in-abandoned").write_bytes(b"x")
    (hub.tmp / "parts-1-x").mkdir()
    assert sweep(hub, grace_s=0).tmp == 0
    clock.at += hub.settings.upload_seconds + 10
    hub.repos.delete(repo, by=owner)
    assert sweep(hub, grace_s=0).tmp == 3
    assert list(hub.tmp.iterdir()) == [] and not list((hub.settings.data / "snapshots").iterdir())


def test_only_one_sweep_runs_at_a_time(hub: Hub) -> None:
    with sweeping(hub), pytest.raises(Busy):
        sweep(hub)
    sweep(hub)


def test_a_sweep_that_cannot_delete_keeps_its_books_right(hub: Hub, repo: Repo, clock: Clock, monkeypatch) -> None:
    digest = upload(hub, repo, b"free")
    clock.at += hub.settings.upload_seconds + 1

    def broken(self: object, digest: str) -> None:
        raise OSError(5, "I/O error")

    with monkeypatch.context() as patched:
        patched.setattr(type(hub.blobs), "delete", broken)
        with pytest.raises(OSError):
            sweep(hub, grace_s=0)
    assert hub.holdings.sizes(repo, [digest]) == {} and hub.blobs.size(digest) == 4
    assert sweep(hub, grace_s=0).blobs == 1


def test_f05_a_flipped_byte_is_found_and_no_longer_read(hub: Hub, repo: Repo) -> None:
    head = push(hub, repo, Add("w", digest=upload(hub, repo, b"weights!")), Add("ok", b"fine"))
    path = hub.blobs.path(browse.file(hub, head, "w").digest)
    os.chmod(path, 0o644)
    path.write_bytes(b"weightz!")
    damage = scrub(hub)
    assert [(d.digest, d.size, d.found != d.digest) for d in damage] == [(path.name, 8, True)]
    with pytest.raises(Unavailable, match="damaged"):
        browse.read(hub, browse.file(hub, head, "w"))
    upload(hub, repo, b"weights!")
    assert scrub(hub) == [] and b"".join(browse.read(hub, browse.file(hub, head, "w"))) == b"weights!"


def test_a_snapshot_holds_the_files_and_survives_the_sweep_of_the_repo(hub: Hub, owner: Actor, repo: Repo,
                                                                       clock: Clock) -> None:
    head = push(hub, repo, Add("sub/a", b"1"), Add("b", b"2"))
    snapshot = lay_out(hub, repo, head)
    assert lay_out(hub, repo, head) == snapshot
    held = open(Path(snapshot.folder) / "sub" / "a", "rb")  # noqa: SIM115  a worker that has it mapped
    assert (Path(snapshot.folder) / "b").stat().st_nlink == 2
    hub.repos.delete(repo, by=owner)
    clock.at += hub.settings.upload_seconds + 1
    sweep(hub, grace_s=0)
    assert held.read() == b"1"
    held.close()


class SweepModel(RuleBasedStateMachine):
    """Uploads, commits, copies, squashes, branches, deletions and sweeps in any order; a dict knows what must read."""

    folder: Path

    @initialize()
    def start(self) -> None:
        self.clock = Clock()
        SweepModel.count += 1
        self.opened = opened_hub(self.folder / str(SweepModel.count), self.clock, upload_seconds=50)
        self.hub = self.opened.__enter__()
        self.owner = owner_actor(self.hub)
        self.repos: dict[str, Repo] = {}
        self.heads: dict[tuple[str, str], dict[str, bytes]] = {}
        self.revisions: dict[tuple[str, str], dict[str, bytes]] = {}
        for name in ("one", "two"):
            self.make(name)

    count = 0

    def teardown(self) -> None:
        if hasattr(self, "opened"):
            self.opened.__exit__(None, None, None)

    def make(self, name: str) -> None:
        self.repos[name] = repos.create(self.hub, self.owner, Kind.MODEL, self.owner.name, name)
        self.heads[name, "main"] = {}

    names = st.sampled_from(["one", "two"])
    contents = st.sampled_from([b"A", b"BB", b"CCC", b"DDDD"])
    paths = st.sampled_from(["p", "q", "d/r"])

    @rule(name=names, data=contents, path=paths, wait=st.sampled_from([0, 30, 60]), dev=st.booleans())
    def put(self, name: str, data: bytes, path: str, wait: int, dev: bool) -> None:
        digest = upload(self.hub, self.repos[name], data)
        self.clock.at += wait
        if wait:
            self.sweep(0)
        branch = "dev" if dev and (name, "dev") in self.heads else "main"
        try:
            made = push(self.hub, self.repos[name], Add(path, digest=digest), branch=branch)
        except HeadwaterError:
            assert wait > 50, "a live lease was not honoured"
            return
        self.note(name, branch, {**self.heads[name, branch], path: data}, made.oid)

    def note(self, name: str, branch: str, files: dict[str, bytes], revision: str) -> None:
        self.heads[name, branch] = files
        self.revisions[name, revision] = files

    @rule(name=names, source=paths, path=paths)
    def copy(self, name: str, source: str, path: str) -> None:
        files = self.heads[name, "main"]
        if source in files and source != path:
            made = push(self.hub, self.repos[name], Copy(path, source))
            self.note(name, "main", {**files, path: files[source]}, made.oid)

    @rule(name=names, path=paths)
    def delete(self, name: str, path: str) -> None:
        files = dict(self.heads[name, "main"])
        if files.pop(path, None) is not None:
            made = push(self.hub, self.repos[name], Delete(path))
            self.note(name, "main", files, made.oid)

    @rule(name=names)
    def branch(self, name: str) -> None:
        if (name, "dev") not in self.heads:
            repos.create_branch(self.hub, self.owner, self.repos[name], "dev")
            self.heads[name, "dev"] = dict(self.heads[name, "main"])
        else:
            self.hub.history.remove(self.repos[name], "refs/heads/dev", by=self.owner)
            del self.heads[name, "dev"]
            self.forget(name)

    @rule(name=names)
    def squash(self, name: str) -> None:
        squash(self.hub, self.owner, self.repos[name], "main", "one")
        self.forget(name)

    def forget(self, name: str) -> None:
        """Of the revisions noted keep those the hub still has: which those are is its own affair."""
        self.revisions = {(n, r): files for (n, r), files in self.revisions.items()
                          if n != name or self.hub.history.commit(self.repos[n], r)}

    @rule(name=names)
    def delete_repo(self, name: str) -> None:
        self.hub.repos.delete(self.repos[name], by=self.owner)
        self.heads = {k: v for k, v in self.heads.items() if k[0] != name}
        self.revisions = {k: v for k, v in self.revisions.items() if k[0] != name}
        self.make(name)

    @rule(wait=st.sampled_from([0, 10, 60, 200]), grace=st.sampled_from([0.0, 5.0, 100.0]))
    def sweep_later(self, wait: int, grace: float) -> None:
        self.clock.at += wait
        self.sweep(grace)

    def sweep(self, grace: float) -> None:
        sweep(self.hub, grace_s=grace)

    @invariant()
    def everything_visible_reads(self) -> None:
        for (name, branch), files in getattr(self, "heads", {}).items():
            assert self.read(name, branch) == files
        for (name, revision), files in getattr(self, "revisions", {}).items():
            assert self.read(name, revision) == files

    def read(self, name: str, revision: str) -> dict[str, bytes]:
        at = browse.resolve(self.hub, self.repos[name], revision)
        return {e.path: b"".join(browse.read(self.hub, e)) for e in browse.files(self.hub, at)}


def test_f06_no_order_of_uploads_commits_squashes_and_sweeps_loses_what_a_ref_names(tmp_path: Path) -> None:
    SweepModel.folder = tmp_path
    run_state_machine_as_test(SweepModel, settings=settings(
        max_examples=20, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)))
