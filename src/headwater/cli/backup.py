"""`headwater backup`"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from headwater.cli._common import Common, human, note, show_json


def backup(
    target: Annotated[Path, Parameter(help="A folder (a later backup into it copies only what is new), or a .tar "
                                           "file.")],
    *,
    common: Common = Common(),
) -> int:
    """Copy records and files of the hub to a folder or a .tar file.

    The hub may run meanwhile. Exits 1 when bytes are damaged or gone; the rest is then safe. The backup holds
    password and token hashes: keep it where only you can read it. Settings (headwater.toml) are not in it.
    """
    from headwater.cli._hub import data_folder
    from headwater.cli._progress import Bar

    with data_folder(common) as app, Bar("Backup", quiet=common.json) as bar:
        done = app.backup(target, bar)
    if common.json:
        show_json(asdict(done))
    else:
        note(f"{done.target}: {done.blobs} files, {human(done.bytes)}; {done.copied} copied this time.")
        if done.lost:
            note(f"The bytes of {len(done.lost)} files are damaged or gone, first {done.lost[0]}; all else is safe. "
                 "`headwater scrub` says more.")
    return 1 if done.lost else 0
