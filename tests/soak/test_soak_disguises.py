"""SmolLM2 after a real fine-tune, through many random compositions of disguises: found each time, strangers never."""

from __future__ import annotations

import numpy as np
import pytest

pytestmark = pytest.mark.soak
COMPOSITIONS = 24


@pytest.fixture(scope="module")
def tuned():
    from calibrate.real import tuned

    return tuned(40)


@pytest.fixture(scope="module")
def base():
    from calibrate.disguise import print_of
    from calibrate.real import smollm2

    return print_of(smollm2())


@pytest.fixture(scope="module")
def stranger():
    from real_models import gemma_gguf

    from headwater.trace.make import make_fingerprint
    from headwater.weights.source import FileSource

    path = gemma_gguf()
    return make_fingerprint(lambda _: FileSource(path), {"m.gguf": path.stat().st_size})


@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("seed", range(100, 100 + COMPOSITIONS))
def test_a_real_fine_tune_is_found_through_any_composition(base, tuned, stranger, seed):
    from calibrate.disguise import compose, print_of
    from calibrate.real import HEAD
    from headwater.trace.judge import judge
    from headwater.trace.null import NullLibrary

    null = NullLibrary.load()
    drawn = compose(tuned, np.random.default_rng(seed), HEAD)
    hidden = print_of(drawn.model)
    found = judge(base, hidden, null)
    assert found.verdict.kin and found.agreement > 0.5, f"{drawn.names}: {found.says}"
    assert not judge(stranger, hidden, null).verdict.kin, drawn.names
