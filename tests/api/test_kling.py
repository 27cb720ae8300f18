"""Kling's API by requests as its own samples make them: a token signed with a key pair, bare base64, polling."""

from __future__ import annotations

import base64
import io
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar

import av
import httpx
import jwt
import pytest
from test_openai_videos import picture

from headwater.core.errors import BadInput, Forbidden
from headwater.film.callback import check_url

pytestmark = pytest.mark.xdist_group("kling")


def signed(pair: dict, **claims) -> str:
    """As in Kling's documentation, by PyJWT."""
    said = {"iss": pair["access_key"], "exp": int(time.time()) + 1800, "nbf": int(time.time()) - 5, **claims}
    return jwt.encode({name: value for name, value in said.items() if value is not None}, pair["secret_key"],
                      headers={"alg": "HS256", "typ": "JWT"})


@pytest.fixture(scope="module")
def pair(team_server):
    with team_server.client("alice") as alice:
        answer = alice.post("/api/headwater/key-pairs", json={"name": "kling"})
        assert answer.status_code == 201 and answer.headers["cache-control"] == "no-store"
        return answer.json()


@pytest.fixture(scope="module")
def kling(team_server, pair):
    with httpx.Client(base_url=team_server.url, timeout=60,
                      headers={"Authorization": f"Bearer {signed(pair)}"}) as client:
        yield client


def image(seed: int = 0, size: tuple[int, int] = (320, 320), form: str = "PNG") -> str:
    return base64.b64encode(picture(seed, size, form)).decode()


def awaited(client: httpx.Client, kind: str, name: str) -> dict:
    for _ in range(300):
        task = client.get(f"/v1/videos/{kind}/{name}").json()["data"]
        if task["task_status"] in ("succeed", "failed"):
            return task
        assert task["task_status"] in ("submitted", "processing")
        time.sleep(0.2)
    raise AssertionError(task)


@pytest.fixture(scope="module")
def task(kling):
    """A film ordered and awaited as Kling's sample does."""
    answer = kling.post("/v1/videos/image2video", json={
        "model_name": "kling-v1", "mode": "std", "duration": "3", "image": image(), "prompt": "the camera comes closer",
        "cfg_scale": 0.5, "external_task_id": "my film 1",
        "camera_control": {"type": "simple", "config": {"horizontal": 0, "zoom": 3}}})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["code"] == 0 and body["request_id"]
    assert body["data"]["task_status"] == "submitted" and body["data"]["created_at"] > 1.6e12
    return awaited(kling, "image2video", body["data"]["task_id"])


def test_a_program_written_for_kling_gets_its_film(task, team_server):
    assert task["task_status"] == "succeed" and task["task_info"] == {"external_task_id": "my film 1"}
    video, = task["task_result"]["videos"]
    assert video["duration"] == "3"
    data = httpx.get(video["url"]).content  # the address needs no key
    with av.open(io.BytesIO(data)) as box:
        assert sum(1 for _ in box.decode(video=0)) == 72
    assert any("kling-v1 cannot be had" in note for note in task["headwater"]["notes"])
    assert any("cfg_scale" in note for note in task["headwater"]["notes"])
    assert httpx.get(video["url"][:-3] + "AAA").status_code == 403


def test_a_task_is_found_by_its_own_name_and_listed(kling, task):
    assert kling.get("/v1/videos/image2video/my film 1").json()["data"]["task_id"] == task["task_id"]
    listed = kling.get("/v1/videos/image2video", params={"pageNum": 1, "pageSize": 1}).json()["data"]
    assert [one["task_id"] for one in listed] == [task["task_id"]]
    assert kling.get("/v1/videos/image2video", params={"pageNum": 9}).json()["data"] == []
    assert kling.get("/v1/videos/text2video").json()["data"] == []
    assert kling.get("/v1/videos/image2video", params={"pageSize": 501}).json()["code"] == 1201
    missing = kling.get("/v1/videos/image2video/nothing")
    assert missing.status_code == 404 and missing.json()["code"] == 1203


def test_a_film_is_extended_by_five_seconds(kling, task):
    answer = kling.post("/v1/videos/video-extend", json={
        "video_id": task["task_result"]["videos"][0]["id"], "prompt": "the camera goes back", "cfg_scale": 0.5,
        "external_task_id": "my film, longer"})
    assert answer.status_code == 200, answer.text
    longer = awaited(kling, "video-extend", answer.json()["data"]["task_id"])
    assert longer["task_status"] == "succeed", longer
    assert abs(float(longer["task_result"]["videos"][0]["duration"]) - 8) < 0.1
    listed = {kind: [one["task_id"] for one in kling.get(f"/v1/videos/{kind}").json()["data"]]
              for kind in ("video-extend", "image2video")}
    assert listed["video-extend"] == [longer["task_id"]] and longer["task_id"] not in listed["image2video"]
    assert kling.get("/v1/videos/video-extend/my film, longer").json()["data"]["task_id"] == longer["task_id"]
    wrong = kling.post("/v1/videos/video-extend", json={"prompt": "more"})
    assert wrong.status_code == 400 and wrong.json()["code"] == 1201 and "video_id" in wrong.json()["message"]
    assert kling.post("/v1/videos/video-extend", json={"video_id": "video_none"}).json()["code"] == 1203


@pytest.mark.parametrize("name", ["omni-video", "multi-image2video", "lip-sync", "motion-control", "effects"])
def test_what_no_engine_does_is_refused_in_klings_form(kling, name):
    for answer in (kling.post(f"/v1/videos/{name}", json={"prompt": "x"}), kling.get(f"/v1/videos/{name}/some")):
        said = answer.json()
        assert answer.status_code == 501 and said["code"] == 1201 and len(said["message"]) > 30, answer.text


def test_a_name_given_twice_is_refused(kling, task):
    answer = kling.post("/v1/videos/image2video", json={"image": image(), "external_task_id": "my film 1"})
    assert answer.status_code == 409 and "names another task" in answer.json()["message"]


def test_a_motion_brush_moves_a_part(kling):
    """Kling counts from the bottom left: a way upwards there has a growing y, and ours a falling one."""
    mask = image(3, (320, 320))
    answer = kling.post("/v1/videos/image2video", json={
        "model": "headwater/photo", "image": image(1), "duration": "3", "static_mask": mask,
        "dynamic_masks": [{"mask": mask, "trajectories": [{"x": 80, "y": 80}, {"x": 80, "y": 240}]}]})
    if answer.status_code == 400:
        pytest.skip(answer.json()["message"])  # the photo engine needs the extra [film]
    assert awaited(kling, "image2video", answer.json()["data"]["task_id"])["task_status"] == "succeed"


@pytest.mark.parametrize(("said", "why"), [
    ({}, "image: must be given"), ({"image": "!!"}, "not base64"), ({"image": 7}, "must be a text"),
    ({"image": "https://example.org/a.png"}, "fetches no pictures"), ({"image": "data:image/png;base64,AA"}, "bare"),
    ({"image": image(size=(200, 400))}, "at least 300"), ({"image": image(size=(300, 900))}, "1:2.5"),
    ({"image": image(), "duration": "99"}, "duration"), ({"image": image(), "mode": "ultra"}, "mode"),
    ({"image": image(), "image_tail": image(), "camera_control": {"type": "forward_up"}}, "cannot be used together"),
    ({"image": image(), "camera_control": {"type": "simple", "config": {"pan": 1, "roll": 1}}}, "exactly one axis"),
    ({"image": image(), "camera_control": {"type": "simple", "config": {"pan": 11}}}, "from -10 to 10"),
    ({"image": image(), "camera_control": []}, None), ({"image": image(), "camera_control": [1]}, "an object"),
    ({"image": image(), "dynamic_masks": [{"mask": image(), "trajectories": [{"x": 1, "y": 1}]}]}, "2 to 77"),
    ({"image": image(), "dynamic_masks": [{}]}, "mask: must be given"), ({"image": image(), "dynamic_masks": {}}, None),
    ({"model": "headwater/plain", "image": image(), "static_mask": image()}, "no motion brush"),
    ({"model": "headwater/plain", "image": image(), "image_tail": image()}, "end a film with a given picture"),
    ({"image": image(), "callback_url": "http://169.254.169.254/latest"}, "calls nothing back"),
    ({"image": image(), "prompt": "x" * 2501}, "prompt"),
])
def test_what_cannot_be_made_is_refused_in_klings_form(kling, said, why):
    answer = kling.post("/v1/videos/image2video", json=said)
    if why is None:  # an empty value is one that was not given
        assert answer.status_code == 200
        kling.post(f"/v1/videos/{answer.json()['data']['task_id']}/cancel")
        return
    assert answer.status_code in (400, 403), answer.text
    assert answer.json()["code"] > 1000 and why in answer.json()["message"]


def test_words_alone_need_a_model(kling):
    answer = kling.post("/v1/videos/text2video", json={"prompt": "a river", "aspect_ratio": "1:1"})
    assert answer.status_code == 400 and "photo" in answer.json()["message"]
    assert kling.post("/v1/videos/text2video", content=b"[").json()["code"] == 1201
    assert kling.post("/v1/videos/text2video", content=b"[]").json()["code"] == 1201


@pytest.mark.parametrize(("claims", "why"), [
    ({"exp": 1}, "expired"), ({"exp": None}, "expired"), ({"exp": time.time() + 90_000}, "expired"),
    ({"nbf": time.time() + 3_000}, "not valid yet"), ({"iss": "x"}, "access key"), ({"iss": "0" * 64}, "signature"),
    ({"exp": "soon"}, "expired"),
])
def test_a_token_that_does_not_hold_is_refused(team_server, pair, claims, why):
    text = signed(pair, **claims) if claims.get("exp") != "soon" else _raw(pair, exp="soon")
    with httpx.Client(base_url=team_server.url, headers={"Authorization": f"Bearer {text}"}) as client:
        answer = client.get("/v1/videos/image2video")
        assert answer.status_code == 401 and answer.json()["code"] == 1000 and why in answer.json()["message"]


def test_a_token_signed_by_nobody_or_with_another_key_is_refused(team_server, pair):
    good = signed(pair)
    head, claims, mac = good.split(".")
    none = base64.urlsafe_b64encode(b'{"alg":"none","typ":"JWT"}').decode().rstrip("=")
    for text in (f"{none}.{claims}.", f"{head}.{claims}.", f"{head}.{claims}.{mac[:-4]}AAAA", f"{head}.!!.{mac}",
                 signed({**pair, "secret_key": "0" * 64})):
        with httpx.Client(base_url=team_server.url, headers={"Authorization": f"Bearer {text}"}) as client:
            assert client.get("/v1/videos/image2video").status_code == 401


def test_a_revoked_pair_opens_nothing(team_server):
    with team_server.client("bob") as bob:
        pair = bob.post("/api/headwater/key-pairs", json={"name": "short"}).json()
        headers = {"Authorization": f"Bearer {signed(pair)}"}
        with httpx.Client(base_url=team_server.url, headers=headers) as client:
            assert client.get("/v1/videos/image2video").status_code == 200
            bob.delete(f"/api/headwater/tokens/{pair['name']}")
            assert client.get("/v1/videos/image2video").status_code == 401
    with team_server.client("alice-read") as reader:
        assert reader.post("/api/headwater/key-pairs", json={"name": "more"}).status_code == 403


def test_films_of_another_are_not_found(team_server, task):
    with team_server.client("bob") as bob:
        assert bob.get(f"/v1/videos/image2video/{task['task_id']}").status_code == 404


@pytest.mark.parametrize("url", [
    "ftp://example.org/a", "http://user:pw@example.org/", "http://example.org:99999/", "http://", "nothing",
    "http://exa mple.org/", "http://example.org/\r\nX: y", "http://[::1", "http://example.org:0/",
])
def test_a_callback_that_is_no_plain_url_is_refused(url):
    with pytest.raises(BadInput):
        check_url(url, ["*"])


@pytest.mark.parametrize("url", [
    "http://127.0.0.1/", "http://localhost:8000/", "http://10.0.0.7/", "http://[::1]/", "http://[::ffff:10.0.0.1]/",
    "http://169.254.169.254/", "http://0.0.0.0/", "http://[fe80::1]/", "http://224.0.0.1/", "http://100.64.0.1/",
])
def test_a_callback_inside_is_refused_unless_it_is_named(url):
    with pytest.raises(Forbidden):
        check_url(url, ["*"])
    host = url.partition("//")[2].strip("/").rsplit(":8000")[0].strip("[]")
    assert check_url(url, [host]).hostname == host


class Listener(BaseHTTPRequestHandler):
    """Fails twice, by a redirect and by a fault, before it listens."""

    heard: ClassVar[list[tuple[str, bytes]]] = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.heard.append((self.path, body))
        if len(self.heard) < 3:
            self.send_response(302 if len(self.heard) == 1 else 500)
            self.send_header("Location", "/elsewhere")
        else:
            self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        return


def test_a_callback_is_told_again_until_it_listens_and_no_redirect_is_followed(tmp_path):
    from headwater.film.callback import callback_job

    server = ThreadingHTTPServer(("127.0.0.1", 0), Listener)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/done?x=1"

    class Films:
        def get(self, name):
            return type("Kept", (), {"asked": {"callback": url}, "id": name})()

    film = type("Film", (), {"films": Films()})()
    work = callback_job(film, lambda kept: {"task_id": kept.id}, ["127.0.0.1"], waits=(0.01, 0.01, 0.01))
    try:
        assert work({"film_id": "video_1"}, lambda *a, **k: None) == {"status": 200, "tries": 3}
    finally:
        server.shutdown()
        server.server_close()
    assert [path for path, _ in Listener.heard] == ["/done?x=1"] * 3
    assert json.loads(Listener.heard[-1][1]) == {"task_id": "video_1"}


def _raw(pair: dict, **claims) -> str:
    """What PyJWT itself would not sign."""
    import hashlib
    import hmac

    def text(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).decode().rstrip("=")

    whole = text(b'{"alg":"HS256"}') + "." + text(json.dumps({"iss": pair["access_key"], **claims}).encode())
    return whole + "." + text(hmac.digest(pair["secret_key"].encode(), whole.encode(), hashlib.sha256))


def test_who_is_in_the_image_is_logged_and_never_asked_of_a_program_that_does_not_know_it(kling, team_server, task):
    def told(task_id: str) -> dict:
        with team_server.client("dora") as admin:
            rows = admin.get("/api/headwater/audit", params={"subject": f"film/{task_id}"}).json()
        return next(row["detail"] for row in rows if row["action"] == "film.consent")

    silent = told(task["task_id"])
    assert (silent["said"], silent["face"], silent["account"]) == ("consent not asked", "kling", "alice")
    body = {"image": image(4), "prompt": "zoom in", "duration": "3", "people": "agreed"}
    said = kling.post("/v1/videos/image2video", json=body).json()["data"]
    assert told(said["task_id"])["said"] == "people can be recognised and agreed"
    wrong = kling.post("/v1/videos/image2video", json={**body, "people": "all"})
    assert wrong.status_code == 400 and "none of none, agreed" in wrong.json()["message"]
