"""Who is in the photo: what was said is in the audit log of every film of a photo, and so is that nobody was asked."""

import json
from dataclasses import replace

import pytest
from film_made import drift
from test_make import app, finished, ordered, photo  # noqa: F401

from headwater.core.errors import BadInput
from headwater.film.consent import Sender, sent
from headwater.film.encode import encode
from headwater.film.extend import extend, extend_footage
from headwater.film.order import Asked, again, order
from headwater.hub.accounts import owner_actor


def told(app, kept):  # noqa: F811
    return [row.detail for row in app.hub.accounts.audit(subject=f"film/{kept.id}") if row.action == "film.consent"]


def test_the_log_has_what_was_said_and_who_sent_it(app):  # noqa: F811
    app.hub.jobs.pause("film", "test")
    me = owner_actor(app.hub).account.name
    kept = ordered(app, people="agreed", sender=Sender("kling", "192.0.2.7", "curl/8"))
    assert told(app, kept) == [{"said": "people can be recognised and agreed", "photo": kept.photo, "account": me,
                                "face": "kling", "address": "192.0.2.7", "program": "curl/8"}]
    silent = ordered(app)
    assert told(app, silent) == [{"said": "consent not asked", "photo": silent.photo, "account": me}]
    assert (kept.asked["people"], silent.asked["people"]) == ("agreed", "")


def test_a_word_that_is_no_answer_is_refused_and_leaves_nothing(app):  # noqa: F811
    with pytest.raises(BadInput, match="'everybody' is none of none, agreed"):
        ordered(app, people="everybody")
    assert not app.film.films.page(None)[0]
    assert not [path for path in app.film.tmp.iterdir() if path.is_file()]


def test_what_was_said_goes_with_the_film_and_may_be_said_anew(app):  # noqa: F811
    actor = owner_actor(app.hub)
    first = finished(app, ordered(app, people="none"))
    app.hub.jobs.pause("film", "test")
    second = again(app.film, actor, actor.account, first)
    longer = extend(app.film, actor, actor.account, first, seconds=0.5)
    anew = again(app.film, actor, actor.account, first, people="agreed")
    assert [one.asked["people"] for one in (second, longer, anew)] == ["none", "none", "agreed"]
    for one in (second, longer, anew):
        assert told(app, one)[0]["after"] == first.id
    assert told(app, longer)[0]["said"] == "no people can be recognised"


def test_a_hub_may_want_an_answer_before_it_films_a_photo(app):  # noqa: F811
    app.hub.jobs.pause("film", "test")
    strict = replace(app, film=replace(app.film, settings=app.film.settings.but(film_people_said=1)))
    with pytest.raises(BadInput, match="unless the order says who is in it") as refused:
        ordered(strict)
    assert "none (nobody can be recognised)" in refused.value.hint
    assert ordered(strict, people="none").asked["people"] == "none"


def test_a_film_of_an_older_hub_says_that_nobody_was_asked(app):  # noqa: F811
    app.hub.jobs.pause("film", "test")
    actor, kept = owner_actor(app.hub), ordered(app, people="none")
    old = app.film.films.change(kept.id, kept.edition, asked={
        name: value for name, value in kept.asked.items() if name != "people"})
    assert again(app.film, actor, actor.account, old).asked["people"] == ""


def test_a_video_that_was_sent_is_asked_about_like_a_photo(app, tmp_path):  # noqa: F811
    app.hub.jobs.pause("film", "test")
    actor, path = owner_actor(app.hub), tmp_path / "sent.mp4"
    encode(drift(6), path, fps=12)
    staged = app.film.stage([path.read_bytes()], limit=10_000_000)
    asked = Asked(prompt="zoom", model="plain", seconds=0.5, people="agreed")
    kept = extend_footage(app.film, actor, actor.account, staged, asked)
    assert told(app, kept)[0]["said"] == "people can be recognised and agreed" and "after" not in told(app, kept)[0]


def test_what_a_program_calls_itself_is_cut_and_has_no_control_characters():
    said = sent("openai", None, "a\x1b[31m\n" + "b" * 1_000)
    assert said.address == "" and said.program == "a[31m" + "b" * 193
    json.dumps(said.__dict__)


def test_words_alone_have_nobody_in_them(app):  # noqa: F811
    actor = owner_actor(app.hub)
    with pytest.raises(BadInput, match="needs a photo"):
        order(app.film, actor, actor.account, Asked(prompt="a city", model="plain", people="agreed"))
    assert not [row for row in app.hub.accounts.audit() if row.action == "film.consent"]
