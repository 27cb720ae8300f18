"""Edits of a tree by path, against a plain dict of files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.core.errors import BadPath, EntryNotFound
from headwater.core.types import EMPTY_TREE, Entry, EntryKind, Oid, Tree
from headwater.hub.edit import MAX_DEPTH, TreeEditor
from headwater.hub.git import make_tree, object_id


class Shop:
    """Trees by oid, as a store would give them; it remembers which were asked for."""

    def __init__(self) -> None:
        self.trees: dict[Oid, Tree] = {}
        self.asked: list[Oid] = []

    def __call__(self, oids: Iterable[Oid]) -> dict[Oid, Tree]:
        self.asked += oids
        return {oid: self.trees[oid] for oid in oids}

    def edit(self, root: Oid) -> TreeEditor:
        return TreeEditor(root, self)

    def write(self, editor: TreeEditor) -> Oid:
        root, new = editor.write()
        self.trees |= {tree.oid: tree for tree in new}
        return root

    def files(self, root: Oid, prefix: str = "") -> dict[str, int]:
        found = {}
        for e in self.trees[root].entries if root != EMPTY_TREE else ():
            if e.kind is EntryKind.DIRECTORY:
                found |= self.files(e.oid, f"{prefix}{e.path}/")
            else:
                found[prefix + e.path] = e.size
        return found


def file(size: int) -> Entry:
    body = b"%d" % size
    return Entry("", EntryKind.FILE, object_id("blob", body), size, hashlib.sha256(body).hexdigest())


PATHS = st.lists(st.sampled_from("abc"), min_size=1, max_size=4).map("/".join)
EDITS = st.lists(st.one_of(st.tuples(st.just("put"), PATHS, st.integers(0, 99)),
                           st.tuples(st.just("remove"), PATHS, st.just(0))), max_size=12)


def apply(model: dict[str, int], verb: str, path: str, size: int) -> bool:
    """The same edit on a dict; False where git could not hold the result or there is nothing to remove."""
    under = [p for p in model if p.startswith(path + "/")]
    if verb == "remove":
        gone = [*under, *([path] if path in model else [])]
        for p in gone:
            del model[p]
        return bool(gone)
    steps = path.split("/")
    if under or any("/".join(steps[:n]) in model for n in range(1, len(steps))):
        return False
    model[path] = size
    return True


@settings(max_examples=300, deadline=None)
@given(batches=st.lists(EDITS, max_size=4))
def test_edits_agree_with_a_dict_of_files(batches: list[list[tuple[str, str, int]]]) -> None:
    shop, model, root = Shop(), {}, EMPTY_TREE
    for batch in batches:
        editor, before = shop.edit(root), sum(model.values())
        for verb, path, size in batch:
            fine = apply(model, verb, path, size)
            if verb == "put" and fine:
                editor.put(path, file(size))
            elif fine:
                editor.remove(path)
            else:
                with pytest.raises(BadPath if verb == "put" else EntryNotFound):
                    editor.put(path, file(size)) if verb == "put" else editor.remove(path)
        root = shop.write(editor)
        assert shop.files(root) == model
        assert editor.grown == sum(model.values()) - before
        assert root == _whole(model)


def _whole(model: dict[str, int]) -> Oid:
    """The oid of the tree of these files, built from nothing."""
    here = {path: file(size) for path, size in model.items() if "/" not in path}
    entries = [Entry(name, EntryKind.FILE, e.oid, e.size, e.digest) for name, e in here.items()]
    for name in {path.split("/")[0] for path in model if "/" in path}:
        inner = {path.partition("/")[2]: size for path, size in model.items() if path.startswith(name + "/")}
        entries.append(Entry(name, EntryKind.DIRECTORY, _whole(inner)))
    return make_tree(entries).oid


def test_only_the_folders_on_the_way_are_read_and_written() -> None:
    shop = Shop()
    editor = shop.edit(EMPTY_TREE)
    for n in range(50):
        editor.put(f"folder{n}/deep/file", file(n))
    root = shop.write(editor)
    shop.asked.clear()
    editor = shop.edit(root)
    editor.put("folder7/deep/file", file(999))
    _, new = editor.write()
    assert len(shop.asked) == 3 and len(new) == 3


def test_a_path_deeper_than_the_limit_is_refused() -> None:
    with pytest.raises(BadPath, match=f"{MAX_DEPTH} folders"):
        Shop().edit(EMPTY_TREE).put("/".join("d" * (MAX_DEPTH + 2)), file(1))
