"""The reader of GGUF headers, with the `gguf` package as witness and as writer."""

import contextlib
import struct
from pathlib import Path

import gguf as witness
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peak_memory import peak_of_reading
from real_models import smollm2_gguf

from headwater.core.errors import CorruptFile
from headwater.weights import gguf
from headwater.weights.ggml_types import FILE_TYPES, REMOVED_TENSOR_TYPES, TENSOR_TYPES
from headwater.weights.gguf import read_header
from headwater.weights.header import Clip
from headwater.weights.source import BytesSource, FileSource, RangeSource

U32, U64, F32, BOOL, STR, ARR = 4, 10, 6, 7, 8, 9


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def entry(key: str | bytes, kind: int, value: bytes) -> bytes:
    return text(key) + struct.pack("<I", kind) + value


def info(name: str | bytes, dims: tuple[int, ...] = (8,), number: int = 0, offset: int = 0) -> bytes:
    head = text(name) + struct.pack("<I", len(dims)) + struct.pack(f"<{len(dims)}Q", *dims)
    return head + struct.pack("<IQ", number, offset)


def made(entries: list[bytes] = (), infos: list[bytes] = (), data: bytes = b"", *, version: int = 3,
         counts: tuple[int, int] | None = None) -> bytes:
    tensors, keys = counts or (len(infos), len(entries))
    head = b"GGUF" + struct.pack("<IQQ", version, tensors, keys) + b"".join(entries) + b"".join(infos)
    return head + bytes(-len(head) % 32) + data


def refusal(data: bytes) -> str:
    with pytest.raises(CorruptFile) as caught:
        read_header(BytesSource(data))
    return caught.value.message


def written(path: Path) -> bytes:
    """A small file with every kind of value and several kinds of tensor, made by the package."""
    writer = witness.GGUFWriter(path, "llama")
    writer.add_string("general.name", "水 model")
    writer.add_uint8("x.u8", 250)
    writer.add_int8("x.i8", -3)
    writer.add_uint16("x.u16", 65000)
    writer.add_int16("x.i16", -300)
    writer.add_uint32("llama.block_count", 2)
    writer.add_int32("x.i32", -70000)
    writer.add_float32("x.f32", 0.5)
    writer.add_bool("x.bool", True)
    writer.add_uint64("x.u64", 1 << 63)
    writer.add_int64("x.i64", -(1 << 62))
    writer.add_float64("x.f64", 1e300)
    writer.add_array("tokenizer.ggml.tokens", [f"t{n}" for n in range(300)])
    writer.add_array("tokenizer.ggml.scores", [0.25 * n for n in range(300)])
    writer.add_array("x.short", [1, 2, 3])
    writer.add_tensor("token_embd.weight", np.arange(64, dtype=np.float32).reshape(4, 16))
    writer.add_tensor("half", np.ones((2, 3, 5), np.float16))
    packed = witness.quants.quantize(np.ones((3, 64), np.float32), witness.GGMLQuantizationType.Q8_0)
    writer.add_tensor("packed", packed, raw_dtype=witness.GGMLQuantizationType.Q8_0)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path.read_bytes()


@pytest.fixture(scope="module")
def valid(tmp_path_factory) -> bytes:
    return written(tmp_path_factory.mktemp("gguf") / "small.gguf")


def theirs(path: Path) -> tuple[dict, dict]:
    reader = witness.GGUFReader(path)
    fields = {name: field.contents() for name, field in reader.fields.items() if not name.startswith("GGUF.")}
    tensors = {t.name: (t.tensor_type.name, tuple(reversed(t.shape.tolist())), t.data_offset, t.data_offset + t.n_bytes)
               for t in reader.tensors}
    return fields, tensors


def same(mine: object, other: object) -> bool:
    if isinstance(mine, Clip):
        return len(other) == mine.length and list(mine.first) == other[:len(mine.first)]
    if isinstance(mine, tuple):
        return list(mine) == (other or [])
    return mine == other or mine != mine


def assert_same(data: bytes, path: Path) -> None:
    header = read_header(BytesSource(data))
    fields, tensors = theirs(path)
    assert header.metadata.keys() == fields.keys()
    assert all(same(value, fields[key]) for key, value in header.metadata.items())
    assert {t.name: (t.dtype, t.shape, t.start, t.stop) for t in header.tensors} == tensors


def test_a_file_the_package_wrote_reads_as_the_package_reads_it(valid, tmp_path):
    (tmp_path / "m.gguf").write_bytes(valid)
    assert_same(valid, tmp_path / "m.gguf")
    header = read_header(BytesSource(valid))
    assert header.version == 3 and header.metadata["x.u64"] == 1 << 63 and header.metadata["x.bool"] is True
    assert header.metadata["tokenizer.ggml.tokens"] == Clip(tuple(f"t{n}" for n in range(gguf.MAX_ITEMS)), 300)
    assert header.parameters == {"F32": 64, "F16": 30, "Q8_0": 192}
    assert header.bytes_by_dtype == {"F32": 256, "F16": 60, "Q8_0": 204}


def test_version_2_reads_the_same(valid):
    second = valid[:4] + struct.pack("<I", 2) + valid[8:]
    assert read_header(BytesSource(second)).tensors == read_header(BytesSource(valid)).tensors
    assert read_header(BytesSource(second)).version == 2


def test_a_real_model_reads_as_the_package_reads_it():
    with FileSource(smollm2_gguf()) as source:
        header = read_header(source)
    fields, tensors = theirs(smollm2_gguf())
    assert header.metadata.keys() == fields.keys()
    assert all(same(value, fields[key]) for key, value in header.metadata.items())
    assert {t.name: (t.dtype, t.shape, t.start, t.stop) for t in header.tensors} == tensors
    assert header.parameter_count == 134_515_008
    assert header.bytes_by_dtype == {"Q8_0": 30_081_024, "F32": 140_544, "Q4_1": 66_355_200}


def test_a_real_header_is_read_in_windows_and_no_tensor_data_with_it():
    asked = []
    with FileSource(smollm2_gguf()) as file:
        source = RangeSource(file.size, lambda start, stop: asked.append((start, stop)) or file.read(start, stop))
        header = read_header(source)
    assert header.data_start == 1_785_664
    assert sum(stop - start for start, stop in asked) < header.data_start + (2 << 20)


def test_block_sizes_are_the_packages():
    sizes = {int(t): (t.name, *witness.GGML_QUANT_SIZES[t]) for t in witness.GGMLQuantizationType}
    assert sizes == TENSOR_TYPES
    assert not REMOVED_TENSOR_TYPES.keys() & TENSOR_TYPES.keys()


def test_file_types_are_the_packages():
    names = {int(t): t.name.removeprefix("MOSTLY_").removeprefix("ALL_") for t in witness.LlamaFileType}
    names.pop(1024)
    assert names == FILE_TYPES


def test_the_first_items_of_an_array_are_kept_and_its_length():
    long = entry("a", ARR, struct.pack("<IQ", U32, 1000) + struct.pack("<1000I", *range(1000)))
    header = read_header(BytesSource(made([long])))
    assert header.metadata["a"] == Clip(tuple(range(gguf.MAX_ITEMS)), 1000)


def test_a_string_past_the_budget_is_clipped_with_its_length(monkeypatch):
    monkeypatch.setattr(gguf, "MAX_TEXT", 1000)
    data = made([entry("a", STR, text("x" * 900)), entry("b", STR, text("水" * 900)), entry("c", U32, bytes(4))])
    metadata = read_header(BytesSource(data)).metadata
    assert metadata["a"] == "x" * 900 and metadata["c"] == 0
    assert metadata["b"].length == 2700 and metadata["b"].first.startswith("水" * 80)


def test_a_piece_of_a_character_in_a_token_is_no_error():
    tokens = entry("t", ARR, struct.pack("<IQ", STR, 2) + text(b"\xe6\xb0") + text("ok"))
    assert read_header(BytesSource(made([tokens]))).metadata["t"] == ("\ufffd", "ok")


DATA = bytes(32)
CORRUPT = {
    "empty": (b"", "starts with nothing"),
    "magic": (b"PK\x03\x04" + bytes(60), "It starts like a zip archive"),
    "safetensors": (struct.pack("<Q", 2) + b"{}", "It starts like a safetensors file"),
    "old": (b"tjgg" + bytes(20), "It starts like an old GGML file"),
    "version 1": (b"GGUF" + struct.pack("<I", 1) + bytes(40), "version 1 at byte 4"),
    "version 77": (b"GGUF" + struct.pack("<I", 77) + bytes(40), "version 77 at byte 4"),
    "big-endian": (b"GGUF" + struct.pack(">I", 3) + bytes(40), "big-endian"),
    "cut": (made([entry("a", U32, bytes(4))])[:30], "cut short: the length of a metadata key"[:10]),
    "tensors": (made(counts=(1 << 60, 0)), "1152921504606846976 tensors"),
    "keys": (made(counts=(0, 1 << 60)), "1152921504606846976 metadata entries"),
    "string": (made([entry("a", STR, struct.pack("<Q", 1 << 62))]), "'a' at byte 45 takes 4611686018427387904 bytes"),
    "array": (made([entry("a", ARR, struct.pack("<IQ", F32, 1 << 61))]), "takes 9223372036854775808 bytes"),
    "key length": (made([entry(b"k" * 70000, U32, bytes(4))]), "70000 bytes long; at most 65535"),
    "value type": (made([entry("a", 13, bytes(8))]), "unknown type 13"),
    "item type": (made([entry("a", ARR, struct.pack("<IQ", 99, 1) + bytes(8))]), "items of the unknown type 99"),
    "nested": (made([entry("a", ARR, struct.pack("<IQ", ARR, 1) + bytes(12))]), "array of arrays"),
    "bool": (made([entry("a", BOOL, b"\x02")]), "is 2; a true-or-false value"),
    "utf-8": (made([entry("a", STR, text(b"ok\xff"))]), "not UTF-8: byte 47 is 0xff"),
    "key twice": (made([entry("a", U32, bytes(4))] * 2), "'a' stands twice; the second is at byte 41"),
    "alignment": (made([entry("general.alignment", U32, struct.pack("<I", 24))]), "power of two"),
    "rank": (made([], [info("t", (1, 1, 1, 1, 1, 1))], DATA), "impossible dimensions: byte 33 says 6"),
    "elements": (made([], [info("t", (1 << 40, 1 << 40))], DATA), "more than 2^64 elements"),
    "block": (made([], [info("t", (48,), 2)], DATA), "Q4_0 comes in blocks of 32"),
    "type": (made([], [info("t", (8,), 77)], DATA), "unknown type 77 at byte 45"),
    "removed type": (made([], [info("t", (8,), 31)], DATA), "Q4_0_4_4, removed from the format"),
    "twice": (made([], [info("t"), info("t", offset=32)], DATA * 2), "two tensors are named 't'"),
    "unaligned": (made([], [info("t", offset=4)], DATA * 2), "no multiple of the alignment 32"),
    "past the end": (made([], [info("t", offset=32)], DATA), "reaches past the end"),
    "2^64": (made([], [info("t", offset=(1 << 64) - 32)], DATA), "reaches past the end: its data end at byte 1844"),
    "overlap": (made([], [info("t", (16,)), info("u", offset=32)], DATA * 2), "'t' and 'u' overlap"),
}


@pytest.mark.parametrize("name", CORRUPT)
def test_each_kind_of_damage_has_a_message_that_says_where(name):
    data, words = CORRUPT[name]
    assert words in refusal(data)


def test_no_two_kinds_of_damage_share_a_message():
    assert len({refusal(data) for data, _ in CORRUPT.values()}) == len(CORRUPT)


def test_every_cut_of_a_header_is_refused(valid):
    start = read_header(BytesSource(valid)).data_start
    for length in [*range(0, 200), *range(200, start, 37)]:
        refusal(valid[:length])


@settings(max_examples=300, deadline=2000, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(edits=st.lists(st.tuples(st.floats(0, 1), st.binary(max_size=4), st.integers(0, 4)), min_size=1, max_size=4),
       keep_length=st.booleans())
def test_a_damaged_file_reads_as_the_package_reads_it_or_is_refused(valid, tmp_path, edits, keep_length):
    data, header_bytes = valid, read_header(BytesSource(valid)).data_start
    for where, insert, drop in edits:
        at = int(where * header_bytes)
        data = data[:at] + insert + data[at + (len(insert) if keep_length else drop):]
    try:
        read_header(BytesSource(data))
    except CorruptFile:
        return
    (tmp_path / "m.gguf").write_bytes(data)
    with contextlib.suppress(UnicodeDecodeError):  # the package will not decode a token that is a piece of a character
        assert_same(data, tmp_path / "m.gguf")


@settings(max_examples=150, deadline=2000)
@given(st.binary(max_size=400))
def test_any_bytes_after_the_magic_are_answered_or_refused(tail):
    for version in (2, 3):
        try:
            read_header(BytesSource(b"GGUF" + struct.pack("<I", version) + tail))
        except CorruptFile as error:
            assert len(str(error)) < 600


def hostile_text() -> bytes:
    long = ("x" * ((8 << 20) - 4) + "🌊").encode()
    return made([entry("a", STR, text(long)), entry("b", STR, text(long))])


def hostile_items() -> bytes:
    array = struct.pack("<IQ", 12, gguf.MAX_ITEMS) + struct.pack("<d", 1.5) * gguf.MAX_ITEMS
    return made([entry(str(n), ARR, array) for n in range(gguf.MAX_KEYS)])


def hostile_names() -> bytes:
    pad = "n" * 120
    return made([], [info(f"{pad}{n}🌊", (0, 1 << 40, 1, 1)) for n in range(gguf.MAX_TENSORS)])


@pytest.mark.parametrize("make", [hostile_text, hostile_items, hostile_names])
def test_a_header_full_of_what_is_kept_stays_under_the_memory_bound(make, tmp_path):
    (tmp_path / "m.gguf").write_bytes(make())
    assert peak_of_reading(tmp_path / "m.gguf") < gguf.MAX_MEMORY


def test_millions_of_tokens_are_stepped_over_and_more_are_refused(monkeypatch):
    def tokens(count: int) -> bytes:
        return made([entry("t", ARR, struct.pack("<IQ", STR, count) + bytes(8 * count))])

    assert read_header(BytesSource(tokens(500_000))).metadata["t"].length == 500_000
    monkeypatch.setattr(gguf, "MAX_STRINGS", 1000)
    assert "past 1000" in refusal(tokens(1001))


def test_a_header_that_never_ends_is_given_up(monkeypatch):
    monkeypatch.setattr(gguf, "MAX_HEADER", 4096)
    assert "only the first 4096 bytes" in refusal(made([entry("a", STR, text("x" * 9000))]))
