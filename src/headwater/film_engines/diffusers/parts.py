"""The parts of a film model as torch modules: loaded once, kept while the next film needs them alike, let go otherwise.

Safetensors and GGUF alone, never a pickle, never code of a repo. A LoRA is fused into the weights while they are
loaded, so it costs no step any time; to change it, they are loaded again.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from headwater.core.errors import BadInput, CorruptFile
from headwater.film_engines.diffusers.lora import EXPERTS, Change, canonical, lora_alpha, lora_changes
from headwater.film_engines.diffusers.repo import WHOLE_AGAIN, Model, Part

Key = tuple[Any, ...]


class Parts:
    """What is loaded, by name. beat is called from within long computations, and may raise."""

    def __init__(self) -> None:
        self.beat: Callable[[], None] = lambda: None
        self._held: dict[str, tuple[Key, Any]] = {}

    def keep_only(self, folder: Path) -> None:
        """Another model's parts go first: two would not fit."""
        if any(key[0] != folder for key, _ in self._held.values()):
            self._held.clear()
            gc.collect()

    def get(self, name: str, key: Key, make: Callable[[], Any]) -> Any:
        """The part, made when it is not held by this key. key[0] is the model's folder."""
        held = self._held.pop(name, None)
        if held is not None and held[0] == key:
            self._held[name] = held
            return held[1]
        del held
        gc.collect()
        part = make()
        self._watch(part)
        self._held[name] = (key, part)
        return part

    def holds(self, name: str) -> bool:
        return name in self._held

    def let_go(self, *names: str) -> None:
        """Their memory too where a pipeline still has them."""
        import torch

        for name in names:
            held = self._held.pop(name, None)
            if held is not None and isinstance(held[1], torch.nn.Module):
                torch.nn.Module.to(held[1], "meta")
        gc.collect()

    def _watch(self, part: Any) -> None:
        import torch

        def beat(*_: Any) -> None:
            self.beat()

        if isinstance(part, torch.nn.Module):
            for row in part.modules():
                if isinstance(row, torch.nn.ModuleList):
                    for module in row:
                        module.register_forward_pre_hook(beat)


def load_part(model: Model, part: Part, dtype: Any, extra: dict[str, Any]) -> Any:
    """A model of diffusers or transformers in eval mode, on the device films are made on.

    Raises CorruptFile when its files and its config do not fit, BadInput for what this machine lacks.
    """

    expert = part.name in ("transformer", "transformer_2")
    gguf = next((Path(one["folder"]) / one["file"] for one in extra.get("gguf", ()) if expert
                 and part.name in EXPERTS[one["expert"]]), None)
    if gguf is None and part.files[0].suffix == ".gguf":
        gguf = part.files[0]
    module = _from_gguf(model, part, gguf, dtype) if gguf else _from_safetensors(model, part, dtype)
    module = module.eval().requires_grad_(False)
    if expert:
        for one in extra.get("lora", ()):
            if part.name in EXPERTS[one["expert"]] and one["scale"]:
                fuse(module, part, Path(one["folder"]) / one["file"], one["scale"], dtype)
        if extra.get("precision") == "int8":
            _to_int8(module)
    return module.to(device()) if device() != "cpu" else module


def device() -> str:
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def load_paper(model: Model, name: str) -> Any:
    """A scheduler, tokenizer or image processor."""
    import diffusers
    import transformers

    library = diffusers if name in ("scheduler", "guider") else transformers
    kind = getattr(library, model.papers[name], None)
    if kind is None:
        raise BadInput(f"{library.__name__} {library.__version__} has no {model.papers[name]}.",
                       hint="Install a newer one: pip install -U 'headwater[torch]'")
    return kind.from_pretrained(model.folder / name, local_files_only=True)


def fuse(module: Any, part: Part, path: Path, scale: float, dtype: Any) -> None:
    """Add a LoRA to the weights, computed in 32 bits. A quantised layer becomes one of `dtype`."""
    import torch
    from safetensors import safe_open

    changes, _ = lora_changes(path, part)
    common = lora_alpha(path)
    with safe_open(path, framework="pt") as file, torch.no_grad():
        for name, change in changes.items():
            _change(module, name, change, file.get_tensor, scale, common, dtype)


def _change(module: Any, name: str, change: Change, read: Callable[[str], Any], scale: float, common: float | None,
            dtype: Any) -> None:
    import torch

    owner = _plain(module, name, dtype)
    weight = getattr(owner, "weight", None) if isinstance(owner, torch.nn.Module) else owner
    if weight is None:
        raise CorruptFile(f"The LoRA changes {name}, which has no weights here.")
    if change.down and change.up:
        down, up = read(change.down).float(), read(change.up).float()
        share = float(read(change.alpha)) / down.shape[0] if change.alpha else (1.0 if common is None else common)
        if up.shape[1] != down.shape[0] or weight.shape[0] != up.shape[0]:
            raise CorruptFile(f"The LoRA's matrices for {name} do not fit each other.")
        added = up.flatten(1) @ down.flatten(1)
        weight.copy_((weight.float() + scale * share * added.reshape(weight.shape)).to(weight.dtype))
    for source, target in ((change.diff, weight), (change.bias, getattr(owner, "bias", None))):
        if source and target is not None:
            added = read(source).float()
            if added.shape != target.shape:
                raise CorruptFile(f"The LoRA's difference for {name} is {tuple(added.shape)}, "
                                  f"the weight {tuple(target.shape)}.")
            target.copy_((target.float() + scale * added).to(target.dtype))


def _plain(module: Any, name: str, dtype: Any) -> Any:
    """The submodule or parameter of that name; a GGUF layer is put back as one whose weights can be added to."""
    import torch

    above, _, last = name.rpartition(".")
    parent = module.get_submodule(above) if above else module
    owner = getattr(parent, last, None)
    if owner is None:
        raise CorruptFile(f"The LoRA changes {name}, which this model does not have.")
    if isinstance(owner, torch.nn.Linear) and hasattr(owner.weight, "quant_type"):
        from diffusers.quantizers.gguf.utils import dequantize_gguf_tensor

        plain = torch.nn.Linear(owner.in_features, owner.out_features, owner.bias is not None, dtype=dtype)
        plain.weight.copy_(dequantize_gguf_tensor(owner.weight).to(dtype))
        if owner.bias is not None:
            plain.bias.copy_(owner.bias.to(dtype))
        owner = plain.requires_grad_(False)
        setattr(parent, last, owner)
    return owner


def _from_safetensors(model: Model, part: Part, dtype: Any) -> Any:
    import diffusers
    import transformers

    library = transformers if part.name.startswith(("text_encoder", "image_encoder")) else diffusers
    kind = getattr(library, part.kind, None)
    if kind is None:
        raise BadInput(f"{library.__name__} {library.__version__} has no {part.kind}.",
                       hint="Install a newer one: pip install -U 'headwater[torch]'")
    said: dict[str, Any] = {"dtype": dtype} if library is transformers else {"torch_dtype": dtype}
    module, info = kind.from_pretrained(model.folder / part.name, use_safetensors=True, local_files_only=True,
                                        output_loading_info=True, **said)
    if missing := sorted(info["missing_keys"]):
        raise CorruptFile(f"The weights of {part.name} lack {len(missing)} that its config asks for, "
                          f"such as {missing[0][:100]}.", hint=WHOLE_AGAIN)
    return module


def _from_gguf(model: Model, part: Part, path: Path, dtype: Any) -> Any:
    import diffusers

    if find_spec("gguf") is None:
        raise BadInput("GGUF files are read by the package gguf.", hint="pip install gguf")
    quantised = diffusers.GGUFQuantizationConfig(compute_dtype=dtype)
    return getattr(diffusers, part.kind).from_single_file(
        str(path), config=str(model.folder), subfolder=part.name, quantization_config=quantised, torch_dtype=dtype,
        local_files_only=True)


def _to_int8(module: Any) -> None:
    """Linear layers of the blocks; what leads in and out of them stays as it is."""
    if find_spec("torchao") is None:
        raise BadInput("precision int8 needs the package torchao.", hint="pip install torchao")
    import torch
    from torchao.quantization import Int8WeightOnlyConfig, quantize_

    quantize_(module, Int8WeightOnlyConfig(),
              filter_fn=lambda layer, name: isinstance(layer, torch.nn.Linear) and "blocks." in name)


def threads() -> int:
    return int(os.environ.get("OMP_NUM_THREADS") or 1)


def canonical_names(part: Part) -> dict[str, tuple[int, ...]]:
    return {canonical(name): shape for name, shape in part.shapes.items()}
