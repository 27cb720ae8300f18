"""Commits on a real store: against a dict of files, retried, raced, refused."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from server import fresh, opened_hub

from headwater.core.errors import (
    BadInput,
    BadPath,
    EntryNotFound,
    HeadwaterError,
    RepoNotFound,
    RevisionNotFound,
    StaleParent,
    TooLarge,
)
from headwater.core.types import Actor, Commit, Kind, Repo
from headwater.hub import Hub, browse, repos
from headwater.hub.accounts import create_user, owner_actor
from headwater.hub.commit import Add, Change, Copy, Delete, commit, looks_binary, squash
from headwater.hub.intake import keep, stage


def push(hub: Hub, owner: Actor, repo: Repo, *changes: Change, branch: str = "main", title: str = "t",
         **options: str) -> Commit:
    return commit(hub, owner, repo, branch, changes, title=title, **options)


def content(hub: Hub, repo: Repo, revision: str = "main") -> dict[str, bytes]:
    """{path: bytes} of a revision, read back."""
    at = browse.resolve(hub, repo, revision)
    return {e.path: b"".join(browse.read(hub, e)) for e in browse.files(hub, at)}


def upload(hub: Hub, repo: Repo, data: bytes) -> str:
    """Bytes kept for the repo as an LFS upload keeps them; their digest."""
    staged = stage(hub, [data], limit=len(data))
    keep(hub, repo, staged)
    return staged.digest


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    with opened_hub(tmp_path_factory.mktemp("commits")) as hub:
        yield hub


# --- against a dict

PATHS = st.lists(st.sampled_from(["a", "b", "c d", "ü"]), min_size=1, max_size=3).map("/".join)
BYTES = st.binary(max_size=6)
CHANGES = st.lists(st.one_of(
    st.builds(Add, PATHS, BYTES),
    st.builds(lambda path, data: Add(path, digest=hashlib.sha256(data).hexdigest(), size=len(data)), PATHS,
              st.sampled_from([b"lfs one", b"lfs two"])),
    st.builds(Copy, PATHS, PATHS), st.builds(Delete, PATHS), st.builds(Delete, PATHS, st.just(True))), max_size=6)
LFS = {hashlib.sha256(data).hexdigest(): data for data in (b"lfs one", b"lfs two")}


def applied(files: dict[str, bytes], changes: list[Change]) -> dict[str, bytes] | None:
    """What the files become, or None where the commit must be refused: deletions first, then the rest in order."""
    new = dict(files)
    for change in changes:
        if isinstance(change, Delete):
            gone = [p for p in new if p == change.path or p.startswith(change.path + "/")]
            if not gone:
                return None
            for path in gone:
                del new[path]
    for change in changes:
        if isinstance(change, Delete):
            continue
        if isinstance(change, Copy) and change.source not in files:
            return None
        steps = change.path.split("/")
        if any(p.startswith(change.path + "/") for p in new) or any("/".join(steps[:n]) in new
                                                                    for n in range(1, len(steps))):
            return None
        if isinstance(change, Copy):
            new[change.path] = files[change.source]
        else:
            new[change.path] = LFS[change.digest] if change.digest else change.content
    return new


@settings(max_examples=60, deadline=None)
@given(rounds=st.lists(CHANGES, min_size=1, max_size=5))
def test_any_list_of_changes_does_what_it_would_do_to_a_dict(shared: Hub, rounds: list[list[Change]]) -> None:
    owner = owner_actor(shared)
    repo = repos.create(shared, owner, Kind.MODEL, owner.name, fresh())
    for data in LFS.values():
        upload(shared, repo, data)
    files: dict[str, bytes] = {}
    for changes in rounds:
        head = browse.resolve(shared, repo, "main")
        after = applied(files, changes)
        if after is None:
            with pytest.raises((BadPath, EntryNotFound)):
                push(shared, owner, repo, *changes)
            assert browse.resolve(shared, repo, "main") == head
        else:
            made = push(shared, owner, repo, *changes)
            assert (made == head) is (after == files and _same_kind(shared, made, head))
            assert made == browse.resolve(shared, repo, "main")
            files = after
        assert content(shared, repo) == files
        assert shared.repos.get(repo.id).size_bytes == sum(map(len, files.values()))


def _same_kind(hub: Hub, one: Commit, other: Commit) -> bool:
    return [e.oid for e in browse.files(hub, one)] == [e.oid for e in browse.files(hub, other)]


# --- parents and retries


def test_a_commit_whose_answer_was_lost_can_be_sent_again(hub: Hub, owner: Actor, repo: Repo) -> None:
    parent = browse.resolve(hub, repo, "main").oid
    once = push(hub, owner, repo, Add("a", b"1"), parent=parent)
    again = push(hub, owner, repo, Add("a", b"1"), parent=parent)
    assert once == again and hub.history.count(repo, once.oid) == 2


def test_other_work_on_an_old_parent_is_refused_and_leaves_nothing(hub: Hub, owner: Actor, repo: Repo) -> None:
    parent = browse.resolve(hub, repo, "main").oid
    push(hub, owner, repo, Add("a", b"1"), parent=parent)
    for changes, title in (([Add("a", b"2")], "t"), ([Add("a", b"1")], "other title"), ([Add("b", b"1")], "t")):
        with pytest.raises(StaleParent):
            push(hub, owner, repo, *changes, title=title, parent=parent)
    assert content(hub, repo) == {"a": b"1"}


def test_a_parent_that_never_was_is_refused(hub: Hub, owner: Actor, repo: Repo) -> None:
    with pytest.raises(StaleParent):
        push(hub, owner, repo, Add("a", b"1"), parent="f" * 40)


def test_a_commit_that_changes_nothing_answers_the_head(hub: Hub, owner: Actor, repo: Repo) -> None:
    head = push(hub, owner, repo, Add("a", b"1"))
    assert push(hub, owner, repo, Add("a", b"1"), title="again") == head
    assert push(hub, owner, repo, title="nothing at all") == head


def test_commits_of_many_threads_all_land(hub: Hub, owner: Actor, repo: Repo) -> None:
    errors: list[HeadwaterError] = []

    def work(n: int) -> None:
        try:
            push(hub, owner, repo, Add(f"f{n}", b"%d" % n))
        except HeadwaterError as error:
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors and content(hub, repo) == {f"f{n}": b"%d" % n for n in range(10)}
    assert hub.history.count(repo, browse.resolve(hub, repo, "main").oid) == 11


# --- what may be named


def test_bytes_never_uploaded_here_cannot_be_named(hub: Hub, owner: Actor, repo: Repo) -> None:
    other = repos.create(hub, owner, Kind.MODEL, owner.name, "other", private=True)
    digest = upload(hub, other, b"secret weights")
    with pytest.raises(EntryNotFound, match="were not uploaded"):
        push(hub, owner, repo, Add("w", digest=digest))
    assert content(hub, repo) == {}


def test_a_lease_that_ran_out_no_longer_names_bytes(hub: Hub, owner: Actor, repo: Repo, clock) -> None:
    digest = upload(hub, repo, b"weights")
    clock.at += hub.settings.upload_seconds + 1
    with pytest.raises(EntryNotFound):
        push(hub, owner, repo, Add("w", digest=digest))


def test_bytes_of_an_older_revision_can_be_named_again(hub: Hub, owner: Actor, repo: Repo, clock) -> None:
    digest = upload(hub, repo, b"weights")
    push(hub, owner, repo, Add("w", digest=digest, size=7))
    push(hub, owner, repo, Delete("w"))
    clock.at += hub.settings.upload_seconds + 1
    push(hub, owner, repo, Add("again", digest=digest))
    assert content(hub, repo) == {"again": b"weights"}


def test_a_wrong_size_is_refused(hub: Hub, owner: Actor, repo: Repo) -> None:
    digest = upload(hub, repo, b"weights")
    with pytest.raises(BadInput, match="7 bytes, not 8"):
        push(hub, owner, repo, Add("w", digest=digest, size=8))


def test_a_file_with_its_own_git_oid_is_regular_and_another_is_lfs(hub: Hub, owner: Actor, repo: Repo) -> None:
    head = push(hub, owner, repo, Add("t", b"text"), Add("w", digest=upload(hub, repo, b"weights")))
    regular, lfs = browse.files(hub, head)
    assert not regular.lfs and regular.oid == hashlib.sha1(b"blob 4\0text").hexdigest()
    assert lfs.lfs and lfs.oid != hashlib.sha1(b"blob 7\0weights").hexdigest()


def test_a_copy_takes_the_file_of_the_revision_named(hub: Hub, owner: Actor, repo: Repo) -> None:
    old = push(hub, owner, repo, Add("a", b"1")).oid
    push(hub, owner, repo, Add("a", b"2"))
    push(hub, owner, repo, Copy("new", "a"), Copy("old", "a", old))
    assert content(hub, repo) == {"a": b"2", "new": b"2", "old": b"1"}
    with pytest.raises(RevisionNotFound):
        push(hub, owner, repo, Copy("x", "a", "nope"))
    with pytest.raises(EntryNotFound):
        push(hub, owner, repo, Copy("x", "nope"))


def test_a_folder_gives_way_to_a_file_of_its_name_in_one_commit(hub: Hub, owner: Actor, repo: Repo) -> None:
    push(hub, owner, repo, Add("x/y", b"1"))
    push(hub, owner, repo, Add("x", b"2"), Delete("x", is_folder=True))
    assert content(hub, repo) == {"x": b"2"}


def test_a_bad_path_anywhere_keeps_no_bytes(hub: Hub, owner: Actor, repo: Repo) -> None:
    with pytest.raises(BadPath):
        push(hub, owner, repo, Add("good", b"1"), Add("../bad", b"2"))
    assert list(hub.blobs.digests()) == [] and list(hub.tmp.iterdir()) == []


# --- branches, limits, and the repo that goes away


def test_a_commit_needs_its_branch(hub: Hub, owner: Actor, repo: Repo) -> None:
    with pytest.raises(RevisionNotFound, match="no branch 'dev'"):
        push(hub, owner, repo, Add("a", b"1"), branch="dev")
    repos.create_branch(hub, owner, repo, "dev")
    push(hub, owner, repo, Add("a", b"1"), branch="dev")
    assert content(hub, repo) == {} and content(hub, repo, "dev") == {"a": b"1"}
    assert hub.repos.get(repo.id).size_bytes == 0


def test_a_quota_refuses_growth_and_allows_shrinking(tmp_path, owner: Actor) -> None:
    with opened_hub(tmp_path / "small", repo_quota_bytes=10) as hub:
        owner = owner_actor(hub)
        repo = repos.create(hub, owner, Kind.MODEL, owner.name, "yi")
        push(hub, owner, repo, Add("a", b"x" * 8))
        with pytest.raises(TooLarge, match="11 bytes; at most 10"):
            push(hub, owner, repo, Add("b", b"x" * 3))
        push(hub, owner, repo, Add("a", b"x"))
        push(hub, owner, repo, Add("b", b"x" * 3))


def test_a_commit_to_a_deleted_repo_says_so(hub: Hub, owner: Actor, repo: Repo) -> None:
    hub.repos.delete(repo, by=owner)
    with pytest.raises((RepoNotFound, RevisionNotFound)):
        push(hub, owner, repo, Add("a", b"1"))


def test_squash_keeps_the_files_and_drops_the_history(hub: Hub, owner: Actor, repo: Repo, clock) -> None:
    first = push(hub, owner, repo, Add("a", b"1")).oid
    push(hub, owner, repo, Add("b", b"2"), Delete("a"))
    head = squash(hub, owner, repo, "main", "one")
    assert content(hub, repo) == {"b": b"2"} and head.parents == ()
    with pytest.raises(RevisionNotFound):
        browse.resolve(hub, repo, first)


def test_the_card_and_file_names_at_main_are_what_search_finds(hub: Hub, owner: Actor, repo: Repo) -> None:
    card = b"---\nlicense: mit\ntags: [one]\n---\n# hi\n"
    push(hub, owner, repo, Add("README.md", card), Add("config.json", b"{}"), Add("model.safetensors", b"x"))
    assert {"license:mit", "one", "safetensors", "transformers"} <= set(hub.repos.get(repo.id).card.tags)
    push(hub, owner, repo, Delete("README.md"))
    assert "license:mit" not in hub.repos.get(repo.id).card.tags


def test_every_commit_writes_who_did_what_and_an_event(hub: Hub, owner: Actor, repo: Repo) -> None:
    ann = Actor(create_user(hub, owner, "ann", None), owner.scope, token_name="laptop")
    made = push(hub, replace(ann, account=replace(ann.account, is_admin=True)), repo, Add("a", b"1"), title="why")
    row = hub.accounts.audit(subject=repo.key)[0]
    assert (row.actor, row.token, row.action) == ("ann", "laptop", "commit")
    assert row.detail["revision"] == made.oid and row.detail["title"] == "why"
    assert [e.payload["revision"] for e in hub.bus.pending()] == [made.oid]
    assert made.author == "ann" and "@" in made.email and hub.accounts.find("ann").email is None


@pytest.mark.parametrize(("sample", "binary"), [
    (b"", False), (b"text\n", False), ("模型".encode(), False), ("模型".encode()[:-1], False), (b"\0", True),
    (b"\xff\xfe plus enough after it", True), (b"GGUF\x03\0\0\0", True)])
def test_a_sample_tells_text_from_binary(sample: bytes, binary: bool) -> None:
    assert looks_binary(sample) is binary
