"""Fingerprints of disguised copies agree; those of other models do not."""

from dataclasses import replace

import numpy as np
import pytest
from real_models import minilm_folder, minilm_int8, smollm2_gguf
from smollm2_part import part_of_smollm2
from trace_made import Made, made, noisy, permuted, print_of, rotated, save_gguf, save_hf

from headwater.core.errors import CorruptFile
from headwater.trace.agree import agree
from headwater.trace.fingerprint import MAX_BYTES, VERSION, Fingerprint
from headwater.trace.make import make_fingerprint
from headwater.weights import tokens
from headwater.weights.source import FileSource


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    model = made(0)
    return model, print_of(save_hf(tmp_path_factory.mktemp("first"), model))


def test_a_rotated_permuted_copy_agrees_in_every_layer(first, tmp_path):
    model, print_ = first
    found = agree(print_, print_of(save_hf(tmp_path, rotated(permuted(model)))))
    assert found.median > 0.95
    assert list(found.matches) == [0, 1, 2, 3]


@pytest.mark.parametrize("quantisation", ["Q8_0", "Q4_0"])
def test_a_disguised_copy_in_gguf_agrees_with_the_safetensors_it_came_from(first, tmp_path, quantisation):
    model, print_ = first
    found = agree(print_, print_of(save_gguf(tmp_path, rotated(permuted(model)), quantisation)))
    assert found.median > 0.85  # of 96 of 256 neurons alike in norm, four bits move some in and out of the strongest


def test_other_random_weights_with_the_same_tokens_do_not_agree(first, tmp_path):
    _, print_ = first
    assert agree(print_, print_of(save_hf(tmp_path, made(1)))).median <= 0.05


def test_a_shuffled_vocabulary_changes_nothing(first, tmp_path):
    model, print_ = first
    order = np.random.default_rng(4).permutation(len(model.words))[:2800]
    shuffled = replace(model, embed=model.embed[order], words=[model.words[n] for n in order])
    assert agree(print_, print_of(save_hf(tmp_path, shuffled))).median > 0.9


def test_dropped_and_reordered_layers_are_named(first, tmp_path):
    model, print_ = first
    found = agree(print_, print_of(save_hf(tmp_path, replace(model, layers=[model.layers[n] for n in (2, 0, 3)]))))
    assert found.turned
    assert list(found.matches) == [2, 0, 3]
    assert found.median > 0.95


def test_noise_as_large_as_the_weights_leaves_agreement(first, tmp_path):
    model, print_ = first
    assert agree(print_, print_of(save_hf(tmp_path, noisy(model, 0.5)))).median > 0.3


def test_the_bytes_of_a_fingerprint_give_the_same_fingerprint_back(first):
    data = first[1].to_bytes()
    assert Fingerprint.from_bytes(data).to_bytes() == data
    assert len(data) < MAX_BYTES


@pytest.mark.parametrize("damage", [
    lambda data: data[:-1], lambda data: data + b"x", lambda data: data[:100], lambda data: b"",
    lambda data: data.replace(b'"version":%d' % VERSION, b'"version":9'),
    lambda data: data.replace(b'"<i4"', b'"|O8"', 1),
    lambda data: data.replace(b'"rows":', b'"raws":', 1), lambda data: b"{" * 5000])
def test_a_damaged_fingerprint_is_refused(first, damage):
    with pytest.raises(CorruptFile):
        Fingerprint.from_bytes(damage(first[1].to_bytes()))


def test_a_model_of_many_layers_stays_under_a_megabyte(tmp_path):
    model = made(5, layers=50, d=32, f=128)
    print_ = print_of(save_hf(tmp_path, model))
    assert len(print_.layers) == 40
    assert print_.architecture.layers == 50
    assert len(print_.to_bytes()) < MAX_BYTES
    assert "40 of 50 layers" in print_.notes[0]


# --- a real model


@pytest.fixture(scope="module")
def smollm2():
    path = smollm2_gguf()
    size = path.stat().st_size
    return Fingerprint.from_bytes(make_fingerprint(lambda _: FileSource(path), {"m.gguf": size}).to_bytes())


def test_a_real_model_rotated_permuted_pruned_of_layers_and_requantised_agrees(smollm2, tmp_path):
    part = part_of_smollm2(5)
    found = agree(smollm2, print_of(save_gguf(tmp_path, rotated(permuted(part)), "Q8_0")))
    assert found.median > 0.95
    assert list(found.matches) == [0, 6, 12, 18, 24]


def test_a_real_model_does_not_agree_with_random_weights_of_its_size(smollm2, tmp_path):
    part = part_of_smollm2(2)
    rng = np.random.default_rng(6)

    def redrawn(array: np.ndarray) -> np.ndarray:
        return rng.normal(size=array.shape).astype(np.float32) * array.std()

    other = Made(part.words, redrawn(part.embed), [{n: redrawn(a) for n, a in y.items()} for y in part.layers])
    assert agree(smollm2, print_of(save_hf(tmp_path, other))).median <= 0.05


def test_a_real_encoder_agrees_with_its_int8_onnx_form_of_anonymous_names():
    folder = minilm_folder()
    plain = print_of(folder)
    vocabulary = tokens.read_tokens("vocab.txt", (folder / "vocab.txt").read_bytes())
    path = minilm_int8()
    packed = make_fingerprint(lambda _: FileSource(path), {"model.onnx": path.stat().st_size},
                              guess_tokens=lambda rows: vocabulary if rows == len(vocabulary) else None)
    assert (plain.architecture.form, plain.architecture.found_by) == ("plain", "names")
    assert (packed.architecture.form, packed.architecture.found_by) == ("plain", "order")
    found = agree(plain, packed)
    assert found.median > 0.97
    assert list(found.matches) == list(range(6))
    assert any("tokens" in note for note in packed.notes)
