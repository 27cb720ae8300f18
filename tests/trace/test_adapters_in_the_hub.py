"""An adapter is uploaded, says nothing of its base, and is told it; a model it was merged into is told both."""

from __future__ import annotations

import time

import httpx
import pytest
from adapters_made import adapter_files, merged, model_files, trained
from server import HubProcess
from test_in_the_hub import lineage, push, read


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    server = HubProcess(tmp_path_factory.mktemp("adapters") / "data", trace_uploads=1).start()
    yield server
    server.kill()


def put(hub, folder, name, files, **more):
    (folder / name).mkdir()
    for path, data in files.items():
        (folder / name / path).write_bytes(data)
    push(hub, folder / name, name, **more)
    lineage(hub, name)


def test_an_adapter_and_its_base_find_each_other_and_what_it_was_merged_into_is_told_both(hub, tmp_path):
    bases, adapters = trained()
    put(hub, tmp_path, "lora", adapter_files(adapters[0]))
    for n in range(2):
        put(hub, tmp_path, f"base-{n}", model_files(bases[n]))
    assert [(r["repo"], r["verdict"]) for r in read(hub, "base-0")["children"]] == [("local/lora", "adapter")]
    found = read(hub, "lora")
    assert [(r["repo"], r["order_by"]) for r in found["parents"]] == [("local/base-0", "weights")]
    assert found["offer"] == {"base_model": ["local/base-0"], "base_model_relation": "adapter"}
    put(hub, tmp_path, "chat", model_files(merged(bases[0], (adapters[0], 0.7))))
    for _ in range(100):
        child = read(hub, "chat")
        if len(child["parents"]) == 2:
            break
        time.sleep(0.1)
    told = {r["repo"]: (r["verdict"], r["share"]) for r in child["parents"]}
    assert told == {"local/base-0": ("merge", 1.0), "local/lora": ("merge", pytest.approx(0.7, abs=0.01))}, child
    assert "adapters merged into it" in child["parents"][0]["judgement"]["says"]
    assert child["nearest_unrelated"]["repo"] == "local/base-1"
    assert [r["repo"] for r in read(hub, "lora")["parents"] if r["direct"]] == ["local/base-0"]
    page = httpx.get(f"{hub.url}/local/chat/trace/local/base-0", headers={"accept": "text/html"}).text
    assert "local/chat is a merge, and local/base-0 is in it." in page
    page = httpx.get(f"{hub.url}/local/chat/lineage", headers={"accept": "text/html"}).text
    assert "base_model:\n- local/base-0\n- local/lora\nbase_model_relation: merge" in page
