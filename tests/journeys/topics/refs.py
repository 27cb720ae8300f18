"""Branches, tags, refs; downloads at each, also at a branch with a slash in its name."""

from huggingface_hub import hf_hub_download
from huggingface_hub.utils import RevisionNotFoundError
from kit import api, fails, push, read, repo

for kind in ("model", "dataset"):
    name = repo(kind, {"f.txt": b"1"})
    first = api.repo_info(name, repo_type=kind).sha
    api.create_branch(name, branch="feature/x", repo_type=kind)
    api.create_branch(name, branch="feature/x", repo_type=kind, exist_ok=True)
    fails(409, api.create_branch, name, branch="feature/x", repo_type=kind)
    push(name, {"f.txt": b"2"}, kind, revision="feature/x")
    api.create_tag(name, tag="v1", tag_message="the first", repo_type=kind)
    api.create_tag(name, tag="v2", revision="feature/x", repo_type=kind)
    fails(409, api.create_tag, name, tag="v1", repo_type=kind)
    api.create_branch(name, branch="old", revision=first, repo_type=kind)
    refs = api.list_repo_refs(name, repo_type=kind, include_pull_requests=True)
    assert {b.name for b in refs.branches} == {"main", "feature/x", "old"} and refs.pull_requests == []
    assert {t.name: t.ref for t in refs.tags} == {"v1": "refs/tags/v1", "v2": "refs/tags/v2"}
    assert next(b.target_commit for b in refs.branches if b.name == "old") == first

    def at(revision, name=name, kind=kind):
        return read(hf_hub_download(name, "f.txt", revision=revision, repo_type=kind)).decode()

    assert [at(r) for r in ("main", "feature/x", "v1", "v2", first, "refs/heads/feature/x")] == list("121212")
    assert [c.title for c in api.list_repo_commits(name, revision="feature/x", repo_type=kind)][-1] == "initial commit"
    api.delete_branch(name, branch="feature/x", repo_type=kind)
    api.delete_tag(name, tag="v1", repo_type=kind)
    for gone in ("feature/x", "v1"):
        try:
            at(gone)
            raise AssertionError(f"{gone} is still there")
        except RevisionNotFoundError:
            pass
    assert at("v2") == "2"  # the tag keeps what the branch named
    fails(400, api.delete_branch, name, branch="main", repo_type=kind)
