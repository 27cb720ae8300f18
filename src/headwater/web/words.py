"""The words of the pages in every language there is: reads locale/<language>/LC_MESSAGES/headwater.po at start.

English is the source and needs no catalogue. A language is a folder; nothing is compiled. Knows nothing of pages.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import cache
from pathlib import Path

LOCALES = Path(__file__).parent / "locale"
SOURCE = "en"
# What a language calls itself; shown in the switch, so never translated. The value is also its BCP 47 tag.
NAMES = {"en": ("English", "en"), "zh_Hans": ("中文", "zh-Hans")}


class Words:
    """One language. `gettext` and `ngettext` as Jinja and gettext know them; unknown messages stay English."""

    def __init__(self, language: str, messages: Mapping[str, str | tuple[str, ...]], plural: object = None):
        self.language = language
        self.tag = NAMES[language][1]
        self._messages = dict(messages)
        self._plural = plural

    def gettext(self, message: str) -> str:
        found = self._messages.get(message)
        return found if isinstance(found, str) and found else message

    def ngettext(self, one: str, many: str, n: int) -> str:
        found = self._messages.get(one)
        if isinstance(found, tuple) and all(found):
            return found[self._plural(n)] if self._plural else found[0]
        return one if n == 1 else many

    def pgettext(self, context: str, message: str) -> str:
        return self._messages.get(f"{context}\x04{message}") or message

    def npgettext(self, context: str, one: str, many: str, n: int) -> str:
        return self.ngettext(one, many, n)


@cache
def words(language: str) -> Words:
    """The words of one language; raises KeyError for a language there is not."""
    if language == SOURCE:
        return Words(SOURCE, {})
    from babel.messages.pofile import read_po

    text = (LOCALES / language / "LC_MESSAGES" / "headwater.po").read_text("utf-8")
    catalog = read_po(io.StringIO(text), locale=language)
    messages = {}
    for message in catalog:
        if not message.id:
            continue
        key = message.id[0] if isinstance(message.id, tuple) else message.id
        key = f"{message.context}\x04{key}" if message.context else key
        messages[key] = message.string
    from gettext import c2py

    return Words(language, messages, c2py(catalog.plural_expr))


def languages() -> list[str]:
    """English, and every language that has a catalogue."""
    return [SOURCE, *sorted(p.name for p in LOCALES.iterdir() if (p / "LC_MESSAGES" / "headwater.po").is_file())]


def choose(cookie: str | None, accept: str | None) -> str:
    """The language for a visitor: their cookie, else the best of Accept-Language, else English."""
    there = languages()
    if cookie in there:
        return cookie
    for tag in _wanted(accept or ""):
        if tag.startswith("zh"):
            return "zh_Hans"
        for language in there:
            if tag.split("-")[0] == language.split("_")[0].lower():
                return language
    return SOURCE


def _wanted(accept: str) -> list[str]:
    """Tags of an Accept-Language header, best first. At most 20 are read."""
    ranked = []
    for place, part in enumerate(accept.split(",")[:20]):
        tag, _, weight = part.strip().partition(";q=")
        try:
            quality = float(weight) if weight else 1.0
        except ValueError:
            quality = 0.0
        if tag and quality > 0:
            ranked.append((-quality, place, tag.strip().lower()))
    return [tag for _, _, tag in sorted(ranked)]
