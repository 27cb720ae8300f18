"""Key pairs for programs written for Kling's API, which sign their own tokens. Thin over hub/key_pairs.py."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse, Response
from pydantic import BaseModel, Field

from headwater.api.deps import ActorDep, HubDep
from headwater.hub.key_pairs import issue_pair

router = APIRouter(prefix="/api/headwater/key-pairs", tags=["headwater: accounts"])
DAY_S = 86_400


class NewPair(BaseModel):
    """days: null means it does not expire."""

    name: str
    days: float | None = Field(None, gt=0, le=36_500)


@router.post("")
def create_key_pair(body: NewPair, hub: HubDep, actor: ActorDep) -> Response:
    """The keys are shown this once. The pair stands among the tokens under the name that is answered, and is revoked
    there."""
    access, secret, token = issue_pair(hub, actor, body.name, body.days * DAY_S if body.days else None)
    return JSONResponse({"name": token.name, "access_key": access, "secret_key": secret,
                         "expires_at": token.expires_at}, 201, {"Cache-Control": "no-store"})
