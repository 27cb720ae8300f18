"""Token strings of every tokenizer file mean the same canonical bytes."""

import contextlib
import json

import gguf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from real_models import smollm2_gguf

from headwater.core.errors import CorruptFile, HeadwaterError
from headwater.weights import tokens
from headwater.weights.read import read_header
from headwater.weights.source import BytesSource, FileSource

FILLER = [f"Ġfill{n}" for n in range(40)]


def canonical(found):
    return [found.canonical(n) for n in range(len(found))]


def sentencepiece(pieces):
    """The wire form of ModelProto: field 1, message of field 1 (piece), field 2 (score, float), field 3 (type)."""
    out = b""
    for piece in pieces:
        text = piece.encode()
        inner = bytes([0x0A, len(text)]) + text + b"\x15\x00\x00\x80\xbf" + b"\x18\x01"
        out += bytes([0x0A, len(inner)]) + inner
    return out + b"\x12\x02\x08\x01"  # a trainer spec


def test_the_same_word_of_three_tokenizers_is_the_same_bytes():
    byte_level = tokens.read_tokens("vocab.json", json.dumps(
        {w: n for n, w in enumerate([*FILLER, "Ġthe", "ing", "Ċ", "Ã©"])}).encode())
    pieces = tokens.read_tokens("tokenizer.model", sentencepiece(
        [*(w.replace("Ġ", "▁") for w in FILLER), "▁the", "ing", "<0x0A>", "é"]))
    word_piece = tokens.read_tokens("vocab.txt", "\n".join(
        [*(w[1:] for w in FILLER), "the", "##ing", "##a", "##b", "##c"]).encode())
    assert canonical(byte_level)[40:] == [b" the", b"ing", b"\n", "é".encode()]
    assert canonical(pieces)[40:] == [b" the", b"ing", b"\n", "é".encode()]
    assert canonical(word_piece)[40:42] == [b" the", b"ing"]
    assert canonical(byte_level)[:40] == canonical(pieces)[:40] == canonical(word_piece)[:40]


def test_tokenizer_json_gives_vocabulary_and_added_tokens_by_number():
    data = {"version": "1.0", "added_tokens": [{"id": 42, "content": "<|end|>", "special": True}],
            "model": {"type": "BPE", "vocab": {w: n for n, w in enumerate(FILLER)}, "merges": ["Ġ t", "h e"] * 50}}
    found = tokens.read_tokens("tokenizer.json", json.dumps(data, indent=2).encode())
    assert len(found) == 43
    assert found.text(42) == b"<|end|>"
    assert found.text(40) == b""
    assert found.canonical(1) == b" fill1"


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(st.text(st.characters(codec="utf-8") | st.just("\ud800"), max_size=6), st.integers(0, 30),
                       min_size=1))
def test_any_strings_are_told_apart_by_their_numbers_and_of_two_with_one_number_the_later_counts(vocabulary):
    found = tokens.read_tokens("vocab.json", json.dumps(vocabulary).encode())
    expected = {number: token.encode("utf-8", "replace") for token, number in vocabulary.items()}
    assert len(found) == max(expected) + 1
    assert [found.text(n) for n in range(len(found))] == [expected.get(n, b"") for n in range(len(found))]


def test_a_unigram_vocabulary_is_a_list_with_scores():
    data = {"model": {"type": "Unigram", "vocab": [["<unk>", 0], ["▁the", -1.5]] + [["▁x", -2]] * 9}}
    found = tokens.read_tokens("tokenizer.json", json.dumps(data).encode())
    assert found.canonical(1) == b" the"


def test_a_text_vocabulary_has_as_many_tokens_as_lines():
    assert len(tokens.read_tokens("vocab.txt", b"a\r\nb\nc\n")) == 3


def test_the_tokens_of_a_real_gguf_are_those_the_gguf_package_reads():
    path = smollm2_gguf()
    with FileSource(path) as source:
        found = tokens.from_gguf(source, read_header(source).data_start)
    field = gguf.GGUFReader(path).fields["tokenizer.ggml.tokens"]
    assert len(found) == len(field.data)
    for number in range(0, len(found), 997):
        assert found.text(number) == bytes(field.parts[field.data[number]])
    assert found.style == "bytes"
    assert b" the" in canonical(found)[:1000]


def test_a_gguf_without_tokens_has_none():
    assert tokens.from_gguf(BytesSource(b"GGUF" + bytes(100)), 104) is None


@pytest.mark.parametrize(("name", "data"), [
    ("tokenizer.json", b"{"), ("tokenizer.json", b"\xff\xfe"), ("tokenizer.json", b'{"model": {}}'),
    ("tokenizer.json", b'{"vocab": ' + b"[" * 100_000), ("tokenizer.json", b'{"vocab": {"a": -1}}'),
    ("tokenizer.json", b'{"vocab": {"a": 99999999999}}'), ("vocab.json", b"[]"), ("vocab.json", b"3"),
    ("tokenizer.model", b""), ("tokenizer.model", b"\x0a\xff\xff\xff\xff\x0f"), ("tokenizer.model", b"\xff" * 20)])
def test_a_vocabulary_that_does_not_hold_together_is_refused(name, data):
    with pytest.raises(CorruptFile):
        tokens.read_tokens(name, data)


def test_a_vocabulary_bomb_is_refused_before_it_is_read(monkeypatch):
    monkeypatch.setattr(tokens, "MAX_BYTES", 1000)
    with pytest.raises(CorruptFile, match="1000"):
        tokens.read_tokens("tokenizer.json", bytes(1001))
    monkeypatch.setattr(tokens, "MAX_TOKENS", 10)
    with pytest.raises(CorruptFile, match="10"):
        tokens.read_tokens("vocab.txt", b"a\n" * 30)


@given(st.sampled_from(tokens.FILES), st.binary(max_size=200))
def test_whatever_the_bytes_reading_ends_in_tokens_or_a_told_error(name, data):
    with contextlib.suppress(HeadwaterError):
        canonical(tokens.read_tokens(name, data))
