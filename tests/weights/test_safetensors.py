"""The reader of safetensors headers, with the `safetensors` package as witness."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st
from peak_memory import peak_of_reading

from headwater.core.errors import CorruptFile
from headwater.weights import jsontext
from headwater.weights.safetensors import BITS, read_header
from headwater.weights.source import BytesSource, FileSource, RangeSource


def file_of(header: object, data: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(dtype: str = "F32", shape: tuple[int, ...] = (2,), offsets: tuple[int, int] = (0, 8)) -> dict[str, object]:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


def refusal(data: bytes) -> str:
    with pytest.raises(CorruptFile) as caught:
        read_header(BytesSource(data))
    return caught.value.message


MODEL = {"w": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.zeros(3, np.float16), "n": np.array(7),
         "none": np.zeros((0, 4), np.int8)}
VALID = safetensors.numpy.save(MODEL, metadata={"format": "pt", "note": "水"})


def test_a_file_the_package_wrote_reads_back_with_its_bytes_in_place():
    header = read_header(BytesSource(VALID))
    assert header.format == "safetensors" and header.metadata == {"format": "pt", "note": "水"}
    assert {t.name: t.shape for t in header.tensors} == {name: array.shape for name, array in MODEL.items()}
    for tensor in header.tensors:
        assert VALID[tensor.start:tensor.stop] == MODEL[tensor.name].tobytes()
    assert header.parameters == {"I64": 1, "F32": 6, "F16": 3, "I8": 0}
    assert header.bytes_by_dtype == {"I64": 8, "F32": 24, "F16": 6, "I8": 0}
    assert header.parameter_count == 10


def test_only_the_header_is_read(tmp_path):
    asked = []

    def fetch(start: int, stop: int) -> bytes:
        asked.append((start, stop))
        return big[start:stop].ljust(stop - start, b"\0")

    big = file_of({"w": entry("U8", (10**12,), (0, 10**12))})
    assert read_header(RangeSource(len(big) + 10**12, fetch)).parameter_count == 10**12
    assert max(stop for _, stop in asked) <= 512

    (tmp_path / "m.safetensors").write_bytes(VALID)
    with FileSource(tmp_path / "m.safetensors") as file:
        assert read_header(file) == read_header(BytesSource(VALID))


@pytest.mark.parametrize("dtype", sorted(BITS))
def test_every_dtype_has_the_size_the_package_gives_it(dtype):
    """8 elements of a dtype of n bits take n bytes; the package refuses any other length."""
    data = file_of({"t": entry(dtype, (8,), (0, BITS[dtype]))}, bytes(BITS[dtype]))
    (name, tensor), = safetensors.deserialize(data)
    assert (name, tensor["dtype"], len(tensor["data"])) == ("t", dtype, BITS[dtype])
    assert read_header(BytesSource(data)).bytes_by_dtype == {dtype: BITS[dtype]}


def test_no_dtype_of_the_package_is_missing():
    with pytest.raises(safetensors.SafetensorError) as caught:
        safetensors.deserialize(file_of({"t": entry("nothing")}, bytes(8)))
    listed = str(caught.value).split("expected one of")[1].split(" at line")[0]
    assert {word.strip(" `") for word in listed.split(",")} == set(BITS)


CORRUPT = {
    "empty": (b"", "0 bytes"),
    "foreign": (b"PK\x03\x04" + bytes(60), "starts like a zip archive"),
    "pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:00", "starts like a Git LFS pointer"),
    "page": (b"<!DOCTYPE html><html>404</html>", "starts like a web page"),
    "short header": (VALID[:40], "longer than its file: bytes 0 to 7 say"),
    "2^63": (struct.pack("<Q", 1 << 63) + b"{}", "longer than its file: bytes 0 to 7 say 9223372036854775808"),
    "no brace": (struct.pack("<Q", 8) + b"garbage!" * 4, "byte 8 is 0x67"),
    "not utf-8": (file_of(b'{"\xff":1}'), "not UTF-8: byte 10 is 0xff"),
    "not json": (file_of(b'{"a":'), "not JSON: expecting value at byte 13"),
    "nested": (file_of(b'{"a":' + b"[" * 200_000 + b"]" * 200_000 + b"}"), "nested more than 100 deep"),
    "twice": (file_of(b'{"a":{},"a":{}}'), "names 'a' twice"),
    "dtype": (file_of({"a": entry("Q9")}, bytes(8)), "unknown dtype 'Q9'"),
    "past the end": (VALID[:-1], "reaches past the end"),
    "too much": (VALID + b"!", "1 bytes too many"),
    "overlap": (file_of({"a": entry(), "b": entry("F32", (1,), (4, 8))}, bytes(8)), "'a' and 'b' overlap"),
    "hole": (file_of({"a": entry(), "b": entry("F32", (1,), (12, 16))}, bytes(16)), "belong to no tensor"),
    "dimensions": (file_of({"a": entry("F32", (1 << 40, 1 << 40))}, bytes(8)), "impossible dimensions"),
    "negative": (file_of({"a": entry("F32", (-2,))}, bytes(8)), "not a list of whole numbers"),
    "size": (file_of({"a": entry("F32", (3,))}, bytes(8)), "takes 12 bytes, and its data_offsets give it 8"),
    "half a byte": (file_of({"a": entry("F4", (3,), (0, 2))}, bytes(2)), "does not end at a byte"),
    "field": (file_of({"a": {"dtype": "F32", "shape": [2]}}, bytes(8)), "no field 'data_offsets'"),
    "metadata": (file_of({"__metadata__": {"a": 1}}), "__metadata__ 'a' is a JSON int"),
    "digits": (file_of(b'{"a":{"dtype":"F32","shape":[' + b"9" * 9999 + b'],"data_offsets":[0,8]}}'), "the number 999"),
}


@pytest.mark.parametrize("name", CORRUPT)
def test_each_kind_of_damage_has_a_message_that_says_where(name):
    data, words = CORRUPT[name]
    assert words in refusal(data)
    with pytest.raises(safetensors.SafetensorError):
        safetensors.deserialize(data)


def test_a_field_nobody_knows_is_passed_over_unless_it_is_nested_too_deep():
    def nested(depth: int) -> bytes:
        return file_of({"a": entry() | {"x": json.loads("[" * depth + "]" * depth)}}, bytes(8))

    assert ours(nested(50)) == theirs(nested(50)) is not None
    assert "nested more than 100 deep" in refusal(nested(105))


def test_no_two_kinds_of_damage_share_a_message():
    assert len({refusal(data) for data, _ in CORRUPT.values()}) == len(CORRUPT)


def theirs(data: bytes) -> dict | None:
    try:
        return {name: (t["dtype"], tuple(t["shape"]), bytes(t["data"])) for name, t in safetensors.deserialize(data)}
    except safetensors.SafetensorError:
        return None


def ours(data: bytes) -> dict | None:
    try:
        header = read_header(BytesSource(data))
    except CorruptFile:
        return None
    return {t.name: (t.dtype, t.shape, data[t.start:t.stop]) for t in header.tensors}


edits = st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=4), st.integers(0, 4)), min_size=1, max_size=4)


@settings(max_examples=400, deadline=1000)
@given(edits)
def test_a_damaged_file_reads_as_the_package_reads_it_or_is_refused(edits):
    data = VALID
    for where, insert, drop in edits:
        at = int(where * len(data))
        data = data[:at] + insert + data[at + drop:]
    mine = ours(data)
    assert mine is None or mine == theirs(data)


@settings(max_examples=200, deadline=1000)
@given(st.integers(0, len(VALID) - 1), st.integers(0, 255))
def test_one_changed_byte_never_hides_a_file_the_package_reads(at, value):
    """Where we are stricter than the package it is on purpose: the same name twice."""
    data = VALID[:at] + bytes([value]) + VALID[at + 1:]
    mine, other = ours(data), theirs(data)
    if mine != other:
        assert mine is None and "twice" in refusal(data)


names = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
arrays = st.builds(lambda dtype, shape: np.zeros(shape, dtype), st.sampled_from(["f2", "f4", "f8", "i1", "i8", "?"]),
                   st.lists(st.integers(0, 3), max_size=4))


@settings(max_examples=100, deadline=2000)
@given(st.dictionaries(names, arrays, min_size=1, max_size=8), st.dictionaries(names, names, max_size=3))
def test_whatever_the_package_writes_is_read(model, metadata):
    """Not with no tensor at all: safetensors 0.8.0 then writes JSON it cannot read itself."""
    model = {f"t{name}": array for name, array in model.items()}
    data = safetensors.numpy.save(model, metadata=metadata)
    assert ours(data) == theirs(data)
    assert read_header(BytesSource(data)).metadata == metadata


def peak_of(data: bytes, folder: Path) -> int:
    (folder / "m.safetensors").write_bytes(data)
    return peak_of_reading(folder / "m.safetensors")


@pytest.mark.parametrize("item", [b'"ab",', b'{"a":1},'])
def test_the_worst_hostile_header_stays_under_the_memory_bound(item, tmp_path):
    """The two worst of nine kinds tried: 200 MB each."""
    count = min(jsontext.MAX_BYTES // len(item), jsontext.MAX_VALUES // sum(map(item.count, (b",", b":", b"[", b"{"))))
    assert peak_of(file_of(b'{"a":[' + item * (count - 8) + b"0]}"), tmp_path) < jsontext.MAX_MEMORY


def test_the_largest_header_that_is_read_stays_under_the_memory_bound(tmp_path):
    count = jsontext.MAX_VALUES // 13
    data = file_of({f"model.layers.{n}.mlp.experts.weight": entry("BF16", (0, 8), (0, 0)) for n in range(count)})
    assert len(read_header(BytesSource(data)).tensors) == count
    assert peak_of(data, tmp_path) < jsontext.MAX_MEMORY


def test_one_value_more_is_refused():
    assert "values; at most" in refusal(file_of(b'{"a":[' + b"0," * jsontext.MAX_VALUES + b"0]}"))
