"""A folder in tmp/ for one import: the next attempt finds what this one left."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from headwater.core.errors import Busy
from headwater.hub import Hub


@contextmanager
def work_folder(hub: Hub, what: str) -> Iterator[Path]:
    """The folder of the import called `what`, locked while in use; it goes when the block ends well, and stays when
    it does not. Raises Busy while another process or thread has it."""
    folder = hub.tmp / f"import-{hashlib.sha256(what.encode()).hexdigest()[:24]}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Busy("The same import is running already.", hint="Its job shows how far it is.") from None
        yield folder
        shutil.rmtree(folder, ignore_errors=True)
