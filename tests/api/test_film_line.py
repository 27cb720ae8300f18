"""/api/headwater/films: the line of films as programs and pages see it, by two people and an administrator."""

from __future__ import annotations

import pytest
from test_openai_videos import picture

pytestmark = pytest.mark.xdist_group("kling")
ROOT = "/api/headwater/films"


def ordered(client, words: str = "zoom", **fields: str) -> str:
    answer = client.post("/v1/videos", data={"prompt": words, "model": "plain", "seconds": "1", "fps": "6",
                                             "size": "320x240", **fields},
                         files={"input_reference": ("a.jpg", picture())})
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


@pytest.fixture
def line(team_server):
    """(alice, bob, an administrator), with the line paused."""
    with team_server.client("alice") as alice, team_server.client("bob") as bob, team_server.client("dora") as admin:
        assert admin.post(f"{ROOT}/queue/pause").json()["paused"]
        yield alice, bob, admin
        for film in admin.get(f"{ROOT}/queue").json()["films"]:
            admin.post(f"{ROOT}/{film['id']}/cancel")
        assert not admin.post(f"{ROOT}/queue/resume").json()["paused"]


def test_each_sees_their_own_place_among_all_and_an_administrator_everybodys(line):
    alice, bob, admin = line
    first, second, third = ordered(alice), ordered(alice), ordered(bob)
    seen = alice.get(f"{ROOT}/queue").json()
    assert [(one["id"], one["waits"]["place"]) for one in seen["films"]] == [(first, 1), (second, 3)]
    assert seen["waiting"] == 3 and seen["paused"] and seen["films"][0]["account"] == "alice"
    assert [one["id"] for one in admin.get(f"{ROOT}/queue").json()["films"]] == [first, third, second]
    for verb, body in (("move", {"to": "top"}), ("pause", None), ("cancel", None), ("duplicate", None)):
        assert bob.post(f"{ROOT}/{first}/{verb}", json=body).status_code == 404
    assert bob.post(f"{ROOT}/queue/pause").status_code == 403
    moved = admin.post(f"{ROOT}/{third}/move", json={"after": second}).json()
    assert moved["waits"]["place"] == 3
    assert bob.post(f"{ROOT}/{third}/move", json={"before": first}).status_code == 404
    assert admin.post(f"{ROOT}/{first}/duplicate").json()["account"] == "alice"


def test_an_order_is_changed_held_doubled_and_given_up(line):
    alice, _, _ = line
    film = ordered(alice, seed="5")
    assert alice.patch(f"{ROOT}/{film}", json={"prompt": None, "seconds": None}).json()["prompt"] == "zoom"
    changed = alice.patch(f"{ROOT}/{film}", json={"prompt": "tilt up", "width": 161, "edition": 1})
    assert changed.status_code == 200, changed.text
    said = changed.json()
    assert (said["prompt"], said["width"], said["height"], said["seed"], said["edition"]) == ("tilt up", 160, 240, 5, 2)
    assert any("both sides must be even" in note for note in said["notes"])
    late = alice.patch(f"{ROOT}/{film}", json={"prompt": "zoom", "edition": 0})
    assert late.status_code == 409 and "meanwhile" in late.text
    assert alice.post(f"{ROOT}/{film}/pause").json()["waits"]["held"]
    assert not alice.post(f"{ROOT}/{film}/resume").json()["waits"]["held"]
    twin = alice.post(f"{ROOT}/{film}/duplicate", json={"seed": 9}).json()
    assert (twin["prompt"], twin["seed"], twin["remixed_from"]) == ("tilt up", 9, film)
    assert alice.post(f"{ROOT}/{film}/finish").status_code == 409
    assert alice.post(f"{ROOT}/{film}/extend", json={"prompt": "zoom"}).status_code == 409
    given_up = alice.post(f"{ROOT}/{film}/cancel").json()
    assert given_up["state"] == "cancelled" and given_up["waits"] is None
    assert alice.get(f"{ROOT}/{film}").json()["state"] == "cancelled"
    assert alice.post(f"{ROOT}/{film}/move", json={"to": "top"}).status_code == 409


WRONG = (
    {"model": "plain"}, {"seconds": "long"}, {"seconds": 1e308}, {"seconds": 0}, {"width": 0}, {"width": 99_999},
    {"camera": {"moon": 1}}, {"preset": "fast"}, {"seed": -1}, {"seed": 2**70}, {"prompt": "x" * 30_000},
    {"steps": 0}, {"badge": "fr"}, {"fps": 0}, {"fps": 10**12})


def test_a_change_that_cannot_be_is_refused(line):
    alice, _, _ = line
    film = ordered(alice)
    for body in WRONG:
        answer = alice.patch(f"{ROOT}/{film}", json=body)
        assert answer.status_code in (400, 422), (body, answer.text)
    assert alice.get(f"{ROOT}/{film}").json()["edition"] == 0


def test_a_stranger_sees_no_line(team_server):
    with team_server.client() as anyone:
        assert anyone.get(f"{ROOT}/queue").status_code == 401
        assert anyone.get(f"{ROOT}/video_none").status_code == 401
