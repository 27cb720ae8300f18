"""Other repos a film takes parts from, LoRAs and GGUF files: found as the person may, pinned, laid out.

In an order and its record they are told by repo and revision; folders are for the engine alone.
"""

from __future__ import annotations

from typing import Any

from headwater.core.errors import BadInput
from headwater.core.types import Actor
from headwater.film import Film

KINDS = ("lora", "gguf")
PARTS_MAX = 8


def pinned(film: Film, actor: Actor, more: dict[str, Any]) -> dict[str, Any]:
    """`more` of an order, with the revision of each repo it names as {"repo": "owner/name[@revision]", ...}.

    Raises BadInput, ModelNotFound for what the person may not read.
    """
    found = dict(more)
    for kind in KINDS:
        if more.get(kind):
            found[kind] = [_pinned(film, actor, kind, one) for one in _listed(kind, more[kind])]
    return found


def laid_out(film: Film, more: dict[str, Any]) -> dict[str, Any]:
    """The same with the folder of each. Raises ModelNotFound when one is gone."""
    found = dict(more)
    for kind in KINDS:
        if more.get(kind):
            found[kind] = [{**one, "folder": str(film.lay_out(*film.find_commit(one["repo"], one["revision"])).folder)}
                           for one in more[kind]]
    return found


def bare(more: dict[str, Any]) -> dict[str, Any]:
    """The same without folders: what a record keeps."""
    found = dict(more)
    for kind in KINDS:
        if more.get(kind):
            found[kind] = [{name: value for name, value in one.items() if name != "folder"} for one in more[kind]]
    return found


def _pinned(film: Film, actor: Actor, kind: str, one: dict[str, Any]) -> dict[str, Any]:
    name = one.get("repo")
    if not isinstance(name, str) or not name:
        raise BadInput(f"{kind}: each names its repo, owner/name.")
    plain = name.partition("@")[0]
    repo, commit = film.find_model(actor, f"{plain}@{one['revision']}" if one.get("revision") else name)
    return {**one, "repo": repo.full_name, "revision": commit.oid}


def _listed(kind: str, said: Any) -> list[dict[str, Any]]:
    """One may stand alone, as its name or as an object."""
    listed = said if isinstance(said, list) else [said]
    listed = [{"repo": one} if isinstance(one, str) else one for one in listed]
    if len(listed) > PARTS_MAX or not all(isinstance(one, dict) for one in listed):
        raise BadInput(f"{kind}: must be at most {PARTS_MAX} objects like {{\"repo\": \"owner/name\", \"scale\": 1}}.")
    return listed
