"""Trace beside sha256 of the same bytes, and one comparison of two fingerprints.

The budget stands beside `sha256sum`, at whose speed it was set (docs/design/006-trace.md); where the processor has
instructions of its own for sha256, a second row gives the ratio beside OpenSSL, which uses them.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

# As the process has it that makes fingerprints for the hub: two threads of its own, and none of BLAS's.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import ground
import numpy as np

TESTS = Path(__file__).parents[1] / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "trace")]


def rows() -> Iterator[ground.Row]:
    from real_models import gemma_gguf, minilm_folder, qwen_small_gguf, smollm2_gguf

    with ground.folder() as folder:
        yield from _pass("fingerprint of 1.2 GB of bf16 (13 layers, 2,048 wide)", llama(folder / "llama"), rounds=5)
    yield from _pass("fingerprint of MiniLM, 91 MB of float32", minilm_folder(), rounds=9)
    for name, file in (("Qwen2.5-Coder 0.5B, 491 MB of Q4_K_M and Q5_0", qwen_small_gguf()),
                       ("Gemma-3-270M, 253 MB of Q4_K_M and Q5_0", gemma_gguf()),
                       ("SmolLM2-135M, 98 MB of Q4_1", smollm2_gguf())):
        with ground.folder() as folder:
            (folder / "model.gguf").symlink_to(file)
            yield from _pass(f"fingerprint of {name}", folder, rounds=9)
    with ground.folder() as folder:
        (folder / "model.gguf").symlink_to(smollm2_gguf())
        yield _compare(folder)


def _make(folder: Path) -> object:
    from headwater.trace.make import make_fingerprint
    from headwater.weights.source import MappedSource  # as the process does that makes them for the hub

    files = {path.name: path.stat().st_size for path in folder.iterdir() if path.is_file()}
    return make_fingerprint(lambda name: MappedSource(folder / name), files)


def _pass(work: str, folder: Path, rounds: int) -> Iterator[ground.Row]:
    model = max((path for path in folder.iterdir() if path.is_file()), key=lambda path: path.stat().st_size).resolve()
    made = _make(folder)
    read = f"bytes read: {made.bytes_read / 1e6:,.0f} of {made.total_bytes / 1e6:,.0f} MB"
    if shutil.which("sha256sum"):
        ours, theirs = ground.in_turns(lambda: _make(folder), lambda: _sha256sum(model), rounds)
        yield ground.Row(work, "`sha256sum` of the same file", ours, theirs, "< 1, aim 0.3", note=read)
    ours, theirs = ground.in_turns(lambda: _make(folder), lambda: _openssl(model), rounds)
    yield ground.Row(work, "sha256 by OpenSSL, with the processor's instructions for it", ours, theirs, "none")


def _sha256sum(model: Path) -> None:
    subprocess.run(["sha256sum", model], check=True, stdout=subprocess.DEVNULL)


def _openssl(model: Path) -> None:
    with model.open("rb") as file:
        hashlib.file_digest(file, "sha256")


def _compare(folder: Path) -> ground.Row:
    from headwater.trace.agree import agree
    from headwater.trace.fingerprint import Fingerprint

    made = _make(folder)
    data = made.to_bytes()
    ours, theirs = ground.in_turns(lambda: agree(made, Fingerprint.from_bytes(data)), lambda: _make(folder), 5)
    return ground.Row("compare two fingerprints, 30 by 30 layers", "making one of them, which two threads do", ours,
                      theirs, "none", note=f"{len(data) / 1e3:,.0f} KB each")


def llama(folder: Path, width: int = 2048, inner: int = 5632, layers: int = 13, vocabulary: int = 16_384) -> Path:
    """A file of the shapes of a Llama, its numbers one pattern of 2^24 normal ones again and again."""
    from trace_made import words

    folder.mkdir()
    shapes = {"model.embed_tokens.weight": (vocabulary, width)}
    for number in range(layers):
        stem = f"model.layers.{number}"
        shapes |= {f"{stem}.self_attn.{name}_proj.weight": (width if name in "qo" else 512, width) for name in "qkvo"}
        shapes |= {f"{stem}.mlp.{name}_proj.weight": (inner, width) for name in ("gate", "up")}
        shapes |= {f"{stem}.mlp.down_proj.weight": (width, inner), f"{stem}.post_attention_layernorm.weight": (width,)}
    header, at = {}, 0
    for name, shape in shapes.items():
        size = 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    numbers = np.random.default_rng(7).normal(size=(1 << 24) + 17).astype(np.float32) * 0.02
    pattern = (numbers.view(np.uint32) >> 16).astype("<u2").tobytes()
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        while at:
            at -= file.write(pattern[:at])
    (folder / "vocab.json").write_text(json.dumps({word: n for n, word in enumerate(words(vocabulary))}))
    return folder
