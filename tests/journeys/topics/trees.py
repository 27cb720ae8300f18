"""list_repo_tree: folders, recursive, expanded, in pages; get_paths_info; list_lfs_files."""

import hashlib
import os

from huggingface_hub.hf_api import RepoFile, RepoFolder
from kit import api, fails, git_oid, push, repo

binary = os.urandom(20_000)
for kind in ("model", "dataset"):
    name = repo(kind, {f"many/{n:04}.txt": b"%d" % n for n in range(1100)})
    push(name, {"w.bin": binary, "a/b/c.txt": b"deep"}, kind, message="later")
    top = {e.path: e for e in api.list_repo_tree(name, repo_type=kind)}
    assert set(top) == {"many", "w.bin", "a"} and isinstance(top["many"], RepoFolder)
    lfs = top["w.bin"].lfs
    assert isinstance(top["w.bin"], RepoFile) and lfs.sha256 == hashlib.sha256(binary).hexdigest()
    assert lfs.size == 20_000 and lfs.pointer_size > 100
    every = list(api.list_repo_tree(name, recursive=True, repo_type=kind))
    paths = [e.path for e in every]
    assert len(paths) == len(set(paths)) == 1105, len(paths)
    assert {e.blob_id for e in every if e.path == "many/0007.txt"} == {git_oid(b"7")}
    assert len(list(api.list_repo_tree(name, "many", repo_type=kind))) == 1100
    assert [e.path for e in api.list_repo_tree(name, "a", recursive=True, repo_type=kind)] == ["a/b", "a/b/c.txt"]
    expanded = {e.path: e for e in api.list_repo_tree(name, expand=True, repo_type=kind)}
    assert expanded["w.bin"].last_commit.title == "later" and expanded["many"].last_commit.title == "files"
    assert expanded["w.bin"].security is not None
    assert len(list(api.list_repo_tree(name, "many", expand=True, repo_type=kind))) == 1100
    fails(404, api.list_repo_tree, name, "nope", repo_type=kind)
    found = {e.path: e for e in api.get_paths_info(name, ["a", "w.bin", "nope"], repo_type=kind, expand=True)}
    assert set(found) == {"a", "w.bin"} and found["a"].last_commit.title == "later"
    assert api.get_paths_info(name, "nope", repo_type=kind) == []
    assert len(api.list_repo_files(name, repo_type=kind)) == 1102
    files = list(api.list_lfs_files(name, repo_type=kind))
    assert [(f.filename, f.file_oid, f.size) for f in files] == [("w.bin", lfs.sha256, 20_000)], files
    fails(501, api.permanently_delete_lfs_files, name, files, repo_type=kind)
