"""Equations of a covariance are solved as numpy solves them."""

import numpy as np
import pytest

from headwater.trace.solve import solve_definite


@pytest.mark.parametrize("size", [1, 63, 64, 65, 200])
def test_a_definite_matrix_is_solved_as_closely_as_numpy_does(size):
    rng = np.random.default_rng(size)
    sample = rng.normal(size=(300, size)) * np.linspace(0.1, 5, size)
    matrix = (sample.T @ sample / 300 + np.eye(size)).astype(np.float32)
    right = rng.normal(size=(size, 9)).astype(np.float32)
    exact = np.linalg.solve(matrix.astype(np.float64), right)
    assert np.abs(solve_definite(matrix, right) - exact).max() < 1e-4 * np.abs(exact).max()


def test_a_matrix_that_is_not_definite_is_solved_all_the_same():
    matrix, right = np.array([[0.0, 2.0], [2.0, 0.0]]), np.array([[2.0], [4.0]])
    assert np.allclose(solve_definite(matrix, right), [[2], [1]])
