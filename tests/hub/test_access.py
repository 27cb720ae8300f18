"""Who may do what: every combination of account, role and token against what it must be."""

from __future__ import annotations

from dataclasses import replace

import pytest

from headwater.core.errors import Conflict, Forbidden, HeadwaterError, NotFound, NotSignedIn, RepoNotFound
from headwater.core.types import ANYONE, Access, Actor, Kind, Repo
from headwater.hub import Hub, repos
from headwater.hub.access import access_to, find_repo, may_create_in
from headwater.hub.accounts import actor_of_secret, create_org, create_user, issue_token, set_role

NONE, READ, WRITE, ADMIN = Access


@pytest.fixture
def people(hub: Hub, owner: Actor) -> dict[str, Actor]:
    """ann owns ann/open and ann/closed; org acme has bob as admin, wes as writer, rea as reader; eve has nothing."""
    found = {name: Actor(create_user(hub, owner, name, None), WRITE) for name in ("ann", "bob", "wes", "rea", "eve")}
    create_org(hub, found["bob"], "acme")
    for name, role in (("wes", WRITE), ("rea", READ)):
        set_role(hub, found["bob"], "acme", name, role)
    return {**found, "owner": owner, "nobody": ANYONE}


@pytest.fixture
def kept(hub: Hub, people: dict[str, Actor]) -> dict[str, Repo]:
    made = {}
    for who, owner in (("ann", "ann"), ("bob", "acme")):
        for name, private in (("open", False), ("closed", True)):
            made[f"{owner}/{name}"] = repos.create(hub, people[who], Kind.MODEL, owner, name, private=private)
    return made


EXPECTED = {
    "ann/open": {"ann": ADMIN, "owner": ADMIN, "bob": READ, "eve": READ, "nobody": READ},
    "ann/closed": {"ann": ADMIN, "owner": ADMIN, "bob": NONE, "eve": NONE, "nobody": NONE},
    "acme/open": {"bob": ADMIN, "wes": WRITE, "rea": READ, "eve": READ, "ann": READ, "nobody": READ, "owner": ADMIN},
    "acme/closed": {"bob": ADMIN, "wes": WRITE, "rea": READ, "eve": NONE, "ann": NONE, "nobody": NONE, "owner": ADMIN},
}


def test_the_account_decides_and_the_token_caps(hub: Hub, people: dict[str, Actor], kept: dict[str, Repo]) -> None:
    for name, wanted in EXPECTED.items():
        for who, access in wanted.items():
            repo, actor = kept[name], people[who]
            assert access_to(hub, actor, repo) is access, (name, who)
            if who == "nobody":
                continue
            capped = READ if access.covers(READ) else NONE
            assert access_to(hub, replace(actor, scope=READ), repo) is capped, (name, who, "read token")
            public = NONE if repo.private else READ
            assert access_to(hub, replace(actor, scope=NONE), repo) is public
            assert access_to(hub, replace(actor, repos=("model/other/x",)), repo) is public, (name, who, "other token")
            assert access_to(hub, replace(actor, repos=(f"dataset/{name}",)), repo) is public, "the kind counts"
            assert access_to(hub, replace(actor, repos=(repo.key,)), repo) is access


def test_private_and_absent_answer_alike(hub: Hub, people: dict[str, Actor], kept: dict[str, Repo]) -> None:
    for who in ("eve", "nobody"):
        errors = []
        for name in ("ann/closed", "ann/absent"):
            with pytest.raises(RepoNotFound) as caught:
                find_repo(hub, people[who], Kind.MODEL, name)
            errors.append(str(caught.value).replace(name, ""))
        assert errors[0] == errors[1]


def test_too_little_right_is_told_apart_from_not_signed_in(hub: Hub, people: dict[str, Actor],
                                                           kept: dict[str, Repo]) -> None:
    with pytest.raises(NotSignedIn):
        find_repo(hub, ANYONE, Kind.MODEL, "ann/open", WRITE)
    with pytest.raises(Forbidden):
        find_repo(hub, people["eve"], Kind.MODEL, "ann/open", WRITE)
    with pytest.raises(Forbidden):
        find_repo(hub, people["wes"], Kind.MODEL, "acme/open", ADMIN)
    with pytest.raises(RepoNotFound):
        find_repo(hub, people["eve"], Kind.MODEL, "ann/closed", WRITE)


@pytest.mark.parametrize(("who", "where", "may"), [
    ("ann", "ann", True), ("eve", "ann", False), ("wes", "acme", True), ("rea", "acme", False), ("bob", "acme", True),
    ("eve", "acme", False), ("owner", "acme", True), ("nobody", "ann", False)])
def test_repos_are_made_in_ones_own_namespace(hub: Hub, people: dict[str, Actor], who: str, where: str,
                                              may: bool) -> None:
    if may:
        may_create_in(hub, people[who], where)
        with pytest.raises(Forbidden):
            may_create_in(hub, replace(people[who], scope=READ), where)
        with pytest.raises(Forbidden, match="only the repos it was made for"):
            may_create_in(hub, replace(people[who], repos=(f"model/{where}/x",)), where)
    else:
        with pytest.raises((Forbidden, NotSignedIn)):
            may_create_in(hub, people[who], where)


def test_only_an_administrator_makes_repos_under_a_name_nobody_has(hub: Hub, people: dict[str, Actor]) -> None:
    with pytest.raises(HeadwaterError) as caught:
        repos.create(hub, people["ann"], Kind.MODEL, "01-ai", "Yi-6B")
    assert caught.value.status == 403
    assert repos.create(hub, people["owner"], Kind.MODEL, "01-ai", "Yi-6B").full_name == "01-ai/Yi-6B"


def test_a_repo_moves_only_with_rights_at_both_ends(hub: Hub, people: dict[str, Actor], kept: dict[str, Repo]) -> None:
    with pytest.raises(Forbidden):
        repos.move(hub, people["wes"], kept["acme/open"], "wes", "mine")
    with pytest.raises(Forbidden):
        repos.move(hub, people["ann"], kept["ann/open"], "acme", "open2")
    assert repos.move(hub, people["bob"], kept["acme/open"], "bob", "mine").full_name == "bob/mine"


def test_a_token_never_opens_more_than_the_one_that_made_it(hub: Hub, people: dict[str, Actor]) -> None:
    narrow = replace(people["ann"], repos=("model/ann/open",))
    secret, token = issue_token(hub, narrow, "child", repos=("model/ann/open", "model/ann/closed"))
    assert token.repos == ("model/ann/open",)
    assert actor_of_secret(hub, secret).repos == ("model/ann/open",)
    assert issue_token(hub, narrow, "child2")[1].repos == ("model/ann/open",)
    with pytest.raises(Forbidden):
        issue_token(hub, replace(people["ann"], scope=READ), "wider", scope=WRITE)
    with pytest.raises(Forbidden):
        issue_token(hub, people["ann"], "for eve", account=people["eve"].account)


def test_a_token_dies_when_revoked_or_expired(hub: Hub, people: dict[str, Actor], clock) -> None:
    secret, _ = issue_token(hub, people["ann"], "short", seconds=60)
    assert actor_of_secret(hub, secret).name == "ann"
    clock.at += 61
    assert actor_of_secret(hub, secret) is None
    secret, _ = issue_token(hub, people["ann"], "lost")
    hub.accounts.revoke(people["ann"].account, "lost", by=people["ann"])
    assert actor_of_secret(hub, secret) is None
    for nonsense in ("", "hf_", "hf_" + "a" * 34, "hf_" + "a" * 10_000, "session x", secret.upper()):
        assert actor_of_secret(hub, nonsense) is None


def test_the_last_administrator_of_an_organisation_stays(hub: Hub, people: dict[str, Actor]) -> None:
    with pytest.raises(Conflict):
        set_role(hub, people["bob"], "acme", "bob", READ)
    with pytest.raises(NotFound):
        set_role(hub, people["wes"], "acme", "wes", ADMIN)
    set_role(hub, people["bob"], "acme", "wes", ADMIN)
    set_role(hub, people["wes"], "acme", "bob", NONE)
    private = repos.create(hub, people["wes"], Kind.MODEL, "acme", "n", private=True)
    assert access_to(hub, people["bob"], private) is NONE


def test_a_moved_repo_is_found_by_its_old_name_until_somebody_takes_that(hub: Hub, people: dict[str, Actor],
                                                                         kept: dict[str, Repo]) -> None:
    ann = people["ann"]
    repos.move(hub, ann, kept["ann/closed"], "ann", "new")
    assert find_repo(hub, ann, Kind.MODEL, "ann/closed").full_name == "ann/new"
    with pytest.raises(RepoNotFound) as caught:
        find_repo(hub, people["eve"], Kind.MODEL, "ann/closed")
    assert "ann/new" not in str(caught.value)
    fresh = repos.create(hub, ann, Kind.MODEL, "ann", "closed")
    assert find_repo(hub, ann, Kind.MODEL, "ann/closed").id == fresh.id
