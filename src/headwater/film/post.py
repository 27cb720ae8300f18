"""One POST of JSON to a place outside: at an address that was checked, no redirect followed, no proxy asked."""

from __future__ import annotations

import http.client
import socket
import ssl
from collections.abc import Collection
from urllib.parse import SplitResult

from headwater.core.outward import addresses

TIMEOUT_S = 10.0


def post(parts: SplitResult, body: bytes, named: Collection[str], *, read: int = 0) -> tuple[int, bytes]:
    """(status, at most `read` bytes of the answer). named: hosts that may have private addresses, because who runs the
    hub named them. Raises OSError, HTTPException or ValueError when no address answered or the URL is of another
    scheme."""
    if parts.scheme not in ("http", "https"):
        raise ValueError("only http and https are asked")
    host, https = parts.hostname or "", parts.scheme == "https"
    port = parts.port or (443 if https else 80)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    failed: Exception = OSError("its name has no public address")
    for address in addresses(host, port, named):
        connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
        try:
            connection.sock = socket.create_connection((address, port), TIMEOUT_S)
            if https:
                connection.sock = ssl.create_default_context().wrap_socket(connection.sock, server_hostname=host)
            connection.request("POST", path, body, {"Content-Type": "application/json", "User-Agent": "headwater",
                                                    "Host": parts.netloc.rpartition("@")[2]})
            answer = connection.getresponse()
            return answer.status, answer.read(read) if read else b""
        except (OSError, http.client.HTTPException, ValueError) as error:
            failed = error
        finally:
            connection.close()
    raise failed
