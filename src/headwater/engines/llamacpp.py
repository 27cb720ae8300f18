"""GGUF chat by llama.cpp: the xllamacpp wheel carries llama.cpp's own HTTP server, run here in a child process.

Knows how that server is set up. The tokenizer, the template and the stop tokens are those in the GGUF.
Figures behind the choices: docs/design/003-workers.md.
"""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from headwater.core.errors import CorruptFile
from headwater.core.types import Snapshot
from headwater.engines import _worker

PACKAGE = "xllamacpp"
PREFERRED = ("q4_k_m", "q4_k_s", "q5_k_m", "q4_k", "q5_k", "q6_k", "q8_0", "q4_0", "q4_1", "q5", "bf16", "f16", "f32")
NO_CHAT = re.compile(r"(^|[-_./])(mmproj|imatrix|lora|adapter)[-_.]", re.I)
LATER_PART = re.compile(r"-(?!00001)\d{5}-of-\d{5}\.gguf$", re.I)
PROMPT_CACHE_MIB = 256
BATCH_PER_THREAD = 64


class LlamaCpp:
    name = "llamacpp"
    slots = 4

    def available(self) -> str | None:
        return None if find_spec(PACKAGE) else "llama.cpp is not installed: pip install xllamacpp"

    def build(self) -> str:
        try:
            release = version(PACKAGE)
        except PackageNotFoundError:
            return "llama.cpp (not installed)"
        return f"llama.cpp b{release.rsplit('.', 1)[-1]} ({PACKAGE} {release})"

    def accepts(self, files: Sequence[str]) -> str | None:
        """Of several quantisations the one most people take: the order of PREFERRED, then by name."""
        whole = [f for f in files if f.lower().endswith(".gguf") and not NO_CHAT.search(f) and not LATER_PART.search(f)]
        return min(whole, key=lambda f: (f.count("/"), _rank(f), f), default=None)

    def command(self, snapshot: Snapshot, path: str, *, port: int, threads: int, context: int) -> list[str]:
        return _worker.command(__name__, Path(snapshot.folder) / path, port=port, threads=threads, context=context)


def _rank(path: str) -> int:
    name = path.lower()
    return next((n for n, form in enumerate(PREFERRED) if form in name), len(PREFERRED))


ENGINE = LlamaCpp()


def _trained_context(path: Path) -> int | None:
    """Tokens the model was trained to see, None when the file does not say. Raises CorruptFile.

    The whole header is read, by our own bounded reader: llama.cpp says the same thing of every broken file.
    """
    from headwater.weights.gguf import read_header
    from headwater.weights.source import FileSource

    with FileSource(path) as source:
        said = read_header(source).metadata
    length = said.get(f"{said.get('general.architecture')}.context_length")
    return length if isinstance(length, int) and length > 0 else None


def _params(given: Any, context: int, key: str) -> Any:
    """llama.cpp's settings: loopback, our key, no page and no extra routes. context is for one request."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(given.path)
    params.hostnames, params.port, params.api_keys = ["127.0.0.1"], given.port, [key]
    params.cors_origins = ""
    params.ui = params.endpoint_props = False
    params.endpoint_slots = True
    params.n_parallel = ENGINE.slots
    params.n_ctx = context * ENGINE.slots
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = given.threads
    # a hang-up is noticed between batches, and other streams wait for one: keep a batch well under a second
    params.n_batch = params.n_ubatch = min(2048, BATCH_PER_THREAD * given.threads)
    params.n_threads_http = ENGINE.slots + 4
    params.cache_ram_mib = PROMPT_CACHE_MIB
    params.verbosity = 2  # warnings: the timing of every request would drown the lines that explain a failure
    return params


def main() -> None:
    given, key = _worker.arguments("A llama.cpp worker."), _worker.take_key()
    _worker.die_with_parent()
    # OpenMP threads that spin while they wait starve everybody else on a shared machine; read when the library loads
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    try:
        context = min(given.context, _trained_context(given.path) or given.context)
        import xllamacpp

        server = xllamacpp.Server(_params(given, context, key))
    except (OSError, CorruptFile, RuntimeError) as error:
        _worker.fail(f"llama.cpp cannot load {given.path.name}: {error}")
    while server:
        signal.pause()


if __name__ == "__main__":
    main()
