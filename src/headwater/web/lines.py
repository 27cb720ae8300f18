"""What each repo of a list is, in one line: its card's description, else the first words of its card.

Knows cards; knows no pages. The first words are read from the bytes once for each head and kept.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable

from headwater.core.errors import HeadwaterError
from headwater.core.types import Oid, Repo
from headwater.hub import Hub, browse, card
from headwater.web import cards

READ = 20_000
KEPT = 10_000

_kept: OrderedDict[tuple[int, Oid], str] = OrderedDict()
_lock = threading.Lock()


def lines(hub: Hub, *lists: Iterable[Repo]) -> dict[int, str]:
    """By repo id; '' where nobody says."""
    return {repo.id: cards.line(repo) or _opening(hub, repo) for repos in lists for repo in repos}


def _opening(hub: Hub, repo: Repo) -> str:
    key = (repo.id, repo.head or "")
    with _lock:
        if key in _kept:
            _kept.move_to_end(key)
            return _kept[key]
    found = _read(hub, repo)
    with _lock:
        _kept[key] = found
        while len(_kept) > KEPT:
            _kept.popitem(last=False)
    return found


def _read(hub: Hub, repo: Repo) -> str:
    try:
        readme = browse.file(hub, browse.resolve(hub, repo, "main"), "README.md")
        text = b"".join(browse.read(hub, readme, 0, min(readme.size, READ))).decode("utf-8", "replace")
    except (HeadwaterError, FileNotFoundError):  # no card, or its bytes are lost: then nobody says
        return ""
    return cards.opening(card.split_card(text)[1])
