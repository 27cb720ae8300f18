"""Make the files a shard names: check every hash, write each as one plain blob, lease it to the repo.

The bytes of a xorb that goes whole into one file are given up while that file is written, so that a large push
takes its size on disk once and not twice. If the writing then fails, they must be sent again: the generation is
retired, which tells the next client so.
"""

from __future__ import annotations

import os
import shutil
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from threading import Lock

from headwater.core.errors import CorruptFile, DiskFull, TooLarge
from headwater.core.types import Digest, Repo
from headwater.hub import Hub
from headwater.hub.intake import Intake, expect, keep
from headwater.hub.xet_format import Chunks, Segment, Shard, ShardFile, file_hash, hash_text, range_hash
from headwater.hub.xet_store import Generation, Known, Move, Piece

AT_ONCE = min(4, os.cpu_count() or 1)
_TELL_BYTES = 256 << 20
_MET = 64
# Chunks are at least 8 KiB but for the last of a file. Half of that, and a few more, is allowed; a shard of very
# many tiny ones would only keep the processor busy.
_BYTES_PER_CHUNK, _CHUNKS_EXTRA = 4096, 8
# A client that gave up waiting asks again while its first request is still at work: the second waits here.
_BUILDING = [Lock() for _ in range(64)]


class Builder:
    """Makes the files of one shard, a few at a time. Remembers the xorbs it met last."""

    def __init__(self, hub: Hub, repo: Repo, generation: Generation):
        self.hub, self.repo, self.generation = hub, repo, generation
        self._met: OrderedDict[bytes, Known] = OrderedDict()
        self._lock = Lock()
        self._places = _Places(generation)
        self._movable: set[bytes] = set()

    def build(self, shard: Shard) -> int:
        """How many files there are. Raises BadInput for the first that cannot be; those before it are kept."""
        listed = self._check_listed(shard)
        uses = Counter(segment.xorb for file in shard.files() for segment in file.segments)
        self._movable = {xorb for xorb in listed if uses[xorb] == 1}
        # Hashing and copying leave the interpreter, so files are built side by side. The first failure ends all.
        with ThreadPoolExecutor(AT_ONCE, "xet") as pool:
            try:
                running: set[Future[None]] = set()
                for file in shard.files():
                    if len(running) >= 2 * AT_ONCE:
                        done, running = wait(running, return_when=FIRST_COMPLETED)
                        _raise_first(done)
                    running.add(pool.submit(self._build, file))
                _raise_first(running)
            finally:
                pool.shutdown(cancel_futures=True)
                self._places.flush()
        return shard.file_count

    def _check_listed(self, shard: Shard) -> set[bytes]:
        """The xorbs listed. The client will remember them as the shard lists them, so the list must be true."""
        seen = set()
        for xorb, listed in shard.xorbs():
            known = self._known(xorb)
            if known.chunks.hashes != listed.hashes or known.chunks.sizes.tolist() != listed.sizes.tolist():
                raise CorruptFile(f"The shard lists other chunks for xorb {hash_text(xorb)} than it holds.")
            seen.add(xorb)
        return seen

    def _build(self, file: ShardFile) -> None:
        with _BUILDING[file.hash[0] & 63]:
            self._check(file)
            if not self._is_blob(file):
                self._write(file)
            else:
                self._places.note(file)

    # --- is it true

    def _check(self, file: ShardFile) -> None:
        """Raises BadInput unless every segment is within its xorb and every hash of hashes is right."""
        name, limit = hash_text(file.hash), self.hub.settings.file_max_bytes
        if file.size > limit:
            raise TooLarge(f"{file.size:,} bytes; at most {limit:,} are accepted for one file.")
        for segment in file.segments:
            known = self._known(segment.xorb)
            if segment.stop > len(known.chunks):
                raise CorruptFile(f"File {name} takes chunks up to {segment.stop} of xorb {hash_text(segment.xorb)}, "
                                  f"which has {len(known.chunks)}.")
            if int(known.offsets[segment.stop] - known.offsets[segment.start]) != segment.size:
                raise CorruptFile(f"A segment of file {name} is not as long as the shard says.")
        if sum(s.stop - s.start for s in file.segments) > file.size // _BYTES_PER_CHUNK + _CHUNKS_EXTRA:
            raise CorruptFile(f"File {name} is cut into more chunks than its size allows.")
        for segment in file.segments:
            if range_hash(self._chunks(segment).hashes) != segment.proof:
                raise CorruptFile(f"A segment of file {name} has another range hash than the shard says.")
        if file_hash(map(self._chunks, file.segments)) != file.hash:
            raise CorruptFile(f"The chunks of file {name} do not make that hash.")

    def _chunks(self, segment: Segment) -> Chunks:
        return self._known(segment.xorb).chunks.part(segment.start, segment.stop)

    # --- make it

    def _is_blob(self, file: ShardFile) -> bool:
        """Whether the file is, byte for byte, a blob this uploader has made before; if so it is leased."""
        match list(self._pieces(file.segments)):
            case [Piece(str(digest), 0, stop)] if digest == file.sha256:
                # The lease first: a sweep that runs between these lines sees it and leaves the bytes alone.
                self.hub.holdings.grant(self.repo, digest, stop, seconds=self.hub.settings.upload_seconds)
                if self.hub.blobs.size(digest) == stop:
                    self.hub.holdings.kept(digest)
                    return True
        return False

    def _write(self, file: ShardFile) -> None:
        moving = self._moved_by(file)
        self._need_room(file.size - sum(moving.values()))
        with Move(moving) as move:
            try:
                self._copy(file, move)
                self._places.note(file)
                if move.begun:
                    # Before anybody else may look for what has moved.
                    self._places.flush()
            except BaseException:
                if move.begun:
                    self.generation.retire()
                raise

    def _copy(self, file: ShardFile, move: Move) -> None:
        for again in (True, False):
            try:
                with Intake(self.hub.tmp, self.hub.settings.file_max_bytes) as intake:
                    for piece in self._pieces(file.segments):
                        for block in self.generation.read(piece):
                            intake.write(block)
                        move.done_with(piece.source)
                    staged = intake.finish()
                break
            except FileNotFoundError:
                # These bytes have just moved into a blob, or the sweep took the blob they were in.
                self._forget()
                if not again:
                    raise self.generation.unknown(file.segments[0].xorb) from None
        expect(staged, digest=file.sha256, size=file.size)
        try:
            keep(self.hub, self.repo, staged)
        except BaseException:
            Path(staged.path).unlink(missing_ok=True)
            raise

    def _moved_by(self, file: ShardFile) -> dict[Path, int]:
        """The files, with their sizes, of xorbs that are new, go whole into this file, and into no other of this
        shard."""
        found = {}
        for segment in file.segments:
            known = self._known(segment.xorb)
            if segment.xorb in self._movable and known.raw and segment.size == known.offsets[-1]:
                found[known.raw] = segment.size
        return found

    def _need_room(self, size: int) -> None:
        # A shard of a few kilobytes may name a file of many gigabytes: better refused than half written.
        if shutil.disk_usage(self.hub.tmp).free < size:
            raise DiskFull(f"The hub's disk has no room for another {size:,} bytes.",
                           hint="Free space, then push again.")

    def _pieces(self, segments: tuple[Segment, ...]) -> Iterator[Piece]:
        """Where the file's bytes are, neighbours joined."""
        last: Piece | None = None
        for segment in segments:
            for piece in self._located(segment):
                if last and (last.source, last.stop) == (piece.source, piece.start):
                    last = Piece(last.source, last.start, piece.stop)
                    continue
                if last:
                    yield last
                last = piece
        if last:
            yield last

    def _located(self, segment: Segment) -> list[Piece]:
        pieces = self._known(segment.xorb).locate(segment.start, segment.stop)
        if pieces is None:
            # Perhaps another shard of this account is just moving it into a blob.
            Move.wait_for(self.generation.raw(segment.xorb))
            self._forget()
            pieces = self._known(segment.xorb).locate(segment.start, segment.stop)
        if pieces is None:
            raise self.generation.unknown(segment.xorb)
        return pieces

    def _known(self, xorb: bytes) -> Known:
        with self._lock:
            known = self._met.get(xorb)
            if known is None or (known.raw and not known.raw.exists()):
                known = self._met[xorb] = self.generation.known(xorb)
                if len(self._met) > _MET:
                    self._met.popitem(last=False)
            self._met.move_to_end(xorb)
            return known

    def _forget(self) -> None:
        with self._lock:
            self._met.clear()


class _Places:
    """Gathers which chunks stand in which blob, and tells the generation now and then: each telling writes a file
    per xorb, and frees the bytes of those that stand in blobs whole."""

    def __init__(self, generation: Generation):
        self._generation, self._lock = generation, Lock()
        self._noted: dict[bytes, list[tuple[int, int, Digest, int]]] = defaultdict(list)
        self._bytes = 0

    def note(self, file: ShardFile) -> None:
        at = 0
        with self._lock:
            for segment in file.segments:
                self._noted[segment.xorb].append((segment.start, segment.stop, file.sha256, at))
                at += segment.size
            self._bytes += at
            if self._bytes > _TELL_BYTES:
                self._tell()

    def flush(self) -> None:
        with self._lock:
            self._tell()

    def _tell(self) -> None:
        noted, self._noted, self._bytes = self._noted, defaultdict(list), 0
        self._generation.place(noted)


def _raise_first(futures: Iterable[Future[None]]) -> None:
    for future in futures:
        future.result()
