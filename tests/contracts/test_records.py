"""What every Records keeps to: repos, search, accounts, tokens, audit, events. On SQLite and on PostgreSQL."""

from __future__ import annotations

import dataclasses
import sys

import pytest
from record_samples import MAIN

from headwater.core.errors import (
    BadInput,
    Conflict,
    NotFound,
    NotSignedIn,
    RepoExists,
    RepoNotFound,
    Unavailable,
)
from headwater.core.events import REPO_DELETED, REVISION_STORED, Bus
from headwater.core.ports import Accounts, History, Holdings, Repos, Responses, Spending
from headwater.core.types import ANYONE, EMPTY_TREE, Access, Actor, Card, Kind, Search
from headwater.storage.records import open_records


@pytest.mark.parametrize("port", [Repos, History, Holdings, Accounts, Bus, Spending, Responses])
def test_every_verb_of_the_port_is_there(world, port):
    store = getattr(world.records, port.__name__.lower())
    verbs = [name for name in vars(port) if not name.startswith("_")]
    assert verbs and all(callable(getattr(store, verb)) for verb in verbs)


# --- repos


def test_a_new_repo_stands_at_its_first_commit_with_no_files(world):
    repo = world.repo()
    first = world.records.history.commit(repo, repo.head)
    assert first.tree == EMPTY_TREE and world.head(repo) == repo.head
    assert world.records.history.trees([EMPTY_TREE])[EMPTY_TREE].entries == ()
    assert world.records.repos.get(repo.id) == repo == world.records.repos.find(Kind.MODEL, "ann", "yi")


def test_a_name_differing_only_in_case_is_taken(world):
    world.repo("Yi")
    with pytest.raises(RepoExists):
        world.repo("yI", owner="ANN")
    assert world.records.repos.find(Kind.MODEL, "aNN", "yi").full_name == "ann/Yi"
    assert world.repo("Yi", kind=Kind.DATASET).id  # another kind has names of its own


def test_an_old_name_leads_to_the_moved_repo_until_somebody_takes_it(world):
    repo = world.repo("old")
    moved = world.records.repos.move(repo, "ann", "new", by=world.me)
    assert world.records.repos.find(Kind.MODEL, "ann", "old") == moved
    again = world.records.repos.move(moved, "ann", "newest", by=world.me)
    assert world.records.repos.find(Kind.MODEL, "ann", "old") == again  # redirects do not chain, they follow
    taken = world.repo("old")
    assert world.records.repos.find(Kind.MODEL, "ann", "old") == taken
    assert world.records.repos.find(Kind.MODEL, "ann", "new") == again


def test_a_repo_moves_back_to_its_own_old_name_and_to_another_case(world):
    repo = world.repo("old")
    moved = world.records.repos.move(repo, "ann", "new", by=world.me)
    back = world.records.repos.move(moved, "ann", "old", by=world.me)
    louder = world.records.repos.move(back, "ann", "OLD", by=world.me)
    assert louder.full_name == "ann/OLD"
    assert world.records.repos.find(Kind.MODEL, "ann", "new") == louder


def test_moving_onto_a_repo_is_refused(world):
    a, _ = world.repo("a"), world.repo("b")
    with pytest.raises(RepoExists):
        world.records.repos.move(a, "ann", "B", by=world.me)
    assert world.records.repos.get(a.id) == a


def test_deleting_a_repo_leaves_nothing_of_it(world):
    repo = world.repo()
    world.push(repo, {"a": "1"})
    world.records.repos.describe(repo, Card({"license": "mit"}, ("license:mit",)))
    world.records.repos.like(repo, True, by=world.me)
    moved = world.records.repos.move(repo, "ann", "yi-2", by=world.me)
    world.records.repos.delete(moved, by=world.me)
    assert world.records.repos.find(Kind.MODEL, "ann", "yi") is None
    assert world.records.repos.find(Kind.MODEL, "ann", "yi-2") is None
    assert world.records.history.refs(repo) == [] and world.records.history.digests(repo) == {}
    assert world.records.history.trees([EMPTY_TREE]) == {} and world.records.repos.liked_by("ann") == []
    last = world.records.bus.pending()[-1]
    assert (last.name, last.payload) == (REPO_DELETED, {"repo_id": repo.id, "kind": "model", "name": "ann/yi-2"})


def test_writing_to_a_deleted_repo_says_it_is_gone(world):
    repo = world.repo()
    world.keep(repo, "bytes")
    world.records.repos.delete(repo, by=world.me)
    with pytest.raises(RepoNotFound):
        world.keep(repo, "bytes")
    with pytest.raises(RepoNotFound):
        world.records.repos.set_private(repo, True, by=world.me)
    with pytest.raises(RepoNotFound):
        world.records.repos.describe(repo, Card())
    world.records.repos.delete(repo, by=world.me)  # twice is no error


def test_the_id_of_a_deleted_repo_is_not_given_again(world):
    repo = world.repo()
    world.records.repos.delete(repo, by=world.me)
    assert world.repo().id > repo.id


def test_a_card_is_kept_as_it_was_given(world):
    repo = world.repo()
    card = Card({"license": "mit", "π": [1, None, {"a": 1.5}]}, ("zh", "license:mit", "en", "zh"), "odd")
    world.records.repos.describe(repo, card)
    assert world.records.repos.get(repo.id).card == card


def test_likes_count_once_an_account_and_are_listed_both_ways(world):
    repo, bob = world.repo(), Actor(world.account("Bob"), Access.WRITE)
    for _ in range(2):
        world.records.repos.like(repo, True, by=world.me)
    world.clock.at += 1
    world.records.repos.like(repo, True, by=bob)
    assert world.records.repos.likers(repo) == ["Bob", "ann"] and world.records.repos.get(repo.id).likes == 2
    assert [r.id for r in world.records.repos.liked_by("bob")] == [repo.id]
    for _ in range(2):
        world.records.repos.like(repo, False, by=bob)
    assert world.records.repos.get(repo.id).likes == 1
    with pytest.raises(NotSignedIn):
        world.records.repos.like(repo, True, by=ANYONE)


def test_downloads_are_counted(world):
    repo = world.repo()
    for _ in range(3):
        world.records.repos.downloaded(repo)
    assert world.records.repos.get(repo.id).downloads == 3


# --- search


def names(world, viewer=ANYONE, **question):
    page = world.records.repos.search(Search(Kind.MODEL, viewer, **question))
    return [repo.name for repo in page.repos]


def test_search_by_words_owner_and_tags(world):
    yi, llama = world.repo("Yi-6B-Chat"), world.repo("llama_2", owner="Meta")
    world.repo("corpus", kind=Kind.DATASET)
    world.records.repos.describe(yi, Card({}, ("license:apache-2.0", "zh")))
    world.records.repos.describe(llama, Card({}, ("zh",)))
    assert names(world, text="chat YI") == ["Yi-6B-Chat"]
    assert names(world, text="ann/yi") == ["Yi-6B-Chat"]
    assert names(world, text="a_2") == ["llama_2"] and names(world, text="a-2") == []  # _ is no wildcard
    assert names(world, text="%") == []
    assert names(world, owner="META") == ["llama_2"]
    assert set(names(world, tags=("zh",))) == {"Yi-6B-Chat", "llama_2"}
    assert names(world, tags=("zh", "license:apache-2.0", "zh")) == ["Yi-6B-Chat"]
    assert names(world, tags=("zh'; --",)) == []


def test_private_repos_are_found_by_those_who_may_read_them_and_nobody_else(world):
    world.repo("open")
    secret = world.repo("secret", private=True)
    org = world.account("lab", is_org=True)
    world.repo("plan", owner="lab", private=True)
    bob, root = world.account("bob"), world.account("root", is_admin=True)
    assert names(world) == ["open"] == names(world, Actor(bob, Access.READ))
    assert set(names(world, world.me)) == {"open", "secret"}
    assert names(world, Actor(world.ann, Access.NONE)) == ["open"]
    world.records.accounts.set_role(org, bob, Access.READ, by=world.me)
    assert set(names(world, Actor(bob, Access.READ))) == {"open", "plan"}
    assert set(names(world, Actor(root, Access.READ))) == {"open", "secret", "plan"}
    assert names(world, Actor(world.ann, Access.WRITE, repos=())) == ["open"]
    assert set(names(world, Actor(world.ann, Access.WRITE, repos=(secret.key,)))) == {"open", "secret"}


@pytest.mark.parametrize("sort", ["created", "updated", "likes", "downloads", "name", "size"])
@pytest.mark.parametrize("descending", [True, False])
def test_pages_in_any_order_hold_every_repo_once(world, sort, descending):
    for n in range(11):
        world.clock.at += n % 3  # ties on purpose
        repo = world.repo(f"m{n}")
        for _ in range(n % 2):
            world.records.repos.downloaded(repo)
    seen, after = [], None
    while True:
        search = Search(Kind.MODEL, ANYONE, sort=sort, descending=descending, limit=3, after=after)
        page = world.records.repos.search(search)
        seen += page.repos
        if page.next is None:
            break
        after = page.next
    assert len(seen) == len({repo.id for repo in seen}) == 11
    field = {"created": "created_at", "updated": "updated_at", "name": "full_name", "size": "size_bytes"}
    values = [getattr(repo, field.get(sort, sort)) for repo in seen]
    assert values == sorted(values, reverse=descending)


def test_f11_pages_neither_repeat_nor_hide_while_repos_come_and_go(world):
    repos = [world.repo(f"m{n:02}") for n in range(12)]
    question = Search(Kind.MODEL, ANYONE, sort="name", descending=False, limit=4)
    first = world.records.repos.search(question)
    world.records.repos.delete(repos[3], by=world.me)  # the row the cursor points at
    world.repo("a-newcomer-before")
    world.repo("m05b")
    second = world.records.repos.search(dataclasses.replace(question, after=first.next))
    assert [r.name for r in second.repos] == ["m04", "m05", "m05b", "m06"]


@pytest.mark.parametrize("cursor", ["", "%%%", "bm8", "W10", "WyJuYW1lIixmYWxzZSwieCIsMV0", "é" * 9,
                                    "WyJ1cGRhdGVkIix0cnVlLDEsMTAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDBd"])
def test_a_cursor_of_another_list_is_refused(world, cursor):
    with pytest.raises(BadInput):
        world.records.repos.search(Search(Kind.MODEL, ANYONE, after=cursor))
    with pytest.raises(BadInput):
        world.records.repos.search(Search(Kind.MODEL, ANYONE, sort="colour"))


def test_text_no_database_can_hold_is_refused_and_not_a_fault(world):
    with pytest.raises(BadInput):
        world.account("half\ud800")
    try:
        world.account("nul\0")  # SQLite holds it, PostgreSQL cannot
    except BadInput:
        assert world.records.engine.dialect.name == "postgresql"


# --- accounts


def test_accounts_are_found_whatever_the_case_and_names_clash_whatever_the_case(world):
    bob = world.account("Bob", fullname="Bob B", email="b@example.org", password_hash="h")
    assert world.records.accounts.find("bOB") == bob == world.records.accounts.get(bob.id)
    assert world.records.accounts.password_hash(bob) == "h"
    with pytest.raises(Conflict):
        world.account("bob", is_org=True)
    assert [a.name for a in world.records.accounts.all()] == ["ann", "Bob"] and world.records.accounts.count() == 2


def test_an_account_changes_only_what_may_change(world):
    changed = world.records.accounts.update(world.ann, by=world.me, fullname="Ann", password_hash="secret-hash")
    assert changed.fullname == "Ann" and world.records.accounts.password_hash(changed) == "secret-hash"
    with pytest.raises(TypeError):
        world.records.accounts.update(world.ann, by=world.me, name="root")
    row = world.records.accounts.audit(limit=1)[0]
    assert row.detail == {"fields": ["fullname", "password_hash"]} and "secret-hash" not in str(row)


def test_an_account_that_owns_repos_stays(world):
    repo = world.repo()
    world.records.repos.like(repo, True, by=world.me)
    with pytest.raises(Conflict):
        world.records.accounts.delete(world.ann, by=world.me)
    moved = world.records.repos.move(repo, "bob", "yi", by=world.me)
    world.records.accounts.issue(world.ann, "t", "hash", scope=Access.READ, repos=None, expires_at=None, by=world.me)
    world.records.accounts.delete(world.ann, by=world.me)
    assert world.records.accounts.find("ann") is None and world.records.accounts.token("hash") is None
    assert world.records.repos.get(moved.id).likes == 0
    with pytest.raises(NotFound):
        world.records.accounts.update(world.ann, by=world.me, fullname="ghost")


def test_roles_are_set_changed_and_taken_away(world):
    lab, bob = world.account("lab", is_org=True), world.account("bob")
    for role in (Access.READ, Access.ADMIN):
        world.records.accounts.set_role(lab, bob, role, by=world.me)
        members = world.records.accounts.members(lab)
        assert members == world.records.accounts.memberships(bob) and [m.role for m in members] == [role]
    world.records.accounts.set_role(lab, bob, Access.NONE, by=world.me)
    assert world.records.accounts.members(lab) == []


def test_a_token_opens_until_it_is_revoked_or_expires(world):
    issue = world.records.accounts.issue
    kept = issue(world.ann, "laptop", "h1", scope=Access.WRITE, repos=("model/ann/yi",), expires_at=None, by=world.me)
    short = issue(world.ann, "short", "h2", scope=Access.READ, repos=None, expires_at=world.clock() + 10, by=world.me)
    assert world.records.accounts.token("h1") == (kept, world.ann)
    assert world.records.accounts.token("h2") == (short, world.ann)
    assert world.records.accounts.token("h3") is None
    world.clock.at += 10
    assert world.records.accounts.token("h2") is None
    with pytest.raises(Conflict):
        issue(world.ann, "laptop", "h4", scope=Access.READ, repos=None, expires_at=None, by=world.me)
    assert world.records.accounts.revoke(world.ann, "laptop", by=world.me)
    assert not world.records.accounts.revoke(world.ann, "laptop", by=world.me)
    assert world.records.accounts.token("h1") is None
    again = issue(world.ann, "short", "h5", scope=Access.READ, repos=None, expires_at=None, by=world.me)
    assert [t.id for t in world.records.accounts.tokens(world.ann)] == [again.id]  # the expired one made way


def test_the_use_of_a_token_is_noted_at_most_once_a_minute(world):
    world.records.accounts.issue(world.ann, "t", "h", scope=Access.READ, repos=None, expires_at=None, by=world.me)
    start = world.clock()
    for step, noted in ((0, start), (59, start), (2, start + 61)):
        world.clock.at += step
        world.records.accounts.token("h")
        assert world.records.accounts.tokens(world.ann)[0].last_used_at == noted


def test_a_secret_is_made_once_and_stays(world):
    made = world.records.accounts.secret("links")
    assert len(made) == 32 and world.records.accounts.secret("links") == made != world.records.accounts.secret("other")


# --- audit and events


def test_every_write_leaves_an_audit_row_with_who_and_which_token(world):
    repo = world.repo()
    world.push(repo, {"a": "1"})
    repo = world.records.repos.set_private(repo, True, by=world.me)
    world.records.accounts.note("upload", repo.key, by=world.me, detail={"n": 1})
    rows = world.records.accounts.audit(subject=repo.key)
    assert [row.action for row in rows] == ["upload", "repo.visibility", "commit", "repo.create"]
    assert {(row.actor, row.token) for row in rows} == {("ann", "laptop")} and rows[0].detail == {"n": 1}
    older = world.records.accounts.audit(subject=repo.key, before=rows[1].id, limit=1)
    assert older == rows[2:3]


def test_a_commit_is_announced_until_it_is_delivered(world):
    repo = world.repo()
    commit = world.push(repo, {"a": "1"})
    world.records.bus.announce("other", {"x": [1]})
    first, second = world.records.bus.pending()
    assert first.name == REVISION_STORED and second.payload == {"x": [1]}
    assert first.payload == {"repo_id": repo.id, "kind": "model", "name": "ann/yi", "ref": MAIN,
                             "revision": commit.oid}
    world.records.bus.delivered(first)
    assert world.records.bus.pending() == [second]


# --- opening


def test_records_opened_again_hold_what_was_written(world, database_url, tmp_path):
    repo = world.repo()
    again = open_records(database_url, tmp_path)
    assert again.repos.get(repo.id) == repo
    again.close()


def test_a_database_of_a_newer_headwater_is_refused(world, database_url, tmp_path):
    with world.records.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(Unavailable, match="newer Headwater"):
        open_records(database_url, tmp_path)


def test_a_url_that_is_not_postgresql_and_a_server_that_is_not_there(tmp_path):
    with pytest.raises(BadInput):
        open_records("mysql://x/y", tmp_path)
    with pytest.raises(Unavailable):
        open_records(f"postgresql://nobody@/none?host={tmp_path}", tmp_path)


def test_a_url_that_cannot_be_read_is_refused_without_showing_the_password(tmp_path):
    with pytest.raises(BadInput) as refused:
        open_records("postgresql://ann:geheim@host:port/db", tmp_path)
    assert "geheim" not in str(refused.value)


def test_without_the_driver_the_way_to_install_it_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(Unavailable, match="pip install"):
        open_records("postgresql://host/db", tmp_path)
