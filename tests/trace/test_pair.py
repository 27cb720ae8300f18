"""Two models at hand: all their neurons, what those read and write, and each tensor beside its other."""

import json
import subprocess
import sys

import numpy as np
import pytest
from disguises import fewer_neurons, layers, low_rank, merged, new_embeddings
from test_bounds import save_words
from trace_made import made, noisy, permuted, print_of, rotated, save_gguf, save_hf

from calibrate.disguise import scaled
from headwater.core.errors import BadInput
from headwater.trace.judge import judge
from headwater.trace.judgement import Judgement, LayerPair, Verdict
from headwater.trace.merges import Model, find_mixture, with_mixture
from headwater.trace.null import NullLibrary
from headwater.trace.pair import compare_files, deepen, layers_to_compare
from headwater.weights.source import FileSource

NULL = NullLibrary.load()
SAME = tuple(LayerPair(n, n, 0.0) for n in range(4))


def files(folder):
    return lambda path: FileSource(folder / path), {p.name: p.stat().st_size for p in folder.iterdir()}


def compared(one, two, layers=SAME):
    return compare_files(*files(one), *files(two), layers)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    model = made(0)
    return model, save_hf(tmp_path_factory.mktemp("base"), model, np.float32)


def test_every_neuron_of_a_rotated_shuffled_copy_is_found_with_the_words_it_reads_and_writes(base, tmp_path):
    report = compared(base[1], save_hf(tmp_path, rotated(permuted(base[0]))))
    assert report.agreement > 0.99 and all(layer.control < 0.02 for layer in report.layers)
    order = np.random.default_rng(2).permutation(256)  # of the first layer, as `permuted` draws it
    first = [pair for a, b, pair in report.neurons if (a, b) == (0, 0)]
    assert first and all(order[pair.b] == pair.a for pair in first)
    for _, _, pair in report.neurons:
        assert len(set(pair.reads_a) & set(pair.reads_b)) >= 5 and len(set(pair.writes_a) & set(pair.writes_b)) >= 5
    assert all(abs(tensor.cosine) < 0.3 for tensor in report.tensors if tensor.role in ("gate", "up"))
    json.dumps(report.as_json())


def test_a_merged_adapter_is_told_by_the_rank_of_what_it_changed(base, tmp_path):
    report = compared(base[1], save_hf(tmp_path, low_rank(base[0], 0.5, rank=4), np.float32))
    ranks = {tensor.role: tensor.rank for tensor in report.tensors}
    assert ranks["gate"] <= 4 and ranks["down"] <= 4 and ranks["q_proj"] == 0
    judged = judge(print_of(base[1]), print_of(tmp_path), NULL)
    found = deepen(judged, report)
    assert found.operation == "adapter merged" and "low rank" in [e.name for e in found.evidence]
    trained = compared(base[1], save_hf(tmp_path / "t", noisy(base[0], 0.1), np.float32))
    assert all(tensor.rank > 60 for tensor in trained.tensors if tensor.role == "gate")


@pytest.mark.parametrize("quantisation", ["Q8_0", "Q4_1"])
def test_a_quantised_form_is_written_again_bit_for_bit(base, tmp_path, quantisation):
    report = compared(base[1], save_gguf(tmp_path, base[0], quantisation))
    found = {e.name: e for e in report.evidence}["rederived"]
    assert (found.strength, found.figures["rows"]) == ("proof", 1.0)
    judged = deepen(judge(print_of(base[1]), print_of(tmp_path), NULL), report)
    assert judged.verdict is Verdict.REENCODED
    trained = compared(base[1], save_gguf(tmp_path / "t", noisy(base[0], 0.01), quantisation))
    assert {e.name: e for e in trained.evidence}["rederived"].strength == "none"


def test_pruned_and_low_rank_copies_stand_out_further_than_in_the_fingerprint(base, tmp_path):
    hidden = rotated(permuted(fewer_neurons(low_rank(base[0], 1.0), 0.5)))
    judged = judge(print_of(base[1]), print_of(save_hf(tmp_path, hidden)), NULL)
    report = compared(base[1], tmp_path, layers_to_compare(judged, 4, 4))
    assert report.agreement > 0.9 > judged.agreement


def test_models_that_began_apart_stay_apart(base, tmp_path):
    other = save_hf(tmp_path, made(5))
    report = compared(base[1], other)
    assert report.agreement < 0.03
    judged = judge(print_of(base[1]), print_of(other), NULL)
    assert deepen(judged, report).verdict is judged.verdict is Verdict.SAME_ARCHITECTURE


def test_a_rotated_shuffled_copy_with_all_new_words_is_found_by_what_no_rotation_changes(base, tmp_path):
    hidden = save_gguf(tmp_path, rotated(permuted(new_embeddings(base[0]))), "Q8_0")
    judged = judge(print_of(base[1]), print_of(hidden), NULL)
    assert not judged.verdict.kin
    found = deepen(judged, compared(base[1], hidden, layers_to_compare(judged, 4, 4)))
    assert (found.verdict, found.operation) == (Verdict.DESCENDS, "words or embeddings replaced")
    turning = {e.name: e for e in found.evidence}["turning"]
    assert turning.figures["held_out"] > 0.9 and turning.figures["layers"] == 2


def test_it_is_found_with_neurons_scaled_and_layers_in_another_order_too(base, tmp_path):
    hidden = rotated(scaled(permuted(layers(new_embeddings(base[0]), [2, 0, 3]))))
    found = compared(base[1], save_hf(tmp_path, hidden), SAME[:3])
    turning = next(e for e in found.evidence if e.name == "turning")
    assert turning.strength == "strong" and turning.figures["held_out"] > 0.9


def test_layers_a_rotation_was_fitted_to_do_not_count(base, tmp_path):
    other = compared(base[1], save_hf(tmp_path, made(5)))
    turning = {e.name: e for e in other.evidence}["turning"]
    assert turning.strength == "none" and turning.figures["fitted"] > 5 * turning.figures["held_out"]


def test_a_layer_that_is_not_there_is_refused(base):
    with pytest.raises(BadInput, match="does not have"):
        compared(base[1], base[1], (LayerPair(0, 9, 0.0),))


def test_layers_to_compare_are_the_judged_ones_or_those_of_one_place(base, tmp_path):
    judged = judge(print_of(base[1]), print_of(save_hf(tmp_path, made(5, layers=3))), NULL)
    assert [(p.a, p.b) for p in layers_to_compare(judged, 4, 3)] == [(0, 0), (2, 1), (3, 2)]


def test_the_shares_of_a_merge_are_found_and_decoys_have_none(base, tmp_path):
    ancestor = base[0]
    parents = [noisy(ancestor, 0.3, seed) for seed in (11, 12, 13)]
    child = noisy(merged(parents[0], parents[1], 0.7), 0.01)
    folders = {name: save_hf(tmp_path / name, model, np.float32)
               for name, model in zip(("one", "two", "decoy", "child"), [*parents, child], strict=True)}
    models = {name: Model(name, *files(folder)) for name, folder in folders.items()}
    found = find_mixture(models["child"], [models["one"], models["two"], models["decoy"]])
    assert found.is_merge and found.residual < 0.02
    assert found.coefficients["one"] == pytest.approx(0.7, abs=0.01)
    assert found.coefficients["two"] == pytest.approx(0.3, abs=0.01)
    assert abs(found.coefficients["decoy"]) < 0.01
    judged = judge(print_of(folders["one"]), print_of(folders["child"]), NULL)
    told = with_mixture(judged, found, "b")
    assert (told.verdict, told.direction, told.coefficients) == (Verdict.MERGE, "b-from-a", found.coefficients)
    assert Judgement.from_json(told.as_json()).as_json() == told.as_json()
    apart = find_mixture(models["decoy"], [models["one"], models["two"]])
    assert not apart.is_merge and with_mixture(judged, apart, "b").verdict is judged.verdict
    assert not find_mixture(models["child"], [models["one"], models["decoy"]]).is_merge
    with pytest.raises(BadInput, match="other shapes"):
        find_mixture(models["child"], [Model("small", *files(save_hf(tmp_path / "s", made(0, f=128))))])
    with pytest.raises(BadInput):
        find_mixture(models["child"], [])


_CHILD = """
import sys
from pathlib import Path
from headwater.trace.judgement import LayerPair
from headwater.trace.pair import compare_files
from headwater.weights.source import FileSource

folder = Path(sys.argv[1])
files = {p.name: p.stat().st_size for p in folder.iterdir()}
def peak():
    return next(int(x.split()[1]) for x in open("/proc/self/status") if x.startswith("VmHWM:"))
before = peak()
compare_files(lambda p: FileSource(folder / p), files, lambda p: FileSource(folder / p), files, [LayerPair(0, 0, 0)])
print((peak() - before) * 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_stays_bounded_for_wide_layers(tmp_path):
    """Holes in a file: a layer 4,096 wide with 8,192 neurons, as in models of 7 billion parameters."""
    width, inner, vocabulary = 4096, 8_192, 8_000
    shapes = {"model.embed_tokens.weight": (vocabulary, width)} | {
        f"model.layers.0.mlp.{name}_proj.weight": shape for name, shape in
        (("gate", (inner, width)), ("up", (inner, width)), ("down", (width, inner)))}
    header, at = {}, 0
    for name, shape in shapes.items():
        size = 2 * shape[0] * shape[1]
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    with open(tmp_path / "model.safetensors", "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + at)
    save_words(tmp_path, vocabulary)
    run = subprocess.run([sys.executable, "-c", _CHILD, str(tmp_path)], capture_output=True, text=True, check=True)
    assert int(run.stdout) < 800_000_000
