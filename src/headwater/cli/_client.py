"""huggingface_hub's own client, pointed at the hub a verb has reached."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from headwater.cli._hub import NOT_RUNNING, Door
from headwater.core.errors import HeadwaterError, Unavailable

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


@contextmanager
def told(door: Door) -> Iterator[None]:
    """The client's errors in one line, with what the hub said in it."""
    try:
        yield
    except HeadwaterError:
        raise
    except Exception as error:  # versions of the client stand on requests, httpx or httpx2, each with its own errors
        if "Connect" in type(error).__name__:
            raise Unavailable(f"The hub at {door.url} refused the connection.", hint=NOT_RUNNING) from None
        said = getattr(error, "server_message", None) or (str(error).strip().splitlines() or [""])[-1]
        raise ClientFailed(said or type(error).__name__) from error
