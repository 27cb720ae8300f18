"""Sentences of trace in the visitor's language: their templates are in the catalogues. Knows no page and no verdict.

A sentence of a record of before knows nothing of what it was made of, and is shown as it is, marked as English.
"""

from __future__ import annotations

from collections.abc import Callable

from markupsafe import Markup, escape

from headwater.trace.said import Said
from headwater.web.words import Words


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
        return Markup('<span translate="no" lang="en">{}</span>').format(text)

    return told
