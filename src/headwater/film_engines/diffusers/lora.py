"""LoRAs and GGUF files beside a film model: which file, of which expert, and which weights each tensor changes.

Reads headers alone; run.py computes with what is found here. Knows the layouts of diffusers and peft
(`transformer.blocks.0.attn1.to_q.lora_A.weight`), of LightX2V and ComfyUI (`diffusion_model.blocks.0.self_attn.q.
lora_down.weight`, `.diff`, `.diff_b`) and of musubi (`lora_unet_blocks_0_self_attn_q.lora_down.weight`).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headwater.core.errors import BadInput, CorruptFile
from headwater.film_engines.diffusers.repo import Model, Part, read_json, tensor_shapes
from headwater.weights import jsontext
from headwater.weights.read import read_header
from headwater.weights.source import FileSource

LORAS_MAX = 8
EXPERTS = {"high": ("transformer",), "low": ("transformer_2",), "both": ("transformer", "transformer_2")}
PREFIXES = ("base_model.model.", "model.diffusion_model.", "diffusion_model.", "transformer_2.", "transformer.")
TAILS = re.compile(r"\.(lora_A|lora_B|lora_down|lora_up)(?:\.default)?(?:\.(weight|bias))?$|\.(alpha|diff|diff_b)$")

PLACES = {"lora_A": "down", "lora_down": "down", "lora_B": "up", "lora_up": "up", "diff_b": "bias"}
RENAMED = (("self_attn.q", "attn1.to_q"), ("self_attn.k", "attn1.to_k"), ("self_attn.v", "attn1.to_v"),
           ("self_attn.o", "attn1.to_out.0"), ("self_attn.norm_q", "attn1.norm_q"),
           ("self_attn.norm_k", "attn1.norm_k"),
           ("cross_attn.q", "attn2.to_q"), ("cross_attn.k", "attn2.to_k"), ("cross_attn.v", "attn2.to_v"),
           ("cross_attn.o", "attn2.to_out.0"), ("cross_attn.k_img", "attn2.add_k_proj"),
           ("cross_attn.v_img", "attn2.add_v_proj"), ("cross_attn.norm_q", "attn2.norm_q"),
           ("cross_attn.norm_k", "attn2.norm_k"), ("cross_attn.norm_k_img", "attn2.norm_added_k"),
           ("ffn.0", "ffn.net.0.proj"), ("ffn.2", "ffn.net.2"), ("norm3", "norm2"), ("modulation", "scale_shift_table"))
"""Within a block: as Wan's authors name it, as diffusers does."""
TOP = {"time_embedding.0": "condition_embedder.time_embedder.linear_1",
       "time_embedding.2": "condition_embedder.time_embedder.linear_2",
       "text_embedding.0": "condition_embedder.text_embedder.linear_1",
       "text_embedding.2": "condition_embedder.text_embedder.linear_2",
       "time_projection.1": "condition_embedder.time_proj", "head.head": "proj_out",
       "head.modulation": "scale_shift_table", "patchify_proj": "proj_in",
       "img_emb.proj.0": "condition_embedder.image_embedder.norm1",
       "img_emb.proj.1": "condition_embedder.image_embedder.ff.net.0.proj",
       "img_emb.proj.3": "condition_embedder.image_embedder.ff.net.2",
       "img_emb.proj.4": "condition_embedder.image_embedder.norm2"}


@dataclass
class Change:
    """Of one module: names of the tensors that change it. down, up: their product is added, alpha / rank times."""

    down: str = ""
    up: str = ""
    alpha: str = ""
    bias: str = ""
    diff: str = ""


def check_loras(model: Model, extra: dict[str, Any], notes: list[str]) -> dict[str, Any]:
    """`lora` and `gguf` with each file named and told whose expert's it is. Raises BadInput, CorruptFile."""
    found: dict[str, Any] = {}
    if extra.get("lora"):
        entries = _entries(extra["lora"], "lora", ".safetensors")
        found["lora"] = [one | {"scale": _scale(one)} for one in _of_experts(model, entries)]
        for one in found["lora"]:
            for expert in EXPERTS[one["expert"]]:
                if expert in model.parts:
                    _told(one, model.parts[expert], notes)
    if extra.get("gguf"):
        found["gguf"] = _of_experts(model, _entries(extra["gguf"], "gguf", ".gguf"))
        for one in found["gguf"]:
            _same_model(one, model.parts["transformer"])
    return found


def lora_changes(path: Path, part: Part) -> tuple[dict[str, Change], list[str]]:
    """What the file changes in the part, by module; and the names of tensors that are of no module of it."""
    modules = {canonical(name.rpartition(".")[0] or name) for name in part.shapes} | {
        canonical(name) for name in part.shapes}
    flat = {name.replace(".", "_"): name for name in modules} | {
        original(name).replace(".", "_"): name for name in modules}
    changes: dict[str, Change] = {}
    strange: list[str] = []
    for name in tensor_shapes((path,)):
        match = TAILS.search(name)
        module = _module(name[:match.start()], flat) if match else ""
        if match is None or module not in modules:
            strange.append(name)
            continue
        change = changes.setdefault(module, Change())
        kind = match[1] or match[3]
        setattr(change, "bias" if match[2] == "bias" else PLACES.get(kind, kind), name)
    return changes, strange


def lora_alpha(path: Path) -> float | None:
    """alpha / rank of a file that keeps it beside its tensors, as peft does; None where it does not."""
    with FileSource(path) as source:
        told = read_header(source, path.name).metadata.get("lora_adapter_metadata")
    settings: dict[str, Any] = {}
    if isinstance(told, str):
        try:
            raw = json.loads(told)
        except (ValueError, RecursionError):
            raise CorruptFile(f"{path.name}: its lora_adapter_metadata is no JSON.") from None
        settings = {key.rpartition(".")[2]: value for key, value in raw.items()} if isinstance(raw, dict) else {}
    elif (path.parent / "adapter_config.json").is_file():
        settings = read_json(path.parent / "adapter_config.json")
    alpha, rank = settings.get("lora_alpha"), settings.get("r")
    if isinstance(alpha, int | float) and isinstance(rank, int) and rank > 0:
        return float(alpha) / (rank**0.5 if settings.get("use_rslora") else rank)
    return None


def canonical(name: str) -> str:
    """A module's or tensor's name as diffusers has it."""
    block = re.match(r"blocks\.\d+\.", name)
    head, rest = (block[0], name[block.end():]) if block else ("", name)
    if head:
        for theirs, ours in sorted(RENAMED, key=lambda pair: -len(pair[0])):
            if rest == theirs or rest.startswith(theirs + "."):
                return head + ours + rest[len(theirs):]
        return name
    for theirs, ours in TOP.items():
        if rest == theirs or rest.startswith(theirs + "."):
            return ours + rest[len(theirs):]
    return name


def original(name: str) -> str:
    """A module's name as Wan's authors have it, for layouts that write it with underscores."""
    match = re.match(r"(blocks\.\d+\.)(.*)", name)
    if match:
        return match[1] + {ours: theirs for theirs, ours in RENAMED}.get(match[2], match[2])
    return {ours: theirs for theirs, ours in TOP.items()}.get(name, name)


def _module(stem: str, flat: dict[str, str]) -> str:
    if stem.startswith("lora_unet_"):
        return flat.get(stem.removeprefix("lora_unet_"), "")
    for prefix in PREFIXES:
        stem = stem.removeprefix(prefix)
    return canonical(stem)


def _entries(asked: Any, what: str, suffix: str) -> list[dict[str, Any]]:
    """Each with its file: the one named, or those there are, when that leaves no choice."""
    if not isinstance(asked, list) or len(asked) > LORAS_MAX or not all(isinstance(one, dict) for one in asked):
        raise BadInput(f"{what}: must be a list of at most {LORAS_MAX} objects with repo, scale and expert.")
    entries = []
    for one in asked:
        if not isinstance(one.get("folder"), str):
            raise BadInput(f"{what}: each names its repo, owner/name.")
        files = sorted(path.relative_to(one["folder"]).as_posix() for path in Path(one["folder"]).rglob(f"*{suffix}"))
        named = [name for name in files if one.get("file") in (None, "", name)]
        if not files:
            raise BadInput(f"{one.get('repo')} has no {suffix} file.",
                           hint="Other formats are not read: a pickle may run any program.")
        if len(named) > 1 and not (len(named) == 2 and {_expert_of(name) for name in named} == {"high", "low"}):
            raise BadInput(f"{what}: {one.get('repo')} has {len(named)} files.",
                           hint=f"Name one as file: {', '.join(named[:10])}.")
        if not named:
            raise BadInput(f"{what}: {one.get('repo')} has no file {str(one.get('file'))[:100]!r}.")
        entries += [{**one, "file": name} for name in named]
    return entries


def _of_experts(model: Model, entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    told = []
    for one in entries:
        expert = one.get("expert") or _expert_of(one["file"]) or "both"
        if expert not in EXPERTS:
            raise BadInput(f"expert: {str(expert)[:40]!r} is none of high, low, both.")
        told.append({**one, "expert": expert if "transformer_2" in model.parts else "both"})
    return told


def _expert_of(name: str) -> str:
    found = re.search(r"(high|low)[-_ ]?(noise|lora)?", name, re.I)
    return found[1].lower() if found else ""


def _scale(one: dict[str, Any]) -> float:
    scale = one.get("scale", 1.0)
    if not isinstance(scale, int | float) or isinstance(scale, bool) or not -4 <= scale <= 4:
        raise BadInput(f"lora: a scale of {str(scale)[:40]} is not between -4 and 4.")
    return float(scale)


def _told(one: dict[str, Any], part: Part, notes: list[str]) -> None:
    """Raises BadInput when the LoRA is of another model."""
    path = Path(one["folder"]) / one["file"]
    changes, strange = lora_changes(path, part)
    if any(name.endswith("dora_scale") or ".dora_scale" in name for name in strange):
        raise BadInput(f"{one['file']} is a DoRA, which cannot be fused here.")
    if not changes or len(strange) > len(tensor_shapes((path,))) // 2:
        raise BadInput(f"{one['file']} is a LoRA of another model: its {jsontext.shown((strange or [''])[0])} has no "
                       "place in this one.")
    shapes = {canonical(name): shape for name, shape in part.shapes.items()}
    of_file = tensor_shapes((path,))
    for module, change in changes.items():
        wide = shapes.get(f"{module}.weight")
        if change.down and wide and of_file[change.down][1:] != wide[1:]:
            raise BadInput(f"{one['file']} is a LoRA of a model of another size: {module} takes "
                           f"{of_file[change.down][1:]} there and {wide[1:]} here.")
    if strange:
        notes.append(f"{len(strange)} of the tensors of {one['file']} have no place in this model and are left out: "
                     f"{', '.join(jsontext.shown(name) for name in strange[:3])}.")


def _same_model(one: dict[str, Any], part: Part) -> None:
    path = Path(one["folder"]) / one["file"]
    theirs = {canonical(name): shape for name, shape in tensor_shapes((path,)).items()}
    ours = {canonical(name): shape for name, shape in part.shapes.items()}
    lacks = [name for name in ours if name not in theirs]
    if lacks:
        raise BadInput(f"{one['file']} is of another model: it lacks {jsontext.shown(lacks[0])}.")
