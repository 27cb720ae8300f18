"""Blobs: bytes under their sha256, in a folder or an object store. open_blobs is the door."""

from __future__ import annotations

import json
from pathlib import Path

from headwater.core.errors import BadInput
from headwater.core.ports import Blobs


def open_blobs(url: str, options_json: str, data: Path) -> Blobs:
    """The store at `url` (s3://, gs://, az://, memory://), or the folder data/blobs when url is empty.

    options_json: a JSON object of the store's options (endpoint, region, keys), or empty. Raises BadInput.
    """
    if not url:
        from headwater.storage.blobs.folder import FolderBlobs

        return FolderBlobs(data / "blobs")
    from headwater.storage.blobs.objects import open_objects

    try:
        options = json.loads(options_json or "{}")
    except json.JSONDecodeError as error:
        # The text may hold keys: it is not shown.
        raise BadInput(f"blobs_options is not JSON (character {error.pos}).",
                       hint='Write an object, such as {"region": "eu-west-1"}.') from None
    if not isinstance(options, dict):
        raise BadInput("blobs_options must be a JSON object.", hint='Such as {"region": "eu-west-1"}.')
    return open_objects(url, options)
