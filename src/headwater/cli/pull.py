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
    """Fetch the files of a repo.

    They come through huggingface_hub's own client; the folder they are in is printed.
    """
    from headwater.cli._client import client_of, told
    from headwater.cli._hub import reach

    name, _, revision = repo.partition("@")
    with reach(common) as door:
        api = client_of(door, quiet=common.json)
        with told(door):
            revision = api.repo_info(name, repo_type=kind, revision=revision or None).sha
            folder = api.snapshot_download(name, repo_type=kind, revision=revision, local_dir=to,
                                           allow_patterns=[*only] or None)
    if common.json:
        show_json({"repo": name, "kind": kind, "revision": revision, "folder": str(Path(folder).absolute())})
    else:
        print(folder)
        note(f"{name}@{revision[:12]}")
