"""Models that are elsewhere: only where administrators allow it, and the key goes nowhere else."""

import asyncio
import http.server
import json
import threading
from typing import ClassVar

import pytest
from chat_made import asking, chat_over
from engine_samples import another_headwater, remote

from headwater.chat.complete import complete
from headwater.chat.types import Finished, Piece, Started
from headwater.core.errors import EngineFailed, HeadwaterError
from headwater.core.types import ANYONE

pytestmark = pytest.mark.xdist_group("engines")
SECRET = "sk-secret-of-the-tests"


def answer(folder, **flags):
    async def talk():
        async with chat_over({"someone/far": folder}, **flags) as (chat, _):
            return [event async for event in complete(chat, ANYONE, asking("someone/far", seed=3))]

    return asyncio.run(talk())


def test_a_model_of_another_headwater_answers_and_the_revision_named_is_the_repos(tmp_path):
    remote(tmp_path / "m")
    url, token = another_headwater()
    events = answer(tmp_path / "m", remotes=json.dumps({url + "/": token}))
    started, finished = events[0], events[-1]
    assert isinstance(started, Started) and (started.origin.repo, started.origin.engine) == ("someone/far", "remote")
    assert len(started.origin.revision) == 40 and started.origin.seed == 3
    assert isinstance(finished, Finished) and finished.reason == "stop" and finished.usage.completion_tokens > 0
    assert "".join(e.text for e in events if isinstance(e, Piece))


@pytest.mark.parametrize(("remotes", "why"), [
    ("", "administrator"), ("{}", "administrator"), ("nonsense", "must be JSON"),
    (json.dumps({"http://127.0.0.1:1/v1": SECRET}), "administrator")])
def test_a_url_no_administrator_allowed_is_never_asked(tmp_path, remotes, why):
    remote(tmp_path / "m")
    with pytest.raises(EngineFailed) as raised:
        answer(tmp_path / "m", remotes=remotes)
    assert SECRET not in str(raised.value) and why in str(raised.value)


class Strange(http.server.BaseHTTPRequestHandler):
    """Redirects /302/..., and says every key back."""

    seen: ClassVar[list[str]] = []

    def do_POST(self):
        self.seen.append(self.path)
        body = json.dumps({"error": {"message": f"your key is {self.headers['Authorization']}"}}).encode()
        self.send_response(302 if "/302" in self.path else 400)
        self.send_header("Location", "/elsewhere")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("path", ["/302", "/400"])
def test_a_remote_that_says_the_key_back_or_points_elsewhere_gets_nothing_shown_or_followed(tmp_path, path):
    Strange.seen.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Strange) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}{path}"
        (tmp_path / "m").mkdir()
        (tmp_path / "m" / "remote.json").write_text(json.dumps({"url": url, "model": "x"}))
        with pytest.raises(HeadwaterError) as raised:
            answer(tmp_path / "m", remotes=json.dumps({url: SECRET}))
        server.shutdown()
    assert Strange.seen == [f"{path}/chat/completions"]
    assert SECRET not in str(raised.value) and "(key)" in str(raised.value)


def test_the_setting_is_never_shown():
    from headwater.core.settings import load

    assert load(None, {"remotes": SECRET}, environ={}).shown()["remotes"] == "set"
