"""Licence duties follow the ancestors found, add up, and say what was not checked."""

from headwater.trace.duties import LICENCES, duties_of, known


def test_a_llama_3_and_minicpm_descendant_must_bear_both_names():
    ancestors = [("meta/Llama-3-8B", "llama3"), ("openbmb/MiniCPM", "minicpm")]
    found = duties_of("apache-2.0", ancestors, "me/Llama-3-MiniCPM-x")
    assert [d.licence for d in found.duties] == ["llama3", "minicpm"]
    assert len(found.conflicts) == 1 and "apache-2.0" in found.conflicts[0] and "meta/Llama-3-8B" in found.conflicts[0]
    assert "The name does not begin with “Llama 3”." in duties_of("llama3", ancestors, "me/mine").conflicts
    assert "“MiniCPM” is not in the name." in duties_of("llama3", ancestors, "me/mine").conflicts


def test_prefixes_that_begin_alike_are_satisfied_by_the_longest_and_others_conflict():
    both = [("a/3", "llama3"), ("a/31", "llama3.1")]
    assert duties_of("llama3", both, "me/Llama-3-x").conflicts == ()


def test_a_permissive_label_on_a_model_that_forbids_commerce_or_passes_terms_on_is_a_conflict():
    for licence in ("cc-by-nc-4.0", "gemma", "openrail", "deepseek", "llama2"):
        assert len(duties_of("mit", [("a/b", licence)]).conflicts) == 1, licence
        assert duties_of(licence, [("a/b", licence)]).conflicts == ()
    assert duties_of("mit", [("a/b", "apache-2.0")]).conflicts == ()


def test_what_is_not_in_the_table_is_said_to_be_unknown_and_each_licence_is_listed_once():
    found = duties_of(None, [("a/b", None), ("a/c", "made-up"), ("a/d", "mit"), ("a/e", "mit"), ("a/e", "mit")])
    assert found.unknown == ("a/b", "a/c") and [d.of for d in found.duties] == [("a/d", "a/e")]
    assert duties_of("mit", []) == duties_of(None, [])


def test_names_are_known_as_cards_write_them():
    assert known("Apache-2.0") == "apache-2.0" and known("Tongyi Qianwen") == "tongyi-qianwen"
    assert known("bigscience-openrail-m") == "openrail" and known("qwen_research") == "qwen-research"
    assert known(None) is None and known("other") is None


def test_every_row_says_where_it_was_seen():
    assert all(licence.asks and licence.source and licence.title for licence in LICENCES.values())
    assert {key for key, licence in LICENCES.items() if licence.checked} == {"llama3", "qwen", "deepseek"}
