"""The hub's rows of the budget table: uploads through both doors, and downloads."""

from __future__ import annotations

import hashlib
import itertools
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import ground
from ground import MIB, Row

SIZE_MIB = int(os.environ.get("BENCH_MIB", "512"))
ROUNDS = int(os.environ.get("BENCH_ROUNDS", "3"))
# The client in a process of its own, as a person runs it; Xet is chosen by the client when it may.
UPLOAD = ("import sys; from huggingface_hub import HfApi; "
          "HfApi().upload_file(path_or_fileobj=sys.argv[2], path_in_repo='model.bin', repo_id=sys.argv[1])")


def rows() -> Iterator[Row]:
    with ground.folder() as folder:
        data = folder / "data"
        data.mkdir()
        with ground.hub(data) as url:
            yield from _uploads(url, folder)
            yield _download(url, folder)


def _uploads(url: str, folder: Path) -> Iterator[Row]:
    numbers = itertools.count()
    files = {n: folder / f"up-{n}.bin" for n in range(ROUNDS * 2 + 4)}

    def fresh() -> Path:
        # New bytes each time: bytes the hub or the client knows already would not travel.
        number = next(numbers)
        return ground.random_file(files[number], SIZE_MIB, seed=1000 + number)

    lfs, xet, sha, disk = [], [], [], []
    for _ in range(ROUNDS):
        path = fresh()
        sha.append(ground.timed(lambda path=path: _sha256(path)))
        disk.append(ground.timed(lambda path=path: _copy_synced(path, folder / "copy.bin")))
        lfs.append(_upload(url, path, xet=False))
        path.unlink()
        path = fresh()
        xet.append(_upload(url, path, xet=True))
        path.unlink()
    size = f"{SIZE_MIB} MiB"
    yield Row(f"LFS upload of {size}", "the client's sha256 pass", tuple(lfs), tuple(sha), "<= 2.5, aim 1.5")
    yield Row(f"LFS upload of {size}", "copy of the file with fsync", tuple(lfs), tuple(disk), "none",
              note="the disk's own limit, for the row above")
    yield Row(f"Xet upload of {size}", "LFS upload", tuple(xet), tuple(lfs), "<= 2, aim 1.2")


def _upload(url: str, path: Path, *, xet: bool) -> float:
    """Seconds of the upload itself: the client's start is taken off by a run of its own."""
    from huggingface_hub import HfApi

    repo = f"local/bench-{path.stem}-{'xet' if xet else 'lfs'}"
    HfApi(endpoint=url, token="hf_any").create_repo(repo)
    environ = {**os.environ, "HF_ENDPOINT": url, "HF_TOKEN": "hf_any", "HF_HOME": str(path.parent / "hf"),
               "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    if not xet:
        environ["HF_HUB_DISABLE_XET"] = "1"
    start = ground.timed(lambda: subprocess.run([sys.executable, "-c", "import huggingface_hub.hf_api"], check=True))
    command = [sys.executable, "-c", UPLOAD, repo, str(path)]
    whole = ground.timed(lambda: subprocess.run(command, env=environ, check=True, stdout=subprocess.DEVNULL))
    return max(whole - start, 1e-3)


def _download(url: str, folder: Path) -> Row:
    root = folder / "www"
    root.mkdir()
    path = ground.random_file(root / "model.bin", SIZE_MIB, seed=5)
    _upload(url, path, xet=False)
    with ground.nginx(root) as peer:
        ours, theirs = ground.in_turns(
            lambda: _get(f"{url}/local/bench-model-lfs/resolve/main/model.bin"), lambda: _get(f"{peer}/model.bin"),
            ROUNDS + 2)
    return Row(f"download of {SIZE_MIB} MiB by curl", "nginx with sendfile", ours, theirs, "<= 1.5, aim 1.1")


def _get(url: str) -> None:
    subprocess.run(["curl", "-sf", "-o", "/dev/null", url], check=True)


def _sha256(path: Path) -> str:
    running = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(MIB):
            running.update(chunk)
    return running.hexdigest()


def _copy_synced(source: Path, target: Path) -> None:
    with source.open("rb") as a, target.open("wb") as b:
        while chunk := a.read(4 * MIB):
            b.write(chunk)
        b.flush()
        os.fsync(b.fileno())
    target.unlink()
