"""Adapters beside models and beside each other: which base one was trained on, what holds it, which are one change."""

from __future__ import annotations

import numpy as np
import pytest
from adapters_made import PEFT, adapter_files, merged, model_files, trained
from trace_made import made, save_gguf

from calibrate.disguise import in_whole, print_of_files
from headwater.core.errors import BadInput
from headwater.trace.adapters import Named, fit, stem_of
from headwater.trace.applied import find_applied
from headwater.trace.grown_on import ORDERS, grown_on
from headwater.trace.judge import judge
from headwater.trace.judgement import Judgement, Verdict
from headwater.trace.null import NullLibrary
from headwater.trace.reader import Reader
from headwater.trace.roles import find_roles
from headwater.weights.source import BytesSource

NULL = NullLibrary.load()
SPELLINGS = [PEFT, "base_model.model.model.layers.{n}.{module}.lora_{half}.default.weight",
             "diffusion_model.layers.{n}.{module}.lora_{word}.weight",
             "lora_te_model_layers_{n}_{under}.lora_{word}.weight",
             "transformer.model.layers.{n}.{module}.lora_{half}.weight"]


def opened(files):
    return Reader(lambda name: BytesSource(files[name]), {name: len(data) for name, data in files.items()})


def deeper(a, b) -> Judgement:
    """What is said of two models' files in whole."""
    said = judge(print_of_files(a), print_of_files(b), NULL)
    return in_whole(said, a, b, 4, 4)


@pytest.fixture(scope="module")
def world():
    """Files of two bases, and of an adapter trained on each."""
    bases, adapters = trained()
    return [model_files(base) for base in bases], [adapter_files(pairs) for pairs in adapters]


def test_an_adapter_is_told_the_base_it_was_trained_on_and_no_other_of_the_same_shape(world):
    bases, adapters = world
    for n in range(2):
        found = deeper(adapters[n], bases[n])
        assert (found.verdict, found.direction) == (Verdict.ADAPTER, "a-from-b"), found.says
        assert next(e for e in found.evidence if e.name == "grown on").figures["log10_p"] < -9
        other = deeper(bases[1 - n], adapters[n])
        assert other.verdict is Verdict.CANNOT_TELL and "proves nothing" in other.says
        assert next(e for e in other.evidence if e.name == "grown on").figures["met"] <= 2


def test_a_base_that_was_tuned_since_passes_and_one_whose_neurons_were_shuffled_does_not(world):
    bases, rng = trained()[0], np.random.default_rng(0)
    tuned = {name: array + rng.normal(size=array.shape).astype(np.float32) * array.std() * 0.05
             for name, array in bases[0].items()}
    assert deeper(world[1][0], model_files(tuned)).verdict is Verdict.ADAPTER
    shuffled = dict(bases[0])
    for n in range(4):
        order, places = rng.permutation(256), rng.permutation(64)
        shuffled |= {f"{n}.{name}": bases[0][f"{n}.{name}"][order] for name in ("gate", "up")}
        shuffled[f"{n}.down"] = bases[0][f"{n}.down"][:, order]
        shuffled |= {f"{n}.v": bases[0][f"{n}.v"][places], f"{n}.o": bases[0][f"{n}.o"][:, places]}
    found = deeper(world[1][0], model_files(shuffled))
    assert found.verdict is Verdict.CANNOT_TELL and not found.verdict.kin, found.says


def test_adapters_of_random_numbers_meet_a_model_as_often_as_chance_says():
    met = tried = 0
    rng = np.random.default_rng(0)
    for seed in range(10):
        base = made(seed, d=64, f=128, layers=4, vocabulary=300)
        named = {f"{n}.{name}": array for n, layer in enumerate(base.layers) for name, array in layer.items()}
        pairs = {f"{n}.{name}/{half}": rng.normal(size=(4, 64) if half == "a" else (128, 4))
                 for n in range(4) for name in ("gate", "up") for half in "ab"}
        files = adapter_files(pairs)
        model = model_files({"embed": base.embed, "norm": base.embed[0], **named})
        with opened(files) as a, opened(model) as b:
            found = grown_on(a, b, fit(find_roles(a.header), b.header).targets)
        met, tried = met + found.met, tried + found.of
    assert tried == 40 and met <= 5 and ORDERS == 39


def test_what_is_merged_into_a_model_is_found_with_its_size_and_what_is_not_is_not():
    bases, adapters = trained()
    child, two = merged(bases[0], (adapters[0], 0.7)), merged(bases[0], (adapters[0], 0.5), (adapters[1], -0.25))
    readers = [opened(model_files(m)) for m in (child, two, bases[0], bases[1])]
    pairs = [("mine", opened(adapter_files(adapters[0]))), ("other", opened(adapter_files(adapters[1])))]
    found = find_applied(readers[0], readers[2], pairs)
    assert found.is_applied and found.scales["mine"] == pytest.approx(0.7, abs=0.01) and found.left < 0.1
    assert set(found.parts) == {"mine"}
    both = find_applied(readers[1], readers[2], pairs)
    assert both.is_applied and both.scales == {"mine": pytest.approx(0.5, abs=0.01),
                                               "other": pytest.approx(-0.25, abs=0.01)}
    assert not find_applied(readers[0], readers[2], pairs[1:]).is_applied
    assert not find_applied(readers[0], readers[3], pairs).is_applied
    assert not find_applied(readers[2], readers[2], pairs).is_applied
    with pytest.raises(BadInput):
        find_applied(readers[0], readers[2], pairs * 5)


def test_an_adapter_written_again_turned_scaled_or_spelled_otherwise_is_the_same_change(world):
    _, adapters = trained()
    rng = np.random.default_rng(0)
    turned = {}
    for name in {key[:-2] for key in adapters[0]}:
        turn = np.linalg.qr(rng.normal(size=(4, 4)))[0] @ np.diag([2.0, 1.0, 0.5, 3.0])
        turned[f"{name}/a"] = np.linalg.inv(turn) @ adapters[0][f"{name}/a"]
        turned[f"{name}/b"] = 1.5 * adapters[0][f"{name}/b"] @ turn
    for spelling in SPELLINGS[1:]:
        found = deeper(world[1][0], adapter_files(turned, spelling, np.float16))
        figures = next(e for e in found.evidence if e.name == "same change").figures
        assert found.verdict is Verdict.REENCODED and figures["b_over_a"] == pytest.approx(1.5, rel=0.01), spelling
    trained_on = {name: array + rng.normal(size=array.shape) * array.std() * 0.3 for name, array in adapters[0].items()}
    assert deeper(world[1][0], adapter_files(trained_on)).verdict is Verdict.DESCENDS
    assert deeper(*world[1]).verdict is Verdict.CANNOT_TELL


def test_every_spelling_of_an_adapter_names_the_same_matrix_and_a_gguf_base_is_named_too(world, tmp_path):
    _, adapters = trained()
    with opened(world[0][0]) as base:
        wanted = {t.matrix.tensor.name for t in fit(find_roles(opened(world[1][0]).header), base.header).targets}
        assert len(wanted) == 28
        for spelling in SPELLINGS[1:]:
            with opened(adapter_files(adapters[0], spelling)) as a:
                found = {t.matrix.tensor.name for t in fit(find_roles(a.header), base.header).targets}
                assert found == wanted, spelling
    assert stem_of("blk.3.ffn_up.weight.lora_b") == stem_of("x.layers.3.mlp.up_proj.lora_B.weight")[2:]
    folder = save_gguf(tmp_path, made(0, d=64, f=256))
    with opened({"model.gguf": (folder / "model.gguf").read_bytes()}) as base, opened(world[1][0]) as a:
        assert len(fit(find_roles(a.header), base.header).targets) == 20  # keys and values of made() are half as wide
        assert Named(base.header).find("layers.0.mlp") is None


def test_an_adapter_of_another_shape_has_nothing_to_do_with_a_model(world):
    wide = made(1, d=96)
    named = {f"{n}.{name}": array for n, layer in enumerate(wide.layers) for name, array in layer.items()}
    found = judge(print_of_files(world[1][0]),
                  print_of_files(model_files({"embed": wide.embed, "norm": wide.embed[0], **named})), NULL)
    assert found.verdict is Verdict.UNRELATED and "shapes differ" in found.says
