"""What is left of my day: requests and tokens, of the account and of the token that asks."""

from __future__ import annotations

from fastapi import APIRouter, Request
from pydantic import BaseModel

from headwater.api.deps import ActorDep, get_app
from headwater.core.errors import NotSignedIn

router = APIRouter(prefix="/api/headwater/chat", tags=["headwater: chat"])


class Limit(BaseModel):
    """whose: the account or the token. what: requests or tokens. most, left: null without a limit. resets_at: seconds
    since 1970."""

    whose: str
    what: str
    used: int
    most: int | None
    left: int | None
    resets_at: float


@router.get("/quota")
async def quota(request: Request, actor: ActorDep) -> list[Limit]:
    """What your account, and the token you ask with, have used of models today, and what is left."""
    if actor.account is None:
        raise NotSignedIn("Quotas are for those who chat.", hint="Make a token with `headwater token create`.")
    return [Limit(whose=line.whose, what=line.what, used=line.used, most=line.most or None,
                  left=max(0, line.most - line.used) if line.most else None, resets_at=line.resets_at)
            for line in await get_app(request).chat.quotas.left(actor)]
