"""What every store of films keeps to. On SQLite and on PostgreSQL."""

from __future__ import annotations

import pytest

from headwater.core.errors import NotFound
from headwater.core.ports import Films
from headwater.core.types import KeptFilm


def asked(world, account=None, **fields) -> KeptFilm:
    """A film; each later than the one before."""
    world.clock.at += 1
    given = {"id": f"video_{int(world.clock()):032x}", "account_id": (account or world.ann).id, "job_id": None,
             "state": "queued", "asked": {"prompt": "她微笑", "seed": 7}, "photo": None, "video": None, "poster": None,
             "sheet": None, "receipt": None, "error": None, "mark": None, "remixed_from": None, "external_id": None,
             "created_at": world.clock(), "finished_at": None, **fields}
    film = KeptFilm(**given)
    world.records.films.add(film)
    return film


def test_every_verb_of_the_port_is_there(world):
    verbs = {name for name in vars(Films) if not name.startswith("_")}
    assert all(callable(getattr(world.records.films, name)) for name in verbs)


def test_a_film_reads_back_as_it_was_kept_and_as_it_was_changed(world):
    film = asked(world)
    assert world.records.films.get(film.id) == film
    done = world.records.films.update(film.id, state="done", receipt={"engine": "plain 1"}, mark=b"\0\xff" * 40)
    assert done == world.records.films.get(film.id)
    assert (done.state, done.receipt, done.mark) == ("done", {"engine": "plain 1"}, b"\0\xff" * 40)
    assert done.asked == film.asked


def test_pages_go_on_where_the_one_before_ended(world):
    mine = [asked(world) for _ in range(5)]
    asked(world, world.account("bob"))
    first, more = world.records.films.page(world.ann.id, limit=3)
    rest, none = world.records.films.page(world.ann.id, limit=3, after=first[-1].id)
    assert [f.id for f in first + rest] == [f.id for f in reversed(mine)] and more and not none
    assert world.records.films.page(world.ann.id, newest_first=False)[0] == mine
    assert len(world.records.films.page(None)[0]) == 6
    with pytest.raises(NotFound):
        world.records.films.page(world.ann.id, after="video_none")


def test_the_newest_film_of_a_name_is_found_by_its_owner_alone(world):
    asked(world, external_id="mine")
    second = asked(world, external_id="mine")
    assert world.records.films.named(world.ann.id, "mine") == second
    assert world.records.films.named(world.account("bob").id, "mine") is None


def test_what_waits_and_runs_is_counted(world):
    for state in ("queued", "running", "done", "failed", "cancelled"):
        asked(world, state=state)
    assert world.records.films.unfinished(world.ann.id) == 2
    assert world.records.films.unfinished(world.account("bob").id) == 0


def test_a_deleted_film_is_gone_and_is_not_changed_back_to_life(world):
    film = asked(world, mark=b"1")
    assert list(world.records.films.marks()) == [(film.id, b"1")]
    world.records.films.delete(film)
    assert world.records.films.get(film.id) is None and list(world.records.films.marks()) == []
    assert world.records.films.update(film.id, state="done") is None


def test_an_order_that_waits_is_changed_by_whoever_saw_it_last(world):
    film = asked(world)
    changed = world.records.films.change(film.id, 0, asked={"prompt": "he waves"})
    assert (changed.asked, changed.edition) == ({"prompt": "he waves"}, 1)
    assert world.records.films.change(film.id, 0, asked={"prompt": "late"}) is None
    world.records.films.update(film.id, state="running")
    assert world.records.films.change(film.id, 1, asked={"prompt": "late"}) is None
    assert world.records.films.get(film.id).asked == {"prompt": "he waves"}


def test_films_are_found_by_words_of_their_prompt_and_by_what_made_them(world):
    def made(prompt, model="", engine="photo", **more):
        return asked(world, asked={"prompt": prompt, "model": model, "engine": engine}, **more).id

    smile = made("她微笑, she Smiles 100%", state="done")
    turn = made("she turns", "ann/wan", "diffusers")
    made("she smiles", account=world.account("bob"))
    films = world.records.films

    def found(**wants):
        return [film.id for film in films.page(world.ann.id, **wants)[0]]

    assert found(words=["微笑"]) == found(words=["SMILES", "she"]) == found(words=["100%"]) == [smile]
    assert found(words=["she"]) == [turn, smile] and found(words=["s_e"]) == found(words=["she", "sits"]) == []
    assert found(model="ann/wan") == [turn] and found(model="headwater/photo", state="done") == [smile]
    assert films.models(world.ann.id) == ["ann/wan", "headwater/photo"]
