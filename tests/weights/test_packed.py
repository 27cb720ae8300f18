"""Packed matrices are read as the tools that packed them read them, in any window, and lies about them are refused."""

import json
import re
from pathlib import Path

import numpy as np
import packed_made
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file
from safetensors.numpy import save as to_bytes

from headwater.core.errors import CorruptFile
from headwater.trace.reader import Reader
from headwater.trace.roles import Matrix
from headwater.weights.packed import columns
from headwater.weights.packed.bits import stored_rows, unpack
from headwater.weights.source import BytesSource, FileSource, MappedSource, RangeSource

FILES = Path(__file__).parent / "packed_files"
FORMS = sorted(path.stem for path in FILES.glob("*.safetensors"))
ROWS = [int(n) for n in re.search(r"^ROWS = \[(.*)\]$", (FILES / "make.py").read_text(), re.M)[1].split(",")]
HALF_PRECISION = ("awq", "gptq", "ct_nvfp4")
"""Tools that multiply in 16 bits; the others are met to the last bit of float32, or the one before."""


def kept(form):
    """(the tensors as the tool stores them, bytes of them as a model, what the tool reads in ROWS)."""
    data = (FILES / f"{form}.safetensors").read_bytes()
    size = int.from_bytes(data[:8], "little")
    head = json.loads(data[8:8 + size])
    start, stop = head["expected"]["data_offsets"]
    return head, np.frombuffer(data[8 + size + start:8 + size + stop], "<f4").reshape(head["expected"]["shape"])


def opened(form, source=FileSource):
    files = {"model.safetensors": FILES / f"{form}.safetensors", "config.json": FILES / f"{form}.json"}
    return Reader(lambda name: source(files[name]), {name: path.stat().st_size for name, path in files.items()})


def matrix_of(reader):
    found = [tensor for tensor in reader.header.tensors if tensor.name != "expected"]
    assert [tensor.name for tensor in found] == ["x.weight"]
    return Matrix(found[0])


def far(path):
    return RangeSource(path.stat().st_size, lambda start, stop: path.read_bytes()[start:stop])


@pytest.mark.parametrize("source", [FileSource, MappedSource, far])
@pytest.mark.parametrize("form", FORMS)
def test_a_packed_matrix_is_read_as_the_tool_that_packed_it_reads_it(form, source):
    expected = kept(form)[1]
    with opened(form, source) as reader:
        found = reader.rows(matrix_of(reader), np.array(ROWS))
    most = np.abs(expected).max()
    assert np.abs(found - expected).max() <= most * (2**-8 if form.startswith(HALF_PRECISION) else 2**-22)


@pytest.mark.parametrize("form", FORMS)
def test_every_way_of_asking_gives_the_same_numbers(form, monkeypatch):
    monkeypatch.setattr(columns, "PANEL_BYTES", 1)
    with opened(form) as reader:
        matrix = matrix_of(reader)
        whole = reader.rows(matrix, np.arange(64))
        asked = np.array([63, 0, 33, 31, 32, 5])
        assert np.array_equal(reader.rows(matrix, asked), whole[asked])
        assert np.array_equal(reader.rows(Matrix(matrix.tensor, True), asked), whole[:, asked].T)
        assert np.array_equal(reader.corner(matrix, np.arange(7, 41), 70), whole[7:41, :70])
        assert np.array_equal(reader.corner(Matrix(matrix.tensor, False, (1, 64), 2), np.arange(9), 20),
                              whole[1:19:2, :20])
        assert np.array_equal(reader.corner(Matrix(matrix.tensor, True), np.arange(30, 50), 9), whole[:9, 30:50].T)
        assert np.allclose(reader.squares(matrix, None, None, 50), (whole[:, :50] ** 2).sum(1), rtol=1e-5)
        halves = Matrix(matrix.tensor, False, (32, 64))
        assert np.array_equal(reader.rows(halves, np.array([0, 31])), whole[[32, 63]])


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 8), st.integers(1, 70), st.integers(0, 2**32 - 1))
def test_numbers_of_any_bits_come_out_of_words_as_they_went_in(bits, count, seed):
    codes = np.random.default_rng(seed).integers(0, 1 << bits, (2, count))
    whole = [sum(int(code) << (bits * n) for n, code in enumerate(row)) for row in codes]
    words = -(-count * bits // 32)
    packed = np.array([list(number.to_bytes(4 * words, "little")) for number in whole], np.uint8)
    assert np.array_equal(unpack(packed, bits)[:, :count], codes)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 99), min_size=1, max_size=30), st.integers(1, 40), st.data())
def test_bytes_of_chosen_rows_come_in_the_order_asked(numbers, row_bytes, data):
    low = data.draw(st.integers(0, row_bytes - 1))
    high = data.draw(st.integers(low + 1, row_bytes))
    stored = np.random.default_rng(0).integers(0, 256, 3 + 100 * row_bytes).astype(np.uint8)
    source = BytesSource(stored.tobytes())
    source.gap_bytes = data.draw(st.integers(0, 200))
    found = stored_rows(source, 3, row_bytes, np.array(numbers), low, high)
    assert np.array_equal(found, stored[3:].reshape(100, row_bytes)[numbers, low:high])


@pytest.mark.parametrize(("form", "packer"), [
    ("gptq4", packed_made.gptq), ("awq", packed_made.awq), ("bnb_nf4", packed_made.nf4),
    ("bnb_int8", packed_made.int8)])
def test_what_the_tests_pack_lies_in_the_files_as_the_tools_lay_it(form, packer):
    """The codes, packed once more from what the tool's file says, in a matrix whose scales come out the same."""
    with opened(form) as reader:
        whole = reader.rows(matrix_of(reader), np.arange(64))
    ours = packer("x.weight", whole)
    with reader_of({name: np.ascontiguousarray(array) for name, array in ours.items()}) as reader:
        again = reader.rows(matrix_of(reader), np.arange(64))
    assert np.abs(again - whole).max() < np.abs(whole).max() * 0.01
    name = next(name for name in ours if name.endswith(("qweight", "x.weight")))
    assert alike(ours[name], load_file(FILES / f"{form}.safetensors")[name]) > 0.9


def test_words_of_mlx_and_compressed_tensors_are_packed_as_they_pack_them():
    stored = load_file(FILES / "mlx4.safetensors")
    scales, biases = (stored[f"x.{name}"].repeat(32, axis=1) for name in ("scales", "biases"))
    with opened("mlx4") as reader:
        codes = np.round((reader.rows(matrix_of(reader), np.arange(64)) - biases) / scales).astype(int)
    assert alike(packed_made.words(codes, 4), stored["x.weight"]) == 1
    stored = load_file(FILES / "ct_int4.safetensors")
    with opened("ct_int4") as reader:
        whole = reader.rows(matrix_of(reader), np.arange(64))
    codes = np.round(whole / stored["x.weight_scale"].repeat(32, axis=1)).astype(int) + 8
    assert alike(packed_made.words(codes, 4), stored["x.weight_packed"]) == 1


def alike(one, two):
    """The share of their bytes that is the same."""
    assert one.shape == two.shape and one.itemsize == two.itemsize
    return (np.ascontiguousarray(one).view(np.uint8) == np.ascontiguousarray(two).view(np.uint8)).mean()


# --- forms that shapes leave open


def reader_of(tensors, config=None):
    data = to_bytes(tensors)
    files = {"model.safetensors": data} | ({"config.json": json.dumps(config).encode()} if config is not None else {})
    return Reader(lambda name: BytesSource(files[name]), {name: len(file) for name, file in files.items()})


def test_the_config_tells_four_bits_by_64_from_eight_by_32():
    words = np.arange(64, dtype=np.uint32).reshape(4, 16)
    tensors = {"a.weight": words, "a.scales": np.ones((4, 2), np.float16), "a.biases": np.zeros((4, 2), np.float16)}
    for told, shape in ((None, (4, 128)), ({"quantization": {"bits": 8, "group_size": 32}}, (4, 64)),
                        ({"quantization": {"bits": 4, "group_size": 64, "a": {"bits": 8, "group_size": 32}}}, (4, 64)),
                        ({"quantization": {"bits": 3, "group_size": 7}}, (4, 128)), ({"quantization": 5}, (4, 128))):
        with reader_of(tensors, told) as reader:
            assert [tensor.shape for tensor in reader.header.tensors] == [shape]


def test_a_stack_of_experts_is_packed_one_behind_another():
    rng = np.random.default_rng(0)
    codes, scales = rng.integers(0, 16, (3, 8, 64)), rng.random((3, 8, 1)).astype(np.float32)
    words = (codes.reshape(3, 8, 8, 8) << (4 * np.arange(8))).sum(-1).astype(np.uint32)
    with reader_of({"x.weight": words, "x.scales": scales, "x.biases": -scales}) as reader:
        stack, = reader.header.tensors
        size = stack.nbytes // 3
        for expert in range(3):
            one = Matrix(stack._replace(name=f"x.weight[{expert}]", shape=(8, 64), start=stack.start + expert * size,
                                        stop=stack.start + (expert + 1) * size))
            plain = codes[expert] * scales[expert] - scales[expert]
            assert np.allclose(reader.rows(one, np.array([7, 2])), plain[[7, 2]])


def test_the_second_form_of_gptq_keeps_its_zero_points_as_they_are():
    tensors = {name: array for name, array in load_file(FILES / "gptq4.safetensors").items() if name != "expected"}
    config = {"quantization_config": {"quant_method": "gptq", "bits": 4, "checkpoint_format": "gptq_v2"}}
    with reader_of(tensors) as one, reader_of(tensors, config) as two:
        first, second = (reader.rows(matrix_of(reader), np.arange(64)) for reader in (one, two))
    scales = tensors["x.scales"].astype(np.float32).T.repeat(32, axis=1)
    assert np.allclose(second - first, scales, atol=1e-5)


def test_a_matrix_of_gptq_without_an_order_or_zero_points_is_read():
    tensors = {name: array for name, array in load_file(FILES / "gptq4_symmetric.safetensors").items()
               if name in ("x.qweight", "x.scales")}
    with reader_of(tensors) as reader:
        found = reader.rows(matrix_of(reader), np.array(ROWS))
    assert np.abs(found - kept("gptq4_symmetric")[1]).max() < 1e-3


# --- lies


KINDS = {"int32": "I32", "int64": "I64", "float16": "F16", "float32": "F32", "uint8": "U8", "uint32": "U32"}


def spoilt(form, name, array):
    """A reader of the form's file, one of its tensors changed (None: left out)."""
    data = (FILES / f"{form}.safetensors").read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    parts = {key: (entry["dtype"], entry["shape"], data[start:][slice(*entry["data_offsets"])])
             for key, entry in kept(form)[0].items() if key not in ("expected", "__metadata__", name)}
    if array is not None:
        parts[name] = (KINDS[str(array.dtype)], array.shape, array.tobytes())
    head, at = {}, 0
    for key, (dtype, shape, part) in parts.items():
        head[key] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(part)]}
        at += len(part)
    text = json.dumps(head).encode()
    file = len(text).to_bytes(8, "little") + text + b"".join(part for _, _, part in parts.values())
    return Reader(lambda _: BytesSource(file), {"model.safetensors": len(file)})


def state(**told):
    known = {"quant_type": "nf4", "blocksize": 64, "dtype": "float32", "shape": [64, 128]} | told
    return np.frombuffer(json.dumps(known).encode(), np.uint8)


STATE = "x.weight.quant_state.bitsandbytes__nf4"
LIES = [
    ("gptq4", "x.g_idx", np.full(96, 3, np.int32)), ("gptq4", "x.g_idx", np.full(96, -1, np.int32)),
    ("gptq4", "x.g_idx", np.zeros(97, np.int32)), ("gptq4", "x.scales", np.ones((0, 64), np.float16)),
    ("gptq4", "x.scales", np.ones((96, 64), np.float16)), ("gptq4", "x.scales", np.full((3, 64), np.nan, np.float16)),
    ("gptq4", "x.qzeros", np.zeros((3, 7), np.int32)), ("gptq4", "x.scales", np.ones((3, 512), np.float16)),
    ("gptq4", "x.scales", np.ones((3, 60), np.float16)), ("awq", "x.scales", np.full((3, 64), np.inf, np.float16)),
    ("awq", "x.qzeros", np.zeros((2, 8), np.int32)), ("bnb_nf4", "x.weight.absmax", np.ones(127, np.float32)),
    ("bnb_nf4", "x.weight.absmax", None), ("bnb_nf4", "x.weight.quant_map", np.ones(3, np.float32)),
    ("bnb_nf4", "x.weight.absmax", np.full(128, np.nan, np.float32)),
    ("bnb_nf4", STATE, state(shape=[10**9, 10**9])), ("bnb_nf4", STATE, state(blocksize=0)),
    ("bnb_nf4", STATE, state(shape=[-64, -128])), ("bnb_nf4", STATE, state(shape="64")),
    ("bnb_nf4", STATE, np.frombuffer(b"[" * 3000, np.uint8)), ("bnb_nf4", STATE, np.zeros(10**5, np.uint8)),
    ("bnb_nf4_nested", STATE, state(nested_blocksize=0, nested_offset=1.0)),
    ("bnb_nf4_nested", STATE, state(nested_blocksize=256, nested_offset=float("nan"))),
    ("bnb_int8", "x.SCB", np.ones(63, np.float32)), ("mlx4", "x.scales", np.ones((64, 0), np.float32)),
    ("mlx4", "x.scales", np.ones((32, 3), np.float32)), ("mlx4", "x.scales", np.ones((64, 5), np.float32)),
    ("mlx4", "x.biases", np.ones((64, 2), np.float32)), ("mlx4", "x.biases", np.full((64, 3), np.inf, np.float32)),
    ("mlx_mxfp4", "x.scales", np.full((64, 3), 255, np.uint8)),
    ("ct_int4", "x.weight_shape", np.array([64, 10**12])), ("ct_int4", "x.weight_shape", np.array([64, -96])),
    ("ct_int4", "x.weight_shape", np.ones(9, np.int64)), ("ct_int4", "x.weight_scale", np.ones((64, 60), np.float32)),
    ("ct_int4", "x.weight_scale", np.ones((5, 3), np.float32)),
    ("ct_int4", "x.weight_g_idx", np.arange(96, dtype=np.int32)),
    ("ct_int4_zeros", "x.weight_zero_point", np.ones((8, 4), np.int32)),
    ("ct_nvfp4", "x.weight_global_scale", np.full(1, np.nan, np.float32)),
    ("ct_nvfp4", "x.weight_scale", np.full((64, 6), 127, np.uint8)),
    ("gptq4", "x.weight", np.ones((2, 2), np.float32))]


@pytest.mark.parametrize(("form", "name", "array"), LIES, ids=[f"{form}-{name}-{n}" for n, (form, name, _) in
                                                               enumerate(LIES)])
def test_a_matrix_whose_parts_do_not_fit_is_refused_with_its_name(form, name, array):
    with pytest.raises(CorruptFile, match="x\\."), spoilt(form, name, array) as reader:
        reader.rows(matrix_of(reader), np.arange(64))
