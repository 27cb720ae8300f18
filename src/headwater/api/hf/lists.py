"""What there is: lists of repos with search and paging, and one repo's information."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response

from headwater.api.deps import ActorDep, HubDep, base_url, segment
from headwater.api.hf.shapes import Kinds, repo_summary, security, sibling
from headwater.core.errors import BadInput, CorruptFile, EntryNotFound, NotBuilt, RepoNotFound, TooLarge
from headwater.core.types import Actor, Commit, Kind, Repo, Search
from headwater.hub import Hub
from headwater.hub.access import find_repo
from headwater.hub.browse import file, files, read_small, resolve
from headwater.hub.facts import gguf_info, safetensors_metadata
from headwater.hub.scan import by_path
from headwater.weights import jsontext

router = APIRouter(tags=["hub: lists"])

_SORTS = {"lastModified": "updated", "last_modified": "updated", "updatedAt": "updated", "createdAt": "created",
          "created_at": "created", "likes": "likes", "downloads": "downloads", "trendingScore": "likes",
          "trending_score": "likes", "likes7d": "likes", "author": "name", "id": "name", "name": "name"}
Words = Annotated[list[str] | None, Query()]
Text = Annotated[str | None, Query(max_length=500)]
_NOT_BUILT = {"apps", "inference", "inference_provider", "num_parameters", "emissions_thresholds"}
# One repo's information without `expand` holds these beside the summary; a list holds them when asked.
_INFO = ("siblings", "cardData", "config", "safetensors", "gguf", "usedStorage", "spaces")


@router.get("/api/{kinds:kinds}")
def list_repos(kinds: Kinds, request: Request, response: Response, hub: HubDep, actor: ActorDep,
               search: Words = None, author: Text = None, filter: Words = None, pipeline_tag: Text = None,
               gated: bool | None = None, sort: Text = None, direction: int = -1,
               limit: Annotated[int, Query(ge=1)] = 100, full: bool = False, cardData: bool = False,
               config: bool = False, expand: Words = None, cursor: Text = None) -> list[dict[str, Any]]:
    _refuse_unknown(request)
    if gated:
        return []  # nothing here is: a repo is public or private
    if sort is not None and sort not in _SORTS:
        raise BadInput(f"Cannot sort by {sort[:50]!r}.", hint=f"Sort by one of {', '.join(sorted(_SORTS))}.")
    tags = tuple(tag for word in filter or [] for tag in word.split(",")) + ((pipeline_tag,) if pipeline_tag else ())
    order = _SORTS[sort or "trendingScore"]
    page = hub.repos.search(Search(
        kinds.kind, actor, text=" ".join(search or ()) or None, owner=author, tags=tags, sort=order,
        descending=order != "name" and direction < 0, limit=min(limit, 1000), after=cursor))
    if page.next:
        query = [(k, v) for k, v in request.query_params.multi_items() if k != "cursor"] + [("cursor", page.next)]
        response.headers["Link"] = f'<{base_url(request)}/api/{kinds}?{urlencode(query)}>; rel="next"'
    wanted = set(_words(expand)) or {name for name, on in (
        ("siblings", full), ("cardData", full or cardData), ("config", config)) if on}
    return [_item(hub, repo, None, wanted) for repo in page.repos]


@router.get("/api/{kinds:kinds}/{owner}/{name}")
def info(kinds: Kinds, owner: str, name: str, hub: HubDep, actor: ActorDep, blobs: bool = False,
         securityStatus: bool = False, expand: Words = None) -> dict[str, Any]:
    return _info(hub, actor, kinds, f"{owner}/{name}", "main", blobs, securityStatus, _words(expand))


@router.get("/api/{kinds:kinds}/{owner}/{name}/revision/{revision}")
def info_at(kinds: Kinds, owner: str, name: str, revision: str, hub: HubDep, actor: ActorDep, blobs: bool = False,
            securityStatus: bool = False, expand: Words = None) -> dict[str, Any]:
    return _info(hub, actor, kinds, f"{owner}/{name}", segment(revision), blobs, securityStatus, _words(expand))


@router.get("/api/{kinds:kinds}/{name}")
def info_bare(kinds: Kinds, name: str) -> dict[str, Any]:
    raise RepoNotFound(f"No {kinds.kind} {name!r} here.", hint="Every repo has an owner: write owner/name.")


@router.get("/api/models/{owner}/{name}/safetensors-metadata/{path:path}")
def safetensors_header(owner: str, name: str, path: str, hub: HubDep, actor: ActorDep,
                       revision: str = "main") -> dict[str, Any]:
    repo = find_repo(hub, actor, Kind.MODEL, f"{owner}/{name}")
    return safetensors_metadata(hub, repo, resolve(hub, repo, revision), segment(path))


def _refuse_unknown(request: Request) -> None:
    """A filter that would be dropped in silence would answer with what was not asked for."""
    if found := sorted(request.query_params.keys() & _NOT_BUILT):
        raise NotBuilt(f"Lists cannot be filtered by {', '.join(found)}.", hint="Use filter, search, author or sort.")


def _info(hub: Hub, actor: Actor, kinds: Kinds, full_name: str, revision: str, blobs: bool, scans: bool,
          expand: list[str]) -> dict[str, Any]:
    repo = find_repo(hub, actor, kinds.kind, full_name)
    commit = resolve(hub, repo, revision)
    wanted = set(expand) or {*_INFO}
    if scans:
        wanted.add("securityRepoStatus")
    return _item(hub, repo, commit, wanted, blobs)


def _item(hub: Hub, repo: Repo, commit: Commit | None, wanted: set[str], blobs: bool = False) -> dict[str, Any]:
    """The summary and what was asked for; commit None stands for main."""
    item = repo_summary(repo)
    if not wanted:
        return item
    commit = commit or resolve(hub, repo, "main")
    entries = files(hub, commit) if wanted & {"siblings", "securityRepoStatus", "safetensors", "gguf"} else []
    item["sha"] = commit.oid
    if "siblings" in wanted:
        item["siblings"] = [sibling(e, blobs) for e in entries]
    if "cardData" in wanted and repo.card.data:
        item["cardData"] = repo.card.data
    if "model-index" in wanted and (found := repo.card.data.get("model-index")):
        item["model-index"] = found
    if "downloadsAllTime" in wanted:
        item["downloadsAllTime"] = repo.downloads
    if "securityRepoStatus" in wanted:
        item["securityRepoStatus"] = _security(hub, entries)
    if repo.kind is Kind.MODEL:
        if "safetensors" in wanted and (found := safetensors_metadata(hub, repo, commit, None)):
            item["safetensors"] = found
        if "gguf" in wanted and (found := gguf_info(hub, repo, commit)):
            item["gguf"] = found
        if "config" in wanted and (found := _config(hub, commit)):
            item["config"] = found
        if "spaces" in wanted:
            item["spaces"] = []
    if "usedStorage" in wanted:
        item["usedStorage"] = repo.size_bytes
    return item


def _config(hub: Hub, commit: Commit) -> dict[str, Any]:
    """What clients read of config.json; empty when there is none, or none that can be read."""
    try:
        text = read_small(hub, file(hub, commit, "config.json"))
        said = jsontext.parse(text, "config.json")
    except (EntryNotFound, TooLarge, CorruptFile):
        return {}
    return {k: v for k in ("architectures", "model_type") if (v := said.get(k))} if isinstance(said, dict) else {}


def _security(hub: Hub, entries: list) -> dict[str, Any]:
    """Whether every file was looked at, and which are not safe."""
    found = by_path(hub, entries)
    issues = [{"path": path, "level": security(f)["status"], "message": f.reason}
              for path, f in sorted(found.items()) if f.level != "safe"]
    return {"scansDone": all(e.path in found for e in entries), "filesWithIssues": issues}


def _words(values: list[str] | None) -> list[str]:
    """`expand=a&expand=b`, or `a,b` as some clients send it."""
    return [word for value in values or [] for word in value.split(",") if word]
