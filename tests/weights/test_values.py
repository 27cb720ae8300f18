"""The numbers of tensors, against the packages that wrote them."""

import gguf
import numpy as np
import pytest
import safetensors.numpy
from gguf.quants import dequantize, quantize

from headwater.core.errors import CorruptFile
from headwater.weights import ggml_values, values
from headwater.weights.header import Tensor
from headwater.weights.read import read_header
from headwater.weights.source import BytesSource, FileSource, MappedSource, RangeSource

QUANTISED = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0"]


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "int8", "uint8", "int16", "int32", "int64"])
def test_plain_numbers_are_those_the_safetensors_package_wrote(tmp_path, dtype):
    array = (np.random.default_rng(1).normal(size=(7, 3, 5)) * 50).astype(dtype)
    safetensors.numpy.save_file({"a": array}, tmp_path / "m.safetensors")
    with FileSource(tmp_path / "m.safetensors") as source:
        tensor = read_header(source).tensors[0]
        assert np.array_equal(values.rows(source, tensor), array.reshape(7, 15).astype(np.float32))
        assert np.array_equal(values.rows(source, tensor, 2, 4), array[2:4].reshape(2, 15).astype(np.float32))


def test_bfloat16_is_the_upper_half_of_float32():
    exact = np.array([[1.0, -2.5, 0.15625, 3e38]], np.float32)
    exact = (exact.view(np.uint32) & 0xFFFF0000).view(np.float32)
    data = (exact.view(np.uint32) >> 16).astype("<u2").tobytes()
    assert np.array_equal(values.decode("BF16", data, 1, 4), exact)


@pytest.mark.parametrize(("dtype", "code", "value"), [
    ("F8_E4M3", 0x7E, 448.0), ("F8_E4M3", 0x01, 2.0**-9), ("F8_E4M3", 0xB8, -1.0),
    ("F8_E5M2", 0x7B, 57344.0), ("F8_E5M2", 0x01, 2.0**-16), ("F8_E5M2", 0xBC, -1.0), ("F8_E5M2", 0x7C, np.inf)])
def test_8_bit_floats_have_the_values_of_the_ocp_specification(dtype, code, value):
    assert values.decode(dtype, bytes([code]), 1, 1)[0, 0] == value


@pytest.mark.parametrize("name", QUANTISED)
def test_quantised_rows_are_those_the_gguf_package_undoes(tmp_path, name):
    kind = gguf.GGMLQuantizationType[name]
    packed = quantize(np.random.default_rng(2).normal(size=(64, 96)).astype(np.float32), kind)
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "llama")
    writer.add_tensor("a", packed, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    with FileSource(tmp_path / "m.gguf") as source:
        tensor = read_header(source).tensors[0]
        whole = dequantize(packed, kind)
        assert np.array_equal(values.rows(source, tensor), whole)
        pieces = np.concatenate([block for _, block in values.blocks(source, tensor, block_bytes=500)])
        assert np.array_equal(pieces, whole)


@pytest.mark.parametrize("name", [*QUANTISED, "Q4_K", "Q5_K", "Q6_K"])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_whatever_bytes_blocks_hold_they_are_undone_to_the_bits_the_gguf_package_gives(name):
    kind = gguf.GGMLQuantizationType[name]
    numbers, size = gguf.GGML_QUANT_SIZES[kind]
    stored = np.random.default_rng(5).integers(0, 256, (2 * ggml_values.STEP // numbers + 3, size), np.uint8)
    found, witness = ggml_values.undo(name, stored.tobytes()), dequantize(stored, kind).reshape(-1)
    assert np.isnan(witness).any() and np.isfinite(witness).any()
    assert np.array_equal(found, witness, equal_nan=True)


def test_an_unknown_dtype_is_refused_by_name():
    tensor = Tensor("a", "IQ9_X", (2, 32), 0, 64)
    assert not values.readable("IQ9_X")
    with pytest.raises(CorruptFile, match="IQ9_X"):
        values.rows(BytesSource(bytes(64)), tensor)


@pytest.mark.parametrize("wanted", [[], [5], [9, 2, 2, 7], list(range(0, 400, 3)), [399, 0]])
def test_chosen_rows_come_in_the_order_asked_and_neighbours_in_one_read(wanted):
    array = np.random.default_rng(3).normal(size=(400, 64)).astype(np.float32)
    reads = []

    def fetch(start, stop):
        reads.append(stop - start)
        return array.tobytes()[start:stop]

    tensor = Tensor("a", "F32", (400, 64), 0, array.nbytes)
    found = values.gather(RangeSource(array.nbytes, fetch), tensor, np.array(wanted, np.int64))
    assert np.array_equal(found, array[wanted].reshape(-1, 64))
    assert len(reads) <= 2


def test_a_row_that_is_not_there_is_refused():
    with pytest.raises(CorruptFile, match="400"):
        values.gather(BytesSource(bytes(16)), Tensor("a", "F32", (2, 2), 0, 16), np.array([400]))


@pytest.mark.parametrize("wanted", [[0, 1, 2, 3], [3999, 0, 17, 17, 2000], [5]])
def test_a_file_that_is_looked_at_in_place_gives_what_one_that_is_read_gives(tmp_path, monkeypatch, wanted):
    array = np.random.default_rng(2).normal(size=(4000, 64)).astype(np.float32)
    safetensors.numpy.save_file({"a": array}, tmp_path / "m.safetensors")
    monkeypatch.setattr(MappedSource, "WINDOW", 1 << 17)  # so that rows lie in several
    with MappedSource(tmp_path / "m.safetensors") as source:
        tensor = read_header(source).tensors[0]
        assert np.array_equal(values.gather(source, tensor, np.array(wanted)), array[wanted])
        assert np.array_equal(values.rows(source, tensor, 100, 3900), array[100:3900])  # more than one window
        assert np.array_equal(values.leading(source, tensor, 3990, 4000, 32), array[3990:, :32])
        assert bytes(source.view(source.size - 3, source.size, 3)) == source.read(source.size - 3, source.size)
        with pytest.raises(CorruptFile, match="ends at byte"):
            source.view(source.size - 3, source.size + 1, 4)
