"""upload_folder and back: byte-identical, for models and datasets, with files that travel inside the commit and not."""

import os

from huggingface_hub import hf_hub_download, snapshot_download
from kit import api, content, folder, read, repo

FILES = {"README.md": b"---\nlicense: apache-2.0\n---\n# hi\n", "config.json": b'{"a": 1}', "sub/dir/x.txt": b"hi",
         "model.safetensors": os.urandom(1_300_000), "empty.txt": b"", "a name with spaces & ünïcode.txt": b"odd",
         "percent%20and+plus#hash?.bin": os.urandom(70_000), "big.bin": os.urandom(9_500_000)}

for kind in ("model", "dataset"):
    name = repo(kind)
    info = api.upload_folder(repo_id=name, folder_path=folder(FILES), repo_type=kind, commit_message="all of it")
    want = {**FILES}
    got = content(snapshot_download(name, repo_type=kind))
    got.pop(".gitattributes", None)
    assert got == want, sorted(got)
    sha = api.repo_info(name, repo_type=kind).sha
    again = content(snapshot_download(name, repo_type=kind, revision=sha, local_dir=folder({})))
    assert again.keys() >= want.keys() and all(again[path] == want[path] for path in want)
    some = content(snapshot_download(name, repo_type=kind, allow_patterns=["*.json", "sub/*"], local_dir=folder({})))
    assert set(some) == {"config.json", "sub/dir/x.txt"}, sorted(some)
    some = content(snapshot_download(name, repo_type=kind, ignore_patterns="*.bin", local_dir=folder({})))
    assert set(some) == set(want) - {"percent%20and+plus#hash?.bin", "big.bin"}
    one = hf_hub_download(name, "sub/dir/x.txt", repo_type=kind, revision="main")
    assert read(one) == b"hi" and sha in one
    # Pushed again nothing moves; a changed file is the only one that does.
    api.upload_folder(repo_id=name, folder_path=folder(FILES), repo_type=kind)
    assert api.repo_info(name, repo_type=kind).sha == sha
    api.upload_folder(repo_id=name, folder_path=folder({**FILES, "config.json": b"{}"}), repo_type=kind,
                      delete_patterns="*.txt")
    assert content(snapshot_download(name, repo_type=kind)).keys() >= {"config.json", "big.bin"}
    got = content(snapshot_download(name, repo_type=kind))
    assert got["config.json"] == b"{}"
