"""`headwater show`"""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import Parameter

from headwater.cli._common import Common, count, human, plain, show_json, show_table


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
        looked = door.get(f"/api/headwater/doctor/{path_of(*info['id'].split('/'))}", revision=info["sha"])
    if common.json:
        show_json({**info, "about": looked["about"], "checks": looked["checks"]})
        return
    print(f"{info['id']}@{info['sha']}")
    about = looked["about"]
    for label, value in _facts(info, about):
        if value:
            print(f"  {label:<14}{plain(str(value))}")
    print()
    show_table(["file", "#size"], ((f["rfilename"], human(f.get("size"))) for f in info["siblings"]), "No files yet.")


def _facts(info: dict[str, Any], about: dict[str, Any]) -> list[tuple[str, Any]]:
    size = sum(f.get("size") or 0 for f in info["siblings"])
    numbers = " ".join(str(v) for v in (about["dtype"], about["quantisation"]) if v)
    return [
        ("architecture", about["architecture"]), ("parameters", count(about["parameters"])), ("numbers", numbers),
        ("format", about["format"]), ("context", f"{about['context_length']:,}" if about["context_length"] else ""),
        ("tokenizer", about["tokenizer"]), ("licence", about["licence"]), ("size", human(size)),
        ("changed", info["lastModified"][:16].replace("T", " ")), ("tags", ", ".join(info["tags"][:12])),
    ]
