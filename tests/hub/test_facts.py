"""What is said of a revision's model: in the room, and through the client that asks for it over HTTP."""

from __future__ import annotations

import json

import numpy as np
import pytest
import safetensors.numpy
from huggingface_hub import HfApi
from real_models import smollm2_gguf
from server import fresh

from headwater.core.errors import CorruptFile, EntryNotFound
from headwater.core.types import Actor, Repo
from headwater.hub import Hub, browse
from headwater.hub import facts as room
from headwater.hub.browse import file, resolve
from headwater.hub.commit import Add, commit
from headwater.hub.facts import _Kept as Kept
from headwater.hub.facts import facts, gguf_info, header_of, safetensors_metadata
from headwater.hub.intake import stage

CONFIG = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 8, "num_hidden_layers": 2,
          "num_attention_heads": 4, "max_position_embeddings": 64, "vocab_size": 100}
CARD = b"---\nlicense: apache-2.0\n---\n# A model\n"
FIRST, SECOND = "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"
ONE = {"model.embed_tokens.weight": np.ones((100, 8), np.float16)}
TWO = {"model.norm.weight": np.ones(8, np.float32), "lm_head.weight": np.ones((100, 8), np.float16)}
INDEX = json.dumps({"metadata": {"total_size": 3232}, "weight_map": {
    **dict.fromkeys(ONE, FIRST), **dict.fromkeys(TWO, SECOND)}}).encode()
WHOLE = safetensors.numpy.save(ONE | TWO, metadata={"format": "pt"})
SHARDED = {"model.safetensors.index.json": INDEX, FIRST: safetensors.numpy.save(ONE),
           SECOND: safetensors.numpy.save(TWO), "config.json": json.dumps(CONFIG).encode(), "README.md": CARD}


def put(hub: Hub, owner: Actor, repo: Repo, contents: dict[str, bytes]) -> None:
    commit(hub, owner, repo, "main", [Add(path, content) for path, content in contents.items()], title="files")


def test_a_sharded_model_is_described_as_one(hub, owner, repo):
    put(hub, owner, repo, SHARDED | {"chat_template.jinja": b"{{ messages }}"})
    found = facts(hub, repo, resolve(hub, repo, "main"))
    said = found.description
    assert (said.architecture, said.layers, said.context_length, said.vocabulary) == ("LlamaForCausalLM", 2, 64, 100)
    assert (said.parameters, said.dtype, said.licence, said.tied_embeddings) == (1608, "F16", "apache-2.0", None)
    assert said.chat_template.text == "{{ messages }}" and found.problems == ()
    assert list(found.headers) == [FIRST, SECOND]
    assert safetensors_metadata(hub, repo, resolve(hub, repo, "main"), None) == {
        "parameters": {"F16": 1600, "F32": 8}, "total": 1608, "sharded": True}


def test_a_repo_without_weights_says_nothing_and_fails_at_nothing(hub, owner, repo):
    put(hub, owner, repo, {"notes.txt": b"hello"})
    head = resolve(hub, repo, "main")
    assert facts(hub, repo, head).description.parameters is None
    assert safetensors_metadata(hub, repo, head, None) is None and gguf_info(hub, repo, head) is None


def test_what_is_corrupt_is_a_problem_beside_what_can_be_read(hub, owner, repo):
    damage = {SECOND: b"PK\x03\x04" + bytes(80), "tokenizer_config.json": b"{", "config.json": b"[]"}
    put(hub, owner, repo, SHARDED | damage)
    head = resolve(hub, repo, "main")
    found = facts(hub, repo, head)
    problems = dict(found.problems)
    assert "starts like a zip archive" in problems[SECOND] and "not JSON" in problems["tokenizer_config.json"]
    assert "an object was expected" in problems["config.json"]
    assert found.model is None and found.description.licence == "apache-2.0" and list(found.headers) == [FIRST]
    assert safetensors_metadata(hub, repo, head, None) is None
    with pytest.raises(CorruptFile, match="zip archive"):
        safetensors_metadata(hub, repo, head, "model.safetensors.index.json")


def test_a_shard_that_is_missing_is_a_problem(hub, owner, repo):
    put(hub, owner, repo, {path: data for path, data in SHARDED.items() if path != SECOND})
    head = resolve(hub, repo, "main")
    assert "it is not here" in dict(facts(hub, repo, head).problems)[SECOND]
    with pytest.raises(EntryNotFound):
        safetensors_metadata(hub, repo, head, "model.safetensors.index.json")


def test_bytes_that_are_lost_are_a_problem(hub, owner, repo):
    put(hub, owner, repo, SHARDED)
    head = resolve(hub, repo, "main")
    for entry in browse.files(hub, head):
        hub.blobs.delete(entry.digest)
    found = facts(hub, repo, head)
    assert found.model is None and "damaged or lost" in dict(found.problems)["config.json"]


def test_an_index_that_lies_about_a_tensor_is_a_problem(hub, owner, repo):
    lie = json.dumps({"weight_map": {"model.norm.weight": FIRST, "lm_head.weight": SECOND}}).encode()
    put(hub, owner, repo, SHARDED | {"model.safetensors.index.json": lie})
    found = facts(hub, repo, resolve(hub, repo, "main"))
    assert found.model is None and "puts tensor 'model.norm.weight'" in found.problems[0][1]


def test_only_headers_are_read_of_large_files(hub, owner, repo, monkeypatch):
    with open(smollm2_gguf(), "rb") as model:
        staged = stage(hub, iter(lambda: model.read(1 << 20), b""), limit=1 << 30)
    commit(hub, owner, repo, "main", [Add("SmolLM2.Q4_1.gguf", staged=staged)], title="model")
    read, real = [], browse.read
    monkeypatch.setattr(browse, "read", lambda hub, entry, start=0, stop=None: (
        read.append((stop or entry.size) - start), real(hub, entry, start, stop))[1])
    head = resolve(hub, repo, "main")
    info = gguf_info(hub, repo, head)
    assert sum(read) < 4 << 20
    assert (info["total"], info["architecture"], info["context_length"]) == (134_515_008, "llama", 8192)
    assert (info["bos_token"], info["eos_token"]) == ("<|im_start|>", "<|im_end|>")
    assert "<|im_start|>" in info["chat_template"]
    asked = len(read)
    said = facts(hub, repo, head).description
    header_of(hub, file(hub, head, "SmolLM2.Q4_1.gguf"))
    assert len(read) == asked, "kept in memory"
    assert (said.quantisation, said.licence, said.chat_template.source) == ("Q4_1", "apache-2.0", "SmolLM2.Q4_1.gguf")


def test_what_is_kept_is_bounded_and_the_last_asked_for_stay():
    kept = Kept(10, len)
    for key in "abc":
        kept.get(key, lambda: "xxxx")
    assert kept.get("a", lambda: "made anew") == "made anew"
    assert kept.get("a", lambda: pytest.fail("not kept")) == "made anew"
    assert kept.get("huge", lambda: "x" * 99) == "x" * 99
    assert kept.get("huge", lambda: pytest.fail("not kept")) == "x" * 99
    assert kept.get("a", lambda: "again") == "again"


def test_a_corrupt_file_is_asked_about_again_and_not_kept(hub, owner, repo):
    put(hub, owner, repo, {"model.safetensors": WHOLE[:-1]})
    entry = file(hub, resolve(hub, repo, "main"), "model.safetensors")
    for _ in range(2):
        with pytest.raises(CorruptFile, match="reaches past the end"):
            header_of(hub, entry)
    assert not any(key[0] == entry.digest for key in room._headers._values)


def test_the_client_reads_the_same_metadata_from_the_hub_as_from_the_file(open_server):
    api = HfApi(open_server.url, token="hf_anyone")
    repo = api.create_repo(f"local/{fresh('facts')}").repo_id
    for path, data in SHARDED.items():
        api.upload_file(path_or_fileobj=data, path_in_repo=path, repo_id=repo)
    by_range = api.get_safetensors_metadata(repo)
    assert by_range.sharded and by_range.parameter_count == {"F16": 1600, "F32": 8}
    at_once = api.get_sharded_safetensors_metadata(repo)
    assert at_once.files_metadata == by_range.files_metadata and at_once.weight_map == by_range.weight_map
    assert at_once.metadata == {"total_size": 3232}
    info = api.model_info(repo, expand=["safetensors", "gguf"])
    assert info.safetensors.parameters == {"F16": 1600, "F32": 8} and info.safetensors.total == 1608
    assert info.gguf is None

    single = api.create_repo(f"local/{fresh('facts')}").repo_id
    api.upload_file(path_or_fileobj=WHOLE, path_in_repo="model.safetensors", repo_id=single)
    said = api.get_safetensors_metadata(single).files_metadata["model.safetensors"]
    assert said.metadata == {"format": "pt"} and said.parameter_count == {"F16": 1600, "F32": 8}
    assert api.model_info(single).safetensors.total == 1608
