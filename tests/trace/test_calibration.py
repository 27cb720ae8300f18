"""The null library holds, models trained anew agree with it, and what docs/calibration.md says is what was measured."""

import json
import re
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from smollm2_part import part_of_smollm2
from trace_made import hf_tensors, made, noisy, permuted, rotated, save, save_hf

from calibrate import FOLDER, ROOT, baselines, middle, report, text, tiny
from calibrate.cases import Case, read_cases, run
from calibrate.disguise import compose, made_of, print_of, rounded, scaled, stream_permuted
from calibrate.measure import FILE
from calibrate.populations import descendants, independents
from headwater.trace.judge import judge
from headwater.trace.judgement import Verdict
from headwater.trace.null import LINES, NullLibrary
from headwater.trace.pair import LINE

NULL = NullLibrary.load()
FIGURES = json.loads(FILE.read_text("utf-8"))


# --- what is stored

def test_no_independent_pair_of_the_library_reaches_the_line_of_its_kind():
    for kind, line in LINES.items():
        over = [pair for pair in NULL.pairs.get(kind, ()) if pair.median >= line.kin]
        assert not over, f"{kind}: {over}"


def test_no_independent_pair_compared_in_whole_reaches_half_the_line():
    assert NULL.whole.keys() == {"gated", "plain", "tiny"}
    assert all(one.pairs >= 50 and max(one.greatest.values()) < LINE / 2 for one in NULL.whole.values())


def test_the_library_holds_a_thousand_independent_pairs_and_none_was_called_kin():
    assert len(NULL.pairs["tiny"]) == len(list(combinations(independents(), 2))) >= 1_000
    assert FIGURES["called kin"]["kin"] == []
    assert sum(FIGURES["called kin"]["verdicts"].values()) == len(NULL.pairs["tiny"])


def test_two_hundred_descendants_were_judged_plain_and_disguised():
    assert sum(one["n"] for one in FIGURES["operations"]) >= 200
    names = [plan.name for plan in (*independents(), *descendants())]
    assert len(names) == len(set(names))
    apart = [one for one in FIGURES["operations"] if one["operation"] != report.GAP]
    assert all(one[state]["found"] == one["n"] for one in apart for state in ("plain", "disguised"))
    assert all(one[state]["whole"] == one["n"] for one in FIGURES["operations"] for state in ("plain", "disguised"))


def test_encoders_and_gated_models_of_middling_size_have_a_null_of_their_own_and_all_descendants_were_found():
    assert len(NULL.pairs["plain"]) >= 100 and len(NULL.pairs["gated"]) >= 50
    found = FIGURES["middle"]
    for kind in ("encoder", "gated"):
        apart = found[f"{kind}s apart"]
        assert apart["kin"] == [] and apart["models"] == len(middle.independents(kind))
        rows = found[f"{kind}s' descendants"]
        assert sum(one["n"] for one in rows) == len(middle.descendants(kind))
        assert all(one[state]["found"] == one["n"] for one in rows for state in ("plain", "disguised") if state in one)
    assert sum(one["n"] for one in found["encoders' descendants"]) >= 20


def test_smollm2_is_found_behind_every_disguise_by_the_fingerprints_or_by_both_files_and_no_stranger_is():
    for one in FIGURES["real"]:
        assert (one["found"] or one.get("whole", {}).get("kin", False)) == one["kin"], one["case"]


def test_the_page_says_what_was_measured():
    assert report.TARGET.read_text("utf-8") == report.page(FIGURES, NULL)


def test_the_methods_beside_find_no_more_than_trace_does():
    ours, *others = FIGURES["baselines"]
    for state in ("plain", "disguised"):
        assert all(one[state]["found"] <= ours[state]["found"] for one in others), state


# --- trained anew

def test_the_gradients_of_the_tiny_models_are_those_of_their_loss():
    rng = np.random.default_rng(0)
    params = {name: a + rng.normal(size=a.shape) * 0.05
              for name, a in tiny.stack([tiny.begin(n, 16, 24, 2) for n in range(2)]).items()}
    tokens = rng.integers(0, text.VOCABULARY, (2, 2, 7))
    grads, _ = tiny._gradients(params, tokens, None)
    for name, a in params.items():
        place = (1, *(int(rng.integers(side)) for side in a.shape[1:]))
        place = (1, int(tokens[1, 0, 1]), place[2]) if name == "embed" else place
        moved = []
        for step in (1e-5, -1e-5):
            other = {key: x.copy() for key, x in params.items()}
            other[name][place] += step
            moved.append(tiny._gradients(other, tokens, None)[1][1])
        assert np.isclose((moved[0] - moved[1]) / 2e-5, grads[name][place], atol=1e-7, rtol=1e-4), name


@pytest.fixture(scope="module")
def sample():
    """Three models trained apart on the same data in the same order, and one tuned from the first on other data."""
    words, bodies = text.bodies()
    apart, losses = tiny.train([tiny.begin(n) for n in range(3)], tiny.Course(36, ["source"] * 3, [1] * 3), bodies)
    assert losses.max() < 5.5, "they learnt nothing"
    child = tiny.train(apart[:1], tiny.Course(12, ["english"], [2], rate=1e-3), bodies)[0][0]
    return [made_of(params, words) for params in (*apart, child)]


def test_models_trained_anew_on_the_same_data_in_the_same_order_are_not_kin(sample):
    prints = [print_of(model) for model in sample[:3]]
    for one, two in combinations(prints, 2):
        found = judge(one, two, NULL)
        assert not found.verdict.kin and found.agreement < LINES["tiny"].kin / 1.5, found.says


def test_a_model_tuned_anew_descends_and_a_rotated_rounded_copy_of_it_too(sample):
    base, child = print_of(sample[0]), sample[3]
    assert judge(base, print_of(child), NULL).verdict is Verdict.DESCENDS
    hidden = rounded(rotated(scaled(permuted(child))), "Q4_0")
    assert judge(base, print_of(hidden), NULL).verdict is Verdict.DESCENDS
    assert not judge(print_of(sample[1]), print_of(hidden), NULL).verdict.kin


@settings(max_examples=8, deadline=None, phases=[Phase.generate, Phase.explicit],
          suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1))
def test_no_composition_of_disguises_hides_a_model_or_makes_kin_of_a_stranger(sample, seed):
    drawn = compose(sample[3], np.random.default_rng(seed), head=16)
    hidden = print_of(drawn.model)
    found = judge(print_of(sample[0]), hidden, NULL)
    assert found.verdict.kin, f"{drawn.names}: {found.says}"
    stranger = judge(print_of(sample[1]), hidden, NULL)
    assert not stranger.verdict.kin, f"{drawn.names}: {stranger.says}"


# --- the methods beside

def test_assignments_cost_the_least():
    from itertools import permutations

    rng = np.random.default_rng(0)
    for _ in range(20):
        cost = rng.normal(size=(4, 5))
        best = min(permutations(range(5), 4), key=lambda columns: sum(cost[n, c] for n, c in enumerate(columns)))
        assert tuple(baselines.assign(cost)) == best


def test_the_methods_beside_do_what_their_papers_say():
    model, other = made(0, d=64), made(1, d=64)
    assert baselines.awm(model, stream_permuted(model)) > 0.8 > 0.2 > baselines.awm(model, other)
    assert baselines.awm(model, rotated(model)) < 0.2
    assert baselines.spectra(model, permuted(model)) > baselines.spectra(model, other)
    assert baselines.weightscope(model, model) == 1.0 and baselines.weightscope(model, noisy(model, 0.01)) < 0.01
    assert baselines.std_fingerprint(model, rounded(model, "Q8_0")) > 0.99


# --- named cases

def test_the_named_cases_say_what_is_expected_where_the_record_is_settled():
    cases = read_cases()
    assert len(cases) >= 31 and len({(case.a, case.b) for case in cases}) == len(cases)
    for case in cases:
        assert case.record and (case.allowed or not case.settled), case
        assert all(re.fullmatch(r"[\w.-]+/[\w.-]+", name) for name in (case.a, case.b)), case


def test_the_forms_of_the_named_cases_are_told_apart_with_one_command(tmp_path):
    """Llama 2 and Yi: one shape, renamed norms, trained apart. MiniCPM and Llama3-V: renamed, a little noise, a vision
    tower."""
    whole = part_of_smollm2(5)
    part = replace(whole, words=whole.words[:12_000], embed=whole.embed[:12_000])
    save_hf(tmp_path / "a/base", part)
    rng = np.random.default_rng(0)

    def drawn(array):
        return rng.normal(array.mean(), array.std(), array.shape).astype(np.float32)

    apart = replace(part, embed=drawn(part.embed), layers=[{n: drawn(a) for n, a in y.items()} for y in part.layers])
    renamed = {name.replace("input_layernorm", "ln1").replace("post_attention_layernorm", "ln2"): array
               for name, array in hf_tensors(apart).items()}
    save(tmp_path / "b/apart", renamed, part.words)
    blurred = {f"llm.{name}": a if a.ndim == 1 else a + rng.normal(size=a.shape).astype(np.float32) / 708
               for name, a in hf_tensors(part).items()}
    tower = {f"vpm.blocks.{n}.attn.weight": rng.normal(size=(96, 96)) for n in range(3)}
    save(tmp_path / "c/noise", blurred | tower, part.words)
    cases = [Case("a/base", "b/apart", "apart", ("apart",), "here", True),
             Case("a/base", "c/noise", "renamed, with noise", ("kin",), "here", True),
             Case("a/base", "d/away", "not here", ("kin",), "here", True)]
    told = []
    assert run(str(tmp_path), told.append, cases) == 0
    assert [line.split()[0] for line in told[:3]] == ["agrees", "agrees", "not"] and told[0].count("same-architecture")
    wrong = [replace(cases[0], expect=("kin",))]
    assert run(str(tmp_path), told.append, wrong) == 1 and run(str(tmp_path / "none"), told.append, cases) == 2


def test_what_was_trained_is_kept_out_of_the_repo():
    assert ROOT not in FOLDER.parents or ".venv" in FOLDER.parts
