"""`headwater models`"""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from headwater.cli._common import Common, count, human, note, show_json, show_table
from headwater.core.errors import BadInput, Unavailable

Model = Annotated[str, Parameter(help="owner/name, or owner/name@revision.")]


def list_(*, common: Common = Common()) -> None:
    """List the models that can be used now, and which are loaded."""
    from headwater.cli._hub import reach

    with reach(common) as door:
        models = door.get("/v1/models")["data"]
    if common.json:
        show_json(models)
        return
    show_table(["name", "engine", "sees", "#size", "#parameters", "#context", "licence", "now", "#memory"],
               map(_row, models), "No models here that an engine could run. `headwater add SOURCE` brings one in.")


def _row(model: dict[str, Any]) -> tuple[Any, ...]:
    said = model["headwater"]
    now = said["loaded"] or {}
    state = {"ready": "loaded"}.get(now.get("state", ""), now.get("state", "at rest"))
    context = now.get("context") or said["context_length"]
    return (model["id"], said["engine"], ", ".join(said["modalities"]), human(said["size_bytes"]),
            count(said["parameters"]), context or "", said["license"] or "",
            f"{state}, pinned" if now.get("pinned") else state, human(now.get("memory_bytes")))


def load(model: Model, *, common: Common = Common()) -> None:
    """Load a model now; unused, it goes again."""
    _do("load", model, common, "{} is loaded.", "")


def unload(model: Model, *, common: Common = Common()) -> None:
    """Let an idle model go now, pinned or not."""
    _do("unload", model, common, "{} is let go.", "{} was not loaded.")


def pin(model: Model, *, common: Common = Common()) -> None:
    """Load a model and keep it loaded."""
    _do("pin", model, common, "{} is loaded, and stays so until the hub ends or it is unpinned.", "")


def unpin(model: Model, *, common: Common = Common()) -> None:
    """Let a model go again when nobody uses it."""
    _do("unpin", model, common, "{} goes when nobody uses it.", "")


def _do(what: str, model: str, common: Common, done: str, undone: str) -> None:
    from headwater.cli._hub import NOT_RUNNING, path_of, reach

    owner, _, name = model.partition("/")
    if not owner or not name:
        raise BadInput(f"{model!r} is no model.", hint="Write owner/name; `headwater models` lists them.")
    with reach(common) as door:
        if door.here:
            raise Unavailable("Models are loaded in the hub that serves, and none does.", hint=NOT_RUNNING)
        said = door.post(f"/api/headwater/chat/models/{path_of(owner, name)}/{what}")
    if common.json:
        show_json(said)
    else:
        note((done if said["done"] else undone).format(said["model"]))
