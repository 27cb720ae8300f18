"""Verdicts on disguised copies, on models that began apart, and on what cannot be told."""

import json
from dataclasses import replace

import numpy as np
import pytest
from disguises import fewer_neurons, layers, low_rank, merged, new_embeddings, other_words
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from real_models import minilm_folder, minilm_int8, minilm_l3, minilm_twin
from smollm2_part import part_of_smollm2
from trace_made import hf_tensors, made, noisy, permuted, print_of, rotated, save, save_gguf, save_hf

from headwater.core.errors import CorruptFile
from headwater.trace.evidence import shelf
from headwater.trace.judge import judge
from headwater.trace.judgement import Judgement, Verdict
from headwater.trace.make import make_fingerprint
from headwater.trace.null import NullLibrary
from headwater.weights import tokens
from headwater.weights.source import FileSource

NULL = NullLibrary.load()


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Five layers and 16,000 words of SmolLM2, and their fingerprint in 16 bits."""
    part = part_of_smollm2(5)
    part = replace(part, words=part.words[:16_000], embed=part.embed[:16_000])
    return part, print_of(save_hf(tmp_path_factory.mktemp("base"), part))


def test_a_rotated_shuffled_copy_is_the_same_weights_in_other_words(base, tmp_path):
    found = judge(base[1], print_of(save_hf(tmp_path, rotated(permuted(base[0])))), NULL)
    assert (found.verdict, found.direction) == (Verdict.REENCODED, "unknown")
    assert found.operation == "permuted or rotated"
    assert found.agreement > 0.95 and found.null.as_high == 0 and "0 of " in found.says


def test_eight_bits_are_told_from_training_by_the_signs_they_lose(base, tmp_path):
    found = judge(base[1], print_of(save_gguf(tmp_path / "q", base[0], "Q8_0")), NULL)
    assert (found.verdict, found.direction, found.operation) == (Verdict.REENCODED, "b-from-a", "quantised")
    trained = judge(base[1], print_of(save_hf(tmp_path / "t", noisy(base[0], 0.01))), NULL)
    assert trained.verdict is Verdict.DESCENDS


def test_a_model_trained_on_from_a_rounded_one_is_its_child_and_not_its_parent(base, tmp_path):
    """SmolLM2's file was rounded to 4 bits; a little noise takes its copy off those values."""
    found = judge(print_of(save_hf(tmp_path, noisy(base[0], 0.03))), base[1], NULL)
    assert (found.verdict, found.direction) == (Verdict.DESCENDS, "a-from-b")
    assert [clue.name for clue in found.direction_evidence if clue.strength == "moderate"] == ["left the lattice"]


def test_a_copy_trimmed_noised_shuffled_rotated_and_quantised_is_found(base, tmp_path):
    hidden = rotated(permuted(other_words(layers(noisy(base[0], 0.3), [0, 1, 3, 4]))))
    found = judge(base[1], print_of(save_gguf(tmp_path, hidden, "Q4_0")), NULL)
    assert (found.verdict, found.direction) == (Verdict.PRUNED, "b-from-a")
    assert found.operation == "layers dropped, permuted or rotated, quantised, vocabulary changed"
    assert [pair.a for pair in found.layers] == [0, 1, 3, 4] and found.agreement > 0.4


def test_noise_twice_the_weights_is_seen_through_row_by_row(base, tmp_path):
    found = judge(base[1], print_of(save_hf(tmp_path, noisy(base[0], 2.0))), NULL)
    assert found.verdict is Verdict.DESCENDS and found.agreement < 0.2 and "rows meet their own number" in found.says


# --- made models

@pytest.fixture(scope="module")
def small(tmp_path_factory):
    model = made(0, layers=5)
    return model, print_of(save_hf(tmp_path_factory.mktemp("small"), model))


@pytest.mark.parametrize(("change", "verdict", "direction", "operation"), [
    (lambda m: m, Verdict.IDENTICAL, "unknown", None),
    (lambda m: layers(m, [0, 2, 4]), Verdict.PRUNED, "b-from-a", "layers dropped"),
    (lambda m: layers(m, [0, 1, 2, 1, 2, 3, 4]), Verdict.DEPTH_SCALED, "b-from-a", "layers doubled"),
    (lambda m: layers(m, [4, 3, 2, 1, 0]), Verdict.DESCENDS, "unknown", "layers reordered"),
    (lambda m: fewer_neurons(m, 0.6), Verdict.PRUNED, "b-from-a", "neurons pruned"),
    (lambda m: other_words(m, 1.0), Verdict.DESCENDS, "b-from-a", "vocabulary changed"),
    (lambda m: new_embeddings(m), Verdict.DESCENDS, "unknown", "embeddings replaced"),
    (lambda m: low_rank(m, 0.5), Verdict.DESCENDS, "unknown", None),
    (lambda m: merged(m, noisy(m, 0.5)), Verdict.DESCENDS, "unknown", None),
])
def test_what_was_done_is_named_and_the_direction_only_where_it_shows(small, tmp_path, change, verdict, direction,
                                                                      operation):
    found = judge(small[1], print_of(save_hf(tmp_path, change(small[0]))), NULL)
    assert (found.verdict, found.direction, found.operation) == (verdict, direction, operation)
    turned = judge(print_of(tmp_path), small[1], NULL)
    other = {"b-from-a": "a-from-b", "unknown": "unknown"}
    assert (turned.verdict, turned.direction) == (verdict, other[direction])


def test_experts_made_of_one_mlp_are_upcycled_from_it(small, tmp_path):
    tensors = hf_tensors(small[0])
    for n, layer in enumerate(small[0].layers):
        for part in ("gate", "up", "down"):
            del tensors[f"model.layers.{n}.mlp.{part}_proj.weight"]
        for expert in range(2):
            rng = np.random.default_rng(expert)
            for part in ("gate", "up", "down"):
                array = layer[part]
                tensors[f"model.layers.{n}.mlp.experts.{expert}.{part}_proj.weight"] = \
                    array + rng.normal(size=array.shape).astype(np.float32) * array.std() * 0.05
    found = judge(print_of(save(tmp_path, tensors, small[0].words)), small[1], NULL)
    assert (found.verdict, found.direction, found.operation) == (Verdict.UPCYCLED, "a-from-b", "split into experts")


def test_two_that_were_each_changed_their_own_way_have_a_common_ancestor(small, tmp_path):
    one = print_of(save_hf(tmp_path / "a", other_words(small[0], 1.0)))
    two = print_of(save_gguf(tmp_path / "b", small[0], "Q8_0"))
    found = judge(one, two, NULL)
    assert (found.verdict, found.direction) == (Verdict.COMMON_ANCESTOR, "unknown")
    trained = judge(one, print_of(save_gguf(tmp_path / "c", noisy(small[0], 0.1), "Q8_0")), NULL)
    assert (trained.verdict, trained.direction) == (Verdict.DESCENDS, "unknown")


def test_some_layers_of_another_model_are_seen_among_new_ones(small, tmp_path):
    strange = made(9, layers=5)
    mixed = replace(small[0], layers=[*strange.layers[:1], *small[0].layers[1:3], *strange.layers[3:]])
    found = judge(small[1], print_of(save_hf(tmp_path, rotated(mixed))), NULL)
    assert found.verdict is Verdict.DESCENDS and found.agreement < 0.1
    assert "2 inner layers" in found.says


def test_embeddings_alone_are_no_layers(small, tmp_path):
    found = judge(small[1], print_of(save_hf(tmp_path, replace(made(9, layers=5), embed=small[0].embed))), NULL)
    assert (found.verdict, found.direction, found.operation) == (Verdict.SHARES_EMBEDDINGS, "unknown", None)


def test_a_vision_tower_in_common_makes_no_kin_of_the_layers(small, tmp_path):
    rng = np.random.default_rng(5)
    tower = {f"vision.blocks.{n}.attn.weight": rng.normal(size=(64, 80)) for n in range(30)}
    one, two = (print_of(save_hf(tmp_path / str(n), replace(made(n, layers=5), extra=tower))) for n in (3, 4))
    found = judge(one, two, NULL)
    assert found.verdict is Verdict.SHARES_EMBEDDINGS and "30 tensors" in found.says


def test_a_model_of_the_same_shape_that_began_apart_is_the_same_architecture_only(small, tmp_path):
    found = judge(small[1], print_of(save_hf(tmp_path, made(7, layers=5))), NULL)
    assert found.verdict is Verdict.SAME_ARCHITECTURE and not found.verdict.kin
    assert judge(small[1], print_of(save_hf(tmp_path / "w", made(7, layers=4))), NULL).verdict is Verdict.UNRELATED


def test_what_cannot_be_compared_is_not_called_unrelated(small, tmp_path):
    folder = save_hf(tmp_path, rotated(permuted(small[0])))
    (folder / "vocab.json").unlink()
    found = judge(small[1], print_of(folder), NULL)
    assert found.verdict is Verdict.CANNOT_TELL and "no token frame" in found.says
    rng = np.random.default_rng(0)
    lora = {f"base.layers.{n}.q_proj.lora_{x}.weight": rng.normal(size=s) for n in range(3)
            for x, s in (("A", (4, 96)), ("B", (96, 4)))}
    adapter = print_of(save(tmp_path / "lora", lora, small[0].words))
    assert adapter.architecture.width == 96 and adapter.architecture.layers == 3
    assert judge(adapter, small[1], NULL).verdict is Verdict.CANNOT_TELL
    assert judge(adapter, adapter, NULL).verdict is Verdict.IDENTICAL


STEPS = {"rotated": rotated, "permuted": permuted, "noise": lambda m: noisy(m, 0.3),
         "low rank": lambda m: low_rank(m, 0.3), "dropped": lambda m: layers(m, [0, 1, 3, 4][:len(m.layers) - 1]),
         "reordered": lambda m: layers(m, list(range(len(m.layers)))[::-1]),
         "words": other_words, "pruned": lambda m: fewer_neurons(m, 0.75)}


@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture],
          phases=[Phase.explicit, Phase.generate], print_blob=False)
@given(st.lists(st.sampled_from(sorted(STEPS)), min_size=2, max_size=5, unique=True), st.booleans())
def test_any_composition_of_disguises_is_found_and_no_stranger_is(small, tmp_path_factory, names, quantised):
    hidden, stranger = small[0], made(3, layers=5)
    for name in names:
        hidden, stranger = STEPS[name](hidden), STEPS[name](stranger)
    write = save_gguf if quantised else save_hf
    assert judge(small[1], print_of(write(tmp_path_factory.mktemp("a"), hidden)), NULL).verdict.kin
    assert not judge(small[1], print_of(write(tmp_path_factory.mktemp("b"), stranger)), NULL).verdict.kin


@pytest.mark.parametrize("value", [0.0, 1.0, np.nan, np.inf])
def test_models_of_one_number_are_kin_of_nobody(small, tmp_path, value):
    def constant(seed):
        tensors = {n: np.full_like(a, value) for n, a in hf_tensors(made(seed, layers=5)).items()}
        return print_of(save(tmp_path / str(seed), tensors, small[0].words))

    assert not judge(small[1], constant(1), NULL).verdict.kin
    part = made(2, layers=5)
    mixed = hf_tensors(part) | {n: np.full_like(a, value) for n, a in hf_tensors(part).items() if "embed" not in n}
    assert not judge(constant(1), print_of(save(tmp_path / "m", mixed, part.words)), NULL).verdict.kin


# --- real encoders


def test_the_family_of_minilm_is_read_as_it_is():
    vocabulary = tokens.read_tokens("vocab.txt", (minilm_folder() / "vocab.txt").read_bytes())

    def onnx(path):
        return make_fingerprint(lambda _: FileSource(path), {"model.onnx": path.stat().st_size},
                                guess_tokens=lambda rows: vocabulary if rows == len(vocabulary) else None)

    six, eight_bits, three = print_of(minilm_folder()), onnx(minilm_int8()), onnx(minilm_l3())
    assert judge(six, print_of(minilm_twin()), NULL).verdict is Verdict.IDENTICAL
    packed = judge(six, eight_bits, NULL)
    assert (packed.verdict, packed.direction, packed.operation) == (Verdict.REENCODED, "b-from-a", "quantised")
    cousin = judge(six, three, NULL)
    assert cousin.verdict is Verdict.SHARES_EMBEDDINGS and 0.1 < cousin.agreement < 0.5


# --- what is kept of it


def test_a_judgement_is_the_same_after_json(small, tmp_path):
    found = judge(small[1], print_of(save_hf(tmp_path, layers(small[0], [0, 2, 4]))), NULL)
    text = json.dumps(found.as_json())
    assert Judgement.from_json(json.loads(text)).as_json() == json.loads(text)
    assert "table" not in found.as_json(table=False)
    assert Judgement.from_json(found.as_json(table=False)).table.shape == (0, 0)
    assert found.table.shape == (5, 3) and (found.table_a, found.table_b) == (tuple(range(5)), (0, 1, 2))


def test_every_kind_of_evidence_speaks_of_every_pair(small, tmp_path):
    assert shelf.broken == {} or not list(shelf)
    bare = save_hf(tmp_path, made(1))
    (bare / "vocab.json").unlink()
    opaque = print_of(save(tmp_path / "o", {"a": np.ones((3, 3))}, small[0].words))
    for other in (small[1], print_of(bare), opaque):
        for found in judge(small[1], other, NULL).evidence:
            assert found.name in shelf.names() and found.says.endswith(".")
            json.dumps(found.figures, allow_nan=False)
            assert not any(word in found.says.lower() for word in ("copied", "stolen", "stole"))


# --- the null library


def test_the_null_library_keeps_what_is_added(small, tmp_path):
    library = NullLibrary(source={"tiny": "made by a test"})
    pair = library.add(small[1], print_of(save_hf(tmp_path, made(5, layers=5))), ("a", "b"))
    assert pair.median < 0.06
    library.save(tmp_path / "null.json")
    again = NullLibrary.load(tmp_path / "null.json")
    assert again.figures("tiny", 0.0).as_high == 1 and again.figures("tiny", 0.5).as_high == 0
    assert again.source == library.source and again.figures("plain", 0.1).n == 0
    again.save(tmp_path / "same.json")
    assert (tmp_path / "same.json").read_bytes() == (tmp_path / "null.json").read_bytes()


def test_a_pair_as_high_as_an_independent_one_is_not_judged_kin_by_it(small, tmp_path):
    library = NullLibrary.load()
    library.pairs["tiny"] = [replace(NULL.pairs["gated"][0], median=0.7)]
    found = judge(small[1], print_of(save_hf(tmp_path, rotated(low_rank(small[0], 0.7)))), library)
    assert found.agreement < 0.8 and found.null.as_high in (0, 1)
    assert found.null.max == pytest.approx(0.7)
    assert library.line("tiny").kin > 0.7


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"fingerprint": 1, "kinds": {}}',
                                  '{"fingerprint": 2, "kinds": {"tiny": {"source": "", "pairs": [[1]]}}}'])
def test_a_damaged_null_library_is_refused(tmp_path, text):
    (tmp_path / "null.json").write_text(text)
    with pytest.raises(CorruptFile):
        NullLibrary.load(tmp_path / "null.json")


def test_no_known_independent_pair_crosses_the_line():
    assert NULL.pairs["gated"]
    for pairs in NULL.pairs.values():
        assert max(pair.median for pair in pairs) < 0.08
        assert all(pair.embedding is None or abs(pair.embedding) < 0.1 for pair in pairs)
