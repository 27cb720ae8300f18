"""Projectors: GGUF files that turn pictures into vectors a language model reads. Which one goes with a model, and
whether it does, from names and headers. Loads nothing; what it does not know it leaves to the engine."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from headwater.core.errors import CorruptFile
from headwater.weights.header import Header

_NAMED = re.compile(r"(^|[-_./])mmproj[-_.].*gguf\Z|[-_.]mmproj\.gguf\Z", re.I)
_FORMS = ("f16", "bf16", "f32", "q8_0")
"""The one to take first: projectors are small and suffer from being rounded."""
_LAST: dict[str, tuple[str, int]] = {
    "mlp": ("mm.2.weight", 0), "resampler": ("resampler.proj.weight", -1), "qwen2vl_merger": ("mm.2.bias", 0),
    "qwen2.5vl_merger": ("mm.2.bias", 0), "gemma3": ("mm.input_projection.weight", -1), "phi4": ("mm.2.weight", 0),
    "idefics3": ("mm.model.fc.weight", 0), "pixtral": ("mm.2.weight", 0), "internvl": ("mm.3.weight", 0),
}
"""By kind of projector, the tensor that is multiplied last and the axis of its shape that is the width it makes."""


def projector_of(files: Iterable[str], model: str) -> str | None:
    """The projector that goes with a GGUF model: of those in its folder, else at the root, the least rounded."""
    folder = model.rpartition("/")[0]
    there = [path for path in files if _NAMED.search(path) and path.rpartition("/")[0] in (folder, "")]
    return min(there, key=lambda path: (path.rpartition("/")[0] != folder, _form(path), path), default=None)


def _form(path: str) -> int:
    name = path.lower().replace("bf16", "bfloat")
    return next((n for n, form in enumerate(_FORMS) if form.replace("bf16", "bfloat") in name), len(_FORMS))


def misfit(model: Path, projector: Path) -> str | None:
    """Why the model cannot see through this projector, as a sentence; None when nothing speaks against it."""
    try:
        said, made = _header(model), _header(projector)
    except (OSError, CorruptFile) as error:
        return f"{projector.name} cannot be read beside {model.name}: {error}"
    kind = made.metadata.get("general.architecture")
    if kind != "clip":
        return f"{projector.name} is no projector: it says it is of the architecture {str(kind)[:100]!r}."
    if not made.metadata.get("clip.has_vision_encoder", "clip.vision.block_count" in made.metadata):
        return f"{projector.name} has no part that reads pictures."
    wants, gives = said.metadata.get(f"{said.metadata.get('general.architecture')}.embedding_length"), width(made)
    if isinstance(wants, int) and gives is not None and wants != gives:
        return f"{projector.name} makes vectors of {gives} numbers, and {model.name} reads vectors of {wants}."
    return None


def width(projector: Header) -> int | None:
    """Numbers in the vectors it makes; None for a layout that is not known here. clip.vision.projection_dim does not
    say it: LLaVA's files have there what CLIP had."""
    kind = projector.metadata.get("clip.vision.projector_type", projector.metadata.get("clip.projector_type", "mlp"))
    shapes = {tensor.name: tensor.shape for tensor in projector.tensors}
    name, axis = _LAST.get(kind, ("", 0))
    if kind == "mlp" and "mm.3.bias" in shapes:  # LLaVA on Yi: an MLP with norms between
        name = "mm.3.bias"
    shape = shapes.get(name)
    return shape[axis] if shape else None


def _header(path: Path) -> Header:
    from headwater.weights.gguf import read_header
    from headwater.weights.source import FileSource

    with FileSource(path) as source:
        return read_header(source)
