"""Short-lived signed tickets: an upload link is one, so bytes need no Authorization header. Holds no state."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

from headwater.core.errors import Forbidden
from headwater.hub import Hub


def sign(hub: Hub, purpose: str, payload: dict[str, Any], seconds: float) -> str:
    """The payload and its expiry, signed for one purpose only. Not secret, only unforgeable."""
    body = json.dumps({**payload, "exp": int(hub.now() + seconds)}, separators=(",", ":"), sort_keys=True).encode()
    return _text(body) + "." + _text(_mac(hub, purpose, body))


def unsign(hub: Hub, purpose: str, ticket: str) -> dict[str, Any]:
    """The payload. Raises Forbidden for a ticket that is forged, of another purpose, or expired."""
    try:
        body, mac = (_bytes(part) for part in ticket.split("."))
        good = hmac.compare_digest(mac, _mac(hub, purpose, body))
        payload = json.loads(body) if good else None
    except ValueError:
        payload = None
    if payload is None:
        raise Forbidden("This link was not made by this hub.", hint="Ask for a new one.")
    if payload["exp"] < hub.now():
        raise Forbidden("This link has expired.", hint="Start the upload again; what arrived is kept.")
    return payload


def _mac(hub: Hub, purpose: str, body: bytes) -> bytes:
    return hmac.digest(hub.accounts.secret(f"sign {purpose}"), body, hashlib.sha256)


def _text(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _bytes(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
