"""Models that come with Headwater itself: `headwater add brook`. Their files stand in the package, one folder each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path

from headwater import __version__
from headwater.core.types import Actor, Kind
from headwater.hub import Hub
from headwater.hub.imports._local import file_offer
from headwater.hub.imports._shelf import Meter, Plan

SHIPPED = {"brook": ("headwater", "brook")}
"""The word for it, and the name it gets."""


class Shipped:
    name = "shipped"
    example = "brook"
    local = False

    def accepts(self, text: str) -> bool:
        return text.strip() in SHIPPED

    @contextmanager
    def open(self, hub: Hub, actor: Actor, text: str, meter: Meter) -> Iterator[Plan]:
        root = Path(str(files("headwater"))) / "shipped" / text.strip()
        owner, name = SHIPPED[text.strip()]
        meter.start(f"reading {name}")
        found = sorted(path for path in root.rglob("*") if path.is_file())
        offers = [file_offer(hub, path.relative_to(root).as_posix(), path) for path in found]
        about = json.loads((root / "film.json").read_text())
        yield Plan(kind=Kind.MODEL, owner=owner, name=name, origin=f"shipped:{name}",
                   version=f"{about['version']}", title=f"Import {owner}/{name}", offers=tuple(offers), whole=True,
                   notes=(f"It came with Headwater {__version__}.",))


SOURCE = Shipped()
