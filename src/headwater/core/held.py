"""Stop strings in a text that comes piece by piece: said up to where one may begin, and never the string itself."""

from __future__ import annotations

from collections.abc import Sequence


class Held:
    """Text on its way out, with anything held back that may yet turn out to begin a stop string."""

    def __init__(self, stop: Sequence[str]):
        self.stop, self.text, self.stopped = stop, "", False
        self.found: str | None = None
        """The stop string that is complete; the longest of those that begin at the same place."""

    def add(self, token: str) -> str:
        """What may be said now. Sets `stopped` once a stop string is complete; it is never said itself."""
        self.text += token
        found = [(at, -len(s), s) for s in self.stop if (at := self.text.find(s)) >= 0]
        if found:
            safe, _, self.found = min(found)
            self.stopped = True
        else:
            safe = len(self.text) - self._maybe()
        said, self.text = self.text[:safe], self.text[safe:]
        return said

    def rest(self) -> str:
        """What was held back, once the model has ended without a stop string."""
        said, self.text = self.text, ""
        return said

    def _maybe(self) -> int:
        """Length of the longest end of the text that begins a stop string."""
        longest = max((len(s) for s in self.stop), default=1) - 1
        for length in range(min(longest, len(self.text)), 0, -1):
            if any(s.startswith(self.text[-length:]) for s in self.stop):
                return length
        return 0
