"""Which of very many fingerprints may be kin to this one: by votes of neurons, then by tensors and tokens in common.

Of each model VECTORS signs of its strongest neurons are kept in a mapped file. Bands of their bits are keys of sorted
tables; a key in common is checked by the whole distance, and a near neuron is a vote for its model. A model near one
that is there joins its family: only the head of a family is in the tables, and the members, kept in the head's order,
are ranked when the head is voted for. So ten thousand fine-tunes of one base answer as one, nearest first.

Everything here can be made again from the fingerprints (sync): files are only ever added to, a record that was torn is
left out, and a folder of another version is emptied. Knows no repos and judges nothing. docs/design/014-index.md.
"""

from __future__ import annotations

import json
import os
import shutil
import threading
import zlib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headwater.core.errors import HeadwaterError
from headwater.trace import fingerprint
from headwater.trace.fingerprint import Fingerprint
from headwater.trace.index_tables import BYTES, KEY_BITS, NEAR, Tables, distances, keys_of

FORMAT = 1
VECTORS = 128
ASKED = ((960, KEY_BITS), (40 * fingerprint.NEURONS, 18))
"""How many neurons of an upload vote, and bits of a key: where the first finds nobody, the second looks closer."""
HASHES = 32
FEWEST_VOTES = 2
FAMILY = 0.5
"""A model joins a family when so much of the head's neurons have a near one in it."""
RANKED = 5
"""Families whose members are ranked in one question."""
COMMON = 64
"""A tensor that more models have than this says nothing: a norm of ones, a frozen tokenizer table."""
_SLOT_BYTES = VECTORS * BYTES
_RECORD = np.dtype([("id", "<i8"), ("stamp", "<f8"), ("head", "<i8"), ("count", "<i4"), ("tokens", "<u8"),
                    ("hashes", "<u8", (HASHES,)), ("vectors_crc", "<u4"), ("crc", "<u4")])
_CHECKED = 64
"""Of the newest records the vectors are checked too: only they can be torn."""


@dataclass(frozen=True)
class Candidate:
    """why: "neurons", "tensors" or "tokens". share: of the neurons (or tensors) that voted, 0 to 1; 0 for tokens."""

    id: int
    share: float
    why: str


class Index:
    """Over a folder of its own. Safe to call from many threads; one process a folder."""

    def __init__(self, folder: Path):
        self._folder, self._lock = folder, threading.RLock()
        self._alive: dict[int, int] = {}
        self._dead: set[int] = set()
        self._open()

    def __len__(self) -> int:
        return len(self._alive)

    # --- questions

    def candidates(self, made: Fingerprint, *, limit: int = 20, without: Collection[int] = ()) -> list[Candidate]:
        """At most `limit`, likeliest first, each once."""
        with self._lock:
            found = self._by_neurons(made, limit)
            for candidate in (*self._by_tensors(made.tensors), *self._by_tokens(made)):
                found.setdefault(candidate.id, candidate)
        return [c for c in found.values() if c.id not in without][:limit]

    def newest(self, count: int, *, without: Collection[int] = ()) -> list[Candidate]:
        """The latest of all, kin or not."""
        with self._lock:
            found = (self._candidate(slot, 0.0, "tokens") for slot in reversed(range(len(self._records))))
            return [c for c, _ in zip((c for c in found if c and c.id not in without), range(count), strict=False)]

    def _by_neurons(self, made: Fingerprint, limit: int) -> dict[int, Candidate]:
        voted = self._votes(made)
        families: list[list[Candidate]] = []
        for place, (head, share) in enumerate(voted[:limit]):
            members = self._members.get(head, [])
            own = self._candidate(head, share)
            if members and place < RANKED:
                families.append([c for c in (own, *self._ranked(head, members, made)) if c])
            else:
                families.append([c for c in (own, *(self._candidate(m, share) for m in members[:2])) if c])
        chosen: dict[int, Candidate] = {}
        # The best family fills half of the answer; the others are heard before its later members.
        for family in [families[0][:limit // 2], *(f[:3] for f in families[1:]), *families] if families else ():
            for candidate in family:
                chosen.setdefault(candidate.id, candidate)
        return chosen

    def _candidate(self, slot: int, share: float, why: str = "neurons") -> Candidate | None:
        if slot in self._dead or slot >= len(self._records):
            return None
        return Candidate(int(self._records["id"][slot]), round(float(share), 4), why)

    def _votes(self, made: Fingerprint) -> list[tuple[int, float]]:
        """(slot of a head, share of its neurons that a near one of `made` voted for), most first."""
        for most, bits in ASKED:
            near = self._tables.near(_vectors(made, most), self._vectors(), bits)
            slots, counts = np.unique(np.unique(near) // VECTORS, return_counts=True)
            slots, counts = slots[counts >= FEWEST_VOTES], counts[counts >= FEWEST_VOTES]
            if len(slots):
                break
        shares = counts / np.maximum(self._records["count"][slots], 1)
        return [(int(slots[n]), float(shares[n])) for n in np.argsort(-shares, kind="stable")]

    def _ranked(self, head: int, members: list[int], made: Fingerprint) -> list[Candidate]:
        """Members of a family, nearest first, by the neurons that stand where the head's stand."""
        aligned, here = self._aligned(head, made)
        if not here.any():
            return []
        alive = np.array([slot for slot in members if slot not in self._dead], np.int64)
        mean = np.full(len(alive), np.inf)
        vectors, at = self._vectors().reshape(-1, VECTORS, BYTES), np.flatnonzero(here)
        for start in range(0, len(alive), 512):
            theirs = vectors[alive[start:start + 512]][:, at]
            there = theirs.any(2)
            apart = distances(theirs, aligned[at][None])
            mean[start:start + 512] = np.where(there, apart, NEAR).mean(1)
        order = np.argsort(mean, kind="stable")[:20]
        return [Candidate(int(self._records["id"][alive[n]]), round(float(1 - mean[n] / (BYTES * 4)), 4), "neurons")
                for n in order]

    def _aligned(self, head: int, made: Fingerprint) -> tuple[np.ndarray, np.ndarray]:
        """uint8 (VECTORS, BYTES): for each neuron of the head the nearest of `made`, 0 where none is near; and which
        have one. Unlike a vote this looks at every neuron kept."""
        count = int(self._records["count"][head])
        first = self._vectors()[head * VECTORS:head * VECTORS + count]
        every = np.concatenate([p for p in map(_leading, made.layers) if p is not None])
        apart = [distances(every, one[None]) for one in first]
        nearest = np.array([row.argmin() for row in apart], np.int64)
        here = np.array([row[n] <= NEAR for row, n in zip(apart, nearest, strict=True)], bool)
        aligned = np.zeros((VECTORS, BYTES), np.uint8)
        aligned[:count][here] = every[nearest[here]]
        return aligned, np.concatenate([here, np.zeros(VECTORS - count, bool)])

    def _by_tensors(self, tensors: np.ndarray) -> list[Candidate]:
        if not len(tensors) or not len(self._records):
            return []
        (ordered, slots), rest = self._sorted_hashes(), self._records["hashes"][self._sorted_to:]
        low, high = np.searchsorted(ordered, tensors), np.searchsorted(ordered, tensors, "right")
        hits = [slots[a:b] for a, b in zip(low, high, strict=True) if 0 < b - a <= COMMON]
        hits.append(np.flatnonzero(np.isin(rest, tensors)) // HASHES + self._sorted_to)
        found, counts = np.unique(np.concatenate(hits), return_counts=True)
        order = np.argsort(-counts, kind="stable")[:20]
        named = [self._candidate(int(found[n]), counts[n] / HASHES, "tensors") for n in order]
        return [c for c in named if c]

    def _sorted_hashes(self) -> tuple[np.ndarray, np.ndarray]:
        """Hashes in order and the slots they are of; of all but the newest records, which are looked through."""
        if self._hashes is None or len(self._records) - self._sorted_to > 2048:
            flat = self._records["hashes"].reshape(-1)
            order = np.argsort(flat, kind="stable")
            self._hashes, self._sorted_to = (flat[order], order // HASHES), len(self._records)
        return self._hashes

    def _by_tokens(self, made: Fingerprint) -> list[Candidate]:
        """The newest few with the same tokens: seldom kin, and the ones to hold an unrelated verdict against."""
        tokens = _tokens(made)
        same = np.flatnonzero(self._records["tokens"] == tokens)[::-1] if tokens else ()
        named = (self._candidate(int(slot), 0.0, "tokens") for slot in same)
        return [c for c, _ in zip((c for c in named if c), range(3), strict=False)]

    # --- what is in it

    def add(self, number: int, stamp: float, made: Fingerprint) -> None:
        """Put a fingerprint in, in place of an earlier one of the same number."""
        with self._lock:
            self.remove([number])
            kept = _vectors(made, VECTORS)
            head, vectors = len(self._records), np.zeros((VECTORS, BYTES), np.uint8)
            vectors[:len(kept)] = kept
            for nearest, _ in self._votes(made)[:1]:
                aligned, here = self._aligned(nearest, made)
                if here.sum() >= FAMILY * self._records["count"][nearest]:
                    head, vectors = nearest, aligned
            record = np.zeros(1, _RECORD)
            record["id"], record["stamp"], record["head"] = number, stamp, head
            record["count"], record["tokens"] = len(kept), _tokens(made)
            record["hashes"][0, :len(made.tensors[:HASHES])] = made.tensors[:HASHES]
            self.append(record, vectors[None])

    def append(self, records: np.ndarray, vectors: np.ndarray) -> None:
        """Records whose heads are known, with their vectors uint8 (n, VECTORS, BYTES); bytes first, then records."""
        with self._lock:
            first = len(self._records)
            with (self._folder / "vectors").open("r+b") as file:
                file.seek(first * _SLOT_BYTES)
                file.write(np.ascontiguousarray(vectors).data)
                file.flush()
                os.fsync(file.fileno())
            for record, one in zip(records, vectors, strict=True):
                record["vectors_crc"] = zlib.crc32(np.ascontiguousarray(one).data)
                record["crc"] = _crc(record)
            with (self._folder / "records").open("r+b") as file:
                file.seek(first * _RECORD.itemsize)
                file.write(records.tobytes())
                file.flush()
                os.fsync(file.fileno())
            self._mapped = None
            self._records = np.concatenate([self._records, records])
            for slot in range(first, first + len(records)):
                self._enter(slot)
            self._add_keys(first)

    def remove(self, numbers: Collection[int]) -> None:
        """Forget these. A head goes on answering for its family, by its vectors alone."""
        with self._lock:
            for number in numbers:
                slot = self._alive.pop(number, None)
                if slot is not None:
                    self._dead.add(slot)

    def sync(self, stamps: Mapping[int, float], bodies: Callable[[Collection[int]], Mapping[int, bytes]],
             progress: Callable[[int, int], None] | None = None) -> int:
        """Make it hold exactly the fingerprints of `stamps`; how many were put in. bodies: asked for what is missing.

        progress may raise to stop: what was put in stays.
        """
        with self._lock:
            self.remove([n for n, slot in self._alive.items() if stamps.get(n) != self._records["stamp"][slot]])
            if len(self._dead) > max(256, len(self._alive)):
                self._empty()
            missing = sorted(stamps.keys() - self._alive.keys())
        for start in range(0, len(missing), 16):
            for number, body in sorted(bodies(missing[start:start + 16]).items()):
                try:
                    self.add(number, stamps[number], Fingerprint.from_bytes(body))
                except HeadwaterError:  # of another version: it will be made again, and then put in
                    continue
            if progress is not None:
                progress(min(start + 16, len(missing)), len(missing))
        return len(missing)

    # --- files

    def _open(self) -> None:
        says = {"format": FORMAT, "fingerprint": fingerprint.VERSION}
        about = self._folder / "about.json"
        try:
            if json.loads(about.read_text()) != says:
                raise ValueError
        except (OSError, ValueError):
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder.mkdir(parents=True, exist_ok=True)
            about.write_text(json.dumps(says))
        for name in ("vectors", "records"):
            (self._folder / name).touch()
        self._mapped: np.ndarray | None = None
        self._hashes: tuple[np.ndarray, np.ndarray] | None = None
        self._sorted_to = 0
        self._alive, self._dead = {}, set()
        self._members: dict[int, list[int]] = {}
        self._records = self._whole_records()
        for slot in range(len(self._records)):
            self._enter(slot)
        self._tables = Tables(self._folder / "tables", len(self._records))
        self._add_keys(self._tables.stop)

    def _whole_records(self) -> np.ndarray:
        """The records up to the first that was torn."""
        raw = (self._folder / "records").read_bytes()
        room = (self._folder / "vectors").stat().st_size // _SLOT_BYTES
        records = np.frombuffer(raw[:len(raw) // _RECORD.itemsize * _RECORD.itemsize], _RECORD)[:room].copy()
        vectors = self._vectors()
        for slot, record in enumerate(records):
            torn = record["crc"] != _crc(record)
            if not torn and slot >= len(records) - _CHECKED:
                torn = record["vectors_crc"] != zlib.crc32(vectors[slot * VECTORS:(slot + 1) * VECTORS].tobytes())
            if torn or not 0 <= record["head"] <= slot or not 0 <= record["count"] <= VECTORS:
                return records[:slot]
        return records

    def _empty(self) -> None:
        self._mapped = None
        shutil.rmtree(self._folder)
        self._open()

    def _enter(self, slot: int) -> None:
        number, head = int(self._records["id"][slot]), int(self._records["head"][slot])
        if number in self._alive:
            self._dead.add(self._alive[number])
        self._alive[number] = slot
        if head != slot:
            self._members.setdefault(head, []).append(slot)

    def _vectors(self) -> np.ndarray:
        """uint8 (slots * VECTORS, BYTES), mapped."""
        if self._mapped is None:
            size = (self._folder / "vectors").stat().st_size // BYTES
            if not size:
                return np.zeros((0, BYTES), np.uint8)
            self._mapped = np.memmap(self._folder / "vectors", np.uint8, "r", shape=(size, BYTES))
        return self._mapped

    def _add_keys(self, first: int) -> None:
        """Put the heads from slot `first` on in the tables, a bounded number at a time."""
        vectors = self._vectors()
        for start in range(first, len(self._records), 4096):
            stop = min(start + 4096, len(self._records))
            part = self._records[start:stop]
            slots = np.flatnonzero(part["head"] == np.arange(start, stop)) + start
            numbers = (slots[:, None] * VECTORS + np.arange(VECTORS)).reshape(-1)
            used = (np.arange(VECTORS) < self._records["count"][slots][:, None]).reshape(-1)
            self._tables.add(start, stop, keys_of(vectors[numbers[used]], numbers[used]))


def _crc(record: np.void) -> int:
    return zlib.crc32(record.tobytes()[:-4])


def _tokens(made: Fingerprint) -> int:
    return int(made.tokenizer.digest[:16] or "0", 16)


def _leading(layer: fingerprint.LayerPrint) -> np.ndarray | None:
    return layer.gate if layer.gate is not None else layer.up


def _vectors(made: Fingerprint, most: int) -> np.ndarray:
    """uint8 (n, BYTES), n <= most: the strongest neurons of each layer, layers evenly. Those whose signs are nearly all
    alike (zeros, one constant) are left out."""
    layers = [p for p in map(_leading, made.layers) if p is not None and len(p)]
    if len(layers) > most // 4:
        layers = [layers[n] for n in np.linspace(0, len(layers) - 1, most // 4).round().astype(int)]
    if not layers:
        return np.zeros((0, BYTES), np.uint8)
    each = most // len(layers)
    found = np.concatenate([p[:each] for p in layers])
    ones = np.bitwise_count(found).sum(1)
    return found[(ones > BYTES) & (ones < BYTES * 7)]
