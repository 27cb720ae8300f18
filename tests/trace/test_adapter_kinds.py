"""Adapters that are more than two halves: what each adds is what its own package merges, and their bases are found."""

import json
from pathlib import Path

import numpy as np
import pytest
from adapters_made import adapter_files, model_files, trained
from safetensors.numpy import load, load_file, save

from calibrate.disguise import in_whole, print_of_files
from headwater.trace.adapters import fit
from headwater.trace.applied import find_applied
from headwater.trace.change_rows import rows_of, scale_of
from headwater.trace.grown_on import grown_on
from headwater.trace.judge import judge
from headwater.trace.judgement import Verdict
from headwater.trace.null import NullLibrary
from headwater.trace.reader import Reader
from headwater.trace.roles import find_roles
from headwater.weights.source import BytesSource

NULL = NullLibrary.load()
FILES = Path(__file__).parent / "adapter_files"
KINDS = sorted(path.name.split(".")[0] for path in FILES.glob("*.merged.safetensors"))
DORA = ("dora", "dora_rslora", "lycoris_dora")


def opened(files):
    return Reader(lambda name: BytesSource(files[name]), {name: len(data) for name, data in files.items()})


def kept(kind):
    files = {"adapter_model.safetensors": (FILES / f"{kind}.safetensors").read_bytes()}
    told = FILES / f"{kind}.json"
    return files | ({"adapter_config.json": told.read_bytes()} if told.exists() else {})


def base_of(kind):
    return {"model.safetensors": (FILES / f"base{'_gpt2' if 'gpt2' in kind else ''}.safetensors").read_bytes()}


@pytest.mark.parametrize("kind", KINDS)
def test_what_an_adapter_adds_is_what_its_own_package_merges(kind):
    merged = load_file(FILES / f"{kind}.merged.safetensors")
    with opened(kept(kind)) as adapter, opened(base_of(kind)) as base:
        roles = find_roles(adapter.header)
        targets = fit(roles, base.header, base.columns).targets
        assert len(targets) == 2
        for target in targets:
            numbers = np.array([3, 0, 31])
            before = base.rows(target.matrix, numbers)
            added = rows_of(adapter, target.change, numbers, before)
            if target.change.magnitude is None:
                added *= size_of(adapter, target.change, kind)
            after = merged[target.matrix.tensor.name].astype(np.float32)
            after = (after.T if target.matrix.columns else after)[numbers]
            assert np.abs(added).max() > 0.004
            assert np.abs(before + added - after).max() < 2e-3
            assert (target.change.magnitude is not None) == (kind in DORA)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_merged_is_found_in_the_model_that_holds_it(kind):
    merged = load_file(FILES / f"{kind}.merged.safetensors")
    child = {"model.safetensors": save(load_file(FILES / base_of_name(kind)) | {
        name: array.astype(np.float32) for name, array in merged.items()})}
    other = "loha" if kind != "loha" else "lokr"
    with opened(child) as one, opened(base_of(kind)) as base, opened(kept(kind)) as mine, opened(kept(other)) as theirs:
        found = find_applied(one, base, [("mine", mine)])
        assert found.is_applied and found.left < 0.1, found
        size = size_of(mine, find_roles(mine.header).changes[0], kind)
        assert found.scales["mine"] == pytest.approx(1 if kind in DORA else size, rel=0.05)
        if "gpt2" not in kind:
            assert not find_applied(one, base, [("other", theirs)]).is_applied


def size_of(reader, change, kind):
    """LyCORIS counts the size of LoHa and LoKr twice when it merges them (4.1, get_weight and get_diff_weight)."""
    size = scale_of(reader, change)
    return size**2 if kind in ("lycoris_loha", "lycoris_lokr") else size


def base_of_name(kind):
    return f"base{'_gpt2' if 'gpt2' in kind else ''}.safetensors"


def rewritten(change):
    """The delta of the package, written as a LoRA of full rank: another file of the same change."""
    merged, base = load_file(FILES / f"{change}.merged.safetensors"), load_file(FILES / "base.safetensors")
    tensors = {}
    for name in merged:
        left, sizes, right = np.linalg.svd(merged[name].astype(np.float32) - base[name], full_matrices=False)
        stem = f"base_model.model.{name.removesuffix('.weight')}"
        tensors |= {f"{stem}.lora_B.weight": np.ascontiguousarray(left * sizes), f"{stem}.lora_A.weight": right}
    return {"adapter_model.safetensors": save(tensors)}


@pytest.mark.parametrize("kind", ["loha", "lokr", "lokr_both", "lokr_full"])
def test_an_adapter_resolved_into_two_halves_is_the_same_change(kind):
    files = [kept(kind), rewritten(kind)]
    said = judge(*map(print_of_files, files), NULL)
    found = in_whole(said, *files, 1, 1)
    assert found.verdict is Verdict.REENCODED, found.says
    assert in_whole(said, files[0], rewritten("lycoris_loha"), 1, 1).verdict is Verdict.CANNOT_TELL


def test_an_adapter_that_is_told_in_parts_has_the_shape_of_its_change():
    for kind, rank in (("loha", 3), ("lokr_both", 4), ("dora", 4)):
        shape = print_of_files(kept(kind)).architecture
        assert (shape.form, shape.layers, shape.rank) == ("adapter", 1, rank), kind


def test_halves_that_do_not_fit_are_no_change_and_are_passed_through():
    good = load_file(FILES / "loha.safetensors") | {"x.lokr_w1": np.ones((1 << 12, 1), np.float32)}
    name = next(name for name in good if name.endswith("hada_w2_b"))
    for spoilt in (np.ones((3, 7), np.float32), np.ones((5, 48), np.float32), np.ones(3, np.float32),
                   np.ones((0, 48), np.float32)):
        with opened({"adapter_model.safetensors": save(good | {name: spoilt})}) as reader:
            roles = find_roles(reader.header)
            assert len(roles.changes) == 1 and roles.passed == 5
    wide = {f"layers.0.x.lokr_w{n}": np.ones((1 << 12, 1 << 11), np.uint8) for n in (1, 2)}
    with opened({"adapter_model.safetensors": save(wide)}) as reader:
        assert not find_roles(reader.header).changes
    long = {f"layers.0.x.lokr_w{n}": np.ones((2, 1 << 20), np.uint8) for n in (1, 2)}
    with opened({"adapter_model.safetensors": save(long)}) as reader:
        assert not find_roles(reader.header).changes


# --- matrices carried whole


def with_head(base, change=0.02):
    """An adapter of random halves that carries the base's embedding, a little trained."""
    rng = np.random.default_rng(5)
    pairs = {f"{n}.gate/{half}": rng.normal(size=(4, 64) if half == "a" else (256, 4)) * 0.01
             for n in range(4) for half in "ab"}
    files = adapter_files(pairs)
    moved = base["embed"] * (1 + change * rng.normal(size=base["embed"].shape))
    tensors = {"base_model.model.model.embed_tokens.modules_to_save.weight": moved.astype(np.float32)}
    files["adapter_model.safetensors"] = merge_files(files["adapter_model.safetensors"], tensors)
    return files


def merge_files(data, more):
    return save(load(data) | more)


def test_a_matrix_saved_whole_beside_an_adapter_tells_its_base():
    bases = trained()[0]
    files, models = with_head(bases[0]), [model_files(base) for base in bases]
    made = print_of_files(files)
    assert made.architecture.form == "adapter"
    found = in_whole(judge(made, print_of_files(models[0]), NULL), files, models[0], 4, 4)
    assert (found.verdict, found.direction) == (Verdict.ADAPTER, "a-from-b"), found.says
    assert "whole" in found.says
    other = in_whole(judge(made, print_of_files(models[1]), NULL), files, models[1], 4, 4)
    assert other.verdict is Verdict.CANNOT_TELL, other.says


def test_the_config_of_an_adapter_says_its_size_and_lies_are_passed_over():
    for told, size in (({"lora_alpha": 6}, 1.5), ({"lora_alpha": "six"}, 1), ({"lora_alpha": 1e400}, 1), ([], 1),
                       ({"lora_alpha": 6, "use_rslora": True}, 3)):
        files = kept("dora") | {"adapter_config.json": json.dumps(told).encode()}
        with opened(files) as reader:
            assert scale_of(reader, find_roles(reader.header).changes[0]) == size


# --- which base


def test_lengths_beside_the_halves_leave_the_base_to_be_found():
    bases, adapters = trained()
    files, rng = adapter_files(adapters[0]), np.random.default_rng(0)
    stems = {name.split(".lora_")[0] for name in load(files["adapter_model.safetensors"])}
    lengths = {f"{stem}.lora_magnitude_vector": rng.random(
        256 if stem.endswith(("gate_proj", "up_proj")) else 64).astype(np.float32) for stem in stems}
    files["adapter_model.safetensors"] = merge_files(files["adapter_model.safetensors"], lengths)
    for n, verdict in ((0, Verdict.ADAPTER), (1, Verdict.CANNOT_TELL)):
        model = model_files(bases[n])
        said = judge(print_of_files(files), print_of_files(model), NULL)
        assert in_whole(said, files, model, 4, 4).verdict is verdict


def gpt2_of(base, pairs):
    """Both as GPT-2 keeps them: queries, keys and values in one, matrices as (in, out)."""
    model, adapter = {}, {}
    for n in range(4):
        stem = f"h.{n}.attn"
        model[f"{stem}.c_attn.weight"] = np.concatenate([base[f"{n}.{part}"] for part in "qkv"]).T
        model[f"{stem}.c_proj.weight"] = base[f"{n}.o"].T
        up = np.zeros((192, 12), np.float32)
        for place, part in enumerate("qkv"):
            up[64 * place:64 * place + 64, 4 * place:4 * place + 4] = pairs[f"{n}.{part}/b"]
        adapter[f"base_model.model.transformer.{stem}.c_attn.lora_B.weight"] = up
        adapter[f"base_model.model.transformer.{stem}.c_attn.lora_A.weight"] = np.concatenate(
            [pairs[f"{n}.{part}/a"] for part in "qkv"])
    return [{"model.safetensors": save({name: np.ascontiguousarray(array, np.float32) for name, array in one.items()})}
            for one in (model, adapter)]


def test_the_values_of_a_fused_matrix_tell_the_base_of_gpt2s_adapters():
    bases, adapters = trained()
    met = []
    for n in range(2):
        model, adapter = gpt2_of(bases[n], adapters[0])
        with opened(model) as base, opened(adapter) as mine:
            found = fit(find_roles(mine.header), base.header, base.columns)
            assert found.whole and len(found.targets) == 4
            met.append(grown_on(mine, base, found.targets))
    assert (met[0].met, met[0].of, met[1].of) == (4, 4, 4) and met[1].met <= 1
