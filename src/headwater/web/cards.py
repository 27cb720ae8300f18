"""What a card says, picked for people: one line, a few marks, the parents it declares. Knows front matter only."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from headwater.core.types import Card, Repo

_RELATIONS = ("finetune", "adapter", "merge", "quantized", "pruned", "upcycled", "distilled")
# Tags that tell how a repo is made rather than what it is for; they crowd out the others in a filter.
_DULL = ("base_model:", "dataset:", "license:", "size_categories:", "region:")
_LANGUAGE = re.compile(r"([a-z]{2}(-[A-Za-z]{2,4})?|multilingual|code|yue)\Z")


def line(repo: Repo) -> str:
    """One line on what it is, from the card's description; '' when it has none."""
    data = repo.card.data
    for key in ("description", "summary", "pretty_name"):
        if isinstance(data.get(key), str) and data[key].strip():
            return _cut(data[key])
    return ""


def opening(body: str) -> str:
    """The first sentence or two of a card's body: plain words of its first paragraph, '' when there are none."""
    for block in re.split(r"\n\s*\n", body[:20_000])[:40]:
        text = block.strip()
        if not text or text[0] in "#<|>`!=[{" or re.match(r"\d+\.|[-+*]\s|---|\*\*\*", text):
            continue
        text = re.sub(r"!\[[^\]]*\]\([^)]*\)|<[^>]*>", "", text)
        text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
        text = re.sub(r"[*_`]{1,3}(?=\S)|(?<=\S)[*_`]{1,3}", "", text)
        if len(text.strip()) > 20:
            return _cut(text)
    return ""


def without_title(body: str, name: str) -> str:
    """The body without a first heading that only says the repo's name again."""
    first, _, rest = body.lstrip().partition("\n")
    plain = re.sub(r"[\W_]", "", first).lower()
    return rest if first.startswith("# ") and plain == re.sub(r"[\W_]", "", name).lower() else body


def begins_with_words(body: str) -> bool:
    """Whether a card's first block, headings aside, is the paragraph `opening` takes its line from."""
    blocks = [b.strip() for b in re.split(r"\n\s*\n", body[:2000]) if b.strip() and not b.lstrip().startswith("#")]
    return bool(blocks) and bool(opening(blocks[0]))


def marks(repo: Repo) -> list[tuple[str, str]]:
    """(tag to filter by, word to show) of what one asks first: task, library, licence, base."""
    data, found = repo.card.data, []
    for key in ("pipeline_tag", "library_name"):
        found += [(value, value) for value in _texts(data.get(key))[:1]]
    found += [(f"license:{value}", value) for value in _texts(data.get("license"))[:1]]
    if not data.get("library_name"):
        found += [(tag, tag) for tag in ("gguf", "safetensors") if tag in repo.card.tags]
    return list(dict.fromkeys(found))


def topics(repo: Repo) -> list[str]:
    """The remaining tags, languages included, at most 24."""
    shown = {tag for tag, _ in marks(repo)}
    return [t for t in repo.card.tags if t not in shown and not t.startswith(_DULL)][:24]


@dataclass(frozen=True)
class Declared:
    """Parents a card names. relation: one of the known words, or None when the card does not say."""

    relation: str | None
    bases: tuple[str, ...]


def declared(card: Card) -> Declared | None:
    """What the card says the weights come from; None when it says nothing."""
    bases = tuple(b for b in _texts(card.data.get("base_model")) if re.fullmatch(r"[\w.-]+(/[\w.-]+)?", b))[:20]
    relation = card.data.get("base_model_relation")
    return Declared(relation if relation in _RELATIONS else None, bases) if bases else None


def licence(card: Card) -> str | None:
    """The licence's name, or None when the card names none."""
    data = card.data
    for key in ("license_name", "license"):
        for value in _texts(data.get(key)):
            if value != "other":
                return value
    return next(iter(_texts(data.get("license"))), None)


def language(card: Card) -> str | None:
    """The one language the card says it is about, as a tag for readers aloud; None when it names none or several."""
    named = _texts(card.data.get("language"))
    return named[0] if len(named) == 1 and re.fullmatch(r"[a-z]{2}", named[0]) else None


@dataclass(frozen=True)
class Facet:
    """One heading of the filters, with (tag, word, count)."""

    name: str
    tags: list[tuple[str, str, int]]


def facets(counted: list[tuple[str, int]], each: int = 12) -> list[Facet]:
    """Tags sorted under the headings of the filter column; empty headings are left out."""
    from headwater.web.tasks import LIBRARIES, TASKS

    names = ("task", "library", "license", "language", "other")
    groups: dict[str, list[tuple[str, str, int]]] = {name: [] for name in names}
    for tag, n in counted:
        if tag.startswith("license:"):
            groups["license"].append((tag, tag.removeprefix("license:"), n))
        elif tag.startswith("task_categories:"):
            groups["task"].append((tag, tag.removeprefix("task_categories:"), n))
        elif tag in TASKS:
            groups["task"].append((tag, tag, n))
        elif tag in LIBRARIES:
            groups["library"].append((tag, tag, n))
        elif tag.startswith(_DULL) or ":" in tag:
            continue
        elif _LANGUAGE.match(tag):
            groups["language"].append((tag, tag, n))
        else:
            groups["other"].append((tag, tag, n))
    return [Facet(name, tags[:each]) for name, tags in groups.items() if tags]


def _texts(value: Any) -> list[str]:
    return [str(v).strip() for v in (value if isinstance(value, list) else [value])
            if isinstance(v, str | int | float) and str(v).strip()]


def _cut(text: str, limit: int = 240) -> str:
    text = " ".join(text.split())
    if len(text) <= limit:
        return text
    ends = [m.end() for m in re.finditer(r"[.!?](?=\s)|[。!?]", text[:limit])]
    return text[: ends[-1]] if ends and ends[-1] > 60 else text[:limit].rsplit(" ", 1)[0] + "…"
