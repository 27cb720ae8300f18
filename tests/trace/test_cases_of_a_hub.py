"""`make cases FROM=https://hub`: the form of the named cases, served by a real hub and read by ranges."""

from __future__ import annotations

import numpy as np
import pytest
from huggingface_hub import HfApi
from server import HubProcess
from trace_made import hf_tensors, made, save, save_hf

from calibrate.cases import Case, run


@pytest.fixture(scope="module")
def url(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("cases"), np.random.default_rng(0)
    base, apart = made(0), made(9)
    blurred = {f"llm.{name}": a if a.ndim == 1 else a + rng.normal(size=a.shape).astype(np.float32) * a.std() / 25
               for name, a in hf_tensors(base).items()}
    save_hf(folder / "base", base)
    save_hf(folder / "copy", base)
    save(folder / "noise", blurred, base.words)
    save_hf(folder / "apart", apart)
    with HubProcess(folder / "data", trace_uploads=0) as server:
        api = HfApi(endpoint=server.url, token=False)
        for name in ("base", "copy", "noise", "apart"):
            api.create_repo(f"local/{name}")
            api.upload_folder(repo_id=f"local/{name}", folder_path=folder / name)
        yield server.url


def case(other, *expect):
    return Case("local/base", f"local/{other}", "of one form", expect, "here", True)


def test_a_renamed_copy_and_one_with_noise_are_kin_at_a_hub_and_a_stranger_is_not(url):
    told: list[str] = []
    cases = [case("copy", "identical"), case("noise", "kin"), case("apart", "apart")]
    assert run(url, told.append, cases) == 0 and [line.split()[0] for line in told[:3]] == ["agrees"] * 3
    assert "3 cases run, 0 differ" in told[3]


def test_a_case_that_cannot_be_run_says_why_and_a_wrong_record_is_counted(url):
    told: list[str] = []
    assert run(url, told.append, [case("away", "kin"), case("apart", "kin")]) == 1
    assert told[0].startswith("not run") and "local/away is not at" in told[0] and told[1].startswith("DIFFERS")
