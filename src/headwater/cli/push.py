"""`headwater push`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from headwater.cli._common import Common, note, show_json
from headwater.core.errors import BadInput


def push(
    source: Annotated[Path, Parameter(help="A folder, or one file.")],
    repo: Annotated[str, Parameter(help="owner/name; made if it is not there.")],
    *,
    kind: Annotated[Literal["model", "dataset"], Parameter(help="What kind of repo it is.")] = "model",
    branch: Annotated[str | None, Parameter(help="Branch to commit to (main).")] = None,
    message: Annotated[str | None, Parameter(name=["--message", "-m"], help="Title of the commit.")] = None,
    private: Annotated[bool, Parameter(negative="", help="Make a new repo private.")] = False,
    common: Common = Common(),
) -> None:
    """Send a folder or a file to a repo of the hub.

    It goes as one commit, through huggingface_hub's own client.
    """
    from headwater.cli._client import client_of, told
    from headwater.cli._hub import reach

    source = source.expanduser()
    if not source.exists():
        raise BadInput(f"There is no {source}.", hint="Name a folder or a file.")
    with reach(common) as door:
        api = client_of(door, quiet=common.json)
        where = {"repo_id": repo, "repo_type": kind, "revision": branch,
                 "commit_message": message or f"Upload {source.resolve().name}"}
        with told(door):
            api.create_repo(repo, repo_type=kind, private=private, exist_ok=True)
            if source.is_dir():
                made = api.upload_folder(folder_path=source, **where)
            else:
                made = api.upload_file(path_or_fileobj=source, path_in_repo=source.name, **where)
        url = f"{door.url}/{'datasets/' if kind == 'dataset' else ''}{repo}"
    if common.json:
        show_json({"repo": repo, "kind": kind, "revision": made.oid, "url": url})
    else:
        note(f"{repo} stands at {made.oid[:12]}." + ("" if door.here else f" {url}"))
