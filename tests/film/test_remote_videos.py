"""Films made by another server: by a second real hub, and by one that breaks, lies and redirects."""

from __future__ import annotations

import io
import json
import sqlite3
import threading
import time
from dataclasses import replace

import c2pa
import httpx
import jwt
import numpy as np
import pytest
from film_made import drift
from film_maker import Maker, elsewhere, endless, hang_up, send
from hypothesis import given, settings
from hypothesis import strategies as st
from server import HubProcess, opened_hub
from test_make import bytes_of, photo

from headwater.app import open_app
from headwater.core.elsewhere import Errand
from headwater.core.errors import BadInput, EngineFailed, Forbidden, HeadwaterError
from headwater.core.film import FilmRequest
from headwater.core.settings import load
from headwater.film.credit import ANIMATED_PHOTO, GENERATED_FROM_PHOTO, RECIPE
from headwater.film.encode import decode, encode
from headwater.film.order import Asked, cancel, find, order
from headwater.film.queue import standings
from headwater.film_engines.remote_videos import ENGINE
from headwater.film_engines.remote_videos._api import Later
from headwater.film_engines.remote_videos._declared import Declared
from headwater.film_engines.remote_videos._kling import Kling
from headwater.film_engines.remote_videos._openai import OpenAI
from headwater.film_engines.remote_videos._wire import Answer, Lost
from headwater.hub.accounts import owner_actor
from headwater.hub.imports import import_source

pytestmark = pytest.mark.xdist_group("remote_videos")
KEY = "sk-a-secret-key"


def declared(hub, folder, name, **said):
    """The repo local/<name> that says where its films are made."""
    room = folder / name
    room.mkdir(parents=True, exist_ok=True)
    (room / "remote-videos.json").write_text(json.dumps(said))
    import_source(hub, owner_actor(hub), str(room), f"local/{name}")
    return f"local/{name}"


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("made") / "film.mp4"
    encode(drift(12, (96, 128)), path, fps=12)
    return path.read_bytes()


@pytest.fixture(scope="module")
def standing(video):
    maker = Maker(video)
    yield maker
    maker.close()


@pytest.fixture
def maker(standing, video):
    standing.forget(video)
    return standing


@pytest.fixture(scope="module")
def app(tmp_path_factory, standing):
    data = tmp_path_factory.mktemp("hub") / "data"
    app = open_app(load(data, {"remotes": json.dumps({standing.url: KEY}), "film_remote_wait_s": 10}, environ={}))
    app.start()
    declared(app.hub, data.parent, "maker", url=standing.url, model="maker-1")
    yield app
    app.stop()


def ordered(app, picture=None, **fields):
    actor = owner_actor(app.hub)
    asked = Asked(**{"prompt": "a boat drifts by", "model": "local/maker", "seconds": 1.0, "fps": 12,
                     "size": (128, 96), "seed": 7, **fields})
    return order(app.film, actor, actor.account, asked, picture)


def finished(app, kept):
    account = owner_actor(app.hub).account
    return until(lambda: (now := find(app.film, account, kept.id)).state in ("done", "failed", "cancelled") and now)


def until(what, seconds=240.0):
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


def manifest(data):
    return json.loads(c2pa.Reader("video/mp4", io.BytesIO(data)).json())


def recipe_of(store):
    active = store["manifests"][store["active_manifest"]]
    return next(one["data"] for one in active["assertions"] if one["label"] == RECIPE)


# --- by another hub


@pytest.fixture(scope="module")
def pair(team_server):
    with team_server.client("alice") as alice:
        return alice.post("/api/headwater/key-pairs", json={"name": "films"}).json()


@pytest.fixture(scope="module")
def near(team_server, pair, tmp_path_factory):
    """The hub A, which has its films made by the hub B (team_server): by token, and as Kling's programs do."""
    data, b = tmp_path_factory.mktemp("a") / "data", team_server.url
    app = open_app(load(data, {"remotes": json.dumps({
        f"{b}/v1": team_server.tokens["alice"], b: f"{pair['access_key']}:{pair['secret_key']}"})}, environ={}))
    app.start()
    declared(app.hub, data.parent, "b", url=f"{b}/v1", model="headwater/plain", kinds=["i2v"], camera=True)
    declared(app.hub, data.parent, "k", url=b, model="headwater/plain", api="kling", kinds=["i2v"], camera=True,
             seconds=[3, 5], sizes=["300x300"])
    yield app
    app.stop()


def test_a_film_ordered_here_is_made_by_another_hub_and_says_so(near, team_server, tmp_path):
    made = finished(near, ordered(near, photo(near), model="local/b", prompt="the camera pans left", size=(160, 120)))
    assert made.state == "done", made.error
    with team_server.client("alice") as alice:
        there = alice.get("/v1/videos").json()["data"][0]
        original = alice.get(f"/v1/videos/{there['id']}/content").content
    assert there["prompt"] == "the camera pans left" and there["headwater"]["seed"] == 7
    told = made.receipt["elsewhere"]
    assert (told["order"], told["model"], told["revision"]) == (there["id"], "headwater/plain", "not known")
    assert told["engine"] == "plain" and told["seed"] == 7 and not made.receipt["generates"]
    data = bytes_of(near, made.video)
    store = manifest(data)
    assert recipe_of(store)["elsewhere"] == told and recipe_of(store)["model"] == "local/b"
    assert ANIMATED_PHOTO in json.dumps(store)
    titles = [one["title"] for one in store["manifests"][store["active_manifest"]]["ingredients"]]
    assert titles == ["photo", f"film made by {team_server.url.partition('//')[2]}"]
    inner = [one for name, one in store["manifests"].items() if name != store["active_manifest"]]
    assert there["id"] in json.dumps(inner), "what the other hub signed is kept inside"
    for name, content in (("here", data), ("there", original)):
        (tmp_path / name).write_bytes(content)
    ours, theirs = (np.stack(list(decode(tmp_path / name))) for name in ("here", "there"))
    assert ours.shape == theirs.shape == (12, 120, 160, 3)
    assert np.abs(ours.astype(int) - theirs).mean() < 3


def test_a_film_is_made_by_klings_api_with_a_key_pair(near, team_server, pair):
    kept = ordered(near, photo(near, (300, 300)), model="local/k", camera={"zoom": 4.0}, prompt="closer", fps=None,
                   seconds=3.0, size=None)
    assert any("told no seed" in note for note in kept.asked["notes"])
    made = finished(near, kept)
    assert made.state == "done", made.error
    token = jwt.encode({"iss": pair["access_key"], "exp": int(time.time()) + 600}, pair["secret_key"])
    task = httpx.get(f"{team_server.url}/v1/videos/image2video/{kept.id}-0",
                     headers={"Authorization": f"Bearer {token}"}).json()["data"]
    assert (task["task_id"], task["task_status"]) == (made.receipt["elsewhere"]["order"], "succeed")
    assert task["headwater"]["engine"] == "plain" and (made.receipt["frames"], made.receipt["fps"]) == (72, 24)


def test_what_the_other_hub_refuses_is_told_in_its_words(near, team_server):
    declared(near.hub, near.settings.data.parent, "none", url=f"{team_server.url}/v1", model="nobody/nothing")
    failed = finished(near, ordered(near, model="local/none"))
    assert failed.state == "failed" and "answered 404" in failed.error and "nobody/nothing" in failed.error


# --- by one that can be slow, break and lie


def test_an_order_goes_out_as_the_clients_of_these_servers_send_it(app, maker):
    made = finished(app, ordered(app, photo(app), negative="blur", steps=4, guidance=1.5, more={"flow_shift": 3.0}))
    assert made.state == "done", made.error
    fields, = maker.orders.values()
    image = fields.pop("input_reference")
    assert image.startswith(b"\xff\xd8") and fields == {
        "prompt": "a boat drifts by", "model": "maker-1", "seconds": "1", "size": "128x96", "seed": "7", "fps": "12",
        "num_frames": "12", "negative_prompt": "blur", "guidance_scale": "1.5", "num_inference_steps": "4",
        "flow_shift": "3.0"}
    assert {call[2]["authorization"] for call in maker.calls} == {f"Bearer {KEY}"}
    assert made.receipt["elsewhere"]["model"] == "maker-1" and made.receipt["elsewhere"]["revision"] == "not known"
    assert made.receipt["generates"] and GENERATED_FROM_PHOTO in json.dumps(manifest(bytes_of(app, made.video)))
    for path in app.settings.data.rglob("*"):
        assert not path.is_file() or KEY.encode() not in path.read_bytes(), path


def test_a_cancelled_film_is_called_back(app, maker):
    maker.ready.clear()
    kept = ordered(app)
    until(lambda: "id" in (app.film.films.get(kept.id).noted or {}))
    cancel(app.film, app.film.films.get(kept.id))
    assert finished(app, kept).state == "cancelled"
    until(lambda: maker.deleted)
    assert maker.deleted == ["video_1"] and app.film.films.get(kept.id).error is None


def test_a_film_of_this_machine_does_not_wait_for_one_of_another(app, maker):
    maker.ready.clear()
    there = ordered(app)
    until(lambda: maker.orders)
    here = ordered(app, photo(app), model="plain", prompt="move left", size=(64, 64), seconds=0.5)
    assert finished(app, here).state == "done"
    standing = standings(app.film)[there.id]
    assert (standing.place, standing.of) == (0, 0)
    maker.ready.set()
    assert finished(app, there).state == "done"


def test_a_film_that_cannot_be_called_back_says_so(app, maker):
    maker.ready.clear()
    maker.instead["DELETE", "/v1/videos"] = lambda to: send(to, {"error": {"message": "too late"}}, 409)
    kept = ordered(app)
    until(lambda: "id" in (app.film.films.get(kept.id).noted or {}))
    cancel(app.film, app.film.films.get(kept.id))
    until(lambda: finished(app, kept).error)
    assert "did not call the film back: 409 too late" in finished(app, kept).error


# --- the engine alone, without a hub around it


class Errands:
    """Runs of the engine that remember what it noted, as the hub does. `noted` and `steps` grow."""

    def __init__(self, folder, url, **remotes):
        self.folder, self.noted, self.steps = folder, {}, []
        self.settings = load(folder, {"remotes": json.dumps({url: KEY, **remotes}), "film_remote_wait_s": 1},
                             environ={})
        (folder / "remote-videos.json").write_text(json.dumps({"url": url, "model": "m"}))
        self.request = FilmRequest("remote_videos", "t2v", "a boat", 1.0, 12, 128, 96, 7, model="local/m",
                                   folder=folder)

    def run(self, tell=None):
        def note(noted):
            self.noted = noted

        return ENGINE.fetch(self.request, Errand("video_here-0", self.settings, self.folder, self.noted, note,
                                                 tell or self.steps.append))


@pytest.fixture
def errands(tmp_path, maker):
    return Errands(tmp_path, maker.url)


def test_an_order_whose_answer_was_lost_is_found_again_and_not_placed_twice(errands, maker):
    maker.orders["old"] = {"prompt": "a boat"}
    maker.instead["POST", "/v1/videos"] = hang_up
    arrived = errands.run()
    assert arrived.told["order"] == "video_2" and len(maker.orders) == 2
    assert (arrived.request.width, arrived.request.frames, arrived.request.fps) == (128, 12, 12)
    assert errands.noted == {"order": "video_here-0", "asked": True, "mark": "old", "id": "video_2"}


def test_an_order_the_server_never_took_is_placed_again(errands, maker):
    def refuse_once(to):
        maker.instead.clear()
        maker.orders.clear()
        hang_up(to)

    maker.instead["POST", "/v1/videos"] = refuse_once
    assert errands.run().told["order"] == "video_1" and maker.posts() == 2


@pytest.mark.parametrize("how", ["no list", "no words", "two"])
def test_an_order_that_may_be_lost_is_never_placed_again_where_that_cannot_be_told(errands, maker, how):
    def act(to):
        if how == "no words":
            maker.says_words = False
        if how == "two":
            maker.orders["video_2"] = maker.orders["video_1"]
        hang_up(to)

    maker.keeps_list = how != "no list"
    maker.instead["POST", "/v1/videos"] = act
    with pytest.raises(EngineFailed, match="not ordered again, lest it be paid for twice"):
        errands.run()
    assert maker.posts() == 1


def test_an_order_changed_while_it_was_held_is_called_back_and_placed_anew(errands, maker):
    errands.noted = {"order": "video_here-an-earlier-one", "asked": True, "mark": "", "id": "video_old"}
    maker.orders["video_old"] = {"prompt": "another"}
    assert errands.run().told["order"] == "video_2" and maker.deleted == ["video_old"]


def test_a_server_of_openais_fields_alone_is_sent_no_others(errands, maker):
    (errands.folder / "remote-videos.json").write_text(json.dumps({
        "url": maker.url, "model": "m", "fields": False, "seconds": [4, 8], "sizes": ["720x1280"]}))
    normalised = ENGINE.normalise(replace(errands.request, negative="blur", seconds=5.0))
    assert [note.partition(" (")[0] for note in normalised.notes[:2]] == ["4 s", "720x1280"]
    assert "These have no effect there: the negative prompt." in normalised.notes
    errands.request = normalised.request
    errands.run()
    assert next(iter(maker.orders.values())) == {"prompt": "a boat", "model": "m", "seconds": "4", "size": "720x1280"}


def test_the_film_has_the_size_and_length_that_came(errands, maker, tmp_path):
    encode(drift(9, (66, 34)), tmp_path / "other.mp4", fps=6)
    maker.video = (tmp_path / "other.mp4").read_bytes()
    request = errands.run().request
    frames = list(ENGINE.frames(request, errands.steps.append, lambda: False))
    assert (request.width, request.height, request.frames, request.fps) == (34, 66, 9, 6)
    assert {frame.shape for frame in frames} == {(66, 34, 3)} and len(frames) == 9
    assert np.abs(np.stack(frames).astype(int) - np.stack(list(decode(tmp_path / "other.mp4")))).max() == 0


def test_a_server_that_is_away_is_waited_for(errands, maker):
    maker.ready.clear()

    def back():
        maker.ready.set()
        maker.again()

    def tell(step):
        if step.stage == "elsewhere" and not errands.steps:
            errands.steps.append(step)
            maker.close()
            threading.Timer(0.3, back).start()

    errands.settings = errands.settings.but(film_remote_wait_s=20)
    assert errands.run(tell).told["order"] == "video_1" and maker.posts() == 1


def test_a_server_that_is_busy_is_asked_again(errands, maker):
    def busy(to):
        maker.instead.clear()
        maker.orders.clear()
        send(to, {"detail": "full"}, 429, headers={"Retry-After": "0"})

    maker.instead["POST", "/v1/videos"] = busy
    assert errands.run().told["order"] == "video_1"


def test_a_server_that_stays_away_is_given_up_with_the_reason(errands, maker):
    maker.close()
    with pytest.raises(EngineFailed, match=r"cannot be reached \(ConnectionRefusedError\). It was tried \d times"):
        errands.run()
    maker.again()


def test_progress_is_told_as_the_server_tells_it(errands, maker):
    maker.ready.clear()

    def tell(step):
        errands.steps.append((step.stage, step.i))
        if ("elsewhere", 40) in errands.steps:
            maker.ready.set()

    errands.run(tell)
    assert list(dict.fromkeys(errands.steps)) == [("order", 0), ("elsewhere", 40), ("arrive", 99)]


def test_a_failure_is_told_in_the_servers_words_and_never_with_the_key(errands, maker):
    maker.instead["GET", "/v1/videos/video_"] = lambda to: send(to, {
        "status": "failed", "error": {"message": f"no memory for {KEY}\n" + "x" * 5_000}})
    with pytest.raises(EngineFailed) as failed:
        errands.run()
    assert "could not make the film: no memory for (key) xxx" in str(failed.value)
    assert KEY not in str(failed.value) and len(str(failed.value)) < 1_000


def slowly(to):
    to.send_response(200)
    to.end_headers()
    for _ in range(100):
        to.wfile.write(b"0")
        time.sleep(0.1)


@pytest.mark.parametrize(("act", "said"), [
    (lambda to: send(to, b"<html>not a film</html>", kind="video/mp4"), "cannot be used: This cannot be read"),
    (endless, "has 1,000,000,000,000 bytes"),
    (elsewhere("http://169.254.169.254/latest/meta-data"), "has no public address"),
    (elsewhere("http://127.0.0.1:9/film.mp4"), "has no public address"),
    (elsewhere("file:///etc/passwd"), "no plain http or https URL"),
    (elsewhere("/v1/videos/video_1/content"), "redirects more than 3 times"),
    (lambda to: send(to, {"detail": "gone"}, 404), "answered 404: gone"),
    (slowly, "no whole answer in 1 s"),
], ids=["garbage", "huge", "metadata", "other-port", "file", "circle", "gone", "slow"])
def test_what_cannot_be_a_film_is_refused(errands, maker, act, said, monkeypatch):
    monkeypatch.setattr("headwater.film_engines.remote_videos._wire.DOWNLOAD_S", 1.0)
    maker.instead["GET", "/v1/videos/video_1/content"] = act
    with pytest.raises(HeadwaterError) as failed:
        errands.run()
    assert said in str(failed.value)


@pytest.mark.parametrize("answer", [b"[]", b"{}", b"nonsense", b'{"id": "../../etc"}', b'{"id": 7.5}', b"[" * 100_000])
def test_an_order_that_is_answered_with_nonsense_is_looked_for(errands, maker, answer):
    maker.instead["POST", "/v1/videos"] = lambda to: send(to, answer)
    assert errands.run().told["order"] == "video_1" and maker.posts() == 1


@settings(max_examples=60, deadline=None)
@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
                    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
                        st.sampled_from(["status", "progress", "error", "message", "id", "data", "headwater", "model"]),
                        inner, max_size=5), max_leaves=12))
def test_whatever_a_server_says_of_a_film_is_borne(said):
    class Canned:
        def ask(self, *_):
            return Answer(200, {"openai-poll-after-ms": str(said)[:20]}, json.dumps(said).encode())

    declared = Declared("http://a/v1", "m")
    try:
        seen = OpenAI(declared, KEY, Canned()).look("video_1", None)
        assert seen.state in ("waiting", "making", "made", "failed") and 0 <= seen.progress <= 100
        assert 0.2 <= seen.after <= 30 and len(json.dumps(seen.said)) < 10_000
    except Lost:
        assert not isinstance(said, dict)


@pytest.mark.parametrize(("status", "code", "error"), [
    (429, 1303, Later), (503, 5001, Later), (429, 1102, EngineFailed), (401, 1004, EngineFailed), (400, 1201, BadInput),
    (500, 5000, Lost), (200, 1301, EngineFailed),
])
def test_klings_codes_are_told_apart(status, code, error):
    class Canned:
        def ask(self, *_):
            return Answer(status, {}, json.dumps({"code": code, "message": "as it is", "data": {}}).encode())

    kling = Kling(Declared("http://a", "kling-v1", "kling"), "ak-access:sk-secret", Canned())
    request = FilmRequest("remote_videos", "t2v", "a boat", 5.0, 24, 1280, 720, 7)
    with pytest.raises(error, match="as it is"):
        kling.order(request, "video_1-0")


def test_an_order_kling_does_not_know_was_never_taken():
    class Canned:
        def ask(self, *_):
            return Answer(404, {}, b'{"code": 1203, "message": "no such task"}')

    kling = Kling(Declared("http://a", "kling-v1", "kling"), "ak-access:sk-secret", Canned())
    assert kling.lost(FilmRequest("remote_videos", "t2v", "a boat", 5.0, 24, 1280, 720, 7), "n", None) is None


def test_a_download_elsewhere_gets_no_key(tmp_path, maker, video):
    other = Maker(video)
    try:
        maker.instead["GET", "/v1/videos/video_1/content"] = elsewhere(f"{other.url}/videos/x/content")
        other.orders["x"] = {}
        assert Errands(tmp_path, maker.url, **{other.url: ""}).run().told["order"] == "video_1"
        assert [call[2].get("authorization") for call in other.calls] == [None]
    finally:
        other.close()


def test_a_server_nobody_allowed_is_not_asked(app, tmp_path):
    declared(app.hub, tmp_path, "other", url="http://127.0.0.1:1/v1", model="m")
    with pytest.raises(Forbidden, match="no administrator of this hub has allowed"):
        ordered(app, model="local/other")


@pytest.mark.parametrize(("said", "why"), [
    ({}, "url and model must be given"), ({"url": "ftp://a/b", "model": "m"}, "url cannot be"),
    ({"url": "http://a@b/v1", "model": "m"}, "url cannot be"), ({"url": "http://a/v1", "model": 7}, "model cannot be"),
    ({"url": "http://a/v1", "model": "m", "sizes": ["1x"]}, "sizes cannot be"),
    ({"url": "http://a/v1", "model": "m", "seconds": [1e9]}, "seconds cannot be"),
    ({"url": "http://a/v1", "model": "m", "key": "x"}, "key is not known"),
    ({"url": "http://a/v1", "model": "m", "api": "soap"}, "api cannot be"),
    ({"url": "http://[", "model": "m"}, "url cannot be"), ([], "must be an object"),
])
def test_a_repo_that_says_nonsense_is_refused_by_name(tmp_path, said, why):
    (tmp_path / "remote-videos.json").write_text(json.dumps(said))
    with pytest.raises(BadInput, match=why):
        ENGINE.describe(tmp_path)


# --- killed


@pytest.fixture
def killed(tmp_path, maker):
    """A hub to kill, whose films are made by `maker`."""
    with opened_hub(tmp_path / "hub") as hub:
        declared(hub, tmp_path, "maker", url=maker.url, model="maker-1")
    hub = HubProcess(tmp_path / "hub", remotes=json.dumps({maker.url: KEY}), film_remote_wait_s=20)
    yield hub
    hub.__exit__()


def order_over_http(hub):
    answer = httpx.post(f"{hub.url}/v1/videos", data={"prompt": "a boat", "model": "local/maker", "seconds": "1",
                                                      "size": "128x96"}, files={"none": b""}, timeout=30)
    assert answer.status_code == 200, answer.text
    return answer.json()["id"]


def made_over_http(hub, film):
    def done():
        told = httpx.get(f"{hub.url}/v1/videos/{film}", timeout=30).json()
        assert told["status"] != "failed", told
        return told["status"] == "completed"

    until(done)


def test_two_kills_cost_no_second_order(killed, maker):
    maker.ready.clear()
    maker.instead["POST", "/v1/videos"] = lambda to: (time.sleep(2), hang_up(to))
    with killed:
        film = order_over_http(killed)
        until(lambda: maker.orders)
        killed.kill()
    with sqlite3.connect(killed.data / "headwater.db") as database:
        noted, = database.execute("SELECT noted FROM films WHERE id = ?", (film,)).fetchone()
    assert json.loads(noted)["asked"] and "id" not in json.loads(noted)
    with killed:
        until(lambda: any(call[1].endswith("/video_1") for call in maker.calls))
        killed.kill()
    maker.ready.set()
    with killed:
        made_over_http(killed, film)
    assert len(maker.orders) == 1 and maker.posts() == 1
