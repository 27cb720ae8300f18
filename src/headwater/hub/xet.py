"""The Xet door: tokens, xorbs coming in, shards that make files of them. Knows no HTTP.

A xorb is unpacked once, as it arrives; a shard then names the files, and each is written as one plain blob and
leased to the repo, exactly as an LFS upload would leave it. Nothing of Xet remains in the hub's data.
"""

from __future__ import annotations

import os
from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from threading import Lock
from types import TracebackType

import numpy as np

from headwater.core.errors import CorruptFile, Forbidden, NotSignedIn, RepoNotFound, TooLarge
from headwater.core.types import Access, Account, Actor, Digest, Repo
from headwater.hub import Hub
from headwater.hub.access import access_to
from headwater.hub.intake import Intake, disk_error, expect, keep
from headwater.hub.signing import sign, unsign
from headwater.hub.xet_format import (
    SHARD_MAX,
    Segment,
    Shard,
    ShardFile,
    XorbDecoder,
    file_hash,
    hash_text,
    range_hash,
)
from headwater.hub.xet_store import Generation, Known, Piece, current, find

TOKEN_S = 3600
# A client that gave up waiting asks again while its first request is still at work: the second waits here.
_BUILDING = [Lock() for _ in range(64)]
_AT_ONCE = min(4, os.cpu_count() or 1)
_TELL_BYTES = 256 << 20


@dataclass(frozen=True)
class Ticket:
    """What a client is told to upload with. address: the generation its uploads go to."""

    text: str
    expires_at: int
    address: str


@dataclass(frozen=True)
class Grant:
    """An opened ticket: who uploads what for which repo."""

    repo: Repo
    actor: Actor
    generation: Generation


def ticket(hub: Hub, actor: Actor, repo: Repo) -> Ticket:
    """For an actor who may write to the repo (the caller has asked)."""
    payload = {"repo": repo.id, "account": actor.account.id, "token": actor.token_id, "repos": actor.repos}
    text = sign(hub, "xet", payload, TOKEN_S)
    return Ticket(text, int(hub.now() + TOKEN_S), current(hub, scope_of(actor)).name)


def open_ticket(hub: Hub, text: str, address: str) -> Grant:
    """Raises NotSignedIn for a ticket that is forged, expired or of a revoked token; RepoNotFound or Forbidden if
    its maker may no longer write to the repo; BadInput for an address that is not the maker's."""
    try:
        said = unsign(hub, "xet", text)
    except Forbidden as error:
        raise NotSignedIn("This Xet token was not made by this hub, or has expired.",
                          hint="Start the push again.") from error
    repo, account = hub.repos.get(said["repo"]), hub.accounts.get(said["account"])
    if repo is None or account is None:
        raise RepoNotFound("The repo this upload was for is gone.")
    if said["token"] is not None and not _token_lives(hub, account, said["token"]):
        raise NotSignedIn("The token this upload began with was revoked or has expired.", hint="Make a new one.")
    repos = tuple(said["repos"]) if said["repos"] is not None else None
    actor = Actor(account, Access.WRITE, said["token"], repos=repos)
    if not access_to(hub, actor, repo).covers(Access.WRITE):
        raise Forbidden(f"{account.name} may no longer write to {repo.full_name}.")
    return Grant(repo, actor, find(hub, scope_of(actor), address))


def _token_lives(hub: Hub, account: Account, token_id: int) -> bool:
    return any(token.id == token_id and (token.expires_at is None or token.expires_at > hub.now())
               for token in hub.accounts.tokens(account))


def scope_of(actor: Actor) -> str:
    """Whose uploads a client may refer to: the account's own; a token limited to some repos, only its own."""
    # With the time, so that a later account of the same number (databases use them again) is another.
    account = f"{actor.account.id} {int(actor.account.created_at)}"
    return f"{account} token {actor.token_id}" if actor.repos is not None else account


class _Received:
    """A file of the generation being written; used as a context manager it leaves nothing behind unless taken."""

    def __init__(self, generation: Generation):
        handle, self.path = generation.temporary()
        self._file = os.fdopen(handle, "wb", buffering=0)

    def _put(self, pieces: list[bytes | memoryview]) -> None:
        """Write the pieces, in order."""
        try:
            for some in (pieces[i:i + 512] for i in range(0, len(pieces), 512)):
                done = os.writev(self._file.fileno(), some)
                if done < sum(map(len, some)):
                    rest = memoryview(b"".join(some))[done:]
                    while rest:
                        rest = rest[self._file.write(rest):]
        except OSError as error:
            raise disk_error(error) from error

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._file.close()
        self.path.unlink(missing_ok=True)


class XorbIntake(_Received):
    """One xorb coming in: write() its body in blocks of about a megabyte, then finish()."""

    def __init__(self, grant: Grant, xorb: bytes):
        super().__init__(grant.generation)
        self._generation, self._xorb, self._decoder = grant.generation, xorb, XorbDecoder()

    def __enter__(self) -> XorbIntake:
        return self

    def write(self, block: bytes) -> None:
        """Raises CorruptFile at the first byte that cannot be, DiskFull when the disk is."""
        if chunks := self._decoder.feed(block):
            self._put(chunks)

    def finish(self) -> bool:
        """True if the xorb is new. Raises CorruptFile unless every hash is right."""
        chunks = self._decoder.finish(self._xorb)
        return self._generation.put(self._xorb, chunks, self.path)


class ShardIntake(_Received):
    """A shard coming in: write() its body, then register()."""

    def __init__(self, hub: Hub, grant: Grant):
        super().__init__(grant.generation)
        self._hub, self._grant, self._size = hub, grant, 0

    def __enter__(self) -> ShardIntake:
        return self

    def write(self, block: bytes) -> None:
        self._size += len(block)
        if self._size > SHARD_MAX:
            raise TooLarge(f"A shard has at most {SHARD_MAX:,} bytes.", hint="Push in several commits.")
        self._put([block])

    def register(self) -> int:
        """Build every file the shard names; how many."""
        if not self._size:
            raise CorruptFile("The shard is empty.")
        # Mapped rather than read: many shards at once must not fill the memory.
        data = np.memmap(self.path, np.uint8, "r")
        return _Builder(self._hub, self._grant).build(Shard(data.data))


class _Builder:
    """Makes the files of one shard, a few at a time. Remembers the xorbs it met last."""

    def __init__(self, hub: Hub, grant: Grant):
        self.hub, self.repo, self.generation = hub, grant.repo, grant.generation
        self._met: OrderedDict[bytes, Known] = OrderedDict()
        self._lock = Lock()
        self._places = _Places(grant.generation)

    def build(self, shard: Shard) -> int:
        self._check_listed(shard)
        # Hashing and copying leave the interpreter, so files are built side by side. The first failure ends all.
        with ThreadPoolExecutor(_AT_ONCE, "xet") as pool:
            try:
                running: set[Future[None]] = set()
                for file in shard.files():
                    if len(running) >= 2 * _AT_ONCE:
                        done, running = wait(running, return_when=FIRST_COMPLETED)
                        _raise_first(done)
                    running.add(pool.submit(self._build, file))
                _raise_first(running)
            finally:
                pool.shutdown(cancel_futures=True)
                self._places.flush()
        return shard.file_count

    def _check_listed(self, shard: Shard) -> None:
        """The client will remember the xorbs as the shard lists them, so the list must be true."""
        for xorb, listed in shard.xorbs():
            known = self._known(xorb)
            if known.chunks.hashes != listed.hashes or known.chunks.sizes.tolist() != listed.sizes.tolist():
                raise CorruptFile(f"The shard lists other chunks for xorb {hash_text(xorb)} than it holds.")

    def _build(self, file: ShardFile) -> None:
        if file.size > self.hub.settings.file_max_bytes:
            raise TooLarge(f"{file.size:,} bytes; at most {self.hub.settings.file_max_bytes:,} are accepted for one "
                           "file.")
        with _BUILDING[file.hash[0] & 63]:
            self._check(file)
            if not self._is_blob(file):
                self._write(file)
            self._places.note(file)

    def _check(self, file: ShardFile) -> None:
        """Raises BadInput unless every segment is within its xorb and every hash of hashes is right."""
        name = hash_text(file.hash)
        for segment in file.segments:
            known = self._known(segment.xorb)
            if segment.stop > len(known.chunks):
                raise CorruptFile(f"File {name} takes chunks up to {segment.stop} of xorb {hash_text(segment.xorb)}, "
                                  f"which has {len(known.chunks)}.")
            if int(known.offsets[segment.stop] - known.offsets[segment.start]) != segment.size:
                raise CorruptFile(f"A segment of file {name} is not as long as the shard says.")
            if range_hash(known.chunks.part(segment.start, segment.stop).hashes) != segment.proof:
                raise CorruptFile(f"A segment of file {name} has another range hash than the shard says.")
        if file_hash(self._known(s.xorb).chunks.part(s.start, s.stop) for s in file.segments) != file.hash:
            raise CorruptFile(f"The chunks of file {name} do not make that hash.")

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
        for attempt in (1, 2):
            try:
                with Intake(self.hub.tmp, self.hub.settings.file_max_bytes) as intake:
                    for block in self.generation.read(self._pieces(file.segments)):
                        intake.write(block)
                    staged = intake.finish()
                break
            except FileNotFoundError:
                # These bytes have just moved into a blob, or the sweep took the blob they were in.
                with self._lock:
                    self._met.clear()
                if attempt == 2:
                    raise self.generation.unknown(file.segments[0].xorb) from None
        expect(staged, digest=file.sha256, size=file.size)
        keep(self.hub, self.repo, staged)

    def _pieces(self, segments: tuple[Segment, ...]) -> Iterator[Piece]:
        """Where the file's bytes are, neighbours joined."""
        last: Piece | None = None
        for segment in segments:
            pieces = self._known(segment.xorb).locate(segment.start, segment.stop)
            if pieces is None:
                raise self.generation.unknown(segment.xorb)
            for piece in pieces:
                if last and (last.source, last.stop) == (piece.source, piece.start):
                    last = Piece(last.source, last.start, piece.stop)
                    continue
                if last:
                    yield last
                last = piece
        if last:
            yield last

    def _known(self, xorb: bytes) -> Known:
        with self._lock:
            if xorb in self._met:
                self._met.move_to_end(xorb)
            else:
                self._met[xorb] = self.generation.known(xorb)
                if len(self._met) > 64:
                    self._met.popitem(last=False)
            return self._met[xorb]


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
