"""A single .gguf or .safetensors file of this machine, with a card made from its header."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from headwater.core.types import Actor, Kind
from headwater.hub import Hub
from headwater.hub.imports._local import bytes_offer, card, file_offer, front_matter, header_of, model_name, said
from headwater.hub.imports._shelf import Meter, Plan, path_of


class OneFile:
    name = "file"
    example = "path/to/model.gguf"
    local = True

    def accepts(self, text: str) -> bool:
        return text.lower().endswith((".gguf", ".safetensors")) and os.path.isfile(path_of(text))

    @contextmanager
    def open(self, hub: Hub, actor: Actor, text: str, meter: Meter) -> Iterator[Plan]:
        file = path_of(text).resolve()
        header = header_of(file, file.name)
        name = model_name(file.stem)
        front = front_matter(header, said(header, "general.license"))
        named = said(header, "general.name")
        lines = [f"Added from the file `{file.name}`.",
                 *([f"\nIn its header it is called “{named}”."] if named else [])]
        yield Plan(kind=Kind.MODEL, owner=None, name=name, origin=f"file:{file.name}", version=None,
                   title=f"Import {file.name}",
                   offers=(file_offer(hub, file.name, file), bytes_offer(hub, "README.md", card(front, name, lines))))


SOURCE = OneFile()
