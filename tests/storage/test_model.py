"""F6: the store against a model of it, the sweep included.

The model is a few dicts. After every step: what a repo's refs reach is named and its bytes are there; what a live
lease holds is there; the sweep took exactly what it may take. In the end everything unnamed goes.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)
from record_samples import MAIN, Clock, World, digest, file, folder
from sqlalchemy import select

from headwater.core.errors import Conflict, EntryNotFound, RepoExists
from headwater.core.types import EMPTY_TREE, Ref, Repo
from headwater.hub.git import make_commit, make_tree
from headwater.storage.blobs.folder import FolderBlobs
from headwater.storage.records import open_records
from headwater.storage.tables import commits, trees

CONTENTS = st.sampled_from([f"content {n}" for n in range(4)])
BRANCHES = st.sampled_from([MAIN, "refs/heads/dev", "refs/heads/x/y"])
SELDOM = st.integers(0, 3).map(lambda n: n == 0)
FILES = st.dictionaries(st.sampled_from(["a", "b", "sub/a", "sub/c"]), CONTENTS, max_size=4)


@dataclass
class Model:
    """What should be so of one repo. commits: oid -> (parents, digests its tree names, oids of its trees)."""

    repo: Repo
    refs: dict[str, str]
    commits: dict[str, tuple[tuple[str, ...], frozenset[str], frozenset[str]]]
    leases: dict[str, float] = field(default_factory=dict)

    def reached(self) -> set[str]:
        seen, ahead = set(), list(self.refs.values())
        while ahead:
            oid = ahead.pop()
            if oid not in seen:
                seen.add(oid)
                ahead += self.commits[oid][0]
        return seen

    def named(self) -> set[str]:
        return {name for oid in self.reached() for name in self.commits[oid][1]}

    def forget(self):
        reached = self.reached()
        self.commits = {oid: commit for oid, commit in self.commits.items() if oid in reached}


class Store(RuleBasedStateMachine):
    repos = Bundle("repos")
    template: Path  # a data folder with an empty, migrated database

    def __init__(self):
        super().__init__()
        # In memory where that can be had: what a disk does to it is not asked here.
        self.data = Path(tempfile.mkdtemp(prefix="hw-model-", dir="/dev/shm" if os.path.isdir("/dev/shm") else None))
        shutil.copytree(self.template, self.data, dirs_exist_ok=True)
        clock = Clock()
        self.world = World(open_records(None, self.data, clock), clock)
        self.blobs = FolderBlobs(self.data / "blobs")
        self.models: dict[int, Model] = {}
        self.granted: dict[str, float] = {}  # digest -> when last granted: what the ledger knows of
        self.kept: set[str] = set()
        self.steps = 0

    def teardown(self):
        self.everything_unnamed_goes()
        self.world.records.close()
        shutil.rmtree(self.data)

    # --- rules

    @initialize(target=repos)
    def begin(self):
        return self.make("one")

    @rule(target=repos, name=st.sampled_from(["one", "two", "three"]))
    def create(self, name):
        return self.make(name)

    def make(self, name):
        taken = any(m.repo.name == name for m in self.models.values())
        try:
            repo = self.world.repo(name)
        except RepoExists:
            assert taken
            return multiple()
        assert not taken
        self.models[repo.id] = Model(repo, {MAIN: repo.head}, {repo.head: ((), frozenset(), frozenset())})
        return repo.id

    @rule(repo=consumes(repos))
    @precondition(lambda self: len(self.models) > 1)
    def delete(self, repo):
        self.drop(repo)

    def drop(self, repo):
        self.world.records.repos.delete(self.models.pop(repo).repo, by=self.world.me)

    @rule(repo=repos, content=CONTENTS, seconds=st.sampled_from([10, 1000]),
          until=st.sampled_from(["granted", "adopted", "kept", "kept", "kept"]))
    def upload(self, repo, content, seconds, until):
        self.receive(repo, content, seconds, until)

    def receive(self, repo, content, seconds, until):
        """An upload, or the part of it that came before a crash."""
        model, holdings, name = self.models[repo], self.world.records.holdings, digest(content)
        holdings.grant(model.repo, name, len(content), seconds=seconds)
        now = self.world.clock()
        model.leases[name] = max(model.leases.get(name, 0), now + seconds)
        self.granted[name] = now
        if until != "granted":
            staged = self.data / "staged"
            staged.write_text(content)
            self.blobs.adopt(staged, name)
        if until == "kept":
            holdings.kept(name)
            self.kept.add(name)

    @rule(repo=repos, branch=BRANCHES, files=FILES, squash=SELDOM, seconds=st.sampled_from([1, 10, 1000]))
    def push(self, repo, branch, files, squash, seconds):
        """Upload all of the files, then commit them: what a client does."""
        for content in files.values():
            self.receive(repo, content, seconds, "kept")
        self.advance(repo, branch, files, squash)

    @rule(repo=repos, branch=BRANCHES, files=FILES, squash=SELDOM)
    def commit(self, repo, branch, files, squash):
        """Commit files that may not have been uploaded, or not lately."""
        self.advance(repo, branch, files, squash)

    def advance(self, repo, branch, files, squash):
        model = self.models[repo]
        head = model.refs.get(branch)
        inner = make_tree(file(n[4:], c) for n, c in files.items() if n.startswith("sub/"))
        entries = [file(n, c) for n, c in files.items() if "/" not in n]
        root = make_tree([*entries, *([folder("sub", inner)] if inner.entries else [])])
        made = [root, *([inner] if inner.entries else [])]
        parents = () if squash or head is None else (head,)
        self.steps += 1
        new = make_commit(root.oid, parents, "ann", "a@b", f"step {self.steps}", "", 1)
        names = frozenset(map(digest, files.values()))
        try:
            stale = self.world.records.history.advance(
                model.repo, branch, expect=head, commit=new, trees=made, size_bytes=1, by=self.world.me)
        except EntryNotFound:
            assert not names <= self.kept
            return
        assert stale is None and names <= self.kept
        model.refs[branch] = new.oid
        model.commits[new.oid] = (parents, names, frozenset(tree.oid for tree in made))
        model.forget()

    @rule(repo=repos, name=st.sampled_from(["refs/tags/v1", "refs/heads/dev"]), pick=st.integers(0, 99))
    def place(self, repo, name, pick):
        model = self.models[repo]
        oid = sorted(model.commits)[pick % len(model.commits)]
        placed = self.world.records.history.place(model.repo, Ref(name, oid), by=self.world.me)
        assert placed is (name not in model.refs)
        model.refs.setdefault(name, oid)

    @rule(repo=repos, name=st.sampled_from(["refs/tags/v1", "refs/heads/dev", "refs/heads/x/y"]))
    def remove(self, repo, name):
        model = self.models[repo]
        assert self.world.records.history.remove(model.repo, name, by=self.world.me) is (name in model.refs)
        model.refs.pop(name, None)
        model.forget()

    @rule(seconds=st.sampled_from([1, 20, 20, 500, 2000]))
    def wait(self, seconds):
        self.world.clock.at += seconds

    @rule(grace=st.sampled_from([0, 0, 15, 600]))
    def sweep(self, grace):
        self.swept(grace)

    def swept(self, grace):
        gone = {name for name, _ in self.world.records.holdings.sweep(
            grace_s=grace, limit=1000, delete=self.blobs.delete)}
        now = self.world.clock()
        assert gone == {name for name, at in self.granted.items()
                        if at <= now - grace and name not in self.held()}
        self.granted = {name: at for name, at in self.granted.items() if name not in gone}
        self.kept -= gone

    @rule()
    def reopen(self):
        self.world.records.close()
        self.world.records = open_records(None, self.data, self.world.clock)

    @rule(content=CONTENTS)
    def keep_without_a_lease(self, content):
        name = digest(content)
        if name not in self.granted:
            with pytest.raises(Conflict):
                self.world.records.holdings.kept(name)

    # --- what holds at every moment

    def named(self) -> set[str]:
        return {name for model in self.models.values() for name in model.named()}

    def held(self) -> set[str]:
        """Named by a commit some ref reaches, or under a live lease."""
        now = self.world.clock()
        leased = {name for model in self.models.values() for name, end in model.leases.items() if end > now}
        return self.named() | leased

    @invariant()
    def what_is_named_or_leased_is_there(self):
        assert {name for name in self.held() & self.kept if self.blobs.size(name) is None} == set()
        assert self.named() <= self.kept
        assert dict(self.world.records.holdings.all()).keys() == self.kept

    @invariant()
    def every_repo_is_as_the_model_says(self):
        now = self.world.clock()
        for model in self.models.values():
            history = self.world.records.history
            assert {ref.name: ref.commit for ref in history.refs(model.repo)} == model.refs
            assert history.digests(model.repo).keys() == model.named()
            assert self.rows(commits, model) == model.commits.keys()
            assert self.rows(trees, model) == {EMPTY_TREE}.union(*(commit[2] for commit in model.commits.values()))
            may = model.named() | {name for name, end in model.leases.items() if end > now and name in self.kept}
            assert self.world.records.holdings.sizes(model.repo, self.granted).keys() == may

    def rows(self, table, model) -> set[str]:
        with self.world.records.engine.connect() as connection:
            return set(connection.scalars(select(table.c.oid).where(table.c.repo_id == model.repo.id)))

    def everything_unnamed_goes(self):
        self.world.clock.at += 10_000
        self.swept(0)
        assert set(self.blobs.digests()) == self.named()
        for repo in list(self.models):
            self.drop(repo)
        self.world.clock.at += 10_000
        self.swept(0)
        assert set(self.blobs.digests()) == set()


def test_f6_the_store_does_what_its_model_does_and_the_sweep_takes_nothing_named_or_leased(tmp_path):
    open_records(None, tmp_path).close()
    Store.template = tmp_path
    run_state_machine_as_test(Store, settings=settings(
        max_examples=30, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)))
