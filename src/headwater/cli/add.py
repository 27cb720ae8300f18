"""`headwater add`"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from headwater.cli._common import Common, human, note, show_json


def add(
    source: Annotated[str, Parameter(help="hf:owner/name[@revision], pypi:package[==version], brook (a small film "
                                          "model that comes along), a folder, or a .gguf or .safetensors file.")],
    *,
    as_: Annotated[str | None, Parameter(name="--as", help="owner/name to keep it under.")] = None,
    private: Annotated[bool, Parameter(negative="", help="Make the repo private.")] = False,
    common: Common = Common(),
) -> None:
    """Bring a model in from another hub, a package, a folder or a file."""
    from headwater.cli._hub import reach
    from headwater.cli._job import see_through
    from headwater.hub.imports.shipped import SHIPPED

    outside = source in SHIPPED or source.startswith(("hf:", "pypi:"))
    if not outside and Path(source).expanduser().exists():
        source = str(Path(source).expanduser().resolve())
    with reach(common, work=True) as door:
        job = door.post("/api/headwater/imports", {"source": source, "as": as_, "private": private})
        result = see_through(door, job, quiet=common.json)
    if common.json:
        show_json(result)
        return
    if result.get("already"):
        note(f"{result['repo']} has this version already, at {result['revision'][:12]}.")
    else:
        note(f"{result['repo']} is here, at {result['revision'][:12]}: {result['fetched']} files, "
             f"{human(result['bytes'])}.")
    for name, value in (result.get("sha256") or {}).items() if isinstance(result.get("sha256"), dict) else ():
        note(f"  {name}  sha256 {value}")
