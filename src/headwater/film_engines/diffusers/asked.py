"""From what is asked to what the model runs: sizes and frames it can have, steps, guidance; each change told in words.

Reads what repo.py read; no torch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from headwater.core.errors import BadInput, TooLarge
from headwater.core.film import Capabilities, FilmRequest, Normalised
from headwater.film_engines.diffusers.families import LTX_CONDITION, PRESETS, WAN
from headwater.film_engines.diffusers.lora import check_loras
from headwater.film_engines.diffusers.repo import Model, is_distilled, read_model

MAX_SIDE, MAX_SECONDS, MAX_FRAMES, MAX_TOKENS = 2_048, 30.0, 513, 400_000
EXTRA = {"lora", "gguf", "precision", "flow_shift", "guidance_scale_2", "boundary_ratio"}
PRECISIONS = ("bfloat16", "float32", "int8")
BF16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}


def capabilities(model: Model) -> Capabilities:
    kinds = _kinds(model)
    said = model.said
    fixed = _fixed(model)
    size = fixed or (said.get("width", _usual(model)[0]), said.get("height", _usual(model)[1]))
    return Capabilities(
        kinds, MAX_SECONDS, MAX_SIDE, generates=True, needs_model=True, last_frame=_takes_last(model),
        negative=model.family.negative, steps=True, guidance=True, loras=True, multiple=model.multiple,
        frames_each=model.temporal, size=size, frames=said.get("frames", _usual(model)[2]),
        fps=said.get("fps", _usual(model)[3]))


def normalise(request: FilmRequest) -> Normalised:
    """Raises BadInput for what the model cannot do, TooLarge for what is beyond any."""
    if request.folder is None:
        raise BadInput("No model was named.", hint="Name one: owner/name of a film model in the hub.")
    model = read_model(request.folder)
    notes: list[str] = []
    request = _sized(model, request, notes)
    request = _framed(model, request, notes)
    request = replace(request, extra=_extra(model, request, notes))
    request = _paced(model, request, notes)
    notes += _without_effect(model, request)
    return Normalised(request, tuple(notes))


def widths(model: Model, request: FilmRequest) -> tuple[int, int]:
    """Bytes of a number in the transformer and text encoder, and in the autoencoder: Wan's keeps 32 bits but for
    drafts, since rounding shows in flat colours; the pipelines of other families take both alike."""
    if not (has_bf16() and request.extra.get("precision") != "float32"):
        return 4, 4
    return 2, 4 if model.family is WAN and request.preset != "draft" else 2


@lru_cache(maxsize=1)
def has_bf16() -> bool:
    """Whether this processor multiplies bfloat16 itself; otherwise it would be slower than 32 bits."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith(("flags", "Features")):
                return bool(BF16_FLAGS & set(line.split()))
    except OSError:
        return False
    return False


def _kinds(model: Model) -> frozenset[str]:
    if model.index.get("expand_timesteps") is True:  # TI2V: the first latent is kept as it is given
        return frozenset({"t2v", "i2v"})
    if model.family.name == "LTX":
        return frozenset({"t2v", "i2v"})
    return frozenset({next(kind for kind, name in model.family.classes.items() if name == model.pipeline)})


def _takes_last(model: Model) -> bool:
    if model.family is LTX_CONDITION:
        return True
    if model.family is not WAN or model.pipeline != "WanImageToVideoPipeline" or model.index.get("expand_timesteps"):
        return False
    # Two experts take it as it is; of the older ones only those trained with two pictures have places for both.
    return "transformer_2" in model.parts or bool(model.transformer.get("pos_embed_seq_len"))


def _usual(model: Model) -> tuple[int, int, int, int]:
    """Width, height, frames and frames a second a model of this family was trained for."""
    family = model.family
    if model.index.get("expand_timesteps"):
        return 1280, 704, 121, 24
    if family.name == "CogVideoX" and model.transformer.get("patch_size_t"):
        return 1360, 768, 81, 16
    return *family.size, family.frames, family.fps


def _fixed(model: Model) -> tuple[int, int] | None:
    """The one size of a model that learned a place for each token; None for others."""
    config = model.transformer
    if not config.get("use_learned_positional_embeddings"):
        return None
    return int(config["sample_width"]) * model.spatial, int(config["sample_height"]) * model.spatial


def _sized(model: Model, request: FilmRequest, notes: list[str]) -> FilmRequest:
    each, asked = model.multiple, (request.width, request.height)
    size = tuple(max(each, round(side / each) * each) for side in asked)
    why = f"{model.family.name} needs multiples of {each}"
    if (fixed := _fixed(model)) is not None:
        size, why = fixed, "the model has learned this size alone"
    if max(size) > MAX_SIDE:
        raise BadInput(f"At most {MAX_SIDE} pixels a side.")
    if size != asked:
        notes.append(f"{size[0]}x{size[1]} pixels (asked {asked[0]}x{asked[1]}: {why}).")
    return replace(request, width=size[0], height=size[1])


def _framed(model: Model, request: FilmRequest, notes: list[str]) -> FilmRequest:
    each, asked = model.temporal, request.frames
    frames = max(each + 1, ((asked - 1 + each // 2) // each) * each + 1)
    if frames > MAX_FRAMES or request.seconds > MAX_SECONDS:
        raise BadInput(f"At most {MAX_FRAMES} frames and {MAX_SECONDS:.0f} s.")
    if model.tokens(request.width, request.height, frames) > MAX_TOKENS:
        raise TooLarge(f"{frames} frames of {request.width}x{request.height} are more than any model takes at once.",
                       hint="Ask for a smaller size or fewer seconds.")
    if frames != asked:
        notes.append(f"{frames} frames (asked {asked}: {model.family.name} needs {each}k+1).")
    trained, fps = model.said.get("frames", _usual(model)[2]), model.said.get("fps", _usual(model)[3])
    if frames > trained + each:
        notes.append(f"The model was trained for {trained} frames; what comes after may repeat or drift.")
    if request.fps != fps:
        notes.append(f"The model was trained for {fps} frames a second; at {request.fps} it moves "
                     f"{'faster' if request.fps > fps else 'slower'} than it should.")
    return replace(request, seconds=frames / request.fps)


def _paced(model: Model, request: FilmRequest, notes: list[str]) -> FilmRequest:
    """Steps and guidance: as asked, as the repo says, as a distilled one needs, as the family is usually run."""
    family, few, whose = model.family, model.few, "the model"
    for one in request.extra.get("lora", ()):
        found = is_distilled(f"{one['repo']} {one['file']}", family.few[0]) if one["scale"] else None
        if found:
            few, whose = found, one["file"]
    steps = request.steps or (few if few and whose != "the model" else None) or model.said.get("steps") or few or (
        family.steps[PRESETS.index(request.preset)])
    guidance = request.guidance
    if guidance is None:
        two = 4.0 if "transformer_2" in model.parts and family is WAN else family.guidance
        guidance = family.few[1] if few else model.said.get("guidance", two)
    if not 1 <= steps <= 200:
        raise BadInput(f"steps: {steps} is not between 1 and 200.")
    if not 0 <= guidance <= 30:
        raise BadInput(f"guidance: {guidance:g} is not between 0 and 30.")
    if few and request.steps is None:
        notes.append(f"{steps} steps, as {whose} was distilled for.")
    shift = model.said.get("flow_shift", 5.0 if few and family is WAN else None)
    if shift is not None and "flow_shift" not in request.extra:
        request = replace(request, extra={**request.extra, "flow_shift": shift})
    return replace(request, steps=steps, guidance=guidance)


def _without_effect(model: Model, request: FilmRequest) -> Iterator[str]:
    if request.negative and (not model.family.negative or (request.guidance or 0) <= 1):
        yield ("A negative prompt has no effect on this model." if not model.family.negative else
               "A negative prompt has no effect at a guidance of 1.")
    if any(request.camera.values()) or request.brushes:
        yield "Camera and brushes have no effect on this model: say the move in words."
    if any(one.role == "reference" for one in request.pictures):
        yield "Reference pictures have no effect on this model."
    if unknown := sorted(set(request.extra) - EXTRA):
        yield f"These have no effect on this model: {', '.join(name[:40] for name in unknown[:20])}."


def _extra(model: Model, request: FilmRequest, notes: list[str]) -> dict[str, Any]:
    extra = {name: value for name, value in request.extra.items() if value not in (None, "", [], {})}
    if extra.get("precision", "bfloat16") not in PRECISIONS:
        raise BadInput(f"precision: {str(extra['precision'])[:40]!r} is none of {', '.join(PRECISIONS)}.")
    if extra.get("precision") == "int8" and extra.get("gguf"):
        raise BadInput("precision: int8 and a GGUF file are two ways of the same.", hint="Leave one of them out.")
    for name, low, high in (("flow_shift", 0.1, 50.0), ("guidance_scale_2", 0.0, 30.0), ("boundary_ratio", 0.0, 1.0)):
        if name in extra and not (isinstance(extra[name], int | float) and low <= extra[name] <= high):
            raise BadInput(f"{name}: {str(extra[name])[:40]} is not between {low:g} and {high:g}.")
    if "transformer_2" not in model.parts:
        for name in ("guidance_scale_2", "boundary_ratio"):
            if extra.pop(name, None) is not None:
                notes.append(f"{name} has no effect: this model has one expert.")
    if "lora" in extra or "gguf" in extra:
        extra |= check_loras(model, extra, notes)
    return extra
