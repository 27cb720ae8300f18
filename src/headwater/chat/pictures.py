"""The pictures of a request, made ready for an engine: taken out of data: URLs or fetched from hosts the settings
allow, read and written anew in a process with limits (weights/pictures.py), put back where they stood.

A file: URL, and a host nobody allowed, is refused; an engine is handed nothing but data: URLs.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import dataclasses
import socket
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes, urljoin, urlsplit

from headwater.chat import Chat
from headwater.chat.types import ChatModel, ChatRequest, UnsupportedParameter
from headwater.core.errors import BadInput, Forbidden, Unavailable
from headwater.core.outward import is_public
from headwater.weights.pictures import BYTES_MAX, PICTURES_MAX, BadPicture, plain

if TYPE_CHECKING:
    import aiohttp

FETCH_S = 20.0
REDIRECTS_MAX = 3


async def with_plain_pictures(chat: Chat, model: ChatModel, request: ChatRequest) -> ChatRequest:
    """The request with every picture as a PNG of ours. Raises BadPicture, UnsupportedParameter (the projector does
    not fit), Forbidden and Unavailable (fetching)."""
    urls = request.pictures
    if len(urls) > PICTURES_MAX:
        raise BadPicture(f"The request has {len(urls)} pictures; at most {PICTURES_MAX} are read.")
    if why := await asyncio.to_thread(_blind, chat, model):
        raise UnsupportedParameter(f"{model.repo.full_name} cannot see pictures: {why}", param="messages",
                                   hint="Leave the pictures out, or put the projector of this very model in the repo.")
    received = [await _bytes(n, url, chat.settings.picture_hosts) for n, url in enumerate(urls, 1)]
    made = iter(await asyncio.to_thread(plain, received))
    return dataclasses.replace(request, messages=tuple(_replaced(message, made) for message in request.messages))


def _blind(chat: Chat, model: ChatModel) -> str | None:
    return model.engine.blind(chat.lay_out(model.repo, model.commit), model.path)


def _replaced(message: dict[str, Any], made: Any) -> dict[str, Any]:
    if not isinstance(message["content"], list):
        return message
    return {**message, "content": [
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{base64.b64encode(next(made)).decode()}"}}
        if part["type"] == "image_url" else part for part in message["content"]]}


async def _bytes(n: int, url: str, hosts: str) -> bytes:
    scheme = url[:20].partition(":")[0].lower()
    if scheme == "data":
        return _unwrapped(n, url)
    if scheme in ("http", "https"):
        return await fetch(n, url, [host.strip().lower() for host in hosts.split(",") if host.strip()])
    raise BadPicture(f"Picture {n} must be a data: URL (data:image/png;base64,...), not {scheme[:20]!r}.")


def _unwrapped(n: int, url: str) -> bytes:
    head, comma, body = url.partition(",")
    try:
        if not comma:
            raise ValueError
        if head.lower().endswith(";base64"):
            return base64.b64decode("".join(body.split()), validate=True)
        return unquote_to_bytes(body)
    except (ValueError, binascii.Error):
        raise BadPicture(f"Picture {n} is no whole data: URL: base64 was expected after a comma.") from None


# --- from other hosts


async def fetch(n: int, url: str, hosts: Sequence[str]) -> bytes:
    """The bytes at an http or https URL. hosts: those allowed by name, whatever their address; "*" allows any whose
    addresses are public. Every redirect is held to the same. Raises Forbidden, Unavailable, BadPicture."""
    import aiohttp

    timeout = aiohttp.ClientTimeout(total=FETCH_S, sock_connect=5)
    connector = aiohttp.TCPConnector(resolver=_Checked(hosts), use_dns_cache=False)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False,
                                     cookie_jar=aiohttp.DummyCookieJar()) as session:
        try:
            for _ in range(REDIRECTS_MAX + 1):
                _allow(n, url, hosts)
                async with session.get(url, allow_redirects=False) as response:
                    if response.status in (301, 302, 303, 307, 308):
                        url = urljoin(url, response.headers.get("location", ""))
                        continue
                    return await _body(n, url, response)
        except (aiohttp.ClientError, TimeoutError, ValueError, UnicodeError) as error:
            raise Unavailable(f"Picture {n} could not be fetched from {_host(url)}: {type(error).__name__}.") from None
    raise Unavailable(f"Picture {n}: {_host(url)} redirects more than {REDIRECTS_MAX} times.")


async def _body(n: int, url: str, response: aiohttp.ClientResponse) -> bytes:
    if response.status != 200:
        raise BadInput(f"Picture {n}: {_host(url)} answers {response.status}.")
    received = bytearray()
    async for chunk in response.content.iter_chunked(65_536):
        received += chunk
        if len(received) > BYTES_MAX:
            raise BadPicture(f"Picture {n} has more than {BYTES_MAX:,} bytes.")
    return bytes(received)


def _host(url: str) -> str:
    try:
        return (urlsplit(url).hostname or "")[:200]
    except ValueError:
        return ""


def _allow(n: int, url: str, hosts: Sequence[str]) -> None:
    host, scheme = _host(url), url.partition(":")[0].lower()
    if scheme not in ("http", "https") or not host or "@" in url.partition("//")[2].partition("/")[0]:
        raise BadPicture(f"Picture {n} has no plain http or https URL.")
    if host.lower() in hosts:
        return
    if "*" not in hosts:
        raise Forbidden(f"Picture {n} is at {host}, and this hub fetches no pictures from there.",
                        hint="Send it as a data: URL, or have picture_hosts name the host.")
    try:
        fine = is_public(host)
    except ValueError:  # a name: its addresses are checked where they are looked up
        return
    if not fine:
        raise Forbidden(f"Picture {n} is at {host}, an address that is not public.")


class _Checked:
    """Looks names up, and gives only addresses that may be connected to: those very ones are, so a name that
    changes in between gains nothing."""

    def __init__(self, hosts: Sequence[str]):
        self._hosts = hosts

    async def resolve(self, host: str, port: int = 0, family: int = socket.AF_INET) -> list[dict[str, Any]]:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, family=family, type=socket.SOCK_STREAM)
        if host.lower() not in self._hosts and not all(is_public(place[4][0]) for place in found):
            raise Forbidden(f"{host[:200]} has an address that is not public; no picture is fetched from there.")
        return [{"hostname": host, "host": place[4][0], "port": port, "family": place[0], "proto": 0,
                 "flags": socket.AI_NUMERICHOST} for place in found]

    async def close(self) -> None:
        """Nothing is kept open."""
