"""Show text while it comes: plain where it is piped, and in a terminal set as Markdown once it is whole."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any


class Live:
    """In a terminal the last lines are shown as they grow and the whole is printed at the end, set as Markdown."""

    def __init__(self, show: bool):
        self._show, self._rich = show, show and sys.stdout.isatty()
        self._text = ""
        self._live: Any = None

    def __enter__(self) -> Live:
        if self._rich:
            from rich.console import Console
            from rich.live import Live as RichLive

            self._live = RichLive(console=Console(), refresh_per_second=12, transient=True,
                                  vertical_overflow="crop")
            self._live.start()
        return self

    def write(self, piece: str) -> None:
        self._text += piece
        if self._live:
            from rich.text import Text

            height = max(3, self._live.console.height - 2)
            self._live.update(Text("\n".join(self._text.splitlines()[-height:])))
        elif self._show:
            print(piece, end="", flush=True)

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live:
            from rich.markdown import Markdown

            self._live.stop()
            # Links are shown with where they lead: a model's text must not hide that.
            self._live.console.print(Markdown(self._text, hyperlinks=False))
        elif self._show and self._text:
            print(flush=True)
