"""Which tests one of pytest's processes runs together under `-n N --dist loadgroup`. A pytest plugin.

    a file                 stays in one process: what its module-scoped fixtures start is started once
    the mark xdist_group   files that share something dear (torch, the engines) stay in one process, too
    LONGEST                goes first, so that no process is left with a long one when the other has ended

pytest-xdist names the group in the test's id and reads it there again. pytest-xdist 3.8 writes that to `_nodeid`, which
pytest 9.2 no longer reads, so that every group is lost in silence; here it is put where pytest reads it. Of what the
tests do it knows nothing, and without -n it does nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

LONGEST = ("torch", "test_clients.py", "test_browser.py", "engines", "test_up.py", "test_commands.py", "test_killed.py")


def _group(item: pytest.Item) -> str:
    """The names of its marks, or none."""
    return "_".join(sorted({str(mark.args[0]) for mark in item.iter_markers("xdist_group")}))


def _rank(item: pytest.Item) -> int:
    names = (_group(item), item.path.name)
    return next((i for i, name in enumerate(LONGEST) if name in names), len(LONGEST))


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> Iterator[None]:
    yield
    if not getattr(config.option, "loadgroup", False):  # set by xdist in its workers, for this --dist alone
        return
    items.sort(key=_rank)
    for item in items:
        if (group := _group(item)) and not item.nodeid.endswith(f"@{group}"):
            from _pytest.nodeid import NodeId

            item._id = NodeId.parse(f"{item.nodeid}@{group}")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    if config.getvalue("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadGroupScheduling

    class Files(LoadGroupScheduling):
        def _split_scope(self, nodeid: str) -> str:
            """The group, or the file of a test that is in none."""
            group = super()._split_scope(nodeid)
            return Path(nodeid.split("::")[0]).as_posix() if group == nodeid else group

    config.option.loadscopereorder = False  # else by the number of tests: a file of one test of 45 s came last
    return Files(config, log)
