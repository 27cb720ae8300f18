"""Model files that lie: what they end in is a fingerprint or a told reason, in bounded memory."""

import json
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trace_made import made, print_of, save_hf, words

from headwater.core.errors import CorruptFile, HeadwaterError
from headwater.trace.agree import agree
from headwater.trace.fingerprint import Fingerprint
from headwater.trace.make import MAX_NEURONS, make_fingerprint
from headwater.weights import tokens
from headwater.weights.source import BytesSource

TABLE = {"embed.weight": [3000, 64]}
VOCABULARY = json.dumps({word: n for n, word in enumerate(words(3000))}).encode()


class Holes:
    """A file of zeros behind its header, as long as the header says."""

    def __init__(self, head, size):
        self.head, self.size = head, size

    def read(self, start, stop):
        return self.head[start:stop] + bytes(stop - max(start, min(stop, len(self.head))))


def holes(shapes):
    header, at = {}, 0
    for name, shape in shapes.items():
        size = 2 * int(np.prod(shape, dtype=object))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    return Holes(len(text).to_bytes(8, "little") + text, 8 + len(text) + at)


def read(files):
    sources = {name: BytesSource(file) if isinstance(file, bytes) else file for name, file in files.items()}
    made_now = make_fingerprint(sources.__getitem__, {name: source.size for name, source in sources.items()})
    return Fingerprint.from_bytes(made_now.to_bytes())


def mlp(width, inner):
    return {"layers.0.gate_proj.weight": [inner, width], "layers.0.up_proj.weight": [inner, width],
            "layers.0.down_proj.weight": [width, inner]}


@pytest.mark.parametrize("shapes", [
    mlp(64, 10**6), mlp(64, 0), mlp(64, 1), TABLE | {"a": [], "b": [1], "c.0.d": [0, 64], "e": [1] * 3000},
    mlp(64, 200) | {"layers.0.self_attn.o_proj.weight": [64, 10**9]},
    {"layers.0.experts.gate_up_proj": [10**6, 64, 8], "layers.0.experts.down_proj": [10**6, 4, 64]}])
def test_shapes_that_no_model_has_are_read_in_little_memory(shapes):
    tracemalloc.start()
    try:
        found = read({"model.safetensors": holes(TABLE | shapes), "vocab.json": VOCABULARY})
        assert tracemalloc.get_traced_memory()[1] < 100_000_000
    finally:
        tracemalloc.stop()
    assert len(found.layers) <= 1


@pytest.mark.parametrize("shapes", [
    {"h.0.c_attn.weight": [64, 192], "h.0.c_fc.weight": [64, 10 * MAX_NEURONS],
     "h.0.c_proj.weight": [10 * MAX_NEURONS, 64]}, {"embed.weight": [3000, 40_000]} | mlp(40_000, 100)])
def test_more_than_is_read_is_refused_with_its_figure(shapes):
    with pytest.raises(CorruptFile, match="at most"):
        read({"model.safetensors": holes(TABLE | shapes), "vocab.json": VOCABULARY})


@pytest.mark.parametrize("weight_map", [
    {"a": "model.safetensors.index.json"}, {"a": "../m.safetensors"}, {"a": "a.safetensors", "b": "a.safetensors"},
    {"a": "gone.safetensors"}, {f"t{n}": f"{n}.safetensors" for n in range(2000)}, {}])
def test_an_index_that_leads_nowhere_or_to_itself_is_refused(weight_map):
    files = {"model.safetensors.index.json": json.dumps({"weight_map": weight_map}).encode(),
             "a.safetensors": b"\x02" + bytes(7) + b"{}"}
    with pytest.raises(CorruptFile):
        read(files)


def test_a_tensor_in_two_shards_is_refused():
    file = holes({"a": [4, 4]})
    part = file.read(0, file.size)
    files = {"model.safetensors.index.json": json.dumps({"weight_map": {"a": "1.safetensors", "b": "2.safetensors"}})
             .encode(), "1.safetensors": part, "2.safetensors": part}
    with pytest.raises(CorruptFile, match="again"):
        read(files)


@pytest.mark.parametrize("vocabulary", [
    b'{"a": 3999999999}', b'{"a": -1}', b"[" * 200_000, b'{"a": 1e400}', b"", b"{}", b'{"a": 1, "b": 1}' + b" " * 9,
    b'{"\\ud800a": 0, "ab": 1}', json.dumps({"word": 0} | {f"w{n}": tokens.MAX_TOKENS + n for n in range(3)}).encode()])
def test_a_vocabulary_that_asks_for_much_is_refused_or_read(vocabulary):
    tracemalloc.start()
    try:
        try:
            found = read({"model.safetensors": holes(TABLE | mlp(64, 200)), "vocab.json": vocabulary})
        except HeadwaterError as error:
            assert "vocab" in str(error)
        else:
            assert len(found.tokenizer.hashes) <= 2
        assert tracemalloc.get_traced_memory()[1] < 100_000_000
    finally:
        tracemalloc.stop()


@settings(max_examples=20, deadline=None)
@given(st.dictionaries(
    st.sampled_from(["layers.0.gate_proj", "layers.0.up_proj", "layers.0.down_proj", "layers.0.norm2", "h.1.experts.w",
                     "h.1.experts.down", "layers.0.self_attn.q_proj", "lm_head.weight", "h.1.c_fc", "h.1.c_attn"]),
    st.lists(st.sampled_from([0, 1, 2, 3, 64, 65, 128, 192, 3000, 10**6]), max_size=3), max_size=8))
def test_whatever_shapes_stand_side_by_side_no_edge_comes_of_holes(shapes):
    shapes = {name: shape for name, shape in shapes.items() if np.prod(shape, dtype=object) <= 10**9}
    try:
        found = read({"model.safetensors": holes(TABLE | shapes), "vocab.json": VOCABULARY})
    except HeadwaterError:
        return
    assert (agree(found, found).median or 0) <= 0.5 or min(len(layer.rows) for layer in found.layers) < 3


def test_a_model_and_holes_of_its_shape_do_not_agree(tmp_path):
    model = made(0)
    real = print_of(save_hf(tmp_path, model))
    shapes = {"embed.weight": [3000, 96]} | {
        f"layers.{n}.{name}_proj.weight": shape for n in range(4)
        for name, shape in (("gate", [256, 96]), ("up", [256, 96]), ("down", [96, 256]))}
    found = read({"model.safetensors": holes(shapes), "vocab.json": VOCABULARY})
    assert agree(real, found).median <= 0.05
