"""What a hub makes no film of, how much an account may order, and the sign that a film is a machine's."""

import hashlib
import io
import json
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import av
import numpy as np
import pytest
from film_made import drift
from test_make import app, bytes_of, finished, ordered, photo  # noqa: F401

from headwater.core.errors import BadInput, Busy, Forbidden, TooLarge, Unavailable
from headwater.film import queue as line
from headwater.film.badge import drawn
from headwater.film.order import Asked, order
from headwater.hub.accounts import create_user, owner_actor


def hub_with(app, **settings):  # noqa: F811
    """The same hub by other settings."""
    return replace(app, film=replace(app.film, settings=app.film.settings.but(**settings)))


def ann(app):  # noqa: F811
    """An actor who is no administrator."""
    me = owner_actor(app.hub)
    return replace(me, account=create_user(app.hub, me, "ann", password="correct horse battery"))


def by(app, actor, **fields):  # noqa: F811
    asked = Asked(**{"prompt": "zoom", "model": "plain", "seconds": 0.5, "fps": 12, **fields})
    return order(app.film, actor, actor.account, asked, photo(app))


def test_words_of_the_list_are_refused_and_the_log_has_a_hash_of_them(app, tmp_path):  # noqa: F811
    (tmp_path / "words").write_text("# names nobody may film\n\n\\bmayor smith\\b\n市长\n", "utf-8")
    hub = hub_with(app, film_blocklist=str(tmp_path / "words"))
    app.hub.jobs.pause("film", "test")
    kept = ordered(hub, prompt="zoom on the mayor of smithfield")
    for words, at in (("Mayor SMITH waves", 3), ("ｍａｙｏｒ smith", 3), ("市长笑了", 4)):
        with pytest.raises(Forbidden, match="no film of these words"):
            ordered(hub, prompt=words)
        row = app.hub.accounts.audit()[0]
        assert (row.action, row.detail["by"], row.detail["line"]) == ("film.refused", "list", at)
        assert row.detail["prompt_sha256"] == hashlib.sha256(words.encode()).hexdigest() and words not in str(row)
    with pytest.raises(Forbidden):
        me = owner_actor(app.hub)
        line.change(hub.film, me, me.account, kept, {"prompt": "mayor smith waves"})
    (tmp_path / "words").write_text("zoom\n")
    with pytest.raises(Forbidden):
        ordered(hub, prompt="zoom")
    assert not [path for path in app.film.tmp.iterdir() if path.is_file()]


def test_a_list_that_cannot_be_used_lets_nothing_by(app, tmp_path):  # noqa: F811
    (tmp_path / "words").write_text("(unclosed\n")
    (tmp_path / "more").write_text("\\p{nonsense}\n")
    for file in ("words", "more", "none"):
        with pytest.raises(Unavailable, match="list of words"):
            ordered(hub_with(app, film_blocklist=str(tmp_path / file)))


@pytest.fixture
def service():
    """Answers what `said` holds, and keeps what it was asked."""
    class Answers(BaseHTTPRequestHandler):
        said, asked = (200, b"{}"), []

        def do_POST(self):
            self.asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            status, body = self.said
            self.send_response(status)
            self.send_header("Location", "http://127.0.0.1:1/")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    Answers.asked = []
    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Answers, f"http://127.0.0.1:{server.server_port}/check?key=k"
        server.shutdown()


def test_a_service_may_refuse_with_its_reason_and_sees_words_and_pictures(app, service):  # noqa: F811
    answers, url = service
    hub = hub_with(app, film_check_url=url)
    answers.said = (200, b'{"allow": true}')
    kept = ordered(hub)
    asked = answers.asked[0]
    assert (asked["prompt"], asked["account"], asked["model"]) == ("move left", "local", "headwater/plain")
    assert asked["pictures"] == [app.film.files.get(kept.account_id, kept.photo).digest]
    answers.said = (200, b'{"allow": false, "reason": "a living person"}')
    with pytest.raises(Forbidden, match="a living person"):
        ordered(hub)
    assert app.hub.accounts.audit()[0].detail["by"] == "service"


def test_a_service_that_does_not_answer_lets_nothing_by(app, service):  # noqa: F811
    answers, url = service
    for said in ((500, b"{}"), (302, b'{"allow": true}'), (200, b"yes"), (200, b"[true]"),
                 (200, b" " * 70_000 + b'{"allow": true}')):
        answers.said = said
        with pytest.raises(Unavailable):
            ordered(hub_with(app, film_check_url=url))
    with pytest.raises(Unavailable):
        ordered(hub_with(app, film_check_url="http://127.0.0.1:1/"))


def test_who_is_no_administrator_has_limits_of_length_size_and_number(app):  # noqa: F811
    hub = hub_with(app, film_user_seconds=2, film_user_side=640, film_user_per_day=2)
    person, me = ann(app), owner_actor(app.hub)
    small = {"size": (320, 240)}
    with pytest.raises(TooLarge, match="2 s"):
        by(hub, person, seconds=3.0, **small)
    with pytest.raises(TooLarge, match="640 pixels"):
        by(hub, person, size=(720, 480))
    by(hub, person, **small)
    with pytest.raises(BadInput):  # what is refused is not counted
        by(hub, person, preset="fast", **small)
    by(hub, person, **small)
    with pytest.raises(Busy, match="2 films a day") as busy:
        by(hub, person, **small)
    assert 0 < busy.value.retry_after <= 86_401
    for _ in range(3):
        by(hub, me, seconds=3.0)


def corner(data: bytes) -> np.ndarray:
    with av.open(io.BytesIO(data)) as box:
        return next(box.decode(video=0)).to_ndarray(format="rgb24")[-40:, -60:].astype(int)


def test_a_film_ordered_with_the_sign_shows_it_in_its_corner_and_says_so(app):  # noqa: F811
    plain, signed = finished(app, ordered(app)), finished(app, ordered(app, badge="en"))
    assert np.abs(corner(bytes_of(app, plain.video)) - corner(bytes_of(app, signed.video))).mean() > 10
    assert signed.receipt["badge"] == "AI" and "badge" not in plain.receipt
    with pytest.raises(BadInput, match="badge"):
        ordered(app, badge="fr")
    with pytest.raises(Unavailable, match="film_badge"):
        ordered(hub_with(app, film_badge="yes"))
    assert "badge" not in ordered(hub_with(app, film_badge="en")).asked  # a photo that moves was made by no model


@pytest.mark.parametrize("badge", ["en", "zh"])
@pytest.mark.parametrize("size", [(64, 64), (1080, 1920), (64, 4096)])
def test_the_sign_is_white_on_dark_within_the_frame_and_nothing_else_changes(badge, size):
    bright = np.full((*size, 3), 250, np.uint8)
    shown = next(drawn(iter([bright]), badge)).astype(int)
    changed = np.argwhere((shown != 250).any(2))
    (top, left), (bottom, right) = changed.min(0), changed.max(0)
    assert top >= size[0] * 0.5 and left >= 1 and bottom < size[0] and right < size[1]
    assert shown[top:bottom, left:right].min() < 110 and shown[top:bottom, left:right].max() > 235
    assert (right - left) * (bottom - top) < max(0.03 * size[0] * size[1], 1_100)
    dark = next(drawn(drift(1, size), badge))
    assert dark.shape == (*size, 3) and dark.dtype == np.uint8
