"""Put files into a repo from the browser. The page is a frame; static/upload.js speaks the same API as the clients."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response

from headwater.core.types import Access, Kind
from headwater.hub.access import find_repo
from headwater.web.pages._repo import PlaceDep, repo_page
from headwater.web.site import HubDep, VisitorDep

router = APIRouter()


@router.get("/{owner}/{name}/upload/{revision}")
@router.get("/datasets/{owner}/{name}/upload/{revision}")
def upload(request: Request, hub: HubDep, who: VisitorDep, here: PlaceDep, folder: str = "") -> Response:
    find_repo(hub, who.actor, here.repo.kind, here.repo.full_name, Access.WRITE)
    _ = who.words.gettext
    tells = {
        "waiting": _("waiting"), "hashing": _("reading"), "sending": _("sending"), "sent": _("sent"),
        "here": _("already here"), "small": _("goes with the commit"), "remove": _("Leave out"),
        "files": _("{n} files, {size}"), "file": _("1 file, {size}"), "committing": _("Making the commit …"),
        "done": _("Done. Opening the files …"), "failed": _("It stopped: {why}"),
        "ignored": _("left out by .gitignore"), "title": _("Upload {n} files"), "title_one": _("Upload {name}"),
        "offline": _("the hub did not answer"),
    }
    kind = "datasets" if here.repo.kind is Kind.DATASET else "models"
    return repo_page(request, "upload.html", hub, here, "files", folder=folder.strip("/"), tells=tells,
                     api=f"/api/{kind}/{here.repo.full_name}", lfs=f"{here.url}.git/info/lfs/objects/batch")
