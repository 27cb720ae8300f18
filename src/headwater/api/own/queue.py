"""Where my requests stand: the queues of chat, as far as they are the asker's business."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel

from headwater.api.deps import ActorDep, get_app
from headwater.core.errors import NotSignedIn

router = APIRouter(prefix="/api/headwater/chat", tags=["headwater: chat"])


class Place(BaseModel):
    """waits_for: turn, loading or room. position: 1 is next. account: whose request it is."""

    model: str
    account: str
    waits_for: str
    position: int
    waited_s: float


class QueueShown(BaseModel):
    """yours: your own requests that wait, all of them for administrators. waiting: how many wait in all."""

    waiting: int
    yours: list[Place]


@router.get("/queue")
async def queue(request: Request, actor: ActorDep) -> QueueShown:
    """Your requests that wait, and for what. A stream that waits is also told in SSE comments."""
    if actor.account is None:
        raise NotSignedIn("The queue is for those who chat.", hint="Make a token with `headwater token create`.")
    every: list[Any] = get_app(request).chat.workers.waiting()
    mine = [Place(model=one.model.exact_name, account=one.account, waits_for=one.what_for, position=one.position,
                  waited_s=round(one.seconds, 1))
            for one in every if actor.is_admin or one.account == actor.name]
    return QueueShown(waiting=len(every), yours=mine)
