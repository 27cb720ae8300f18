"""What the rooms ask of the outside, as short lists of verbs. Stores, executors and engines implement them.

Every verb that writes takes `by`, the actor, and writes its audit row in the same transaction.
All verbs are synchronous and safe to call from many threads.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from headwater.core.descent import Behaviour, Dispute, Edge, Kept, Mixed, Place, Whole
from headwater.core.types import (
    Access,
    Account,
    Actor,
    AuditRow,
    Card,
    Commit,
    Conversation,
    Delta,
    Digest,
    FilmVote,
    Finding,
    FoundConversation,
    KeptFile,
    KeptFilm,
    KeptResponse,
    Kind,
    Membership,
    Message,
    Oid,
    Pair,
    Preset,
    Ref,
    Repo,
    RepoPage,
    Search,
    Stale,
    Token,
    Tree,
)


class Blobs(Protocol):
    """Bytes under their sha256. Bytes once kept never change."""

    def adopt(self, staged: Path, digest: Digest) -> None:
        """Keep the file `staged` under `digest`, durably, and consume it. Keeping what is kept is no error."""

    def read(self, digest: Digest, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """The bytes [start, stop) in chunks of about 1 MiB. Raises FileNotFoundError at once if not kept."""

    def size(self, digest: Digest) -> int | None:
        """Size in bytes; None if not kept."""

    def path(self, digest: Digest) -> Path | None:
        """A local file holding the bytes, for engines and sendfile; None if this store has no files."""

    def delete(self, digest: Digest) -> None:
        """Forget the bytes. Forgetting what is not there is no error."""

    def digests(self) -> Iterator[Digest]:
        """Every digest kept, in no order."""


class Repos(Protocol):
    """Names of repos, what is shown of them, who likes them."""

    def create(self, kind: Kind, owner: str, name: str, *, private: bool, first: Commit, by: Actor) -> Repo:
        """A repo whose main stands at `first`. Raises RepoExists (also for a name differing only in case)."""

    def find(self, kind: Kind, owner: str, name: str) -> Repo | None:
        """By name, whatever its case; follows the redirect a move left. The answer carries the true name."""

    def get(self, repo_id: int) -> Repo | None: ...

    def move(self, repo: Repo, owner: str, name: str, *, by: Actor) -> Repo:
        """Rename; the old name redirects until somebody creates a repo there. Raises RepoExists."""

    def set_private(self, repo: Repo, private: bool, *, by: Actor) -> Repo: ...

    def delete(self, repo: Repo, *, by: Actor) -> None:
        """Remove the repo with its history, refs, redirects, leases and likes. Bytes go with the next sweep."""

    def describe(self, repo: Repo, card: Card) -> None:
        """Put what the card at main says where search finds it."""

    def search(self, search: Search) -> RepoPage: ...

    def tags(self, kind: Kind, viewer: Actor, *, limit: int = 500) -> list[tuple[str, int]]:
        """The tags of the repos `viewer` sees and how many have each, most used first."""

    def like(self, repo: Repo, liked: bool, *, by: Actor) -> None: ...

    def likers(self, repo: Repo) -> list[str]: ...

    def liked_by(self, account: str) -> list[Repo]: ...

    def downloaded(self, repo: Repo) -> None:
        """Count one download."""


class History(Protocol):
    """Commits, trees and refs: git's object model in tables."""

    def trees(self, oids: Iterable[Oid]) -> dict[Oid, Tree]:
        """The trees of these oids, in one question; an oid not kept is left out."""

    def commit(self, repo: Repo, oid: Oid) -> Commit | None: ...

    def find_commits(self, repo: Repo, prefix: str) -> list[Oid]:
        """At most two commits whose oid starts so: a short revision is good when there is exactly one."""

    def log(self, repo: Repo, head: Oid, *, skip: int = 0, limit: int = 50) -> list[Commit]:
        """First-parent history from `head`, newest first."""

    def count(self, repo: Repo, head: Oid) -> int: ...

    def refs(self, repo: Repo) -> list[Ref]: ...

    def ref(self, repo: Repo, name: str) -> Ref | None: ...

    def advance(
        self, repo: Repo, ref: str, *, expect: Oid | None, commit: Commit, trees: Sequence[Tree],
        size_bytes: int, by: Actor, action: str = "commit", detail: dict[str, Any] | None = None,
    ) -> Stale | None:
        """One transaction: keep commit and trees, move `ref` from `expect` to the commit, note whose bytes the
        repo now names, write the audit row and the event revision.stored.

        expect None makes the ref. Returns Stale, and writes nothing, if the ref is elsewhere.
        Raises EntryNotFound if a digest the trees name is not kept (the sweep may have taken it).
        """

    def place(self, repo: Repo, ref: Ref, *, by: Actor) -> bool:
        """Make a branch or tag at a commit the repo has. False if the name is taken."""

    def remove(self, repo: Repo, ref: str, *, by: Actor) -> bool:
        """Remove a branch or tag, and forget which bytes only it named. False if there is none."""

    def digests(self, repo: Repo) -> dict[Digest, int]:
        """Every digest any commit of the repo names, with its size."""


class Holdings(Protocol):
    """Which bytes are kept, and who may name them in a commit. The sweep's ledger.

    A digest is named only after it was proved: uploaded to this repo lately (a lease) or already in its history.
    Order: grant → Blobs.adopt → kept. A lease is granted before the bytes are moved, so the sweep sees it.
    """

    def grant(self, repo: Repo, digest: Digest, size: int, *, seconds: float) -> None:
        """Lease a digest to a repo; extends a lease there is."""

    def grant_all(self, repo: Repo, sizes: Mapping[Digest, int], *, seconds: float) -> None:
        """grant() for many digests in one transaction."""

    def kept(self, digest: Digest) -> None:
        """The bytes are in the blob store now."""

    def kept_all(self, digests: Iterable[Digest]) -> None:
        """kept() for many digests in one transaction: all of them or none."""

    def sizes(self, repo: Repo, digests: Iterable[Digest]) -> dict[Digest, int]:
        """Of these digests, those the repo may name (kept, and leased to it or in its history), with sizes."""

    def damaged(self, digest: Digest) -> None:
        """The bytes turned out wrong or gone: not kept, so that they are asked for again, until they come."""

    def lost(self, digests: Iterable[Digest]) -> set[Digest]:
        """Of these digests, those whose bytes are not kept, whoever sent them. For the hub's own books: what it
        answers is nobody's business outside."""

    def sweep(self, *, grace_s: float, limit: int, delete: Callable[[Digest], None]) -> list[tuple[Digest, int]]:
        """Delete up to `limit` digests that no commit, file or difference names, no live lease holds and that are older
        than the grace. Each goes in a transaction of its own, `delete` called inside it. Returns (digest, bytes)."""

    def all(self) -> Iterator[tuple[Digest, int]]:
        """Every digest believed kept, with its size."""

    def holders(self, digests: Iterable[Digest], viewer: Actor) -> dict[Digest, Repo]:
        """Of these digests, those that stand in the history of a repo the viewer may read, with the oldest such."""

    def findings(self, digests: Iterable[Digest]) -> dict[Digest, Finding]:
        """Scan results by digest, of those scanned; a digest not yet scanned is left out."""

    def found(self, digest: Digest, finding: Finding) -> None: ...


class Deltas(Protocol):
    """Which bytes are kept as the difference to others. One deep: no base is itself kept so. These rows go with the
    bytes they are of; a base is not swept while one of them names it. How bytes are kept, not what: no audit rows."""

    def begin(self, digest: Digest, base: Digest, packed: Digest, size: int) -> bool:
        """The difference is about to be kept, in place of a row in state plain. False: either is not kept any more,
        the base is itself a difference, the digest is a base of others, or a row there is says something else."""

    def turn(self, digest: Digest, state: str) -> bool:
        """making → ready, or ready → leaving. False if the row is gone."""

    def forget(self, digest: Digest) -> None: ...

    def passed_over(self, digest: Digest) -> None:
        """It was tried and saved too little."""

    def get(self, digest: Digest) -> Delta | None: ...

    def of(self, digests: Iterable[Digest]) -> dict[Digest, Delta]:
        """Of these digests, those with a row."""

    def bases(self, digests: Iterable[Digest]) -> set[Digest]:
        """Of these digests, those that others are kept as the difference to."""

    def all(self) -> list[Delta]:
        """Every row but those in state plain."""

    def stranded(self) -> list[Delta]:
        """Those ready whose base nothing else holds, while they themselves are still wanted."""


class Differences(Protocol):
    """Blobs some of which are kept as the difference to others, so that nobody who reads them notices. One writer at
    a time: the caller sees to that."""

    def of(self, digests: Iterable[Digest]) -> dict[Digest, Delta]:
        """Of these digests, those with a row in Deltas."""

    def possible(self, digest: Digest, base: Digest) -> Digest | None:
        """What to take for a base: `base`, or the one it is itself kept as the difference to. None: the bytes of
        either are not there whole, or of `digest` others are kept as the difference."""

    def pack(self, digest: Digest, base: Digest, pairs: Sequence[Pair], target: Path, *, most: int,
             tell: Callable[[int], None]) -> bool:
        """Write the difference to the file `target`. False, and no file: it takes more than `most` bytes. tell: hears
        how many bytes of the whole are done, and may raise."""

    def swap(self, digest: Digest, base: Digest, packed: Path) -> bool:
        """Keep the file `packed`, which is consumed; read all of it back as a reader would, and only if that hashes to
        `digest` let the whole bytes go. False, and nothing changed: the records did not allow it (Deltas.begin)."""

    def make_whole(self, digest: Digest, staged: Path) -> None:
        """The way back: `staged` holds the bytes and is consumed; the difference goes."""

    def passed_over(self, digest: Digest) -> None:
        """It was tried and saved too little."""

    def stranded(self) -> list[Delta]:
        """Those whose base nothing else holds, while they themselves are still wanted."""

    def readable(self, digest: Digest) -> bool:
        """Whether the difference, read to its end, gives the bytes."""

    def tidy(self) -> list[Digest]:
        """Finish, or take back, what a process that died left half done. Those kept as a difference alone."""


class Conversations(Protocol):
    """What people and models said, and the ways to ask that people keep. Each belongs to one account: for another
    it is not there. What a person does to their own leaves no audit row, and no word of it; sharing does."""

    def create(self, conversation: Conversation, messages: Sequence[Message] = (), *, most: int) -> None:
        """With its messages, in the order they came. Raises TooLarge if the account has `most` already."""

    def get(self, account: Account, conversation_id: str) -> Conversation | None: ...

    def page(self, account: Account, *, words: Sequence[str] = (), folder: str | None = None,
             before: str | None = None, limit: int = 50) -> tuple[list[FoundConversation], str | None]:
        """Those whose title or messages hold every word, whatever its case, newest first, and the cursor of the next
        page (None: this is the last). Raises BadInput for a cursor that is none."""

    def folders(self, account: Account) -> list[tuple[str, int]]:
        """Names of folders in use and how many are in each, by name."""

    def update(self, account: Account, conversation_id: str, **fields: Any) -> Conversation | None:
        """Change title, folder, system, model, settings or leaf. Raises NotFound for a leaf that is not there."""

    def share(self, account: Account, conversation_id: str, key: str | None, *, by: Actor) -> Conversation | None:
        """Under this key unless it has one; None takes the key away."""

    def shared(self, key: str) -> tuple[Conversation, Account] | None:
        """The conversation of that key, and whose it is."""

    def delete(self, account: Account, conversation_id: str) -> bool: ...

    def messages(self, conversation: Conversation) -> list[Message]:
        """All of them, in the order they came."""

    def add(self, conversation: Conversation, message: Message, *, most: int) -> Message:
        """The message, now the leaf. Adding what is there already is no error and adds nothing.

        Raises Conflict if another has its id, NotFound if the conversation or the parent is gone, TooLarge if the
        conversation has `most` messages."""

    def prune(self, conversation: Conversation, message_id: str) -> bool:
        """Remove a message and all that answers it; a leaf among them moves to its parent. False if not there."""

    def presets(self, account: Account) -> list[Preset]:
        """By name."""

    def keep_preset(self, preset: Preset, *, most: int) -> None:
        """Make it or, if the account has this id, change it. Raises Conflict for a name in use, TooLarge."""

    def delete_preset(self, account: Account, preset_id: str) -> bool: ...


class Files(Protocol):
    """Files people hand to models. The bytes are in the blob store, and the sweep leaves alone what a file names.

    Order: claim → Blobs.adopt → arrived. A file claimed and never arrived is in no list, and goes within days.
    """

    def claim(self, file: KeptFile, *, most: int, most_bytes: int) -> None:
        """Hold its digest. Raises TooLarge if the account would have more than `most` files or `most_bytes`."""

    def arrived(self, file: KeptFile) -> None:
        """The bytes are in the blob store now. Raises NotFound if the claim was given up meanwhile."""

    def lend(self, file: KeptFile, to: KeptFile, *, most: int, most_bytes: int) -> bool:
        """A second file over the bytes of one that is there; False if they are gone. Raises TooLarge as claim()."""

    def get(self, account_id: int, file_id: str) -> KeptFile | None: ...

    def page(self, account: Account, *, purpose: str | None = None, after: str | None = None, limit: int = 100,
             newest_first: bool = True) -> tuple[list[KeptFile], bool]:
        """(files after the one with the id `after`, whether there are more)."""

    def delete(self, account: Account, file_id: str) -> bool:
        """The bytes go with a later sweep, unless something else names them."""


class Films(Protocol):
    """Films people asked for: what was asked, where it stands, which files came of it."""

    def add(self, film: KeptFilm) -> None: ...

    def get(self, film_id: str) -> KeptFilm | None:
        """Whoever's it is; the caller looks at account_id."""

    def named(self, account_id: int, external_id: str) -> KeptFilm | None:
        """The newest film the account calls so."""

    def page(self, account_id: int | None, *, state: str | None = None, after: str | None = None, limit: int = 20,
             newest_first: bool = True, words: Sequence[str] = (), model: str = "") -> tuple[list[KeptFilm], bool]:
        """(films after the one with the id `after`, whether there are more); account_id None: everybody's. words: all
        of them in the prompt, large or small. model: what made it, as models() names it."""

    def models(self, account_id: int) -> list[str]:
        """What the account's films are made by: owner/name, or headwater/<engine> where no model was needed."""

    def update(self, film_id: str, **fields: Any) -> KeptFilm | None:
        """None if it was deleted meanwhile."""

    def change(self, film_id: str, edition: int, **fields: Any) -> KeptFilm | None:
        """The same for an order that is queued and of this edition, which is counted up; None, and nothing written, for
        any other."""

    def delete(self, film: KeptFilm) -> None: ...

    def marks(self) -> Iterator[tuple[str, bytes]]:
        """(id, mark) of every film that is done."""

    def unfinished(self, account_id: int) -> int:
        """How many of the account's are queued or running."""


class FilmVotes(Protocol):
    """What people said of pairs of films they saw without names: one vote a person and pair."""

    def add(self, vote: FilmVote) -> None:
        """Raises Conflict if the person has voted on this pair."""

    def find(self, account_id: int, a: str, b: str) -> FilmVote | None: ...

    def all(self, account_id: int | None, *, limit: int) -> list[FilmVote]:
        """The newest first; account_id None: everybody's."""

    def pairs(self, account_id: int) -> set[tuple[str, str]]:
        """(a, b) of all the account has voted on."""


class Accounts(Protocol):
    """People, organisations, tokens, and the log of what they did."""

    def create(self, name: str, *, is_org: bool, fullname: str, email: str | None, is_admin: bool,
               password_hash: str | None, by: Actor) -> Account:
        """Raises Conflict if the name is taken, whatever its case."""

    def find(self, name: str) -> Account | None: ...

    def get(self, account_id: int) -> Account | None: ...

    def all(self) -> list[Account]: ...

    def count(self) -> int: ...

    def update(self, account: Account, *, by: Actor, **fields: Any) -> Account:
        """Change fullname, email, is_admin or password_hash."""

    def delete(self, account: Account, *, by: Actor) -> None:
        """Raises Conflict while the account still owns repos."""

    def password_hash(self, account: Account) -> str | None: ...

    def any_password(self) -> bool:
        """Whether any account can sign in with a password: then loopback is no longer open to everyone on it."""

    def set_role(self, org: Account, user: Account, role: Access, *, by: Actor) -> None:
        """NONE takes the membership away."""

    def members(self, org: Account) -> list[Membership]: ...

    def memberships(self, user: Account) -> list[Membership]: ...

    def issue(self, account: Account, name: str, secret_hash: str, *, scope: Access,
              repos: tuple[str, ...] | None, expires_at: float | None, by: Actor) -> Token:
        """Raises Conflict if the account has a token of that name."""

    def token(self, secret_hash: str) -> tuple[Token, Account] | None:
        """The token, if it is neither revoked nor expired; notes that it was used (at most once a minute)."""

    def tokens(self, account: Account) -> list[Token]: ...

    def revoke(self, account: Account, name: str, *, by: Actor) -> bool: ...

    def note(self, action: str, subject: str, *, by: Actor, detail: dict[str, Any] | None = None) -> None:
        """An audit row for a write that has no transaction of its own."""

    def audit(self, *, before: int | None = None, subject: str | None = None, limit: int = 100) -> list[AuditRow]:
        """Newest first; before is the id of the last row of the page before."""

    def secret(self, name: str) -> bytes:
        """32 random bytes kept under this name, made the first time they are asked for."""


class Spending(Protocol):
    """What accounts and tokens used of models, by day. Several gateways add to one sum."""

    def spend(self, day: int, amounts: Mapping[str, tuple[int, int]]) -> dict[str, tuple[int, int]]:
        """Add (requests, tokens) of a day since 1970 to each of these; their sums now. (0, 0) only asks."""

    def forget(self, before: int) -> None:
        """Drop the days before this one."""


class Responses(Protocol):
    """Responses kept for those who asked. Each belongs to an account; to all others it is not there.

    One in the background is under way as long as some gateway says so (beat) often enough.
    """

    def add(self, account_id: int, response: KeptResponse, *, user_bytes: int, seconds: float) -> bool:
        """Keep it, and forget what is older than `seconds`, then the account's oldest beyond `user_bytes` and 1,000.
        False, and it is not kept, if it alone is larger than that."""

    def replace(self, response: KeptResponse) -> bool:
        """What it has come to. False if it was deleted meanwhile: then it stays deleted."""

    def get(self, account_id: int, response_id: str) -> KeptResponse | None: ...

    def delete(self, account_id: int, response_id: str) -> bool: ...

    def ask_cancel(self, account_id: int, response_id: str) -> None:
        """Whoever makes it hears so at the next beat."""

    def beat(self, response_ids: Collection[str]) -> set[str]:
        """These are under way. Which of them are to stop: to be cancelled, or deleted."""


class Archive(Protocol):
    """All records as lines of text, for a backup; the lines of one store can be loaded into another."""

    def dump(self) -> Iterator[bytes]:
        """The records of one moment, a line each, while others read and write."""

    def blobs(self, lines: Iterable[bytes]) -> Iterator[tuple[Digest, int]]:
        """Every digest a dump counts as kept, with its size."""

    def is_empty(self) -> bool:
        """Whether this store has never held records."""

    def about(self) -> str:
        """One line for people: which database, its size, the state of its schema."""

    def load(self, lines: Iterable[bytes], *, lost: Collection[Digest] = ()) -> None:
        """Put a dump into an empty store, all or nothing, and bring it up to date. `lost`: digests whose bytes
        are gone, to be counted as not kept. Raises CorruptFile, or Unavailable for a dump of a newer Headwater."""


class Lineage(Protocol):
    """Fingerprints beside the revisions they are of, what was judged of pairs, and what owners answer.

    Whoever has no repo in common with a viewer is told nothing: `places` is where that is decided.
    """

    def keep(self, repo: Repo, revision: Oid, files: Digest, *, version: int, body: bytes | None,
             problem: str | None, about: dict[str, Any]) -> Kept | None:
        """The fingerprint of the files at a revision, in place of an older one of the same files. None if the repo
        is gone."""

    def place(self, repo: Repo, revision: Oid, kept: Kept) -> bool:
        """A revision has files that are known. False if the repo or the fingerprint is gone. Forgets revisions of
        the repo that its history no longer has."""

    def find(self, files: Digest) -> Kept | None: ...

    def at(self, repo: Repo, revision: Oid) -> Kept | None:
        """The fingerprint of a revision; None while it is not yet read."""

    def get(self, ids: Collection[int]) -> dict[int, Kept]: ...

    def bodies(self, ids: Collection[int]) -> dict[int, bytes]:
        """The fingerprints themselves, of those that have one."""

    def stamps(self) -> dict[int, float]:
        """Every fingerprint that has a body, and when it was made."""

    def places(self, ids: Collection[int], viewer: Actor | None) -> list[Place]:
        """Where these stand, in repos the viewer may read (None: in all); of each repo the newest revision, main's
        if it is among them. In order of when they were placed."""

    def heads(self, viewer: Actor | None, *, limit: int) -> list[Place]:
        """What stands at main of the repos the viewer may read, newest first."""

    def judged(self, edges: Sequence[Edge], *, of: int, version: int) -> None:
        """Keep these, in place of older ones of the same pairs; forget what else an older `version` said of `of`, and
        what was judged of `of` and is no kin."""

    def edges(self, ids: Collection[int], *, kin: bool | None = True, within: bool = False,
              brief: bool = False) -> list[Edge]:
        """Those with an end among `ids`; kin None: also those that are no kin. within: with both ends there. brief: of
        the judgement only `null` and `operation`, for trees of thousands."""

    def edge(self, one: int, other: int) -> Edge | None: ...

    def mark(self) -> tuple[Any, ...]:
        """Another one whenever models were read, placed, judged anew or proved merges, or anything was written that
        the audit tells of: repos, cards, who may read what."""

    def compared(self, whole: Whole) -> bool:
        """Keep what two whole models show, in place of what is kept. False if one of them is gone."""

    def whole(self, one: int, other: int) -> Whole | None: ...

    def compared_with(self, one: int, *, version: int) -> set[int]:
        """Those that a comparison of whole files with this one, of this version, is kept of."""

    def shaped(self, form: str, width: int, *, limit: int) -> list[Kept]:
        """Those read of models of this form and width (of `about`), oldest first."""

    def mixed(self, mixed: Mixed) -> bool:
        """Keep of what a model was tried to be a sum, in place of what is kept. False if it is gone."""

    def mixtures(self, ids: Collection[int]) -> dict[int, Mixed]:
        """What is kept of those of these models that were tried."""

    def dispute(self, repo: Repo, other: Repo, text: str, *, by: Actor) -> Dispute: ...

    def disputes(self, repo_id: int) -> list[Dispute]:
        """Those with this repo on either side, oldest first."""

    def unread(self, version: int, *, after: int = 0, limit: int = 500) -> list[Repo]:
        """Model repos whose main has no fingerprint of this version, by id, from the one behind `after` on."""

    def prune(self) -> list[int]:
        """Forget the fingerprints that stand nowhere any more; their ids."""


class Behaviours(Protocol):
    """How closed models answer beside models of this hub, and the answers themselves while they are gathered."""

    def order(self, behaviour: Behaviour) -> bool:
        """Keep what is to be asked, in place of what has its id; what was found then is forgotten. False if the repo
        is gone."""

    def get(self, behaviour_id: str) -> Behaviour | None: ...

    def of(self, repo_id: int) -> list[Behaviour]:
        """All of a repo, newest first."""

    def beside(self, url: str, model: str) -> list[Behaviour]:
        """All of one closed model, oldest first."""

    def found(self, behaviour: Behaviour, found: dict[str, Any]) -> bool:
        """False if it was ordered anew meanwhile, or is gone."""

    def answers(self, asked: str) -> list[str]: ...

    def answer(self, asked: str, first: int, answers: Sequence[str]) -> int:
        """Put answers behind the `first` ones that are kept, 0 beginning anew. How many are kept after; as many as
        before if there were not `first`."""

    def forget(self, before: float) -> None:
        """Drop answers that came in before that."""
