"""Whose own things a request is about: conversations, presets, files. Knows who asks; knows none of the things."""

from __future__ import annotations

from headwater.core.errors import Forbidden
from headwater.core.types import Access, Account, Actor
from headwater.hub.access import need_scope


def need_person(actor: Actor, need: Access = Access.READ) -> Account:
    """The account, if the token opens what is the person's own. Raises NotSignedIn, Forbidden."""
    account = need_scope(actor, need)
    if actor.repos is not None:
        raise Forbidden("This token opens only the repos it was made for, and no conversations or files.",
                        hint="Use a token for all that the account can reach.")
    return account
