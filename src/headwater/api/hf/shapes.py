"""Our nouns as the JSON the Hugging Face clients read."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from starlette.convertors import StringConvertor, register_url_convertor

from headwater.core.types import Account, Commit, Entry, EntryKind, Finding, Kind, Ref, Repo

# The size of a git-lfs pointer file: three lines, of which only the size's digits vary.
_POINTER_BYTES = len("version https://git-lfs.github.com/spec/v1\noid sha256:\nsize \n") + 64


class Kinds(StrEnum):
    """The plural in URLs."""

    MODELS = "models"
    DATASETS = "datasets"

    @property
    def kind(self) -> Kind:
        return Kind(self.value[:-1])


class _OnlyKinds(StringConvertor):
    """`{kinds:kinds}` in a route matches no other plural, so /api/spaces/… goes on to where it is refused."""

    regex = "|".join(Kinds)


register_url_convertor("kinds", _OnlyKinds())


def kind_of(text: str | None) -> Kind | None:
    """A body's `type`: model when absent; None for a kind Headwater does not keep."""
    return Kind(text or "model") if text in (None, "model", "dataset") else None


def when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def repo_url(base: str, repo: Repo) -> str:
    return f"{base}/{'datasets/' if repo.kind is Kind.DATASET else ''}{repo.full_name}"


def pointer(entry: Entry) -> dict[str, Any]:
    return {"oid": entry.digest, "sha256": entry.digest, "size": entry.size,
            "pointerSize": _POINTER_BYTES + len(str(entry.size))}


def tree_item(entry: Entry, last: Commit | None = None, finding: Finding | None = None,
              expand: bool = False) -> dict[str, Any]:
    item: dict[str, Any] = {"type": entry.kind.value, "oid": entry.oid, "size": entry.size, "path": entry.path}
    if entry.lfs:
        item["lfs"] = pointer(entry)
    if last:
        item["lastCommit"] = {"id": last.oid, "title": last.title, "date": when(last.created_at)}
    if expand and entry.kind is EntryKind.FILE:
        item["securityFileStatus"] = security(finding)
    return item


def security(finding: Finding | None) -> dict[str, Any]:
    """A scan as securityFileStatus. Not yet scanned is 'queued', never 'safe'."""
    status = {None: "queued", "safe": "safe", "notice": "caution", "suspicious": "suspicious", "dangerous": "unsafe"}[
        finding.level if finding else None]
    scan = None if finding is None else {"status": status, "message": finding.reason, "pickleImports": []}
    return {"status": status, "avScan": None, "pickleImportScan": scan}


def sibling(entry: Entry, blobs: bool) -> dict[str, Any]:
    item: dict[str, Any] = {"rfilename": entry.path}
    if blobs:
        item |= {"size": entry.size, "blobId": entry.oid}
        if entry.lfs:
            item["lfs"] = pointer(entry)
    return item


def repo_summary(repo: Repo) -> dict[str, Any]:
    """What a list says of a repo."""
    card = repo.card.data
    item: dict[str, Any] = {
        "_id": f"{repo.id:024x}", "id": repo.full_name, "author": repo.owner, "sha": repo.head,
        "private": repo.private, "gated": False, "disabled": False, "likes": repo.likes, "downloads": repo.downloads,
        "trendingScore": 0, "tags": list(repo.card.tags), "createdAt": when(repo.created_at),
        "lastModified": when(repo.updated_at),
    }
    if repo.kind is Kind.MODEL:
        item["modelId"] = repo.full_name
        if isinstance(card.get("pipeline_tag"), str):
            item["pipeline_tag"] = card["pipeline_tag"]
        library = card.get("library_name") or next(
            (t for t in ("transformers", "diffusers") if t in repo.card.tags), None)
        if isinstance(library, str):
            item["library_name"] = library
    else:
        item["description"] = card.get("description") or card.get("pretty_name")
    return item


def commit_item(commit: Commit, formatted: bool) -> dict[str, Any]:
    item: dict[str, Any] = {"id": commit.oid, "title": commit.title, "message": commit.message,
                            "authors": [{"user": commit.author, "avatar": None}], "date": when(commit.created_at)}
    if formatted:
        from html import escape

        item["formatted"] = {"title": escape(commit.title), "message": escape(commit.message)}
    return item


def ref_item(ref: Ref) -> dict[str, Any]:
    return {"name": ref.short, "ref": ref.name, "targetCommit": ref.commit}


def account_item(account: Account, avatar: str = "") -> dict[str, Any]:
    return {"name": account.name, "user": account.name, "fullname": account.fullname or account.name,
            "avatarUrl": avatar, "type": "org" if account.is_org else "user", "isPro": False}
