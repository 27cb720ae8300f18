"""`headwater pull`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from headwater.cli._common import Common, note, show_json


def pull(
    repo: Annotated[str, Parameter(help="owner/name, or owner/name@revision.")],
    *,
    to: Annotated[Path | None, Parameter(help="Folder to put the files in; else the client's own cache.")] = None,
    kind: Annotated[Literal["model", "dataset"], Parameter(help="What kind of repo it is.")] = "model",
    only: Annotated[tuple[str, ...], Parameter(negative="", help="Patterns of files to fetch, such as '*.gguf'.")] = (),
    common: Common = Common(),
) -> None:
    """Fetch the files of a repo, through huggingface_hub's own client. Prints the folder they are in."""
    from headwater.cli._client import client_of, said
    from headwater.cli._hub import reach

    name, _, revision = repo.partition("@")
    with reach(common) as door:
        api = client_of(door, quiet=common.json)
        from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

        try:
            revision = api.repo_info(name, repo_type=kind, revision=revision or None).sha
            folder = api.snapshot_download(name, repo_type=kind, revision=revision, local_dir=to,
                                           allow_patterns=[*only] or None)
        except (HfHubHTTPError, LocalEntryNotFoundError, ValueError, OSError) as error:
            raise said(error) from error
    if common.json:
        show_json({"repo": name, "kind": kind, "revision": revision, "folder": str(Path(folder).absolute())})
    else:
        print(folder)
        note(f"{name}@{revision[:12]}")
