"""`headwater user`"""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter

from headwater.cli._common import Common, note, show_json, show_table, when
from headwater.core.errors import BadInput

FromStdin = Annotated[bool, Parameter(negative="", help="Read the password from standard input, one line.")]


def create(
    name: str,
    *,
    admin: Annotated[bool, Parameter(negative="", help="May manage the hub and everything in it.")] = False,
    fullname: str = "",
    email: str | None = None,
    password_stdin: FromStdin = False,
    no_password: Annotated[bool, Parameter(negative="", help="Cannot sign in; only tokens made for it work.")] = False,
    common: Common = Common(),
) -> None:
    """Make a user. The first one with a password closes an open hub.

    From then on everybody signs in, or sends a token.
    """
    from headwater.cli._hub import reach

    password = None if no_password else _password(password_stdin)
    with reach(common) as door:
        made = door.post("/api/headwater/users", {"name": name, "password": password, "fullname": fullname,
                                                   "email": email, "admin": admin})
    if common.json:
        show_json(made)
    else:
        note(f"{made['name']} is a user{' and administrator' if made['admin'] else ''} of the hub."
             + ("" if password else f" `headwater token create NAME --user {made['name']}` makes a token for it."))


def list_(*, common: Common = Common()) -> None:
    """List users."""
    from headwater.cli._hub import reach

    with reach(common) as door:
        users = door.get("/api/headwater/users")
    if common.json:
        show_json(users)
        return
    rows = ((u["name"], u["fullname"], u["email"] or "", "administrator" if u["admin"] else "", when(u["created_at"]))
            for u in users)
    show_table(["name", "full name", "email", "role", "since"], rows, "No users.")


def password(name: str, *, password_stdin: FromStdin = False, common: Common = Common()) -> None:
    """Set a user's password.

    Ends the sessions of that user.
    """
    from headwater.cli._hub import path_of, reach

    secret = _password(password_stdin)
    with reach(common) as door:
        done = door.ask("PUT", f"/api/headwater/users/{path_of(name)}/password", json={"password": secret})
    if common.json:
        show_json(done)
    else:
        note(f"{name} has a new password.")


def delete(name: str, *, common: Common = Common()) -> None:
    """Delete a user who owns no repos."""
    from headwater.cli._hub import path_of, reach

    with reach(common) as door:
        done = door.ask("DELETE", f"/api/headwater/users/{path_of(name)}")
    if common.json:
        show_json(done)
    else:
        note(f"{name} is no user any more.")


def _password(from_stdin: bool) -> str:
    """Asked for twice at a terminal. Never an argument: those stand in the list of processes and in histories."""
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise BadInput("There is no terminal to ask for a password at.",
                       hint="Give it with --password-stdin, or --no-password for a user of tokens alone.")
    from getpass import getpass

    first = getpass("Password (8 characters or more): ")
    if first != getpass("Again: "):
        raise BadInput("The two are not the same.", hint="Try again.")
    return first
