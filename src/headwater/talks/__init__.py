"""The room for what people keep of their talks: conversations, presets, and files they hand to models.

It knows no model and no hub of repos: app.py hands in the stores and the verb that receives bytes. Every verb is a
function whose first argument is Talks; whose things are meant is always an Account, and another's are not there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from headwater.core.ports import Blobs, Conversations, Files
from headwater.core.settings import Settings
from headwater.core.types import Staged
from headwater.talks.reading import Reader


@dataclass(frozen=True)
class Talks:
    """What the verbs stand on.

    stage(chunks, limit=…): receives bytes into a file of the folder blobs are adopted from. now: seconds since 1970.
    """

    settings: Settings
    conversations: Conversations
    files: Files
    blobs: Blobs
    stage: Callable[..., Staged]
    now: Callable[[], float]
    reader: Reader = field(default_factory=Reader, repr=False)
