"""A stranger's model is read in a process of its own, and ends in a fingerprint or in a reason."""

from __future__ import annotations

import json
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from trace_made import made, print_of, save_gguf, save_hf

from headwater.core.errors import Unavailable
from headwater.core.work import Cancelled
from headwater.trace import reading
from headwater.trace.fingerprint import Fingerprint
from headwater.trace.reading import CannotRead, ModelFile, digest_of, folder_files, model_files, read_apart


def test_a_child_makes_the_fingerprint_this_process_would_make_and_tells_how_far_it_is(tmp_path):
    folder, told = save_hf(tmp_path / "m", made(0)), []
    data = read_apart(folder_files(folder), tell=lambda *point: told.append(point))
    theirs, ours = (replace(made, bytes_read=0) for made in (Fingerprint.from_bytes(data), print_of(folder)))
    assert theirs.to_bytes() == ours.to_bytes() and told[-1] == (5, 5)


def test_bytes_that_are_not_on_this_machine_are_asked_for_by_range_and_make_the_same(tmp_path):
    folder, asked = save_hf(tmp_path / "m", made(0, layers=2)), []
    files = {path: ModelFile(file.size) for path, file in folder_files(folder).items()}

    def read(path, start, stop):
        asked.append(stop - start)
        return (folder / path).read_bytes()[start:stop]

    theirs, ours = Fingerprint.from_bytes(read_apart(files, read)), print_of(folder)
    assert [y.gate.tolist() for y in theirs.layers] == [y.gate.tolist() for y in ours.layers]
    assert theirs.tensors.tolist() == ours.tensors.tolist()
    with pytest.raises(CannotRead, match="not at hand"):
        read_apart(files)

    def lost(path, start, stop):
        raise Unavailable("The bytes are lost.")

    with pytest.raises(Unavailable, match="The bytes are lost"):  # that is not the model's fault
        read_apart(files, lost)


def test_the_tokens_of_a_file_without_any_are_asked_for_by_their_number(tmp_path):
    folder, asked = save_hf(tmp_path / "m", made(0, layers=2)), []
    words_of = (folder / "vocab.json").read_bytes()
    (folder / "vocab.json").unlink()

    def guess(rows):
        asked.append(rows)
        return "vocab.json", words_of

    found = Fingerprint.from_bytes(read_apart(folder_files(folder), guess=guess))
    assert asked == [3000] and found.frame and "were tried" in " ".join(found.notes)
    assert not Fingerprint.from_bytes(read_apart(folder_files(folder))).frame


def header(tensors: dict, data: bytes = b"") -> bytes:
    text = json.dumps(tensors).encode()
    return len(text).to_bytes(8, "little") + text + data


HOSTILE = {
    "random": os.urandom(4000),
    "empty": b"",
    "a header of 2^63 bytes": (2**63).to_bytes(8, "little") + b"{}",
    "a shape of 2^60": header({"w": {"dtype": "F32", "shape": [2**30, 2**30], "data_offsets": [0, 4]}}, b"\0" * 4),
    "too wide": header({"w": {"dtype": "F32", "shape": [0, 2**40], "data_offsets": [0, 0]}}),
    "negative": header({"w": {"dtype": "F32", "shape": [-1, 4], "data_offsets": [0, 16]}}, b"\0" * 16),
    "deep": b"\x10\x27\0\0\0\0\0\0" + b"[" * 10_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_end_in_a_reason(name, tmp_path):
    (tmp_path / "model.safetensors").write_bytes(HOSTILE[name])
    try:
        found = Fingerprint.from_bytes(read_apart(folder_files(tmp_path)))
    except CannotRead as error:
        assert 10 < len(error.message) < 1000
    else:
        assert not found.layers


def test_a_model_of_nan_has_a_fingerprint(tmp_path):
    one = made(0, layers=1)
    one.layers[0]["gate"][:] = np.nan
    assert read_apart(folder_files(save_hf(tmp_path / "m", one)))


def test_a_vocabulary_that_takes_all_memory_ends_in_a_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "MEMORY", 190 << 20)
    folder = save_hf(tmp_path / "m", made(0, layers=1))
    (folder / "vocab.json").write_text(json.dumps({f"word{n:055}": n for n in range(200_000)}))
    with pytest.raises(CannotRead, match=r"memory|stopped|broke"):
        read_apart(folder_files(folder))


def test_a_child_that_takes_too_long_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "SECONDS", 0)
    with pytest.raises(CannotRead):
        read_apart(folder_files(save_hf(tmp_path / "m", made(0, layers=1))))


def test_who_listens_may_stop_it(tmp_path):
    def stop(done, total):
        raise Cancelled("cancel")

    start = time.monotonic()
    with pytest.raises(Cancelled):
        read_apart(folder_files(save_hf(tmp_path / "m", made(0))), tell=stop)
    assert time.monotonic() - start < 10


def test_a_set_of_files_is_known_by_what_a_fingerprint_depends_on():
    files = {path: ModelFile(9, digest) for path, digest in (
        ("model.safetensors", "a"), ("README.md", "b"), ("config.json", "c"), ("tokenizer.json", "d"),
        ("runs/events.txt", "e"), ("onnx/model.onnx", "f"), ("onnx/model.onnx_data", "g"))}
    kept = model_files(files)
    assert list(kept) == ["config.json", "model.safetensors", "onnx/model.onnx", "onnx/model.onnx_data",
                          "tokenizer.json"]
    assert digest_of(kept) == digest_of(model_files({**files, "README.md": ModelFile(1, "z")}))
    assert digest_of(kept) != digest_of({**kept, "config.json": ModelFile(9, "C")})
    assert model_files({"README.md": ModelFile(1), "config.json": ModelFile(1), "optimizer.pt": ModelFile(1)}) == {}


def test_one_file_is_a_model_and_a_folder_without_weights_is_none(tmp_path):
    folder = save_gguf(tmp_path / "g", made(0, layers=1))
    assert list(folder_files(folder / "model.gguf")) == ["model.gguf"]
    one = save_hf(tmp_path / "h", made(0, layers=1)) / "model.safetensors"
    assert list(folder_files(one)) == ["model.safetensors", "vocab.json"]
    (tmp_path / "none").mkdir()
    with pytest.raises(CannotRead, match="no weights"):
        folder_files(Path(tmp_path / "none"))
