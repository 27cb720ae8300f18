"""Models cut into files: the index, the parts, and which files make the model."""

import json

import numpy as np
import pytest
import safetensors.numpy

from headwater.core.errors import CorruptFile
from headwater.weights import safetensors as ours
from headwater.weights.header import Header
from headwater.weights.shards import Index, merge, model_files, parse_index
from headwater.weights.source import BytesSource

FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"


def header(**arrays: np.ndarray) -> Header:
    return ours.read_header(BytesSource(safetensors.numpy.save(arrays)))


def index(**weight_map: str) -> bytes:
    return json.dumps({"metadata": {"total_size": 40}, "weight_map": weight_map}).encode()


PARTS = {FIRST: header(a=np.ones((2, 3), np.float32)), SECOND: header(b=np.ones(4, np.float16), c=np.ones(1, np.int8))}


def test_parts_merge_into_one_header_whose_tensors_say_their_file():
    whole = merge(PARTS, parse_index(index(a=FIRST, b=SECOND, c=SECOND)))
    assert whole.parameters == {"F32": 6, "F16": 4, "I8": 1} and whole.data_start is None
    assert {t.name: t.file for t in whole.tensors} == {"a": FIRST, "b": SECOND, "c": SECOND}


def test_a_tensor_that_stands_in_two_parts_is_refused():
    with pytest.raises(CorruptFile, match="'a' stands in x and again in y"):
        merge({"x": PARTS[FIRST], "y": PARTS[FIRST]})


def test_an_index_that_points_at_the_wrong_part_is_refused():
    with pytest.raises(CorruptFile, match=r"puts tensor 'a' in .*00002.* it is in model-00001"):
        merge(PARTS, Index({}, {"a": SECOND}))
    with pytest.raises(CorruptFile, match=r"puts tensor 'z' .* none of the files"):
        merge(PARTS, Index({}, {"z": SECOND}))


@pytest.mark.parametrize("data, words", [
    (b"[]", "no weight_map"), (b'{"weight_map": {"a": 1}}', "no weight_map"), (b"{", "not JSON"),
    (index(a="../b.safetensors"), "beside it"), (index(a="/b.safetensors"), "beside it"),
    (index(a="model.bin"), "beside it"), (index(**{f"t{n}": f"{n}.safetensors" for n in range(1001)}), "names 1001"),
])
def test_an_index_that_cannot_be_followed_is_refused(data, words):
    with pytest.raises(CorruptFile, match=words):
        parse_index(data)


@pytest.mark.parametrize("paths, expected", [
    ([], ([], None)),
    (["README.md", "config.json"], ([], None)),
    (["model.safetensors", "model.gguf"], (["model.safetensors"], None)),
    (["model.safetensors.index.json", FIRST, SECOND], ([], "model.safetensors.index.json")),
    ([FIRST, SECOND], ([FIRST, SECOND], None)),
    (["adapter_model.safetensors", "adapter_config.json"], (["adapter_model.safetensors"], None)),
    (["m-q8_0.gguf", "m-Q4_K_M.gguf", "m-f16.gguf", "mmproj-f16.gguf"], (["m-Q4_K_M.gguf"], None)),
    (["lora-a.gguf", "imatrix.gguf"], ([], None)),
    (["mmproj.gguf"], ([], None)),
    (["b-00002-of-00002.gguf", "b-00001-of-00002.gguf"], (["b-00001-of-00002.gguf", "b-00002-of-00002.gguf"], None)),
    (["quants/a.gguf", "z.gguf"], (["z.gguf"], None)),
])
def test_the_files_that_make_the_model_are_told_by_name(paths, expected):
    assert model_files(dict.fromkeys(paths, 1)) == expected


def test_of_stray_safetensors_files_the_largest_is_the_model():
    assert model_files({"small.safetensors": 10, "large.safetensors": 90}) == (["large.safetensors"], None)
