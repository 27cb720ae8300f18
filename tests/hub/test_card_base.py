"""A base model is written into a card, and nothing else of the card changes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.core.errors import Conflict
from headwater.hub.card import parse_card, split_card
from headwater.hub.card_base import with_base


@pytest.mark.parametrize("front", [
    "license: mit\n", "license: mit\nbase_model: a/b\ntags:\n- x\n",
    "base_model:\n- a/b\n- c/d\nbase_model_relation: merge\nlicense: mit\n",
    "base_model:\n  - a/b\n\n  - c/d\n# a word\nlicense: mit\n", "base_model: [a/b,\n  c/d]\n",
    "license: mit\r\nbase_model: x\r\n",
])
def test_older_words_give_way_and_the_rest_stays(front):
    body = "# Title\n\nbase_model: not this one\n"
    new = with_base(f"---\n{front}---\n{body}", ["me/base"], "finetune")
    before, after = parse_card(f"---\n{front}---\n".encode()).data, parse_card(new.encode()).data
    assert after == {**before, "base_model": "me/base", "base_model_relation": "finetune"}
    assert new.endswith(body) and with_base(new, ["me/base"], "finetune") == new


def test_a_readme_without_front_matter_gets_one():
    assert with_base("# Hi\n", ["a/b", "c/d"], None) == '---\nbase_model: ["a/b", "c/d"]\n---\n\n# Hi\n'
    assert split_card(with_base("", ["a/b"], None))[0] == 'base_model: "a/b"\n'


@pytest.mark.parametrize("front", ["a: [1\n", "{license: mit, base_model: a/b}\n", "'base_model': a/b\n"])
def test_what_cannot_be_edited_safely_is_left_alone(front):
    with pytest.raises(Conflict):
        with_base(f"---\n{front}---\nbody\n", ["me/base"], "finetune")


@given(st.lists(st.text(min_size=1, max_size=60), min_size=1, max_size=4), st.text("abc é:#-", max_size=30),
       st.text(max_size=80))
def test_any_name_is_read_back_as_it_was_or_refused(names, licence, body):
    readme = f"---\nlicense: {json.dumps(licence, ensure_ascii=False)}\n---\n{body}"
    try:
        new = with_base(readme, names, None)
    except Conflict:
        return
    assert parse_card(new.encode("utf-8", "surrogatepass")).data == {
        "license": licence, "base_model": names[0] if len(names) == 1 else names}
