"""What every Blobs keeps to. Over a folder, an S3 server (moto's), obstore's memory and the recipe's store."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import stat
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from headwater.core.errors import BadInput, DiskFull, Unavailable
from headwater.core.ports import Blobs
from headwater.storage.blobs import open_blobs
from headwater.storage.blobs.folder import FolderBlobs


@pytest.fixture(scope="session")
def s3_server():
    """The address of a running S3, as moto plays it, with a bucket `models`."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    keys = {"aws_access_key_id": "k", "aws_secret_access_key": "s", "region_name": "eu-west-1"}
    boto3.client("s3", endpoint_url=f"http://{host}:{port}", **keys).create_bucket(
        Bucket="models", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    yield f"http://{host}:{port}"
    server.stop()


def s3_options(endpoint):
    return json.dumps({"endpoint": endpoint, "region": "eu-west-1", "access_key_id": "k", "secret_access_key": "s"})


def recipe_store():
    """The class docs/recipes/add-a-store.md writes, run from the page."""
    page = Path(__file__).parents[2] / "docs" / "recipes" / "add-a-store.md"
    [code] = re.findall(r"^```python\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S)
    names: dict = {}
    exec(compile(code, str(page), "exec"), names)
    return names["DictBlobs"]()


@pytest.fixture(params=["folder", "s3", "memory", "recipe"])
def blobs(request, tmp_path):
    if request.param == "recipe":
        return recipe_store()
    if request.param == "folder":
        return open_blobs("", "", tmp_path)
    if request.param == "memory":
        return open_blobs("memory:///", "", tmp_path)
    server = request.getfixturevalue("s3_server")
    # A prefix of its own: what another test left is not ours.
    return open_blobs(f"s3://models/{tmp_path.name}/blobs", s3_options(server), tmp_path)


def name(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def adopt(blobs, tmp_path, content: bytes) -> str:
    staged = tmp_path / f"in-{os.urandom(4).hex()}"
    staged.write_bytes(content)
    blobs.adopt(staged, name(content))
    assert not staged.exists()
    return name(content)


def read(blobs, *arguments) -> bytes:
    return b"".join(blobs.read(*arguments))


def test_every_verb_of_the_port_is_there(blobs):
    assert all(callable(getattr(blobs, verb)) for verb in vars(Blobs) if not verb.startswith("_"))


@pytest.mark.parametrize("size", [0, 1, 3_000_000, 20_000_000])
def test_what_is_adopted_is_read_back_in_chunks_of_about_a_mebibyte(blobs, tmp_path, size):
    content = os.urandom(size)
    digest = adopt(blobs, tmp_path, content)
    chunks = list(blobs.read(digest))
    assert b"".join(chunks) == content and all(0 < len(chunk) <= 2 << 20 for chunk in chunks)
    assert blobs.size(digest) == size
    path = blobs.path(digest)
    assert path is None or path.read_bytes() == content


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(start=st.integers(0, 120), stop=st.none() | st.integers(0, 120))
def test_f8_any_range_is_what_a_slice_is(blobs, tmp_path, start, stop):
    content = bytes(range(100))
    if blobs.size(name(content)) is None:
        adopt(blobs, tmp_path, content)
    assert read(blobs, name(content), start, stop) == content[start:stop]


def test_a_range_across_every_inner_border(blobs, tmp_path, monkeypatch):
    for module in ("folder", "objects"):
        monkeypatch.setattr(f"headwater.storage.blobs.{module}.CHUNK", 7)
    monkeypatch.setattr("headwater.storage.blobs.objects.WINDOW", 16)
    content = bytes(range(50))
    digest = adopt(blobs, tmp_path, content)
    for start in range(0, 52, 3):
        for stop in (None, start, start + 1, start + 16, start + 17, 50, 51):
            assert read(blobs, digest, start, stop) == content[start:stop]


def test_reading_what_is_not_there_fails_at_once_and_not_at_the_first_chunk(blobs):
    for arguments in ((), (0, 0), (5,), (3, 9)):
        with pytest.raises(FileNotFoundError):
            blobs.read("0" * 64, *arguments)
    assert blobs.size("0" * 64) is None


def test_keeping_twice_and_forgetting_twice_are_no_errors(blobs, tmp_path):
    digest = adopt(blobs, tmp_path, b"same")
    assert adopt(blobs, tmp_path, b"same") == digest
    assert read(blobs, digest) == b"same" and list(blobs.digests()) == [digest]
    for _ in range(2):
        blobs.delete(digest)
    assert blobs.size(digest) is None and list(blobs.digests()) == []


def test_every_digest_is_listed(blobs, tmp_path):
    kept = {adopt(blobs, tmp_path, str(n).encode()) for n in range(30)}
    assert set(blobs.digests()) == kept


@pytest.mark.parametrize("digest", ["../../etc/passwd", "", "0" * 63, "0" * 65, "A" * 64, "0" * 63 + "/",
                                    "0" * 64 + "\n"])
def test_a1_what_is_not_a_digest_reaches_no_file(blobs, tmp_path, digest):
    (tmp_path / "staged").write_bytes(b"")
    for verb in (blobs.read, blobs.size, blobs.delete, lambda d: blobs.adopt(tmp_path / "staged", d)):
        with pytest.raises(ValueError, match="not a sha256"):
            verb(digest)


def test_a_reader_goes_on_while_its_bytes_are_kept_again_or_forgotten(blobs, tmp_path):
    content = os.urandom(3 << 20)
    reader = blobs.read(adopt(blobs, tmp_path, content))
    first = next(reader)
    adopt(blobs, tmp_path, content)
    blobs.delete(name(content))
    assert first + b"".join(reader) == content  # within the 8 MiB an object store is asked for at once


def test_many_keep_the_same_bytes_at_once(blobs, tmp_path):
    content, troubles = os.urandom(300_000), []

    def work():
        try:
            adopt(blobs, tmp_path, content)
            assert read(blobs, name(content)) == content
        except BaseException as error:  # a thread's error must reach the test
            troubles.append(error)

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not troubles


# --- the folder alone


def test_a_kept_file_cannot_be_written_through_and_nothing_else_lies_beside_it(tmp_path):
    blobs = FolderBlobs(tmp_path / "blobs")
    digest = adopt(blobs, tmp_path, b"x")
    assert stat.S_IMODE(blobs.path(digest).stat().st_mode) == 0o444
    assert [p.name for p in (tmp_path / "blobs").rglob("*") if p.is_file()] == [digest]
    (blobs.path(digest).parent / "stray").write_bytes(b"")
    assert list(blobs.digests()) == [digest]


def test_bytes_reach_the_disk_before_their_name_and_the_name_before_the_answer(tmp_path, monkeypatch):
    done, folder = [], tmp_path / "blobs" / name(b"x")[:2] / name(b"x")[2:4]
    fsync, replace = os.fsync, os.replace

    def watched_fsync(handle):
        done.append(("fsync", os.readlink(f"/proc/self/fd/{handle}")))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", watched_fsync)
    monkeypatch.setattr(os, "replace", lambda a, b: (done.append(("rename", str(b))), replace(a, b)))
    blobs = FolderBlobs(tmp_path / "blobs")
    adopt(blobs, tmp_path, b"x")
    kinds = [kind for kind, _ in done]
    assert kinds[0] == "fsync" and "in-" in done[0][1]
    assert done[-2:] == [("rename", str(folder / name(b"x"))), ("fsync", str(folder))]
    assert {("fsync", str(folder.parent)), ("fsync", str(tmp_path / "blobs"))} <= set(done)


def test_a_damaged_file_is_healed_by_keeping_the_bytes_again(tmp_path):
    blobs = FolderBlobs(tmp_path / "blobs")
    digest = adopt(blobs, tmp_path, b"good")
    blobs.path(digest).chmod(0o644)
    blobs.path(digest).write_bytes(b"baad")
    adopt(blobs, tmp_path, b"good")
    assert read(blobs, digest) == b"good"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_f2_a_full_disk_is_said_and_nothing_is_half_kept(tmp_path, monkeypatch, number):
    blobs, staged = FolderBlobs(tmp_path / "blobs"), tmp_path / "in-1"
    staged.write_bytes(b"x")

    def full(handle):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFull):
        blobs.adopt(staged, name(b"x"))
    assert staged.exists() and list(blobs.digests()) == []


# --- object stores alone


def test_a_store_that_cannot_be_reached_is_unavailable_and_the_upload_is_not_lost(tmp_path):
    options = json.dumps({**json.loads(s3_options("http://127.0.0.1:9")), "retry": {"max_retries": 1}})
    blobs, missing = open_blobs("s3://models/x", options, tmp_path), name(b"x")
    staged = tmp_path / "in-1"
    staged.write_bytes(b"x")
    for verb in (lambda: blobs.adopt(staged, missing), lambda: blobs.read(missing), lambda: blobs.size(missing),
                 lambda: list(blobs.digests())):
        with pytest.raises(Unavailable):
            verb()
    assert staged.exists()


def test_f9_a_store_that_stumbles_is_asked_again(tmp_path):
    asked = []

    class Stumbling(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.headers["Range"])
            self.send_response(503 if len(asked) <= 2 else 206)
            self.send_header("Content-Length", "0" if len(asked) <= 2 else "5")
            self.send_header("Content-Range", "bytes 0-4/5")
            self.send_header("Last-Modified", "Sat, 21 Nov 2026 00:00:00 GMT")
            self.send_header("ETag", '"x"')
            self.end_headers()
            if len(asked) > 2:
                self.wfile.write(b"bytes")

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Stumbling) as server:
        threading.Thread(target=server.serve_forever).start()
        blobs = open_blobs("s3://models/x", s3_options(f"http://127.0.0.1:{server.server_port}"), tmp_path)
        assert read(blobs, name(b"bytes")) == b"bytes" and len(asked) == 3
        server.shutdown()


@pytest.mark.parametrize(("url", "options"), [
    ("ftp://x/y", ""), ("/some/folder", ""), ("s3://b", "{"), ("s3://b", "[]"), ("s3://b", '{"no_such_option": "1"}'),
    ("s3://b", '{"endpoint": "http://x", "allow_http": "true"}'),
])
def test_settings_that_cannot_be_are_refused_without_showing_keys(tmp_path, url, options):
    with pytest.raises(BadInput) as refused:
        open_blobs(url, options, tmp_path)
    assert "secret" not in str(refused.value)


def test_the_folder_is_made_in_the_data_folder(tmp_path):
    blobs = open_blobs("", "", tmp_path / "data")
    digest = adopt(blobs, tmp_path, b"x")
    assert blobs.path(digest) == Path(tmp_path / "data" / "blobs" / digest[:2] / digest[2:4] / digest)
