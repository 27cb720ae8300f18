"""`headwater list`"""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from headwater.cli._common import Common, show_json, show_table


def list_(
    text: Annotated[str | None, Parameter(help="Only repos whose name holds this.")] = None,
    *,
    datasets: Annotated[bool, Parameter(negative="", help="Datasets instead of models.")] = False,
    limit: Annotated[int, Parameter(help="At most so many.")] = 100,
    common: Common = Common(),
) -> None:
    """List the models (or datasets) of the hub."""
    from headwater.cli._hub import reach

    what = "datasets" if datasets else "models"
    with reach(common) as door:
        repos = door.get(f"/api/{what}", search=text, limit=limit, full="true", sort="lastModified")
    if common.json:
        show_json(repos)
        return
    empty = f"No {what} here yet. `headwater add SOURCE` brings one in; `headwater push FOLDER OWNER/NAME` sends yours."
    show_table(["name", "what it is", "#likes", "#downloads", "changed"], map(_row, repos), empty)


def _row(repo: dict[str, Any]) -> tuple[Any, ...]:
    name = repo["id"] + (" (private)" if repo["private"] else "")
    what = " ".join(w for w in (repo.get("pipeline_tag"), repo.get("library_name")) if w)
    return name, what, repo["likes"], repo["downloads"], repo["lastModified"][:16].replace("T", " ")
