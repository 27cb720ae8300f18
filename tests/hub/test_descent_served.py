"""What is kept as a difference is served by a real hub as any file is: to curl, to huggingface_hub, to llama.cpp."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llama_made import llama_gguf
from server import HubProcess
from test_descent import Place

from headwater import cli
from headwater.core.types import Pair
from headwater.storage.blobs import packed as packed_file
from headwater.storage.blobs.difference import FORMS, form_of, pack_block, unpack_block


@pytest.fixture
def served(tmp_path, clock):
    """(hub process, name of the child, its bytes): a small Llama whose last bytes were trained."""
    llama_gguf(tmp_path / "m.gguf", width=256)
    base = (tmp_path / "m.gguf").read_bytes()
    child = base[:-4000] + os.urandom(4000)
    place = Place(tmp_path / "data", clock)
    repo = place.push(child, place.push(base, path="m.gguf"), "m.gguf")
    assert place.run()["kept"] == 1 and not place.whole(repo)
    place.app.records.close()
    with HubProcess(tmp_path / "data", workers_max=1, worker_threads=1) as server:
        yield server, repo.full_name, child
    assert "Traceback" not in server.tail(), server.tail()


def test_curl_huggingface_hub_and_llama_cpp_are_served_what_is_kept_as_a_difference(served, tmp_path):
    server, name, child = served
    url = f"{server.url}/{name}/resolve/main/m.gguf"
    got = subprocess.run(["curl", "-sfL", "-r", "1000-1200000", url], capture_output=True, check=True).stdout
    assert got == child[1000:1200001]
    answer = httpx.get(url, headers={"Range": "bytes=-7"}, follow_redirects=True)
    assert answer.status_code == 206 and answer.content == child[-7:]
    from huggingface_hub import hf_hub_download

    path = hf_hub_download(name, "m.gguf", endpoint=server.url, local_dir=tmp_path / "got", token=False)
    assert Path(path).read_bytes() == child
    body = {"model": name, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 3}
    answer = httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=60)
    assert answer.status_code == 200, answer.text
    shutil.rmtree(tmp_path / "got")


def test_people_are_told_what_is_kept_as_a_difference_and_to_what(served, monkeypatch, capsys):
    server, name, child = served
    kept, = httpx.get(f"{server.url}/api/headwater/kept/{name}").json()
    assert kept["path"] == "m.gguf" and kept["size"] == len(child) and 4000 < kept["on_disk"] < len(child) / 4
    assert kept["base"] != name and httpx.get(f"{server.url}/api/headwater/kept/{kept['base']}").json() == []
    page = httpx.get(f"{server.url}/{name}/tree/main", headers={"accept": "text/html", "accept-language": "en"}).text
    assert "on disk: the difference to" in page and f'href="/{kept["base"]}"' in page
    monkeypatch.setenv("HEADWATER_URL", server.url)
    assert cli.run(["show", name]) == 0
    said = capsys.readouterr()
    assert f"the difference to {kept['base']}" in said.out and "made whole when the last repo" in said.err


@settings(max_examples=150, deadline=None)
@given(form=st.integers(0, len(FORMS) - 1), count=st.integers(1, 300), data=st.data())
def test_any_bytes_come_back_from_the_difference_to_any_others(form, count, data):
    size = count * FORMS[form].width
    near = data.draw(st.booleans())
    base = data.draw(st.binary(min_size=size, max_size=size))
    child = bytes([base[0] ^ 1]) + base[1:] if near else data.draw(st.binary(min_size=size, max_size=size))
    for given_base in (base, None):
        kind, packed = pack_block(child, given_base, form)
        assert len(packed) <= size and unpack_block(kind, packed, given_base, form, size) == child


@settings(max_examples=60, deadline=None)
@given(data=st.data(), size=st.integers(0, 900))
def test_any_range_of_any_file_over_any_pairs_is_what_a_slice_is(data, size):
    child, base = os.urandom(size), os.urandom(1000)
    cuts = sorted(data.draw(st.lists(st.integers(0, size), max_size=6, unique=True)))
    pairs = [Pair(a, b, data.draw(st.integers(0, 1000 - (b - a))), data.draw(st.sampled_from(["BF16", "F32", "U8"])))
             for a, b in zip(cuts[::2], cuts[1::2], strict=False)]
    block, packed_file.BLOCK = packed_file.BLOCK, 64
    target = Path("/dev/shm" if Path("/dev/shm").is_dir() else "/tmp") / f"packed-{os.getpid()}"
    try:
        spans = packed_file.spans_of(pairs, size)
        packed_file.write_packed(target, "0" * 64, "1" * 64, spans, lambda a, b: child[a:b], lambda a, b: base[a:b],
                                 most=1 << 30, tell=lambda _: None)
        whole = target.read_bytes()
        index = packed_file.read_index(len(whole), lambda a, b: whole[a:b])
        start, stop = data.draw(st.integers(0, size + 5)), data.draw(st.integers(0, size + 5))
        got = packed_file.read_range(index, lambda a, b: whole[a:b], lambda a, b: base[a:b], start, stop)
        assert b"".join(got) == child[start:stop] and index.size == size
    finally:
        packed_file.BLOCK = block
        target.unlink(missing_ok=True)


def test_the_order_of_the_numbers_is_the_order_of_the_floats():
    import numpy as np

    from headwater.storage.blobs.difference import _ordered

    values = np.array([-np.inf, -3.5, -1e-30, -0.0, 0.0, 1e-30, 2.0, np.inf], np.float32)
    ordered = _ordered(values.tobytes(), FORMS[form_of("F32")]).astype(np.int64)
    assert (np.diff(ordered) > 0).all()
