"""`headwater sweep`"""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from headwater.cli._common import Common, human, note, show_json


def sweep(
    *,
    grace: Annotated[float | None, Parameter(help="Spare bytes younger than so many seconds (sweep_grace_s).")] = None,
    common: Common = Common(),
) -> None:
    """Delete bytes that no commit names any more.

    Uploads that were given up go too.
    """
    from headwater.cli._hub import reach
    from headwater.cli._job import see_through

    with reach(common, work=True) as door:
        result = see_through(door, door.post("/api/headwater/sweep", {"grace_s": grace}), quiet=common.json)
    if common.json:
        show_json(result)
    else:
        note(f"Freed {human(result['bytes'])} in {result['blobs']} files, and {result['tmp']} uploads given up.")
