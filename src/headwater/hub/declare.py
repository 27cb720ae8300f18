"""Write into a repo's card which model it is based on: a commit on main by whoever asks. Knows nothing of weights."""

from __future__ import annotations

from collections.abc import Sequence

from headwater.core.errors import BadInput, EntryNotFound
from headwater.core.types import Actor, Commit, Repo
from headwater.hub import Hub
from headwater.hub.browse import file, read_small, resolve
from headwater.hub.card import MAX_BYTES
from headwater.hub.card_base import with_base
from headwater.hub.commit import Add, commit


def declare_base(hub: Hub, actor: Actor, repo: Repo, bases: Sequence[str], relation: str | None) -> Commit:
    """The caller has seen that the actor may write. Raises BadInput, Conflict where the card cannot be edited so."""
    head = resolve(hub, repo, "main")
    new = with_base(_readme(hub, head), bases, relation)
    return commit(hub, actor, repo, "main", [Add("README.md", new.encode())], parent=head.oid,
                  title=f"Say that it is based on {', '.join(bases)}"[:200])


def _readme(hub: Hub, head: Commit) -> str:
    try:
        return read_small(hub, file(hub, head, "README.md"), 4 * MAX_BYTES).decode("utf-8")
    except EntryNotFound:
        return ""
    except UnicodeDecodeError:
        raise BadInput("README.md is not UTF-8.", hint="Edit it by hand.") from None
