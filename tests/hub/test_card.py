"""Cards: front matter with limits, tags as search filters by them, nothing that expands."""

from __future__ import annotations

import time

import pytest
from huggingface_hub import ModelCard, ModelCardData
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.hub.card import MAX_BYTES, parse_card, parse_front, split_card, tags_of_files


def test_front_matter_is_what_stands_between_the_dashes() -> None:
    assert split_card("---\na: 1\n---\n# T\n") == ("a: 1\n", "# T\n")
    assert split_card("\ufeff---\r\na: 1\r\n---\r\nT") == ("a: 1\r\n", "T")
    assert split_card("# no front\n---\na: 1\n---\n") == ("", "# no front\n---\na: 1\n---\n")
    assert split_card("---\na rule, and no end\n") == ("", "---\na rule, and no end\n")


def test_the_tags_are_those_the_hub_of_hugging_face_makes() -> None:
    card = parse_card(b"---\nlicense: apache-2.0\nlanguage: [en, zh]\ntags: [chat, 7]\nlibrary_name: transformers\n"
                      b"pipeline_tag: text-generation\ndatasets: [a/b]\nbase_model: [x/y]\n"
                      b"base_model_relation: finetune\n---\n")
    assert set(card.tags) == {"license:apache-2.0", "en", "zh", "chat", "7", "transformers", "text-generation",
                              "dataset:a/b", "base_model:x/y", "base_model:finetune:x/y"}
    assert card.problem is None


@pytest.mark.parametrize(("front", "why"), [
    ("a: &x [1]\nb: *x", "aliases"), ("a: " + "[" * 30 + "]" * 30, "deep"), ("- a\n- b", "mapping"),
    ("a: !!python/object/apply:os.system ['true']", "could not determine a constructor"), ("a: [", "expected"),
    ("a: 'x" * 10, "block end"), ("x: " + "y" * MAX_BYTES, "longer"), ("a: 1: 2", "mapping values"),
    ("a: \x00", "special characters")])
def test_what_cannot_be_read_is_a_problem_and_no_exception(front: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        parse_front(front)
    card = parse_card(f"---\n{front}\n---\n".encode())
    assert card.problem and card.data == {} and card.tags == ()


def test_the_billion_laughs_take_no_time() -> None:
    laughs = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 12))
    started = time.monotonic()
    assert "alias" in parse_card(f"---\n{laughs}---\n".encode()).problem
    assert time.monotonic() - started < 1


def test_values_become_plain_json() -> None:
    data = parse_front("d: 2024-01-02\nf: .nan\ni: .inf\ns: !!set {a, b}\n1: x\nb: !!binary aGk=\nt: 12:30:45")
    assert data["d"] == "2024-01-02" and data["f"] == "nan" and data["1"] == "x"
    assert all(isinstance(v, str | int | list | dict) for v in data.values())


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda s: f"---\n{s}\n---".encode("utf-8", "replace")))
def test_no_bytes_break_the_reading_of_a_card(readme: bytes) -> None:
    card = parse_card(readme)
    assert len(card.tags) <= 200 and all(isinstance(tag, str) for tag in card.tags)


@settings(max_examples=50, deadline=None)
@given(license=st.sampled_from(["mit", "other"]), tags=st.lists(st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True),
                                                              max_size=4, unique=True))
def test_a_card_the_client_wrote_reads_back(license: str, tags: list[str]) -> None:
    text = f"---\n{ModelCardData(license=license, tags=tags or None).to_yaml()}\n---\n# hi\n"
    card = parse_card(text.encode())
    assert card.data == ModelCard(text).data.to_dict()


def test_files_speak_for_themselves() -> None:
    assert tags_of_files(["model.safetensors", "config.json"]) == ["safetensors", "transformers"]
    assert tags_of_files(["x.Q4_0.GGUF"]) == ["gguf"]
    assert tags_of_files(["model_index.json", "config.json", "pytorch_model.bin"]) == ["pytorch", "diffusers"]
