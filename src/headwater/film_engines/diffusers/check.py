"""Whether the papers of a film model say what can be: numbers within bounds, every part named, of its family's class.

Reads JSON in the hub's own process, before anything of the repo is loaded: a repo that lies is refused when a film is
ordered, not in the middle of its making. Knows no torch.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater.core.errors import CorruptFile
from headwater.weights import jsontext

if TYPE_CHECKING:
    from headwater.film_engines.diffusers.repo import Model

JSON_MAX = 1_000_000
LAYERS_MAX, WIDTH_MAX = 200, 1 << 20
SPATIAL_MAX, TEMPORAL_MAX, PATCH_MAX = 64, 32, 32
WHOLE = frozenset({
    "num_layers", "num_attention_heads", "num_heads", "attention_head_dim", "num_hidden_layers", "hidden_size",
    "ffn_dim", "d_model", "d_ff", "d_kv", "vocab_size", "in_channels", "out_channels", "z_dim", "base_dim",
    "sample_width", "sample_height", "patch_size", "patch_size_t", "scale_factor_spatial", "scale_factor_temporal",
    "spatial_compression_ratio", "temporal_compression_ratio", "block_out_channels", "num_train_timesteps"})
LISTED = frozenset({"patch_size", "block_out_channels"})
"""Of a config: whole numbers above 0, those of LISTED also in a list; null where the model does without."""
SETTINGS = {"scheduler": ("scheduler_config.json",), "guider": ("guider_config.json",),
            "tokenizer": ("tokenizer.json", "tokenizer_config.json"),
            "image_processor": ("preprocessor_config.json", "processor_config.json")}
"""Of a part without weights: one of these files must be there."""
SETTINGS |= {"tokenizer_2": SETTINGS["tokenizer"], "feature_extractor": SETTINGS["image_processor"]}


def read_json(path: Path, most: int = JSON_MAX) -> dict[str, Any]:
    """A JSON object of at most so many bytes. Raises CorruptFile."""
    name = f"{path.parent.name}/{path.name}" if path.name.endswith("config.json") else path.name
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise CorruptFile(f"{name} cannot be read: {error.strerror}.") from None
    if len(data) > most:
        raise CorruptFile(f"{name} has more than {most:,} bytes; a config has some thousands.")
    value = jsontext.parse(data, name)
    if not isinstance(value, dict):
        raise CorruptFile(f"{name} is no JSON object.")
    return value


def check_config(file: str, config: dict[str, Any]) -> None:
    """A config can ask for any number of layers, and making them takes time and memory before a weight is read."""
    for key, value in config.items():
        numbers = value if isinstance(value, list) else [value]
        if isinstance(value, dict) and key not in WHOLE:
            check_config(file, value)  # as deep as jsontext lets it be
            continue
        most = LAYERS_MAX if "layers" in key else WIDTH_MAX
        if len(numbers) > 1_000 or ("theta" not in key and any(
                isinstance(one, int | float) and abs(one) > most for one in numbers)):
            raise CorruptFile(f"{file}: {jsontext.shown(key)} is beyond what a model has.")
        if key in WHOLE and value is not None and not (
                numbers and all(type(one) is int and one > 0 for one in numbers)
                and (key in LISTED or not isinstance(value, list))):
            raise CorruptFile(f"{file}: {jsontext.shown(key)} is {jsontext.shown(value)}, not a whole number above 0.")
    heads, wide = config.get("num_attention_heads"), config.get("attention_head_dim")
    if isinstance(heads, int) and isinstance(wide, int) and heads * wide > WIDTH_MAX >> 4:
        raise CorruptFile(f"{file}: {heads} heads of {wide} are beyond what a model has.")


def check_paper(folder: Path, name: str) -> None:
    """A scheduler, tokenizer or processor: its settings are there, and a scheduler's are within bounds."""
    there = [folder / name / one for one in SETTINGS[name] if (folder / name / one).is_file()]
    if not there:
        raise CorruptFile(f"model_index.json names a {name}, and {name}/{SETTINGS[name][0]} is not there.")
    if name in ("scheduler", "guider"):
        check_config(f"{name}/{there[0].name}", read_json(there[0]))


def check_whole(model: Model) -> None:
    """Every part its family needs, of its family's classes, and latents of a size that can be."""
    for name in model.family.needs:
        if name not in model.parts and name not in model.papers:
            raise CorruptFile(f"model_index.json of a {model.pipeline} names no {name}.")
    transformer, vae = model.family.made_of
    for name, kind in (("transformer", transformer), ("transformer_2", transformer), ("vae", vae)):
        if name in model.parts and model.parts[name].kind != kind:
            raise CorruptFile(f"model_index.json of a {model.pipeline} names {model.parts[name].kind} as its {name}; "
                              f"that is {kind} in every such model.")
    try:
        side, long = model.patch
        right = (0 < model.spatial <= SPATIAL_MAX and 0 < model.temporal <= TEMPORAL_MAX
                 and 0 < side <= PATCH_MAX and 0 < long <= PATCH_MAX)
    except (TypeError, ValueError, IndexError):
        right = False
    if not right:
        raise CorruptFile("vae/config.json and transformer/config.json do not say what part of a film one latent is.")
