"""`headwater org`"""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

from headwater.cli._common import Common, note, show_json, show_table


def create(name: str, *, fullname: str = "", common: Common = Common()) -> None:
    """Make an organisation; you become its first administrator."""
    from headwater.cli._hub import reach

    with reach(common) as door:
        made = door.post("/api/headwater/orgs", {"name": name, "fullname": fullname})
    if common.json:
        show_json(made)
    else:
        note(f"{made['name']} is an organisation. `headwater org role {made['name']} USER write` lets others in.")


def list_(*, common: Common = Common()) -> None:
    """List organisations and their members."""
    from headwater.cli._hub import reach

    with reach(common) as door:
        orgs = door.get("/api/headwater/orgs")
    if common.json:
        show_json(orgs)
        return
    rows = ((o["name"], o["fullname"], ", ".join(f"{m['name']} ({m['role']})" for m in o["members"])) for o in orgs)
    show_table(["name", "full name", "members"], rows, "No organisations. `headwater org create NAME` makes one.")


def role(
    org: str,
    user: str,
    role: Annotated[Literal["read", "write", "admin", "none"], Parameter(help="none removes the user.")],
    *,
    common: Common = Common(),
) -> None:
    """Give a user a role in an organisation: read, write, admin, or none to remove."""
    from headwater.cli._hub import path_of, reach

    with reach(common) as door:
        done = door.ask("PUT", f"/api/headwater/orgs/{path_of(org)}/members/{path_of(user)}", json={"role": role})
    if common.json:
        show_json(done)
    else:
        note(f"{user} is no member of {org} any more." if role == "none" else f"{user} has the role {role} in {org}.")


def delete(name: str, *, common: Common = Common()) -> None:
    """Delete an organisation that owns no repos."""
    from headwater.cli._hub import path_of, reach

    with reach(common) as door:
        done = door.ask("DELETE", f"/api/headwater/orgs/{path_of(name)}")
    if common.json:
        show_json(done)
    else:
        note(f"{name} is no organisation any more.")
