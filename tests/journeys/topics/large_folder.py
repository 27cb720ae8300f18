"""upload_large_folder, which clients before 2.4 have."""

import os

from huggingface_hub import snapshot_download
from kit import api, content, folder, repo

if hasattr(api, "upload_large_folder"):
    files = {f"part/{n}.bin": os.urandom(200_000) for n in range(5)} | {f"text/{n}.txt": b"%d" % n for n in range(30)}
    name = repo()
    api.upload_large_folder(repo_id=name, folder_path=str(folder(files)), repo_type="model", num_workers=2,
                            print_report=False)
    got = content(snapshot_download(name))
    got.pop(".gitattributes", None)
    assert got == files
