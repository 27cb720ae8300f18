"""Every family of the founding story: its template, where it stops, BOS once. Genuine vocabularies and templates
where a package carries them; what they must say is in conversations.py."""

import pytest
from conversations import FAMILIES, Family

from headwater.weights.describe import Template
from headwater.weights.marks import Mark, from_papers, from_sentencepiece, from_tokenizer_json
from headwater.weights.speech import SENTENCES, Voice, audit, bos_of, choose_template
from headwater.weights.template import Case, one_bos, render

ASK = [{"role": "user", "content": "Where does 河水 run?"}]


@pytest.fixture(params=FAMILIES, ids=lambda family: family.name)
def family(request) -> Family:
    return request.param


def test_the_answer_stops_where_any_file_says_and_nowhere_else(family):
    assert {stop.id for stop in audit(family.voice()).stops} == family.stops


def test_the_prompt_ends_where_the_answer_begins_and_bos_stands_once(family):
    voice = family.voice()
    bos, adds = bos_of(voice)
    assert bos == family.bos
    chosen = choose_template(voice)
    text = one_bos(render(chosen.text, Case(ASK, True, {"bos_token": bos or "", "eos_token": "</s>"})), bos, adds)
    assert ASK[0]["content"] in text
    assert text.endswith(family.opened)
    if bos:
        assert text.count(bos) == (1 if adds or "bos_token" in chosen.text or bos in chosen.text else 0)


def test_the_audit_says_what_is_known_of_the_family_and_nothing_bad(family):
    remarks = audit(family.voice()).remarks
    assert family.remarks <= {remark.code for remark in remarks}
    assert [remark.says for remark in remarks if remark.state == "bad"] == []
    assert all("%(" not in remark.says for remark in remarks)


def test_thinking_is_switched_by_the_templates_own_word():
    qwen3 = next(f for f in FAMILIES if f.name == "Qwen 3").voice().template.text
    off = render(qwen3, Case(ASK, True, {"enable_thinking": False}))
    assert off.endswith("<think>\n\n</think>\n\n") and not render(qwen3, Case(ASK, True, {})).endswith("</think>\n\n")


@pytest.mark.parametrize(("template", "code"), [
    ("{% if %}", "broken"), ("{{ raise_exception('no') }}", "broken"), ("{{ 'hello' }}", "loses"),
    ("{{ bos_token }}{{ bos_token }}{{ messages[-1].content }}", "twice-bos"),
    ("{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
     "{{ m.content }}{% endfor %}", "no-system"),
    ("{% for m in messages if m.role != 'system' %}{{ m.content }}{% endfor %}", "drops-system"),
    ("{% for m in messages %}<|x|>{{ m.content }}<|y|>{% endfor %}", "end-in-pieces"),
    ("{% for m in messages %}<|x|>{{ m.content }}<|y|>{% endfor %}", "no-opening"),
    ("{{ messages[-1].content }}<think>", "thinks"),
])
def test_the_audit_finds(template, code):
    marks = {"<s>": Mark(1, True), "</s>": Mark(2, True)}
    voice = Voice(marks=marks, tokenizer={"bos_token": "<s>", "eos_token": "</s>"}, template=Template(template, "x"))
    assert code in {remark.code for remark in audit(voice).remarks}


def test_a_model_without_any_end_is_told_so():
    assert "no-stop" in {remark.code for remark in audit(Voice(marks={})).remarks}


def test_nonsense_in_every_file_is_borne():
    wild = {"eos_token_id": [{}, "2", True, -1, 1 << 40, None], "eos_token": ["x"], "bos_token": 5,
            "tokenizer.ggml.eos_token_id": "x", "tokenizer.ggml.bos_token_id": []}
    assert audit(Voice(wild, wild, wild, wild, {}, Template("{{ messages }}", "x"))).stops == ()


def test_marks_are_read_from_each_kind_of_file():
    head = b'{"version": "1.0", "added_tokens": [{"id": 7, "content": "<|im_end|>", "special": true}], "model": {"v'
    assert from_tokenizer_json(head) == {"<|im_end|>": Mark(7, True)}
    assert from_tokenizer_json(b'{"added_tokens": [') == {} == from_tokenizer_json(b"\xff" * 9)
    assert from_papers({"added_tokens_decoder": {"7": {"content": "<a>"}, "x": {}, "8": 3}}, {"<b>": 9, "c": "d"}) == {
        "<a>": Mark(7, True), "<b>": Mark(9, True)}


def test_marks_of_a_sentencepiece_model_have_their_numbers_and_kinds():
    def piece(text: str, kind: int) -> bytes:
        body = b"\x0a" + bytes([len(text.encode())]) + text.encode() + b"\x15\0\0\0\0\x18" + bytes([kind])
        return b"\x0a" + bytes([len(body)]) + body

    data = piece("<unk>", 2) + piece("<s>", 3) + piece("river", 1) + piece("<reserved_106>", 1) + b"\x12\x02\x08\x01"
    assert from_sentencepiece(data) == {
        "<unk>": Mark(0, False), "<s>": Mark(1, True), "<reserved_106>": Mark(3, False)}


def test_the_pages_say_the_same_sentences():
    from headwater.web.pages.weights import sentences
    from headwater.web.words import words

    assert sentences(words("en")) == {code: text for code, (_, text) in SENTENCES.items()}
