"""get_safetensors_metadata of one file and of shards, read by range; a file that is none."""

import json
import struct

from huggingface_hub.errors import NotASafetensorsRepoError, SafetensorsParsingError
from kit import VERSION, api, repo


def tensors(names, metadata=None, size=8):
    header = {"__metadata__": metadata} if metadata else {}
    for n, name in enumerate(names):
        header[name] = {"dtype": "F16", "shape": [2, size // 4], "data_offsets": [n * size, (n + 1) * size]}
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + bytes(size * len(names))


one = repo(files={"model.safetensors": tensors(["a", "b"], {"format": "pt"})})
found = api.get_safetensors_metadata(one)
assert not found.sharded and set(found.weight_map) == {"a", "b"}
assert found.files_metadata["model.safetensors"].tensors["a"].shape == [2, 2]
assert found.parameter_count == {"F16": 8}

wide = [f"layer.{n}.{'x' * 60}" for n in range(1500)]  # a header longer than the client's first range
long = repo(files={"model.safetensors": tensors(wide)})
assert len(api.get_safetensors_metadata(long).weight_map) == 1500

shards = {"model-00001-of-00002.safetensors": tensors(["a", "b"]), "model-00002-of-00002.safetensors": tensors(["c"])}
index = {"metadata": {"total_size": 24}, "weight_map": {"a": "model-00001-of-00002.safetensors",
         "b": "model-00001-of-00002.safetensors", "c": "model-00002-of-00002.safetensors"}}
many = repo(files={**shards, "model.safetensors.index.json": json.dumps(index).encode()})
found = api.get_safetensors_metadata(many)
assert found.sharded and found.parameter_count == {"F16": 12} and len(found.files_metadata) == 2
if hasattr(api, "get_sharded_safetensors_metadata"):
    found = api.get_sharded_safetensors_metadata(many)
    assert found.sharded and set(found.weight_map) == {"a", "b", "c"} and found.metadata["total_size"] == 24

try:
    api.get_safetensors_metadata(repo(files={"config.json": b"{}"}))
    raise AssertionError("a repo without safetensors has none")
except NotASafetensorsRepoError:
    pass
try:
    api.get_safetensors_metadata(repo(files={"model.safetensors": b"\xff" * 64}))
    raise AssertionError("this is no safetensors file")
except SafetensorsParsingError:
    pass
info = api.model_info(one)
if VERSION >= (0, 36):
    assert info.safetensors.total == 8 and info.safetensors.parameters == {"F16": 8}, info.safetensors
