"""Try a build of llama.cpp before it is used: does it run, and does it compute what the wheel computes?

Both answer the same questions about a tiny model that is made here, whose matrices have every type in common use, so
that each kernel compiled for this processor is run once. Knows nothing of how the build was made.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import ProxyHandler, Request, build_opener

from headwater.core.errors import Unavailable
from headwater.core.work import Progress

WIDTH, INNER, HEADS, WORDS = 256, 512, 4, 320
LAYERS = (("Q4_0", "Q8_0", "F16", "Q4_1", "Q4_K", "Q6_K", "BF16"),
          ("Q5_0", "Q5_1", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_K"))
"""Types of the matrices of each layer, in the order of _MATRICES."""
_MATRICES = (("attn_q", WIDTH, WIDTH), ("attn_k", WIDTH, WIDTH), ("attn_v", WIDTH, WIDTH),
             ("attn_output", WIDTH, WIDTH), ("ffn_gate", INNER, WIDTH), ("ffn_up", INNER, WIDTH),
             ("ffn_down", WIDTH, INNER))
LENGTHS = (1, 9, 70, 200)
"""Tokens of the prompts: one takes other kernels than many, and many are read in several batches."""
STRAY_MAX = 0.15
"""Mean difference of log-probabilities, in nats. Kernels round differently: 0.01 to 0.03 were seen between builds."""
SAID = 300
"""The token it is made to say, a whole character: for half of one llama.cpp tells no probabilities."""
KEY, START_S, ANSWER_S = "trial", 60, 60
_HERE = build_opener(ProxyHandler({}))


def trial(folder: Path, environ: Mapping[str, str], progress: Progress) -> None:
    """Raises Unavailable with what is wrong. folder: of the build. environ: of its process. Seconds."""
    with tempfile.TemporaryDirectory(prefix="headwater-trial-") as place:
        model = Path(place) / "trial.gguf"
        write_model(model)
        expected = _answers(model, environ, progress)
        found = _answers(model, {**environ, "HEADWATER_NATIVE_BUILD": str(folder)}, progress)
    for length, one, other in zip(LENGTHS, expected, found, strict=True):
        stray = sum(abs(one[token] - other.get(token, -99.0)) for token in one) / len(one)
        if not stray <= STRAY_MAX:  # also where it is no number
            raise Unavailable(f"The build computes something else than the wheel: after {length} tokens its "
                              f"log-probabilities are {stray:.2f} nats off.")


def write_model(path: Path) -> None:
    """A Llama of two layers with weights by chance, the same each time."""
    import numpy as np
    from gguf import GGMLQuantizationType, GGUFWriter

    dice, writer = np.random.default_rng(7), GGUFWriter(path, "llama")
    for name, value in (("context_length", 512), ("embedding_length", WIDTH), ("block_count", len(LAYERS)),
                        ("feed_forward_length", INNER), ("head_count", HEADS), ("head_count_kv", HEADS),
                        ("vocab_size", WORDS)):
        getattr(writer, f"add_{name}")(value)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    _add_words(writer)
    matrices = [("token_embd", WORDS, WIDTH, "Q8_0"), ("output", WORDS, WIDTH, "Q6_K")]
    for n, types in enumerate(LAYERS):
        matrices += [(f"blk.{n}.{name}", rows, width, dtype)
                     for (name, rows, width), dtype in zip(_MATRICES, types, strict=True)]
        for name in ("attn_norm", "ffn_norm"):
            writer.add_tensor(f"blk.{n}.{name}.weight", np.ones(WIDTH, np.float32))
    writer.add_tensor("output_norm.weight", np.ones(WIDTH, np.float32))
    for name, rows, width, dtype in matrices:
        writer.add_tensor(f"{name}.weight", _matrix(dice, rows, width, dtype), raw_dtype=GGMLQuantizationType[dtype])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_words(writer: Any) -> None:
    """A vocabulary of bytes: prompts are given as numbers."""
    texts = ["<unk>", "<s>", "</s>", *(f"<0x{n:02X}>" for n in range(256))]
    kinds = [2, 3, 3, *[6] * 256]
    texts += [f"w{n}" for n in range(WORDS - len(texts))]
    writer.add_tokenizer_model("llama")
    writer.add_token_list(texts)
    writer.add_token_scores([0.0] * WORDS)
    writer.add_token_types(kinds + [1] * (WORDS - len(kinds)))


def _matrix(dice: Any, rows: int, width: int, dtype: str) -> Any:
    """Bytes (rows, bytes of a row) of normal numbers of spread 1 / sqrt(width), or of such size where only llama.cpp
    itself can write the type: there the packed numbers are by chance and the scales are set."""
    import numpy as np
    from gguf import GGMLQuantizationType
    from gguf.quants import quantize

    if not dtype.endswith("_K"):
        numbers = dice.normal(0, width ** -0.5, (rows, width)).astype(np.float32)
        return quantize(numbers, GGMLQuantizationType[dtype])
    from headwater.weights.ggml_types import TENSOR_TYPES

    block, size = next((block, size) for name, block, size in TENSOR_TYPES.values() if name == dtype)
    raw = dice.integers(0, 256, (rows, width // block, size), np.uint8)
    # Q6_K: numbers of 6 bits about 0, times int8 scales, times d at the end; the others: d and dmin in front
    scales = {-2: 3e-5} if dtype == "Q6_K" else {0: 2e-4, 2: 1.5e-3}
    for at, value in scales.items():
        raw[:, :, at:at + 2 or None] = np.frombuffer(np.float16(value).tobytes(), np.uint8)
    return raw.reshape(rows, -1)


def _answers(model: Path, environ: Mapping[str, str], progress: Progress) -> list[dict[int, float]]:
    """Log-probabilities of the next token after prompts of LENGTHS, of every token."""
    prompt = [3 + n * 97 % 250 for n in range(max(LENGTHS))]
    with _worker(model, environ, progress) as ask:
        return [ask(prompt[:length]) for length in LENGTHS]


@contextmanager
def _worker(model: Path, environ: Mapping[str, str], progress: Progress) -> Iterator[Any]:
    """A worker of this model, as the hub runs it, as a verb. What it says on the way to its end goes into errors."""
    with socket.socket() as probe, tempfile.TemporaryFile() as log:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        child = subprocess.Popen(
            [sys.executable, "-m", "headwater.engines.llamacpp", str(model), "--port", str(port), "--threads", "2",
             "--context", "256"], stdin=subprocess.PIPE, stdout=log, stderr=log, start_new_session=True,
            env={**environ, "HEADWATER_WORKER_KEY": KEY, "HEADWATER_WORKER_SLOTS": "1"})

        def ended(error: object) -> Unavailable:
            if child.poll() is None:
                return Unavailable(f"trying the build failed: {error}")
            log.seek(0)
            lines = log.read(20_000).decode("utf-8", "replace").strip().splitlines()[-3:]
            return Unavailable(f"trying the build failed: its server ended ({_ending(child.returncode)}) "
                               + " ".join(lines)[-600:])

        try:
            until = time.monotonic() + START_S
            while not _healthy(port):
                progress(0, None, stage="trying the build", unit="steps")
                if child.poll() is not None or time.monotonic() > until:
                    raise ended(f"it was not ready after {START_S} s")
                time.sleep(0.1)
            yield lambda tokens: _ask(port, tokens, ended)
        finally:
            if child.poll() is None:
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            child.stdin.close()


def _healthy(port: int) -> bool:
    try:
        with _HERE.open(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
            return answer.status == 200
    except OSError:  # URLError is one
        return False


def _ask(port: int, tokens: list[int], ended: Any) -> dict[int, float]:
    body = {"prompt": tokens, "n_predict": 1, "n_probs": WORDS, "temperature": 0, "cache_prompt": False,
            "logit_bias": [[SAID, 1000]]}
    request = Request(f"http://127.0.0.1:{port}/completion", json.dumps(body).encode(),
                      {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"})
    try:
        with _HERE.open(request, timeout=ANSWER_S) as answer:
            listed = json.loads(answer.read(1 << 20))["completion_probabilities"][0]["top_logprobs"]
    except (URLError, OSError, ValueError, LookupError) as error:
        time.sleep(0.5)  # a process that died is seen as such a moment later
        raise ended(error) from None
    return {one["id"]: one["logprob"] for one in listed}


def _ending(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"
