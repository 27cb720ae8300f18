"""`headwater restore`"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from headwater.cli._common import Common, human, note, show_json


def restore(
    source: Annotated[Path, Parameter(help="The folder or .tar file that `headwater backup` wrote.")],
    *,
    common: Common = Common(),
) -> None:
    """Lay a backup out in an empty data folder.

    Records go to the database which that folder's settings name, if they name one; it must be empty too. Every
    file is hashed on the way. Interrupted, it goes on when it is run again.
    """
    from headwater.cli._hub import restore_here
    from headwater.cli._progress import Bar

    with Bar("Restore", quiet=common.json) as bar:
        data, done = restore_here(common, source, bar)
    if common.json:
        show_json({"data": str(data), **asdict(done)})
        return
    note(f"{data}: {done.blobs} files, {human(done.bytes)}. Start it with `headwater up --data {data}`.")
    if done.lost:
        note(f"The backup says that the bytes of {len(done.lost)} files were lost before it was taken.")
