"""Two models compared in whole, and merges proved, through the hub. The app of this process, its jobs run by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from test_lineage import new_world, quiet
from trace_made import made, noisy, permuted, rotated, save_gguf, save_hf

from headwater.core.types import ANYONE
from headwater.trace import lineage, whole
from headwater.trace.forest import forest_of
from headwater.trace.mixing import merge_job


@pytest.fixture
def world(tmp_path):
    with new_world(tmp_path) as world:
        yield world


def summed(one, two, share):
    def mix(a, b):
        return (share * a + (1 - share) * b).astype(a.dtype)

    return replace(one, embed=mix(one.embed, two.embed),
                   layers=[{n: mix(a[n], b[n]) for n in a} for a, b in zip(one.layers, two.layers, strict=True)])


def try_mixtures(world, most=10**9):
    """The results of the jobs that wait."""
    jobs = world.app.hub.jobs.list(state="queued", kind="trace-merge")
    return [merge_job(world.trace, most)(job.payload, quiet) for job in jobs]


def compare(world, a, b, **more):
    ends = [(repo, repo.head) for repo in (a, b)]
    payload = whole.enqueue(world.trace, *ends, by="local").payload | more
    return whole.compare_job(world.trace)(payload, quiet)


def test_an_undeclared_sum_of_two_is_given_both_parents_with_their_shares(world, tmp_path):
    base = made(0, layers=2, vocabulary=1600)
    one, two = noisy(base, 0.3, seed=11), noisy(base, 0.3, seed=12)
    models = {"base": base, "one": one, "two": two, "sum": summed(one, two, 0.6)}
    repos = {}
    for name, model in models.items():
        repos[name] = world.push(name, save_hf(tmp_path / name, model), private=name == "two")
        said = world.read(repos[name])
    assert said["look_merged"] >= 1
    refused = try_mixtures(world, most=1000)
    assert all("trace_merge_max_bytes" in one["why"] and not one["tried"] for one in refused)
    assert {"tried": True, "is_merge": True, "candidates": 3} in try_mixtures(world)
    family = world.of(repos["sum"])
    assert {r.repo: round(r.share, 2) for r in family.parents} == {"local/one": 0.6, "local/two": 0.4}
    assert {(r.verdict, r.order_by) for r in family.parents} == {("merge", "weights")}
    assert family.offer == {"base_model": [r.repo for r in family.parents], "base_model_relation": "merge"}
    ties = {t.parent: round(t.share, 2) for t in family.ties if t.child == "local/sum"}
    assert ties == {"local/one": 0.6, "local/two": 0.4}
    links = [link for link in forest_of(world.trace, world.me).links if link.verdict == "merge"]
    assert {(link.source, link.target, link.ordered) for link in links} == {
        ("local/one", "local/sum", True), ("local/two", "local/sum", True)}
    assert [r.repo for r in world.of(repos["one"]).children] == ["local/sum"]
    # Who may not read one of the parts is not told that there is a sum.
    told = world.of(repos["sum"], ANYONE)
    assert all(r.share is None and r.verdict != "merge" for r in (*told.parents, *told.kin))
    assert not [link for link in forest_of(world.trace, ANYONE).links if link.verdict == "merge"]
    # A pair that was compared shows the shares as well.
    compare(world, repos["sum"], repos["one"])
    ends = [(repos[name], repos[name].head) for name in ("sum", "one")]
    judged = lineage.judge_pair(world.trace, *ends)
    merge = whole.whole_of(world.trace, world.me, *ends, judged)["merge"]
    assert merge["child"] == "a" and merge["shares"]["local/one"] == pytest.approx(0.6, abs=0.01)
    assert whole.whole_of(world.trace, ANYONE, *ends, judged)["merge"] is None


def test_whole_files_of_a_pair_are_compared_once_and_say_the_same_in_either_order(world, tmp_path):
    base = made(0, layers=2, vocabulary=1600)
    first = world.push("base", save_hf(tmp_path / "base", base))
    second = world.push("child", save_gguf(tmp_path / "child", permuted(rotated(noisy(base, 0.05)))))
    for repo in (first, second):
        world.read(repo)
    ends = [(repo, repo.head) for repo in (first, second)]
    judged = lineage.judge_pair(world.trace, *ends)
    assert whole.whole_of(world.trace, world.me, *ends, judged) is None
    assert compare(world, first, second)["known"] is False and compare(world, second, first) == {"known": True}
    found = whole.whole_of(world.trace, world.me, *ends, judged)
    other = whole.whole_of(world.trace, world.me, *ends[::-1], lineage.judge_pair(world.trace, *ends[::-1]))
    assert found["agreement"] == other["agreement"] > 0.9 and found["verdict"] == "descends"
    assert [(y["a"], y["b"]) for y in found["layers"]] == [(y["b"], y["a"]) for y in other["layers"]]
    assert found["neurons"][0]["reads_a"] == other["neurons"][0]["reads_b"]
    assert found["tensors"] and len(json.dumps(found)) < whole.REPORT_MAX
    mirrored = compare(world, second, first, again=True)
    assert mirrored["agreement"] == found["agreement"]


def test_whole_rows_show_a_copy_under_noise_twelve_times_its_weights(world, tmp_path):
    base, verdicts = made(0, vocabulary=1600), {}
    repo = world.push("base", save_hf(tmp_path / "base", base))
    world.read(repo)
    for name, model in {"drowned": noisy(base, 12.0), "stranger": made(5, vocabulary=1600)}.items():
        other = world.push(name, save_hf(tmp_path / name, model))
        world.read(other)
        compare(world, repo, other)
        ends = [(repo, repo.head), (other, other.head)]
        judged = lineage.judge_pair(world.trace, *ends)
        verdicts[name] = str(judged.verdict), whole.whole_of(world.trace, world.me, *ends, judged)["verdict"]
    assert verdicts == {"drowned": ("same-architecture", "descends"),
                        "stranger": ("same-architecture", "same-architecture")}


def test_a_comparison_ends_with_the_models_that_are_gone(world, tmp_path):
    repo = world.push("base", save_hf(tmp_path / "base", made(0, layers=1, vocabulary=1600)))
    payload = {"a": [repo.id, repo.head], "b": [repo.id + 7, "0" * 40]}
    assert whole.compare_job(world.trace)(payload, quiet) is None


def test_two_that_nobody_has_read_are_read_and_the_same_files_in_two_repos_get_no_edge_to_themselves(world, tmp_path):
    folder = save_hf(tmp_path / "base", made(0, layers=1, vocabulary=1600))
    one, two = world.push("one", folder), world.push("two", folder)
    assert compare(world, one, two)["known"] is False
    kept = world.trace.records.at(one, one.head)
    assert kept == world.trace.records.at(two, two.head)
    assert world.trace.records.edges([kept.id], kin=None) == [] and world.of(one).same == ("local/two",)
