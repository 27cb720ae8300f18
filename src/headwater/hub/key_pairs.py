"""Key pairs for APIs whose clients sign a token of their own (Kling's): an access key that names, a secret that signs.

A pair is a hub token under another form: the access key is the hash the token is looked up by, so revoking or expiry
ends it; the secret key follows from it by a secret of the hub. Nothing more is kept.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import re
from typing import Any

from headwater.core.errors import NotSignedIn
from headwater.core.types import Access, Actor, Token
from headwater.hub import Hub
from headwater.hub.accounts import hash_secret, issue_token

JWT_MAX = 4_000
PAIR_PREFIX = "key pair "
"""What the name of the token behind a pair begins with, so that pairs can be told from other tokens."""
LIFE_MAX_S = 3_600
LEEWAY_S = 60
"""How far two clocks may differ."""


def issue_pair(hub: Hub, actor: Actor, name: str, seconds: float | None = None) -> tuple[str, str, Token]:
    """(access key, secret key, the token behind them, named after the pair). Raises as issue_token."""
    kept = name if name.startswith(PAIR_PREFIX) or not name.strip() else PAIR_PREFIX + name
    secret, token = issue_token(hub, actor, kept, scope=Access.WRITE, seconds=seconds)
    access = hash_secret(secret)
    return access, _secret_key(hub, access), token


def actor_of_jwt(hub: Hub, text: str) -> Actor:
    """Who signed it: HS256, iss the access key, exp at most an hour ahead, nbf reached. Raises NotSignedIn, saying
    what does not hold."""
    head, claims, signed, mac = _parts(text)
    if head.get("alg") != "HS256":
        raise NotSignedIn("The token is not signed with HS256.")
    access = claims.get("iss")
    if not isinstance(access, str) or not re.fullmatch(r"[0-9a-f]{64}", access):
        raise NotSignedIn("The token's iss is no access key of this hub.")
    if not hmac.compare_digest(mac, hmac.digest(_secret_key(hub, access).encode(), signed, hashlib.sha256)):
        raise NotSignedIn("The token's signature is wrong.", hint="Sign it with the secret key of the pair.")
    found = hub.accounts.token(access)
    if found is None:
        raise NotSignedIn("The key pair is revoked or expired.")
    now, ends, begins = hub.now(), claims.get("exp"), claims.get("nbf", 0)
    if not _number(ends) or not now - LEEWAY_S < ends <= now + LIFE_MAX_S + LEEWAY_S:
        raise NotSignedIn("The token has expired, or holds for more than an hour.", hint="Sign a new one.")
    if not _number(begins) or begins > now + LEEWAY_S:
        raise NotSignedIn("The token is not valid yet.", hint="Set the clock, or nbf a few seconds back.")
    token, account = found
    return Actor(account, token.scope, token.id, token.name, token.repos)


def is_jwt(text: str) -> bool:
    return text.startswith("eyJ") and text.count(".") == 2


def _parts(text: str) -> tuple[dict[str, Any], dict[str, Any], bytes, bytes]:
    try:
        if len(text) > JWT_MAX:
            raise ValueError
        head, claims, mac = text.split(".")
        said = [json.loads(_bytes(part)) for part in (head, claims)]
        if not all(isinstance(one, dict) for one in said):
            raise ValueError
        return said[0], said[1], f"{head}.{claims}".encode(), _bytes(mac)
    except (ValueError, binascii.Error, RecursionError):
        raise NotSignedIn("The token is no JWT.") from None


def _bytes(part: str) -> bytes:
    return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12


def _secret_key(hub: Hub, access: str) -> str:
    return hmac.digest(hub.accounts.secret("key pairs"), access.encode(), hashlib.sha256).hex()
