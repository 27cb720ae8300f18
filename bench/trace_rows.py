"""Trace beside sha256 of the same bytes, and one comparison of two fingerprints.

The budget stands beside sha256 without instructions of the processor's own (docs/design/006-trace.md says why); where
the processor has them, a second row gives the ratio beside those.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

# Small products on a busy machine wait for a second thread longer than they take; sha256 has one thread as well.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import ground
import numpy as np

TESTS = Path(__file__).parents[1] / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "trace")]


def rows() -> Iterator[ground.Row]:
    from real_models import minilm_folder, smollm2_gguf

    with ground.folder() as folder:
        yield from _pass("fingerprint of 1.2 GB of bf16 (13 layers, 2,048 wide)", llama(folder / "llama"), rounds=5)
    yield from _pass("fingerprint of MiniLM, 91 MB of float32", minilm_folder(), rounds=5)
    with ground.folder() as folder:
        (folder / "m").mkdir()
        (folder / "m" / "model.gguf").symlink_to(smollm2_gguf())
        yield from _pass("fingerprint of SmolLM2-135M, 98 MB of Q4_1", folder / "m", rounds=5)
        yield _compare(folder / "m")


def _make(folder: Path) -> object:
    from headwater.trace.make import make_fingerprint
    from headwater.weights.source import MappedSource  # as the process does that makes them for the hub

    files = {path.name: path.stat().st_size for path in folder.iterdir() if path.is_file()}
    return make_fingerprint(lambda name: MappedSource(folder / name), files)


def _pass(work: str, folder: Path, rounds: int) -> Iterator[ground.Row]:
    model = max((path for path in folder.iterdir() if path.is_file()), key=lambda path: path.stat().st_size)

    def whole() -> None:
        with model.open("rb") as file:
            hashlib.file_digest(file, "sha256")

    made = _make(folder)
    ours, theirs = ground.in_turns(lambda: _make(folder), whole, rounds)
    read = f"bytes read: {made.bytes_read / 1e6:,.0f} of {made.total_bytes / 1e6:,.0f} MB"
    if platform.machine() == "x86_64":
        slow = tuple(_in_software(model) for _ in range(rounds))
        if statistics.median(slow) > 1.5 * statistics.median(theirs):
            yield ground.Row(work, "sha256 of the same file, in software", ours, slow, "< 1, aim 0.3", note=read)
            yield ground.Row(work, "sha256 by the processor's own instructions", ours, theirs, "none")
            return
    yield ground.Row(work, "sha256 of the same file", ours, theirs, "< 1, aim 0.3", note=read)


def _in_software(model: Path) -> float:
    """Seconds of sha256 on a processor that lacks instructions for it: OpenSSL is told not to use them."""
    script = ("import hashlib, sys, time; file = open(sys.argv[1], 'rb'); began = time.perf_counter(); "
              "hashlib.file_digest(file, 'sha256'); print(time.perf_counter() - began)")
    return float(subprocess.run([sys.executable, "-c", script, model], capture_output=True, text=True, check=True,
                                env=os.environ | {"OPENSSL_ia32cap": ":~0x20000000"}).stdout)


def _compare(folder: Path) -> ground.Row:
    from headwater.trace.agree import agree
    from headwater.trace.fingerprint import Fingerprint

    made = _make(folder)
    data = made.to_bytes()
    ours, theirs = ground.in_turns(lambda: agree(made, Fingerprint.from_bytes(data)), lambda: _make(folder), 5)
    return ground.Row("compare two fingerprints, 30 by 30 layers", "making one of them", ours, theirs, "< 1",
                      note=f"{len(data) / 1e3:,.0f} KB each")


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
