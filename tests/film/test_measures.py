"""Measures tell a smooth film from a shaken, flickering, frozen, cut or shuffled one, and never praise stillness."""

import numpy as np
import pytest
from film_made import drift

from headwater.core.errors import BadInput
from headwater.film.measures import measure

FPS = 12


@pytest.fixture(scope="module")
def clip():
    return list(drift(18))


def test_a_drifting_film_moves_smoothly_and_begins_with_its_photo(clip):
    found = measure(clip, FPS, photo=clip[0])
    assert found.frames == 18 and found.motion > 3 and found.smoothness > 0.6
    assert found.first_psnr > 60 and found.first_ssim > 0.999
    assert found.freezes == () and found.cuts == () and found.black == 0
    assert found.pair == (found.smoothness, found.motion)


def test_shuffled_frames_are_jerky(clip):
    order = np.random.default_rng(1).permutation(len(clip))
    whole, mixed = measure(clip, FPS), measure([clip[i] for i in order], FPS)
    assert mixed.jerk > 3 * whole.jerk and mixed.flicker > 1.8 * whole.flicker
    assert mixed.smoothness < whole.smoothness


def test_flickering_light_is_no_motion(clip):
    lit = [np.clip(frame * (1.12 if i % 2 else 0.9), 0, 255).astype(np.uint8) for i, frame in enumerate(clip)]
    whole, flickering = measure(clip, FPS), measure(lit, FPS)
    assert flickering.warp_error > 3 * whole.warp_error and flickering.flicker > 2 * whole.flicker


def test_a_frozen_film_has_no_smoothness_to_be_praised_for(clip):
    frozen = measure([clip[0]] * 12, FPS)
    assert frozen.smoothness is None and frozen.motion == 0 and frozen.freezes == ((0, 11),)
    halted = measure(clip[:9] + [clip[8]] * 9, FPS)
    assert halted.freezes == ((8, 17),)


def test_a_cut_is_found_and_not_taken_for_motion(clip):
    other = list(drift(9, seed=3))
    found = measure(clip[:9] + other, FPS)
    assert found.cuts == (9,) and found.motion < 1.5 * measure(clip, FPS).motion


def test_another_photo_is_told_from_the_films_own(clip):
    other = next(drift(1, seed=5))
    assert measure(clip[:2], FPS, photo=other).first_ssim < 0.9
    wide = np.repeat(np.repeat(clip[0], 3, axis=0), 3, axis=1)
    assert measure(clip[:2], FPS, photo=wide).first_ssim > 0.95, "at three times the size it is the same photo"


def test_psnr_and_ssim_are_those_of_scikit_image(clip):
    # structural_similarity(gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255) of 0.26.0
    found = measure([clip[0]], FPS, photo=clip[3])
    assert found.first_ssim == pytest.approx(0.90862, abs=3e-4)
    assert found.first_psnr == pytest.approx(26.6538, abs=1e-3)


def test_black_frames_are_counted_and_no_frame_is_refused():
    black = np.zeros((32, 32, 3), np.uint8)
    assert measure([black, black], FPS).black == 1.0
    with pytest.raises(BadInput):
        measure([], FPS)
