"""Blobs in an object store (S3, Google, Azure), through obstore. Knows no records.

A key is aa/bb/<sha256> under the URL's prefix, as in a folder. An object appears whole or not at all: the stores
themselves promise that of a put and of a finished multipart upload.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater.core.errors import BadInput, Unavailable
from headwater.core.types import Digest

if TYPE_CHECKING:
    from obstore.store import ObjectStore

CHUNK = 1 << 20
WINDOW = 8 << 20
"""Bytes asked for at once. Not one request for the whole: obstore's clock (30 s) runs until its body is read, and
whoever downloads may be slow."""
PART = 16 << 20
"""Bytes of a part of a multipart upload. S3 takes 10,000 parts, so larger files are sent in larger parts."""
MOST_PARTS = 9_000
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_SCHEMES = ("s3://", "s3a://", "gs://", "az://", "memory://")


def open_objects(url: str, options: dict[str, Any]) -> ObjectBlobs:
    """options: as obstore names them (endpoint, region, access_key_id, ...); in them `client` holds those of the
    HTTP client (timeout, ...), and `retry` how often a failed request is tried again ({"max_retries": 10}).

    Raises BadInput for a URL or an option that obstore does not know.
    """
    from obstore.exceptions import BaseError
    from obstore.store import from_url

    if not url.startswith(_SCHEMES):
        raise BadInput("blobs_url is not the URL of an object store.", hint=f"It begins with {', '.join(_SCHEMES)}.")
    config = dict(options)
    client, retry = config.pop("client", None), config.pop("retry", None)
    if str(config.get("endpoint", "")).startswith("http://"):
        client = {"allow_http": True, **(client or {})}  # whoever writes http:// means it
    try:
        if url.startswith("memory://"):
            return ObjectBlobs(from_url(url))
        return ObjectBlobs(from_url(url, config=config or None, client_options=client,
                                    retry_config=retry))
    except BaseException as error:
        # obstore panics, with an exception of its own kind, at options it does not know (allow_http beside endpoint).
        if not isinstance(error, BaseError | TypeError | ValueError) and type(error).__name__ != "PanicException":
            raise
        raise BadInput(f"The object store cannot be opened: {_first_line(error)}.",
                       hint="See blobs_url and blobs_options.") from None


class ObjectBlobs:
    def __init__(self, store: ObjectStore):
        self._store = store

    def adopt(self, staged: Path, digest: Digest) -> None:
        """Raises Unavailable if the store does not take it; the staged file is then still there."""
        import obstore

        size = staged.stat().st_size
        with _told():
            if size <= PART:
                obstore.put(self._store, _key(digest), staged.read_bytes(), use_multipart=False)
            else:
                obstore.put(self._store, _key(digest), staged, use_multipart=True,
                            chunk_size=max(PART, -(-size // MOST_PARTS)), max_concurrency=4)
        staged.unlink()

    def read(self, digest: Digest, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Errors of the store on the way are Unavailable too."""
        first, size = self._window(digest, start, start + WINDOW if stop is None else min(stop, start + WINDOW))
        return self._rest(digest, first, start, size if stop is None else min(stop, size))

    def _rest(self, digest: Digest, window: bytes, start: int, stop: int) -> Iterator[bytes]:
        while window:
            yield from (window[i:i + CHUNK] for i in range(0, len(window), CHUNK))
            start += len(window)
            window = self._window(digest, start, min(stop, start + WINDOW))[0] if start < stop else b""

    def _window(self, digest: Digest, start: int, stop: int) -> tuple[bytes, int]:
        """(bytes [start, stop), size of the whole); no bytes where the range is empty or begins past the end."""
        import obstore

        try:
            if start < stop:
                with _told():
                    answer = obstore.get(self._store, _key(digest), options={"range": (start, stop)})
                    return bytes(answer.bytes()), answer.meta["size"]
        except Unavailable:
            size = self.size(digest)  # to the stores a range that begins past the end is an error
            if size is None or start < size:
                raise
            return b"", size
        size = self.size(digest)
        if size is None:
            raise FileNotFoundError(digest)
        return b"", size

    def size(self, digest: Digest) -> int | None:
        import obstore

        try:
            with _told():
                return obstore.head(self._store, _key(digest))["size"]
        except FileNotFoundError:
            return None

    def path(self, digest: Digest) -> Path | None:
        return None

    def delete(self, digest: Digest) -> None:
        import obstore

        try:
            with _told():
                obstore.delete(self._store, _key(digest))
        except FileNotFoundError:
            return  # some stores answer a delete of nothing with an error

    def digests(self) -> Iterator[Digest]:
        import obstore

        with _told():
            for page in obstore.list(self._store):
                names = (item["path"].rsplit("/", 1)[-1] for item in page)
                yield from (name for name in names if _DIGEST.match(name))


def _key(digest: Digest) -> str:
    if not _DIGEST.match(digest):
        raise ValueError(f"not a sha256: {digest[:80]!r}")
    return f"{digest[:2]}/{digest[2:4]}/{digest}"


@contextmanager
def _told() -> Iterator[None]:
    """The store's errors as Unavailable; FileNotFoundError passes."""
    from obstore.exceptions import BaseError

    try:
        yield
    except BaseError as error:
        raise Unavailable(f"The object store does not do its part: {_first_line(error)}.",
                          hint="See that it can be reached and that its keys are right, then try again.") from error


def _first_line(error: Exception) -> str:
    # obstore adds the whole Rust error below, which may show the request
    return str(error).split("\n", 1)[0][:300].rstrip(".")
