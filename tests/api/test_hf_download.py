"""The download door over HTTP: any range is what a slice is, headers clients rely on, nothing that could run."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from server import HubProcess, fresh
from wire import Wire

SMALL = bytes(range(256)) * 4
LARGE = os.urandom(3_000_000)  # larger than one chunk of the store


@dataclass
class Kept:
    wire: Wire
    name: str
    sha: str


@pytest.fixture(scope="module")
def kept(open_server: HubProcess) -> Iterator[Kept]:
    with Wire(open_server.url) as wire:
        name = wire.repo(fresh("down"))
        wire.upload(name, {"small.bin": SMALL, "large.bin": LARGE})
        wire.commit(name, {
            "t.txt": b"text", "empty": b"", "a b/ü+%.txt": b"odd", "page.html": b"<script>alert(1)</script>",
            "x.svg": b"<svg onload='alert(1)'/>", "card.md": b"# hi", "c.json": b"{}", "i.png": b"\x89PNG"})
        yield Kept(wire, name, wire.head(name))


def get(kept: Kept, path: str, revision: str = "main", method: str = "GET", **headers: str) -> httpx.Response:
    return kept.wire.http.request(method, f"/{kept.name}/resolve/{revision}/{path}", headers=headers)


@settings(max_examples=150, deadline=None)
@given(first=st.none() | st.integers(0, 1100), last=st.none() | st.integers(0, 1100), head=st.booleans())
@example(first=None, last=0, head=False)
@example(first=1024, last=None, head=False)
@example(first=1023, last=1023, head=True)
def test_f08_any_range_is_what_a_slice_is(kept: Kept, first: int | None, last: int | None, head: bool) -> None:
    asked = f"bytes={'' if first is None else first}-{'' if last is None else last}"
    answer = get(kept, "small.bin", method="HEAD" if head else "GET", range=asked)
    size = len(SMALL)
    if (first is None and last is None) or (first is not None and last is not None and last < first):
        # not a range at all: RFC 9110 lets the server ignore it, or call it out
        assert answer.status_code in (200, 416)
        return
    stop = size if last is None or first is None else min(last + 1, size)
    start = max(size - last, 0) if first is None else first
    if start >= size:
        assert answer.status_code == 416 and answer.headers["content-range"] == f"bytes */{size}"
        return
    whole = (start, stop) == (0, size)
    assert answer.status_code in ((200, 206) if whole else (206,))
    assert int(answer.headers["content-length"]) == stop - start
    assert head or answer.content == SMALL[start:stop]
    if answer.status_code == 206:
        assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{size}"


@pytest.mark.parametrize("text", ["bytes=0-1,5-6", "chunks=0-1", "bytes=a-b", "bytes=--1", "bytes 0-1",
                                  "bytes=0x1-2", "0-1", "bytes=99999999999999999999999-", "bytes=٣-٥",
                                  "bytes=-99999999999999999999999", f"bytes={'9' * 5000}-"])
def test_a_range_of_an_unknown_form_breaks_nothing(kept: Kept, text: str) -> None:
    answer = kept.wire.http.get(f"/{kept.name}/resolve/main/small.bin", headers={"range": text.encode()})
    assert answer.status_code in (200, 206, 416)
    assert answer.status_code == 416 or answer.content == SMALL


def test_f08_a_download_resumes_at_every_border(kept: Kept) -> None:
    for at in (0, 1, 1 << 20, (1 << 20) - 1, (1 << 20) + 1, 2 << 20, len(LARGE) - 1):
        assert get(kept, "large.bin", range=f"bytes={at}-").content == LARGE[at:]
    etag = get(kept, "large.bin", method="HEAD").headers["etag"]
    resumed = get(kept, "large.bin", range="bytes=10-", **{"if-range": etag})
    assert resumed.status_code == 206 and resumed.content == LARGE[10:]
    changed = get(kept, "large.bin", range="bytes=10-", **{"if-range": '"something else"'})
    assert changed.status_code == 200 and changed.content == LARGE


def test_f08_a_client_that_leaves_in_mid_download_disturbs_nobody(kept: Kept) -> None:
    for _ in range(20):
        with kept.wire.http.stream("GET", f"/{kept.name}/resolve/main/large.bin") as answer:
            next(answer.iter_bytes(1000))
    assert get(kept, "large.bin").content == LARGE


def test_the_headers_clients_read_are_there(kept: Kept) -> None:
    lfs, regular = (get(kept, path, method="HEAD").headers for path in ("small.bin", "t.txt"))
    digest = hashlib.sha256(SMALL).hexdigest()
    assert lfs["etag"] == lfs["x-linked-etag"] == f'"{digest}"' and lfs["x-linked-size"] == str(len(SMALL))
    assert regular["etag"] == f'"{hashlib.sha1(b"blob 4" + bytes(1) + b"text").hexdigest()}"'
    for headers in (lfs, regular):
        assert headers["x-repo-commit"] == kept.sha and headers["accept-ranges"] == "bytes"
        assert "content-encoding" not in headers and "x-xet-hash" not in headers


def test_what_is_known_already_is_not_sent_again(kept: Kept) -> None:
    etag = get(kept, "t.txt", method="HEAD").headers["etag"]
    for known in (etag, f'"other", {etag}', f"W/{etag}", "*"):
        answer = get(kept, "t.txt", **{"if-none-match": known})
        assert answer.status_code == 304 and answer.content == b"", known
    assert get(kept, "t.txt", **{"if-none-match": '"other"'}).content == b"text"


def test_an_empty_file_and_an_odd_name_come_whole(kept: Kept) -> None:
    assert get(kept, "empty").content == b"" and get(kept, "empty", range="bytes=0-").status_code == 416
    assert get(kept, "a%20b/%C3%BC%2B%25.txt").content == b"odd"
    assert get(kept, "t.txt", revision=kept.sha).content == b"text"
    assert get(kept, "t.txt", revision=kept.sha[:10]).content == b"text"
    assert get(kept, "t.txt", revision="refs%2Fheads%2Fmain").content == b"text"


@pytest.mark.parametrize(("path", "code"), [("nope.txt", "EntryNotFound"), ("a b", "EntryNotFound"),
                                            ("t.txt/x", "EntryNotFound"), ("a%20b/", "BadRequest")])
def test_what_is_not_a_file_says_which_kind_of_missing(kept: Kept, path: str, code: str) -> None:
    answer = get(kept, path)
    assert answer.status_code in (400, 404) and answer.headers["x-error-code"] == code
    assert answer.headers["x-error-message"]


def test_unknown_repos_and_revisions_are_told_apart_by_header(kept: Kept) -> None:
    assert get(kept, "t.txt", revision="nope").headers["x-error-code"] == "RevisionNotFound"
    missing = kept.wire.http.get("/local/never-was/resolve/main/t.txt")
    assert (missing.status_code, missing.headers["x-error-code"]) == (404, "RepoNotFound")


@pytest.mark.parametrize("path", ["page.html", "x.svg", "card.md", "c.json", "t.txt", "small.bin"])
def test_a10_nothing_a_stranger_pushed_runs_in_a_browser(kept: Kept, path: str) -> None:
    headers = get(kept, path).headers
    assert headers["content-type"].split(";")[0] in ("text/plain", "application/octet-stream")
    assert headers["content-disposition"].startswith("attachment")
    assert headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert headers["x-content-type-options"] == "nosniff"


def test_a10_a_picture_shows_where_it_stands_still_sandboxed(kept: Kept) -> None:
    headers = get(kept, "i.png").headers
    assert headers["content-type"] == "image/png" and headers["content-disposition"].startswith("inline")
    assert "sandbox" in headers["content-security-policy"] and headers["x-content-type-options"] == "nosniff"
