"""Our oids against git itself: hash-object, mktree, commit-tree, and a whole repo rebuilt with the git program."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.core.types import EMPTY_TREE, Actor, Commit, Entry, EntryKind, Repo
from headwater.hub import Hub, browse
from headwater.hub.commit import Add, Delete, commit
from headwater.hub.git import make_commit, make_tree, object_id, pointer_id

Git = Callable[..., str]


@pytest.fixture(scope="module")
def git(tmp_path_factory: pytest.TempPathFactory) -> Git:
    """Runs git in a bare repo of its own: git("hash-object", ..., stdin=b"")."""
    folder = tmp_path_factory.mktemp("git")

    def run(*argv: str, stdin: bytes = b"", **environ: str) -> str:
        clean = {"PATH": os.environ["PATH"], "HOME": str(folder), **environ}
        done = subprocess.run(["git", "-C", folder, *argv], input=stdin, capture_output=True, env=clean)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()

    run("init", "--bare", "--quiet")
    return run


def git_tree(git: Git, entries: dict[str, tuple[str, bool]]) -> str:
    """git's oid of a tree of {name: (oid, is a folder)}."""
    lines = [f"{'040000 tree' if folder else '100644 blob'} {oid}\t{name}\0" for name, (oid, folder) in entries.items()]
    return git("mktree", "--missing", "-z", stdin="".join(lines).encode())


NAMES = st.text(st.characters(exclude_characters="/\0", exclude_categories=("Cs",)), min_size=1, max_size=12).filter(
    lambda name: name not in (".", "..") and name.lower() != ".git")
OIDS = st.binary(min_size=20, max_size=20).map(bytes.hex)


@settings(max_examples=60, deadline=None)
@given(entries=st.dictionaries(NAMES, st.tuples(OIDS, st.booleans()), max_size=12))
def test_a_tree_has_the_oid_git_gives_it(git: Git, entries: dict[str, tuple[str, bool]]) -> None:
    kinds = {False: EntryKind.FILE, True: EntryKind.DIRECTORY}
    ours = make_tree(Entry(name, kinds[folder], oid) for name, (oid, folder) in entries.items())
    assert ours.oid == git_tree(git, entries)


def test_the_empty_tree_is_gits(git: Git) -> None:
    assert make_tree([]).oid == EMPTY_TREE == git("hash-object", "-t", "tree", "--stdin")


@settings(max_examples=40, deadline=None)
@given(body=st.binary(max_size=200))
def test_a_blob_has_the_oid_git_gives_it(git: Git, body: bytes) -> None:
    assert object_id("blob", body) == git("hash-object", "--stdin", stdin=body)


def test_an_lfs_file_stands_in_git_as_its_pointer(git: Git) -> None:
    digest = "4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393"  # the example of the LFS specification
    text = f"version https://git-lfs.github.com/spec/v1\noid sha256:{digest}\nsize 12345\n"
    assert pointer_id(digest, 12345) == git("hash-object", "--stdin", stdin=text.encode())


def as_git_commits(git: Git, tree: str, commit: Commit) -> str:
    text = commit.title if not commit.message else f"{commit.title}\n\n{commit.message}"
    who = {"NAME": commit.author, "EMAIL": commit.email, "DATE": f"@{commit.created_at} +0000"}
    environ = {f"GIT_{role}_{what}": value for role in ("AUTHOR", "COMMITTER") for what, value in who.items()}
    parents = [word for parent in commit.parents for word in ("-p", parent)]
    return git("commit-tree", tree, *parents, "-F", "-", stdin=(text + "\n").encode(), **environ)


@settings(max_examples=40, deadline=None)
@given(title=st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=60).filter(str.strip),
       message=st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"), max_size=80),
       at=st.integers(1, 2**31))
def test_a_commit_has_the_oid_git_gives_it(git: Git, title: str, message: str, at: int) -> None:
    root = git("commit-tree", git("mktree", stdin=b""), "-m", "root", GIT_AUTHOR_NAME="a", GIT_AUTHOR_EMAIL="a@b",
               GIT_COMMITTER_NAME="a", GIT_COMMITTER_EMAIL="a@b")
    ours = make_commit(EMPTY_TREE, (root,), "alice", "alice@users.noreply.headwater", title, message, at)
    assert ours.oid == as_git_commits(git, EMPTY_TREE, ours)


def test_a_whole_history_is_the_one_git_would_make(hub: Hub, owner: Actor, repo: Repo, git: Git) -> None:
    commit(hub, owner, repo, "main", [Add("a.txt", b"a"), Add("sub/b.txt", b"b"), Add("sub-c", b"c"),
                                      Add("sub.d/ü", b"")], title="one", message="body\n\nmore")
    commit(hub, owner, repo, "main", [Delete("a.txt"), Add("sub/b.txt", b"B"), Add("sub/x/y/z", b"z")], title="two")
    log = hub.history.log(repo, browse.resolve(hub, repo, "main").oid)
    for each in reversed(log):
        rebuilt = _write_tree(hub, git, each.tree)
        assert rebuilt == each.tree
        assert as_git_commits(git, rebuilt, each) == each.oid
    listed = git("ls-tree", "-r", "-t", "-z", "--name-only", log[0].oid).rstrip("\0").split("\0")
    assert listed == [e.path for e in browse.listing(hub, log[0], recursive=True)]


def _write_tree(hub: Hub, git: Git, oid: str) -> str:
    """The same tree made by the git program out of the bytes the hub reads back."""
    entries = {}
    for e in hub.history.trees([oid])[oid].entries if oid != EMPTY_TREE else ():
        if e.kind is EntryKind.DIRECTORY:
            entries[e.path] = _write_tree(hub, git, e.oid), True
        else:
            entries[e.path] = git("hash-object", "-w", "--stdin", stdin=b"".join(browse.read(hub, e))), False
    return git_tree(git, entries)


