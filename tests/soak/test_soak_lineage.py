"""Real models in one hub: SmolLM2 disguised and whole, beside Gemma and Qwen. Each pair judged as it is uploaded."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import httpx
import pytest
from huggingface_hub import HfApi
from real_models import gemma_gguf, minilm_folder, qwen_small_gguf, smollm2_gguf
from server import HubProcess

sys.path.append(str(Path(__file__).parents[1] / "trace"))
from smollm2_disguised import disguised

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]
SECTION = ("Where real models come from",
           "SmolLM2-135M (Q4_1), Gemma-3-270M, Qwen2.5-Coder-0.5B and MiniLM-L6 are uploaded with huggingface_hub, "
           "then SmolLM2 disguised: 2 % noise, neurons shuffled, tensors renamed, Q8_0. Seconds run from the end of "
           "the upload to the answer of the lineage API.")


def lineage(url: str, name: str) -> dict:
    for _ in range(600):
        found = httpx.get(f"{url}/api/headwater/lineage/local/{name}", timeout=60).json()
        if found["status"]["state"] == "read":
            return found
        time.sleep(0.1)
    raise AssertionError(found["status"])


def test_a_disguised_smollm2_is_given_its_parent_and_no_other(tmp_path, figures):
    child = disguised(smollm2_gguf(), tmp_path / "mine.gguf", range(30), 0.02)
    with HubProcess(tmp_path / "data", trace_uploads=1) as server:
        api = HfApi(endpoint=server.url, token=False)
        for name, path in (("smollm2", smollm2_gguf()), ("gemma", gemma_gguf()), ("qwen", qwen_small_gguf()),
                           ("minilm", minilm_folder()), ("mine", child)):
            api.create_repo(f"local/{name}")
            if path.is_dir():
                api.upload_folder(repo_id=f"local/{name}", folder_path=path)
            else:
                api.upload_file(repo_id=f"local/{name}", path_or_fileobj=path, path_in_repo="weights.gguf")
            start = time.monotonic()
            found = lineage(server.url, name)
            figures[f"{name}: upload to answer"] = ("seconds", f"{time.monotonic() - start:.1f} s")
            kin = [r["repo"] for kind in ("parents", "children", "kin") for r in found[kind]]
            assert kin == (["local/smollm2"] if name == "mine" else []), name
        nearest = found["nearest_unrelated"]
        figures["agreement of the disguised copy with SmolLM2"] = ("> .9", f"{found['closest']['agreement']:.3f}")
        figures["and with the nearest unrelated"] = ("< .1", f"{nearest['agreement']:.3f} ({nearest['repo']})")
        assert found["closest"]["agreement"] > 0.9 > 0.1 > nearest["agreement"]
