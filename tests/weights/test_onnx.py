"""ONNX files: tensors by range, and what the graph does with them."""

import contextlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from real_models import minilm_int8

from headwater.core.errors import CorruptFile, HeadwaterError
from headwater.weights import onnx, values
from headwater.weights.source import BytesSource, FileSource


def varint(value):
    out = b""
    while value > 0x7F:
        out, value = out + bytes([value & 0x7F | 0x80]), value >> 7
    return out + bytes([value])


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    value = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(value)) + value


def initializer(name, array, code=1):
    dims = b"".join(field(1, side) for side in array.shape)
    return field(5, dims + field(2, code) + field(8, name) + field(9, array.tobytes()))


def node(kind, inputs, output, **numbers):
    attributes = b"".join(field(5, field(1, name) + field(3, value) + field(20, 2)) for name, value in numbers.items())
    return field(1, b"".join(field(1, i) for i in inputs) + field(2, output) + field(4, kind) + attributes)


def model(*parts):
    return field(1, 8) + field(2, "test") + field(7, b"".join(parts))


def graph_of(*parts):
    return onnx.read_graph(BytesSource(model(*parts)))


A = np.arange(12, dtype=np.float32).reshape(3, 4)


def test_an_initializer_is_the_range_of_its_raw_data():
    data = model(initializer("w", A), node("MatMul", ["x", "w"], "y"))
    graph = onnx.read_graph(BytesSource(data))
    tensor = graph.header.tensors[0]
    assert np.array_equal(values.rows(BytesSource(data), tensor), A)
    assert graph.columns == {"w"}


def test_a_transpose_or_transb_makes_a_matrix_lie_as_rows():
    graph = graph_of(initializer("a", A), initializer("b", A), initializer("c", A),
                     node("Transpose", ["a"], "at"), node("MatMul", ["x", "at"], "y"),
                     node("Gemm", ["y", "b"], "z", transB=1), node("Gemm", ["z", "c"], "u"))
    assert graph.columns == {"c"}
    assert [t.name for t in graph.header.tensors] == ["a", "b", "c"]


def test_tensors_come_in_the_order_the_graph_uses_them_and_tables_are_told():
    graph = graph_of(initializer("last", A), initializer("table", A), initializer("unused", A),
                     node("Gather", ["table", "ids"], "e"), node("MatMul", ["e", "last"], "y"))
    assert [t.name for t in graph.header.tensors] == ["table", "last", "unused"]
    assert graph.tables == ("table",)


def test_scales_and_zero_points_are_followed_through_both_forms():
    q, s, z = A.astype(np.int8), np.ones(4, np.float32), np.zeros(4, np.int8)
    graph = graph_of(initializer("q1", q, 3), initializer("s1", s), initializer("z1", z, 3), initializer("q2", q, 3),
                     initializer("s2", s), initializer("z2", z, 3),
                     node("DequantizeLinear", ["q1", "s1", "z1"], "w1", axis=0), node("MatMul", ["x", "w1"], "y"),
                     node("MatMulInteger", ["y", "q2", "yz", "z2"], "i"), node("Cast", ["i"], "f"),
                     node("Mul", ["ys", "s2"], "m"), node("Mul", ["f", "m"], "o"))
    assert (graph.scaled["q1"].scale.name, graph.scaled["q1"].zero.name, graph.scaled["q1"].axis) == ("s1", "z1", 0)
    assert (graph.scaled["q2"].scale.name, graph.scaled["q2"].zero.name) == ("s2", "z2")


def test_a_real_int8_file_with_anonymous_names_tells_its_matrices():
    with FileSource(minilm_int8()) as source:
        graph = onnx.read_graph(source)
    shapes = [t.shape for t in graph.header.tensors if t.name in graph.columns]
    layer = [(384, 384)] * 4 + [(384, 1536), (1536, 384)]
    assert shapes == layer * 6
    assert len(graph.scaled) == 38
    assert "inner.embeddings.word_embeddings.weight_q" in graph.tables


def test_data_in_a_file_beside_is_told_and_may_not_leave_the_folder():
    def external(place):
        pairs = b"".join(field(13, field(1, k) + field(2, v)) for k, v in
                         (("location", place), ("offset", "64"), ("length", "48")))
        return field(5, field(1, 3) + field(1, 4) + field(2, 1) + field(8, "w") + pairs)

    tensor = onnx.read_graph(BytesSource(model(external("w.data"))), "onnx").header.tensors[0]
    assert (tensor.file, tensor.start, tensor.stop) == ("onnx/w.data", 64, 112)
    for place in ("../w", "/etc/passwd", "a\\b", ""):
        with pytest.raises(CorruptFile):
            graph_of(external(place))


@pytest.mark.parametrize("data", [
    b"", b"\x08\x01", model(field(5, field(1, 1 << 50) + field(2, 1) + field(8, "w"))),
    model(field(5, field(1, 5) + field(2, 1) + field(8, "w") + field(9, b"1234"))),
    model(initializer("w", A), initializer("w", A)), model(initializer("w", A))[:-3], b"\x3a\xff\xff\xff\xff\x7f",
    b"\xff" * 30, b"\x00" * 30])
def test_a_file_that_does_not_hold_together_is_refused(data):
    with pytest.raises(CorruptFile):
        onnx.read_graph(BytesSource(data))


@given(st.integers(0, 400), st.binary(max_size=8))
def test_whatever_bytes_are_changed_reading_ends_in_a_graph_or_a_told_error(at, change):
    data = model(initializer("w", A), node("Gather", ["w", "i"], "e"), node("MatMul", ["e", "w"], "y"))
    with contextlib.suppress(HeadwaterError):
        onnx.read_graph(BytesSource(data[:at] + change + data[at + len(change):]))
