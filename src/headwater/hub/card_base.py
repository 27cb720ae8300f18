"""Write into a card which model it is based on, touching nothing else of it. Pure text to text."""

from __future__ import annotations

import json
from collections.abc import Sequence

from headwater.core.errors import Conflict
from headwater.hub.card import parse_front, split_card

_KEYS = ("base_model", "base_model_relation")


def with_base(readme: str, bases: Sequence[str], relation: str | None) -> str:
    """The README with base_model (and base_model_relation, if given) in its front matter, in place of older ones.

    Raises Conflict where the front matter cannot be read, or would not say exactly this afterwards.
    """
    front, body = split_card(readme)
    wanted: dict[str, object] = {"base_model": bases[0] if len(bases) == 1 else list(bases)}
    if relation is not None:
        wanted["base_model_relation"] = relation
    try:
        before = parse_front(front)
        kept = _without(front)
        if kept and not kept.endswith("\n"):
            kept += "\n"
        new = kept + "".join(f"{key}: {json.dumps(value, ensure_ascii=False)}\n" for key, value in wanted.items())
        left, after = parse_front(kept), parse_front(new)
        new.encode()  # a lone surrogate is a ValueError too
    except ValueError as error:
        raise Conflict(f"The card's front matter cannot be read: {error}.", hint="Edit README.md by hand.") from None
    rest = {key: value for key, value in before.items() if key not in _KEYS}
    if left != rest or after != rest | wanted:
        raise Conflict("The card's front matter is written in a way that is not edited safely.",
                       hint="Edit README.md by hand.")
    return f"---\n{new}---\n\n{body}" if not front else _in_place(readme, front, new)


def _without(front: str) -> str:
    """The front matter less the two keys and the lines that belong to them: indented, or items of a list."""
    kept, inside = [], False
    for line in front.splitlines(keepends=True):
        if line.strip() and not line.startswith((" ", "\t", "-")):
            inside = line.partition(":")[0].rstrip() in _KEYS and ":" in line
        if not inside:
            kept.append(line)
    return "".join(kept)


def _in_place(readme: str, front: str, new: str) -> str:
    at = readme.index(front)
    return readme[:at] + new + readme[at + len(front):]
