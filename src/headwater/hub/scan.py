"""Mark files that can run code: pickles, archives of them, files named as what they are not, Python beside a model.

A file is looked at once, by its digest, in a child process with bounds on time and memory (weights/pickles.py does
the looking). Nothing is executed or unpickled, here or there. A scan that dies or runs out is itself a finding.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, get_args

from headwater.core.errors import CorruptFile, TooLarge, Unavailable
from headwater.core.types import Commit, Digest, Entry, EntryKind, Finding, Repo
from headwater.core.work import Progress, Work
from headwater.hub import Hub, browse
from headwater.weights import jsontext, pickles, sniff
from headwater.weights.read import HEADER_ENDINGS

SCAN_SECONDS = 60
"""CPU time of one scan; the clock is given twice as long."""
SCAN_MEMORY = 2 << 30
MAX_CONFIG = 2_000_000

_NOTHING = "Not a kind of file that runs code when it is loaded."
_LEVELS = ("safe", "notice", "suspicious", "dangerous")
_PLAIN = (".md", ".txt", ".json", ".jsonl", ".yaml", ".yml", ".toml", ".csv", ".tsv", ".py", ".ipynb", ".gitattributes",
          ".gitignore", ".parquet", ".arrow", ".png", ".jpg", ".jpeg", ".gif", ".svg", ".webp", ".pdf", ".mp4", ".wav",
          ".mp3", ".jinja", ".model", ".tiktoken", ".onnx", ".h5", ".msgpack", ".tflite")
"""Names of files that no loader unpickles, so their first bytes are not asked for."""


def scan_file(path: str | Path, repo_path: str) -> Finding:
    """What the file at `path` on this machine, called `repo_path` in its repo, could do when it is loaded."""
    with open(path, "rb") as file:
        if not pickles.wants_look(file.read(sniff.HEAD_BYTES), repo_path):
            return Finding(repo_path, "safe", _NOTHING)
    command = [sys.executable, "-I", "-m", "headwater.weights.pickles", os.fspath(path), repo_path,
               str(SCAN_MEMORY), str(SCAN_SECONDS)]
    environment = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "PYTHONUTF8": "1"}
    try:
        run = subprocess.run(command, env=environment, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                             stderr=subprocess.DEVNULL, timeout=2 * SCAN_SECONDS)
    except subprocess.TimeoutExpired:
        return _not_scanned(repo_path, f"it took longer than {2 * SCAN_SECONDS} s")
    return _answer(run.stdout, run.returncode, repo_path)


def _answer(out: bytes, code: int, repo_path: str) -> Finding:
    try:
        said = json.loads(out)
        level, reason = said["level"], str(said["reason"])
    except (ValueError, KeyError, TypeError):
        why = f"the scanner was stopped by signal {-code}" if code < 0 else "the scanner gave up"
        return _not_scanned(repo_path, f"{why}; it may take {SCAN_SECONDS} s and {SCAN_MEMORY >> 20} MiB")
    assert level in get_args(pickles.Level)
    return Finding(repo_path, level, reason)


def _not_scanned(repo_path: str, why: str) -> Finding:
    return Finding(repo_path, "suspicious", f"Could not be scanned: {why}.")


def scan_job(hub: Hub) -> Work:
    """The body of a "scan" job: payload {repo_id, revision}."""

    def work(payload: dict[str, Any], progress: Progress) -> dict[str, Any] | None:
        repo = hub.repos.get(payload["repo_id"])
        if repo is None:  # deleted since
            return None
        found = scan_revision(hub, repo, payload["revision"], progress)
        return {"files": len(found), "worst": worst(found)}

    return work


def scan_revision(hub: Hub, repo: Repo, revision: str, progress: Progress | None = None) -> list[Finding]:
    """Scan the files of a revision that have no finding yet, keep what is found, and answer `findings` of it."""
    commit = browse.resolve(hub, repo, revision)
    files = browse.files(hub, commit)
    known = _known(hub, files)
    new = (f for f in files if f.digest and f.path not in known and not _is_plain(f))
    todo: dict[Digest, Entry] = {f.digest: f for f in sorted(new, key=lambda f: _asks(f.path)) if f.digest}
    for done, (digest, file) in enumerate(todo.items()):
        if progress is not None:
            progress(done, len(todo), stage=f"looking at {file.path}", unit="files")
        try:
            hub.holdings.found(digest, _scan_entry(hub, file))
        except (FileNotFoundError, Unavailable):  # swept or lost: nobody can load what is gone
            continue
    if progress is not None:
        progress(len(todo), len(todo), unit="files")
    return findings(hub, commit, files)


def findings(hub: Hub, commit: Commit, files: list[Entry] | None = None) -> list[Finding]:
    """What is known of the files of a revision, by path: each file scanned, and remote code. Scans nothing.

    A finding is kept by digest; here it gets the path it has in this revision.
    files: browse.files of the commit, where the caller has them.
    """
    files = browse.files(hub, commit) if files is None else files
    answer = _known(hub, files)
    for notice in remote_code(hub, files):
        answer.setdefault(notice.path, notice)
    return [answer[path] for path in sorted(answer)]


def by_path(hub: Hub, entries: list[Entry]) -> dict[str, Finding]:
    """A finding for each of these files that needs no (more) scan: as `findings`, and those nothing runs as safe."""
    files = [entry for entry in entries if entry.kind is EntryKind.FILE]
    answer = {file.path: Finding(file.path, "safe", _NOTHING) for file in files if _is_plain(file)}
    answer |= _known(hub, files)
    return answer | {notice.path: notice for notice in remote_code(hub, files)}


def scanned(hub: Hub, files: list[Entry]) -> bool:
    """Whether every file that could run code when it is loaded has been looked at."""
    known = _known(hub, files)
    return all(f.path in known or _is_plain(f) for f in files)


def _known(hub: Hub, files: list[Entry]) -> dict[str, Finding]:
    """Findings that hold for these files, by path. One made under a name that asked for a lesser look does not."""
    found = hub.holdings.findings({f.digest for f in files if f.digest})
    return {f.path: Finding(f.path, found[f.digest].level, found[f.digest].reason) for f in files
            if f.digest in found and _asks(f.path) <= _asks(found[f.digest].path)}


def _asks(path: str) -> int:
    """How closely a file of this name is looked at: 0 by its first bytes, 1 for pickles, 2 for its header too."""
    lower = path.lower()
    return 2 if lower.endswith(HEADER_ENDINGS) else int(lower.endswith(pickles.PICKLE_ENDINGS))


def _is_plain(file: Entry) -> bool:
    return file.size == 0 or (not _asks(file.path) and file.path.lower().endswith(_PLAIN))


def worst(found: Iterable[Finding]) -> str:
    """The highest level among findings; "safe" where there are none."""
    return max((finding.level for finding in found), key=_LEVELS.index, default="safe")


def remote_code(hub: Hub, files: list[Entry]) -> list[Finding]:
    """A notice for each Python file that `trust_remote_code=True` would run: those in a folder with a *.json whose
    auto_map (or custom_pipelines) names code, and those in a custom_generate folder."""
    by_folder: dict[str, list[Entry]] = {}
    for file in files:
        by_folder.setdefault(file.path.rpartition("/")[0], []).append(file)
    found = []
    for folder, inside in by_folder.items():
        code = [file for file in inside if file.path.endswith(".py")]
        if not code:
            continue
        asks = next((f.path for f in inside if _asks_for_code(hub, f)), None)
        if asks is None and folder.rpartition("/")[2] == "custom_generate":
            asks = f"{folder}/"
        found += [Finding(f.path, "notice", f"Runs when the model is loaded with trust_remote_code=True ({asks}).")
                  for f in code if asks]
    return found


def _asks_for_code(hub: Hub, file: Entry) -> bool:
    """Whether this is a configuration that points loaders at Python files."""
    name = file.path.rpartition("/")[2]
    if not name.endswith("config.json") and name != "model_index.json":
        return False
    try:
        config: Any = jsontext.parse(browse.read_small(hub, file, MAX_CONFIG), name)
    except (CorruptFile, TooLarge, Unavailable):
        return False
    if not isinstance(config, dict):
        return False
    if name == "model_index.json":  # diffusers: [module, class], the module a file of the repo
        return any(isinstance(v, list) and v and isinstance(v[0], str) and v[0] not in ("diffusers", "transformers", "")
                   for v in config.values())
    return bool(config.get("auto_map") or config.get("custom_pipelines") or config.get("trust_remote_code"))


def _scan_entry(hub: Hub, file: Entry) -> Finding:
    if not _asks(file.path):
        head = b"".join(browse.read(hub, file, 0, min(file.size, sniff.HEAD_BYTES)))
        if not pickles.wants_look(head, file.path):
            return Finding(file.path, "safe", _NOTHING)
    with _local(hub, file) as path:
        return scan_file(path, file.path)


@contextmanager
def _local(hub: Hub, file: Entry) -> Iterator[Path]:
    """The file's bytes as a local file: the blob itself where the store has files, else a copy for the while."""
    assert file.digest is not None
    path = hub.blobs.path(file.digest)
    if path is not None:
        yield path
        return
    with tempfile.NamedTemporaryFile(dir=hub.tmp, prefix="scan-") as copy:
        for chunk in browse.read(hub, file):
            copy.write(chunk)
        copy.flush()
        yield Path(copy.name)
