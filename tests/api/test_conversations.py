"""Conversations and presets over HTTP, as the chat page uses them, on an open hub and between people."""

from __future__ import annotations

import json
import secrets

import httpx
import pytest
from png_made import picture

BASE = "/api/headwater/conversations"
PNG = picture(4, 4)


def new_id() -> str:
    return secrets.token_hex(16)


@pytest.fixture
def client(open_server):
    with httpx.Client(base_url=open_server.url, timeout=30) as client:
        yield client


def begin(client, **fields) -> dict:
    answer = client.post(BASE, json=fields)
    assert answer.status_code == 201, answer.text
    return answer.json()


def say(client, talk, content, parent=None, role="user", **fields) -> dict:
    answer = client.post(f"{BASE}/{talk['id']}/messages",
                         json={"parent": parent and parent["id"], "role": role, "content": content, **fields})
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_a_conversation_is_kept_with_its_branches_and_found_again(client):
    talk = begin(client, title="Rivers", folder="Geo", system="Be brief", model="local/yi", settings={"top_p": 0.9})
    question = say(client, talk, "Where is the Yangtze?")
    first = say(client, talk, "In China.", question, "assistant", model="local/yi", reasoning="hm",
                made={"revision": "a" * 40, "seed": 3})
    second = say(client, talk, "流经上海。", question, "assistant")
    whole = client.get(f"{BASE}/{talk['id']}").json()
    assert whole["messages"] == [question, first, second] and whole["leaf"] == second["id"]
    assert first["reasoning"] == "hm" and first["made"] == {"revision": "a" * 40, "seed": 3}
    assert {**talk, "messages": [], "leaf": None, "updated": 0} == {**whole, "messages": [], "leaf": None, "updated": 0}
    items = client.get(BASE, params={"q": "上海"}).json()["items"]
    assert [(one["id"], one["title"], one["folder"], one["snippet"]) for one in items] == [
        (talk["id"], "Rivers", "Geo", "流经上海。")]
    assert {"name": "Geo", "count": 1} in client.get(f"{BASE}/folders").json()["items"]


def test_the_leaf_title_and_folder_change_and_a_branch_is_deleted(client):
    talk = begin(client)
    root = say(client, talk, "root")
    left, right = (say(client, talk, text, root, "assistant") for text in ("left", "right"))
    url = f"{BASE}/{talk['id']}"
    assert client.patch(url, json={"leaf": left["id"], "title": "New"}).json()["leaf"] == left["id"]
    assert client.patch(url, json={"leaf": new_id()}).status_code == 404
    assert client.delete(f"{url}/messages/{left['id']}").json() == {"deleted": True, "leaf": root["id"]}
    assert client.delete(f"{url}/messages/{left['id']}").status_code == 404
    assert client.patch(url, json={"leaf": None, "title": None}).json()["leaf"] is None
    assert client.get(url).json()["title"] == "New"
    assert client.delete(url).json() == {"deleted": True} and client.get(url).status_code == 404
    assert right["parent"] == root["id"]


def test_a_message_sent_twice_after_a_broken_line_is_kept_once(client):
    talk, name = begin(client), new_id()
    first, again = (say(client, talk, "hello", id=name) for _ in range(2))
    assert first == again and len(client.get(f"{BASE}/{talk['id']}").json()["messages"]) == 1
    clash = client.post(f"{BASE}/{talk['id']}/messages", json={"id": name, "role": "user", "content": "other"})
    assert clash.status_code == 409


def test_pages_follow_each_other(client):
    folder = new_id()
    made = [begin(client, folder=folder)["id"] for _ in range(5)]
    seen, before = [], None
    while True:
        page = client.get(BASE, params={"folder": folder, "limit": 2, **({"before": before} if before else {})}).json()
        seen += [one["id"] for one in page["items"]]
        before = page["next"]
        if before is None:
            break
    assert sorted(seen) == sorted(made)


@pytest.mark.parametrize("message", [
    {}, {"role": "king", "content": ""}, {"role": "user"}, {"role": "user", "content": 3},
    {"role": "user", "content": "x", "id": "SHORT"}, {"role": "user", "content": "x", "parent": "0" * 31},
    {"role": "user", "content": [{"type": "video"}]}, {"role": "user", "content": [{"type": "text"}]},
    {"role": "user", "content": "x", "made": []}])
def test_a_message_that_is_none_is_refused_with_the_reason(client, message):
    answer = client.post(f"{BASE}/{begin(client)['id']}/messages", json=message)
    assert answer.status_code == 400 and answer.json()["error"], answer.text


@pytest.mark.parametrize("body", [
    b'{"role": "user", "content": "x", "made": {"n": NaN}}', b'{"role": "user", "content": "\\ud800"}',
    b'{"role": "user", "content": "x", "made": ' + b'{"a":' * 5000 + b"1" + b"}" * 5000 + b"}", b"[", b"\xff"])
def test_json_that_is_none_is_refused_and_nothing_breaks(client, body):
    talk = begin(client)
    answer = client.post(f"{BASE}/{talk['id']}/messages", content=body)
    assert answer.status_code == 400, answer.text
    assert client.get(f"{BASE}/{talk['id']}").json()["messages"] == []


def test_limits_are_told_and_a_nul_does_no_harm(client):
    talk = begin(client)
    url = f"{BASE}/{talk['id']}"
    big = client.post(f"{url}/messages", json={"role": "user", "content": "é" * 600_000})
    assert big.status_code == 413 and "1,000,000" in big.json()["error"]
    assert client.patch(url, json={"title": "x" * 301}).status_code == 413
    assert client.patch(url, json={"title": "a\0b"}).status_code == 400
    assert client.get(BASE, params={"q": "a\0b"}).status_code == 400
    kept = say(client, talk, "nul \0 inside", reasoning="so \0 what", made={"x": "\0"})
    assert kept["content"] == "nul \0 inside" and client.get(url).json()["messages"] == [kept]


def test_an_export_in_json_comes_back_with_every_branch(client):
    talk = begin(client, title="Rivers / 长江", folder="Geo")
    root = say(client, talk, "root")
    left = say(client, talk, "left", root, "assistant", model="local/yi", reasoning="first this",
               made={"repo": "local/yi", "revision": "b" * 40, "engine": "llamacpp", "seed": 3})
    say(client, talk, [{"type": "text", "text": "right"}, {"type": "file", "file": {"filename": "a.pdf"}}], root)
    client.patch(f"{BASE}/{talk['id']}", json={"leaf": left["id"]})
    answer = client.get(f"{BASE}/{talk['id']}/export", params={"form": "json"})
    assert "filename*=UTF-8''Rivers" in answer.headers["content-disposition"]
    back = client.post(f"{BASE}/import", content=answer.content)
    assert back.status_code == 201
    whole, again = client.get(f"{BASE}/{talk['id']}").json(), back.json()
    assert again["id"] != whole["id"]
    for name in ("title", "folder", "system", "model", "settings", "leaf", "messages"):
        assert again[name] == whole[name], name
    text = client.get(f"{BASE}/{talk['id']}/export", params={"form": "md"}).text
    assert "## User\n\nroot" in text and "## local/yi" in text and "b" * 40 in text and "first this" in text
    assert "right" not in text  # not on the shown branch


@pytest.mark.parametrize("said", [
    {}, {"headwater_conversation": 2}, {"headwater_conversation": 1, "messages": 3},
    {"headwater_conversation": 1, "title": 3}, {"headwater_conversation": 1, "leaf": "x"},
    {"headwater_conversation": 1, "messages": [{"id": "0" * 32, "role": "user", "content": "a", "parent": "1" * 32}]},
    {"headwater_conversation": 1, "messages": [{"id": "0" * 32, "role": "user", "content": "a"}] * 2},
    {"headwater_conversation": 1, "messages": [{"id": "0" * 32, "role": "user", "content": "a", "created": -1}]},
    {"headwater_conversation": 1, "messages": [{"id": "0" * 32, "role": "user", "content": "a"}] * 2001}])
def test_what_was_not_exported_is_not_imported(client, said):
    answer = client.post(f"{BASE}/import", content=json.dumps(said))
    assert answer.status_code in (400, 413), answer.text


def test_presets_are_kept_changed_and_deleted(client):
    url, name = "/api/headwater/presets", new_id()
    made = client.post(url, json={"name": name, "system": "Rhyme", "temperature": 1.1, "seed": 4}).json()
    assert made["temperature"] == 1.1 and made in client.get(url).json()["items"]
    assert client.post(url, json={"name": name}).status_code == 409
    changed = client.patch(f"{url}/{made['id']}", json={"top_p": 0.5, "seed": None}).json()
    assert changed == {"id": made["id"], "name": name, "system": "Rhyme", "temperature": 1.1, "top_p": 0.5}
    assert client.delete(f"{url}/{made['id']}").json() == {"deleted": True}
    assert client.patch(f"{url}/{made['id']}", json={"name": "x"}).status_code == 404
    assert client.post(url, json={"name": "n", "system": "x" * 70_000}).status_code == 413


# --- between people


def test_another_persons_conversation_is_not_there_and_strangers_are_asked_to_sign_in(team_server):
    with team_server.client("alice") as alice, team_server.client("bob") as bob, team_server.client() as stranger:
        talk = begin(alice, title="private")
        root = say(alice, talk, "secret plan")
        url = f"{BASE}/{talk['id']}"
        for call in (lambda c: c.get(url), lambda c: c.patch(url, json={"title": "x"}), lambda c: c.delete(url),
                     lambda c: c.post(f"{url}/messages", json={"role": "user", "content": "x"}),
                     lambda c: c.delete(f"{url}/messages/{root['id']}"), lambda c: c.post(f"{url}/share"),
                     lambda c: c.delete(f"{url}/share"), lambda c: c.get(f"{url}/export")):
            assert call(bob).status_code == 404 and call(stranger).status_code == 401
        assert bob.get(BASE, params={"q": "secret"}).json() == {"items": [], "next": None}
        assert alice.get(url).json()["messages"] == [root]
        with team_server.client("dora") as admin:  # nor does an administrator read it
            assert admin.get(url).status_code == 404


def test_a_read_token_reads_and_a_token_of_one_repo_opens_no_conversation(team_server):
    with (team_server.client("alice") as alice, team_server.client("alice-read") as reading,
          team_server.client("alice-one") as one):
        talk = begin(alice)
        assert reading.get(f"{BASE}/{talk['id']}").status_code == 200
        assert reading.post(BASE, json={}).status_code == 403
        assert one.get(BASE).status_code == 403


# --- shared


@pytest.fixture
def shared(team_server):
    """(alice, the conversation, its address): a picture asked about, two answers, the first one shown."""
    with team_server.client("alice") as alice:
        picture = alice.post("/v1/files", files={"file": ("dot.png", PNG)}, data={"purpose": "vision"}).json()
        talk = begin(alice, title="Dots & rivers", model="alice/yi", system="Be brief")
        asked = say(alice, talk, [{"type": "text", "text": "What <b>is</b> it?"},
                                  {"type": "file", "file": {"file_id": picture["id"], "filename": "dot.png"}}])
        first = say(alice, talk, "A *dot*.", asked, "assistant", model="alice/yi", made={"revision": "c" * 40})
        say(alice, talk, "A hidden branch", asked, "assistant")
        alice.patch(f"{BASE}/{talk['id']}", json={"leaf": first["id"]})
        yield alice, talk, alice.post(f"{BASE}/{talk['id']}/share").json()["url"], picture, first


def test_a_shared_conversation_is_read_by_members_of_the_hub_until_it_is_not_shared(team_server, shared):
    alice, talk, url, picture, _ = shared
    assert alice.post(f"{BASE}/{talk['id']}/share").json()["url"] == url
    assert alice.get(f"{BASE}/{talk['id']}").json()["shared"] == url
    with team_server.client("bob") as bob, team_server.client() as stranger:
        html = bob.get(url, headers={"accept": "text/html"}).text
        assert "Shared by alice" in html and "c" * 40 in html and "<em>dot</em>" in html
        assert "&lt;b&gt;is&lt;/b&gt;" in html and "A hidden branch" not in html
        source = f"/api/headwater/shared/{url.rsplit('/', 1)[1]}/files/{picture['id']}"
        assert f'src="{source}"' in html and bob.get(source).content == PNG
        assert stranger.get(url).status_code == 401 and stranger.get(source).status_code == 401
        assert bob.get(f"/chat/print/{talk['id']}").status_code == 404  # his own only
        assert alice.get(f"{BASE}/{talk['id']}/export?form=html", follow_redirects=True).status_code == 200
        alice.delete(f"{BASE}/{talk['id']}/share")
        assert bob.get(url).status_code == 404 and bob.get(source).status_code == 404
        assert alice.post(f"{BASE}/{talk['id']}/share").json()["url"] != url


def test_only_the_pictures_of_the_shown_branch_are_open_to_others(team_server, shared):
    alice, talk, url, _, first = shared
    other = alice.post("/v1/files", files={"file": ("x.png", PNG)}, data={"purpose": "vision"}).json()
    note = alice.post("/v1/files", files={"file": ("x.txt", b"notes")}, data={"purpose": "user_data"}).json()
    say(alice, talk, [{"type": "file", "file": {"file_id": note["id"]}}], first)
    with team_server.client("bob") as bob:
        base = f"/api/headwater/shared/{url.rsplit('/', 1)[1]}/files"
        for file in (other, note, {"id": "file-nowhere"}):
            assert bob.get(f"{base}/{file['id']}").status_code == 404
        assert "x.txt" in bob.get(url).text


def test_one_goes_on_from_a_shared_conversation_in_a_copy_of_ones_own_with_its_files(team_server, shared):
    alice, talk, url, picture, first = shared
    say(alice, talk, "and now?", first)
    with team_server.client("bob") as bob, team_server.client("alice-read") as reading:
        for upto, count in ((first["id"], 2), ("", 3)):
            answer = bob.post(f"{url}/copy", data={"upto": upto})
            assert answer.status_code == 303
            mine = bob.get(f"{BASE}/{answer.headers['location'].removeprefix('/chat?c=')}").json()
            assert (len(mine["messages"]), mine["title"], mine["shared"]) == (count, "Dots & rivers", None)
            file = mine["messages"][0]["content"][1]["file"]
            assert file["file_id"] != picture["id"] and bob.get(f"/v1/files/{file['file_id']}/content").content == PNG
        assert bob.post(f"{url}/copy", data={"upto": new_id()}).status_code == 404
        assert reading.post(f"{url}/copy").status_code == 403
        alice.delete(f"{BASE}/{talk['id']}")
        alice.delete(f"/v1/files/{picture['id']}")
        assert bob.get(f"/v1/files/{file['file_id']}/content").content == PNG
        assert bob.get(url).status_code == 404


def test_a_deleted_persons_conversations_and_files_are_gone(team_server, shared):
    with team_server.client("dora") as admin:
        assert admin.post("/api/headwater/users", json={"name": "gone", "password": "correct horse"}).status_code < 300
        token = admin.post("/api/headwater/tokens", json={"name": "t", "user": "gone"}).json()["token"]
        with httpx.Client(base_url=team_server.url, headers={"authorization": f"Bearer {token}"}) as gone:
            talk = begin(gone, title="last words")
            url = gone.post(f"{BASE}/{talk['id']}/share").json()["url"]
            assert admin.get(url).status_code == 200
            assert admin.delete("/api/headwater/users/gone").status_code < 300
            assert gone.get(BASE).status_code == 401 and admin.get(url).status_code == 404
