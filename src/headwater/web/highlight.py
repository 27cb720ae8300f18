"""Colour source text. Knows file names and languages; knows nothing of repos. Input may be hostile.

Lexers are regular expressions without a clock, so only well-behaved ones are used, and only on text of
bounded size and line length; the rest is shown plain.
"""

from __future__ import annotations

from functools import cache
from html import escape
from pathlib import PurePosixPath
from typing import Any

MAX_CHARS = 200_000
MAX_LINE = 2_000

# Language by the end of a file's name, and by the word after ``` in a card.
_BY_SUFFIX = {
    "py": "python", "pyi": "python", "ipynb": "json", "json": "json", "jsonl": "json", "index": "json",
    "yaml": "yaml", "yml": "yaml", "toml": "toml", "ini": "ini", "cfg": "ini", "sh": "bash", "bash": "bash",
    "md": "markdown", "js": "javascript", "mjs": "javascript", "ts": "typescript", "html": "html", "css": "css",
    "xml": "xml", "c": "c", "h": "c", "cc": "cpp", "cpp": "cpp", "hpp": "cpp", "cu": "cpp", "rs": "rust",
    "go": "go", "java": "java", "sql": "sql", "diff": "diff", "patch": "diff", "jinja": "jinja", "j2": "jinja",
    "cmake": "cmake", "dockerfile": "docker", "makefile": "make",
}
_WORDS = {"python3": "python", "py": "python", "shell": "bash", "sh": "bash", "console": "console", "pycon": "pycon",
          "zsh": "bash", "c++": "cpp", "jinja2": "jinja", "js": "javascript", "ts": "typescript"}
_LANGUAGES = set(_BY_SUFFIX.values()) | {"console", "pycon"}


def language_of(path: str) -> str | None:
    name = PurePosixPath(path).name.lower()
    return _BY_SUFFIX.get(name.rsplit(".", 1)[-1]) if "." in name else _BY_SUFFIX.get(name)


def language_of_fence(info: str) -> str | None:
    word = info.split()[0].lower() if info.split() else ""
    word = _WORDS.get(word, _BY_SUFFIX.get(word, word))
    return word if word in _LANGUAGES else None


def colour(text: str, language: str | None) -> str:
    """HTML of the text: escaped, with <span class=…> of Pygments' short names where a language is known."""
    if language is None or len(text) > MAX_CHARS or max(map(len, text.split("\n")), default=0) > MAX_LINE:
        return escape(text, quote=False)
    from pygments import highlight

    html = highlight(text, _lexer(language), _formatter())
    return html if text.endswith("\n") else html.removesuffix("\n")


def lines(text: str, language: str | None) -> list[str]:
    """The same, line by line; no element crosses a line, so each can stand in a row of its own."""
    out, open_tag = [], ""
    for line in colour(text, language).rstrip("\n").split("\n"):
        line = open_tag + line
        opened, closed = line.rfind("<span"), line.rfind("</span>")
        # Pygments never nests spans: at most one is open at the end of a line.
        open_tag = line[opened:line.index(">", opened) + 1] if opened > closed else ""
        out.append(line + "</span>" if open_tag else line)
    return out


@cache
def _lexer(language: str) -> Any:
    from pygments.lexers import get_lexer_by_name

    return get_lexer_by_name(language, stripnl=False, ensurenl=False)


@cache
def _formatter() -> Any:
    from pygments.formatters import HtmlFormatter

    return HtmlFormatter(nowrap=True)
