"""HfFileSystem: write, read, ranges, ls, info, glob, walk, cp, rm, revisions."""

import os

from huggingface_hub import HfFileSystem
from kit import api, read, repo

for kind in ("model", "dataset"):
    prefix = "" if kind == "model" else "datasets/"
    root = prefix + repo(kind)
    fs = HfFileSystem(skip_instance_cache=True)
    data = os.urandom(400_000)
    with fs.open(f"{root}/d/w.bin", "wb") as f:
        f.write(data)
    fs.pipe_file(f"{root}/t.txt", b"text")
    fs.invalidate_cache()
    assert sorted(fs.ls(root, detail=False)) == [f"{root}/d", f"{root}/t.txt"]
    assert fs.read_text(f"{root}/t.txt") == "text"
    with fs.open(f"{root}/d/w.bin", "rb", block_size=65_536) as f:
        f.seek(123_456)
        assert f.read(1000) == data[123_456:124_456]
        f.seek(-10, 2)
        assert f.read() == data[-10:]
    assert fs.cat_file(f"{root}/d/w.bin", start=5, end=25) == data[5:25]
    with fs.open(f"{root}/d/w.bin", "rb", block_size=0) as f:
        assert f.read() == data
    assert fs.info(f"{root}/d/w.bin")["size"] == 400_000 and fs.info(f"{root}/d")["type"] == "directory"
    assert fs.glob(f"{root}/**/*.bin") == [f"{root}/d/w.bin"]
    assert fs.exists(f"{root}/t.txt") and not fs.exists(f"{root}/nope") and fs.isdir(f"{root}/d")
    assert {p for p, _, _ in fs.walk(root)} == {root, f"{root}/d"}
    assert fs.du(root) == 400_004
    fs.cp_file(f"{root}/d/w.bin", f"{root}/e/copy.bin")
    fs.invalidate_cache()
    assert fs.cat_file(f"{root}/e/copy.bin") == data
    before = api.repo_info(root.removeprefix("datasets/"), repo_type=kind).sha
    fs.rm(f"{root}/d", recursive=True)
    fs.rm(f"{root}/t.txt")
    fs.invalidate_cache()
    assert fs.find(root) == [f"{root}/e/copy.bin"], fs.find(root)
    assert fs.read_text(f"{root}@{before}/t.txt") == "text"
    assert fs.url(f"{root}/e/copy.bin").endswith("/resolve/main/e/copy.bin")
    local = os.path.join(os.environ["HOME"], f"fs-{kind}.bin")
    fs.get_file(f"{root}/e/copy.bin", local)
    assert read(local) == data
