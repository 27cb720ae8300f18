"""Turn a card into HTML that is safe and stays at home. Knows Markdown and where a repo's files are served.

The text is a stranger's. Raw HTML is cleaned by an allow-list; nothing that loads from elsewhere survives: an
image of the repo's own files is shown, any other becomes a link. Knows nothing of YAML (hub/card does).
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from html import escape
from html.parser import HTMLParser
from posixpath import join, normpath
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from headwater.web import highlight

MAX_CHARS = 300_000
_TAG_NAMES = (
    "a abbr b blockquote br caption cite code dd del details dfn div dl dt em figcaption figure h1 h2 h3 h4 h5 h6 hr "
    "i img ins kbd li mark ol p pre q s samp section small span strong sub summary sup table tbody td tfoot th thead "
    "tr u ul var center font input"
)
_TAGS = set(_TAG_NAMES.split())
_ATTRIBUTES = {
    "a": {"href", "title", "id"}, "li": {"id"}, "img": {"src", "alt", "title", "width", "height"},
    "td": {"colspan", "rowspan", "align"},
    "th": {"colspan", "rowspan", "align", "scope"}, "ol": {"start"}, "details": {"open"}, "code": {"class"},
    "span": {"class"}, "input": {"type", "checked", "disabled"}, "div": {"align"}, "p": {"align"}, "h1": {"align"},
}
_COLOUR = re.compile(r"[a-z][a-z0-9]{0,2}\Z")
_VOID = {"br", "hr", "img", "input"}
_HEADINGS = frozenset(f"h{n}" for n in range(1, 7))


@lru_cache(maxsize=128)
def render(text: str, base: str, revision: str, elsewhere: str = "image elsewhere") -> str:
    """Safe HTML of a card.

    base: path of the repo's page, '/owner/name' or '/datasets/owner/name'. revision: what relative links mean.
    elsewhere: what to call an image that is not the repo's own, in the reader's language.
    Longer than MAX_CHARS is cut. Headings begin at h2, for the page has its own h1, and skip no level.
    """
    # Markdown's own alignment of columns is a style, and styles are not let through.
    html = re.sub(r'style="text-align:(left|right|center)"', r'align="\1"', _parser().render(text[:MAX_CHARS]))
    rewriter = _Home(base, revision, elsewhere)
    rewriter.feed(_clean(html))
    rewriter.close()
    return "".join(rewriter.out)


@lru_cache(maxsize=512)
def render_said(text: str, elsewhere: str = "image elsewhere") -> str:
    """Safe HTML of what a person or a model said: as render(), but HTML in it is shown and not done, links that are
    relative lead nowhere, no image is fetched, and headings begin at h3 and have no ids."""
    rewriter = _Said("", "", elsewhere)
    rewriter.feed(_clean(re.sub(r'style="text-align:(left|right|center)"', r'align="\1"',
                                _parser(html=False).render(text[:MAX_CHARS]))))
    rewriter.close()
    return "".join(rewriter.out)


@cache
def _parser(html: bool = True) -> Any:
    from markdown_it import MarkdownIt
    from mdit_py_plugins.footnote import footnote_plugin
    from mdit_py_plugins.tasklists import tasklists_plugin

    def coloured(code: str, info: str, _attrs: str) -> str:
        return highlight.colour(code, highlight.language_of_fence(info))

    # maxNesting bounds '> > > …' and '- - - …', which cost quadratic time.
    parser = MarkdownIt("commonmark", {"html": html, "highlight": coloured, "maxNesting": 20})
    parser.enable(["table", "strikethrough"])
    # Footnotes have ids, and several messages stand on one page.
    return (parser.use(footnote_plugin) if html else parser).use(tasklists_plugin)


def _clean(html: str) -> str:
    import nh3

    def keep(tag: str, attribute: str, value: str) -> str | None:
        if attribute == "class":
            return value if _COLOUR.match(value) else None
        if attribute == "id":  # footnotes, and nothing that could shadow a name of the page's scripts
            return value if re.fullmatch(r"fn(ref)?[0-9:]{1,9}", value) else None
        if tag == "input" and attribute == "type":
            return "checkbox" if value == "checkbox" else None
        if attribute in ("width", "height"):
            return value if re.fullmatch(r"\d{1,4}%?", value) else None
        return value

    return nh3.clean(html, tags=_TAGS, attributes=_ATTRIBUTES, attribute_filter=keep, link_rel=None,
                     url_schemes={"http", "https", "mailto"}, clean_content_tags={"script", "style"})


class _Home(HTMLParser):
    """Rewrites cleaned HTML: links and images of the repo point into it, other images become links."""

    def __init__(self, base: str, revision: str, elsewhere: str):
        super().__init__(convert_charrefs=False)
        self.base, self.revision, self.elsewhere = base, quote(revision, safe=""), elsewhere
        self.out: list[str] = []
        self._heading: int | None = None
        self._above: list[str] = []
        self._ids: dict[str, int] = {}
        self._links = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "img":
            self._image(values)
            return
        if tag == "a":
            self._links += 1
            values = self._link(values)
        if tag == "input" and values.get("type") != "checkbox":
            return
        if tag == "input":
            values |= {"disabled": "", "aria-label": "✓" if "checked" in values else "☐"}
        if tag == "table":
            self.out.append('<div class="wide" tabindex="0" role="group">')
        if tag == "pre":
            values["tabindex"] = "0"
        if tag in _HEADINGS:
            self._heading = len(self.out)
            tag = self._level(tag)
        self.out.append(self._tag(tag, values))

    def handle_endtag(self, tag: str) -> None:
        if tag in _VOID:
            return
        self._links -= tag == "a"
        if tag in _HEADINGS:
            if self._heading is not None:
                self._name_heading(self._heading)
                self._heading = None
            tag = self._level(tag)
        self.out.append(f"</{tag}>")
        if tag == "table":
            self.out.append("</div>")

    def handle_data(self, data: str) -> None:
        self.out.append(escape(data, quote=False))

    def handle_entityref(self, name: str) -> None:
        self.out.append(f"&{name};")

    def handle_charref(self, name: str) -> None:
        self.out.append(f"&#{name};")

    def _tag(self, tag: str, values: dict[str, str]) -> str:
        inside = "".join(f' {name}="{escape(value)}"' for name, value in values.items())
        return f"<{tag}{inside}>"

    def _level(self, tag: str) -> str:
        """The heading's level on our page: one below the heading it stands under, the first ones h2."""
        while self._above and self._above[-1] >= tag:
            self._above.pop()
        self._above.append(tag)
        return f"h{min(len(self._above) + 1, 6)}"

    def _name_heading(self, start: int) -> None:
        """Give the heading an id made of its words, unlike any id of the page around it."""
        words = re.sub(r"<[^>]*>|&\w+;", "", "".join(self.out[start:])).strip().lower()
        slug = re.sub(r"[^\w一-鿿 -]", "", words).replace(" ", "-")[:80] or "section"
        seen = self._ids[slug] = self._ids.get(slug, -1) + 1
        name = f"card-{slug}-{seen}" if seen else f"card-{slug}"
        self.out[start] = self.out[start][:-1] + f' id="{escape(name)}">'

    def _link(self, values: dict[str, str]) -> dict[str, str]:
        href = values.pop("href", "").strip()
        if href.startswith("#"):
            target = unquote(href[1:]).lower()
            values["href"] = "#" + (target if target.startswith("fn") else f"card-{target}")
        elif urlsplit(href).scheme or href.startswith("//"):
            values |= {"href": href, "rel": "noopener noreferrer nofollow"}
        elif inside := self._inside(href):
            values["href"] = f"{self.base}/blob/{self.revision}/{inside}"
        return values

    def _image(self, values: dict[str, str]) -> None:
        source = values.pop("src", "").strip()
        inside = None if urlsplit(source).scheme or source.startswith("//") else self._inside(source)
        if inside is not None:
            inside = inside.split("#")[0]
            kept = {k: v for k, v in values.items() if k in ("title", "width", "height")}
            self.out.append(self._tag("img", {
                "src": f"{self.base}/resolve/{self.revision}/{inside}", "alt": values.get("alt", ""),
                "loading": "lazy", "decoding": "async", **kept,
            }))
            return
        host = urlsplit(source).hostname or ""
        words = f"[{values.get('alt') or self.elsewhere}{': ' + host if host else ''}]"
        if self._links or not source:
            self.out.append(f'<span class="off">{escape(words)}</span>')
        else:
            self.out.append(self._tag("a", {"class": "off", "href": source, "rel": "noopener noreferrer nofollow"})
                            + f"{escape(words)}</a>")

    def _inside(self, href: str) -> str | None:
        """The path a relative link means, quoted; None when it leaves the repo."""
        path, _, fragment = href.partition("#")
        path = unquote(path.split("?")[0]).removeprefix("/")
        if not path:
            return None
        inside = normpath(join(".", path))
        if inside.startswith("..") or inside in (".", ""):
            return None
        return quote(inside) + (f"#{quote(fragment)}" if fragment else "")


class _Said(_Home):
    """Rewrites cleaned HTML of a message, which stands among others and belongs to no repo."""

    def _level(self, tag: str) -> str:
        return f"h{min(int(super()._level(tag)[1]) + 1, 6)}"

    def _name_heading(self, start: int) -> None:
        """None: its words may stand in another message too."""

    def _inside(self, href: str) -> str | None:
        return None

    def _link(self, values: dict[str, str]) -> dict[str, str]:
        return {} if values.get("href", "").startswith("#") else super()._link(values)
