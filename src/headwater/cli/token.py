"""`headwater token`"""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

from headwater.cli._common import Common, note, show_json, show_table, when
from headwater.core.errors import BadInput

User = Annotated[str | None, Parameter(help="Whose token; others' only for an administrator.")]


def create(
    name: Annotated[str, Parameter(help="What you call it, such as the machine it is for.")],
    *,
    scope: Annotated[Literal["read", "write"], Parameter(help="What it may do.")] = "write",
    repo: Annotated[tuple[str, ...], Parameter(negative="", help="The only repos it opens: owner/name, or "
                                                                  "datasets/owner/name. May be repeated.")] = (),
    days: Annotated[float | None, Parameter(help="Days until it expires; never if not given.")] = None,
    user: User = None,
    kling: Annotated[bool, Parameter(negative="", help="A key pair for programs written for Kling's API, which sign "
                                                       "tokens of their own.")] = False,
    common: Common = Common(),
) -> None:
    """Make a token; it is shown this once."""
    from headwater.cli._hub import reach

    if kling:
        _pair(name, days, common, plain=scope == "write" and not repo and user is None)
        return
    body = {"name": name, "scope": scope, "repos": [*repo] or None, "days": days, "user": user}
    with reach(common) as door:
        made = door.post("/api/headwater/tokens", body)
    if common.json:
        show_json(made)
    else:
        print(made["token"])
        note(f"This is {made['user']}'s token {made['name']!r} ({made['scope']}). It is not shown again.")


def _pair(name: str, days: float | None, common: Common, *, plain: bool) -> None:
    from headwater.cli._hub import reach

    if not plain:
        raise BadInput("A key pair may read and write all that your account can.",
                       hint="Leave --scope, --repo and --user out.")
    with reach(common) as door:
        made = door.post("/api/headwater/key-pairs", {"name": name, "days": days})
    if common.json:
        show_json(made)
        return
    print(f"access key: {made['access_key']}\nsecret key: {made['secret_key']}")
    note(f"`headwater token revoke {made['name']}` ends it. It is not shown again.")


def list_(*, user: User = None, common: Common = Common()) -> None:
    """List tokens."""
    from headwater.cli._hub import reach

    with reach(common) as door:
        tokens = door.get("/api/headwater/tokens", user=user)
    # Those that `headwater` itself makes for as long as it runs are nobody's to keep.
    tokens = [t for t in tokens if not t["name"].startswith("terminal ")]
    if common.json:
        show_json(tokens)
        return
    rows = ((t["name"], t["scope"], ", ".join(t["repos"]) if t["repos"] is not None else "all", when(t["created_at"]),
             when(t["expires_at"]) or "never", when(t["last_used_at"]) or "never") for t in tokens)
    show_table(["name", "scope", "repos", "made", "expires", "last used"], rows,
               "No tokens. `headwater token create NAME` makes one.")


def revoke(name: str, *, user: User = None, common: Common = Common()) -> None:
    """Revoke a token."""
    from headwater.cli._hub import path_of, reach

    with reach(common) as door:
        done = door.ask("DELETE", f"/api/headwater/tokens/{path_of(name)}", params={"user": user} if user else {})
    if common.json:
        show_json(done)
    else:
        note(f"The token {name!r} opens nothing any more.")
