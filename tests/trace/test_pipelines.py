"""Repos that hold more than one model, or none that trace knows: pipelines in parts, two formats side by side."""

from __future__ import annotations

import json

import numpy as np
import pytest
from safetensors.numpy import save_file
from trace_made import hf_tensors, made, print_of, save_gguf, save_hf

from headwater.trace.judge import judge
from headwater.trace.judgement import Verdict
from headwater.trace.null import NullLibrary
from headwater.trace.reading import CannotRead, folder_files, read_apart


def test_a_pipeline_in_parts_is_said_to_be_one_and_not_to_have_no_parent(tmp_path):
    parts = {"transformer/diffusion_pytorch_model": {"proj_in.weight": np.ones((8, 16), np.float32)},
             "text_encoder/model": hf_tensors(made(0, layers=1, vocabulary=400))}
    for name, tensors in parts.items():
        (tmp_path / name).parent.mkdir()
        save_file(tensors, tmp_path / f"{name}.safetensors")
    (tmp_path / "model_index.json").write_text(json.dumps({"transformer": ["diffusers", "T"]}))
    with pytest.raises(CannotRead) as refused:
        read_apart(folder_files(tmp_path))
    assert "no language model" in refused.value.message and "(text_encoder, transformer)" in refused.value.message


def test_one_model_in_two_formats_side_by_side_is_read_as_that_model(tmp_path):
    base = made(0, layers=2, vocabulary=400)
    save_gguf(save_hf(tmp_path / "both", base), base)
    save_hf(tmp_path / "one", base)
    found = judge(print_of(tmp_path / "both"), print_of(tmp_path / "one"), NullLibrary.load())
    assert found.verdict is Verdict.IDENTICAL
