"""`headwater show`"""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from headwater.cli._common import Common, count, human, note, plain, show_json, show_table


def show(
    model: Annotated[str, Parameter(help="owner/name, or owner/name@revision.")],
    *,
    common: Common = Common(),
) -> None:
    """Show what a model is: revision, files, what its headers say."""
    from headwater.cli._hub import path_of, reach

    name, _, revision = model.partition("@")
    with reach(common) as door:
        at = f"/revision/{path_of(revision)}" if revision else ""
        info = door.get(f"/api/models/{path_of(*name.split('/'))}{at}", blobs="true")
        named = path_of(*info["id"].split("/"))
        looked = door.get(f"/api/headwater/doctor/{named}", revision=info["sha"])
        kept = door.get(f"/api/headwater/kept/{named}", revision=info["sha"])
    if common.json:
        show_json({**info, "about": looked["about"], "checks": looked["checks"], "kept": kept})
        return
    print(f"{info['id']}@{info['sha']}")
    about = looked["about"]
    for label, value in _facts(info, about):
        if value:
            print(f"  {label:<14}{plain(str(value))}")
    print()
    told = {one["path"]: f"{human(one['on_disk'])}, the difference to {one['base'] or 'a model you may not see'}"
            for one in kept}
    columns = ["file", "#size", "on disk"] if told else ["file", "#size"]
    rows = ((f["rfilename"], human(f.get("size")), told.get(f["rfilename"], ""))[:len(columns)]
            for f in info["siblings"])
    show_table(columns, rows, "No files yet.")
    if told:
        note("A file kept as a difference is read like any other; it is made whole when the last repo with its base "
             "goes.")


def _facts(info: dict[str, Any], about: dict[str, Any]) -> list[tuple[str, Any]]:
    size = sum(f.get("size") or 0 for f in info["siblings"])
    numbers = " ".join(str(v) for v in (about["dtype"], about["quantisation"]) if v)
    return [
        ("architecture", about["architecture"]), ("parameters", count(about["parameters"])), ("numbers", numbers),
        ("format", about["format"]), ("context", f"{about['context_length']:,}" if about["context_length"] else ""),
        ("tokenizer", about["tokenizer"]), ("licence", about["licence"]), ("size", human(size)),
        ("changed", info["lastModified"][:16].replace("T", " ")), ("tags", ", ".join(info["tags"][:12])),
    ]
