"""Clients with a memory against the hub that must honour it, in any order of pushes, deletes, sweeps and losses.

The model is the client's: per address it remembers which xorbs it sent, for three weeks, and does not send them
again. Whatever happened in between, its push must succeed, and the files must be what it meant.
"""

import os
import shutil
import tempfile
import time
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from record_samples import Clock
from server import opened_hub
from xet_made import File, shard, xorb

from headwater.core.types import Access, Actor, Kind
from headwater.hub import repos as repo_verbs
from headwater.hub.accounts import create_user, owner_actor
from headwater.hub.sweep import sweep
from headwater.hub.xet import ShardIntake, XorbIntake, open_ticket, ticket
from headwater.hub.xet_store import REMEMBERED_S

XORBS = [xorb(*[5000 + 37 * i + j for j in range(1 + i % 4)], seed=i) for i in range(3)]
PART = st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(1, 4)).map(
    lambda t: (XORBS[t[0]], min(t[1], len(XORBS[t[0]].pieces) - 1), t[2])).map(
    lambda t: (t[0], t[1], min(t[1] + t[2], len(t[0].pieces))))
FILES = st.lists(st.lists(PART, min_size=1, max_size=4).map(lambda parts: File(tuple(parts))), min_size=1, max_size=3)
START = time.time() - 60
WHO = st.sampled_from(("owner", "alice"))


class Memory(RuleBasedStateMachine):
    @initialize()
    def open(self) -> None:
        self.folder = Path(tempfile.mkdtemp())
        # Far in the past, so that what the kernel dates is known from what has been put right.
        self.clock = Clock(1_000_000_000.0)
        self.opened = opened_hub(self.folder / "data", self.clock)
        self.hub = self.opened.__enter__()
        owner = owner_actor(self.hub)
        self.actors = {"owner": owner, "alice": Actor(create_user(self.hub, owner, "alice", None), Access.WRITE)}
        self.repos = {}
        self.remembers: dict[tuple[str, str], set[bytes]] = {}
        self.named = 0

    def teardown(self) -> None:
        if hasattr(self, "opened"):
            self.opened.__exit__(None, None, None)
            shutil.rmtree(self.folder)

    def _repo(self, who: str) -> object:
        if who not in self.repos:
            self.named += 1
            actor = self.actors[who]
            self.repos[who] = repo_verbs.create(self.hub, actor, Kind.MODEL, actor.name, f"r{self.named}")
        return self.repos[who]

    def _begin(self, who: str, files: list[File]) -> tuple:
        """Ask for a ticket and send the xorbs this client does not remember at that address."""
        made = ticket(self.hub, self.actors[who], self._repo(who))
        grant = open_ticket(self.hub, made.text, made.address)
        memory = self.remembers.setdefault((who, made.address), set())
        new = list({x.hash: x for file in files for x, _, _ in file.parts if x.hash not in memory}.values())
        for each in new:
            with XorbIntake(grant, each.hash) as intake:
                intake.write(each.body())
                intake.finish()
        memory.update(each.hash for each in new)
        return grant, new

    @rule(who=WHO, files=FILES)
    def push(self, who: str, files: list[File]) -> None:
        grant, new = self._begin(who, files)
        with ShardIntake(self.hub, grant) as intake:
            intake.write(shard(files, new))
            intake.register()
        sizes = self.hub.holdings.sizes(self.repos[who], [file.sha256 for file in files])
        for file in files:
            assert sizes[file.sha256] == len(file.data)
            assert b"".join(self.hub.blobs.read(file.sha256)) == file.data

    @rule(who=WHO, files=FILES)
    def break_off_before_the_shard(self, who: str, files: list[File]) -> None:
        self._begin(who, files)

    @rule(who=WHO, swept=st.booleans())
    def delete_the_repo(self, who: str, swept: bool) -> None:
        if who in self.repos:
            self.hub.repos.delete(self.repos.pop(who), by=self.actors[who])
        if swept:
            sweep(self.hub, grace_s=0)

    @rule(lost=st.integers(0, 3))
    def time_passes(self, lost: int) -> None:
        """Mostly a day; or three weeks, and clients forget; or the hub loses what it remembers."""
        if lost == 3:
            shutil.rmtree(self.hub.tmp / "xet", ignore_errors=True)
        elif lost == 2:
            self.clock.at += REMEMBERED_S + 60
            self.remembers.clear()
        else:
            self.clock.at += self.hub.settings.upload_seconds + 60
        if lost % 2:
            sweep(self.hub, grace_s=0)

    @invariant()
    def nothing_is_left_half(self) -> None:
        if hasattr(self, "hub"):
            assert not list(self.hub.tmp.rglob("in-*"))

    @invariant()
    def what_was_just_written_is_as_new_as_the_clock_says(self) -> None:
        # The kernel dates files by its own clock, which does not jump.
        for path in (self.hub.tmp / "xet").rglob("*") if hasattr(self, "hub") else ():
            if path.stat().st_mtime > START:
                os.utime(path, (self.clock.at, self.clock.at))


TestMemory = Memory.TestCase
TestMemory.settings = settings(max_examples=20, stateful_step_count=30, deadline=None)
