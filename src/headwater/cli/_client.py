"""huggingface_hub's own client, pointed at the hub a verb has reached."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from headwater.cli._hub import Door
from headwater.core.errors import HeadwaterError

if TYPE_CHECKING:
    from huggingface_hub import HfApi


class ClientFailed(HeadwaterError):
    status, code = 500, "ClientFailed"


def client_of(door: Door, *, quiet: bool) -> HfApi:
    """Must be called before anything else imports huggingface_hub: it reads its environment once."""
    os.environ |= {"HF_ENDPOINT": door.url, "HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_EXPERIMENTAL_WARNING": "1"}
    if quiet:
        os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
    os.environ.pop("HF_HUB_OFFLINE", None)
    host = urlsplit(door.url).hostname or ""
    if host in ("127.0.0.1", "localhost", "::1"):
        for name in ("NO_PROXY", "no_proxy"):
            os.environ[name] = ",".join(filter(None, [os.environ.get(name), host]))
    from huggingface_hub import HfApi

    # False, not None: a token for another hub lying in the client's cache must not be sent here.
    return HfApi(endpoint=door.url, token=door.token or False, library_name="headwater")


def said(error: Exception) -> ClientFailed:
    """The client's error in one line, with what the hub said in it."""
    server: Any = getattr(error, "server_message", None)
    text = server or str(error).strip().splitlines()[-1:] or [type(error).__name__]
    return ClientFailed(text if isinstance(text, str) else text[0])
