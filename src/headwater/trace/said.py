"""Sentences for people that know what they were made of, so that a page can say them in another language.

A Said is its English text and behaves as such everywhere. Beside it are the template, which is what catalogues hold
(tools/messages.py gathers every said("...") of trace), and what stands in its places: figures, names, other sentences.
Kept in records as `told`; a record of before has none, and its text is shown as it is. Knows no language but English.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import reduce
from typing import Any


class Said(str):
    """template % places is the text; a template without places stands as it is."""

    template: str
    places: Mapping[str, str]

    def __new__(cls, template: str, places: Mapping[str, str]) -> Said:
        made = super().__new__(cls, template % places if places else template)
        made.template, made.places = template, places
        return made

    def __getnewargs__(self) -> tuple[str, Mapping[str, str]]:  # type: ignore[override]
        return self.template, self.places


def said(template: str, /, **places: str | int) -> Said:
    """places: %(name)s of the template. Numbers are written as given: format them first."""
    return Said(template, {name: value if isinstance(value, str) else str(value) for name, value in places.items()})


def sentences(parts: Iterable[str]) -> str:
    """One behind the other; plain text among them stays plain."""
    return reduce(lambda a, b: said("%(a)s %(b)s", a=a, b=b) if a else b, parts, "")


def clauses(parts: Iterable[str]) -> str:
    """Parts of one sentence."""
    return reduce(lambda a, b: said("%(a)s; %(b)s", a=a, b=b) if a else b, parts, "")


def as_told(text: str | None) -> list[Any] | None:
    """[template, {place: text or such a list}]; None of a text that is nothing but itself."""
    if not isinstance(text, Said):
        return None
    return [text.template, {name: as_told(value) or str(value) for name, value in text.places.items()}]


def from_told(told: list[Any] | None, text: str) -> str:
    """The other way round; `text` where nothing was told. Raises KeyError, TypeError or ValueError for what as_told
    never gave."""
    if told is None:
        return text
    template, places = told
    return Said(template, {name: from_told(inner, "") if isinstance(inner, list) else str(inner)
                           for name, inner in places.items()})
