"""GGUF chat by llama.cpp: the xllamacpp wheel carries llama.cpp's own HTTP server, run here in a child process.

Knows how that server is set up. The tokenizer is the one in the GGUF; template, ends and BOS are those of
weights/speech.py, as on the pages, wherever the hub tells them and the file says otherwise.
Figures behind the choices: docs/design/003-workers.md.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from headwater.core.errors import CorruptFile
from headwater.core.settings import Settings
from headwater.core.types import Snapshot
from headwater.core.work import Progress
from headwater.engines import _forms, _native, _worker
from headwater.engines._overrides import Overrides, corrections
from headwater.weights.adapter import adapter_of
from headwater.weights.adapter import misfit as adapter_misfit
from headwater.weights.gguf import read_header
from headwater.weights.projector import misfit, projector_of
from headwater.weights.shards import gguf_models
from headwater.weights.source import FileSource
from headwater.weights.speech import Speech

PACKAGE = "xllamacpp"
PROMPT_CACHE_MIB = 256
BATCH_PER_THREAD = 64
PICTURE_BATCH = 256
"""Some models (Gemma) read a picture in one batch or not at all, and theirs have so many tokens."""


TEMPLATE_MAX = 100_000
"""Bytes of a template, as JSON, that are handed over by the environment, which has a limit; the longest of the 71 that
llama.cpp tests with has 35,000. A longer one is read from chat_template.jinja, if it is there."""


class LlamaCpp:
    name = "llamacpp"
    slots = 4
    keeps_prompts = True
    features = frozenset({"schema", "tools", "logprobs", "completions", "embeddings", "rerank", "vision",
                          "adapters", "counts"})

    def available(self) -> str | None:
        return None if find_spec(PACKAGE) else "llama.cpp is not installed: pip install xllamacpp"

    def build(self) -> str:
        try:
            release = version(PACKAGE)
        except PackageNotFoundError:
            return "llama.cpp (not installed)"
        return f"llama.cpp b{release.rsplit('.', 1)[-1]} ({PACKAGE} {release})"

    def environment(self, settings: Settings, snapshot: Snapshot, path: str) -> dict[str, str]:
        """Which build the worker becomes: the one made for this processor where there is one and settings allow."""
        native = _native.chosen(settings)
        return {"HEADWATER_NATIVE_BUILD": str(settings.data / _native.FOLDER / native.name)} if native else {}

    def settings_for(self, settings: Settings, snapshot: Snapshot, path: str) -> Settings:
        """Those a model is run with: the wheel's where the native build could not run it before."""
        native, digest = _auto(settings), _digest(snapshot, path)
        known = digest in _native.refused(settings.data, native) if native and digest else False
        return settings.but(llamacpp_build="wheel") if known else settings

    def instead(self, settings: Settings) -> Settings | None:
        """What to try when a worker started with these settings failed; None where there is nothing else."""
        return settings.but(llamacpp_build="wheel") if _auto(settings) else None

    def gave_up(self, settings: Settings, snapshot: Snapshot, path: str, why: str) -> None:
        """A worker with these settings failed where another did not, or in a way no model is to blame for."""
        if (native := _auto(settings)) and (digest := _digest(snapshot, path)):
            _native.refuse(settings.data, native, digest, snapshot.repo.full_name, why)

    def builds(self, settings: Settings) -> list[dict[str, Any]]:
        """The wheel and what was compiled here, as `headwater engine list` shows it."""
        return _native.listed(settings, self.build(), self.available())

    def make_build(self, settings: Settings, progress: Progress) -> dict[str, Any]:
        """Compile llama.cpp for this processor. Blocking, for minutes; begun again it goes on where it was."""
        from headwater.engines._build import build

        return asdict(build(settings.data, progress))

    def remove_build(self, settings: Settings, name: str) -> dict[str, Any]:
        """Raises NotFound."""
        return _native.shown(_native.remove(settings.data, name), None)

    def forms(self, path: Path, smaller: bool) -> dict[str, int]:
        """Other ways to store the weights that are worth a try here, with the bytes each takes. Raises CorruptFile."""
        with FileSource(path) as source:
            header = read_header(source)
        return {form: _forms.size_of(header, form) for form in _forms.forms_of(header, smaller)}

    def form_command(self, path: Path, place: Path, form: str) -> list[str]:
        """argv of the program that writes one of them."""
        return _forms.command(path, place, form)

    def told(self, speech: Speech) -> dict[str, str]:
        """What the worker is told of how the model is spoken with, where its file says otherwise or nothing."""
        said: dict[str, Any] = {"stops": [[stop.id, stop.text] for stop in speech.stops], "no_bos": speech.bos is None}
        if speech.thinking is False:  # llama.cpp switches it on by itself
            said["words"] = {"enable_thinking": False}
        template = speech.template
        if template and not template.source.lower().endswith(".gguf"):
            fits = len(json.dumps(template.text)) <= TEMPLATE_MAX
            said |= {"template": template.text} if fits else {"too_long": template.source}
        return {"HEADWATER_WORKER_SPEECH": json.dumps(said)}

    def build_in(self, settings: Settings) -> str:
        """What a worker started now computes with; for receipts."""
        native = _native.chosen(settings)
        return native.says if native else self.build()

    def shows_end(self, text: str) -> bool:
        """Whether this end may come as text in an answer: those of DeepSeek do, with some of its templates."""
        return "｜" in text

    def accepts(self, files: Sequence[str]) -> str | None:
        """Of several quantisations the one most people take, which is also the one the pages describe."""
        return next(iter(gguf_models(files)), None)

    def projector(self, files: Sequence[str], path: str) -> str | None:
        """The file through which `path` would see pictures."""
        return projector_of(files, path)

    def blind(self, snapshot: Snapshot, path: str) -> str | None:
        """Why `path` would see no pictures, None if it does. Reads headers: blocking."""
        projector = projector_of([entry.path for entry in snapshot.files], path)
        if projector is None:
            return "there is no projector beside it."
        return misfit(Path(snapshot.folder) / path, Path(snapshot.folder) / projector)

    def adapter(self, files: Sequence[str]) -> str | None:
        """The file that is a repo's LoRA adapter."""
        return adapter_of(files)

    def adapter_misfit(self, model: Path, adapter: Path) -> str | None:
        """Why the adapter cannot be put on the model, None if it can. Reads headers: blocking."""
        return adapter_misfit(model, adapter)

    def command(self, snapshot: Snapshot, path: str, *, port: int, threads: int, context: int,
                adapters: Sequence[Path] = ()) -> list[str]:
        argv = _worker.command(__name__, Path(snapshot.folder) / path, port=port, threads=threads, context=context)
        projector = projector_of([entry.path for entry in snapshot.files], path)
        argv += ["--projector", str(Path(snapshot.folder) / projector)] if projector else []
        return [*argv, *(part for adapter in adapters for part in ("--adapter", str(adapter)))]


ENGINE = LlamaCpp()


def _auto(settings: Settings) -> _native.Native | None:
    """The native build, where it is used because it is there and not because somebody asked for it."""
    return _native.chosen(settings) if settings.llamacpp_build == "auto" else None


def _digest(snapshot: Snapshot, path: str) -> str | None:
    return next((entry.digest for entry in snapshot.files if entry.path == path), None)


class _Said(NamedTuple):
    """What the file's header says. context: tokens it was trained to see. pooling: how a text becomes one vector, as
    llama.cpp counts it (4 ranks), for models made for that and not for chat. None where it does not say."""

    context: int | None
    pooling: int | None
    metadata: dict[str, Any]


RANKS = 4
"""llama.cpp's LLAMA_POOLING_TYPE_RANK."""


def _read(path: Path) -> _Said:
    """Raises CorruptFile. The whole header is read, by our own bounded reader: llama.cpp says the same thing of every
    broken file."""
    with FileSource(path) as source:
        said = read_header(source).metadata
    kind = said.get("general.architecture")
    if said.get("general.type") == "adapter":
        raise CorruptFile("this is an adapter and no model by itself; ask for it as owner/base+owner/adapter.")
    length, pooling = said.get(f"{kind}.context_length"), said.get(f"{kind}.pooling_type")
    return _Said(length if isinstance(length, int) and length > 0 else None,
                 pooling if isinstance(pooling, int) and pooling > 0 else None, said)


def _params(given: Any, said: _Said, key: str) -> Any:
    """llama.cpp's settings: loopback, our key, no page and no extra routes."""
    import xllamacpp

    params, context = xllamacpp.CommonParams(), min(given.context, said.context or given.context)  # of one request
    params.model.path = os.environ.get("HEADWATER_WORKER_FORM") or str(given.path)  # the same weights, stored faster
    own = given.path.parent / "chat_template.jinja"
    if own.is_file():  # what the repo says beside the file goes before what is in it, as on the pages
        params.chat_template = own.read_text("utf-8")
    elif template := _spoken().get("template"):
        params.chat_template = template
    params.default_template_kwargs = {name: json.dumps(value) for name, value in _spoken().get("words", {}).items()}
    params.hostnames, params.port, params.api_keys = ["127.0.0.1"], given.port, [key]
    params.cors_origins = ""
    params.ui = params.endpoint_props = False
    params.endpoint_slots = True
    slots = _worker.slots(ENGINE.slots)
    params.n_parallel = slots
    params.n_ctx = context * slots
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = given.threads
    # a hang-up is noticed between batches, and other streams wait for one: keep a batch well under a second
    params.n_batch = params.n_ubatch = int(os.environ.get("HEADWATER_WORKER_BATCH") or 0) or min(
        2048, BATCH_PER_THREAD * given.threads)
    if said.pooling:  # such a model reads a text in one batch or not at all
        params.embedding = True
        params.n_batch = params.n_ubatch = context
        if said.pooling == RANKS:
            params.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_RANK
    for projector in given.projector:
        # one that does not fit is left out, so that the model can be talked with; blind() tells why it sees nothing
        if misfit(given.path, projector) is None:
            params.mmproj.path, params.mmproj_use_gpu = str(projector), False
            params.n_batch = params.n_ubatch = max(params.n_ubatch, PICTURE_BATCH)
    params.n_threads_http = slots + 4
    params.cache_ram_mib = PROMPT_CACHE_MIB
    if given.adapter:
        params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(path), 0.0) for path in given.adapter]
        params.lora_init_without_apply = True  # the request says which, and how much
        params.cache_ram_mib = 0  # it would bring back what was read with one adapter for an answer with another
    if (kept := os.environ.get("HEADWATER_WORKER_CACHE")) and not given.adapter:
        params.slot_save_path = f"{kept}{os.sep}"
    params.verbosity = 2  # warnings: the timing of every request would drown the lines that explain a failure
    return params


def _spoken() -> dict[str, Any]:
    """What told() said; empty where nobody did."""
    return json.loads(os.environ.get("HEADWATER_WORKER_SPEECH") or "{}")


def _overrides(said: _Said) -> Overrides:
    spoken = _spoken()
    values, left = corrections(said.metadata, spoken.get("stops", ()), spoken.get("no_bos", False))
    if spoken.get("too_long"):
        print(f"the template in {spoken['too_long']} is too long to be used here.", file=sys.stderr)
    if left:
        print(f"answers do not stop at the tokens {left}: llama.cpp takes no more ends.", file=sys.stderr)
    return Overrides(values)


def main() -> None:
    given, key = _worker.arguments("A llama.cpp worker.", beside=("projector", "adapter")), _worker.take_key()
    _worker.die_with_parent()
    # OpenMP threads that spin while they wait starve everybody else on a shared machine; read when the library loads
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    # else an abort starts a debugger, whose hundred lines bury the one that says why
    os.environ.setdefault("GGML_NO_BACKTRACE", "1")
    try:
        said = _read(given.path)
        import xllamacpp

        params, overrides = _params(given, said, key), _overrides(said)
        if native := os.environ.get("HEADWATER_NATIVE_BUILD"):
            _native.become(Path(native), params, key, overrides.argv())
        if not overrides.put(params):
            print("this build takes no other ends than the file names, nor another BOS.", file=sys.stderr)
        server = xllamacpp.Server(params)
        overrides.take_back()
    except (OSError, CorruptFile, RuntimeError) as error:
        _worker.fail(f"llama.cpp cannot load {given.path.name}: {error}")
    while server:
        signal.pause()


if __name__ == "__main__":
    main()
