"""Which of a rounded model and its finer kin came from which: rounding, training since, widening, and siblings."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from trace_made import Made, made, noisy, permuted, print_of, rotated, save_gguf, save_hf

from calibrate.disguise import rounded
from headwater.trace.judge import judge
from headwater.trace.judgement import Verdict
from headwater.trace.null import NullLibrary

NULL = NullLibrary.load()
BASE = made(0)


def said(tmp_path, coarse: Made, fine: Made, form: str = "Q4_0"):
    """A keeps few bits, B 16."""
    return judge(print_of(save_gguf(tmp_path / "coarse", coarse, form)), print_of(save_hf(tmp_path / "fine", fine)),
                 NULL)


def clues(found):
    return {clue.name: clue.strength for clue in found.direction_evidence}


@pytest.mark.parametrize("form", ["Q4_0", "Q5_0", "Q8_0"])
def test_a_rounded_model_is_the_child_of_the_finer_one_also_behind_a_disguise(tmp_path, form):
    for n, hidden in enumerate((BASE, permuted(rotated(BASE)))):
        found = said(tmp_path / str(n), hidden, BASE, form)
        assert found.verdict.kin and found.direction == "a-from-b", (n, clues(found), found.says)


@pytest.mark.parametrize("form", ["Q4_0", "Q4_1"])
def test_a_model_trained_a_little_from_a_rounded_one_is_its_child_and_not_the_same_weights(tmp_path, form):
    for n, change in enumerate((lambda m: m, lambda m: permuted(rotated(m)))):
        trained = change(noisy(rounded(BASE, form), 0.02))
        found = said(tmp_path / str(n), BASE, trained, form)
        assert (found.verdict, found.direction) == (Verdict.DESCENDS, "b-from-a"), (n, clues(found), found.says)


@pytest.mark.parametrize("form", ["Q4_1"])
def test_after_much_training_from_a_rounded_one_the_order_is_left_open(tmp_path, form):
    found = said(tmp_path, BASE, noisy(rounded(BASE, form), 0.4), form)
    assert (found.verdict, found.direction) == (Verdict.DESCENDS, "unknown"), clues(found)


def test_a_rounded_one_that_was_only_widened_is_left_open(tmp_path):
    """Numbers on few values are packed from 16 bits as often as they are widened to them."""
    found = said(tmp_path, BASE, rounded(BASE, "Q4_0"))
    assert (found.verdict, found.direction) == (Verdict.REENCODED, "unknown"), clues(found)


def test_training_from_a_form_with_many_zeros_turns_signs_one_way_and_is_still_training(tmp_path):
    rng = np.random.default_rng(0)
    whole = rounded(BASE, "Q4_0")
    moved = replace(whole, layers=[{n: a + rng.normal(size=a.shape).astype(np.float32) * a.std() * 0.03 for n, a in
                                    layer.items()} for layer in whole.layers])
    found = said(tmp_path, BASE, moved)
    figures = next(e for e in found.evidence if e.name == "aligned").figures
    assert min(figures["lost"], figures["gained"]) == 0 < 100 < max(figures["lost"], figures["gained"])
    assert found.verdict is Verdict.DESCENDS
