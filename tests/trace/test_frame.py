"""The token frame is the same for every spelling, order, rotation and part of a model."""

import numpy as np
import pytest
from trace_made import words

from headwater.trace import frame
from headwater.weights import tokens


def strings(list_):
    return tokens.from_strings([w.encode() for w in list_])


def framed(list_, embedding):
    anchors = frame.find_anchors(strings(list_))
    return frame.build_frame(anchors, embedding.shape[1], lambda numbers: embedding[numbers])


def cosines(a, b):
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


@pytest.fixture(scope="module")
def model():
    rng = np.random.default_rng(0)
    return words(3000), (rng.normal(size=(3000, 80)) * np.linspace(0.2, 2, 80) + 0.3).astype(np.float32)


def test_anchors_are_words_of_two_to_ten_letters():
    list_ = ["Ġthe", "the", "a", "Ġa", "abcdefghij", "abcdefghijk", "the1", "Ġ", "", "Ġ-x", "éa", *(["Ġ"] * 3)]
    assert list(frame.find_anchors(strings(list_)).numbers) == [0, 1, 4]


def test_one_word_hashes_alike_in_every_tokenizer():
    spellings = [[*(f"{mark}word{'x' * n}" for n in range(5)), "ing"] for mark in ("Ġ", "▁", " ")]
    pieces = [*(f"word{'x' * n}" for n in range(5)), "##ing"]
    hashes = [frame.find_anchors(strings(list_)).hashes for list_ in (*spellings, pieces)]
    for other in hashes[1:]:
        assert np.array_equal(hashes[0], other)


def test_hashes_do_not_change_from_version_to_version():
    found = frame.find_anchors(strings(["Ġthe", "ing"]))
    assert list(found.hashes) == [17681031593361857929, 6241682788772571178]
    assert list(frame.signs(found.hashes)[0, :8].astype(int)) == [1, -1, 1, -1, -1, -1, -1, 1]


def test_thinning_keeps_the_same_words_of_a_larger_vocabulary():
    small, large = words(30_000), words(45_000)
    first, second = frame.find_anchors(strings(small)), frame.find_anchors(strings(large))
    assert first.thinned and second.thinned
    assert set(first.hashes) <= set(second.hashes)


def test_profiles_do_not_change_under_rotation(model):
    list_, embedding = model
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(80, 80)))[0].astype(np.float32)
    rows = np.random.default_rng(2).normal(size=(10, 80)).astype(np.float32)
    plain = rows @ framed(list_, embedding).directions.T
    turned = (rows @ turn) @ framed(list_, embedding @ turn).directions.T
    assert cosines(plain, turned).min() > 0.9999


def test_a_shuffled_vocabulary_gives_the_same_frame(model):
    list_, embedding = model
    order = np.random.default_rng(3).permutation(len(list_))
    shuffled = framed([list_[n] for n in order], embedding[order])
    assert cosines(framed(list_, embedding).directions, shuffled.directions).min() > 0.999


def test_another_embedding_gives_another_frame(model):
    list_, embedding = model
    other = np.random.default_rng(9).normal(size=embedding.shape).astype(np.float32)
    assert abs(cosines(framed(list_, embedding).directions, framed(list_, other).directions).mean()) < 0.05


def test_the_gram_form_of_whitening_is_the_covariance_form():
    rng = np.random.default_rng(4)
    sample, summed = rng.normal(size=(50, 60)).astype(np.float32), rng.normal(size=(5, 60)).astype(np.float32)
    narrow, _ = frame._whiten(summed, sample)
    covariance = sample.T @ sample / 50
    ridge = np.trace(covariance) / 60
    exact = summed @ np.linalg.inv(covariance + ridge * np.eye(60)) * ridge
    assert np.allclose(narrow, exact, atol=1e-4)


@pytest.mark.parametrize("bad", [np.nan, np.inf, 0.0])
def test_rows_that_are_no_numbers_do_not_spoil_the_frame(model, bad):
    list_, embedding = model
    broken = embedding.copy()
    broken[::50] = bad
    assert cosines(framed(list_, embedding).directions, framed(list_, broken).directions).min() > 0.9


def test_a_table_of_zeros_has_a_frame_without_direction(model):
    list_, embedding = model
    assert not framed(list_, embedding * 0).directions.any()
