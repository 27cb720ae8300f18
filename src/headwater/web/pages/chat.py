"""Talk with a model. The page is a frame; static/chat*.js fill it from the hub's API. Knows no conversation."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

from fastapi import APIRouter, Request
from fastapi.responses import Response

from headwater.chat.models import find_all
from headwater.web.site import ROOT, VisitorDep, app_of, page

router = APIRouter()


@router.get("/chat")
def chat(request: Request, who: VisitorDep, model: str = "") -> Response:
    here = app_of(request).chat
    names = [m.repo.full_name for m in find_all(here, who.actor)]
    # A model named with its revision is not in the list of mains, and is what the visitor asked for.
    if "@" in model and model.split("@")[0] in names:
        names.insert(0, model)
    return page(request, "chat.html", models=names, modules=_modules(), model=model if model in names else "",
                asked=model, context=here.settings.chat_context, tells=_words(who))


@cache
def _modules() -> list[str]:
    """What chat.js imports, told to the browser at once: found one after another they would take as many turns."""
    return ["vendor/marked.esm.js", *sorted(path.name for path in (ROOT / "static").glob("chat-*.js"))]


def _words(who: VisitorDep) -> dict[str, str]:
    """What the scripts say, in the visitor's language."""
    _ = who.words.gettext
    return _answers(_) | _conversations(_) | {
        "leave_out": _("Leave out: {name}"), "no_preset": _("none chosen"),
        "kind_of_file": _("Only pictures, PDF and text can be added."), "preset_kept": _("The preset is kept."),
        "preset_gone": _("The preset is deleted."), "bad_schema": _("This is no JSON schema"),
        "model_n": _("Model {n}"), "without": _("Without this model"), "hello": _("Hello"),
        "blind": _("{model} cannot see pictures. Choose a model that can, or leave the picture out."),
    }


def _answers(_: Callable[[str], str]) -> dict[str, str]:
    return {
        "you": _("You"), "waking": _("Waking the model …"), "place": _("Waiting: place {n} in the queue"),
        "thinking": _("Thinking for {n} s"), "thought": _("Thought for {n} s"), "answer_of": _("Answer of {model}"),
        "stopped": _("stopped"), "cut": _("cut off: the answer reached its limit"), "copy": _("Copy"),
        "again": _("Answer again"), "failed": _("No answer"), "tokens": _("{n} tokens"), "speed": _("{n} a second"),
        "first": _("began after {n} s"), "seed": _("seed {n}"), "answering": _("Answering"),
        "done": _("Answer complete"), "lost": _("The connection broke off. What came so far is kept."),
        "context": _("{n} of {m} tokens"), "edit": _("Edit and ask anew"), "ask_anew": _("Ask anew"),
        "cancel": _("Cancel"), "pick": _("Go on with this one"), "versions": _("Versions"),
        "pick_first": _("Choose the answer to go on with first."), "earlier": _("Earlier version"),
        "later": _("Later version"), "remove_said": _("Delete from here on"), "said_gone": _("Deleted."),
    }


def _conversations(_: Callable[[str], str]) -> dict[str, str]:
    return {
        "untitled": _("New conversation"), "all_folders": _("All folders"), "nothing_found": _("Nothing found."),
        "none_yet": _("No conversations yet."), "talk_gone": _("The conversation is deleted."),
        "not_kept": _("This could not be kept on the hub."),
    }
