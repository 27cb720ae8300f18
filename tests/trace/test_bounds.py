"""What a fingerprint may cost: memory, bytes, requests; and what hostile files end in."""

import contextlib
import json
import mmap
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trace_made import hf_tensors, made, print_of, save, save_gguf, save_hf

from headwater.core.errors import CorruptFile, HeadwaterError
from headwater.trace.agree import agree
from headwater.trace.fingerprint import Fingerprint
from headwater.trace.make import MEMORY, make_fingerprint
from headwater.weights.source import BytesSource, FileSource, MappedSource, RangeSource

_CHILD = """
import sys
from pathlib import Path
from headwater.trace.make import make_fingerprint
from headwater.weights.source import FileSource, MappedSource

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))

folder = Path(sys.argv[1])
source = {"FileSource": FileSource, "MappedSource": MappedSource}[sys.argv[2]]
before = peak()
make_fingerprint(lambda p: source(folder / p), {p.name: p.stat().st_size for p in folder.iterdir()})
print(peak() - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("source", ["FileSource", "MappedSource"])
def test_memory_stays_under_its_bound_for_a_wide_model(tmp_path, source):
    """0.7 GB of holes: one layer as wide as a model of 70 billion parameters, and its embedding."""
    width, inner, vocabulary = 8192, 10_240, 16_000
    shapes = {"model.embed_tokens.weight": (vocabulary, width)} | {
        f"model.layers.0.mlp.{name}_proj.weight": shape for name, shape in
        (("gate", (inner, width)), ("up", (inner, width)), ("down", (width, inner)))}
    header, at = {}, 0
    for name, shape in shapes.items():
        size = 2 * shape[0] * shape[1]
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    with open(tmp_path / "model.safetensors", "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + at)
    save_words(tmp_path, vocabulary)
    run = subprocess.run([sys.executable, "-c", _CHILD, str(tmp_path), source], capture_output=True, text=True,
                         check=True)
    assert int(run.stdout) < MEMORY


def test_two_threads_over_files_in_place_make_what_one_makes_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(MappedSource, "WINDOW", mmap.ALLOCATIONGRANULARITY)  # so that each looks through many
    save_hf(tmp_path, made(seed=3, layers=9))
    files = {p.name: p.stat().st_size for p in tmp_path.iterdir()}
    in_order = make_fingerprint(lambda p: FileSource(tmp_path / p), files)
    told: list[tuple[int, int]] = []
    for _ in range(5):
        beside = make_fingerprint(lambda p: MappedSource(tmp_path / p), files, lambda *step: told.append(step))
        assert replace(beside, bytes_read=0).to_bytes() == replace(in_order, bytes_read=0).to_bytes()
    assert told == 5 * [(n, 10) for n in range(1, 11)]


_WINDOWS = """
import resource, sys, threading
from pathlib import Path
from headwater.weights.source import MappedSource

resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
sources = [MappedSource(path) for path in sorted(Path(sys.argv[1]).iterdir())]

def look():
    for _ in range(3):
        for number, source in enumerate(sources):
            assert bytes(source.view(0, 8, 8)) == number.to_bytes(8, "little")

threads = [threading.Thread(target=look) for _ in range(2)]
for each in threads:
    each.start()
for each in threads:
    each.join()
look()
print("seen")
"""


def test_a_model_of_very_many_files_is_looked_at_in_the_address_space_of_a_child(tmp_path):
    for number in range(120):
        with open(tmp_path / f"{number:03}.bin", "wb") as file:  # its number, and a hole behind it
            file.write(number.to_bytes(8, "little"))
            file.truncate(80 << 20)
    run = subprocess.run([sys.executable, "-c", _WINDOWS, str(tmp_path)], capture_output=True, text=True, check=False)
    assert run.stdout == "seen\n" and not run.stderr


def test_a_pass_that_is_stopped_from_outside_ends_and_says_so(tmp_path):
    save_hf(tmp_path, made(seed=3, layers=9))
    files = {p.name: p.stat().st_size for p in tmp_path.iterdir()}

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_fingerprint(lambda p: MappedSource(tmp_path / p), files, stop)


def save_words(folder: Path, count: int) -> None:
    letters = [chr(97 + n) for n in range(26)]
    strings = [f"Ġ{a}{b}{c}{d}" for a in letters for b in letters for c in letters for d in letters[:2]]
    (folder / "vocab.json").write_text(json.dumps({word: n for n, word in enumerate(strings[:count])}))


def test_ranges_of_a_remote_model_give_the_same_fingerprint(tmp_path):
    folder = save_hf(tmp_path, made(0))
    stored = {p.name: p.read_bytes() for p in folder.iterdir()}
    asked = []

    def remote(path):
        def fetch(start, stop):
            asked.append(stop - start)
            return stored[path][start:stop]
        return RangeSource(len(stored[path]), fetch)

    found = make_fingerprint(remote, {name: len(data) for name, data in stored.items()})
    local = print_of(folder)
    assert replace(found, bytes_read=0).to_bytes() == replace(local, bytes_read=0).to_bytes()
    assert sum(asked) == found.bytes_read


def test_a_model_of_few_words_is_read_in_part(tmp_path):
    model = made(0, d=1024, f=2048, layers=2, vocabulary=14_000)
    found = print_of(save_hf(tmp_path, model))
    assert found.bytes_read < 0.5 * found.total_bytes


def test_a_model_without_a_tokenizer_says_what_is_missing(tmp_path):
    folder = save_hf(tmp_path, made(0))
    (folder / "vocab.json").unlink()
    found = print_of(folder)
    assert found.layers[0].gate is None and len(found.layers[0].raw["gate"])
    assert any("no token strings" in note for note in found.notes)
    assert agree(found, found).median is None


def test_progress_is_told_by_layers(tmp_path):
    folder, told = save_hf(tmp_path, made(0)), []
    data = {p.name: p.read_bytes() for p in folder.iterdir()}
    make_fingerprint(lambda p: BytesSource(data[p]), {n: len(d) for n, d in data.items()},
                     lambda done, total: told.append((done, total)))
    assert told == [(n, 5) for n in range(1, 6)]


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 6e4, 0.0])
@pytest.mark.filterwarnings("error")
def test_tensors_of_strange_numbers_give_a_fingerprint_and_no_false_agreement(tmp_path, value):
    model = made(0)
    whole = print_of(save_hf(tmp_path / "a", model))
    tensors = {name: np.full_like(array, value) for name, array in hf_tensors(model).items()}
    strange = print_of(save(tmp_path / "b", tensors, model.words))
    assert agree(whole, strange).median <= 0.05
    assert agree(strange, whole).median <= 0.05


def test_files_that_are_no_model_are_refused(tmp_path):
    for files in ({}, {"readme.md": b"x"}, {"model.safetensors": b""}, {"model.gguf": b"GGUF"},
                  {"model.onnx": b"\xff"}, {"pytorch_model.bin": b"PK\x03\x04"},
                  {"model.safetensors.index.json": b'{"weight_map": {"a": "a.safetensors"}}'}):
        with pytest.raises(CorruptFile):
            make_fingerprint(lambda p, f=files: BytesSource(f[p]), {n: len(d) for n, d in files.items()})


SMALL = made(0, d=32, f=64, layers=1, vocabulary=200)


@pytest.fixture(scope="module")
def small_files(tmp_path_factory):
    folders = [save_hf(tmp_path_factory.mktemp("hf"), SMALL), save_gguf(tmp_path_factory.mktemp("gguf"), SMALL, "Q8_0")]
    return [{p.name: p.read_bytes() for p in folder.iterdir()} for folder in folders]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 1), st.integers(0, 3000), st.binary(min_size=1, max_size=6))
def test_whatever_bytes_are_changed_the_pass_ends_in_a_fingerprint_or_a_told_error(small_files, which, at, change):
    files = dict(small_files[which])
    name = max(files, key=lambda n: len(files[n]))
    data = files[name]
    files[name] = data[:at] + change + data[at + len(change):]
    with contextlib.suppress(HeadwaterError):
        made_now = make_fingerprint(lambda p: BytesSource(files[p]), {n: len(d) for n, d in files.items()})
        Fingerprint.from_bytes(made_now.to_bytes())
