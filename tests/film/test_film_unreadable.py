"""Film models that are cut, lie about themselves or lack a part: refused with a sentence when a film is ordered, or at
its start; the hub and the process that holds models go on."""

from __future__ import annotations

import json
import os
import shutil
import struct
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from diffusers_hub import FilmHub, needs_torch
from huggingface_hub import HfApi
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.core.errors import HeadwaterError
from headwater.core.film import FilmRequest
from headwater.film_engines.diffusers import ENGINE

pytestmark = [*needs_torch, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
Change = Callable[[Path], Any]
WEIGHTS = "diffusion_pytorch_model.safetensors"


def said(file: str, **values: Any) -> Change:
    def change(repo: Path) -> None:
        (repo / file).write_text(json.dumps(json.loads((repo / file).read_text()) | values))

    return change


def without(name: str) -> Change:
    def change(repo: Path) -> None:
        index = json.loads((repo / "model_index.json").read_text())
        del index[name]
        (repo / "model_index.json").write_text(json.dumps(index))

    return change


def gone(name: str) -> Change:
    return lambda repo: shutil.rmtree(repo / name) if (repo / name).is_dir() else (repo / name).unlink()


def put(file: str, data: bytes) -> Change:
    return lambda repo: (repo / file).write_bytes(data)


def cut(file: str) -> Change:
    return lambda repo: (repo / file).write_bytes((repo / file).read_bytes()[: -(repo / file).stat().st_size // 3])


def weights(part: str, change: Callable[[dict[str, Any], bytes], tuple[dict[str, Any], bytes]]) -> Change:
    def act(repo: Path) -> None:
        data = (repo / part / WEIGHTS).read_bytes()
        size, = struct.unpack("<Q", data[:8])
        header, body = change(json.loads(data[8:8 + size]), data[8 + size:])
        text = json.dumps(header).encode()
        (repo / part / WEIGHTS).write_bytes(struct.pack("<Q", len(text)) + text + body)

    return act


def renamed(header: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
    name = next(one for one in header if "blocks.0" in one)
    return {f"other.{one}" if one == name else one: value for one, value in header.items()}, body


def index(**values: Any) -> Change:
    return said("model_index.json", **values)


TRANSFORMER, VAE, SCHEDULER = "transformer/config.json", "vae/config.json", "scheduler/scheduler_config.json"
LIES: dict[str, tuple[str, Change, str]] = {
    "cut weights": ("wan21-t2v", cut(f"transformer/{WEIGHTS}"), f"transformer/{WEIGHTS}: .* bytes are missing"),
    "cut encoder": ("wan21-t2v", cut("text_encoder/model.safetensors"), "text_encoder/model.safetensors: .* missing"),
    "no weights": ("wan21-t2v", gone("text_encoder/model.safetensors"), "no weights of text_encoder"),
    "no tokenizer": ("wan21-t2v", gone("tokenizer"), "tokenizer/tokenizer.json is not there"),
    "no scheduler": ("wan21-t2v", gone("scheduler"), "scheduler/scheduler_config.json is not there"),
    "no encoder of pictures": ("wan21-i2v", gone("image_encoder"), "image_encoder/config.json cannot be read"),
    "tokenizer not named": ("wan21-t2v", without("tokenizer"), "names no tokenizer"),
    "scheduler not named": ("wan21-t2v", without("scheduler"), "names no scheduler"),
    "vae null": ("wan21-t2v", index(vae=[None, None]), "names no vae"),
    "vae no list": ("wan21-t2v", index(vae="diffusers.AutoencoderKLWan"), "names no vae"),
    "another's vae": ("wan21-t2v", index(vae=["diffusers", "AutoencoderKLLTXVideo"]), "names AutoencoderKLLTXVideo as"),
    "another's transformer": ("wan21-t2v", index(transformer=["diffusers", "LTXVideoTransformer3DModel"]),
                              "names LTXVideoTransformer3DModel as"),
    "another's pipeline": ("wan21-t2v", index(_class_name="LTXPipeline"), "WanTransformer3DModel as its transformer"),
    "half of two encoders": ("hunyuan15", without("text_encoder_2"), "names no text_encoder_2"),
    "scheduler of words": ("wan21-t2v", put(SCHEDULER, b"nonsense"), "scheduler_config.json is not JSON"),
    "no steps": ("wan21-t2v", said(SCHEDULER, num_train_timesteps=0), "not a whole number above 0"),
    "steps without end": ("wan21-t2v", said(SCHEDULER, num_train_timesteps=2**40), "beyond what a model has"),
    "guider a list": ("hunyuan15", put("guider/guider_config.json", b"[]"), "guider_config.json is no JSON object"),
    "no heads": ("wan21-t2v", said(TRANSFORMER, num_attention_heads=0), "'num_attention_heads' is '0'"),
    "heads of words": ("wan21-t2v", said(TRANSFORMER, num_attention_heads="two"), "not a whole number above 0"),
    "layers without end": ("wan21-t2v", said(TRANSFORMER, num_layers=1e9), "beyond what a model has"),
    "no patch": ("wan21-t2v", said(TRANSFORMER, patch_size=[0, 0, 0]), "'patch_size' is"),
    "half a patch": ("wan21-t2v", said(TRANSFORMER, patch_size=[1, 2.5, 2.5]), "'patch_size' is"),
    "a short patch": ("wan21-t2v", said(TRANSFORMER, patch_size=[1]), "what part of a film one latent is"),
    "latents of words": ("wan21-t2v", said(VAE, scale_factor_spatial="eight"), "'scale_factor_spatial' is 'eight'"),
    "latents too large": ("wan21-t2v", said(VAE, scale_factor_spatial=4_096), "what part of a film one latent is"),
    "no channels": ("wan21-t2v", said(VAE, z_dim=0), "'z_dim' is '0'"),
    "no blocks": ("cogvideox", said(VAE, block_out_channels=[]), "'block_out_channels' is"),
    "half a ratio": ("cogvideox", said(VAE, temporal_compression_ratio=0.5), "not a whole number above 0"),
    "film.json a list": ("wan21-t2v", put("film.json", b"[1]"), "film.json is no JSON object"),
    "gguf of nothing": ("wan21-t2v", lambda repo: (gone(f"transformer/{WEIGHTS}")(repo), put(
        "transformer/m.gguf", b"GGUF" + b"\xff" * 200)(repo)), "transformer/m.gguf: GGUF version"),
}


def planned(folder: Path) -> None:
    """What the hub's own process does with a model when a film is ordered."""
    can = ENGINE.describe(folder)
    width, height = can.size or (64, 64)
    asked = FilmRequest("diffusers", "t2v", "a red ball", (can.frames or 9) / (can.fps or 8), can.fps or 8, width,
                        height, 7, model="local/it", folder=folder)
    request = ENGINE.normalise(asked).request
    assert ENGINE.estimate(request).memory_bytes > 0 and ENGINE.work(request) > 0


@contextmanager
def copied(repo: Path, folder: Path):
    """Of links, so that a copy costs little; what is changed is put in place of its link."""
    target = folder / repo.name
    shutil.copytree(repo, target, copy_function=lambda a, b: os.link(a, b) if a.endswith(".safetensors") else
                    shutil.copy(a, b))
    try:
        yield target
    finally:
        shutil.rmtree(target)


@pytest.mark.parametrize("lie", LIES)
def test_a_model_that_lies_or_lacks_a_part_is_refused_when_a_film_is_ordered(tiny_repos, tmp_path, lie):
    name, change, why = LIES[lie]
    folder = Path(shutil.copytree(tiny_repos / name, tmp_path / name))
    planned(folder)
    change(folder)
    os.utime(folder / "model_index.json", (1, 1))
    with pytest.raises(HeadwaterError, match=why) as refused:
        planned(folder)
    assert refused.value.status < 500 and refused.value.hint and str(tmp_path) not in str(refused.value)


VALUES = st.recursive(st.none() | st.booleans() | st.integers(-2**70, 2**70) | st.floats() | st.text(max_size=9),
                      lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner,
                                                                                  max_size=3), max_leaves=6)


@settings(max_examples=100, deadline=None)
@given(data=st.data(), name=st.sampled_from(["wan21-t2v", "wan22-ti2v", "wan21-i2v", "ltx", "cogvideox", "hunyuan15"]),
       file=st.sampled_from(["model_index.json", TRANSFORMER, VAE, SCHEDULER, "film.json", "text_encoder/config.json"]),
       value=VALUES)
def test_whatever_a_model_says_of_itself_is_borne_or_refused_with_a_sentence(
        tiny_repos, tmp_path_factory, data, name, file, value):
    with copied(tiny_repos / name, tmp_path_factory.mktemp("said")) as folder:
        keys = sorted(json.loads((folder / file).read_text()))
        said(file, **{data.draw(st.sampled_from(keys)): value})(folder)
        try:
            planned(folder)
        except HeadwaterError as error:
            assert error.status < 500 and str(folder) not in str(error)


# --- through the hub


def pushed(hub: FilmHub, folder: Path, name: str) -> str:
    api = HfApi(endpoint=hub.url, token="hf_whoever")
    api.create_repo(f"local/{name}")
    api.upload_folder(repo_id=f"local/{name}", folder_path=folder)
    return f"local/{name}"


STARTED: dict[str, tuple[Change, str]] = {
    "other-names": (weights("transformer", renamed), "weights of transformer lack 1 that its config asks for"),
    "no-numbers": (weights("transformer", lambda header, body: (header, b"\xff" * len(body))), "are no numbers"),
    "no-words": (put("tokenizer/tokenizer.json", b"{"), "tokenizer of the model could not be loaded: JSONDecodeError"),
    "other-sizes": (said(VAE, base_dim=7), "vae of the model could not be loaded: ValueError"),
}


def test_what_shows_when_a_model_is_loaded_fails_its_film_alone(film_hub, tiny_repos, tmp_path):
    assert film_hub.made(film_hub.order("local/wan21-t2v")).status == "completed"
    workers = film_hub.workers()
    for name, (change, why) in STARTED.items():
        folder = Path(shutil.copytree(tiny_repos / "wan21-t2v", tmp_path / name))
        change(folder)
        failed = film_hub.made(film_hub.order(pushed(film_hub, folder, name)))
        assert failed.status == "failed" and why in failed.error.message, failed.error
        assert "model again" in failed.error.message and str(film_hub.data) not in failed.error.message
    assert film_hub.made(film_hub.order("local/wan21-t2v")).status == "completed"
    assert film_hub.workers() == workers and len(workers) == 1


def test_what_the_hub_was_sent_cut_is_refused_by_name_in_every_face(film_hub, tiny_repos, tmp_path):
    folder = Path(shutil.copytree(tiny_repos / "wan21-t2v", tmp_path / "cut"))
    cut(f"transformer/{WEIGHTS}")(folder)
    model = pushed(film_hub, folder, "cut-short")
    with pytest.raises(openai.BadRequestError, match=r"bytes are missing.*Push or add the model again"):
        film_hub.order(model)
    kling = httpx.post(f"{film_hub.url}/v1/videos/text2video", json={"model_name": model, "prompt": "a red ball"})
    assert kling.status_code == 400 and "bytes are missing" in kling.json()["message"]
    plan = httpx.post(f"{film_hub.url}/film/plan", files={"model": (None, model), "prompt": (None, "a red ball")})
    assert plan.status_code == 200 and "bytes are missing" in plan.text
    page = httpx.get(f"{film_hub.url}/film", params={"model": model})
    assert page.status_code == 200
