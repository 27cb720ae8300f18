"""Git's object ids: what git itself would compute for the same files. Knows hashes; stores nothing.

Source: gitformat-object (git documentation), and the LFS pointer of the git-lfs specification, v1.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable

from headwater.core.types import Commit, Digest, Entry, EntryKind, Oid, Tree


def object_id(kind: str, body: bytes) -> Oid:
    return hashlib.sha1(b"%s %d\0" % (kind.encode(), len(body)) + body, usedforsecurity=False).hexdigest()


def blob_hasher(size: int) -> hashlib._Hash:
    """A running sha1 for a blob whose size is known: feed it the bytes, its hexdigest is the oid."""
    return hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)


def pointer_id(digest: Digest, size: int) -> Oid:
    """Oid of the LFS pointer that stands for these bytes in git."""
    return object_id("blob", f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize {size}\n".encode())


def _sort_key(entry: Entry) -> bytes:
    # git sorts a directory as if its name ended in a slash
    return entry.path.encode() + (b"/" if entry.kind is EntryKind.DIRECTORY else b"")


def make_tree(entries: Iterable[Entry]) -> Tree:
    """The tree of these entries (paths are single names)."""
    ordered = tuple(sorted(entries, key=_sort_key))
    body = b"".join(
        (b"40000 " if e.kind is EntryKind.DIRECTORY else b"100644 ") + e.path.encode() + b"\0" + bytes.fromhex(e.oid)
        for e in ordered
    )
    return Tree(object_id("tree", body), ordered)


def make_commit(tree: Oid, parents: tuple[Oid, ...], author: str, email: str, title: str, message: str,
                created_at: int) -> Commit:
    """The commit git would make of these, with author and committer alike, at UTC.

    What no text holds (control characters, halves of characters) becomes spaces: git forbids NUL, and a terminal or
    a database must not meet the rest. The title is one line.
    """
    title, message = _clean(title).strip(), _clean(message, keep="\n\t")
    person = f"{_person(author)} <{_person(email)}> {created_at} +0000"
    lines = [f"tree {tree}", *(f"parent {p}" for p in parents), f"author {person}", f"committer {person}", "",
             title if not message else f"{title}\n\n{message}"]
    oid = object_id("commit", ("\n".join(lines) + "\n").encode())
    return Commit(oid, tree, parents, author, email, title, message, created_at)


def _clean(text: str, keep: str = "") -> str:
    return "".join(c if c in keep or unicodedata.category(c) not in ("Cc", "Cs") else " " for c in text)


def _person(text: str) -> str:
    return "".join(c for c in text if c not in "<>\n\0").strip()
