"""The page of a user or an organisation: who it is and the repos it has."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response

from headwater.core.errors import NotFound
from headwater.core.types import Access, Kind, Search
from headwater.hub.access import role_in
from headwater.web.lines import lines
from headwater.web.site import HubDep, VisitorDep, page, segment

router = APIRouter()


@router.get("/{owner}")
def owner(request: Request, hub: HubDep, who: VisitorDep, owner: str) -> Response:
    name = segment(owner)
    account = hub.accounts.find(name)
    if account is None:
        raise NotFound(f"Nothing at /{name}.")
    if account.name != name:
        raise HTTPException(307, headers={"Location": f"/{account.name}"})
    lists = {kind: hub.repos.search(Search(kind, who.actor, owner=account.name, limit=30)) for kind in Kind}
    people = hub.accounts.members(account) if account.is_org else []
    return page(request, "owner.html", account=account, models=lists[Kind.MODEL], datasets=lists[Kind.DATASET],
                lines=lines(hub, *(found.repos for found in lists.values())),
                members=people, orgs=[] if account.is_org else hub.accounts.memberships(account),
                may_write=role_in(hub, who.actor, account.name).covers(Access.WRITE),
                may_manage=account.is_org and role_in(hub, who.actor, account.name).covers(Access.ADMIN))
