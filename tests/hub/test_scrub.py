"""What a scrub finds is not handed out, and heals when equal bytes come again (fault F5)."""

import pytest
from server import fresh

from headwater.core.errors import Unavailable
from headwater.core.types import Kind
from headwater.hub import browse, repos
from headwater.hub.commit import Add, commit
from headwater.hub.sweep import scrub
from headwater.hub.uploads import missing


@pytest.fixture
def kept(hub, owner):
    """(repo, entry) of a file in a commit."""
    repo = repos.create(hub, owner, Kind.MODEL, owner.name, fresh())
    made = commit(hub, owner, repo, "main", [Add("a.bin", content=b"water" * 1000)], title="one")
    return repo, browse.file(hub, made, "a.bin")


def test_a_flipped_byte_is_found_and_never_served(hub, kept):
    _, entry = kept
    assert scrub(hub) == []
    path = hub.blobs.path(entry.digest)
    path.chmod(0o600)
    data = bytearray(path.read_bytes())
    data[17] ^= 1
    path.write_bytes(data)
    (damage,) = scrub(hub)
    assert damage.digest == entry.digest and damage.found not in (None, entry.digest)
    with pytest.raises(Unavailable, match=r"a\.bin"):
        browse.read(hub, entry)
    assert (hub.settings.data / "damaged" / entry.digest).is_file()


def test_damaged_bytes_are_asked_for_again_and_heal_every_revision(hub, owner, kept):
    repo, entry = kept
    hub.blobs.delete(entry.digest)
    assert [d.found for d in scrub(hub)] == [None]
    assert missing(hub, repo, [entry.digest]) == {entry.digest}, "or the client would never send them"
    commit(hub, owner, repo, "main", [Add("b.bin", content=b"water" * 1000)], title="again")
    assert b"".join(browse.read(hub, entry)) == b"water" * 1000
    assert scrub(hub) == []
