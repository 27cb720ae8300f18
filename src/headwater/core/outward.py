"""Which addresses a URL that a stranger named may be connected to. Looks names up; connects to nothing itself.

A caller connects to one of the addresses it is given here, never to the name again: what a name resolves to may change
in between.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Collection


def is_public(address: str) -> bool:
    """Raises ValueError for what is no address. An IPv6 address that carries an IPv4 one is not public."""
    found = ipaddress.ip_address(address.partition("%")[0])
    if isinstance(found, ipaddress.IPv6Address) and (
            found.ipv4_mapped or found.sixtofour or found.teredo or found in ipaddress.ip_network("64:ff9b::/96")):
        return False
    return found.is_global and not found.is_multicast


def addresses(host: str, port: int, named: Collection[str]) -> list[str]:
    """Those of the host that are public; all of a host in `named`, which an administrator vouches for. Empty when the
    name is not known."""
    try:
        found = {str(row[4][0]) for row in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)}
    except (OSError, UnicodeError):
        return []
    return sorted(address for address in found if host in named or is_public(address))
