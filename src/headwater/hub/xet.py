"""The Xet door: tickets, xorbs and shards coming in. Knows no HTTP.

A xorb is unpacked once, as it arrives; a shard then names the files, and each is written as one plain blob and
leased to the repo (xet_build), exactly as an LFS upload would leave it. What clients may refer to later is kept
by xet_store; docs/design/002-xet.md says how and for how long.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from types import TracebackType

import numpy as np

from headwater.core.errors import CorruptFile, Forbidden, NotSignedIn, RepoNotFound, TooLarge
from headwater.core.types import Access, Account, Actor, Repo
from headwater.hub import Hub
from headwater.hub.access import access_to
from headwater.hub.intake import disk_error
from headwater.hub.signing import sign, unsign
from headwater.hub.xet_build import Builder
from headwater.hub.xet_format import SHARD_MAX, Shard, XorbDecoder
from headwater.hub.xet_store import Generation, current, find

TOKEN_S = 3600


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
        return Builder(self._hub, self._grant.repo, self._grant.generation).build(Shard(data.data))
