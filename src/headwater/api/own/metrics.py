"""GET /metrics, for Prometheus."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from headwater.api.deps import ActorDep, get_app
from headwater.core.errors import NotSignedIn

router = APIRouter(tags=["headwater"])


@router.get("/metrics", response_class=Response)
async def metrics(request: Request, actor: ActorDep) -> Response:
    """Figures of chat in Prometheus's text format; they name neither accounts nor models. Any token may read them."""
    if actor.account is None:
        raise NotSignedIn("The metrics need a token here.", hint="Make one with `headwater token create --scope read`.")
    return Response(get_app(request).chat.meter.text(), media_type="text/plain; version=0.0.4; charset=utf-8")
