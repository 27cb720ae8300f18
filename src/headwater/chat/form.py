"""The fastest faithful form of a model for this processor: which one was found, and where it lies.

`<data>/forms/<sha256 of the file in the repo>/` has verdict.json and the form that won. Both are derived: the sweep
removes them when the repo's file goes, and a lost form is written anew. How one is found is form_probe.py's.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from headwater.chat.admission import Estimate
from headwater.chat.types import ChatModel
from headwater.core.errors import BadInput, EngineFailed
from headwater.core.processor import processor
from headwater.core.settings import Settings
from headwater.core.types import Digest, Snapshot

FOLDER, VERDICT = "forms", "verdict.json"
VERDICT_MAX = 1 << 20


@dataclass(frozen=True)
class Form:
    """The weights of a model stored otherwise. batch: prompt tokens a worker may read at a time."""

    name: str
    file: Path
    bytes: int
    batch: int = 0

    def environ(self) -> dict[str, str]:
        return {"HEADWATER_WORKER_FORM": str(self.file), "HEADWATER_WORKER_BATCH": str(self.batch)}


def digest_of(model: ChatModel, snapshot: Snapshot) -> Digest | None:
    """sha256 of the one file that holds the weights; None for a model in parts."""
    if "-of-" in model.path:
        return None
    return next((entry.digest for entry in snapshot.files if entry.path == model.path), None)


def folder_of(settings: Settings, digest: Digest) -> Path:
    return settings.data / FOLDER / digest


def verdicts(settings: Settings, digest: Digest) -> dict[str, dict[str, Any]]:
    """What was found, by place(); empty where nothing was, or the file cannot be read."""
    path = folder_of(settings, digest) / VERDICT
    try:
        with path.open("rb") as file:
            found = json.loads(file.read(VERDICT_MAX))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def place(build: str) -> str:
    """A verdict holds for one build on one processor."""
    return f"{processor()} {build}"


def decide(settings: Settings, digest: Digest, build: str, verdict: dict[str, Any]) -> None:
    folder = folder_of(settings, digest)
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{VERDICT}.{os.getpid()}"
    part.write_text(json.dumps({**verdicts(settings, digest), place(build): verdict}, indent=1), "utf-8")
    part.replace(folder / VERDICT)


def forget(settings: Settings, digest: Digest) -> bool:
    """Back to the form of the repo on every processor; False if nothing was found before."""
    import shutil

    there = (folder_of(settings, digest) / VERDICT).is_file()
    shutil.rmtree(folder_of(settings, digest), ignore_errors=True)
    return there


def chosen(settings: Settings, model: ChatModel, snapshot: Snapshot, build: str) -> Form | None:
    """The form that won here, whether its file is there or not; None where the repo's own did, or none was tried."""
    digest = digest_of(model, snapshot)
    found = verdicts(settings, digest).get(place(build)) if digest else None
    if not isinstance(found, dict) or not isinstance(name := found.get("form"), str) or not name.isidentifier():
        return None
    size, batch = (value if type(value) is int else 0 for value in (found.get("bytes"), found.get("batch")))
    return Form(name, folder_of(settings, digest or "") / f"{name}.gguf", size, batch)


def grown(estimate: Estimate, one: Form | None, snapshot: Snapshot, model: ChatModel) -> Estimate:
    """The estimate of the repo's own file, for the form instead."""
    own = next((entry.size for entry in snapshot.files if entry.path == model.path), 0)
    return replace(estimate, fixed=max(0, estimate.fixed + one.bytes - own)) if one else estimate


def says(one: Form | None) -> str:
    """What a receipt adds to the name of the build."""
    return f", weights as {one.name}" if one else ""


def write(settings: Settings, model: ChatModel, snapshot: Snapshot, form: Form, tell: Callable[[int], None]) -> None:
    """Write a form's file, in a process with the limits of a worker. tell: called with the bytes written so far, may
    raise. Raises EngineFailed. Blocking."""
    form.file.parent.mkdir(parents=True, exist_ok=True)
    for part in form.file.parent.glob(f"{form.name}.gguf.*.part"):  # of a process that was killed
        part.unlink(missing_ok=True)
    argv = _converter(model)(Path(snapshot.folder) / model.path, form.file, form.name)
    child = subprocess.Popen(_confined(settings, argv), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.PIPE, env=_environ())
    try:
        for done in _numbers(child):
            tell(done)
        said = child.stderr.read(2000).decode("utf-8", "replace").strip()
        if child.wait():
            raise EngineFailed(said.splitlines()[-1] if said else f"{form.name} could not be written.")
    finally:
        if child.poll() is None:
            child.kill()
            child.wait()
        child.stdout.close()
        child.stderr.close()


def _converter(model: ChatModel) -> Callable[[Path, Path, str], list[str]]:
    found = getattr(model.engine, "form_command", None)
    if found is None:
        raise BadInput(f"The engine {model.engine.name} runs a model as it is stored.",
                       hint="Forms are for GGUF files, which run with llamacpp.")
    return found


def _confined(settings: Settings, argv: list[str]) -> list[str]:
    from headwater.chat.process import memory

    confine = str(Path(__file__).with_name("confine.py"))
    return [sys.executable, "-I", "-S", confine, str(os.getpid()), str(memory(settings)), *argv]


def _environ() -> dict[str, str]:
    from headwater.chat.process import INHERITED

    return {name: os.environ[name] for name in INHERITED if name in os.environ}


def _numbers(child: subprocess.Popen[bytes]) -> Iterator[int]:
    for line in child.stdout:
        if line.strip().isdigit():
            yield int(line)
