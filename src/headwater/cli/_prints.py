"""Fingerprints of models wherever they are: in files here, in the hub, or in another hub read by ranges."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from headwater.cli._common import Common
from headwater.core.errors import BadInput, HeadwaterError, NotFound, Unavailable

if TYPE_CHECKING:
    import httpx

    from headwater.cli._hub import Door
    from headwater.trace.reading import ModelFile

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(@[\w./-]+)?\Z")


class CannotTrace(HeadwaterError):
    status, code = 400, "CannotTrace"


@dataclass(frozen=True)
class Print:
    """bytes_read, total_bytes: what the reading of it took, and how large the model is."""

    name: str
    body: bytes
    bytes_read: int
    total_bytes: int


def is_of_hub(model: str) -> bool:
    return not model.startswith("hf:") and not Path(model).expanduser().exists()


def print_of(model: str, common: Common) -> Print:
    """The fingerprint of whatever `model` names. Raises CorruptFile, NotFound, BadInput, Unavailable."""
    return _of_hub(model, common) if is_of_hub(model) else _made(model, common, *files_of(model, common))


def files_of(model: str, common: Common) -> tuple[dict[str, ModelFile], _Ranges | None]:
    """Of a model that is not the hub's; with what reads them, to be closed, where they are not here."""
    from headwater.trace.reading import folder_files

    if model.startswith("hf:"):
        return _remote(model.removeprefix("hf:"), common)
    return folder_files(Path(model).expanduser()), None


def _made(name: str, common: Common, files: dict[str, ModelFile], remote: _Ranges | None) -> Print:
    from headwater.cli._progress import Bar
    from headwater.trace.fingerprint import Fingerprint
    from headwater.trace.reading import read_apart

    try:
        with Bar(f"Reading {name}", quiet=common.json) as bar:
            body = read_apart(files, remote.read if remote else None,
                              tell=lambda done, total: bar(done, total or None, unit="layers"))
    finally:
        if remote is not None:
            remote.close()
    made = Fingerprint.from_bytes(body)
    return Print(name, body, remote.taken if remote else made.bytes_read, made.total_bytes)


# --- in the hub


def _of_hub(model: str, common: Common) -> Print:
    from headwater.cli._hub import path_of, reach
    from headwater.trace.fingerprint import Fingerprint

    with reach(common, work=True) as door:
        found = family_of(door, model, quiet=common.json)
        repo, revision = found["repo"], found["revision"]
        path = f"/api/headwater/lineage/{path_of(*repo.split('/'))}/fingerprint"
        with door.stream("GET", path, params={"revision": revision}) as answer:
            body = answer.read()
    made = Fingerprint.from_bytes(body)
    return Print(f"{repo}@{revision}", body, made.bytes_read, made.total_bytes)


def family_of(door: Door, model: str, *, quiet: bool) -> dict[str, Any]:
    """The lineage of a model of the hub, which is read first where it was not. Raises CannotTrace."""
    from headwater.cli._hub import path_of
    from headwater.cli._job import see_through

    if not _HUB_NAME.match(model):
        raise BadInput(f"{model!r} is no file or folder here, and no owner/name.",
                       hint="Name a model of the hub, a folder, a model file, or hf:owner/name.")
    name, _, revision = model.partition("@")
    path = f"/api/headwater/lineage/{path_of(*name.split('/'))}"
    asked = {"revision": revision or "main"}
    found = door.get(path, **asked)
    if found["status"]["state"] in ("not-yet-read", "waiting", "reading"):
        see_through(door, door.ask("POST", f"{path}/read", params=asked), quiet=quiet)
        found = door.get(path, **asked)
    status = found["status"]
    if status["state"] != "read":
        why = status["problem"] or ("there are no weights in it" if status["state"] == "no-weights" else "not read")
        raise CannotTrace(f"{found['repo']}@{found['revision'][:12]}: {status['state']}: {why}")
    return found


# --- in another hub


def _remote(name: str, common: Common) -> tuple[dict[str, ModelFile], _Ranges]:
    """Its files and a reader of their ranges. Asks HF_ENDPOINT, else the setting import_endpoint."""
    from headwater.core.settings import load
    from headwater.trace.reading import CannotRead, ModelFile, model_files

    settings = load(common.data)
    endpoint = (os.environ.get("HF_ENDPOINT") or settings.import_endpoint).rstrip("/")
    if urlsplit(endpoint).scheme not in ("http", "https"):
        raise BadInput(f"HF_ENDPOINT is {endpoint[:100]!r}.", hint="Write https://host.")
    full_name, _, revision = name.partition("@")
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", full_name):
        raise BadInput(f"{name[:100]!r} is no owner/name.", hint="Write hf:owner/name or hf:owner/name@revision.")
    ranges = _Ranges(endpoint, full_name, os.environ.get("HF_TOKEN") or settings.import_token)
    info = ranges.ask(f"/api/models/{full_name}/revision/{quote(revision or 'main', safe='')}?blobs=true").json()
    ranges.revision = str(info.get("sha") or revision or "main")
    files = {str(f["rfilename"]): ModelFile(int(f.get("size") or 0)) for f in info.get("siblings", [])}
    kept = model_files(files)
    if not kept:
        raise CannotRead(f"There are no weights in {full_name}.")
    return kept, ranges


class _Ranges:
    """Ranges of a repo's files at an endpoint. taken: bytes received so far."""

    def __init__(self, endpoint: str, repo: str, token: str):
        import httpx

        self._endpoint, self._repo, self.revision, self.taken = endpoint, repo, "main", 0
        self._token, self._client = token, httpx.Client(timeout=httpx.Timeout(30, read=120))
        self._urls: dict[str, str] = {}

    def close(self) -> None:
        self._client.close()

    def ask(self, path: str) -> httpx.Response:
        return self._get(self._endpoint + path, {})

    def read(self, path: str, start: int, stop: int) -> bytes:
        if stop <= start:
            return b""
        where = f"{self._endpoint}/{self._repo}/resolve/{quote(self.revision, safe='')}/{quote(path)}"
        # Where the bytes lie is asked once a file; a signed address goes stale, and then it is asked again.
        for url in (self._urls.get(path), where):
            if url is None:
                continue
            try:
                answer = self._get(url, {"range": f"bytes={start}-{stop - 1}", "accept-encoding": "identity"})
            except (Unavailable, NotFound):
                if url == where:
                    raise
                continue
            if answer.status_code != 206 and (start, stop) != (0, len(answer.content)):
                raise Unavailable(f"{urlsplit(self._endpoint).netloc} does not answer ranges of {path}.")
            self._urls[path] = str(answer.url)
            self.taken += len(answer.content)
            return answer.content
        raise AssertionError("the last address either answers or raises")

    def _get(self, url: str, headers: dict[str, str]) -> httpx.Response:
        import httpx

        for _ in range(6):
            own = urlsplit(url).netloc == urlsplit(self._endpoint).netloc
            sent = {**headers, **({"authorization": f"Bearer {self._token}"} if own and self._token else {})}
            try:
                answer = self._client.get(url, headers=sent)
            except httpx.HTTPError as error:
                raise Unavailable(f"{urlsplit(url).netloc}: {type(error).__name__}.") from None
            if not answer.is_redirect:
                break
            url = str(answer.url.join(answer.headers["location"]))
        if answer.status_code in (401, 403, 404):
            raise NotFound(f"{self._repo} is not at {urlsplit(self._endpoint).netloc}, or not for you to read.",
                           hint="Look at the name; HF_TOKEN opens private models.")
        if answer.status_code >= 300:
            raise Unavailable(f"{urlsplit(url).netloc} answers {answer.status_code}.")
        return answer
