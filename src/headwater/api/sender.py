"""Where an order of a film came from, as the log keeps it: read off the request, never asked for."""

from __future__ import annotations

from fastapi import Request

from headwater.film.consent import Sender, sent


def sender_of(request: Request, face: str) -> Sender:
    return sent(face, request.client.host if request.client else None, request.headers.get("user-agent", ""))
