"""`headwater engine`"""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from headwater.cli._common import Common, human, note, show_json, show_table


def build(*, common: Common = Common()) -> None:
    """Compile llama.cpp for this processor.

    Takes some minutes. Broken off or cancelled, it goes on where it was when it is asked for again. Models loaded from
    then on use it (setting llamacpp_build).
    """
    from headwater.cli._hub import reach
    from headwater.cli._job import see_through

    with reach(common, work=True) as door:
        made = see_through(door, door.post("/api/headwater/engines/builds"), quiet=common.json)
    if common.json:
        show_json(made)
    else:
        note(f"{made['name']} is made of {made['package']} (sha256 {made['sha256']}).")
        note("Models use it from their next load on.")


def list_(*, common: Common = Common()) -> None:
    """List the engines and the builds made here."""
    from headwater.cli._hub import reach

    with reach(common) as door:
        engines = door.get("/api/headwater/engines")
    if common.json:
        show_json(engines)
        return
    rows = ((one["name"], one["build"], "yes" if one["chosen"] else "", human(one["bytes"]), one["problem"] or "")
            for one in engines)
    show_table(["name", "build", "in use", "#size", ""], rows, "No engines.")


def remove(name: Annotated[str, Parameter(help="A name `headwater engine list` shows.")], *,
           common: Common = Common()) -> None:
    """Delete a build made here."""
    from headwater.cli._hub import path_of, reach

    with reach(common) as door:
        gone = door.ask("DELETE", f"/api/headwater/engines/builds/{path_of(name)}")
    if common.json:
        show_json(gone)
    else:
        note(f"{gone['name']} is deleted.")


def probe(
    model: Annotated[str, Parameter(help="owner/name[@revision].")],
    *,
    smaller: Annotated[bool, Parameter(negative="", help="Try forms with fewer bits than the file has, too.")] = False,
    forget: Annotated[bool, Parameter(negative="", help="Run the model as it is stored again.")] = False,
    common: Common = Common(),
) -> None:
    """Find the form in which this processor runs a model fastest, and keep it.

    Each form is run and measured, and compared with the one in the repo: one that computes something else is refused.
    Receipts name the form. Nothing in the repo changes.
    """
    from headwater.cli._hub import path_of, reach
    from headwater.cli._job import see_through

    with reach(common, work=True) as door:
        if forget:
            found = door.ask("DELETE", f"/api/headwater/engines/forms/{path_of(*model.partition('@')[0].split('/'))}")
        else:
            job = door.post("/api/headwater/engines/forms", {"model": model, "smaller": smaller})
            found = see_through(door, job, quiet=common.json)
    if common.json:
        show_json(found)
    elif forget:
        note(f"{model} runs as it is stored from its next load on." if found["done"] else "Nothing was found before.")
    else:
        _print(found)


def _print(found: dict[str, Any]) -> None:
    rows = [(trial["form"], human(trial["bytes"]), f"{trial['read_rate']:.0f}", f"{trial['write_rate']:.0f}",
             f"{trial['seconds']:.2f}", "" if trial["kl"] is None else f"{trial['kl']:.4f}",
             "" if trial["agree"] is None else f"{trial['agree']:.0%}", trial["refused"] or "")
            for trial in found["trials"]]
    show_table(["form", "#size", "#reads/s", "#writes/s", "#turn s", "#divergence", "#same choice", ""], rows, "")
    note(f"{found['model']} runs as {found['form']} from its next load on." if found["form"] else
         "None is at least a tenth faster and the same: the model runs as it is stored.")
