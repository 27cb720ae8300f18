"""Every word of the pages is in the catalogues, and no page shows one that went around them."""

from __future__ import annotations

import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import httpx
import pytest
from addresses import addresses

from headwater.web import site, words

sys.path.insert(0, str(Path(__file__).parents[2] / "tools"))
from messages import gather

VOID = {"area", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}
SPOKEN = ("aria-label", "title", "placeholder", "alt")


@pytest.mark.parametrize("language", [name for name in words.languages() if name != words.SOURCE])
def test_every_message_has_words_in_every_language(language):
    catalogue = words.words(language)
    lacking = [m.id for m in gather() if m.id and catalogue._messages.get(_key(m.id)) in (None, "", ("",))]
    assert not lacking, "run `make messages`, then write them"


@pytest.mark.parametrize("language", [name for name in words.languages() if name != words.SOURCE])
def test_words_keep_the_places_that_are_filled_in(language):
    catalogue = words.words(language)
    for message in gather():
        if message.id:
            want = set(re.findall(r"%\(\w+\)s|{\w+}", _key(message.id)))
            said = catalogue._messages[_key(message.id)]
            for text in said if isinstance(said, tuple) else (said,):
                assert set(re.findall(r"%\(\w+\)s|{\w+}", text)) == want, message.id


def test_no_catalogue_keeps_words_that_no_page_says():
    wanted = {_key(m.id) for m in gather() if m.id}
    for language in words.languages():
        assert set(words.words(language)._messages) <= wanted


@pytest.mark.parametrize(("cookie", "accept", "want"), [
    (None, None, "en"), (None, "zh-CN,zh;q=0.9,en;q=0.8", "zh_Hans"), (None, "de;q=1, zh-Hans;q=0.3", "zh_Hans"),
    (None, "en-GB;q=0.9, zh;q=0.5", "en"), ("en", "zh-CN", "en"), ("zh_Hans", "en", "zh_Hans"),
    ("../../etc", "zh", "zh_Hans"), (None, ";;;q=x,,,", "en"), (None, "zh;q=0", "en"),
])
def test_the_language_is_the_cookies_then_the_browsers_then_english(cookie, accept, want):
    assert words.choose(cookie, accept) == want


class Marking(words.Words):
    """Says every message between marks, so that what was never asked for stands out."""

    def __init__(self):
        super().__init__("en", {})

    def gettext(self, message):
        return f"⟦{message}⟧"

    def ngettext(self, one, many, n):
        return f"⟦{one if n == 1 else many}⟧"


class Unmarked(HTMLParser):
    """Texts with letters that stand outside the marks, outside translate="no" and outside times."""

    def __init__(self, html: str):
        super().__init__()
        self.stack: list[bool] = []
        self.found: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        quiet = (self.stack[-1] if self.stack else False) or values.get("translate") == "no" or tag in (
            "script", "style", "time", "title", "code", "textarea")
        for name in SPOKEN:
            if not quiet and values.get(name) and tag not in ("svg", "meta") and not self.is_data(tag, name, values):
                self.check(values[name])
        if tag not in VOID:
            self.stack.append(quiet)

    @staticmethod
    def is_data(tag: str, name: str, values: dict) -> bool:
        # Regions and pictures are named after the file they show.
        return name == "alt" or (name == "aria-label" and (tag == "progress" or values.get("role") == "region"))

    def handle_endtag(self, tag):
        if tag not in VOID and self.stack:
            self.stack.pop()

    def handle_data(self, data):
        if not (self.stack and self.stack[-1]):
            self.check(data)

    def check(self, text: str) -> None:
        left = re.sub(r"⟦[^⟧]*⟧", "", text)
        if re.search(r"[^\W\d_]", left):
            self.found.append(text.strip())


@pytest.fixture
def marked(monkeypatch):
    site.environment.cache_clear()
    monkeypatch.setattr(site, "words", lambda language: Marking())
    yield
    site.environment.cache_clear()


def test_no_page_shows_a_word_that_cannot_be_translated(world, marked):
    loose = {}
    with httpx.Client(base_url=world.url, headers={"accept": "text/html"}) as http:
        for path in addresses():
            html = http.get(path).text
            assert "⟦" in html
            if found := Unmarked(html).found:
                loose[path] = found
    assert not loose


def test_a_chinese_visitor_reads_chinese(world):
    headers = {"accept": "text/html", "accept-language": "zh-CN,zh;q=0.9"}
    with httpx.Client(base_url=world.url, headers=headers) as http:
        answer = http.get("/reader/Streamlet-8K")
    assert 'lang="zh-Hans"' in answer.text and "源流" in answer.text and "尚未读取" in answer.text
    assert answer.headers["content-language"] == "zh-Hans"


def _key(message: str | tuple[str, ...]) -> str:
    return message[0] if isinstance(message, tuple) else message
