"""Accounts as verbs and over HTTP: sign-in and its throttle (A13), tokens, users, organisations, audit."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from headwater.app import open_app
from headwater.core.errors import Busy, Conflict, Forbidden, NotFound, NotSignedIn
from headwater.core.settings import load
from headwater.core.types import Access, Actor
from headwater.hub import Hub
from headwater.hub.accounts import (
    SESSION_PREFIX,
    actor_of_secret,
    create_org,
    create_user,
    delete_account,
    set_password,
    set_role,
    sign_in,
)
from headwater.hub.throttle import KEYS_MAX, Throttle

PASSWORD = "correct horse battery"


# --- the throttle


def test_a13_wrong_passwords_are_slowed_down_by_name_and_by_address(hub: Hub, owner: Actor) -> None:
    create_user(hub, owner, "alice", PASSWORD)
    for _ in range(10):
        with pytest.raises(NotSignedIn):
            sign_in(hub, "alice", "wrong", address="10.0.0.1")
    with pytest.raises(Busy, match="Too many wrong passwords"):
        sign_in(hub, "Alice", PASSWORD, address="10.0.0.2")
    with pytest.raises(Busy):
        sign_in(hub, "somebody-else", PASSWORD, address="10.0.0.1")
    with pytest.raises(NotSignedIn):
        sign_in(hub, "somebody-else", PASSWORD, address="10.0.0.2")


def test_a13_a_hundred_guesses_at_once_are_counted_once_each(hub: Hub, owner: Actor,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    from argon2 import PasswordHasher

    from headwater.hub import accounts

    monkeypatch.setattr(accounts, "_hasher", PasswordHasher(time_cost=1, memory_cost=8, parallelism=1))
    create_user(hub, owner, "alice", PASSWORD)
    met: list[type] = []

    def guess() -> None:
        with pytest.raises((Busy, NotSignedIn)) as caught:
            sign_in(hub, "alice", "wrong", address="10.0.0.1")
        met.append(caught.type)

    threads = [threading.Thread(target=guess) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert met.count(NotSignedIn) == 10 and met.count(Busy) == 90
    refused = [row for row in hub.accounts.audit(limit=1000) if row.action == "session.refused"]
    assert len(refused) == 10 and refused[0].subject == "alice" and refused[0].detail == {"address": "10.0.0.1"}


def test_right_passwords_are_never_counted_and_the_window_passes() -> None:
    now = [0.0]
    throttle = Throttle(2, 60, clock=lambda: now[0])
    for _ in range(50):
        throttle.enter("name alice")
        throttle.succeeded("name alice")
    throttle.enter("name alice")
    throttle.enter("name alice")
    with pytest.raises(Busy) as caught:
        throttle.enter("name alice", "address 10.0.0.1")
    assert caught.value.retry_after == 61
    throttle.enter("address 10.0.0.1")  # what was refused was not counted
    now[0] = 60.0
    throttle.enter("name alice")


def test_the_throttle_holds_a_bounded_number_of_keys() -> None:
    throttle = Throttle(1, 60)
    for number in range(KEYS_MAX + 10):
        throttle.enter(f"address {number}")
    assert len(throttle._tries) == KEYS_MAX
    with pytest.raises(Busy):
        throttle.enter(f"address {KEYS_MAX + 9}")


def test_a13_a_name_nobody_has_takes_as_long_as_a_wrong_password(hub: Hub, owner: Actor,
                                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    from argon2 import PasswordHasher

    from headwater.hub import accounts

    monkeypatch.setattr(accounts, "_hasher", PasswordHasher())  # as without tests
    create_user(hub, owner, "alice", PASSWORD)

    def taken(name: str) -> float:
        began = time.process_time()
        with pytest.raises(NotSignedIn):
            sign_in(hub, name, "wrong password")
        return time.process_time() - began

    wrong, nobody = (min(taken(name) for _ in range(3)) for name in ("alice", "somebody-else"))
    assert 0.6 < nobody / wrong < 1.6, (wrong, nobody)


def test_a_name_nobody_has_is_not_written_to_the_audit_log(hub: Hub, owner: Actor) -> None:
    with pytest.raises(NotSignedIn):
        sign_in(hub, PASSWORD, "oops, that was the password")
    row = hub.accounts.audit(limit=1)[0]
    assert (row.action, row.subject) == ("session.refused", "unknown")


def test_a_new_password_ends_the_sessions_of_the_account(hub: Hub, owner: Actor) -> None:
    create_user(hub, owner, "alice", PASSWORD)
    before = sign_in(hub, "alice", PASSWORD)
    assert actor_of_secret(hub, before).name == "alice"
    set_password(hub, owner, "alice", "another battery")
    assert actor_of_secret(hub, before) is None


# --- deleting


def test_the_last_administrator_stays(hub: Hub, owner: Actor) -> None:
    with pytest.raises(Conflict, match="only administrator"):
        delete_account(hub, owner, owner.name, is_org=False)
    alice = Actor(create_user(hub, owner, "alice", PASSWORD), Access.WRITE)
    create_org(hub, alice, "acme")
    with pytest.raises(Conflict, match="only administrator of acme"):
        delete_account(hub, owner, "alice", is_org=False)
    with pytest.raises(Forbidden):
        delete_account(hub, alice, owner.name, is_org=False)
    bob = Actor(create_user(hub, owner, "bob", PASSWORD), Access.WRITE)
    with pytest.raises(NotFound):
        delete_account(hub, bob, "acme", is_org=True)
    set_role(hub, alice, "acme", "bob", Access.ADMIN)
    delete_account(hub, owner, "alice", is_org=False)
    delete_account(hub, bob, "acme", is_org=True)
    assert {a.name for a in hub.accounts.all()} == {owner.name, "bob"}


# --- over HTTP


@pytest.fixture
def client(tmp_path: Path) -> Iterator[TestClient]:
    """An open hub; the client comes from loopback."""
    app = open_app(load(tmp_path / "data", environ={}))
    with TestClient(app.http, base_url="http://127.0.0.1", client=("127.0.0.1", 1)) as client:
        client.hub = app.hub
        yield client


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


def test_the_first_user_with_a_password_closes_the_hub_and_signs_in(client: TestClient) -> None:
    made = client.post("/api/headwater/users", json={"name": "alice", "password": PASSWORD, "admin": True})
    assert made.status_code == 201 and made.json()["admin"] is True
    assert client.get("/api/headwater/users").status_code == 401
    wrong = client.post("/api/headwater/session", json={"name": "alice", "password": "wrong"})
    assert wrong.status_code == 401 and "set-cookie" not in wrong.headers
    done = client.post("/api/headwater/session", json={"name": "Alice", "password": PASSWORD})
    cookie = done.headers["set-cookie"].lower()
    assert done.json()["name"] == "alice"
    assert "httponly" in cookie and "samesite=lax" in cookie and "secure" not in cookie
    assert [u["name"] for u in client.get("/api/headwater/users").json()] == ["alice", "local"]
    assert client.delete("/api/headwater/session").status_code == 200
    assert client.get("/api/headwater/users").status_code == 401


def test_over_https_the_session_cookie_is_secure(tmp_path: Path) -> None:
    app = open_app(load(tmp_path / "data", {"public_url": "https://hub.example"}, environ={}))
    with TestClient(app.http, base_url="http://127.0.0.1", client=("127.0.0.1", 1)) as client:
        client.post("/api/headwater/users", json={"name": "alice", "password": PASSWORD})
        done = client.post("/api/headwater/session", json={"name": "alice", "password": PASSWORD})
        assert "secure" in done.headers["set-cookie"].lower()


def test_a13_over_http_the_throttle_answers_429_with_the_seconds_to_wait(client: TestClient) -> None:
    for _ in range(10):
        assert client.post("/api/headwater/session", json={"name": "x", "password": "y"}).status_code == 401
    answer = client.post("/api/headwater/session", json={"name": "x", "password": "y"})
    assert answer.status_code == 429 and 0 < int(answer.headers["retry-after"]) <= 301


def test_a_token_is_shown_once_scoped_and_revoked(client: TestClient) -> None:
    client.post("/api/repos/create", json={"name": "river", "type": "model"})
    made = client.post("/api/headwater/tokens", json={"name": "ci / laptop", "scope": "read", "days": 1,
                                                      "repos": ["local/River"]}).json()
    assert made["token"].startswith("hf_") and made["repos"] == ["model/local/river"] and made["user"] == "local"
    assert made["expires_at"] > made["created_at"]
    listed = client.get("/api/headwater/tokens").json()
    assert [t["name"] for t in listed] == ["ci / laptop"] and "token" not in listed[0]
    again = client.post("/api/headwater/tokens", json={"name": "ci / laptop"})
    assert again.status_code == 409
    made_by_reader = client.post("/api/headwater/tokens", json={"name": "more"}, headers=bearer(made["token"]))
    assert made_by_reader.status_code == 403
    gone = client.delete("/api/headwater/tokens/ci%20%2F%20laptop")
    assert gone.status_code == 200, gone.text
    assert client.delete("/api/headwater/tokens/ci%20%2F%20laptop").status_code == 404
    assert client.post("/api/headwater/tokens", json={"name": "x", "repos": ["local/none"]}).status_code == 404


def test_only_administrators_manage_others(client: TestClient) -> None:
    client.post("/api/headwater/users", json={"name": "alice", "password": PASSWORD})
    admin = bearer(_token_of(client.hub, "local"))
    alice = client.post("/api/headwater/tokens", json={"name": "one", "user": "alice"}, headers=admin).json()
    assert alice["user"] == "alice"
    mine = bearer(alice["token"])
    for method, path, body in [
        ("POST", "users", {"name": "bob", "password": PASSWORD}), ("GET", "users", None), ("GET", "audit", None),
        ("GET", "disk", None), ("GET", "doctor", None), ("POST", "sweep", {}), ("POST", "scrub", None),
        ("DELETE", "users/local", None), ("PUT", "users/local/password", {"password": PASSWORD}),
        ("POST", "tokens", {"name": "two", "user": "local"}), ("GET", "tokens?user=local", None),
        ("DELETE", "tokens/any?user=local", None),
    ]:
        answer = client.request(method, f"/api/headwater/{path}", json=body, headers=mine)
        assert answer.status_code == 403, (method, path, answer.text)
        stranger = client.request(method, f"/api/headwater/{path}", json=body)
        assert stranger.status_code == 401, (method, path, stranger.text)
    assert client.put("/api/headwater/users/alice/password", json={"password": "a new battery"},
                      headers=mine).status_code == 200
    assert client.post("/api/headwater/session", json={"name": "alice", "password": "a new battery"}).status_code == 200


def _token_of(hub: Hub, name: str) -> str:
    from headwater.hub.accounts import issue_token

    return issue_token(hub, Actor(hub.accounts.find(name), Access.ADMIN), f"of {name}")[0]


def test_an_organisation_has_members_with_roles(client: TestClient) -> None:
    client.post("/api/headwater/users", json={"name": "alice"})
    client.post("/api/headwater/users", json={"name": "bob"})
    alice, bob = (bearer(_token_of(client.hub, name)) for name in ("alice", "bob"))
    made = client.post("/api/headwater/orgs", json={"name": "acme"}, headers=alice)
    assert made.status_code == 201 and made.json()["members"] == [{"name": "alice", "role": "admin"}]
    assert client.get("/api/headwater/orgs/acme", headers=bob).status_code == 404
    put = client.put("/api/headwater/orgs/acme/members/bob", json={"role": "write"}, headers=alice)
    assert {"name": "bob", "role": "write"} in put.json()["members"]
    assert client.put("/api/headwater/orgs/acme/members/bob", json={"role": "king"}, headers=alice).status_code == 400
    assert [o["name"] for o in client.get("/api/headwater/orgs", headers=bob).json()] == ["acme"]
    assert client.put("/api/headwater/orgs/acme/members/bob", json={"role": "admin"}, headers=bob).status_code == 404
    client.put("/api/headwater/orgs/acme/members/bob", json={"role": "none"}, headers=alice)
    assert client.get("/api/headwater/orgs", headers=bob).json() == []
    assert client.delete("/api/headwater/orgs/acme", headers=alice).status_code == 200


def test_a15_the_audit_log_names_who_did_what_with_which_token(client: TestClient) -> None:
    secret = _token_of(client.hub, "local")
    client.post("/api/headwater/users", json={"name": "alice", "password": PASSWORD}, headers=bearer(secret))
    rows = client.get("/api/headwater/audit", headers=bearer(secret)).json()
    made = next(r for r in rows if r["action"] == "account.create" and r["subject"] == "alice")
    assert (made["actor"], made["token"]) == ("local", "of local")
    assert PASSWORD not in str(rows) and secret not in str(rows)
    last = client.get(f"/api/headwater/audit?before={rows[0]['id']}&limit=1", headers=bearer(secret)).json()
    assert last == [rows[1]]
    assert all(r["subject"] == "alice" for r in
               client.get("/api/headwater/audit?subject=alice", headers=bearer(secret)).json())


def test_sessions_are_not_listed_among_tokens(client: TestClient) -> None:
    client.post("/api/headwater/users", json={"name": "alice", "password": PASSWORD})
    client.post("/api/headwater/session", json={"name": "alice", "password": PASSWORD})
    assert client.get("/api/headwater/tokens").json() == []
    assert client.hub.accounts.tokens(client.hub.accounts.find("alice"))[0].name.startswith(SESSION_PREFIX)
