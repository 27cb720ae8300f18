"""A model is uploaded, and the hub says what it comes from. Real processes, real clients, small random Llamas."""

from __future__ import annotations

import io
import time

import httpx
import networkx
import pytest
from huggingface_hub import HfApi
from server import HubProcess
from trace_made import made, noisy, permuted, rotated, save_gguf, save_hf


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    server = HubProcess(tmp_path_factory.mktemp("trace") / "data", trace_uploads=1).start()
    yield server
    server.kill()


def push(server, folder, name, card="", private=False) -> str:
    """The revision."""
    api = HfApi(endpoint=server.url, token=False)
    (folder / "README.md").write_text(f"---\n{card}---\n" if card else "---\ntags: [x]\n---\n")
    api.create_repo(f"local/{name}", private=private, exist_ok=True)
    return api.upload_folder(repo_id=f"local/{name}", folder_path=folder).oid


def ask(server, path, method="GET", **more) -> httpx.Response:
    return httpx.request(method, f"{server.url}/api/headwater/lineage{path}", timeout=60, **more)


def lineage(server, name, state="read", **params) -> dict:
    for _ in range(300):
        answer = ask(server, f"/local/{name}", params=params).json()
        if answer["status"]["state"] == state:
            return answer
        time.sleep(0.1)
    raise AssertionError((answer["status"], server.tail()))


def read(server, name) -> dict:
    """The lineage once nothing is at work on it."""
    found = lineage(server, name)
    while any(job["kind"] == "trace" for job in httpx.get(f"{server.url}/api/headwater/jobs?state=running").json()):
        time.sleep(0.05)
    return found


@pytest.fixture(scope="module")
def family(hub, tmp_path_factory):
    """base; a child that says nothing, noisy, rotated and permuted, as GGUF; a stranger of the same words."""
    folder, base = tmp_path_factory.mktemp("models"), made(0)
    push(hub, save_hf(folder / "base", base), "base", "license: gemma\n")
    push(hub, save_hf(folder / "other", made(5)), "other")
    lineage(hub, "base")
    lineage(hub, "other")
    push(hub, save_gguf(folder / "child", permuted(rotated(noisy(base, 0.05)))), "child", "license: mit\n")
    lineage(hub, "child")
    return folder


def test_an_undeclared_descendant_is_found_and_an_unrelated_model_is_no_edge(hub, family):
    found = lineage(hub, "child")
    parent = found["closest"]
    assert [r["repo"] for r in found["parents"]] == ["local/base"] == found["undeclared"] and parent["agreement"] > 0.8
    assert (parent["order"], parent["order_by"], parent["a"], parent["b"]) == (
        "parent", "weights", "local/child", "local/base")
    assert "quantised" in parent["judgement"]["operation"] and parent["judgement"]["null"].keys() >= {"n", "max"}
    assert found["children"] == found["kin"] == [] and found["nearest_unrelated"]["repo"] == "local/other"
    assert found["nearest_unrelated"]["agreement"] < 0.1
    assert found["fingerprint"]["layers"] == 4 and found["fingerprint"]["form"] == "gated"
    assert found["offer"] == {"base_model": ["local/base"], "base_model_relation": "quantized"}


def test_the_parent_learns_of_its_child(hub, family):
    assert [r["repo"] for r in lineage(hub, "base")["children"]] == ["local/child"]
    assert lineage(hub, "other")["children"] == lineage(hub, "other")["kin"] == []


def test_a_child_that_came_before_its_parent_is_given_it(hub, family, tmp_path):
    base = made(70)
    push(hub, save_gguf(tmp_path / "early", noisy(base, 0.05), "Q8_0"), "early")
    assert read(hub, "early")["closest"] is None
    push(hub, save_hf(tmp_path / "late", base), "late")
    lineage(hub, "late")
    assert lineage(hub, "early")["closest"]["repo"] == "local/late"


def test_duties_of_the_parent_that_was_found_bind_and_a_weaker_label_is_a_conflict(hub, family):
    duties = lineage(hub, "child")["duties"]
    assert [(d["licence"], d["of"], d["checked"]) for d in duties["duties"]] == [("gemma", ["local/base"], False)]
    assert "The card says mit" in duties["conflicts"][0]


def test_a_pair_gets_the_numbers_of_its_edge_in_either_order_and_at_a_revision(hub, family):
    edge = lineage(hub, "child")["closest"]
    one = ask(hub, "/pair", params={"a": "local/child", "b": f"local/base@{edge['revision']}"}).json()
    assert (one["agreement"], one["direction"], one["verdict"]) == (edge["agreement"], "a-from-b", edge["verdict"])
    other = ask(hub, "/pair", params={"a": "local/base", "b": "local/child"}).json()
    assert other["direction"] == "b-from-a" and other["agreement"] == pytest.approx(one["agreement"], abs=0.05)
    assert ask(hub, "/pair", params={"a": "local/base", "b": "local/nobody"}).status_code == 404


def test_the_same_files_elsewhere_are_not_read_twice_and_are_told(hub, family):
    push(hub, family / "base", "mirror", "license: mit\n")
    found = lineage(hub, "mirror")
    assert found["same"] == ["local/base"] and [r["repo"] for r in found["children"]] == ["local/child"]
    assert found["status"]["at"] == lineage(hub, "base")["status"]["at"]
    assert lineage(hub, "child")["closest"]["also"] == ["local/mirror"]


def test_what_is_declared_stands_beside_what_is_found(hub, family):
    push(hub, family / "child", "honest", "base_model:\n- local/base\n- local/other\n- some/where\n")
    found = lineage(hub, "honest")
    assert [(d["name"], d["state"]) for d in found["declared"]] == [
        ("local/base", "confirmed"), ("local/other", "not-seen"), ("some/where", "not-here")]
    assert found["undeclared"] == [] and found["offer"] is None and found["closest"]["declared"]


def test_the_offer_is_written_by_the_owners_hand_and_nothing_is_written_silently(hub, family):
    before = httpx.get(f"{hub.url}/local/child/resolve/main/README.md").text
    assert "base_model" not in before
    offer = lineage(hub, "child")["offer"]
    made_at = ask(hub, "/local/child/card", "POST", json=offer).json()["revision"]
    after = httpx.get(f"{hub.url}/local/child/resolve/main/README.md").text
    assert 'base_model: "local/base"' in after and "license: mit" in after
    found = lineage(hub, "child")
    assert found["revision"] == made_at and found["undeclared"] == [] and found["offer"] is None
    assert [d["state"] for d in found["declared"]] == ["confirmed"]
    assert HfApi(endpoint=hub.url, token=False).model_info("local/child").card_data.base_model == "local/base"


def test_disputes_are_shown_on_both_sides(hub, family):
    said = ask(hub, "/local/child/disputes", "POST", json={"other": "local/base", "text": " We trained it. "})
    assert said.status_code == 201 and said.json()["text"] == "We trained it."
    for name in ("child", "base"):
        assert [d["text"] for d in lineage(hub, name)["disputes"]] == ["We trained it."]
    for other, status in (("local/child", 400), ("local/nobody", 404)):
        assert ask(hub, "/local/child/disputes", "POST", json={"other": other, "text": "x"}).status_code == status


def test_the_whole_tree_is_a_graph_other_programs_read(hub, family):
    tree = ask(hub, "").json()
    edges = {(e["source"], e["target"]): e for e in tree["edges"]}
    assert edges["local/base", "local/child"]["ordered"] and not tree["more"]
    graph = networkx.read_graphml(io.BytesIO(ask(hub, "?form=graphml").content))
    assert set(graph.nodes) == {n["id"] for n in tree["nodes"]} and set(graph.edges) == set(edges)
    assert graph.edges["local/base", "local/child"]["agreement"] > 0.8 and graph.nodes["local/base"]["layers"] == 4
    narrow = ask(hub, "", params={"agreement": 0.99, "verdict": "descends"}).json()
    assert all(e["agreement"] >= 0.99 and e["verdict"] == "descends" for e in narrow["edges"])
    assert ask(hub, "?owner=nobody").json()["nodes"] == [] and ask(hub, "?limit=1").json()["more"]
    assert networkx.is_directed_acyclic_graph(graph)


def test_what_cannot_be_read_says_why_and_a_repo_without_weights_says_that(hub, tmp_path):
    (tmp_path / "model.safetensors").write_bytes((2**62).to_bytes(8, "little") + b"{}")
    push(hub, tmp_path, "broken")
    found = lineage(hub, "broken", "cannot-read")
    assert len(found["status"]["problem"]) > 10 and found["parents"] == [] and found["closest"] is None
    (tmp_path / "model.safetensors").unlink()
    push(hub, tmp_path, "words")
    assert lineage(hub, "words", "no-weights")["same"] == []


def test_other_revisions_are_read_on_demand_and_until_then_not_yet_read(hub, family, tmp_path):
    first = push(hub, save_hf(tmp_path / "m", made(90, layers=2)), "moving")
    lineage(hub, "moving")
    api = HfApi(endpoint=hub.url, token=False)
    api.create_branch("local/moving", branch="next")
    folder = save_hf(tmp_path / "n", noisy(made(90, layers=2), 0.1))
    second = api.upload_folder(repo_id="local/moving", folder_path=folder, revision="next").oid
    assert ask(hub, "/local/moving", params={"revision": "next"}).json()["status"]["state"] == "not-yet-read"
    assert ask(hub, "/local/moving/fingerprint", params={"revision": "next"}).status_code == 404
    job = ask(hub, "/local/moving/read", "POST", params={"revision": "next"})
    assert job.status_code == 202 and job.json()["kind"] == "trace"
    assert lineage(hub, "moving", revision=second)["closest"]["revision"] == first
    assert len(ask(hub, "/local/moving/fingerprint", params={"revision": second}).content) > 10_000


def test_a_fingerprint_made_elsewhere_is_told_its_kin_and_nothing_is_kept(hub, family):
    from trace_made import print_of

    before = len(ask(hub, "").json()["nodes"])
    body = print_of(save_hf(family / "elsewhere", permuted(noisy(made(0), 0.1)))).to_bytes()
    found = ask(hub, "/find", "POST", content=body).json()
    assert found[0]["repo"] == "local/base" and found[0]["judgement"]["verdict"] == "descends"
    assert found[-1]["judgement"]["verdict"] != "descends"
    assert len(ask(hub, "").json()["nodes"]) == before
    assert ask(hub, "/find", "POST", content=b"x" * 100).status_code == 400
    assert ask(hub, "/find", "POST", content=b"x" * 2_100_000).status_code == 413


def test_a_job_that_was_killed_in_the_middle_ends_after_the_next_start(tmp_path):
    with HubProcess(tmp_path / "data", trace_uploads=1) as server:
        push(server, save_hf(tmp_path / "m", made(3, layers=10)), "big")
        seen = None
        for _ in range(300):
            seen = ask(server, "/local/big").json()["status"]
            if seen["state"] in ("reading", "read"):
                break
            time.sleep(0.01)
        server.kill()
        server.start()
        assert lineage(server, "big")["fingerprint"]["layers"] == 10, seen


def test_when_uploads_are_not_read_models_are_read_when_asked(tmp_path):
    with HubProcess(tmp_path / "data", trace_uploads=0) as server:
        push(server, save_hf(tmp_path / "m", made(3, layers=1)), "one")
        time.sleep(1)
        assert ask(server, "/local/one").json()["status"]["state"] == "not-yet-read"
        server.stop()
        server.flags["trace_uploads"] = 1
        server.start()  # and what was never read is read when the hub starts so
        lineage(server, "one")
