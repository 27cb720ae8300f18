"""GET from one endpoint and where it redirects to, as a stranger's server may not be trusted with.

The token goes to the endpoint's own host and port, and nowhere else. A redirect may not lead into networks the
endpoint is not itself in: names are looked up here, the addresses checked, and the connection made to the very
address that was checked, so a name that changes between the two gains nothing. Knows no API.
"""

from __future__ import annotations

import ipaddress
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

from headwater import __version__
from headwater.core.errors import BadInput, Forbidden, HeadwaterError, NotFound, Unavailable

REDIRECTS_MAX = 5
SMALL = 65_536
JSON_MAX = 64 << 20
TIMEOUT = httpx.Timeout(30.0, connect=10.0)
Target = tuple[httpx.URL, dict[str, str], dict[str, Any]]
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class Transient(Exception):
    """Worth another try. wait_s: how long the server asked us to wait, or None."""

    def __init__(self, reason: str, wait_s: float | None = None):
        super().__init__(reason)
        self.wait_s = wait_s


class Upstream:
    """endpoint: the http(s) URL of a Hugging Face compatible hub. token: "" for none. Close it after use."""

    def __init__(self, endpoint: str, token: str):
        parts = urlsplit(endpoint.rstrip("/"))
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise BadInput(f"import_endpoint is not an http or https URL: {parts.hostname or endpoint[:80]!r}.")
        if token and not (token.isascii() and token.isprintable()):
            raise BadInput("import_token holds characters that no token has.")
        self.shown = f"{parts.scheme}://{_netloc(endpoint)}{parts.path}"
        self._own = _origin(endpoint)
        self._base, self._token = self.shown, token
        self._clients: dict[tuple[str, str, int], httpx.Client] = {}
        self._ssl = httpx.create_ssl_context()

    def __enter__(self) -> Upstream:
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._clients.values():
            client.close()

    @cached_property
    def _zones(self) -> set[str]:
        """The networks the endpoint itself is in. Raises Transient while its name has no address."""
        return {_zone(address) for address in self._lookup(*self._own[1:])}

    def url(self, path: str) -> str:
        return self._base + path

    def json(self, url: str) -> tuple[Any, str | None]:
        """(the JSON at url, the URL of the next page or None). Only pages of the endpoint itself are followed."""
        with self.get(url) as response:
            body = bytearray()
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > JSON_MAX:
                    raise BadInput(f"{self.shown} answers more than {JSON_MAX:,} bytes of JSON.")
            following = response.links.get("next", {}).get("url")
        try:
            value = json.loads(body)
        except ValueError:
            raise BadInput(f"{self.shown} does not answer JSON.",
                           hint="Is import_endpoint the URL of a Hugging Face compatible hub?") from None
        following = urljoin(url, following) if following else None
        if following and _origin(following) != self._own:
            raise BadInput(f"{self.shown} names a next page on another host.")
        return value, following

    @contextmanager
    def get(self, url: str, headers: dict[str, str] | None = None) -> Iterator[httpx.Response]:
        """The answer, redirects followed, its body not yet read. Status is 200, 206 or 416.

        Raises Transient for what may pass, NotFound, Forbidden or Unavailable for what will not. No message of
        these holds a URL: redirects lead to signed ones.
        """
        for _ in range(REDIRECTS_MAX + 1):
            response = self._send(url, headers or {})
            try:
                if response.status_code not in (301, 302, 303, 307, 308):
                    self._check(response, url)
                    yield response
                    return
                url = self._redirected(url, response.headers.get("location", ""))
                if int(response.headers.get("content-length") or SMALL) < SMALL:
                    response.read()  # so that the connection can be used again
            except httpx.TransportError as error:
                raise Transient(f"{_netloc(url)}: {type(error).__name__}") from None
            finally:
                response.close()
        raise Unavailable(f"{self.shown} redirects more than {REDIRECTS_MAX} times.")

    def _redirected(self, url: str, location: str) -> str:
        there = urljoin(url, location)
        scheme = urlsplit(there).scheme
        if not location or scheme not in ("http", "https") or (self._own[0] == "https" and scheme != "https"):
            raise Unavailable(f"{_netloc(url)} redirects to {scheme or 'nowhere'}:, which is not followed.")
        return there

    def _send(self, url: str, headers: dict[str, str]) -> httpx.Response:
        origin = _origin(url)
        sent = {"Accept-Encoding": "identity", "User-Agent": f"headwater/{__version__}", **headers}
        if self._token and origin == self._own:
            sent["Authorization"] = f"Bearer {self._token}"
        client = self._clients.get(origin)
        if client is None:
            # A client a host: connections to one address under two names must not be mixed up.
            client = self._clients[origin] = httpx.Client(timeout=TIMEOUT, verify=self._ssl, follow_redirects=False,
                                                          trust_env=_proxied(origin))
        error: Exception | None = None
        for target, extra, extensions in self._targets(url, origin):
            try:
                request = client.build_request("GET", target, headers={**sent, **extra}, extensions=extensions)
                return client.send(request, stream=True)
            except httpx.TransportError as failure:
                error = failure
            except httpx.InvalidURL:  # httpx reads where a redirect leads before we do
                raise Unavailable(f"{_netloc(url)} redirects to what is no URL.") from None
        raise Transient(f"{_netloc(url)}: {type(error).__name__}") from None

    def _targets(self, url: str, origin: tuple[str, str, int]) -> list[Target]:
        """What to connect to: (URL, headers, extensions), one for each address that was checked."""
        scheme, host, port = origin
        try:
            whole = httpx.URL(url).copy_with(userinfo=b"")
        except httpx.InvalidURL:
            raise Unavailable(f"{self.shown} leads to what is no URL.") from None
        if _proxied(origin):
            # The proxy looks the name up; where it may connect is its own rule. An address we see, we check.
            if address := _literal(host):
                self._admit(host, address, origin)
            return [(whole, {}, {})]
        found = []
        for address in self._lookup(host, port):
            self._admit(host, address, origin)
            extensions = {"sni_hostname": host} if scheme == "https" else {}
            found.append((whole.copy_with(host=str(address)), {"Host": _netloc(url)}, extensions))
        return found

    def _lookup(self, host: str, port: int) -> list[Address]:
        try:
            rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError):
            if getproxies():
                return []
            raise Transient(f"{host}: no address known") from None
        return list(dict.fromkeys(ipaddress.ip_address(row[4][0].partition("%")[0]) for row in rows))

    def _admit(self, host: str, address: Address, origin: tuple[str, str, int]) -> None:
        zone, inside = _zone(address), {"public"}
        if self._zones & {"private", "loopback"}:
            inside |= self._zones | {"private"}
        if origin != self._own and zone not in inside - {"special"}:
            raise Forbidden(f"{self.shown} redirects to {host}, an address that is {zone}; that is not followed.")

    def _check(self, response: httpx.Response, url: str) -> None:
        status, host = response.status_code, _netloc(url)
        if status in (200, 206, 416):
            return
        if status == 429 or status >= 500:
            wait = response.headers.get("retry-after", "")
            raise Transient(f"{host} answers {status}", min(float(wait), 60.0) if wait.isdigit() else None)
        said = "".join(c for c in response.headers.get("x-error-message", "") if c.isprintable())[:300]
        told = f"{host} answers {status}{': ' + said if said else ''}."
        if status in (401, 403):
            raise Forbidden(told, hint="It may be private or gated there: a token in import_token opens it.")
        if status == 404:
            raise NotFound(told, hint="Look at the name and the revision.")
        raise Unavailable(told)


def failed(upstream: Upstream, error: Transient) -> HeadwaterError:
    return Unavailable(f"{upstream.shown} could not be read: {error}.",
                       hint="Try again; what has arrived is kept, and the import goes on from there.")


def _origin(url: str) -> tuple[str, str, int]:
    parts = urlsplit(url)
    usual = 443 if parts.scheme == "https" else 80
    try:
        return parts.scheme, (parts.hostname or "").lower(), parts.port or usual
    except ValueError:
        raise BadInput("A URL with an impossible port came from the endpoint.") from None


def _proxied(origin: tuple[str, str, int]) -> bool:
    proxies = getproxies()
    return bool(proxies.get(origin[0]) or proxies.get("all")) and not proxy_bypass(origin[1])


def _netloc(url: str) -> str:
    """host:port without any user and password."""
    return urlsplit(url).netloc.rpartition("@")[2]


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _zone(address: Address) -> str:
    """public, private, loopback, or 'special' (link-local with its metadata services, multicast, reserved …)."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1]
        if inner is None and address in ipaddress.ip_network("64:ff9b::/96"):
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return _zone(inner)
    if address.is_loopback:
        return "loopback"
    if address.is_link_local or address.is_multicast or address.is_unspecified:
        return "special"
    if address.is_global:
        return "public"
    shared = address.version == 4 and address in ipaddress.ip_network("100.64.0.0/10")
    return "private" if address.is_private or shared else "special"
