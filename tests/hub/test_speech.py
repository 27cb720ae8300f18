"""What the hub says of how a revision's model is spoken with, from files in the repo."""

import json

import gguf
import numpy as np
import pytest
from llama_cpp_files import vocabulary

from headwater.core.types import Actor, Repo
from headwater.hub import Hub
from headwater.hub.browse import resolve
from headwater.hub.commit import Add, commit
from headwater.hub.doctor import examine_model
from headwater.hub.intake import stage
from headwater.hub.speech import speech


def put(hub: Hub, owner: Actor, repo: Repo, contents: dict[str, bytes]) -> None:
    commit(hub, owner, repo, "main", [Add(path, content) for path, content in contents.items()], title="files")


def test_the_ends_of_all_files_are_joined_and_the_page_of_a_repo_without_text_has_none(hub, owner, repo):
    put(hub, owner, repo, {"notes.txt": b"hello"})
    assert speech(hub, repo, resolve(hub, repo, "main")) is None
    put(hub, owner, repo, {
        "config.json": b'{"eos_token_id": 2}', "generation_config.json": b'{"eos_token_id": [7, 2]}',
        "tokenizer_config.json": json.dumps({"eos_token": "<|endoftext|>", "chat_template": [
            {"name": "rag", "template": "r"}, {"name": "default", "template": "{{ messages[-1].content }}<|im_end|>"}],
            "added_tokens_decoder": {"2": {"content": "<|endoftext|>"}, "7": {"content": "<|im_end|>"}}}).encode()})
    said = speech(hub, repo, resolve(hub, repo, "main"))
    assert [(stop.id, stop.text) for stop in said.stops] == [(2, "<|endoftext|>"), (7, "<|im_end|>")]
    assert said.template.source == "tokenizer_config.json"


def test_a_jinja_file_in_the_repo_goes_before_the_template_in_the_gguf(hub, owner, repo):
    staged = stage(hub, [vocabulary("qwen2").read_bytes()], limit=20_000_000)
    commit(hub, owner, repo, "main", [Add("qwen2.gguf", staged=staged)], title="weights")
    head = resolve(hub, repo, "main")
    assert speech(hub, repo, head).template.source == "qwen2.gguf"
    checks, _ = examine_model(hub, repo, head)
    assert any(c.name == "template" and "<|im_end|> (151645: the template)" in c.says for c in checks)
    put(hub, owner, repo, {"chat_template.jinja": b"{{ oops"})
    head = resolve(hub, repo, "main")
    assert speech(hub, repo, head).template.source == "chat_template.jinja"
    checks, _ = examine_model(hub, repo, head)
    assert any(c.name == "template" and c.state == "bad" for c in checks)


@pytest.mark.parametrize(("length", "told"), [(1.0, False), (3.0, True)])
def test_a_baichuan_2_whose_head_was_not_normalised_is_told(hub, owner, repo, tmp_path, length, told):
    words = [f"w{n}" for n in range(300)]
    words[195:197] = ["<reserved_106>", "<reserved_107>"]
    draws = np.random.default_rng(0).standard_normal((300, 32)).astype(np.float32)
    writer = gguf.GGUFWriter(tmp_path / "b.gguf", "baichuan")
    writer.add_tokenizer_model("llama")
    writer.add_token_list(words)
    writer.add_token_types([gguf.TokenType.NORMAL] * 300)
    writer.add_tensor("output.weight", (length * draws / np.linalg.norm(draws, axis=1, keepdims=True)).astype("f2"))
    writer.write_header_to_file(), writer.write_kv_data_to_file(), writer.write_tensors_to_file(), writer.close()
    put(hub, owner, repo, {"b.gguf": (tmp_path / "b.gguf").read_bytes()})
    remarks = {remark.code: remark for remark in speech(hub, repo, resolve(hub, repo, "main")).remarks}
    assert ("plain-head" in remarks) == told and "default" in remarks
    assert not told or "3.00 to 3.00 long" in remarks["plain-head"].says
