"""What every store of votes on films keeps to. On SQLite and on PostgreSQL."""

from __future__ import annotations

import pytest

from headwater.core.errors import Conflict
from headwater.core.ports import FilmVotes
from headwater.core.types import FilmVote


def vote(world, a="video_1", b="video_2", said="a", account=None) -> FilmVote:
    world.clock.at += 1
    cast = FilmVote((account or world.ann).id, a, b, 2**62, said, {"model": "ann/wan", "engine": "diffusers"},
                    {"model": "", "engine": "photo"}, "她微笑", world.clock())
    world.records.film_votes.add(cast)
    return cast


def test_every_verb_of_the_port_is_there(world):
    verbs = {name for name in vars(FilmVotes) if not name.startswith("_")}
    assert all(callable(getattr(world.records.film_votes, name)) for name in verbs)


def test_votes_read_back_newest_first_of_one_person_or_of_all(world):
    votes, bob = world.records.film_votes, world.account("bob")
    first, second = vote(world), vote(world, b="video_3", said="bad")
    other = vote(world, account=bob)
    assert votes.find(world.ann.id, "video_1", "video_2") == first
    assert votes.find(bob.id, "video_1", "video_3") is None
    assert votes.all(world.ann.id, limit=10) == [second, first]
    assert votes.all(None, limit=2) == [other, second]
    assert votes.pairs(world.ann.id) == {("video_1", "video_2"), ("video_1", "video_3")}


def test_a_person_votes_once_on_a_pair(world):
    kept = vote(world)
    with pytest.raises(Conflict, match="already"):
        vote(world, said="b")
    assert world.records.film_votes.find(world.ann.id, "video_1", "video_2") == kept


def test_a_deleted_account_takes_its_votes_along(world):
    bob = world.account("bob")
    vote(world, account=bob)
    world.records.accounts.delete(bob, by=world.me)
    assert world.records.film_votes.all(None, limit=10) == []


def test_a_film_keeps_what_its_engine_noted(world):
    from test_films import asked

    film = asked(world)
    assert film.noted is None
    assert world.records.films.update(film.id, noted={"id": "video_there"}).noted == {"id": "video_there"}
    assert world.records.films.get(film.id).noted == {"id": "video_there"}
