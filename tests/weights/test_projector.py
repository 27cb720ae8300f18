"""Which projector goes with a model, and which does not fit, from names and headers."""

import pytest
from bert_made import bert_gguf
from llama_made import llama_gguf, llava_gguf, minicpmv_gguf

from headwater.weights.projector import misfit, projector_of


@pytest.mark.parametrize(("files", "model", "chosen"), [
    (["m.Q4_K_M.gguf", "mmproj-m-f16.gguf", "mmproj-m-Q8_0.gguf", "mmproj-m-bf16.gguf"], "m.Q4_K_M.gguf",
     "mmproj-m-f16.gguf"),
    (["m.gguf", "mmproj-BF16.gguf", "mmproj-F32.gguf"], "m.gguf", "mmproj-BF16.gguf"),
    (["m.gguf", "m-mmproj.gguf"], "m.gguf", "m-mmproj.gguf"),
    (["a/m.gguf", "a/mmproj-f16.gguf", "mmproj-f16.gguf"], "a/m.gguf", "a/mmproj-f16.gguf"),
    (["a/m.gguf", "b/mmproj-f16.gguf"], "a/m.gguf", None), (["m.gguf", "commproject.gguf"], "m.gguf", None),
    (["m.gguf"], "m.gguf", None),
])
def test_the_projector_beside_the_model_is_taken(files, model, chosen):
    assert projector_of(files, model) == chosen


def test_one_of_another_width_is_told_by_name_and_numbers(tmp_path):
    llama_gguf(tmp_path / "m.gguf")
    for make in (llava_gguf, minicpmv_gguf):
        make(tmp_path / "fits.gguf")
        make(tmp_path / "wide.gguf", 256)
        assert misfit(tmp_path / "m.gguf", tmp_path / "fits.gguf") is None
        assert misfit(tmp_path / "m.gguf", tmp_path / "wide.gguf") == (
            "wide.gguf makes vectors of 256 numbers, and m.gguf reads vectors of 128.")


def test_what_is_no_projector_is_told(tmp_path):
    llama_gguf(tmp_path / "m.gguf")
    bert_gguf(tmp_path / "mmproj-bert.gguf")
    (tmp_path / "cut.gguf").write_bytes((tmp_path / "m.gguf").read_bytes()[:100])
    assert "architecture 'bert'" in misfit(tmp_path / "m.gguf", tmp_path / "mmproj-bert.gguf")
    assert "cannot be read" in misfit(tmp_path / "m.gguf", tmp_path / "cut.gguf")
    assert "cannot be read" in misfit(tmp_path / "m.gguf", tmp_path / "none.gguf")
