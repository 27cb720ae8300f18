"""A closed model among real ones: SmolLM2 at one hub, at another the same in 8 bits beside Gemma and Qwen."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import gguf
import numpy as np
import pytest
from gguf.quants import dequantize, quantize
from huggingface_hub import HfApi
from real_models import gemma_gguf, qwen_small_gguf, smollm2_gguf
from server import HubProcess

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]
SECTION = ("A closed model", "SmolLM2-135M-Instruct Q4_1 behind one hub's API, models of another held beside it by 100 "
           "answers each (`headwater trace NAME --api`, `tests/soak/test_soak_closed.py`).")


def in_8_bits(source: Path, target: Path) -> Path:
    """The same model, all its metadata kept."""
    reader, kind = gguf.GGUFReader(source), gguf.GGMLQuantizationType.Q8_0
    writer = gguf.GGUFWriter(target, "llama")
    for name, field in reader.fields.items():
        if not name.startswith("GGUF.") and name != "general.architecture":
            inner = field.types[1] if len(field.types) > 1 else None
            writer.add_key_value(name, field.contents(), field.types[0], sub_type=inner)
    for tensor in reader.tensors:
        values = np.array(dequantize(tensor.data, tensor.tensor_type), np.float32)
        if values.ndim == 1:
            writer.add_tensor(tensor.name, values)
        else:
            writer.add_tensor(tensor.name, quantize(values, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return target


def keep(url: str, models: dict[str, Path]) -> None:
    api = HfApi(endpoint=url, token=False)
    for name, file in models.items():
        api.create_repo(f"local/{name}")
        api.upload_file(repo_id=f"local/{name}", path_or_fileobj=file, path_in_repo="model.gguf")


def test_a_served_model_is_alike_to_itself_in_other_bits_and_strangers_are_not(tmp_path, figures):
    settings = {"trace_uploads": 0, "workers_max": 1, "chat_context": 1024}
    ours = {"small": in_8_bits(smollm2_gguf(), tmp_path / "q8.gguf"), "gemma": gemma_gguf(), "qwen": qwen_small_gguf()}
    with HubProcess(tmp_path / "ours", **settings) as hub, HubProcess(tmp_path / "closed", **settings) as closed:
        keep(hub.url, ours)
        keep(closed.url, {"secret": smollm2_gguf()})
        found = {}
        for name in ("small", "gemma"):
            controls = [part for other in ours if other != name for part in ("--control", f"local/{other}")]
            done = subprocess.run(
                [sys.executable, "-m", "headwater", "trace", f"local/{name}", "--api", f"{closed.url}/v1", "--model",
                 "local/secret", *controls, "--prompts", "100", "--json"],
                capture_output=True, text=True, env={**os.environ, "HEADWATER_URL": hub.url}, check=True)
            found[name] = json.loads(done.stdout)
            figures[f"answers of {name} that begin alike"] = ("", f"{found[name]['agree']} of 100, p = "
                                                                  f"{found[name]['adjusted']:.1g}")
    assert found["small"]["alike"] and not found["gemma"]["alike"]
