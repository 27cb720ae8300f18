"""The LFS door without HTTP: links that open one thing, parts in any order, completion that checks everything."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from server import fresh, opened_hub

from headwater.core.errors import BadInput, Forbidden, HeadwaterError, RepoNotFound, TooLarge
from headwater.core.types import Access, Actor, Kind, Repo
from headwater.hub import Hub, repos
from headwater.hub.accounts import create_org, create_user, owner_actor, set_role
from headwater.hub.signing import sign, unsign
from headwater.hub.uploads import PartIntake, check_digest, complete, missing, open_ticket, part_count, ticket

DATA = bytes(range(250)) * 4
DIGEST = hashlib.sha256(DATA).hexdigest()


def send(hub: Hub, opened, number: int, data: bytes) -> str:
    part = PartIntake(hub, opened, number)
    try:
        part.write(data)
        return part.finish()
    finally:
        part.close()


def parts(data: bytes, size: int) -> dict[int, bytes]:
    return {n + 1: data[at:at + size] for n, at in enumerate(range(0, len(data), size))}


@settings(max_examples=40, deadline=None)
@given(size=st.integers(1, 400), order=st.randoms(use_true_random=False), again=st.integers(1, 3))
def test_parts_in_any_order_even_sent_twice_make_the_file(shared_hub: Hub, size: int, order, again: int) -> None:
    hub, owner = shared_hub, owner_actor(shared_hub)
    repo = repos.create(hub, owner, Kind.MODEL, owner.name, fresh())
    data = order.randbytes(order.randint(1, 1200))
    digest = hashlib.sha256(data).hexdigest()
    opened = open_ticket(hub, ticket(hub, owner, repo, digest, len(data), size))
    pieces = parts(data, size)
    assert part_count(opened) == len(pieces)
    todo = [n for n in pieces for _ in range(order.randint(1, again))]
    order.shuffle(todo)
    etags = {n: send(hub, opened, n, pieces[n]) for n in todo}
    complete(hub, opened, etags)
    assert hub.holdings.sizes(repo, [digest]) == {digest: len(data)}
    assert b"".join(hub.blobs.read(digest)) == data
    complete(hub, opened, etags)  # a client whose answer was lost asks again
    assert not [p for p in hub.tmp.iterdir() if p.name.startswith("parts-")]


@pytest.fixture(scope="module")
def shared_hub(tmp_path_factory: pytest.TempPathFactory):
    with opened_hub(tmp_path_factory.mktemp("uploads")) as hub:
        yield hub


@pytest.fixture
def opened(hub: Hub, owner: Actor, repo: Repo):
    return open_ticket(hub, ticket(hub, owner, repo, DIGEST, len(DATA), 400))


def test_a_part_missing_short_long_or_swapped_is_refused(hub: Hub, opened) -> None:
    pieces = parts(DATA, 400)
    one = send(hub, opened, 1, pieces[1])
    with pytest.raises(BadInput, match="Part 2 of 3 has not arrived"):
        complete(hub, opened, {1: one})
    with pytest.raises(BadInput, match="399 bytes came"):
        send(hub, opened, 2, pieces[2][:-1])
    with pytest.raises(TooLarge):
        send(hub, opened, 2, pieces[2] + b"x")
    two, three = send(hub, opened, 2, pieces[2]), send(hub, opened, 3, pieces[3])
    with pytest.raises(BadInput, match="Part 2 is not"):
        complete(hub, opened, {1: one, 2: one, 3: three})
    with pytest.raises(BadInput, match="Part 3 is not"):
        complete(hub, opened, {1: one, 2: two})
    for number in (0, 4, -1, 10**9):
        with pytest.raises(BadInput, match="no part"):
            send(hub, opened, number, b"")
    complete(hub, opened, {1: one, 2: two, 3: three})


def test_a_part_replaced_by_a_broken_one_counts_as_missing(hub: Hub, opened) -> None:
    pieces = parts(DATA, 400)
    etags = {n: send(hub, opened, n, piece) for n, piece in pieces.items()}
    with pytest.raises(BadInput):
        send(hub, opened, 2, b"y" * 10)
    with pytest.raises(BadInput, match="Part 2 of 3 has not arrived"):
        complete(hub, opened, etags)


def test_whole_parts_of_other_bytes_are_refused_and_can_be_sent_again(hub: Hub, repo: Repo, opened) -> None:
    wrong = {n: send(hub, opened, n, b"z" * len(piece)) for n, piece in parts(DATA, 400).items()}
    with pytest.raises(BadInput, match="hash"):
        complete(hub, opened, wrong)
    assert hub.holdings.sizes(repo, [DIGEST]) == {}
    etags = {n: send(hub, opened, n, piece) for n, piece in parts(DATA, 400).items()}
    complete(hub, opened, etags)
    assert hub.holdings.sizes(repo, [DIGEST]) == {DIGEST: len(DATA)}


def test_a_link_dies_with_its_time_its_repo_and_its_makers_role(hub: Hub, owner: Actor, clock) -> None:
    bob, wes = (Actor(create_user(hub, owner, n, None), Access.WRITE) for n in ("bob", "wes"))
    create_org(hub, bob, "acme")
    set_role(hub, bob, "acme", "wes", Access.WRITE)
    repo = repos.create(hub, bob, Kind.MODEL, "acme", "yi")
    text = ticket(hub, wes, repo, DIGEST, 4)
    assert open_ticket(hub, text).actor.name == "wes"
    set_role(hub, bob, "acme", "wes", Access.READ)
    with pytest.raises(Forbidden, match="may no longer"):
        open_ticket(hub, text)
    set_role(hub, bob, "acme", "wes", Access.WRITE)
    clock.at += hub.settings.upload_seconds + 1
    with pytest.raises(Forbidden, match="expired"):
        open_ticket(hub, text)
    text = ticket(hub, wes, repo, DIGEST, 4)
    hub.repos.delete(repo, by=bob)
    with pytest.raises(RepoNotFound):
        open_ticket(hub, text)


def test_a_link_of_a_narrow_token_stays_narrow(hub: Hub, owner: Actor, repo: Repo) -> None:
    ann = Actor(create_user(hub, owner, "ann", None), Access.WRITE, repos=("model/ann/one",))
    one = repos.create(hub, replace(ann, repos=None), Kind.MODEL, "ann", "one")
    two = repos.create(hub, replace(ann, repos=None), Kind.MODEL, "ann", "two")
    assert open_ticket(hub, ticket(hub, ann, one, DIGEST, 4)).repo.id == one.id
    with pytest.raises(HeadwaterError):
        open_ticket(hub, ticket(hub, ann, two, DIGEST, 4))


@settings(max_examples=100, deadline=None)
@given(text=st.text(max_size=60) | st.binary(max_size=60).map(lambda b: base64.urlsafe_b64encode(b).decode() + ".x"))
def test_no_text_but_a_signed_one_opens_anything(shared_hub: Hub, text: str) -> None:
    with pytest.raises(Forbidden):
        unsign(shared_hub, "upload", text)


def test_a_ticket_changed_or_of_another_purpose_opens_nothing(hub: Hub) -> None:
    text = sign(hub, "upload", {"repo": 1, "oid": "a"}, 60)
    assert unsign(hub, "upload", text)["repo"] == 1
    body, mac = text.split(".")
    payload = json.loads(base64.urlsafe_b64decode(body + "=="))
    forged = base64.urlsafe_b64encode(json.dumps({**payload, "repo": 2}).encode()).decode().rstrip("=")
    for bad in (f"{forged}.{mac}", f"{body}.{mac[:-2]}", f"{body}.", body, f"{body}.{mac}.{mac}", "." + mac):
        with pytest.raises(Forbidden):
            unsign(hub, "upload", bad)
    with pytest.raises(Forbidden):
        unsign(hub, "xet", text)


def test_bytes_of_others_are_asked_for_again(hub: Hub, owner: Actor, repo: Repo) -> None:
    other = repos.create(hub, owner, Kind.MODEL, owner.name, "other")
    opened = open_ticket(hub, ticket(hub, owner, other, DIGEST, len(DATA), 400))
    complete(hub, opened, {n: send(hub, opened, n, p) for n, p in parts(DATA, 400).items()})
    assert missing(hub, other, [DIGEST]) == set() and missing(hub, repo, [DIGEST]) == {DIGEST}


def test_a_file_beyond_the_limit_gets_no_link(hub: Hub, owner: Actor, repo: Repo) -> None:
    with pytest.raises(TooLarge):
        ticket(hub, owner, repo, DIGEST, hub.settings.file_max_bytes + 1)


@pytest.mark.parametrize("digest", ["", "x" * 64, "A" * 64, "0" * 63, "0" * 65, "../" + "0" * 61, None, 5,
                                    "0" * 64 + "\n"])
def test_only_64_hex_characters_are_a_digest(digest) -> None:
    with pytest.raises(BadInput):
        check_digest(digest)
