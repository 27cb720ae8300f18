"""`headwater trace A B --whole`: the files themselves compared, by the hub that has them or here."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from headwater.cli._common import Common, plain, show_table
from headwater.cli._prints import Print, files_of, is_of_hub
from headwater.core.errors import BadInput

_SHOWN = 5


def whole_of(models: tuple[str, str], prints: tuple[Print, Print], common: Common) -> dict[str, Any]:
    """As GET /api/headwater/lineage/pair has it under `whole`; the same numbers wherever the files are."""
    at_hub = [is_of_hub(model) for model in models]
    if all(at_hub):
        return _by_hub(prints, common)
    if any(at_hub):
        raise BadInput("--whole compares two models of the hub, or two that are not the hub's.",
                       hint="`headwater pull` brings the hub's model into a folder.")
    return _here(models, prints, common)


def _by_hub(prints: tuple[Print, Print], common: Common) -> dict[str, Any]:
    from headwater.cli._hub import reach
    from headwater.cli._job import see_through

    asked = {"a": prints[0].name, "b": prints[1].name}
    with reach(common, work=True) as door:
        found = door.get("/api/headwater/lineage/pair", **asked)
        if found["whole"] is None:
            see_through(door, door.ask("POST", "/api/headwater/lineage/pair/compare", json=asked), quiet=common.json)
            found = door.get("/api/headwater/lineage/pair", **asked)
    return found["whole"]


def _here(models: tuple[str, str], prints: tuple[Print, Print], common: Common) -> dict[str, Any]:
    from headwater.cli._progress import Bar
    from headwater.trace.fingerprint import Fingerprint
    from headwater.trace.judge import judge
    from headwater.trace.null import NullLibrary
    from headwater.trace.whole import Side, compare_whole, shown

    null, sides = NullLibrary.load(), []
    with ExitStack() as stack, Bar("Comparing the whole files", quiet=common.json) as bar:
        for model, made in zip(models, prints, strict=True):
            files, remote = files_of(model, common)
            if remote is not None:
                stack.callback(remote.close)
            sides.append(Side(Fingerprint.from_bytes(made.body), files, remote.read if remote else None))
        report = compare_whole(*sides, null, tell=lambda done, total: bar(done, total or None, unit="layers"))
    return shown(judge(sides[0].made, sides[1].made, null), report) | {"merge": None}


def show_whole(whole: dict[str, Any]) -> None:
    print(f"\nwhole files: {whole['verdict']}" + (f" ({plain(whole['operation'])})" if whole["operation"] else ""))
    for one in whole["evidence"]:
        print(plain(one["says"]))
    rows = [(f"{y['a']}~{y['b']}", f"{y['agreement']:.3f}", f"{y['control']:.4f}", str(y["of"]))
            for y in whole["layers"]]
    show_table(["layers", "#agreement", "#by chance", "#neurons"], rows, "Their neurons cannot be matched by words.")
    if whole["neurons"]:
        print()
        show_table(["neuron", "A reads", "B reads", "A writes", "B writes"],
                   [(f"{n['layer_a']}.{n['a']}~{n['layer_b']}.{n['b']}",
                     *(plain(" ".join(w.strip() for w in n[which][:3]))
                       for which in ("reads_a", "reads_b", "writes_a", "writes_b")))
                    for n in whole["neurons"][:_SHOWN]], "")
    if whole["merge"]:
        parts = ", ".join(f"{name} {share:.3f}" for name, share in whole["merge"]["shares"].items())
        print(f"\n{whole['merge']['child'].upper()} is a sum: {plain(parts)}")
