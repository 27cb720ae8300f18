"""upload_file from a path, bytes and an open file; delete_file, delete_folder; file_exists and metadata."""

import hashlib
import io
import os

from huggingface_hub import hf_hub_download, hf_hub_url
from kit import api, folder, git_oid, read, repo

data = os.urandom(300_000)
name = repo()
root = folder({"w.bin": data})
api.upload_file(path_or_fileobj=root / "w.bin", path_in_repo="a/w.bin", repo_id=name)
api.upload_file(path_or_fileobj=b"text", path_in_repo="a/t.txt", repo_id=name)
with open(root / "w.bin", "rb") as stream:
    api.upload_file(path_or_fileobj=stream, path_in_repo="b/w.bin", repo_id=name)
api.upload_file(path_or_fileobj=io.BytesIO(data[::-1]), path_in_repo="b/r.bin", repo_id=name)
for path, want in (("a/w.bin", data), ("a/t.txt", b"text"), ("b/w.bin", data), ("b/r.bin", data[::-1])):
    assert read(hf_hub_download(name, path)) == want, path
assert api.file_exists(name, "a/w.bin") and not api.file_exists(name, "nope")
meta = api.get_hf_file_metadata(url=hf_hub_url(name, "a/w.bin"))
assert (meta.size, meta.etag, meta.commit_hash) == (300_000, hashlib.sha256(data).hexdigest(), api.model_info(name).sha)
assert api.get_hf_file_metadata(url=hf_hub_url(name, "a/t.txt")).etag == git_oid(b"text")
api.delete_file("a/t.txt", name)
api.delete_folder("b", name)
assert api.list_repo_files(name) == ["a/w.bin"], api.list_repo_files(name)
