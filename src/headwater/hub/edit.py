"""Change a tree of files by path, loading and rewriting only the folders on the way. Pure but for reading trees."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from headwater.core.errors import BadPath, EntryNotFound
from headwater.core.types import EMPTY_TREE, Entry, EntryKind, Oid, Tree
from headwater.hub.git import make_tree

Load = Callable[[Iterable[Oid]], dict[Oid, Tree]]
MAX_DEPTH = 64


@dataclass
class _Folder:
    """A folder being edited. entries maps names; folders holds those of its subfolders that were opened."""

    entries: dict[str, Entry]
    folders: dict[str, _Folder] = field(default_factory=dict)
    changed: bool = False


class TreeEditor:
    """Edits on top of the tree `root`; write() gives the new trees.

    grown: bytes the files grew by so far (negative when they shrank).
    """

    def __init__(self, root: Oid, load: Load):
        self._load, self._root_oid = load, root
        self._root = self._open(root)
        self.grown = 0

    def put(self, path: str, entry: Entry) -> None:
        """Set the file at `path`. Raises BadPath where a folder stands, or a file stands for a folder."""
        *parents, name = path.split("/")
        folder = self._root
        for depth, step in enumerate(parents):
            if depth >= MAX_DEPTH:
                raise BadPath(f"{path[:200]!r} is more than {MAX_DEPTH} folders deep.")
            folder = self._enter(folder, step, path)
        old = folder.entries.get(name)
        if (inner := self._peek(folder, name)) is not None:
            if not _is_empty(inner):
                raise BadPath(f"{path!r} is a folder.", hint="Delete it in the same commit, or choose another name.")
            del folder.folders[name]
            old = None
        self.grown += entry.size - (old.size if old else 0)
        folder.entries[name] = Entry(name, EntryKind.FILE, entry.oid, entry.size, entry.digest, entry.lfs)
        self._mark(parents)

    def remove(self, path: str) -> None:
        """Remove the file or folder at `path`. Raises EntryNotFound."""
        *parents, name = path.split("/")
        folder: _Folder | None = self._root
        for step in parents:
            folder = self._peek(folder, step)
            if folder is None:
                raise EntryNotFound(f"No {path!r} to delete.")
        inner = self._peek(folder, name)
        if _is_empty(inner) if inner is not None else name not in folder.entries:
            raise EntryNotFound(f"No {path!r} to delete.")
        if inner is not None:
            self.grown -= self._size(inner)
        else:
            self.grown -= folder.entries[name].size
        folder.entries.pop(name, None)
        folder.folders.pop(name, None)
        self._mark(parents)

    def find(self, path: str) -> Entry | None:
        """The file at `path` as edited so far, or None."""
        *parents, name = path.split("/")
        folder: _Folder | None = self._root
        for step in parents:
            folder = self._peek(folder, step)
            if folder is None:
                return None
        found = folder.entries.get(name)
        return found if found and found.kind is EntryKind.FILE else None

    def write(self) -> tuple[Oid, list[Tree]]:
        """(oid of the new root, every tree that is new). Folders left empty vanish, as in git."""
        new: list[Tree] = []
        root = self._write(self._root, new) if self._root.changed else self._root_oid
        if root is None:
            return EMPTY_TREE, [make_tree([])]
        return root, new

    def _write(self, folder: _Folder, new: list[Tree]) -> Oid | None:
        for name, inner in folder.folders.items():
            if not inner.changed:
                continue
            oid = self._write(inner, new)
            if oid is None:
                folder.entries.pop(name, None)
            else:
                folder.entries[name] = Entry(name, EntryKind.DIRECTORY, oid)
        if not folder.entries:
            return None
        tree = make_tree(folder.entries.values())
        new.append(tree)
        return tree.oid

    def _open(self, oid: Oid) -> _Folder:
        if oid == EMPTY_TREE:
            return _Folder({})
        return _Folder({e.path: e for e in self._load([oid])[oid].entries})

    def _peek(self, folder: _Folder, name: str) -> _Folder | None:
        """The subfolder of that name, opened; None where there is none or a file."""
        if name not in folder.folders:
            found = folder.entries.get(name)
            if found is None or found.kind is EntryKind.FILE:
                return None
            folder.folders[name] = self._open(found.oid)
        return folder.folders[name]

    def _enter(self, folder: _Folder, name: str, path: str) -> _Folder:
        found = folder.entries.get(name)
        if found and found.kind is EntryKind.FILE:
            raise BadPath(f"{path!r} needs a folder {name!r}, and a file stands there.")
        inner = self._peek(folder, name)
        if inner is None:
            inner = folder.folders[name] = _Folder({})
        return inner

    def _mark(self, parents: list[str]) -> None:
        folder = self._root
        folder.changed = True
        for step in parents:
            folder = folder.folders[step]
            folder.changed = True

    def _size(self, folder: _Folder) -> int:
        total = sum(e.size for e in folder.entries.values() if e.kind is EntryKind.FILE)
        for name in folder.entries.keys() | folder.folders.keys():
            if (inner := self._peek(folder, name)) is not None:
                total += self._size(inner)
        return total


def _is_empty(folder: _Folder) -> bool:
    """Whether no file is left in it, whatever folders are. One not opened has files: git keeps no other."""
    return all(_is_empty(inner) for inner in folder.folders.values()) and all(
        e.kind is EntryKind.DIRECTORY and name in folder.folders for name, e in folder.entries.items())
