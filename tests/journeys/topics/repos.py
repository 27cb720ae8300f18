"""Create, exist, move (the old name still works), duplicate, private and public, delete."""

import uuid

from huggingface_hub import hf_hub_download
from huggingface_hub.utils import RepositoryNotFoundError, RevisionNotFoundError
from kit import ENDPOINT, ME, VERSION, api, fails, push, read, repo

for kind in ("model", "dataset"):
    prefix = "" if kind == "model" else "datasets/"
    short = f"t-{uuid.uuid4().hex[:10]}"
    url = api.create_repo(short, repo_type=kind)
    name = f"{ME}/{short}"
    assert str(url) == f"{ENDPOINT}/{prefix}{name}" and url.repo_id == name and url.repo_type == kind, url
    assert str(api.create_repo(name, repo_type=kind, exist_ok=True)) == str(url)
    fails(409, api.create_repo, name, repo_type=kind)
    push(name, {"f.txt": b"f"}, kind)
    assert api.repo_exists(name, repo_type=kind) and not api.repo_exists(name + "x", repo_type=kind)
    assert api.revision_exists(name, "main", repo_type=kind) and not api.revision_exists(name, "dev", repo_type=kind)

    moved = name + "-moved"
    api.move_repo(name, moved, repo_type=kind)
    assert api.repo_info(moved, repo_type=kind).id == moved
    assert api.repo_info(name, repo_type=kind).id == moved
    assert read(hf_hub_download(name, "f.txt", repo_type=kind, force_download=True)) == b"f"
    push(name, {"g.txt": b"g"}, kind)
    assert "g.txt" in api.list_repo_files(moved, repo_type=kind)

    api.update_repo_settings(moved, repo_type=kind, private=True)
    assert api.repo_info(moved, repo_type=kind).private is True
    api.update_repo_settings(moved, repo_type=kind, private=False)
    assert api.repo_info(moved, repo_type=kind).private is False

    if hasattr(api, "duplicate_repo"):
        copy = api.duplicate_repo(moved, f"{ME}/{short}-copy", repo_type=kind, private=True)
        assert copy.repo_id == f"{ME}/{short}-copy", copy
        assert set(api.list_repo_files(copy.repo_id, repo_type=kind)) == {"f.txt", "g.txt"}
        assert api.repo_info(copy.repo_id, repo_type=kind).private is True

    api.delete_repo(moved, repo_type=kind)
    api.delete_repo(moved, repo_type=kind, missing_ok=True)
    for gone in (name, moved):
        try:
            api.repo_info(gone, repo_type=kind)
            raise AssertionError("it is still there")
        except RepositoryNotFoundError:
            pass

private = repo(private=True)
assert api.model_info(private).private is True
try:
    api.model_info(private, revision="nope")
except RevisionNotFoundError as error:
    assert "nope" in str(error)
else:
    raise AssertionError("a revision that is not there was found")
assert fails(501, api.create_repo, f"{ME}/space-{short}", repo_type="space", space_sdk="static")
api.auth_check(private)
api.auth_check(private, **({"write": True} if VERSION >= (1, 19) else {}))
