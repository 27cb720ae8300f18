"""The Xet door as verbs: what is accepted, what each lie is told, and how long the hub remembers what it was sent."""

import errno
import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import lz4.frame
import pytest
from record_samples import Clock
from xet_made import File, Xorb, packed_chunk, shard, xorb

from headwater.core.errors import BadInput, CorruptFile, DiskFull, Forbidden, NotSignedIn, RepoNotFound, TooLarge
from headwater.core.types import Access, Actor, Kind, Repo
from headwater.hub import Hub, xet_build, xet_store
from headwater.hub import repos as repo_verbs
from headwater.hub.accounts import create_org, create_user, issue_token, set_role
from headwater.hub.intake import Intake
from headwater.hub.signing import sign
from headwater.hub.sweep import sweep
from headwater.hub.xet import TOKEN_S, Grant, ShardIntake, XorbIntake, open_ticket, scope_of, ticket

ONE = xorb(9000, 20_000, 100, seed=1)
TWO = xorb(50_000, 7, seed=2)
WHOLE = File(((ONE, 0, 3),))
BOTH = File(((ONE, 1, 3), (TWO, 0, 2)))


def granted(hub: Hub, actor: Actor, repo: Repo) -> Grant:
    made = ticket(hub, actor, repo)
    return open_ticket(hub, made.text, made.address)


def send(grant: Grant, body: Xorb | bytes, value: bytes | None = None) -> bool:
    data = body.body() if isinstance(body, Xorb) else body
    with XorbIntake(grant, value or body.hash) as intake:
        for start in range(0, len(data), 10_000):
            intake.write(data[start:start + 10_000])
        return intake.finish()


def register(hub: Hub, grant: Grant, data: bytes) -> int:
    with ShardIntake(hub, grant) as intake:
        intake.write(data)
        return intake.register()


def push(hub: Hub, actor: Actor, repo: Repo, files: list[File], xorbs: list[Xorb]) -> Grant:
    grant = granted(hub, actor, repo)
    for each in xorbs:
        send(grant, each)
    register(hub, grant, shard(files, xorbs))
    return grant


def kept(hub: Hub, file: File) -> bool:
    return hub.blobs.size(file.sha256) is not None and b"".join(hub.blobs.read(file.sha256)) == file.data


def left_over(hub: Hub) -> list[str]:
    """Files of uploads that did not finish."""
    return [path.name for path in hub.tmp.rglob("in-*")]


def raws(hub: Hub) -> int:
    return len(list(hub.tmp.rglob("*.raw")))


@pytest.fixture
def other(hub: Hub, owner: Actor) -> Repo:
    return repo_verbs.create(hub, owner, Kind.MODEL, owner.name, "other")


@pytest.fixture
def grant(hub: Hub, owner: Actor, repo: Repo) -> Grant:
    return granted(hub, owner, repo)


# --- what comes in


def test_xorbs_and_a_shard_become_plain_blobs_the_repo_may_name(hub: Hub, owner: Actor, repo: Repo):
    push(hub, owner, repo, [WHOLE, BOTH], [ONE, TWO])
    assert kept(hub, WHOLE)
    assert kept(hub, BOTH)
    assert hub.holdings.sizes(repo, [WHOLE.sha256, BOTH.sha256]) == {WHOLE.sha256: 29_100, BOTH.sha256: 70_107}


def test_nothing_of_the_xorbs_remains_once_their_files_are_kept(hub: Hub, owner: Actor, repo: Repo):
    push(hub, owner, repo, [WHOLE, BOTH], [ONE, TWO])
    assert raws(hub) == 0
    assert left_over(hub) == []


def test_a_xorb_stays_until_all_of_it_stands_in_files(hub: Hub, owner: Actor, repo: Repo):
    part, rest = File(((ONE, 0, 2),)), File(((ONE, 1, 3),))
    grant = push(hub, owner, repo, [part], [ONE])
    assert raws(hub) == 1
    register(hub, grant, shard([rest]))
    assert raws(hub) == 0
    register(hub, grant, shard([WHOLE]))
    assert kept(hub, part)
    assert kept(hub, rest)
    assert kept(hub, WHOLE)


def test_an_empty_file_is_a_file(hub: Hub, owner: Actor, repo: Repo):
    empty = File(())
    push(hub, owner, repo, [empty], [])
    assert hub.blobs.size(empty.sha256) == 0


def test_a_shard_sent_twice_is_answered_twice(hub: Hub, owner: Actor, repo: Repo):
    grant = push(hub, owner, repo, [WHOLE, BOTH], [ONE, TWO])
    assert register(hub, grant, shard([WHOLE, BOTH], [ONE, TWO])) == 2
    assert send(grant, ONE) is False


def test_a_shard_sent_twice_at_once_is_answered_twice(hub: Hub, grant: Grant):
    many = [xorb(*[9000 + i] * 40, seed=i) for i in range(6)]
    files = [File(((each, 0, 40),)) for each in many]
    for each in many:
        send(grant, each)
    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(lambda _: register(hub, grant, shard(files, many)), range(4)))
    assert answers == [6] * 4
    assert all(kept(hub, file) for file in files)
    assert raws(hub) == 0


def test_a_xorb_sent_again_while_a_shard_moves_it_into_a_blob_changes_nothing(hub: Hub, grant: Grant):
    many = [xorb(*[5000 + i] * 20, seed=i) for i in range(8)]
    files = [File(((each, 0, 20),)) for each in many]
    for each in many:
        send(grant, each)
    with ThreadPoolExecutor(3) as pool:
        doing = [pool.submit(register, hub, grant, shard(files, many))]
        doing += [pool.submit(send, grant, each) for each in many]
        for each in doing:
            each.result()
    assert all(kept(hub, file) for file in files)


def test_a_file_that_is_a_blob_already_is_not_written_again(hub: Hub, owner: Actor, repo: Repo, other: Repo):
    push(hub, owner, repo, [WHOLE], [ONE])
    before = os.stat(hub.blobs.path(WHOLE.sha256)).st_ino
    push(hub, owner, other, [WHOLE], [])
    assert os.stat(hub.blobs.path(WHOLE.sha256)).st_ino == before
    assert hub.holdings.sizes(other, [WHOLE.sha256])


# --- lies, each told apart


def refused(hub: Hub, grant: Grant, data: bytes, kind: type[BadInput] = CorruptFile) -> str:
    with pytest.raises(kind) as caught:
        register(hub, grant, data)
    assert left_over(hub) == []
    return str(caught.value)


def test_a_xorb_that_is_not_what_its_address_says_leaves_nothing(hub: Hub, grant: Grant):
    with pytest.raises(CorruptFile, match="as its address says"):
        send(grant, ONE.body(), TWO.hash)
    assert left_over(hub) == []
    assert raws(hub) == 0


def test_a_truncated_xorb_leaves_nothing(hub: Hub, grant: Grant):
    with pytest.raises(CorruptFile, match="inside chunk 2"):
        send(grant, ONE.body()[:-5], ONE.hash)
    assert left_over(hub) == []


def test_an_lz4_bomb_leaves_nothing(hub: Hub, grant: Grant):
    bomb = lz4.frame.compress(bytes(30 << 20))
    with pytest.raises(CorruptFile, match="bytes or more"):
        send(grant, b"\0" + len(bomb).to_bytes(3, "little") + b"\1\x10\0\0" + bomb, ONE.hash)
    assert left_over(hub) == []


def test_a_shard_naming_a_xorb_that_was_never_sent_is_refused(hub: Hub, grant: Grant):
    assert ONE.text in refused(hub, grant, shard([WHOLE]), BadInput)


def test_a_shard_listing_a_xorb_that_was_never_sent_is_refused(hub: Hub, grant: Grant):
    assert ONE.text in refused(hub, grant, shard([], [ONE]), BadInput)


def test_a_shard_naming_chunks_outside_a_xorb_is_refused(hub: Hub, grant: Grant):
    send(grant, ONE)
    assert "chunks up to 4" in refused(hub, grant, shard([replace(WHOLE, lies=(("stop", 4),))]))


def test_a_segment_of_another_length_than_its_chunks_is_refused(hub: Hub, grant: Grant):
    send(grant, ONE)
    assert "not as long" in refused(hub, grant, shard([replace(WHOLE, lies=(("size", 1),))]))


def test_a_segment_with_a_wrong_range_hash_is_refused(hub: Hub, grant: Grant):
    send(grant, ONE)
    assert "range hash" in refused(hub, grant, shard([replace(WHOLE, lies=(("proof", bytes(32)),))]))


def test_a_file_with_a_wrong_xet_hash_is_refused(hub: Hub, grant: Grant):
    send(grant, ONE)
    assert "do not make that hash" in refused(hub, grant, shard([replace(WHOLE, lies=(("hash", bytes(32)),))]))


def test_a_file_with_a_wrong_sha256_is_refused_and_not_kept(hub: Hub, grant: Grant):
    send(grant, ONE)
    message = refused(hub, grant, shard([replace(WHOLE, lies=(("sha256", "0" * 64),))]), BadInput)
    assert WHOLE.sha256 in message
    assert list(hub.blobs.digests()) == []


def test_a_shard_that_lists_other_chunks_than_the_xorb_holds_is_refused(hub: Hub, grant: Grant):
    send(grant, ONE)
    honest = shard([], [ONE])
    assert "lists other chunks" in refused(hub, grant, honest.replace(ONE.chunks.hashes[:32], bytes(32)))
    assert "lists other chunks" in refused(hub, grant, shard([], [ONE], count=2)[:-96] + honest[-48:])


def test_an_empty_shard_is_refused(hub: Hub, grant: Grant):
    assert "empty" in refused(hub, grant, b"")


def test_one_bad_file_does_not_undo_the_good_ones_of_its_shard(hub: Hub, grant: Grant):
    send(grant, ONE)
    send(grant, TWO)
    refused(hub, grant, shard([WHOLE, replace(BOTH, lies=(("sha256", "0" * 64),))]), BadInput)
    register(hub, grant, shard([WHOLE, BOTH]))
    assert kept(hub, WHOLE)
    assert kept(hub, BOTH)


def test_a_file_larger_than_any_may_be_is_refused_before_a_byte_is_written(hub: Hub, grant: Grant):
    zeros = Xorb((bytes(100_000),) * 600)
    send(grant, zeros)
    huge = File(((zeros, 0, 600),) * 8500)
    assert int(huge.parts[0][0].chunks.sizes.sum()) * 8500 > hub.settings.file_max_bytes
    segment = File(((zeros, 0, 600),)).records()
    records = segment[:36] + (8500).to_bytes(4, "little") + segment[40:48] + segment[48:96] * 8500
    records += segment[96:144] * 8500 + segment[144:]
    empty = shard([])
    refused(hub, grant, empty[:48] + records + empty[48:], TooLarge)


# --- who may


def test_a_ticket_lives_an_hour(hub: Hub, owner: Actor, repo: Repo, clock: Clock):
    made = ticket(hub, owner, repo)
    clock.at += TOKEN_S - 1
    open_ticket(hub, made.text, made.address)
    clock.at += 2
    with pytest.raises(NotSignedIn, match="expired"):
        open_ticket(hub, made.text, made.address)


def test_a_ticket_for_something_else_opens_nothing(hub: Hub, owner: Actor, repo: Repo):
    made = ticket(hub, owner, repo)
    stolen = sign(hub, "upload", {"repo": repo.id, "account": owner.account.id, "token": None, "repos": None}, 600)
    for text in (stolen, "", "a.b", made.text[:-2], made.text + "x"):
        with pytest.raises(NotSignedIn):
            open_ticket(hub, text, made.address)


@pytest.fixture
def alice(hub: Hub, owner: Actor) -> Actor:
    account = create_user(hub, owner, "alice", None)
    token = issue_token(hub, Actor(account, Access.ADMIN), "laptop")[1]
    return Actor(account, Access.WRITE, token.id, token.name)


def test_bytes_sent_for_one_repo_may_not_be_named_by_another(hub: Hub, owner: Actor, repo: Repo, other: Repo):
    push(hub, owner, repo, [WHOLE], [ONE])
    assert hub.holdings.sizes(other, [WHOLE.sha256]) == {}


def test_what_one_account_sent_is_unknown_to_another(hub: Hub, owner: Actor, repo: Repo, alice: Actor):
    push(hub, owner, repo, [WHOLE], [ONE])
    hers = repo_verbs.create(hub, alice, Kind.MODEL, "alice", "yi")
    grant = granted(hub, alice, hers)
    assert "never sent here" in refused(hub, grant, shard([WHOLE]), BadInput)
    assert hub.holdings.sizes(hers, [WHOLE.sha256]) == {}


def test_the_address_of_one_account_is_of_no_use_to_another(hub: Hub, owner: Actor, repo: Repo, alice: Actor):
    address = push(hub, owner, repo, [WHOLE], [ONE]).generation.name
    mine = ticket(hub, alice, repo_verbs.create(hub, alice, Kind.MODEL, "alice", "yi"))
    for wrong in (address, "0" * 16, "..", "", "../" + address):
        with pytest.raises(BadInput, match="no longer used, or never was yours"):
            open_ticket(hub, mine.text, wrong)


def test_a_token_limited_to_some_repos_refers_only_to_what_it_sent_itself(hub: Hub, alice: Actor):
    hers = repo_verbs.create(hub, alice, Kind.MODEL, "alice", "yi")
    push(hub, alice, hers, [WHOLE], [ONE])
    narrow = issue_token(hub, alice, "ci", repos=(hers.key,))[1]
    actor = Actor(alice.account, Access.WRITE, narrow.id, narrow.name, narrow.repos)
    assert "never sent here" in refused(hub, granted(hub, actor, hers), shard([WHOLE]), BadInput)


def test_a_later_account_of_the_same_number_does_not_inherit(owner: Actor):
    later = replace(owner, account=replace(owner.account, created_at=owner.account.created_at + 5))
    assert scope_of(later) != scope_of(owner)


def test_an_upload_ends_when_its_token_is_revoked(hub: Hub, alice: Actor):
    made = ticket(hub, alice, repo_verbs.create(hub, alice, Kind.MODEL, "alice", "yi"))
    open_ticket(hub, made.text, made.address)
    hub.accounts.revoke(alice.account, alice.token_name, by=alice)
    with pytest.raises(NotSignedIn, match="revoked"):
        open_ticket(hub, made.text, made.address)


def test_an_upload_ends_when_the_role_is_taken_away(hub: Hub, owner: Actor, alice: Actor):
    create_org(hub, owner, "acme")
    set_role(hub, owner, "acme", "alice", Access.WRITE)
    theirs = repo_verbs.create(hub, alice, Kind.MODEL, "acme", "yi")
    made = ticket(hub, alice, theirs)
    open_ticket(hub, made.text, made.address)
    set_role(hub, owner, "acme", "alice", Access.READ)
    with pytest.raises(Forbidden, match="no longer write"):
        open_ticket(hub, made.text, made.address)


def test_an_upload_ends_when_its_repo_is_deleted(hub: Hub, owner: Actor, repo: Repo):
    made = ticket(hub, owner, repo)
    hub.repos.delete(repo, by=owner)
    with pytest.raises(RepoNotFound):
        open_ticket(hub, made.text, made.address)


# --- what clients remember, and for how long the hub does


def test_an_account_keeps_its_address_while_all_it_sent_is_here(hub: Hub, owner: Actor, repo: Repo, other: Repo):
    first = push(hub, owner, repo, [WHOLE], [ONE]).generation.name
    assert ticket(hub, owner, other).address == first


def test_a_client_may_refer_to_what_it_sent_for_another_repo(hub: Hub, owner: Actor, repo: Repo, other: Repo):
    push(hub, owner, repo, [WHOLE, BOTH], [ONE, TWO])
    mixed = File(((TWO, 1, 2), (ONE, 0, 2), (TWO, 0, 1)))
    push(hub, owner, other, [mixed], [])
    assert kept(hub, mixed)


def test_the_address_changes_when_the_sweep_took_bytes_a_client_may_refer_to(
        hub: Hub, owner: Actor, repo: Repo, other: Repo, clock: Clock):
    first = push(hub, owner, repo, [WHOLE], [ONE])
    hub.repos.delete(repo, by=owner)
    sweep(hub, grace_s=0)
    assert hub.blobs.size(WHOLE.sha256) is None
    second = granted(hub, owner, other)
    assert second.generation.name != first.generation.name
    send(second, ONE)
    register(hub, second, shard([WHOLE], [ONE]))
    assert kept(hub, WHOLE)


def test_a_push_caught_by_the_sweep_half_way_succeeds_the_next_time(hub: Hub, owner: Actor, repo: Repo, other: Repo):
    push(hub, owner, repo, [WHOLE], [ONE])
    grant = granted(hub, owner, other)
    hub.repos.delete(repo, by=owner)
    sweep(hub, grace_s=0)
    assert "Push once more" in refused(hub, grant, shard([WHOLE]), BadInput)
    assert granted(hub, owner, other).generation.name != grant.generation.name


def test_an_upload_under_way_goes_on_after_its_address_changed_for_others(hub: Hub, owner: Actor, repo: Repo):
    grant = granted(hub, owner, repo)
    send(grant, ONE)
    grant.generation.retire()
    assert ticket(hub, owner, repo).address != grant.generation.name
    register(hub, grant, shard([WHOLE], [ONE]))
    assert kept(hub, WHOLE)


def test_a_xorb_nobody_made_a_file_of_is_given_up_after_a_day(hub: Hub, owner: Actor, repo: Repo):
    grant = granted(hub, owner, repo)
    send(grant, ONE)
    assert ticket(hub, owner, repo).address == grant.generation.name
    age(grant.generation.folder, hub.settings.upload_seconds + 60)
    assert xet_store.tidy(hub) == 1
    assert raws(hub) == 0
    assert ticket(hub, owner, repo).address != grant.generation.name


def test_what_was_received_in_part_is_given_up_after_a_day(hub: Hub, owner: Actor, repo: Repo):
    folder = granted(hub, owner, repo).generation.folder
    (folder / "in-abandoned").write_bytes(b"x")
    xet_store.tidy(hub)
    assert left_over(hub) == ["in-abandoned"]
    age(folder, hub.settings.upload_seconds + 60)
    xet_store.tidy(hub)
    assert left_over(hub) == []


def test_what_stands_in_blobs_is_remembered_for_three_weeks(hub: Hub, owner: Actor, repo: Repo):
    folder = push(hub, owner, repo, [WHOLE], [ONE]).generation.folder
    age(folder, xet_store.REMEMBERED_S - 60)
    assert xet_store.tidy(hub) == 0
    age(folder, xet_store.REMEMBERED_S + 60)
    assert xet_store.tidy(hub) == 1


def test_a_crash_half_way_into_a_file_is_seen_at_the_next_token(hub: Hub, owner: Actor, repo: Repo):
    grant = granted(hub, owner, repo)
    send(grant, ONE)
    grant.generation.raw(ONE.hash).unlink()
    assert ticket(hub, owner, repo).address != grant.generation.name


def test_an_account_that_leans_on_very_many_blobs_gets_a_new_address(
        hub: Hub, owner: Actor, repo: Repo, monkeypatch: pytest.MonkeyPatch):
    first = push(hub, owner, repo, [WHOLE, BOTH], [ONE, TWO]).generation.name
    monkeypatch.setattr(xet_store, "LEAN_MAX", 1)
    assert ticket(hub, owner, repo).address != first


def test_losing_all_that_is_remembered_costs_only_sending_it_again(hub: Hub, owner: Actor, repo: Repo, other: Repo):
    first = push(hub, owner, repo, [WHOLE], [ONE]).generation.name
    shutil.rmtree(hub.tmp / "xet")
    second = push(hub, owner, other, [WHOLE], [ONE]).generation.name
    assert second != first
    assert kept(hub, WHOLE)


def age(folder: Path, seconds: float) -> None:
    """As if nobody had touched the folder for so long."""
    for path in (*folder.iterdir(), folder):
        at = time.time() - seconds
        os.utime(path, (at, at))


# --- a full disk


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file opened to receive in is /dev/full: the kernel's own ENOSPC."""

    def temporary(generation: xet_store.Generation) -> tuple[int, Path]:
        path = generation.folder / "in-full"
        path.touch()
        return os.open("/dev/full", os.O_WRONLY), path

    monkeypatch.setattr(xet_store.Generation, "temporary", temporary)


def test_a_full_disk_while_a_xorb_comes_in_is_told_and_leaves_nothing(hub: Hub, grant: Grant, full: None):
    with pytest.raises(DiskFull):
        send(grant, ONE)
    assert left_over(hub) == []
    assert raws(hub) == 0


def test_a_full_disk_while_a_file_is_built_is_told_and_the_next_push_sends_the_bytes_again(
        hub: Hub, owner: Actor, repo: Repo, monkeypatch: pytest.MonkeyPatch):
    grant = granted(hub, owner, repo)
    send(grant, ONE)

    def adopt(self: object, staged: Path, digest: str) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(type(hub.blobs), "adopt", adopt)
        with pytest.raises(DiskFull):
            register(hub, grant, shard([WHOLE], [ONE]))
    assert left_over(hub) == []
    assert granted(hub, owner, repo).generation.name != grant.generation.name
    push(hub, owner, repo, [WHOLE], [ONE])
    assert kept(hub, WHOLE)


def test_a_file_for_which_there_is_no_room_is_refused_and_its_xorbs_wait(
        hub: Hub, owner: Actor, repo: Repo, monkeypatch: pytest.MonkeyPatch):
    grant = granted(hub, owner, repo)
    send(grant, ONE)
    twice = File(((ONE, 0, 3), (ONE, 0, 3)))
    with monkeypatch.context() as patched:
        usage = shutil.disk_usage(hub.tmp)
        patched.setattr(xet_build.shutil, "disk_usage", lambda path: usage._replace(free=50_000))
        with pytest.raises(DiskFull, match="58,200"):
            register(hub, grant, shard([twice], [ONE]))
    register(hub, grant, shard([twice], [ONE]))
    assert kept(hub, twice)


def test_a_large_push_takes_its_size_on_disk_once(hub: Hub, grant: Grant, monkeypatch: pytest.MonkeyPatch):
    many = [xorb(*[20_000 + i] * 10, seed=i) for i in range(5)]
    for each in many:
        send(grant, each)
    there = []

    class Counting(Intake):
        def write(self, chunk: bytes) -> None:
            there.append(raws(hub))
            super().write(chunk)

    monkeypatch.setattr(xet_build, "Intake", Counting)
    whole = File(tuple((each, 0, 10) for each in many))
    register(hub, grant, shard([whole], many))
    assert there == [5, 4, 3, 2, 1]
    assert kept(hub, whole)


def test_bytes_two_files_share_are_there_for_both(hub: Hub, grant: Grant):
    many = [xorb(*[20_000 + i] * 10, seed=i) for i in range(5)]
    for each in many:
        send(grant, each)
    first = File(tuple((each, 0, 10) for each in many))
    second = File(((many[4], 0, 10), (many[0], 0, 10)))
    register(hub, grant, shard([first, second], many))
    assert kept(hub, first)
    assert kept(hub, second)
    assert raws(hub) == 0


def test_two_shards_that_use_one_xorb_at_once_both_get_it(hub: Hub, grant: Grant):
    big = xorb(*[60_000] * 200, seed=3)
    send(grant, big)
    files = [File(((big, 0, 200),)), *(File(((big, i, 200),)) for i in range(1, 8))]
    with ThreadPoolExecutor(8) as pool:
        doing = [pool.submit(register, hub, grant, shard([file], [big])) for file in files]
        for each in doing:
            each.result()
    assert all(kept(hub, file) for file in files)
    assert raws(hub) == 0


def test_a_file_of_very_many_tiny_chunks_is_refused(hub: Hub, grant: Grant):
    crumbs = Xorb(tuple(bytes([i % 256]) * 10 for i in range(300)))
    send(grant, crumbs)
    assert "more chunks than its size allows" in refused(hub, grant, shard([File(((crumbs, 0, 300),))], [crumbs]))


def test_a_chunk_that_packs_badly_is_still_accepted(hub: Hub, owner: Actor, repo: Repo):
    """Packed longer than it is: allowed by the format, though no client sends it."""
    grant = granted(hub, owner, repo)
    piece = ONE.pieces[2]
    alone = Xorb((piece,))
    assert len(packed_chunk(piece, 1)) > len(piece)
    assert send(grant, alone) is True
