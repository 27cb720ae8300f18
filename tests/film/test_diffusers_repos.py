"""What a film model can do is read from its papers alone, and what would harm is refused before any of it is loaded."""

from __future__ import annotations

import json
import pickle
import shutil
import struct
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from diffusers_hub import needs_torch
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.core.errors import BadInput, CorruptFile, HeadwaterError, TooLarge
from headwater.core.film import FilmRequest, Picture
from headwater.film_engines.diffusers import ENGINE
from headwater.film_engines.diffusers.families import PIPELINES
from headwater.film_engines.diffusers.lora import canonical, lora_changes, original
from headwater.film_engines.diffusers.needs import WAYS, needs
from headwater.film_engines.diffusers.repo import is_distilled, read_model

pytestmark = needs_torch


def asked(folder: Path, **more: object) -> FilmRequest:
    usual = {"seconds": 1.0, "fps": 8, "width": 64, "height": 64, "seed": 7}
    return FilmRequest("diffusers", "t2v", "a red ball", model="local/it", folder=folder, **(usual | more))


@pytest.fixture
def repo(tiny_repos: Path, tmp_path: Path) -> Callable[[str], Path]:
    def copy(name: str = "wan21-t2v") -> Path:
        return Path(shutil.copytree(tiny_repos / name, tmp_path / name))

    return copy


def changed(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_what_each_model_can_do_is_read_without_torch(tiny_repos):
    can = {name: ENGINE.describe(tiny_repos / name) for name in (
        "wan21-t2v", "wan22-a14b", "wan22-ti2v", "wan21-i2v", "wan21-flf2v", "ltx", "cogvideox")}
    assert {name: "".join(sorted(one.kinds)) for name, one in can.items()} == {
        "wan21-t2v": "t2v", "wan22-a14b": "t2v", "wan22-ti2v": "i2vt2v", "wan21-i2v": "i2v", "wan21-flf2v": "i2v",
        "ltx": "i2vt2v", "cogvideox": "t2v"}
    assert [name for name, one in can.items() if one.last_frame] == ["wan21-flf2v"]
    assert {name: (one.multiple, one.frames_each) for name, one in can.items()} == {
        "wan21-t2v": (16, 4), "wan22-a14b": (16, 4), "wan22-ti2v": (32, 4), "wan21-i2v": (16, 4),
        "wan21-flf2v": (16, 4), "ltx": (32, 8), "cogvideox": (16, 4)}
    assert all(one.generates and one.needs_model and one.loras for one in can.values())
    assert "torch" not in sys.modules


@settings(max_examples=60, deadline=None)
@given(name=st.sampled_from(["wan21-t2v", "wan22-ti2v", "ltx", "cogvideox"]), width=st.integers(64, 1_400),
       height=st.integers(64, 1_400), seconds=st.floats(0.1, 12), fps=st.integers(1, 24))
def test_whatever_is_asked_becomes_what_the_model_can_run_and_every_change_is_told(
        tiny_repos, name, width, height, seconds, fps):
    before = asked(tiny_repos / name, width=width, height=height, seconds=seconds, fps=fps)
    try:
        made = ENGINE.normalise(before)
    except (BadInput, TooLarge):
        return
    after, can = made.request, ENGINE.describe(tiny_repos / name)
    assert after.width % can.multiple == after.height % can.multiple == 0
    assert (after.frames - 1) % can.frames_each == 0 and after.frames > 1
    assert (after.width, after.height) == (width, height) or any("pixels (asked" in one for one in made.notes)
    assert after.frames == before.frames or any(f"(asked {before.frames}: " in one for one in made.notes)
    assert abs(after.frames - before.frames) <= can.frames_each
    assert ENGINE.normalise(after).request == after, "what was normalised stays as it is"
    assert ENGINE.work(after) > 0 and ENGINE.estimate(after).memory_bytes > 0


def test_presets_are_steps_and_what_has_no_effect_is_told(repo):
    folder = repo("cogvideox")
    (folder / "film.json").unlink()
    steps = {preset: ENGINE.normalise(asked(folder, preset=preset)).request.steps for preset in
             ("draft", "normal", "best")}
    assert steps["draft"] < steps["normal"] <= steps["best"]
    made = ENGINE.normalise(asked(folder, guidance=1.0, negative="blurry", camera={"zoom": 3.0}, extra={"sound": 1}))
    assert any("negative" in one for one in made.notes) and any("Camera" in one for one in made.notes)
    assert any("sound" in one for one in made.notes)


def test_a_model_that_is_said_to_be_distilled_takes_few_steps_and_no_guidance(repo):
    folder = repo()
    (folder / "film.json").unlink()
    assert ENGINE.normalise(asked(folder)).request.steps == 30
    (folder / "README.md").write_text("---\ntags: [lightx2v]\n---\n# Wan2.1-T2V-1.3B 4-step distill\n")
    (folder / "model_index.json").touch()
    made = ENGINE.normalise(asked(folder))
    assert (made.request.steps, made.request.guidance, made.request.extra["flow_shift"]) == (4, 1.0, 5.0)
    assert "4 steps, as the model was distilled for." in made.notes
    assert ENGINE.normalise(asked(folder, steps=9)).request.steps == 9


def test_what_a_repo_says_of_itself_goes_before_the_family(repo):
    folder = repo()
    said = {"width": 96, "height": 80, "frames": 13, "fps": 6, "steps": 12, "guidance": 4.0, "flow_shift": 2.0}
    (folder / "film.json").write_text(json.dumps(said | {"guidance_rescale": "?", "fps_": 10**9}))
    can, made = ENGINE.describe(folder), ENGINE.normalise(asked(folder)).request
    assert (can.size, can.frames, can.fps) == ((96, 80), 13, 6)
    assert (made.steps, made.guidance, made.extra) == (12, 4.0, {"flow_shift": 2.0})
    own = ENGINE.normalise(asked(folder, steps=3, guidance=1.5, extra={"flow_shift": 7.0})).request
    assert (own.steps, own.guidance, own.extra) == (3, 1.5, {"flow_shift": 7.0})


@pytest.mark.parametrize(("name", "steps"), [
    ("Wan21_T2V_14B_lightx2v_cfg_step_distill_lora_rank32", 4), ("LTX-Video-0.9.7-distilled", 4), ("FastWan2.2", 4),
    ("wan-4steps-high_noise", 4), ("x-8-step-lora", 8), ("Wan2.1-T2V-1.3B", None), ("made in 50 steps", None)])
def test_names_of_distilled_models_are_told_from_others(name, steps):
    assert is_distilled(name, 4) == steps


def test_a_smaller_way_is_taken_where_memory_is_short(tiny_repos):
    model = read_model(tiny_repos / "wan22-a14b")
    wanted = needs(model, ENGINE.normalise(asked(tiny_repos / "wan22-a14b")).request, 2, 4)
    assert wanted.ways["all"] > wanted.ways["words go"] > wanted.ways["in turn"] == wanted.least()
    assert [wanted.way(wanted.ways[way]) for way in WAYS] == list(WAYS)
    assert wanted.way(wanted.least() - 1) is None


def test_names_go_from_one_layout_to_the_other_and_back(tiny_repos):
    for name in ("wan21-t2v", "wan21-i2v"):
        for tensor in read_model(tiny_repos / name).parts["transformer"].shapes:
            module = tensor.rpartition(".")[0] or tensor
            assert canonical(original(module)) == canonical(module) == module


def test_every_tensor_of_a_lora_finds_its_place_in_either_layout(tiny_repos):
    part = read_model(tiny_repos / "wan21-t2v").parts["transformer"]
    for file, bias in (("wan21_t2v_lightx2v_4step", True), ("style", False)):
        changes, strange = lora_changes(tiny_repos / "loras" / f"{file}.safetensors", part)
        assert not strange and len(changes) == 6
        assert all(one.down and one.up and bool(one.bias) == bias for one in changes.values())
        assert "blocks.1.attn1.to_out.0" in changes


# --- what is refused


def refused(folder: Path, kind: type[HeadwaterError], word: str) -> None:
    with pytest.raises(kind, match=word):
        ENGINE.describe(folder)


def test_an_index_that_names_other_code_is_refused(repo):
    for place in (["evil_module", "UMT5EncoderModel"], ["transformers", "Trainer"], ["diffusers", "../x"], ["a"],
                  ["subprocess", "Popen"]):
        folder = repo()
        changed(folder / "model_index.json", text_encoder=place)
        refused(folder, BadInput, "no part of a film model")
        shutil.rmtree(folder)
    folder = repo()
    changed(folder / "model_index.json", safety=["diffusers", "WanTransformer3DModel"])
    refused(folder, BadInput, "no part of a film model")


def test_a_pipeline_of_pictures_or_of_its_own_code_is_refused(repo):
    folder = repo()
    changed(folder / "model_index.json", _class_name="StableDiffusionPipeline")
    refused(folder, BadInput, "no class of film models")
    changed(folder / "model_index.json", _class_name=["pipeline", "Mine"])
    refused(folder, BadInput, "no class of film models")
    assert "never run" in ENGINE.accepts(("modular_model_index.json", "transformer/config.json", "block.py"))
    assert ENGINE.index('{"_class_name": "FluxPipeline"}') and ENGINE.index("[" * 100_000)
    assert all(ENGINE.index(json.dumps({"_class_name": name})) is None for name in PIPELINES)


def test_code_a_config_asks_for_is_refused(repo):
    folder = repo()
    changed(folder / "text_encoder" / "config.json", auto_map={"AutoModel": "modeling.Evil"})
    refused(folder, BadInput, "auto_map")


def test_pickled_weights_are_refused(repo, tmp_path):
    folder = repo()
    (folder / "transformer" / "diffusion_pytorch_model.safetensors").unlink()
    (folder / "transformer" / "diffusion_pytorch_model.bin").write_bytes(pickle.dumps({"x": 1}))
    refused(folder, BadInput, "pickle")


def test_an_index_that_reaches_for_another_repos_weights_is_refused(repo):
    for name in ("../../wan22-a14b/vae/diffusion_pytorch_model.safetensors", "/etc/passwd", "gone.safetensors", 7):
        folder = repo()
        index = folder / "transformer" / "diffusion_pytorch_model.safetensors.index.json"
        index.write_text(json.dumps({"metadata": {}, "weight_map": {"proj_out.weight": name}}))
        refused(folder, CorruptFile, "names files that are not beside it")
        shutil.rmtree(folder)


def test_a_header_that_lies_is_refused(repo):
    folder = repo()
    weights = folder / "vae" / "diffusion_pytorch_model.safetensors"
    data = weights.read_bytes()
    for lie in (struct.pack("<Q", 1 << 60) + data[8:], data[:-100], data[:200], b"\0" * 9, b"PK\x03\x04" + data):
        weights.write_bytes(lie)
        (folder / "model_index.json").touch()
        refused(folder, CorruptFile, "safetensors|tensor|bytes|header")


@pytest.mark.parametrize(("key", "value"), [
    ("num_layers", 10**9), ("num_layers", 100_000), ("ffn_dim", 10**12), ("num_attention_heads", 60_000),
    ("patch_size", [1] * 5_000), ("deeper", {"num_hidden_layers": 10**6})])
def test_a_config_beyond_any_model_is_refused(repo, key, value):
    folder = repo()
    changed(folder / "transformer" / "config.json", **{key: value, "attention_head_dim": 128})
    refused(folder, CorruptFile, "beyond what a model has")


def test_json_that_is_huge_or_no_object_is_refused(repo):
    for text in ("{" + " " * 2_000_000 + "}", "[1]", "{", '{"a":' * 5_000):
        folder = repo()
        (folder / "vae" / "config.json").write_text(text)
        refused(folder, CorruptFile, "config.json")
        shutil.rmtree(folder)


def test_a_lora_of_another_model_a_dora_and_a_pickle_are_refused(repo, tiny_repos):
    def order(folder: Path, **one: object) -> None:
        ENGINE.normalise(asked(tiny_repos / "wan21-t2v", extra={"lora": [{"repo": "local/l", "folder": str(folder),
                                                                          **one}]}))

    order(tiny_repos / "loras", file="style.safetensors")
    with pytest.raises(BadInput, match="has 2 files"):
        order(tiny_repos / "loras")
    with pytest.raises(BadInput, match="no file"):
        order(tiny_repos / "loras", file="../wan21-t2v/vae/x.safetensors")
    with pytest.raises(BadInput, match="scale"):
        order(tiny_repos / "loras", file="style.safetensors", scale=float("nan"))
    with pytest.raises(BadInput, match=r"no \.safetensors file"):
        order(tiny_repos / "gguf")
    with pytest.raises(BadInput, match="of another model"):
        order(repo("ltx") / "vae")


def test_a_last_picture_is_for_models_that_take_one(tiny_repos, tmp_path):
    both = (Picture("first", tmp_path / "a.png", "0" * 64), Picture("last", tmp_path / "b.png", "0" * 64))
    made = ENGINE.normalise(replace(asked(tiny_repos / "wan21-flf2v"), kind="i2v", pictures=both))
    assert made.request.pictures == both
