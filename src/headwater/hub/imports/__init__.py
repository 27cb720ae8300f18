"""Bring a model in from outside: `headwater add SOURCE`. A shelf: one file a kind of source, ending in `SOURCE = …`.

The verb here knows repos and commits; a source knows where bytes come from. Nothing is visible before every file
has arrived and its hash is what the source says: until then the bytes stand in a folder of their own in tmp/, which
the next attempt takes up.
"""

from __future__ import annotations

from headwater.hub.imports._run import KIND, Imported, enqueue_import, import_job, import_source
from headwater.hub.imports._shelf import SOURCES, Offer, Plan, Source

__all__ = ["KIND", "SOURCES", "Imported", "Offer", "Plan", "Source", "enqueue_import", "import_job", "import_source"]
