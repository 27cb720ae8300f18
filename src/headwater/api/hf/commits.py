"""Write: validate a card, say how files will travel, and commit."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import pathspec
from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.concurrency import run_in_threadpool

from headwater.api.deps import ActorDep, HubDep, base_url, segment
from headwater.api.hf.shapes import Kinds, repo_url
from headwater.core.errors import BadInput, NotBuilt, TooLarge
from headwater.core.types import Access, Actor, EntryKind, Repo, Staged
from headwater.hub import Hub, browse
from headwater.hub.access import find_repo
from headwater.hub.card import parse_front, split_card
from headwater.hub.commit import Add, Change, Delete, commit, drop, looks_binary
from headwater.hub.intake import stage
from headwater.hub.names import check_path
from headwater.hub.uploads import check_digest

router = APIRouter(tags=["hub: commits"])
MAX_CHANGES = 50_000
MAX_TITLE, MAX_MESSAGE = 500, 65_536
# Lines of a .gitignore and characters in one.
MAX_IGNORES, MAX_IGNORE_LENGTH = 2000, 1024


class CardBody(BaseModel):
    content: str = Field(max_length=2_000_000)
    repoType: str = "model"


class PreuploadFile(BaseModel):
    path: str
    size: int = Field(ge=0)
    sample: str = Field(default="", max_length=10_000)
    sha: str | None = None


class PreuploadBody(BaseModel):
    files: list[PreuploadFile] = Field(max_length=10_000)
    gitIgnore: str | None = None
    gitAttributes: str | None = None


@router.post("/api/validate-yaml")
def validate_yaml(body: CardBody) -> JSONResponse:
    """Always an object with errors and warnings: clients read both before they look at the status."""
    front = split_card(body.content)[0]
    errors, warnings = [], []
    try:
        data = parse_front(front)
        if not data:
            warnings.append({"message": "empty or missing yaml metadata in repo card"})
        errors = [{"message": message} for message in _card_errors(data)]
    except ValueError as error:
        errors.append({"message": str(error)})
    return JSONResponse({"errors": errors, "warnings": warnings}, 400 if errors else 200)


@router.post("/api/{kinds:kinds}/{owner}/{name}/preupload/{revision}")
def preupload(kinds: Kinds, owner: str, name: str, revision: str, body: PreuploadBody, hub: HubDep, actor: ActorDep,
              create_pr: bool = False) -> dict[str, Any]:
    repo = find_repo(hub, actor, kinds.kind, f"{owner}/{name}", Access.WRITE)
    _no_pull_requests(create_pr)
    head = browse.resolve(hub, repo, segment(revision))
    ignored = _ignores(body.gitIgnore)
    for file in body.files:
        check_path(file.path)
    known = browse.entries(hub, head, [file.path for file in body.files])
    answer = []
    for file in body.files:
        there = known.get(file.path)
        if there and there.kind is not EntryKind.FILE:
            there = None
        answer.append({"path": file.path, "uploadMode": _mode(hub, file), "shouldIgnore": ignored(file.path),
                       "oid": there and (there.digest if there.lfs else there.oid)})
    return {"files": answer, "commitOid": head.oid}


@router.post("/api/{kinds:kinds}/{owner}/{name}/commit/{revision}")
async def post_commit(kinds: Kinds, owner: str, name: str, revision: str, request: Request, hub: HubDep,
                      actor: ActorDep, create_pr: Annotated[str, Query()] = "",
                      hot_reload: Annotated[str, Query()] = "") -> dict[str, Any]:
    repo = await run_in_threadpool(find_repo, hub, actor, kinds.kind, f"{owner}/{name}", Access.WRITE)
    _no_pull_requests(create_pr in ("1", "true"))
    body = _Body(hub)
    try:
        async for line in _lines(request, hub.settings.regular_max_bytes * 2 + 100_000):
            await run_in_threadpool(body.read, line)
        made = await run_in_threadpool(_commit, hub, actor, repo, segment(revision), body)
    except BaseException:
        drop(body.staged)
        raise
    url = f"{repo_url(base_url(request), repo)}/commit/{made.oid}"
    return {"success": True, "commitOid": made.oid, "commitUrl": url, "hookOutput": ""}


def _commit(hub: Hub, actor: Actor, repo: Repo, branch: str, body: _Body) -> Any:
    if body.title is None:
        raise BadInput("The commit has no header.", hint='Line one is {"key": "header", "value": {"summary": …}}.')
    return commit(hub, actor, repo, branch, body.changes, title=body.title, message=body.message, parent=body.parent)


class _Body:
    """The lines of a commit as they come. Small files go to tmp at once, so memory holds one line at a time."""

    def __init__(self, hub: Hub):
        self._hub = hub
        self.title: str | None = None
        self.message, self.parent = "", None
        self.changes: list[Change] = []
        self.staged: list[Staged] = []

    def read(self, line: bytes) -> None:
        try:
            item = json.loads(line)
            key, value = item["key"], item["value"]
            if not isinstance(value, dict):
                raise TypeError
        except (ValueError, TypeError, KeyError, RecursionError):
            raise BadInput('A line of the commit is not {"key": …, "value": {…}}.') from None
        take = {"header": self._header, "file": self._file, "lfsFile": self._lfs, "deletedFile": self._deleted,
                "deletedFolder": self._deleted_folder}.get(key)
        if take is None:
            raise BadInput(f"A commit has no {str(key)[:50]!r}.")
        if len(self.changes) >= MAX_CHANGES:
            raise TooLarge(f"More than {MAX_CHANGES:,} changes in one commit.", hint="Split it.")
        take(value)

    def _header(self, value: dict) -> None:
        self.title = _text(value, "summary").strip()[:MAX_TITLE] or "Commit"
        self.message = _text(value, "description", "")[:MAX_MESSAGE]
        self.parent = value.get("parentCommit") or None
        if self.parent is not None and (not isinstance(self.parent, str) or len(self.parent) != 40):
            raise BadInput("parentCommit is not a full commit id.")

    def _file(self, value: dict) -> None:
        path, content = check_path(_text(value, "path")), _text(value, "content")
        if value.get("encoding", "base64") == "base64":
            try:
                data = base64.b64decode(content, validate=True)
            except ValueError:  # binascii's own is one, and text beyond ASCII raises the plain one
                raise BadInput(f"The content of {path!r} is not base64.") from None
        else:
            data = content.encode()
        if len(data) > self._hub.settings.regular_max_bytes:
            raise TooLarge(f"{path!r} has {len(data):,} bytes; more than {self._hub.settings.regular_max_bytes:,} "
                           "travel by LFS or Xet.")
        staged = stage(self._hub, [data], limit=len(data), git_size=len(data))
        self.staged.append(staged)
        self.changes.append(Add(path, staged=staged))

    def _lfs(self, value: dict) -> None:
        if value.get("algo", "sha256") != "sha256":
            raise BadInput("Only sha256 names an LFS file.")
        size = value.get("size")
        if size is not None and (type(size) is not int or size < 0):
            raise BadInput("The size of an LFS file is a number of bytes.")
        self.changes.append(Add(check_path(_text(value, "path")), digest=check_digest(value.get("oid")), size=size))

    def _deleted(self, value: dict) -> None:
        self.changes.append(Delete(check_path(_text(value, "path"))))

    def _deleted_folder(self, value: dict) -> None:
        self.changes.append(Delete(check_path(_text(value, "path").strip("/")), is_folder=True))


async def _lines(request: Request, limit: int) -> AsyncIterator[bytes]:
    """The body's lines; none longer than `limit` bytes is held."""
    buffer = bytearray()
    async for chunk in request.stream():
        buffer += chunk
        if b"\n" in chunk:  # asked of the chunk: splitting all of a long line again and again takes forever
            for line in _whole_lines(buffer):
                yield line
        if len(buffer) > limit:
            raise TooLarge(f"A line of the commit is longer than {limit:,} bytes.",
                           hint="Large files travel by LFS or Xet.")
    if buffer.strip():
        yield bytes(buffer)


def _whole_lines(buffer: bytearray) -> Iterator[bytes]:
    """Take the finished lines out of the buffer."""
    *lines, rest = buffer.split(b"\n")
    if lines:
        buffer[:] = rest
    yield from (bytes(line) for line in lines if line.strip())


def _text(value: dict, name: str, default: str | None = None) -> str:
    text = value.get(name, default)
    if not isinstance(text, str):
        raise BadInput(f"A line of the commit lacks {name!r}.")
    return text


def _mode(hub: Hub, file: PreuploadFile) -> str:
    try:
        sample = base64.b64decode(file.sample, validate=True)
    except ValueError:  # binascii's own is one, and text beyond ASCII raises the plain one
        raise BadInput(f"The sample of {file.path[:200]!r} is not base64.") from None
    if file.size == 0:
        return "regular"
    return "lfs" if file.size > hub.settings.regular_max_bytes or looks_binary(sample) else "regular"


def _ignores(text: str | None) -> Any:
    lines = (text or "").splitlines()
    if len(lines) > MAX_IGNORES or any(len(x) > MAX_IGNORE_LENGTH for x in lines):
        raise BadInput(f"The .gitignore is too large: at most {MAX_IGNORES} lines of {MAX_IGNORE_LENGTH} characters.")
    try:
        # Python's own expressions backtrack: 400 lines such as *a*a*a*b held the process for minutes.
        return pathspec.GitIgnoreSpec.from_lines(lines, backend="re2").match_file
    except ValueError as error:
        raise BadInput(f"The .gitignore cannot be read: {error}.") from None


def _card_errors(data: dict[str, Any]) -> list[str]:
    """What would be misread later: fields of the wrong type."""
    errors = []
    for name in ("license", "library_name", "pipeline_tag", "license_name", "base_model_relation"):
        if not isinstance(data.get(name, ""), str | list if name == "license" else str):
            errors.append(f'"{name}" must be a string')
    for name in ("tags", "language", "datasets", "base_model", "metrics"):
        value = data.get(name, [])
        if value is not None and not isinstance(value, str) and not (
                isinstance(value, list) and all(isinstance(v, str) for v in value)):
            errors.append(f'"{name}" must be a string or a list of strings')
    if not isinstance(data.get("model-index", []), list):
        errors.append('"model-index" must be a list')
    return errors


def _no_pull_requests(asked: bool) -> None:
    if asked:
        raise NotBuilt("Pull requests are not built.", hint="Commit to a branch of your own instead.")


