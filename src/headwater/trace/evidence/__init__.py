"""What is looked at in two models: one file each, a function of two fingerprints that says one thing and how strongly.

A new file here is shown with every judgement; the verdict is drawn from the ones trace/judge.py names.
"""

from __future__ import annotations

from collections.abc import Callable

from headwater.core.shelf import Shelf
from headwater.trace.compared import Compared
from headwater.trace.judgement import Evidence

Look = Callable[[Compared], Evidence]
shelf: Shelf[Look] = Shelf("headwater.trace.evidence", "EVIDENCE")
