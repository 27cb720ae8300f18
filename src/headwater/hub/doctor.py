"""Is this hub well, and would this model run: facts, and the next step where one is needed. Changes nothing.

What only the composition root can see (engines, the database, the shelves) is added by api/own/doctor.py.
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

from headwater.core.errors import HeadwaterError
from headwater.core.types import Commit, JobState, Repo
from headwater.hub import Hub
from headwater.hub.accounts import SESSION_PREFIX, is_open
from headwater.hub.browse import files
from headwater.hub.descent import kept_as_differences
from headwater.hub.facts import facts
from headwater.hub.scan import findings, scanned
from headwater.hub.speech import speech

LOW_DISK = 5_000_000_000
EXTRAS = {"postgres": ("psycopg", "records in PostgreSQL"), "torch": ("torch", "chat over safetensors")}


@dataclass(frozen=True)
class Check:
    """state: ok, note (works, worth knowing) or bad (something does not work). hint: the next step."""

    name: str
    state: Literal["ok", "note", "bad"]
    says: str
    hint: str | None = None


def examine_hub(hub: Hub) -> list[Check]:
    return [_tried(name, check, hub) for name, check in (
        ("data folder", _data), ("free disk", _disk), ("blobs", _blobs), ("accounts", _accounts), ("jobs", _jobs),
        ("extras", _extras))]


def _tried(name: str, check: Callable[[Hub], Check], hub: Hub) -> Check:
    try:
        return check(hub)
    except HeadwaterError as error:
        return Check(name, "bad", error.message, error.hint)
    except Exception as error:  # a doctor who faints over one finding is of no use; any store may fail in any way
        return Check(name, "bad", f"{type(error).__name__}: {error}")


def _data(hub: Hub) -> Check:
    with tempfile.NamedTemporaryFile(dir=hub.tmp, prefix="in-"):
        return Check("data folder", "ok", f"{hub.settings.data} can be written.")


def _disk(hub: Hub) -> Check:
    disk = shutil.disk_usage(hub.settings.data)
    says = f"{disk.free:,} of {disk.total:,} bytes are free."
    if disk.free < LOW_DISK:
        return Check("free disk", "bad", says, "Free space, or run `headwater sweep` after deleting repos.")
    return Check("free disk", "ok", says)


def _blobs(hub: Hub) -> Check:
    """Keep, read and forget a few bytes nobody has."""
    where = hub.settings.blobs_url or str(hub.settings.data / "blobs")
    probe = secrets.token_bytes(64)
    digest = hashlib.sha256(probe).hexdigest()
    with tempfile.NamedTemporaryFile(dir=hub.tmp, prefix="in-", delete=False) as file:
        file.write(probe)
    try:
        hub.blobs.adopt(Path(file.name), digest)
        good = b"".join(hub.blobs.read(digest)) == probe
    finally:
        Path(file.name).unlink(missing_ok=True)
        hub.blobs.delete(digest)
    if not good:
        return Check("blobs", "bad", f"{where} gave back other bytes than it was given.", "Look at the disk's health.")
    damaged = hub.settings.data / "damaged"
    if damaged.is_dir() and (count := sum(1 for _ in damaged.iterdir())):
        return Check("blobs", "bad", f"{where} works; {count} damaged files were set aside in {damaged}.",
                     "Upload those files again, or restore a backup.")
    return Check("blobs", "ok", f"{where} keeps and gives back bytes.{_saved(hub)}")


def _saved(hub: Hub) -> str:
    """What is kept as a difference, in a sentence; nothing if nothing is."""
    kept = kept_as_differences(hub)
    if not kept.files:
        return ""
    return f" {kept.files} files of {kept.whole:,} bytes are kept as differences to others, in {kept.packed:,} bytes."


def _accounts(hub: Hub) -> Check:
    people = [a for a in hub.accounts.all() if not a.is_org]
    tokens = sum(not t.name.startswith(SESSION_PREFIX) for a in people for t in hub.accounts.tokens(a))
    if is_open(hub):
        return Check("accounts", "note", "Open: whoever reaches this hub on this machine is its owner, and nobody else "
                     "can reach it.", "`headwater user create NAME --admin` closes it.")
    return Check("accounts", "ok", f"Closed: {len(people)} users, {tokens} tokens.")


def _jobs(hub: Hub) -> Check:
    count = {state: len(hub.jobs.list(state=state.value, limit=1000)) for state in (JobState.QUEUED, JobState.RUNNING)}
    failed = [j for j in hub.jobs.list(state=JobState.FAILED.value, limit=1000)
              if (j.finished_at or 0) > hub.now() - 86_400]
    says = f"{count[JobState.RUNNING]} running, {count[JobState.QUEUED]} waiting, {len(failed)} failed in the last day."
    if failed:
        return Check("jobs", "note", f"{says} The last: {failed[0].title}: {failed[0].error}", "`headwater jobs`")
    return Check("jobs", "ok", says)


def _extras(hub: Hub) -> Check:
    missing = {name: what for name, (module, what) in EXTRAS.items() if find_spec(module) is None}
    if missing:
        named = "; ".join(f"[{name}] for {what}" for name, what in missing.items())
        return Check("extras", "note", f"Not installed: {named}.",
                     f"pip install 'headwater[{','.join(missing)}]'")
    return Check("extras", "ok", "All optional extras are installed.")


def examine_model(hub: Hub, repo: Repo, commit: Commit) -> tuple[list[Check], dict[str, Any]]:
    """(checks, what the headers say) of a revision."""
    there = files(hub, commit)
    lost = [e.path for e in there if hub.blobs.size(e.digest) != e.size]
    size = f"{len(there)} files, {sum(e.size for e in there):,} bytes"
    checks = [Check("files", "bad", f"{size}; the bytes of {', '.join(lost[:5])} are gone or damaged.",
                    "Upload them again, or restore a backup.") if lost else Check("files", "ok", f"{size}.")]
    found = facts(hub, repo, commit)
    said = found.description
    checks += [Check("header", "bad", f"{path}: {why}") for path, why in found.problems]
    if found.model is None:
        checks.append(Check("weights", "note", "No safetensors or GGUF file to read a header from."))
    else:
        checks.append(Check("weights", "ok", f"{said.format}, {said.architecture or 'architecture not said'}, "
                                             f"{len(found.model.tensors):,} tensors in {len(found.headers)} files."))
    spoken = speech(hub, repo, commit)
    if spoken and spoken.template:
        checks.append(Check("template", "ok", f"Chat template from {spoken.template.source}."))
    elif not spoken:
        checks.append(Check("template", "note", "No chat template: the engine falls back on one of its own."))
    checks += [Check("template", remark.state, remark.says) for remark in (spoken.remarks if spoken else ())]
    risky = [f for f in findings(hub, commit, there) if f.level != "safe"]
    checks += [Check("scan", "bad" if f.level == "dangerous" else "note", f"{f.path}: {f.level}: {f.reason}")
               for f in risky]
    if not risky:
        done = scanned(hub, there)
        checks.append(Check("scan", "ok" if done else "note",
                            "Nothing that runs code." if done else "Not scanned yet."))
    told = {"parameters": said.parameters, "architecture": said.architecture, "format": said.format,
            "dtype": said.dtype, "quantisation": said.quantisation, "context_length": said.context_length,
            "tokenizer": said.tokenizer, "licence": said.licence}
    return checks, told
