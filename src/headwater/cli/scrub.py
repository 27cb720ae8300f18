"""`headwater scrub`"""

from __future__ import annotations

from headwater.cli._common import Common, note, show_json, show_table


def scrub(*, common: Common = Common()) -> int:
    """Read every file again and hash it; set aside what is damaged.

    Exits 1 when something is.
    """
    from headwater.cli._hub import reach
    from headwater.cli._job import see_through

    with reach(common, work=True) as door:
        result = see_through(door, door.post("/api/headwater/scrub"), quiet=common.json)
    damaged = result["damaged"]
    if common.json:
        show_json(result)
    elif damaged:
        show_table(["sha256", "found", "#bytes"], ((d["digest"], d["found"] or "gone", d["size"]) for d in damaged), "")
        note("Damaged files were set aside in the data folder; upload them again, or restore a backup.")
    else:
        note("Every file is what its sha256 says.")
    return 1 if damaged else 0
