"""Receiving bytes: hashes, limits, a full disk, nothing left behind."""

from __future__ import annotations

import hashlib
import os
import resource
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.core.errors import BadInput, DiskFull, TooLarge
from headwater.core.types import Repo
from headwater.hub import Hub
from headwater.hub.intake import Intake, disk_error, expect, keep, keep_all, stage


@settings(max_examples=60, deadline=None)
@given(chunks=st.lists(st.binary(max_size=50), max_size=8))
def test_the_digest_and_git_oid_are_those_of_all_chunks(tmp_path_factory: pytest.TempPathFactory,
                                                        chunks: list[bytes]) -> None:
    whole = b"".join(chunks)
    with Intake(tmp_path_factory.getbasetemp() / "in", len(whole), git_size=len(whole)) as intake:
        for chunk in chunks:
            intake.write(chunk)
        staged = intake.finish()
    assert staged.digest == hashlib.sha256(whole).hexdigest() and staged.size == len(whole)
    assert staged.git_oid == hashlib.sha1(b"blob %d\0" % len(whole) + whole).hexdigest()
    assert Path(staged.path).read_bytes() == whole
    os.unlink(staged.path)


def test_too_much_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(TooLarge), Intake(tmp_path, 3) as intake:
        intake.write(b"1234")
    assert list(tmp_path.iterdir()) == []


def test_an_intake_given_up_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), Intake(tmp_path, 100) as intake:
        intake.write(b"x")
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_kept_bytes_read_back_whole_and_by_range(hub: Hub, repo: Repo) -> None:
    staged = stage(hub, [b"ab", b"cdef"], limit=6)
    keep(hub, repo, staged)
    assert b"".join(hub.blobs.read(staged.digest)) == b"abcdef"
    assert b"".join(hub.blobs.read(staged.digest, 2, 4)) == b"cd"
    assert hub.holdings.sizes(repo, [staged.digest]) == {staged.digest: 6} and list(hub.tmp.iterdir()) == []


def test_many_are_kept_at_once_even_twice_the_same(hub: Hub, repo: Repo) -> None:
    staged = [stage(hub, [b"%d" % (n % 40)], limit=9) for n in range(60)]
    keep_all(hub, repo, staged)
    assert len(hub.holdings.sizes(repo, [s.digest for s in staged])) == 40 and list(hub.tmp.iterdir()) == []


def test_bytes_that_are_not_those_announced_are_dropped(hub: Hub) -> None:
    for wrong in ({"digest": "0" * 64}, {"digest": hashlib.sha256(b"abc").hexdigest(), "size": 4}):
        staged = stage(hub, [b"abc"], limit=3)
        with pytest.raises(BadInput):
            expect(staged, **wrong)
        assert not Path(staged.path).exists()


def test_a_full_disk_is_told_as_such(tmp_path: Path) -> None:
    assert isinstance(disk_error(OSError(28, "No space left on device")), DiskFull)
    assert not isinstance(disk_error(OSError(5, "I/O error")), DiskFull)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(DiskFull), Intake(tmp_path, 10_000) as intake:
            intake.write(b"x" * 5000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []
