"""`headwater doctor`"""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from headwater.cli._common import Common, plain, show_json

_MARKS = {"ok": "ok  ", "note": "note", "bad": "BAD "}


def doctor(
    model: Annotated[str | None, Parameter(help="owner/name[@revision]; without it the hub itself.")] = None,
    *,
    common: Common = Common(),
) -> int:
    """Say whether the hub is well, or whether a model would run.

    Exits 1 when something is bad.
    """
    from headwater.cli._hub import path_of, reach

    with reach(common) as door:
        if model is None:
            found = {"url": None if door.here else door.url, **door.get("/api/headwater/doctor")}
        else:
            name, _, revision = model.partition("@")
            found = door.get(f"/api/headwater/doctor/{path_of(*name.split('/'))}", revision=revision or None)
    if common.json:
        show_json(found)
    else:
        _print(found, model)
    return 0 if found["well"] else 1


def _print(found: dict[str, Any], model: str | None) -> None:
    if model is None:
        print(f"Headwater {found['version']}, {'served at ' + found['url'] if found['url'] else 'not served now'}")
    else:
        print(f"{found['model']}@{found['revision']}")
    for check in found["checks"]:
        print(f"  {_MARKS[check['state']]}  {check['name']:<18}{plain(check['says'])}")
        if check["hint"]:
            print(f"{'':26}{plain(check['hint'])}")
    if model is None:
        print("Settings that are not the default:")
        # A hub started for this command alone has an address of its own, which says nothing.
        own = () if found["url"] else ("host", "port", "log_level")
        changed = {k: v for k, v in found["settings"].items() if found["sources"][k] != "default" and k not in own}
        for name, value in changed.items():
            print(f"  {name} = {plain(str(value))}  ({found['sources'][name]})")
        if not changed:
            print("  none")
