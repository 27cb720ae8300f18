"""Find what a fingerprint is kin to among 100,000: seconds, recall, false votes, disk. The crowd is random bits, which
is nearly what unrelated models are to one another; the real models there are to be had here are put among it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault("OPENBLAS_NUM_THREADS", "2")

import ground
import numpy as np

TESTS = Path(__file__).parents[1] / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "trace")]
CROWD = 100_000
FAMILY = 200


def rows() -> Iterator[ground.Row]:
    from prints_made import changed, print_made

    from headwater.trace.index import Index

    with ground.folder() as folder:
        index = Index(folder / "index")
        fill(index, CROWD)
        base = print_made(1, layers=30)
        index.add(CROWD, 0.0, base)
        for number in range(FAMILY):
            index.add(CROWD + 1 + number, 0.0, changed(base, 0.03, number, order=0.05))
        real = {CROWD + FAMILY + 1 + n: made for n, made in enumerate(_real())}
        for number, made in real.items():
            index.add(number, 0.0, made)
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        single, stranger = print_made(2, layers=30), print_made(3, layers=30)
        index.add(2 * CROWD, 0.0, single)
        yield _row("find a descendant's parent among 100,000 fingerprints", index, changed(single, 0.06, 1),
                   f"{size / 1e9:.1f} GB mapped; {recall(index, single, 2 * CROWD)}")
        yield _row("the same, of a family of 200", index, changed(base, 0.06, 2), "20 of the family are answered")
        yield _row("the same, of a model that is kin to none", index, stranger, false_votes(index, real))


def fill(index: Any, count: int) -> None:
    from headwater.trace import index as file
    from headwater.trace.index_tables import BYTES

    rng = np.random.default_rng(0)
    for start in range(0, count, 2000):
        records = np.zeros(2000, file._RECORD)
        records["id"] = records["head"] = np.arange(start, start + 2000)
        records["count"] = file.VECTORS
        records["hashes"] = rng.integers(1, 2**63, (2000, file.HASHES)).astype(np.uint64)
        vectors = np.frombuffer(rng.bytes(2000 * file.VECTORS * BYTES), np.uint8)
        index.append(records, vectors.reshape(2000, file.VECTORS, BYTES))


def recall(index: Any, base: Any, number: int, tries: int = 10) -> str:
    """Of descendants whose profiles differ in so many of their bits, and a fifth of whose neurons were replaced."""
    from prints_made import changed

    said = []
    for share in (0.05, 0.1, 0.15, 0.2, 0.25):
        found = sum(number in _voted(index, changed(base, share, n)) for n in range(tries))
        said.append(f"{found}/{tries} at {share:.0%}")
    return "found of descendants with so many bits changed: " + ", ".join(said)


def false_votes(index: Any, real: dict[int, Any], tries: int = 20) -> str:
    from prints_made import print_made

    made = sum(len(_voted(index, print_made(10_000 + n, layers=30))) for n in range(tries))
    among = {number: {c for c in _voted(index, one) if c != number} for number, one in real.items()}
    return (f"voted for by {tries} random models: {made}; by {len(real)} real ones: "
            f"{sum(len(c - set(real)) for c in among.values())} of the crowd, "
            f"{sum(len(c & set(real)) for c in among.values())} of one another")


def _voted(index: Any, made: Any) -> set[int]:
    return {c.id for c in index.candidates(made) if c.why == "neurons"}


def _real() -> list[Any]:
    from real_models import gemma_gguf, minilm_folder, qwen_large_gguf, qwen_small_gguf, smollm2_gguf

    from headwater.trace.fingerprint import Fingerprint
    from headwater.trace.reading import folder_files, read_apart

    paths = (smollm2_gguf(), minilm_folder(), gemma_gguf(), qwen_small_gguf(), qwen_large_gguf())
    return [Fingerprint.from_bytes(read_apart(folder_files(path))) for path in paths]


def _row(work: str, index: Any, asked: Any, note: str) -> ground.Row:
    index.candidates(asked)
    ours = tuple(ground.timed(lambda: index.candidates(asked)) for _ in range(7))
    return ground.Row(work, "1 s", ours, (1.0,) * len(ours), "<= 1, aim 0.1", note=note)
