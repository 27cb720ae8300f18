"""Every setting of a llama.cpp worker reaches a native build too: as a word of its command line."""

import argparse
import json
from pathlib import Path

import pytest
import xllamacpp
from real_models import smollm2_gguf

from headwater.engines import _native, llamacpp
from headwater.engines._overrides import Overrides

APART = {"api_keys"}
"""Said by main() itself: a key is in no command that is written down."""
CONSTANT = {"cors_origins": "--cors-origins", "ui": "--no-ui", "endpoint_slots": "--slots",
            "mmproj_use_gpu": "--no-mmproj-offload"}
DEFAULT = {"endpoint_props"}
"""Off in llama-server unless a word switches it on, which must not be there."""
GROUPS = ("model", "mmproj", "cpuparams", "cpuparams_batch")


class Seen:
    """Parameters that note which of their fields are set (told is True) or read."""

    def __init__(self, real, names, set_, above=""):
        self.__dict__.update(real=real, names=names, set_=set_, above=above)

    def __getattr__(self, name):
        value = getattr(self.real, name)
        if name in GROUPS:
            return Seen(value, self.names, self.set_, f"{self.above}{name}.")
        if not self.set_:
            self.names.add(self.above + name)
        return value

    def __setattr__(self, name, value):
        if self.set_:
            self.names.add(self.above + name)
        setattr(self.real, name, value)


def params_of(monkeypatch, tmp_path, pooling=None, **given):
    """(parameters a worker is started with, names of the fields that were set)."""
    names, real = set(), xllamacpp.CommonParams
    monkeypatch.setattr(xllamacpp, "CommonParams", lambda: Seen(real(), names, True))
    monkeypatch.setattr(llamacpp, "misfit", lambda *_: None)
    monkeypatch.setenv("HEADWATER_WORKER_CACHE", str(tmp_path))
    monkeypatch.setenv("HEADWATER_WORKER_SPEECH", json.dumps({"template": "{{ messages }}",
                                                              "words": {"enable_thinking": False}}))
    asked = argparse.Namespace(**{"path": smollm2_gguf(), "port": 1234, "threads": 2, "context": 512, "projector": [],
                                  "adapter": [], **given})
    params = llamacpp._params(asked, llamacpp._Said(512, pooling, {}), "k")
    return params.real, names


WAYS = {"chat": {}, "ranking": {"pooling": llamacpp.RANKS}, "seeing": {"projector": [Path("/p.gguf")]},
        "adapted": {"adapter": [Path("/a.gguf"), Path("/b.gguf")]}}


@pytest.mark.parametrize("way", WAYS)
def test_every_setting_of_a_worker_is_said_to_a_native_build(monkeypatch, tmp_path, way):
    params, set_ = params_of(monkeypatch, tmp_path, **WAYS[way])
    read = set()
    words = _native.argv(Seen(params, read, False))
    for name in set_ - APART - DEFAULT - set(CONSTANT) - {"mmproj.mmproj_use_gpu"}:
        assert name in read, f"{name} is set by llamacpp._params and not said by _native.argv"
    assert not any(word.startswith("--props") for word in words) and "k" not in words
    for name, word in CONSTANT.items():
        assert word in words or name not in {one.rpartition(".")[2] for one in set_}, name


def test_a_projector_adapters_and_other_ends_are_words_too(monkeypatch, tmp_path):
    params, _ = params_of(monkeypatch, tmp_path, projector=[Path("/p.gguf")], adapter=[Path("/a.gguf")])
    words = [*_native.argv(params), *Overrides({"tokenizer.ggml.eot_token_id": 7,
                                               "tokenizer.ggml.add_bos_token": False}).argv()]
    said = " ".join(words)
    for part in ("--mmproj /p.gguf --no-mmproj-offload", "--lora-scaled /a.gguf:0.0 --lora-init-without-apply",
                 "--override-kv tokenizer.ggml.eot_token_id=int:7",
                 "--override-kv tokenizer.ggml.add_bos_token=bool:false", "--cache-ram 0",
                 '--chat-template-kwargs {"enable_thinking": false}', "--ctx-size", "--ubatch-size"):
        assert part in said, said
    assert "--slot-save-path" not in words, "with adapters nothing is kept"
