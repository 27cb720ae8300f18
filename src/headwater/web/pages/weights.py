"""Inside a model: architecture, tensors and chat template, read from headers and small files."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response
from markupsafe import Markup

from headwater.hub.facts import facts
from headwater.hub.speech import speech
from headwater.web import highlight
from headwater.web.pages._repo import PlaceDep, repo_page
from headwater.web.site import HubDep, VisitorDep
from headwater.web.words import Words

router = APIRouter()
TENSORS_MAX = 1500


@router.get("/{owner}/{name}/weights")
@router.get("/{owner}/{name}/weights/{revision}")
def weights(request: Request, hub: HubDep, who: VisitorDep, here: PlaceDep, file: str = "",
            find: str = "") -> Response:
    found = facts(hub, here.repo, here.commit)
    path = file if file in found.headers else next(iter(found.headers), "")
    header = found.headers.get(path)
    tensors = [t for t in header.tensors if find.lower() in t.name.lower()] if header else []
    partial = request.headers.get("hx-target") == "tensors"
    spoken = None if partial else speech(hub, here.repo, here.commit)
    template = spoken.template if spoken else None
    coloured = Markup(highlight.colour(template.text, "jinja")) if template else None
    said = sentences(who.words)
    remarks = [(r.state, said[r.code] % r.values) for r in spoken.remarks] if spoken else []
    return repo_page(request, "parts/tensors.html" if partial else "weights.html", hub, here, "weights", facts=found,
                     header=header, path=path, tensors=tensors[:TENSORS_MAX], find=find,
                     more=max(0, len(tensors) - TENSORS_MAX), chat_template=template, coloured=coloured,
                     remarks=remarks)


def sentences(words: Words) -> dict[str, str]:
    """What weights.speech.SENTENCES says, by code, in the visitor's language."""
    _ = words.gettext
    return {
        "stops": _("An answer ends at: %(tokens)s."),
        "no-stop": _("No file names a token that ends an answer, so answers end only at their greatest length."),
        "no-template": _("No file brings a chat template, and no default fits the vocabulary. Engines guess one."),
        "default": _("No file brings a chat template. The default for %(family)s is used: its marks are in the "
                     "vocabulary."),
        "broken": _("The template cannot be run: %(error)s"),
        "loses": _("The template leaves out what the user says."),
        "no-system": _("The template takes no system message: %(error)s"),
        "drops-system": _("The template leaves out the system message."),
        "no-opening": _("The template does not open the model's turn (add_generation_prompt changes nothing)."),
        "thinks": _("The template opens %(mark)s itself: what comes before its end is reasoning."),
        "switch": _("Thinking can be switched (enable_thinking)."),
        "double-bos": _("The template writes %(mark)s and the tokenizer adds it too. Headwater sends it once."),
        "twice-bos": _("The template itself writes %(mark)s twice in front."),
        "no-bos": _("The model has no BOS, and none is sent."),
        "no-end": _("The template writes nothing after an answer, so in a longer conversation the model does not see "
                    "where its turns ended."),
        "end-in-pieces": _("The template ends an answer with %(mark)s, which is no single token here: the model cannot "
                           "be stopped at it."),
        "pieces": _("No single tokens of this vocabulary, so read as ordinary text: %(marks)s."),
        "end-unnamed": _("No config names %(mark)s as an end, but the template ends answers with it. Headwater stops "
                         "there."),
        "plain-head": _("Baichuan 2 divides each row of its head by its length, and this file was made without: rows "
                        "are %(low)s to %(high)s long, so answers will be poor. Convert it again with llama.cpp's own "
                        "converter."),
        "unknown-marks": _("The vocabulary cannot be read here, so marks were not checked."),
    }
