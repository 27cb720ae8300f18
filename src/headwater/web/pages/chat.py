"""Talk with a model. The page is a frame; static/chat.js streams from /v1/chat/completions."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from headwater.chat.models import find_all
from headwater.web.site import VisitorDep, app_of, page

router = APIRouter()


@router.get("/chat")
def chat(request: Request, who: VisitorDep, model: str = "") -> Response:
    names = [m.repo.full_name for m in find_all(app_of(request).chat, who.actor)]
    # A model named with its revision is not in the list of mains, and is what the visitor asked for.
    if "@" in model and model.split("@")[0] in names:
        names.insert(0, model)
    return page(request, "chat.html", models=names, model=model if model in names else "", asked=model,
                tells=_words(who))


def _words(who: VisitorDep) -> dict[str, str]:
    """What chat.js says, in the visitor's language."""
    _ = who.words.gettext
    return {
        "you": _("You"), "thinking": _("Thinking"), "waking": _("Waking the model …"), "stopped": _("stopped"),
        "cut": _("cut off: the answer reached its limit"), "copy": _("Copy"), "again": _("Answer again"),
        "untitled": _("New conversation"), "remove": _("Delete this conversation"), "failed": _("No answer"),
        "tokens": _("{n} tokens"), "speed": _("{n} a second"), "seed": _("seed {n}"), "answering": _("Answering"),
        "done": _("Answer complete"), "lost": _("The connection broke off. What came so far is kept."),
        "stop": _("Stop"), "send": _("Send"), "sure": _("Delete this conversation?"),
        "full": _("This browser has no room for more; the oldest conversations were let go."),
    }
