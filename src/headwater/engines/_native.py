"""llama.cpp compiled for this processor: which builds there are, and its server run in the worker process.

Knows the folder `<data>/engines/` and how settings of the wheel's server are said to llama.cpp's own. How a build is
made is _build.py's. The server is a shared library, called and not started: so the process is the one that was
confined, it is measured as every worker is, and it ends when its standard input ends.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

from headwater.core.errors import BadInput, EngineFailed, NotFound
from headwater.core.processor import processor
from headwater.core.settings import Settings
from headwater.engines import _worker

FOLDER, ABOUT, REFUSED = "engines", "build.json", "refused.json"
"""Where builds are; files of one: what it is, and the models it could not run."""
REFUSED_MAX, WHY_MAX = 1000, 600
LIBRARY, ENTRY = "libllama-server-impl.so", "_Z12llama_serveriPPc"
"""llama.cpp's `int llama_server(int, char **)`, as C++ compilers of the Itanium convention name it."""
RANKS = 4
"""llama.cpp's LLAMA_POOLING_TYPE_RANK."""
CHOICES = ("auto", "native", "wheel")


@dataclass(frozen=True)
class Native:
    """A build. name is its folder; processor: where it runs; sha256: of the source archive."""

    name: str
    build: str
    package: str
    sha256: str
    processor: str
    compiler: str
    bytes: int
    made_at: float

    @property
    def says(self) -> str:
        return f"llama.cpp b{self.build} (native for {self.processor}, {self.package})"


def installed(data: Path) -> list[Native]:
    """Whole builds, of every processor, the newest llama.cpp first."""
    found = []
    for about in (data / FOLDER).glob(f"*/{ABOUT}"):
        try:
            found.append(Native(**json.loads(about.read_text("utf-8"))))
        except (OSError, ValueError, TypeError):  # half removed, or written by another version: as good as none
            continue
    return sorted(found, key=lambda one: (int(one.build) if one.build.isdecimal() else 0, one.made_at), reverse=True)


def usable(data: Path) -> Native | None:
    """The newest build this processor can run. Code compiled for another may end with an illegal instruction."""
    return next((one for one in installed(data) if one.processor == processor()
                 and (data / FOLDER / one.name / LIBRARY).is_file()), None)


def keep(data: Path, folder: Path, native: Native) -> None:
    """Put a finished build in its place; the last step, so a folder with ABOUT is whole."""
    (folder / ABOUT).write_text(json.dumps(asdict(native), indent=1), "utf-8")
    place = data / FOLDER / native.name
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(place, ignore_errors=True)
    folder.rename(place)


def remove(data: Path, name: str) -> Native:
    """Raises NotFound. Workers that run it go on: their files stay until they end."""
    found = next((one for one in installed(data) if one.name == name), None)
    if found is None:
        raise NotFound(f"There is no engine build {name[:100]!r}.", hint="`headwater engine list` names them.")
    shutil.rmtree(data / FOLDER / found.name)
    return found


def chosen(settings: Settings) -> Native | None:
    """The build to run by the settings; None for the wheel. Raises BadInput, or EngineFailed where native is wanted
    and there is none."""
    if settings.llamacpp_build not in CHOICES:
        raise BadInput(f"llamacpp_build is {settings.llamacpp_build!r}.", hint=f"It is one of {', '.join(CHOICES)}.")
    if settings.llamacpp_build == "wheel":
        return None
    found = usable(settings.data)
    if found is None and settings.llamacpp_build == "native":
        raise EngineFailed("llamacpp_build is native, and there is no build for this processor.",
                           hint="Make one with `headwater engine build`.")
    return found


def refused(data: Path, one: Native) -> dict[str, dict[str, str]]:
    """Models the build could not run here and the wheel could: {model, why} by the sha256 of their file."""
    try:
        found = json.loads((data / FOLDER / one.name / REFUSED).read_text("utf-8"))
    except (OSError, ValueError):  # none, or half written: then it is tried again
        return {}
    return found if isinstance(found, dict) else {}


def refuse(data: Path, one: Native, digest: str, model: str, why: str) -> None:
    """Remember it, so that the model's next load does not begin with what failed. Gone with the build."""
    place = data / FOLDER / one.name
    known = list({**refused(data, one), digest: {"model": model, "why": why[-WHY_MAX:]}}.items())[-REFUSED_MAX:]
    part = place / f"{REFUSED}.{os.getpid()}"
    try:
        part.write_text(json.dumps(dict(known), indent=1), "utf-8")
        part.replace(place / REFUSED)
    except FileNotFoundError:  # the build was removed meanwhile
        return


def listed(settings: Settings, wheel: str, problem: str | None) -> list[dict[str, Any]]:
    """Everything llama.cpp can be run by here. problem: why the wheel's cannot."""
    runs, why = None, problem
    try:
        runs = chosen(settings)
    except EngineFailed as error:
        why = str(error)
    own = {"name": "llamacpp", "build": wheel, "usable": problem is None, "removable": False,
           "chosen": why is None and runs is None, "problem": why}
    return [own, *({**shown(one, runs), **_trouble(settings.data, one)} for one in installed(settings.data))]


def _trouble(data: Path, one: Native) -> dict[str, str]:
    if not (known := refused(data, one)):
        return {}
    last = list(known.values())[-1]
    return {"problem": f"{len(known)} {'model runs' if len(known) == 1 else 'models run'} on the wheel instead, "
                       f"the last is {last['model']}: {last['why']}"}


def shown(one: Native, runs: Native | None) -> dict[str, Any]:
    usable_here = one.processor == processor()
    return {"name": one.name, "build": one.says, "usable": usable_here, "chosen": one == runs, "removable": True,
            "bytes": one.bytes, "sha256": one.sha256, "compiler": one.compiler,
            "problem": None if usable_here else "it is compiled for another processor"}


# --- the worker process


def become(folder: Path, params: Any, key: str, more: Sequence[str] = ()) -> NoReturn:
    """Go on as a process of nothing but this build: two llama.cpp in one would share symbols. more: words for its
    command line beside those the parameters make."""
    said = json.dumps({"folder": str(folder), "argv": [*argv(params), *more]})
    os.execve(sys.executable, [sys.executable, "-m", __name__],
              {**os.environ, "HEADWATER_WORKER_KEY": key, "HEADWATER_NATIVE": said})


def argv(params: Any) -> list[str]:
    """llama-server's command line for an xllamacpp.CommonParams. The key is not in it."""
    said = ["--model", params.model.path, "--host", params.hostnames[0], "--port", params.port,
            "--parallel", params.n_parallel, "--ctx-size", params.n_ctx, "--threads", params.cpuparams.n_threads,
            "--threads-batch", params.cpuparams_batch.n_threads, "--batch-size", params.n_batch,
            "--ubatch-size", params.n_ubatch, "--threads-http", params.n_threads_http,
            "--cache-ram", params.cache_ram_mib, "--verbosity", params.verbosity, "--cors-origins", "", "--no-ui",
            "--slots", "--offline", "--jinja"]
    if params.chat_template:
        said += ["--chat-template", params.chat_template]
    if words := {name: json.loads(value) for name, value in params.default_template_kwargs.items()}:
        said += ["--chat-template-kwargs", json.dumps(words)]
    if params.slot_save_path:
        said += ["--slot-save-path", params.slot_save_path]
    if params.embedding:
        said += ["--embedding"]
    if params.embedding and int(params.pooling_type) == RANKS:
        said += ["--pooling", "rank"]
    if params.mmproj.path:
        said += ["--mmproj", params.mmproj.path, "--no-mmproj-offload"]
    for adapter in params.lora_adapters:
        said += ["--lora-scaled", f"{adapter.path}:{adapter.scale}"]
    if params.lora_init_without_apply:
        said += ["--lora-init-without-apply"]
    return [str(word) for word in said]


def main() -> None:
    key, said = _worker.take_key(), json.loads(os.environ.pop("HEADWATER_NATIVE"))
    _worker.die_with_parent()
    try:
        server = getattr(ctypes.CDLL(str(Path(said["folder"]) / LIBRARY)), ENTRY)
    except (OSError, AttributeError) as error:
        _worker.fail(f"the native build cannot be loaded: {error}. `headwater engine build` makes it anew.")
    words = [b"llama-server", *(os.fsencode(word) for word in said["argv"]), b"--api-key", key.encode()]
    server.restype = ctypes.c_int
    code = server(len(words), (ctypes.c_char_p * (len(words) + 1))(*words, None))
    sys.stderr.flush()
    os._exit(code if code else 0)


if __name__ == "__main__":
    main()
