"""`headwater trace`: files alone, models of a hub, and models of another hub read by ranges."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import httpx
import numpy as np
import pytest
from huggingface_hub import HfApi
from server import HubProcess

sys.path.append(str(Path(__file__).parents[1] / "trace"))
from disguises import new_embeddings
from trace_made import made, noisy, permuted, rotated, save_gguf, save_hf

KEYS = {"verdict", "direction", "agreement", "null", "layers", "evidence"}


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> Path:
    folder, base = tmp_path_factory.mktemp("models"), made(0)
    save_hf(folder / "base", base)
    save_gguf(folder / "child", permuted(rotated(noisy(base, 0.05))))
    save_hf(folder / "other", made(9))
    return folder


@pytest.fixture(scope="module")
def hub(tmp_path_factory, models):
    server = HubProcess(tmp_path_factory.mktemp("hub") / "data").start()
    api = HfApi(endpoint=server.url, token=False)
    for name in ("base", "child", "other"):
        api.create_repo(f"local/{name}")
        api.upload_folder(repo_id=f"local/{name}", folder_path=models / name)
    yield server
    server.kill()


def test_two_files_need_no_hub(hw, models, data):
    said = hw("trace", str(models / "child" / "model.gguf"), str(models / "base"), "--json").json
    assert said.keys() >= KEYS and (said["verdict"], said["direction"]) == ("descends", "a-from-b")
    assert said["agreement"] > 0.8 and {"n", "max"} <= said["null"].keys() and len(said["layers"]) == 4
    assert not (data / "headwater.db").exists()
    other = hw("trace", str(models / "child"), str(models / "other"), "--json").json
    assert other["agreement"] < 0.1 and other["verdict"] not in ("descends", "identical", "re-encoded")


def test_people_see_the_verdict_the_evidence_and_how_often_unrelated_models_are_as_alike(hw, models):
    said = hw("trace", str(models / "child"), str(models / "base"))
    assert said.code == 0 and "descends, a-from-b" in said.out and "independent pairs as high" in said.out
    assert "neurons" in said.out and "0~0:" in said.out and "Reading" in said.err


def test_files_alone_give_the_numbers_the_hub_gives(hw, models, hub, monkeypatch):
    alone = hw("trace", str(models / "child"), str(models / "base"), "--json").json
    monkeypatch.setenv("HEADWATER_URL", hub.url)
    monkeypatch.delenv("HEADWATER_DATA")
    at_hub = hw("trace", "local/child", "local/base", "--json")
    mixed = hw("trace", "local/child", str(models / "base"), "--json").json
    page = httpx.get(f"{hub.url}/api/headwater/lineage/pair", params={"a": "local/child", "b": "local/base"}).json()
    for theirs in (at_hub.json, mixed, page, page["judgement"]):
        assert {key: theirs[key] for key in KEYS} == {key: alone[key] for key in KEYS}


def test_whole_files_give_the_same_numbers_here_and_at_the_hub_in_either_order(hw, models, hub, monkeypatch):
    alone = hw("trace", str(models / "child"), str(models / "base"), "--whole", "--json").json["whole"]
    assert alone["agreement"] > 0.9 and alone["neurons"][0]["reads_a"] and alone["tensors"]
    monkeypatch.setenv("HEADWATER_URL", hub.url)
    monkeypatch.delenv("HEADWATER_DATA")
    names = {"a": "local/child", "b": "local/base"}
    pair = f"{hub.url}/api/headwater/lineage/pair"
    for name in names.values():  # read before they are compared
        hw("trace", name, "--json")
    assert httpx.get(pair, params=names).json()["whole"] is None
    at_hub = hw("trace", "local/child", "local/base", "--whole", "--json").json["whole"]
    assert at_hub == alone == httpx.get(pair, params=names).json()["whole"]
    turned = hw("trace", "local/base", "local/child", "--whole")
    assert turned.code == 0 and "whole files: " in turned.out and f"{alone['agreement']:.1%}" in turned.out
    assert httpx.post(f"{pair}/compare", json={"a": "local/child", "b": "local/nobody"}).status_code == 404
    for argv in (["local/child", str(models / "base")], ["local/child"]):
        refused = hw("trace", *argv, "--whole")
        assert refused.code != 0 and "--whole compares two" in refused.err


def test_one_model_is_given_its_parent_among_all_of_the_hub(hw, models, hub, monkeypatch):
    monkeypatch.setenv("HEADWATER_URL", hub.url)
    monkeypatch.delenv("HEADWATER_DATA")
    assert hw("trace", "local/base", "--json").code == hw("trace", "local/other", "--json").code == 0
    said = hw("trace", "local/child", "--json").json
    assert said.keys() >= KEYS and said["parent"] == "local/base" and said["verdict"] == "descends"
    shown = hw("trace", "local/child").out
    assert "parent" in shown and "local/base" in shown and "unrelated" in shown
    stranger = hw("trace", str(models / "child"), "--json").json
    assert stranger["parent"] in ("local/base", "local/child") and stranger["matches"][-1]["repo"] == "local/other"
    assert "local/base" in hw("trace", str(models / "child")).out


def test_a_model_without_kin_is_compared_in_whole_before_it_is_said_to_have_none(hw, models, hub, monkeypatch,
                                                                                 tmp_path):
    api = HfApi(endpoint=hub.url, token=False)
    words = save_hf(tmp_path / "hidden", permuted(rotated(new_embeddings(made(0)), seed=5)))
    api.create_repo("local/hidden")
    api.upload_folder(repo_id="local/hidden", folder_path=words)
    monkeypatch.setenv("HEADWATER_URL", hub.url)
    monkeypatch.delenv("HEADWATER_DATA")
    said = hw("trace", "local/hidden", "--json").json
    assert said["lineage"]["closest"]["repo"] in ("local/base", "local/child") and said["verdict"] == "descends"
    assert said["null"]["kind"] == "whole files" and said["agreement"] > 0.9
    shown = hw("trace", "local/hidden", said["lineage"]["closest"]["repo"], "--whole").out
    assert "descends, by the whole files" in shown and "by the fingerprints alone:\nsame-architecture" in shown
    said = hw("trace", "local/other")
    assert "unrelated" in said.out and "Compared in whole, too, with local/" in said.err


def test_a_model_of_another_hub_is_read_by_ranges_and_not_downloaded(hw, hub, models, monkeypatch, tmp_path):
    big = made(2, d=256, f=1024, layers=2, vocabulary=4_000)
    big.extra["more"] = np.random.default_rng(0).normal(size=(4000, 2000)).astype(np.float16)
    folder = save_hf(tmp_path / "big", big)
    api = HfApi(endpoint=hub.url, token=False)
    api.create_repo("local/big")
    api.upload_folder(repo_id="local/big", folder_path=folder)
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    said = hw("trace", "hf:local/big", str(folder), "--json").json
    assert said["verdict"] == "identical" and said["agreement"] == 1.0
    remote, local = said["read"]
    assert remote["total_bytes"] == local["total_bytes"] == (folder / "model.safetensors").stat().st_size
    assert remote["bytes_read"] < 0.5 * remote["total_bytes"]


def test_what_cannot_be_traced_says_why(hw, hub, models, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "model.safetensors").write_bytes(b"nothing of the kind")
    (tmp_path / "none").mkdir()
    for argv, says in ((["bad", "base"], "safetensors"), (["none", "base"], "no weights"),
                       (["hf:local/nobody", "base"], "is not at"), (["hf:a b", "base"], "owner/name")):
        paths = [a if a.startswith("hf:") else str((tmp_path if a in ("bad", "none") else models) / a) for a in argv]
        said = hw("trace", *paths, "--json")
        assert said.code == 1 and says in json.loads(said.err)["error"], said.err
    assert hw("trace", "nothing-here", "--json").code == 1
