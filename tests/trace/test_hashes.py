"""Marks of tensors that hold while nothing is disguised."""

import numpy as np
from gguf import GGMLQuantizationType
from gguf.quants import dequantize, quantize
from trace_made import hf_tensors, made, noisy, permuted, print_of, save_hf

from headwater.trace import hashes
from headwater.weights.header import Tensor
from headwater.weights.source import BytesSource


def same_bits(a, b):
    return 1 - np.unpackbits(a ^ b).mean()


def test_a_tensor_hash_ignores_the_name_and_sees_a_changed_number():
    data = np.random.default_rng(0).normal(size=(300, 200)).astype(np.float32)
    first = Tensor("a", "F32", data.shape, 0, data.nbytes)
    changed = data.copy()
    changed[150] += 1
    one = hashes.tensor_hash(BytesSource(data.tobytes()), first)
    assert one == hashes.tensor_hash(BytesSource(data.tobytes()), first._replace(name="b"))
    assert one != hashes.tensor_hash(BytesSource(changed.tobytes()), first)


def test_a_tensor_left_alone_is_known_by_its_hash_in_another_model(tmp_path):
    model = made(0)
    first = print_of(save_hf(tmp_path / "a", model))
    tuned = noisy(model, 0.01)
    tuned.layers[2] = model.layers[2]
    second = print_of(save_hf(tmp_path / "b", tuned))
    shared = np.intersect1d(first.tensors, second.tensors)
    # The nine of the layer left alone, the gains of the three others, the last norm.
    assert len(shared) == 9 + 2 * 3 + 1
    assert len(first.tensors) == len(hf_tensors(model))


def test_raw_rows_keep_their_signs_through_noise_twice_as_large_and_lose_them_when_neurons_move(tmp_path):
    model = made(0, layers=6)
    first = print_of(save_hf(tmp_path / "a", model))
    loud = print_of(save_hf(tmp_path / "b", noisy(model, 2.0)))
    moved = print_of(save_hf(tmp_path / "c", permuted(model)))

    def mean(other):
        return np.mean([same_bits(x.raw[k], y.raw[k]) for x, y in zip(first.layers, other.layers, strict=True)
                        for k in ("gate", "up")])

    # 32 of 128 signs lie beyond the width of 96 and are alike in every model; of the others half are by chance, and
    # with a correlation of 1 / sqrt(5) a share of 1/2 + asin(0.447) / pi = 0.648.
    assert abs(mean(moved) - (0.25 + 0.75 * 0.5)) < 0.02
    assert abs(mean(loud) - (0.25 + 0.75 * 0.648)) < 0.03


def test_a_lattice_is_seen_after_the_numbers_were_widened():
    rows = np.random.default_rng(1).normal(size=(16, 256)).astype(np.float32)
    kind = GGMLQuantizationType.Q4_0
    assert hashes.lattice(dequantize(quantize(rows, kind), kind)) == 1
    assert hashes.lattice(rows) == 0
