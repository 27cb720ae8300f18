"""Bytes a fine-tune takes beside its parent: our differences, plain zstd, BitX and Xet's chunks on the same files; and
what a whole download of a file kept so takes. As ratios of bytes; the peers at their best of what is written of them.

BitX (ZipLLM, NSDI 2026) is written anew from its description: XOR of the bits with the parent's, every bit of the
numbers in a plane of its own, or every byte if that is smaller, zstd. Xet is hf_xet itself, writing into a folder.
"""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import ground
import numpy as np
from storage_files import base_and_tuned, noisy

SIGMAS = (1e-4, 1e-3)


def rows() -> Iterator[ground.Row]:
    base, tuned = base_and_tuned()
    files = [(tuned, "a fine-tune (10 steps of AdamW at 2e-5)")]
    files += [(noisy(base, sigma), f"noise of {sigma:g} on every matrix") for sigma in SIGMAS]
    for child, what in files:
        size, changed = child.stat().st_size, _changed(base, child)
        note = f"{what}; {changed:.1%} of the weights differ; share of its size / share of its size"
        ours = _ours(base, child) / size
        for name, peer, budget in (("zstd -3 of the file", _zstd(child), "< 1"), ("BitX", _bitx(base, child), "< 1")):
            yield ground.Row("SmolLM2 in bf16, kept as a difference", name, (ours,), (peer / size,), budget, "", note)
        if child == tuned:
            yield ground.Row("SmolLM2 in bf16, kept as a difference", "hf_xet, which holds the parent", (ours,),
                             (_xet(base, child) / size,), "< 1", "", note)
    yield _download(base, tuned)


def _changed(base: Path, child: Path) -> float:
    return float((np.memmap(base, np.uint16, "r") != np.memmap(child, np.uint16, "r")).mean())


def _fetch(path: Path) -> Callable[[int, int], bytes]:
    with path.open("rb") as file:
        whole = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    return lambda start, stop: whole[start:stop]


def _ours(base: Path, child: Path) -> int:
    from headwater.hub.descent import pairs_of
    from headwater.storage.blobs.packed import spans_of, write_packed
    from headwater.weights.read import read_header
    from headwater.weights.source import FileSource

    with FileSource(base) as one, FileSource(child) as two, tempfile.TemporaryDirectory() as folder:
        spans = spans_of(pairs_of(read_header(two), read_header(one)), two.size)
        return write_packed(Path(folder) / "packed", "0" * 64, "0" * 64, spans, _fetch(child), _fetch(base),
                            most=1 << 62, tell=lambda _: None)


def _blocks(work: Callable[[int, int], int], size: int, step: int = 1 << 22) -> int:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return sum(pool.map(lambda at: work(at, min(at + step, size)), range(0, size, step)))


def _zstd(child: Path) -> int:
    import zstandard

    read = _fetch(child)
    return _blocks(lambda a, b: len(zstandard.ZstdCompressor(level=3).compress(read(a, b))), child.stat().st_size)


def _bitx(base: Path, child: Path) -> int:
    """Both files have one header and one layout; 16 planes a block."""
    import zstandard

    one, two = _fetch(base), _fetch(child)

    def pack(start: int, stop: int) -> int:
        mixed = np.frombuffer(one(start, stop), "<u2") ^ np.frombuffer(two(start, stop), "<u2")
        compress = zstandard.ZstdCompressor(level=3).compress
        bits = (np.packbits((mixed >> np.uint16(bit)) & np.uint16(1)) for bit in range(15, -1, -1))
        halves = (np.ascontiguousarray(half) for half in mixed.view(np.uint8).reshape(-1, 2).T)
        return min(sum(len(compress(plane)) for plane in planes) for planes in (bits, halves))

    return _blocks(pack, child.stat().st_size)


def _xet(base: Path, child: Path) -> int:
    """Bytes the store grows by when the child comes after its parent."""
    import hf_xet

    with tempfile.TemporaryDirectory() as folder:
        os.environ["HF_XET_CACHE"] = f"{folder}/cache"
        grown = [0]
        for path in (base, child):
            hf_xet.upload_files([str(path)], f"local://{folder}/store", None, None, None, "model")
            grown.append(sum(p.stat().st_size for p in Path(folder, "store").rglob("*") if p.is_file()))
        return grown[2] - grown[1]


def _download(base: Path, child: Path) -> ground.Row:
    """From a hub over loopback, whole file; the client throws the bytes away."""
    import urllib.request

    from server import HubProcess

    with ground.folder() as folder:
        names = _stocked(folder / "data", base, child)
        with HubProcess(folder / "data") as server:
            def fetch(name: str) -> None:
                url = f"{server.url}/local/{name}/resolve/main/model.safetensors"
                with urllib.request.urlopen(url) as answer:
                    while answer.read(1 << 20):
                        pass

            ours, theirs = ground.in_turns(lambda: fetch(names[1]), lambda: fetch(names[0]), 3)
    return ground.Row("download of 269 MB kept as a difference", "of the parent, kept whole", ours, theirs, "< 6",
                      note="loopback, embedded server; what is kept whole is sent by the kernel")


def _stocked(data: Path, base: Path, child: Path) -> list[str]:
    from headwater.app import open_app
    from headwater.core.settings import load
    from headwater.core.types import Kind
    from headwater.hub import repos
    from headwater.hub.accounts import local_owner, owner_actor
    from headwater.hub.commit import Add, commit
    from headwater.hub.descent import descent_job
    from headwater.hub.intake import keep, stage

    app = open_app(load(data, {}, environ={}))
    local_owner(app.hub)
    actor, made = owner_actor(app.hub), []
    for name, path in (("base", base), ("tuned", child)):
        repo = repos.create(app.hub, actor, Kind.MODEL, actor.name, name, private=False)
        with path.open("rb") as file:
            staged = stage(app.hub, iter(lambda f=file: f.read(1 << 20), b""), limit=1 << 40)
        keep(app.hub, repo, staged)
        commit(app.hub, actor, repo, "main", [Add("model.safetensors", digest=staged.digest)], title="add")
        made.append(app.hub.repos.get(repo.id))
    work = descent_job(app.hub, lambda repo, _: [(made[0], made[0].head)] if repo.id == made[1].id else [])
    assert work({}, lambda *_, **__: None)["kept"] == 1
    app.records.close()
    return ["base", "tuned"]
