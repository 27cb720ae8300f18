"""What a repo's remote-videos.json says of the server that makes its films, and what a film there may be. Opens no
connection; knows the names of keys' places, never a key's use."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from headwater.core.errors import BadInput, Forbidden
from headwater.core.film import Capabilities
from headwater.core.settings import Settings

FILE = "remote-videos.json"
SIZE_MAX = 64 * 1024
EXAMPLE = '{"url": "https://host/v1", "model": "...", "api": "openai"}'


@dataclass(frozen=True)
class Declared:
    """url: without a slash at its end, the address its API's paths are put after. seconds: the lengths it makes,
    shortest first, empty for any up to max_seconds; sizes likewise, (width, height). fields: whether an `openai` server
    is sent vLLM-Omni's further fields (seed, fps, steps, ...). The rest as in Capabilities."""

    url: str
    model: str
    api: Literal["openai", "kling"] = "openai"
    kinds: frozenset[str] = frozenset({"t2v", "i2v"})
    seconds: tuple[float, ...] = ()
    max_seconds: float = 20.0
    sizes: tuple[tuple[int, int], ...] = ()
    max_side: int = 1_920
    fps: int | None = None
    fields: bool = True
    negative: bool = True
    camera: bool = False
    last_frame: bool = False
    brushes: bool = False
    generates: bool = True

    @property
    def host(self) -> str:
        """With its port, for people."""
        return urlsplit(self.url).netloc

    def capabilities(self) -> Capabilities:
        further = self.api == "openai" and self.fields
        return Capabilities(
            self.kinds, max(self.seconds, default=self.max_seconds),
            max((max(size) for size in self.sizes), default=self.max_side), generates=self.generates, needs_model=True,
            camera=self.camera, brushes=self.brushes, last_frame=self.last_frame, steps=further, guidance=further,
            negative=self.negative and (further or self.api == "kling"), fps=self.fps)


def read(folder: Path | None) -> Declared:
    """Raises BadInput, naming what does not hold."""
    if folder is None:
        raise BadInput("Films of another server are made by a repo that says which.",
                       hint=f"Put {FILE} in one: {EXAMPLE}.")
    path = folder / FILE
    try:
        if path.stat().st_size > SIZE_MAX:
            raise BadInput(f"{FILE} is larger than {SIZE_MAX >> 10} KiB.")
        said = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        raise BadInput(f"{FILE} cannot be read as JSON.", hint=f"It is like {EXAMPLE}.") from None
    if not isinstance(said, dict):
        raise BadInput(f"{FILE} must be an object.", hint=f"It is like {EXAMPLE}.")
    return _declared(said)


def secret_for(settings: Settings, declared: Declared) -> str:
    """The key of the server, "" when it wants none. Raises Forbidden when no administrator has named its URL."""
    try:
        known = json.loads(settings.remotes or "{}")
    except ValueError:
        known = None
    if not isinstance(known, dict) or not all(isinstance(key, str) for key in known.values()):
        raise BadInput('The setting remotes must be JSON: {"https://host/v1": "key"}.')
    keys = {url.rstrip("/"): key for url, key in known.items()}
    if declared.url not in keys:
        raise Forbidden(f"Films would be asked of {declared.url}, which no administrator of this hub has allowed.",
                        hint="They can, in the setting `remotes`.")
    key = keys[declared.url]
    if declared.api == "kling" and (key.count(":") != 1 or key[0] == ":" or key[-1] == ":"):
        raise BadInput("The key for Kling's API must be ACCESS:SECRET in the setting `remotes`.")
    return key


_Reader = Callable[[Any], Any]


def _declared(said: dict[str, Any]) -> Declared:
    if unknown := sorted(set(said) - set(_READERS)):
        raise BadInput(f"{FILE}: {', '.join(name[:40] for name in unknown[:10])} is not known.",
                       hint=f"There are: {', '.join(_READERS)}.")
    if missing := [name for name in ("url", "model") if name not in said]:
        raise BadInput(f"{FILE}: {' and '.join(missing)} must be given.", hint=f"It is like {EXAMPLE}.")
    found: dict[str, Any] = {}
    if said.get("api") == "kling":
        found |= {"seconds": (5.0, 10.0), "sizes": ((1280, 720), (720, 1280), (720, 720))}
    for name, value in said.items():
        try:
            found[name] = _READERS[name](value)
        except (ValueError, TypeError, AttributeError, OverflowError):
            raise BadInput(f"{FILE}: {name} cannot be {json.dumps(value)[:80]}.") from None
    return Declared(**found)


def _need(fine: object) -> None:
    if not fine:
        raise ValueError


def _url(value: Any) -> str:
    parts = urlsplit(value)
    _need(parts.scheme in ("http", "https") and parts.hostname and parts.port != 0 and parts.username is None)
    _need(value.isascii() and value.isprintable() and " " not in value and not parts.query and not parts.fragment)
    return str(value).rstrip("/")


def _name(value: Any) -> str:
    _need(isinstance(value, str) and 0 < len(value) <= 200 and value.isprintable())
    return str(value)


def _flag(value: Any) -> bool:
    _need(isinstance(value, bool))
    return bool(value)


def _between(least: float, most: float) -> _Reader:
    def number(value: Any) -> float:
        _need(isinstance(value, int | float) and not isinstance(value, bool) and least <= value <= most)
        return value  # type: ignore[no-any-return]

    return number


def _lengths(value: Any) -> tuple[float, ...]:
    _need(isinstance(value, list) and 0 < len(value) <= 100)
    return tuple(sorted(float(_between(0.1, 120)(one)) for one in value))


def _sizes(value: Any) -> tuple[tuple[int, int], ...]:
    _need(isinstance(value, list) and 0 < len(value) <= 100)
    pairs = [one.split("x") for one in value]
    _need(all(len(pair) == 2 and pair[0].isdecimal() and pair[1].isdecimal() for pair in pairs))
    sizes = tuple((int(width), int(height)) for width, height in pairs)
    _need(all(64 <= side <= 4_096 and side % 2 == 0 for size in sizes for side in size))
    return sizes


def _kinds(value: Any) -> frozenset[str]:
    _need(isinstance(value, list) and value and set(value) <= {"t2v", "i2v"})
    return frozenset(value)


def _api(value: Any) -> str:
    _need(value in ("openai", "kling"))
    return str(value)


def _whole(least: int, most: int) -> _Reader:
    def number(value: Any) -> int:
        _need(isinstance(value, int))
        return int(_between(least, most)(value))

    return number


_READERS: dict[str, _Reader] = {
    "url": _url, "model": _name, "api": _api, "kinds": _kinds, "seconds": _lengths, "max_seconds": _between(0.1, 120),
    "sizes": _sizes, "max_side": _whole(64, 4_096), "fps": _whole(1, 60), "fields": _flag, "negative": _flag,
    "camera": _flag, "last_frame": _flag, "brushes": _flag, "generates": _flag}
