"""Sentences of rooms in the visitor's language: their templates are in the catalogues. Knows no page and no verdict.

Those of trace know what they were made of. Those of films do not, and are known again by their form. What is neither,
as a sentence of a record of before, is shown as it is, marked as English.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any

from markupsafe import Markup, escape

from headwater.trace.said import Said
from headwater.web.pages import _film_said
from headwater.web.words import Words

LONGEST = 500
"""Characters of a text that is looked at; longer ones name what a stranger wrote."""


def in_words(words: Words, text: str) -> str:
    """The judge's sentence or words in the visitor's language, where they are in the catalogue."""
    if not isinstance(text, Said):
        return words.gettext(text)
    places = {name: in_words(words, value) if isinstance(value, Said) else value for name, value in
              text.places.items()}
    return words.gettext(text.template) % places if places else words.gettext(text.template)


def told_in(words: Words) -> Callable[[str], Markup]:
    """For templates: a sentence in the visitor's language, else in English and marked so."""
    def told(text: str) -> Markup:
        if isinstance(text, Said) or words.gettext(text) != text:
            return escape(in_words(words, text))
        if (said := known_again(words, text)) is not None:
            return escape(said)
        return Markup('<span translate="no" lang="en">{}</span>').format(text)

    return told


def known_again(words: Words, text: str) -> str | None:
    """A sentence of an engine of films in the visitor's language; None where it is not known or has no such words."""
    if len(text) > LONGEST:
        return None
    for template, form in _forms():
        if (found := form.fullmatch(text)) and (said := words.gettext(template)) != template:
            return said % {name: _part(words, value) for name, value in found.groupdict().items()}
    return None


def _part(words: Words, value: str) -> str:
    """What fills a place: a list of words of the catalogue is said in them, names and numbers stay."""
    pieces = [value] if words.gettext(value) != value else re.split("; nor |, ", value)
    known = any(words.gettext(one) != one for one in pieces)
    return words.gettext(", ").join(map(words.gettext, pieces)) if known else value


@cache
def _forms() -> tuple[tuple[str, Any], ...]:
    """Templates and what they match, those that say the most themselves first. By RE2, in linear time: names of
    strangers stand in these texts."""
    import re2

    def form(template: str) -> Any:
        parts = re.split(r"%\((\w+)\)s", template)
        return re2.compile("".join(f"(?P<{part}>.+?)" if n % 2 else re2.escape(part) for n, part in enumerate(parts)))

    listed = _film_said.sentences(lambda text: text)
    return tuple((one, form(one)) for one in sorted(listed, key=lambda one: -len(re.sub(r"%\(\w+\)s", "", one))))
