"""What a folder with model_index.json says of itself, read in the hub's own process: JSON and safetensors headers,
within bounds, no torch. Whatever is not a film model of a known family, or names other code, is refused here.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from pathlib import Path
from typing import Any

from headwater.core.errors import BadInput, CorruptFile
from headwater.film_engines.diffusers.check import check_config, check_paper, check_whole, read_json
from headwater.film_engines.diffusers.families import MODELS, PAPERS, PIPELINES, Family
from headwater.weights import jsontext
from headwater.weights.read import read_header
from headwater.weights.source import FileSource

INDEX_MAX = 10_000_000
SHARDS_MAX = 100
WHOLE_AGAIN = "Push or add the model again, whole, then order the film again."
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")
DISTILLED = re.compile(r"distill|lightx2v|lightning|causvid|accvid|fastwan|turbo|(\d+)[-_ ]?steps?\b", re.I)
"""Names of models, and of LoRAs, that make a film in few steps and without a second prompt."""


@dataclass(frozen=True)
class Part:
    """A model within the repo. elements: how many numbers its files hold; shapes: of its tensors, by name."""

    name: str
    kind: str
    config: dict[str, Any]
    files: tuple[Path, ...]
    elements: int
    shapes: dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Model:
    """A film model. index: model_index.json. said: film.json, what the repo says of how it is run, {} without one.
    few: steps of a distilled one, None for another."""

    folder: Path
    pipeline: str
    family: Family
    index: dict[str, Any]
    parts: dict[str, Part]
    papers: dict[str, str]
    said: dict[str, Any]
    few: int | None

    @property
    def transformer(self) -> dict[str, Any]:
        return self.parts["transformer"].config

    @property
    def vae(self) -> dict[str, Any]:
        return self.parts["vae"].config

    @property
    def experts(self) -> list[Part]:
        return [self.parts[name] for name in ("transformer", "transformer_2") if name in self.parts]

    @property
    def encoders(self) -> list[Part]:
        return [part for name, part in self.parts.items() if name.startswith("text_encoder")]

    @property
    def digest(self) -> tuple[int, ...]:
        """Changes when the repo's index does: a snapshot's files do not."""
        return (self.folder / "model_index.json").stat().st_ino, (self.folder / "model_index.json").stat().st_mtime_ns

    @property
    def spatial(self) -> int:
        """Pixels a side of one latent."""
        vae = self.vae
        if self.family.name == "Wan":
            return int(vae.get("scale_factor_spatial") or 8)
        if self.family.name == "LTX":
            scaling = vae.get("spatio_temporal_scaling") or [True, True, True, False]
            return int(vae.get("patch_size") or 4) * 2 ** sum(bool(one) for one in scaling)
        if self.family.name == "CogVideoX":
            return 2 ** (len(vae.get("block_out_channels") or [1] * 4) - 1)
        return int(vae.get("spatial_compression_ratio") or (16 if "1.5" in self.family.name else 8))

    @property
    def temporal(self) -> int:
        """Frames of one latent: a film has one more than a multiple of it."""
        vae = self.vae
        if self.family.name == "Wan":
            return int(vae.get("scale_factor_temporal") or 4)
        if self.family.name == "LTX":
            scaling = vae.get("spatio_temporal_scaling") or [True, True, True, False]
            return int(vae.get("patch_size_t") or 1) * 2 ** sum(bool(one) for one in scaling)
        return int(vae.get("temporal_compression_ratio") or 4)

    @property
    def patch(self) -> tuple[int, int]:
        """Latents a side, and latents in time, of one token."""
        size = self.transformer.get("patch_size")
        if isinstance(size, list):
            return max(size[1:]), size[0]
        return int(size or 1), int(self.transformer.get("patch_size_t") or 1)

    @property
    def multiple(self) -> int:
        return max(self.spatial * self.patch[0], 16 if self.family.name == "Wan" else 2)

    def tokens(self, width: int, height: int, frames: int) -> int:
        side, long = self.patch
        latents = (frames - 1) // self.temporal + 1
        return -(-latents // long) * (height // self.spatial // side) * (width // self.spatial // side)


def read_model(folder: Path) -> Model:
    """Raises BadInput for what is no film model of a known family, CorruptFile for what does not hold together."""
    stat = (folder / "model_index.json").stat() if (folder / "model_index.json").is_file() else None
    if stat is None:
        raise BadInput("This repo has no model_index.json, so it is no pipeline of diffusers.")
    try:
        return _read(folder, stat.st_mtime_ns, stat.st_size)
    except CorruptFile as error:
        raise CorruptFile(str(error), hint=WHOLE_AGAIN) from None


@lru_cache(maxsize=64)
def _read(folder: Path, mtime: int, size: int) -> Model:
    index = read_json(folder / "model_index.json")
    pipeline, family = check_index(index)
    parts, papers = {}, {}
    for name, place in index.items():
        if not isinstance(place, list) or place in ([None, None], [None]):
            continue
        kind = _class(name, place)
        if name in MODELS:
            parts[name] = _part(folder, name, kind)
        else:
            check_paper(folder, name)
            papers[name] = kind
    for needed in ("transformer", "vae"):
        if needed not in parts:
            raise CorruptFile(f"model_index.json of a {pipeline} names no {needed}.")
    said = read_json(folder / "film.json") if (folder / "film.json").is_file() else {}
    model = Model(folder, pipeline, family, index, parts, papers, _said(said), _few(folder, said, family))
    check_whole(model)
    return model


def check_index(index: Any) -> tuple[str, Family]:
    """The pipeline's class and family. Raises BadInput."""
    pipeline = index.get("_class_name") if isinstance(index, dict) else None
    if not isinstance(pipeline, str) or pipeline not in PIPELINES:
        raise BadInput(f"{jsontext.shown(pipeline)} is no class of film models known here.",
                       hint=f"Known are: {', '.join(PIPELINES)}.")
    return pipeline, PIPELINES[pipeline]


def is_distilled(name: str, default: int) -> int | None:
    """The steps that a name of a model or LoRA says it was distilled to; None when it says nothing of it."""
    found = list(DISTILLED.finditer(name))
    if not found:
        return None
    steps = [int(one[1]) for one in found if one[1]]
    if steps and not 1 <= steps[0] <= 16:  # "50 steps" is no distillation
        return None if len(found) == len(steps) else default
    return steps[0] if steps else default


def _class(name: str, place: list[Any]) -> str:
    allowed = {**MODELS, **PAPERS}.get(name)
    library, kind = place if len(place) == 2 else (None, None)
    if allowed is None or library not in ("diffusers", "transformers") or kind not in allowed:
        raise BadInput(f"model_index.json names {jsontext.shown(f'{library}.{kind}')} as its {jsontext.shown(name)}, "
                       "which is no part of a film model known here.",
                       hint="Only classes of diffusers and transformers are made, never code of a repo.")
    return str(kind)


def _part(folder: Path, name: str, kind: str) -> Part:
    config = read_json(folder / name / "config.json")
    check_config(f"{name}/config.json", config)
    if "auto_map" in config:
        raise BadInput(f"{name}/config.json wants code of the repo to be run (auto_map), which is never done.")
    there = sorted((folder / name).iterdir())
    for path in there:
        if path.name.endswith(".index.json"):
            _check_shards(path, {one.name for one in there})
    files = tuple(path for path in there if path.suffix == ".safetensors") or tuple(
        path for path in there if path.suffix == ".gguf")
    if not files:
        if any(path.suffix in PICKLES for path in there):
            raise BadInput(f"The weights of {name} are pickles, and a pickle may run any program.",
                           hint="Ask for the repo's safetensors files, or convert them.")
        raise CorruptFile(f"There are no weights of {name}.")
    variants = [path for path in files if ".fp16." not in path.name and ".bf16." not in path.name]
    files = tuple(variants) or files
    shapes = tensor_shapes(files)
    return Part(name, kind, config, files, sum(prod(shape) for shape in shapes.values()), shapes)


def _check_shards(index: Path, there: set[str]) -> None:
    """The libraries open whatever file an index names; one beside it is the only one that is this repo's."""
    named = read_json(index, INDEX_MAX).get("weight_map")
    if not isinstance(named, dict) or not all(isinstance(one, str) and one in there for one in named.values()):
        raise CorruptFile(f"{index.parent.name}/{index.name} names files that are not beside it.")


def tensor_shapes(files: tuple[Path, ...]) -> dict[str, tuple[int, ...]]:
    """By name, from headers alone. Raises CorruptFile."""
    if len(files) > SHARDS_MAX:
        raise CorruptFile(f"{files[0].parent.name} has more than {SHARDS_MAX} files of weights.")
    shapes: dict[str, tuple[int, ...]] = {}
    for path in files:
        try:
            with FileSource(path) as source:
                header = read_header(source, path.name)
        except CorruptFile as error:
            raise CorruptFile(f"{path.parent.name}/{path.name}: {error}") from None
        shapes |= {tensor.name: tensor.shape for tensor in header.tensors}
    return shapes


def _said(said: dict[str, Any]) -> dict[str, Any]:
    """Of film.json what is understood: width, height, frames, fps, steps, guidance, flow_shift."""
    whole = {name: said[name] for name in ("width", "height", "frames", "fps", "steps")
             if type(said.get(name)) is int and 1 <= said[name] <= 10_000}
    real = {name: float(said[name]) for name in ("guidance", "flow_shift")
            if isinstance(said.get(name), int | float) and 0 <= said[name] <= 100}
    return whole | real


def _few(folder: Path, said: dict[str, Any], family: Family) -> int | None:
    if "distilled" in said:
        return said["steps"] if said["distilled"] and isinstance(said.get("steps"), int) else (
            family.few[0] if said["distilled"] else None)
    card = folder / "README.md"
    if not card.is_file():
        return None
    with card.open("rb") as file:
        text = file.read(20_000).decode("utf-8", errors="replace")
    title = re.search(r"^# .*$", text, re.M)
    tags = re.search(r"\A---\n(.*?)\n---", text, re.S)
    return is_distilled(" ".join(part for part in (title[0] if title else "", tags[1] if tags else "") if part),
                        family.few[0])

