"""Conversations and files through a backup, and the bytes of files through the sweep, with the real stores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater.app import App, open_app, restore_into
from headwater.core.errors import NotFound
from headwater.core.settings import load
from headwater.core.types import Account, KeptFile, Message
from headwater.hub.accounts import local_owner
from headwater.hub.sweep import scrub, sweep
from headwater.talks import conversations, files


@pytest.fixture
def app(tmp_path: Path) -> Iterator[App]:
    opened = open_app(load(tmp_path / "data", environ={}))
    yield opened
    opened.records.close()


@pytest.fixture
def me(app: App) -> Account:
    return local_owner(app.hub)


def hand_over(app: App, me: Account, data: bytes, name: str = "a.txt") -> KeptFile:
    return files.upload(app.talks, me, app.talks.stage([data], limit=1_000_000), name, "user_data")


def test_a_backup_brings_back_conversations_and_the_bytes_of_files(app: App, me: Account, tmp_path: Path) -> None:
    file = hand_over(app, me, "长江".encode())
    talk = conversations.begin(app.talks, me, {"title": "Rivers"})
    said = conversations.say(app.talks, me, talk.id, Message(
        "a" * 32, None, "user", [{"type": "file", "file": {"file_id": file.id}}], "", "", {}, 1.0))
    app.backup(tmp_path / "backup")
    restored = restore_into(load(tmp_path / "new", environ={}), tmp_path / "backup")
    assert not restored.lost
    again = open_app(load(tmp_path / "new", environ={}))
    assert again.talks.conversations.messages(conversations.find(again.talks, me, talk.id)) == [said]
    assert b"".join(files.read(again.talks, files.find(again.talks, me, file.id))) == "长江".encode()
    again.records.close()


def test_the_bytes_of_a_deleted_file_go_with_the_sweep_and_no_others(app: App, me: Account) -> None:
    one, two = hand_over(app, me, b"one"), hand_over(app, me, b"two")
    app.talks.files.delete(me, one.id)
    assert sweep(app.hub, grace_s=0).blobs == 1
    assert app.hub.blobs.size(one.digest) is None and b"".join(files.read(app.talks, two)) == b"two"
    assert not list(app.hub.tmp.iterdir()) and not scrub(app.hub)


def test_an_upload_that_fails_half_way_leaves_no_file(app: App, me: Account, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(app.talks.blobs), "adopt", full)
    with pytest.raises(OSError):
        hand_over(app, me, b"never")
    assert app.talks.files.page(me) == ([], False) and not list(app.hub.tmp.iterdir())


def test_a_file_whose_bytes_are_lost_says_so(app: App, me: Account) -> None:
    file = hand_over(app, me, b"soon gone")
    app.hub.blobs.delete(file.digest)
    with pytest.raises(NotFound, match="lost"):
        files.read(app.talks, file)
