"""LoRA adapters in GGUF: which file of a repo is one, and whether it goes with a model, from names and headers."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from headwater.core.errors import CorruptFile
from headwater.weights.gguf import read_header
from headwater.weights.header import Header
from headwater.weights.source import FileSource

_NAMED = re.compile(r"(^|[-_./])(lora|adapter)([-_.]|\.gguf\Z)", re.I)
_OTHERS = re.compile(r"(^|[-_./])(mmproj|imatrix)[-_.]", re.I)
_FORMS = ("f16", "bf16", "f32", "q8_0")


def adapter_of(files: Iterable[str]) -> str | None:
    """The adapter of a repo: a GGUF file named one, else its only GGUF file. The header says later if it is none."""
    ggufs = sorted(path for path in files if path.lower().endswith(".gguf") and not _OTHERS.search(path))
    named = [path for path in ggufs if _NAMED.search(path)]
    if named:
        return min(named, key=lambda path: (path.count("/"), _rank(path), path))
    return ggufs[0] if len(ggufs) == 1 else None


def _rank(path: str) -> int:
    return next((n for n, form in enumerate(_FORMS) if form in path.lower()), len(_FORMS))


def misfit(model: Path, adapter: Path) -> str | None:
    """Why the adapter cannot be put on the model, as a sentence; None when nothing speaks against it.

    Of a model in parts only the first part is looked at.
    """
    try:
        base, delta = _header(model), _header(adapter)
    except (OSError, CorruptFile) as error:
        return f"{adapter.name} cannot be read beside {model.name}: {error}"
    kind = delta.metadata.get("adapter.type")
    if delta.metadata.get("general.type") != "adapter" or kind != "lora":
        return f"{adapter.name} is no LoRA adapter: its general.type and adapter.type do not say so."
    one, two = (header.metadata.get("general.architecture") for header in (delta, base))
    if one != two:
        return f"{adapter.name} is for models of the architecture {str(one)[:100]!r}, and {model.name} is {two!r}."
    return _unlike(base, delta, model.name, adapter.name)


def _unlike(base: Header, delta: Header, model: str, adapter: str) -> str | None:
    shapes = {tensor.name: tensor.shape for tensor in base.tensors}
    pairs = {tensor.name: tensor.shape for tensor in delta.tensors}
    for name, shape in pairs.items():
        target, _, which = name.rpartition(".lora_")
        if which not in ("a", "b"):
            if target or which != name or not name.endswith("norm.weight"):
                return f"{adapter} has a tensor {name[:100]!r}, which no LoRA has."
            continue
        wanted = shapes.get(target)
        if wanted is None:
            if "-of-" in model:
                continue
            return f"{adapter} changes {target[:100]!r}, which {model} has not."
        if len(shape) < 2 or target == "token_embd.weight":  # llama.cpp keeps that pair the other way round
            continue
        other = pairs.get(f"{target}.lora_{'b' if which == 'a' else 'a'}")
        if other is None:
            return f"{adapter} has only one half of the change to {target[:100]!r}."
        if (which == "a" and shape[-1] != wanted[-1]) or (which == "b" and shape[-2] != wanted[-2]):
            made = f"{pairs[target + '.lora_b'][-2]} x {pairs[target + '.lora_a'][-1]}"
            return (f"{adapter} changes {target[:100]!r} by {made} numbers, and {model} has "
                    f"{wanted[-2]} x {wanted[-1]} there.")
    return None if pairs else f"{adapter} changes nothing: it has no tensors."


def _header(path: Path) -> Header:
    with FileSource(path) as source:
        return read_header(source)
