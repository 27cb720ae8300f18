"""The real SmolLM2 and an undeclared, renamed, permuted, requantised descendant, uploaded with the real client."""

from __future__ import annotations

import time
from dataclasses import replace

import gguf
import httpx
from huggingface_hub import HfApi
from real_models import smollm2_gguf
from server import HubProcess
from smollm2_disguised import disguised
from trace_made import Made, made, save_hf


def lineage(url: str, name: str) -> dict:
    for _ in range(600):
        found = httpx.get(f"{url}/api/headwater/lineage/local/{name}", timeout=60).json()
        if found["status"]["state"] == "read":
            return found
        time.sleep(0.1)
    raise AssertionError(found["status"])


def stranger() -> Made:
    """Random numbers under SmolLM2's words: one that can be told apart, not one of which nothing can be told."""
    tokens = gguf.GGUFReader(smollm2_gguf()).fields["tokenizer.ggml.tokens"]
    return replace(made(5, vocabulary=len(tokens.data)), words=[bytes(tokens.parts[n]).decode() for n in tokens.data])


def test_within_seconds_the_parent_is_named_and_an_unrelated_model_is_no_edge(tmp_path):
    child = disguised(smollm2_gguf(), tmp_path / "mine.gguf", range(0, 30, 5), 0.02)
    with HubProcess(tmp_path / "data", trace_uploads=1) as server:
        api = HfApi(endpoint=server.url, token=False)
        for name in ("smollm2", "stranger", "mine"):
            api.create_repo(f"local/{name}")
        api.upload_file(repo_id="local/smollm2", path_or_fileobj=smollm2_gguf(), path_in_repo="model.gguf")
        api.upload_folder(repo_id="local/stranger", folder_path=save_hf(tmp_path / "s", stranger()))
        lineage(server.url, "smollm2"), lineage(server.url, "stranger")
        api.upload_file(repo_id="local/mine", path_or_fileobj=child, path_in_repo="weights.gguf")
        start = time.monotonic()
        found = lineage(server.url, "mine")
        assert time.monotonic() - start < 60
        closest = found["closest"]
        assert (closest["repo"], closest["order"], closest["order_by"]) == ("local/smollm2", "parent", "weights")
        assert closest["agreement"] > 0.9 and closest["judgement"]["null"]["as_high"] == 0
        assert sorted((x, y) for x, y, _ in closest["judgement"]["layers"]) == [(n, 5 * n) for n in range(6)]
        edges = [r["repo"] for kind in ("parents", "children", "kin") for r in found[kind]]
        assert edges == ["local/smollm2"] and found["nearest_unrelated"]["repo"] == "local/stranger"
        assert lineage(server.url, "stranger")["closest"] is None
