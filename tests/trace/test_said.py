"""Sentences that know what they were made of: through JSON and back, in other languages, and of records of before."""

from __future__ import annotations

import copy
import json
import pickle

from trace_made import made, noisy, permuted, print_of, rotated, save_gguf, save_hf

from headwater.trace.judge import judge
from headwater.trace.judgement import Evidence, Judgement
from headwater.trace.null import NullLibrary
from headwater.trace.said import Said, as_told, clauses, from_told, said, sentences
from headwater.trace.work import finite
from headwater.web.told import in_words
from headwater.web.words import words

ZH = words("zh_Hans")


def test_a_sentence_is_its_english_text_and_keeps_what_it_was_made_of():
    one = said("%(n)s of %(of)s rows", n=3, of="16")
    both = sentences([said("First 100 %."), clauses([one, "plain"])])
    assert both == "First 100 %. 3 of 16 rows; plain" and one.places == {"n": "3", "of": "16"}
    for again in (copy.deepcopy(both), pickle.loads(pickle.dumps(both)),
                  from_told(json.loads(json.dumps(finite(as_told(both)))), "")):
        assert again == both and isinstance(again, Said) and as_told(again) == as_told(both)
    assert as_told("plain") is None and from_told(None, "plain") == "plain" and sentences([]) == ""


def test_every_sentence_of_a_judgement_can_be_said_in_chinese_with_its_figures(tmp_path):
    null, base = NullLibrary.load(), made(0)
    prints = [print_of(save_hf(tmp_path / "base", base)), print_of(save_hf(tmp_path / "other", made(9))),
              print_of(save_gguf(tmp_path / "child", permuted(rotated(noisy(base, 0.05)))))]
    prints.append(print_of(save_hf(tmp_path / "wide", made(3, d=64, layers=3))))
    for one in prints:
        for two in prints:
            found = judge(one, two, null)
            again = Judgement.from_json(json.loads(json.dumps(finite(found.as_json()))))
            for text in (again.says, *(e.says for e in (*again.evidence, *again.direction_evidence))):
                told = in_words(ZH, text)
                assert isinstance(text, Said) and any("\u4e00" <= c <= "\u9fff" for c in told), text
                assert sorted(_figures(told)) == sorted(_figures(text)), (text, told)


def _figures(text):
    plain = "".join(c if c.isascii() and (c.isdigit() or c in ".,") else " " for c in text)
    return [part.strip(".,") for part in plain.split() if part.strip(".,")]


def test_evidence_of_a_record_of_before_is_read_and_shown_as_it_was_written():
    old = {"name": "hashes", "strength": "none", "says": "No tensor was left as it is.", "figures": {}}
    read = Evidence.from_json(old)
    assert read.says == old["says"] and not isinstance(read.says, Said)
    assert Evidence.from_json(read.as_json()) == read
