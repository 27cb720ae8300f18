"""The room that talks: find a model's revision, keep workers for those in use, stream their answers.

It knows neither the hub nor any engine: app.py hands in the shelf and four verbs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from headwater.chat.metrics import Meter
from headwater.chat.quotas import Quotas
from headwater.chat.workers import Workers
from headwater.core.engine import ChatEngine
from headwater.core.ports import Spending
from headwater.core.settings import Settings
from headwater.core.types import Actor, Commit, Oid, Repo, Snapshot
from headwater.weights.speech import Speech


class Chat:
    """What the verbs of this room stand on. Made anywhere; used in one event loop, and closed in it.

    engines: in order of preference, the first that accepts a model's files runs it.
    find_model(actor, "owner/name[@revision]"): raises ModelNotFound, also for what the actor may not see.
    lay_out(repo, commit): the revision as a folder. Blocking, like all of these: called in threads.
    list_models(actor): model repos the actor may read, each at main.
    list_files(commit): paths of all files of a revision.
    speech(repo, commit): how the model is spoken with, for engines that cannot see it from their file alone.
    spending: where the day's use is counted; None counts in this process alone.
    """

    def __init__(
        self, settings: Settings, engines: Iterable[ChatEngine], *,
        find_model: Callable[[Actor, str], tuple[Repo, Commit]],
        lay_out: Callable[[Repo, Commit], Snapshot],
        list_models: Callable[[Actor], Iterable[tuple[Repo, Commit]]],
        list_files: Callable[[Commit], Sequence[str]],
        spending: Spending | None = None,
        speech: Callable[[Repo, Commit], Speech | None] = lambda repo, commit: None,
    ):
        self.settings, self.engines = settings, engines
        self.find_model, self.list_models, self.list_files = find_model, list_models, list_files
        self.lay_out = lay_out
        self.workers = Workers(settings, lay_out, speech)
        self.meter, self.quotas = Meter(self.workers), Quotas(settings, spending)
        self.chosen: dict[Oid, tuple[ChatEngine, str, str | None] | None] = {}
        """Which engine takes which file of a revision, with which projector. A revision never changes: never stale."""

    async def close(self) -> None:
        """Stop all workers. Answers under way end with an error."""
        await self.workers.close()
        await self.quotas.close()
