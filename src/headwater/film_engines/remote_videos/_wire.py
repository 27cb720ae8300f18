"""One exchange at a time with another server over HTTP: bounded in bytes and time, at an address that was checked.

A host the operator named may be anywhere; any other (a film's download may lie at one) must be public. Redirects are
followed only for downloads, each held to the same, and a key goes to the origin it belongs to alone. No proxy is asked.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, urljoin, urlsplit

from headwater.core.errors import DiskFull, EngineFailed, TooLarge
from headwater.core.outward import addresses

CONNECT_S, SILENT_S, ASK_S, DOWNLOAD_S = 10.0, 30.0, 120.0, 3_600.0
ANSWER_MAX = 2_000_000
REDIRECTS_MAX = 3
CHUNK = 256 * 1024


class Unsent(Exception):
    """The server could not be reached: it has heard nothing."""


class Lost(Exception):
    """The request went out and no whole answer came: the server may have acted on it."""


@dataclass(frozen=True)
class Answer:
    """headers: names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Wire:
    """vouched: URLs the operator named; their hosts, at their ports, may be private."""

    def __init__(self, vouched: Collection[str]):
        self._named = frozenset(place for url in vouched if (place := _place(url)))

    def ask(self, method: str, url: str, headers: dict[str, str], body: bytes | None = None) -> Answer:
        """Whatever its status; a redirect is an answer like others. Raises Unsent, Lost, EngineFailed (too long)."""
        with self._open(method, url, headers, body, ASK_S) as response:
            data = response.read(ANSWER_MAX + 1)
            if len(data) > ANSWER_MAX:
                raise EngineFailed(f"{urlsplit(url).netloc} answered with more than {ANSWER_MAX:,} bytes.")
            return Answer(response.status, _lowered(response), data)

    def download(self, url: str, headers: dict[str, str], target: Path, most: int,
                 tick: Callable[[int], None]) -> Answer:
        """Into `target`; headers (with the key) go to the URL's own origin only. The answer's body is what a server
        that refused said. tick(bytes so far) may raise. Raises Unsent, Lost, TooLarge, EngineFailed, DiskFull."""
        origin = _origin(url)
        for _ in range(REDIRECTS_MAX + 1):
            with self._open("GET", url, headers if _origin(url) == origin else {}, None, DOWNLOAD_S) as response:
                if response.status in (301, 302, 303, 307, 308):
                    url = urljoin(url, response.headers.get("location", ""))
                    continue
                if response.status != 200:
                    return Answer(response.status, _lowered(response), response.read(64 * 1024))
                _save(response, target, most, tick)
                return Answer(200, _lowered(response), b"")
        raise EngineFailed(f"{urlsplit(url).netloc} redirects more than {REDIRECTS_MAX} times.")

    @contextmanager
    def _open(self, method: str, url: str, headers: dict[str, str], body: bytes | None,
              most_s: float) -> Iterator[http.client.HTTPResponse]:
        parts = _parts(url)
        line, secure = self._connect(parts), parts.scheme == "https"
        connection = http.client.HTTPConnection(parts.hostname or "", timeout=SILENT_S)
        ended = threading.Event()

        def hang_up() -> None:
            ended.set()
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

        late = threading.Timer(most_s, hang_up)  # a server may say a byte every few seconds for ever
        late.daemon = True
        sent = False
        try:
            late.start()
            line.settimeout(SILENT_S)
            if secure:
                line = ssl.create_default_context().wrap_socket(line, server_hostname=parts.hostname)
            connection.sock = line
            target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            sent = True
            connection.request(method, target, body, {
                "User-Agent": "headwater", "Accept-Encoding": "identity", **headers, "Host": parts.netloc})
            yield connection.getresponse()
            if ended.is_set():  # a body without a length looks whole when the line is cut
                raise OSError
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and error.filename is not None:
                raise  # of our own disk, not of the line
            why = f"no whole answer in {most_s:.0f} s" if ended.is_set() else type(error).__name__
            raise (Lost if sent else Unsent)(f"{parts.netloc}: {why}") from None
        finally:
            late.cancel()
            connection.close()
            line.close()

    def _connect(self, parts: SplitResult) -> socket.socket:
        host = parts.hostname or ""
        vouched = (host, _port(parts)) in self._named
        why = "has no address" if vouched else "has no public address"
        for address in addresses(host, _port(parts), {host} if vouched else ()):
            try:
                return socket.create_connection((address, _port(parts)), CONNECT_S)
            except OSError as error:
                why = f"cannot be reached ({type(error).__name__})"
        raise Unsent(f"{parts.netloc} {why}")


def _save(response: http.client.HTTPResponse, target: Path, most: int, tick: Callable[[int], None]) -> None:
    length, size = response.length, 0
    if length is not None and length > most:
        raise TooLarge(f"The film that was sent has {length:,} bytes; the most is {most:,}.")
    with target.open("wb") as out:
        while chunk := response.read1(CHUNK):
            size += len(chunk)
            if size > most:
                raise TooLarge(f"The film that was sent has more than {most:,} bytes.")
            try:
                out.write(chunk)
            except OSError as error:
                raise DiskFull(f"The film could not be written: {error.strerror}.",
                               hint="Free space; the job can be run again.") from None
            tick(size)
    if length is not None and size < length:
        raise http.client.IncompleteRead(b"", length - size)


def _parts(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
        fine = (parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and parts.username is None
                and url.isascii() and url.isprintable() and " " not in url and len(url) <= 4_000)
    except ValueError:
        fine = False
    if not fine:
        raise EngineFailed("The server named an address that is no plain http or https URL.")
    return parts


def _place(url: str) -> tuple[str | None, int] | None:
    """Host and port; None for what is no URL."""
    try:
        return _origin(url)[1:]
    except EngineFailed:
        return None


def _origin(url: str) -> tuple[str, str | None, int]:
    parts = _parts(url)
    return parts.scheme, parts.hostname, _port(parts)


def _port(parts: SplitResult) -> int:
    return parts.port or (443 if parts.scheme == "https" else 80)


def _lowered(response: http.client.HTTPResponse) -> dict[str, str]:
    return {name.lower(): value for name, value in response.getheaders()}


def pause(seconds: float, look: Callable[[], object]) -> None:
    """`look` raises when nobody waits any more."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        look()
        time.sleep(min(0.25, left))
