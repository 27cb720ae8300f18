"""Families put together from the judgements of their pairs."""

from itertools import combinations

import pytest
from disguises import layers, merged, other_words
from trace_made import made, noisy, permuted, print_of, rotated, save_gguf, save_hf

from headwater.trace.judge import judge
from headwater.trace.judgement import Verdict
from headwater.trace.null import NullLibrary
from headwater.trace.tree import angle_of, grow_tree

NULL = NullLibrary.load()


def prints(folder, models):
    return {name: print_of(save_gguf(folder / name, model[0], model[1]) if isinstance(model, tuple)
                           else save_hf(folder / name, model)) for name, model in models.items()}


def judged(found):
    return {pair: judge(found[pair[0]], found[pair[1]], NULL) for pair in combinations(sorted(found), 2)}


@pytest.fixture(scope="module")
def family(tmp_path_factory):
    """Two families: base -> chat -> (chat8, a hidden copy), base -> code, chat + code -> mixed; other -> other-cut."""
    base, other = made(0), made(1)
    chat, code = noisy(base, 0.3, 1), noisy(base, 0.3, 2)
    models = {"base": base, "chat": chat, "code": code, "mixed": merged(chat, code), "chat8": (chat, "Q8_0"),
              "hidden": rotated(permuted(layers(chat, [0, 1, 3]))), "other": other,
              "other-more": other_words(noisy(other, 0.2, 3), 1.0), "stranger": made(2)}
    return judged(prints(tmp_path_factory.mktemp("family"), models))


NAMES = ["base", "chat", "code", "mixed", "chat8", "hidden", "other", "other-more", "stranger"]


def test_families_stay_apart_and_a_stranger_alone(family):
    tree = grow_tree(NAMES, family)
    assert set(tree.families) == {("base", "chat", "chat8", "code", "hidden", "mixed"), ("other", "other-more")}
    assert tree.alone == ("stranger",)


def test_copies_hang_on_the_model_they_were_made_of(family):
    tree = grow_tree(NAMES, family)
    known = {(b.parent, b.child) for b in tree.branches if b.order == "weights"}
    assert {("chat", "chat8"), ("other", "other-more")} <= known
    assert ("chat", "hidden") in known or ("chat8", "hidden") in known
    assert tree.parents("chat8") == ["chat"] and "other" in tree.roots


def test_without_evidence_the_order_is_left_open(family):
    tree = grow_tree(["base", "code"], family)
    assert [(b.order, b.verdict) for b in tree.branches] == [("open", Verdict.DESCENDS)]
    assert tree.roots == ()


def test_a_model_between_two_others_looks_merged_and_is_one_when_proved(family):
    tree = grow_tree(NAMES, family)
    assert ("mixed", "chat", "code") in tree.looks_merged
    proved = grow_tree(NAMES, family, {"mixed": ("chat", "code")})
    assert sorted(proved.parents("mixed")) == ["chat", "code"]
    assert {b.verdict for b in proved.branches if b.child == "mixed"} == {Verdict.MERGE}
    proved.as_json()


def test_an_ordered_edge_orders_those_behind_it(tmp_path):
    one = made(0)
    wide = other_words(noisy(one, 0.2, 1), 1.0)
    child, grandchild = noisy(wide, 0.2, 2), noisy(noisy(wide, 0.2, 2), 0.2, 3)
    found = prints(tmp_path, {"one": one, "wide": wide, "child": child, "grandchild": grandchild})
    tree = grow_tree(sorted(found), judged(found))
    assert [(b.parent, b.child, b.order) for b in tree.branches] == [
        ("child", "grandchild", "tree"), ("one", "wide", "weights"), ("wide", "child", "tree")]
    assert tree.roots == ("one",)


def test_angles_do_not_change_when_a_copy_is_hidden(tmp_path):
    one, two = made(0), noisy(made(0), 0.3)
    found = prints(tmp_path, {"one": one, "two": two, "hidden": rotated(permuted(two))})
    plain, turned = (angle_of(judge(found["one"], found[name], NULL)) for name in ("two", "hidden"))
    assert turned == pytest.approx(plain, rel=0.1) and plain > 0.1


@pytest.mark.parametrize("first", ["here", "there"])
def test_a_copy_of_weights_that_are_there_twice_hangs_on_those_that_were_there_first(tmp_path, first):
    base = made(0)
    found = judged(prints(tmp_path, {"here": base, "there": base, "small": (base, "Q8_0")}))
    assert found["here", "there"].verdict is Verdict.IDENTICAL
    tree = grow_tree([*sorted(("here", "there"), key=lambda name: name != first), "small"], found)
    assert tree.parents("small") == [first]
