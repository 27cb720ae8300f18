"""Pictures by URL: only from hosts that are allowed, never from networks that are not public by another name."""

import asyncio
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from headwater.chat.pictures import _Checked, fetch
from headwater.core.errors import Forbidden, HeadwaterError, Unavailable
from headwater.core.outward import is_public


def get(url: str, *hosts: str) -> bytes:
    return asyncio.run(fetch(1, url, hosts))


@pytest.mark.parametrize("url", [
    "http://127.0.0.1:1/x.png", "http://localhost:1/x.png", "http://[::1]:1/x", "http://[::ffff:127.0.0.1]:1/x",
    "http://0x7f000001:1/x", "http://0.0.0.0:1/x", "http://10.0.0.1/x",
    "http://169.254.169.254/latest/meta-data/", "http://[fe80::1]/x", "http://100.64.0.1/x", "http://[64:ff9b::a00:1]/x",
    "http://[2002:7f00:1::]/x", "http://224.0.0.1/x", "http://LOCALHOST:1/x",
])
def test_all_public_hosts_are_not_these(url):
    with pytest.raises(Forbidden, match="not public"):
        get(url, "*")


@pytest.mark.parametrize("host", ["127.1", "2130706433", "017700000001", "0x7f.1", "localhost."])
def test_no_spelling_of_this_machine_leads_to_it(host):
    asked = []

    class Here(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)

    with ThreadingHTTPServer(("127.0.0.1", 0), Here) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        with pytest.raises(HeadwaterError):
            get(f"http://{host}:{server.server_port}/x", "*")
        server.shutdown()
    assert asked == []


@pytest.mark.parametrize("url", ["ftp://example.com/x", "http://", "http://a@127.0.0.1/", "http://[::1", "http:///x"])
def test_what_is_no_plain_address_is_refused(url):
    with pytest.raises(HeadwaterError) as refused:
        get(url, "*", "127.0.0.1")
    assert refused.value.status in (400, 403, 503)


def test_nothing_is_fetched_where_no_host_is_allowed():
    for url in ("http://example.com/x.png", "https://8.8.8.8/x.png"):
        with pytest.raises(Forbidden, match="picture_hosts"):
            get(url)
        with pytest.raises(Forbidden, match="picture_hosts"):
            get(url, "other.example")


def test_an_allowed_host_that_does_not_answer_is_told():
    with pytest.raises(Unavailable, match="could not be fetched from localhost"):
        get("http://localhost:1/x.png", "localhost")


def test_the_address_that_was_checked_is_the_one_connected_to():
    places = asyncio.run(_Checked(["localhost"]).resolve("localhost", 80))
    assert {place["host"] for place in places} <= {"127.0.0.1", "::1"}
    with pytest.raises(Forbidden):
        asyncio.run(_Checked(["*"]).resolve("localhost", 80))
    assert is_public("8.8.8.8") and is_public("2001:4860:4860::8888") and not is_public("192.168.1.1")


