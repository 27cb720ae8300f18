"""A folder of this machine, all of it but what upload_folder of huggingface_hub leaves out too: .git and the client's
own .cache/huggingface. Links are followed only within the folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headwater.core.errors import BadInput
from headwater.core.types import Actor, Kind
from headwater.hub import Hub
from headwater.hub.imports._local import (
    bytes_offer,
    card,
    file_offer,
    front_matter,
    header_of,
    model_name,
    said,
)
from headwater.hub.imports._shelf import Meter, Plan, path_of

FILES_MAX = 100_000


class Folder:
    name = "folder"
    example = "path/to/folder"
    local = True

    def accepts(self, text: str) -> bool:
        return os.path.isdir(path_of(text))

    @contextmanager
    def open(self, hub: Hub, actor: Actor, text: str, meter: Meter) -> Iterator[Plan]:
        root = path_of(text).resolve()
        meter.start(f"reading {root.name}")
        found = dict(_walk(root))
        if not found:
            raise BadInput(f"{text} holds no files.", hint="Name the folder that holds the model.")
        offers = [file_offer(hub, path, file) for path, file in sorted(found.items())]
        headers = [header_of(file, path) for path, file in sorted(found.items()) if "/" not in path]
        name = model_name(root.name)
        if "README.md" not in found:
            header = next((h for h in headers if h), None)
            front = front_matter(header, said(header, "general.license"))
            offers.append(bytes_offer(hub, "README.md", card(front, name, [f"Added from the folder `{root.name}`."])))
        yield Plan(kind=Kind.MODEL, owner=None, name=name, origin=f"folder:{root.name}", version=None,
                   title=f"Import {root.name}", offers=tuple(offers))


SOURCE = Folder()


def _walk(root: Path) -> Iterator[tuple[str, Path]]:
    count = 0
    for here, folders, names in os.walk(root):
        folders[:] = [f for f in folders if f != ".git" and (Path(here) / f).parts[-2:] != (".cache", "huggingface")]
        for name in names:
            file = Path(here) / name
            if name == ".git" or not file.is_file():
                continue
            if not file.resolve().is_relative_to(root):
                raise BadInput(f"{file.relative_to(root)} is a link to a file outside of the folder.",
                               hint="Copy the file into the folder, or remove the link.")
            count += 1
            if count > FILES_MAX:
                raise BadInput(f"The folder has more than {FILES_MAX:,} files.", hint="Add the part you need.")
            yield file.relative_to(root).as_posix(), file
