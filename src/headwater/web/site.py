"""What a page is made with: who looks, in which language, and the template. Knows HTTP; knows no repo.

A page calls `page(request, "name.html", …)`. Every answer carries the security headers of docs/design/006-pages.md.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, unquote

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse, RedirectResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from headwater import __version__
from headwater.core.errors import Forbidden
from headwater.core.types import ANYONE, Actor, Kind, Repo
from headwater.hub import Hub
from headwater.hub.facts import Facts
from headwater.web import cards, figures, pages
from headwater.web.told import told_in
from headwater.web.words import NAMES, Words, choose, languages, words

ROOT = Path(__file__).parent
LANGUAGE_COOKIE, THEME_COOKIE, SESSION_COOKIE = "headwater_language", "headwater_theme", "headwater_session"
THEMES = ("auto", "light", "dark")
YEAR_S = 31_536_000
CSP = ("default-src 'self'; img-src 'self'; object-src 'none'; base-uri 'none'; form-action 'self'; "
       "frame-ancestors 'none'")


@dataclass(frozen=True)
class Site:
    """What the pages were mounted with. app: the composition root; actor_of: who asks, as the API decides it."""

    app: Any
    actor_of: Callable[[Request], Actor]


@dataclass(frozen=True)
class Visitor:
    actor: Actor
    words: Words
    theme: str

    @property
    def language(self) -> str:
        return self.words.language


def visitor(request: Request) -> Visitor:
    """Who looks at the page. A wrong token raises NotSignedIn; a stale session cookie is a stranger."""
    found = getattr(request.state, "visitor", None)
    if found is None:
        found = request.state.visitor = _visitor(request, request.app.state.pages.actor_of(request))
    return found


def hub_of(request: Request) -> Hub:
    return request.app.state.pages.app.hub


def app_of(request: Request) -> Any:
    return request.app.state.pages.app


VisitorDep = Annotated[Visitor, Depends(visitor)]
HubDep = Annotated[Hub, Depends(hub_of)]


def same_origin(request: Request) -> None:
    """Raises Forbidden for a form another site sent: the browser says where a request was made."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    host = request.headers.get("host", "")
    if site not in (None, "same-origin", "none") or (origin is not None and origin.partition("://")[2] != host):
        raise Forbidden("This form was sent by another site, so nothing was done.", hint="Open the page here and try.")


OWN_FORM = [Depends(same_origin)]


def page(request: Request, template: str, *, status: int = 200, headers: dict[str, str] | None = None,
         **data: Any) -> HTMLResponse:
    """The template as an answer. `data` is what the template names; a name it lacks is an error, not a blank."""
    who = visitor(request)
    html = environment(who.language).get_template(template).render(
        visitor=who, actor=who.actor, theme=who.theme, page_path=request.url.path, here=_here(request),
        hub_url=base_url(request), kinds=Kind, **data,
    )
    return HTMLResponse(html, status, {
        "Content-Security-Policy": CSP, "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin",
        "X-Frame-Options": "DENY", "Cache-Control": "private, no-cache", "Vary": "Cookie, Accept-Language, HX-Request",
        "Content-Language": who.words.tag, **(headers or {}),
    })


def error_page(request: Request, status: int, message: str, headers: dict[str, str]) -> HTMLResponse:
    """The page of an error. It asks for nobody's name, so it can also say that a token is wrong."""
    if getattr(request.state, "visitor", None) is None:
        request.state.visitor = _visitor(request, ANYONE)
    return page(request, "parts/error.html", status=status, headers=headers, code=status, message=message)


def go(path: str) -> RedirectResponse:
    """To another page after a form was done (303, so that reload does not send it again)."""
    return RedirectResponse(path, 303)


def local_path(path: str) -> str:
    """The path if it stays on this hub, else '/': what a form hands back must not lead elsewhere."""
    return path if path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable() else "/"


def secure(request: Request) -> bool:
    """Whether cookies must only travel over TLS: when the visitor came over it."""
    return base_url(request).startswith("https://")


def base_url(request: Request) -> str:
    """How the visitor reaches this hub, without a trailing slash."""
    return (hub_of(request).settings.public_url or str(request.base_url)).rstrip("/")


def repo_url(repo: Repo) -> str:
    return f"/datasets/{repo.full_name}" if repo.kind is Kind.DATASET else f"/{repo.full_name}"


def segment(text: str) -> str:
    """A path parameter as it was meant: quoted '/' and '%' inside a segment reach us quoted."""
    return unquote(text)


@cache
def environment(language: str) -> Environment:
    """Jinja for one language, with the filters and globals every template may use."""
    env = Environment(
        loader=FileSystemLoader([*pages.__path__, ROOT]), autoescape=True, undefined=StrictUndefined,
        extensions=["jinja2.ext.i18n"], trim_blocks=True, lstrip_blocks=True,
    )
    env.install_gettext_translations(words(language), newstyle=True)  # type: ignore[attr-defined]
    env.filters |= {
        "size": partial(figures.size, language=language), "count": partial(figures.count, language=language),
        "short": figures.short, "ago": partial(figures.ago, language=language), "stamp": figures.stamp,
        "marks": cards.marks, "topics": cards.topics, "licence": cards.licence,
        "moment": partial(figures.moment, language=language),
        "day": partial(figures.day, language=language), "lasted": partial(figures.lasted, language=language),
        "says": _says, "q": quote, "qs": partial(quote, safe=""),
    }
    env.globals |= {
        "static": static_url, "version": __version__, "lang": words(language).tag, "repo_url": repo_url,
        "told": told_in(words(language)), "languages": [(name, *NAMES[name]) for name in languages()], "themes": THEMES,
    }
    return env


@cache
def static_url(name: str) -> str:
    """The address of a static file with its digest in it, so browsers keep it for good."""
    digest = hashlib.sha256((ROOT / "static" / name).read_bytes()).hexdigest()
    return f"/static/{name}?v={digest[:12]}"


def _visitor(request: Request, actor: Actor) -> Visitor:
    language = choose(request.cookies.get(LANGUAGE_COOKIE), request.headers.get("accept-language"))
    theme = request.cookies.get(THEME_COOKIE, "auto")
    return Visitor(actor, words(language), theme if theme in THEMES else "auto")


def _here(request: Request) -> str:
    return request.url.path + (f"?{request.url.query}" if request.url.query else "")


def _says(facts: Facts) -> bool:
    """Whether a revision tells anything of a model at all."""
    told = facts.description
    return bool(facts.headers or facts.problems or told.architecture or told.chat_template or told.tokenizer)
