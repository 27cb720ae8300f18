"""create_commit: add, copy, delete; parent checks; more than 100 commits in pages; super-squash."""

import os

from huggingface_hub import CommitOperationAdd, CommitOperationCopy, CommitOperationDelete, hf_hub_download
from kit import api, fails, push, read, repo

binary = os.urandom(50_000)
name = repo(files={"a.txt": b"a", "w.bin": binary, "old/x": b"x", "old/y": b"y"})
parent = api.model_info(name).sha
made = api.create_commit(name, commit_message="mix", commit_description="why\n\nand how", operations=[
    CommitOperationAdd("b.txt", b"b"), CommitOperationCopy("w.bin", "copy/w.bin"), CommitOperationDelete("a.txt"),
    CommitOperationDelete("old/", is_folder=True)], parent_commit=parent)
assert sorted(api.list_repo_files(name)) == ["b.txt", "copy/w.bin", "w.bin"], api.list_repo_files(name)
assert read(hf_hub_download(name, "copy/w.bin")) == binary
assert made.oid == api.model_info(name).sha
newest = api.list_repo_commits(name, formatted=True)[0]
assert (newest.commit_id, newest.title, newest.message) == (made.oid, "mix", "why\n\nand how"), newest
assert newest.formatted_title == "mix"
# The branch moved since `parent`: refused, and nothing of it is there.
fails(412, api.create_commit, name, operations=[CommitOperationAdd("late.txt", b"l")], commit_message="late",
      parent_commit=parent)
assert "late.txt" not in api.list_repo_files(name)
# An older revision can be copied from.
api.create_commit(name, commit_message="back", operations=[CommitOperationCopy("a.txt", "a.txt", src_revision=parent),
                                                           CommitOperationCopy("w.bin", "w2.bin", src_revision=parent)])
assert {"a.txt", "w2.bin"} <= set(api.list_repo_files(name))

many = repo()
for n in range(105):
    push(many, {"n.txt": b"%d" % n}, message=f"n {n}")
titles = [c.title for c in api.list_repo_commits(many)]
assert titles == [f"n {n}" for n in reversed(range(105))] + ["initial commit"], titles
api.super_squash_history(many, commit_message="one")
assert [c.title for c in api.list_repo_commits(many)] == ["one"]
assert read(hf_hub_download(many, "n.txt")) == b"104"
