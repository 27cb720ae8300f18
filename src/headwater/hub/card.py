"""Read the front matter of a README: the card. Knows YAML with limits; knows nothing of repos."""

from __future__ import annotations

import datetime
import math
import re
from typing import Any

import yaml

from headwater.core.types import Card

MAX_BYTES = 256_000
_FRONT = re.compile(r"\A(?:\ufeff)?---[ \t]*\r?\n(.*?)^---[ \t]*\r?$", re.S | re.M)
_RELATIONS = ("finetune", "adapter", "merge", "quantized", "pruned", "upcycled", "distilled")


class _BoundedLoader(yaml.SafeLoader):
    """SafeLoader without aliases (a few lines of them expand to gigabytes) and with bounded depth."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.events.AliasEvent):
            raise yaml.YAMLError("aliases (*name) are not allowed in a card")
        self.depth += 1
        if self.depth > 20:
            raise yaml.YAMLError("nested more than 20 deep")
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


def split_card(text: str) -> tuple[str, str]:
    """(front matter, body). The front matter is '' when there is none, or when it never ends."""
    match = _FRONT.match(text)
    return (match[1], text[match.end():].lstrip("\r\n")) if match else ("", text)


def parse_front(front: str) -> dict[str, Any]:
    """The YAML as plain JSON values. Raises ValueError saying what is wrong and where."""
    if len(front.encode()) > MAX_BYTES:
        raise ValueError(f"the front matter is longer than {MAX_BYTES:,} bytes")
    try:
        data = yaml.load(front, Loader=_BoundedLoader)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ValueError(" ".join(str(error).split())) from None
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ValueError("the front matter must be a mapping of names to values")
    return _plain(data)


def parse_card(readme: bytes) -> Card:
    """The card of a README; a problem is kept in the card, never raised: a bad card must not block a push."""
    try:
        data = parse_front(split_card(readme[: 4 * MAX_BYTES].decode("utf-8", "replace"))[0])
    except ValueError as error:
        return Card(problem=str(error))
    return Card(data=data, tags=tuple(tags_of(data)))


def tags_of(data: dict[str, Any]) -> list[str]:
    """The tags search filters by, as the Hugging Face Hub forms them."""
    tags: list[str] = []

    def put(value: Any, prefix: str = "") -> None:
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, str | int | float) and not isinstance(item, bool) and 0 < len(str(item)) <= 200:
                tags.append(f"{prefix}{item}")

    put(data.get("library_name"))
    put(data.get("pipeline_tag"))
    put(data.get("tags"))
    put(data.get("language"))
    put(data.get("datasets"), "dataset:")
    put(data.get("license"), "license:")
    put(data.get("base_model"), "base_model:")
    relation = data.get("base_model_relation")
    if relation in _RELATIONS:
        put(data.get("base_model"), f"base_model:{relation}:")
    for key in ("task_categories", "size_categories"):
        put(data.get(key), f"{key}:")
    return list(dict.fromkeys(tags))[:200]


def tags_of_files(names: list[str]) -> list[str]:
    """Tags that the files at the top of a repo speak for, whatever the card says."""
    ends = {name.rsplit(".", 1)[-1].lower() for name in names}
    tags = [tag for end, tag in (("safetensors", "safetensors"), ("gguf", "gguf"), ("onnx", "onnx")) if end in ends]
    if "pytorch_model.bin" in names or "pytorch_model.bin.index.json" in names:
        tags.append("pytorch")
    if "model_index.json" in names:
        tags.append("diffusers")
    elif "config.json" in names and ends & {"safetensors", "bin"}:
        tags.append("transformers")
    return tags


def _plain(value: Any) -> Any:
    """YAML's dates, sets and odd keys as JSON has them."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple | set):
        return [_plain(v) for v in value]
    if isinstance(value, datetime.date | datetime.datetime):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, str | int | float | bool | None) else str(value)
