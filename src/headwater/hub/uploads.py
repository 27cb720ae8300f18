"""The LFS door: links for bytes, parts of large files, and the proof that they arrived. Knows no HTTP.

Parts of one file are written at their offsets into one file in tmp/, so that nothing is copied together at the
end; completing reads it once to hash it.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from headwater.core.errors import BadInput, Forbidden, RepoNotFound, TooLarge
from headwater.core.types import Access, Actor, Digest, Repo, Staged
from headwater.hub import Hub
from headwater.hub.access import access_to
from headwater.hub.intake import disk_error, expect, keep
from headwater.hub.signing import sign, unsign

_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
MAX_PARTS = 10_000
CHUNK = 1 << 20


@dataclass(frozen=True)
class Ticket:
    """What an upload link opens: one digest of one size, for one repo, by one account."""

    repo: Repo
    actor: Actor
    digest: Digest
    size: int
    part_bytes: int | None


def check_digest(digest: str) -> Digest:
    if not isinstance(digest, str) or not _SHA256.match(digest):
        raise BadInput(f"{str(digest)[:80]!r} is not a sha256 in hex.")
    return digest


def ticket(hub: Hub, actor: Actor, repo: Repo, digest: Digest, size: int, part_bytes: int | None = None) -> str:
    """The signed text of an upload link. Raises TooLarge for a file no repo may hold."""
    if size > hub.settings.file_max_bytes:
        raise TooLarge(f"{size:,} bytes; at most {hub.settings.file_max_bytes:,} are accepted for one file.")
    payload = {"repo": repo.id, "account": actor.account.id, "repos": actor.repos, "oid": digest, "size": size,
               "part": part_bytes}
    return sign(hub, "upload", payload, hub.settings.upload_seconds)


def open_ticket(hub: Hub, text: str) -> Ticket:
    """What the link opens, if its maker may still write to the repo. Raises Forbidden, RepoNotFound."""
    said = unsign(hub, "upload", text)
    repo, account = hub.repos.get(said["repo"]), hub.accounts.get(said["account"])
    if repo is None or account is None:
        raise RepoNotFound("The repo this upload was for is gone.")
    actor = Actor(account, Access.WRITE, repos=tuple(said["repos"]) if said["repos"] is not None else None)
    if not access_to(hub, actor, repo).covers(Access.WRITE):
        raise Forbidden(f"{account.name} may no longer write to {repo.full_name}.")
    return Ticket(repo, actor, said["oid"], said["size"], said["part"])


def missing(hub: Hub, repo: Repo, digests: Iterable[Digest]) -> set[Digest]:
    """Of these digests, those that must be uploaded. Bytes somebody else keeps are asked for again: that they
    exist is nobody's business."""
    digests = set(digests)
    return digests - hub.holdings.sizes(repo, digests).keys()


def part_count(ticket: Ticket) -> int:
    return -(-ticket.size // ticket.part_bytes) if ticket.part_bytes else 1


class PartIntake:
    """One part of a large file, written at its place. Raises BadInput if it is not as long as it must be."""

    def __init__(self, hub: Hub, ticket: Ticket, number: int):
        if not ticket.part_bytes or not 1 <= number <= part_count(ticket):
            raise BadInput(f"There is no part {number} of this upload.")
        self._start = (number - 1) * ticket.part_bytes
        self._want = min(ticket.part_bytes, ticket.size - self._start)
        self._at, self._hash = 0, hashlib.sha256()
        self._folder = _parts_folder(hub, ticket)
        self._mark = self._folder / str(number)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._mark.unlink(missing_ok=True)
            self._file = os.open(self._folder / "bytes", os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            raise disk_error(error) from error

    def write(self, chunk: bytes) -> None:
        if self._at + len(chunk) > self._want:
            raise TooLarge(f"The part is longer than its {self._want:,} bytes.")
        self._hash.update(chunk)
        view = memoryview(chunk)
        try:
            while view:
                done = os.pwrite(self._file, view, self._start + self._at)
                view, self._at = view[done:], self._at + done
        except OSError as error:
            raise disk_error(error) from error

    def finish(self) -> str:
        """The part's ETag: sha256 of its bytes."""
        if self._at != self._want:
            raise BadInput(f"{self._at:,} bytes came of a part of {self._want:,}.", hint="Send the part again.")
        etag = self._hash.hexdigest()
        self._mark.write_text(etag)
        return etag

    def close(self) -> None:
        os.close(self._file)


def complete(hub: Hub, ticket: Ticket, etags: dict[int, str]) -> None:
    """All parts are there: hash the whole and keep it. Raises BadInput naming a part that is missing or wrong.

    Completing what was completed is no error, so a client whose answer was lost may ask again.
    """
    if hub.holdings.sizes(ticket.repo, [ticket.digest]):
        return
    folder = _parts_folder(hub, ticket)
    for number in range(1, part_count(ticket) + 1):
        mark = folder / str(number)
        if not mark.is_file():
            raise BadInput(f"Part {number} of {part_count(ticket)} has not arrived.", hint="Send it, then complete.")
        if number not in etags or etags[number].strip('"') != mark.read_text():
            raise BadInput(f"Part {number} is not the one the client names.", hint="Send it again.")
    digest = hashlib.sha256()
    with (folder / "bytes").open("rb", buffering=0) as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    staged = Staged(str(folder / "bytes"), digest.hexdigest(), (folder / "bytes").stat().st_size)
    expect(staged, digest=ticket.digest, size=ticket.size)
    keep(hub, ticket.repo, staged)
    for mark in folder.glob("*"):
        mark.unlink(missing_ok=True)
    folder.rmdir()


def _parts_folder(hub: Hub, ticket: Ticket) -> Path:
    return hub.tmp / f"parts-{ticket.repo.id}-{ticket.digest}-{ticket.part_bytes}"
