"""`headwater trace OWNER/NAME --api URL --model NAME`: ask a closed model, have the hub hold it beside its own.

The key is read from the environment here and goes to the closed model alone. What breaks off goes on when the same
command is run again: answers that are in are not asked for twice.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from headwater.cli._common import Common, note, plain, show_json, show_table
from headwater.core.errors import BadInput

if TYPE_CHECKING:
    from headwater.cli._hub import Door
    from headwater.trace.asking import Remote

KEY = "HEADWATER_API_KEY"
_PATH = "/api/headwater/behaviour"
_AT_ONCE, _BATCH = 4, 20


def hold_beside(name: str, api: str, model: str, controls: Sequence[str], prompts: int, dry: bool,
                common: Common) -> None:
    """Print what was found, or with `dry` only what it would take."""
    from headwater.cli._hub import path_of, reach
    from headwater.trace.asking import Remote

    remote = Remote(api, model, os.environ.get(KEY) or None)
    try:
        with reach(common, work=True) as door:
            remote.settle("The sun rises in the")
            order = door.post(_PATH, {"repo": name, "url": remote.url, "model": model,
                                      "controls": list(controls), "prompts": prompts})
            if not common.json or dry:
                _show_budget(order, common.json)
            if dry:
                return
            found = _carried_out(door, remote, order, common, f"{_PATH}/{path_of(order['id'])}")
    finally:
        remote.close()
    if common.json:
        show_json(found)
    else:
        _show(found)


def _carried_out(door: Door, remote: Remote, order: dict[str, Any], common: Common, path: str) -> dict[str, Any]:
    from headwater.cli._job import see_through

    if order["state"] != "done":
        _gather(door, remote, order, f"{path}/answers", quiet=common.json)
        see_through(door, door.post(f"{path}/count"), quiet=common.json)
    return door.get(path)


def _gather(door: Door, remote: Remote, order: dict[str, Any], path: str, *, quiet: bool) -> None:
    from headwater.cli._progress import Bar
    from headwater.trace.closed import TEXT_MAX

    questions, done = order["questions"], order["given"]
    with Bar(f"Asking {order['model']}", quiet=quiet) as bar, ThreadPoolExecutor(_AT_ONCE) as pool:
        while done < len(questions):
            bar(done, len(questions), unit="answers")
            said = list(pool.map(remote.ask, questions[done:done + _BATCH]))
            done = door.post(path, {"first": done, "answers": [text[:TEXT_MAX] for text in said]})["given"]
        bar(done, len(questions), unit="answers")


def _show_budget(order: dict[str, Any], as_json: bool) -> None:
    left = order["prompts"] - order["given"]
    names = [control["name"] for control in order["controls"]]
    if as_json:
        show_json({"closed": left, "ours": order["missing"], "controls": names, "url": order["url"],
                   "given": order["given"]})
        return
    going_on = f" ({order['given']} are in already)" if order["given"] else ""
    note(f"{left} requests go to {order['model']} at {order['url']}{going_on}, {order['missing']} to models of the "
         f"hub. Controls: {', '.join(names)}.")


def _show(found: dict[str, Any]) -> None:
    print(f"{plain(found['model'])} at {found['url']}\n{found['repo']}@{found['revision'][:12]}\n")
    print("behaves alike; its weights are not seen" if found["alike"] else
          "does not answer more alike than unrelated models do; its weights are not seen")
    print(found["says"])
    rows = [(found["repo"], "held beside", found["agree"])]
    rows += [(control["name"], "control", control["agree"]) for control in found["controls"]]
    print()
    show_table(["model", "", f"#alike of {found['asked']}"], rows, "")
    note("Answering alike is no proof of descent: a model may have learnt from another's answers, or both from the "
         "same texts.")


def check(name: str, other: str | None, whole: bool, api: str | None, model_there: str | None) -> None:
    """Refuse options that do not go together."""
    from headwater.cli._prints import is_of_hub

    if other is not None or whole or not is_of_hub(name):
        raise BadInput("--api holds a closed model beside one model of the hub.", hint="Name one, without --whole.")
    if not api or not model_there:
        raise BadInput("A closed model is named by --api URL and --model NAME.",
                       hint=f"The key, if it needs one, is read from {KEY}.")
