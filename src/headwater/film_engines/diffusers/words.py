"""What a text encoder made of words, kept: the same words are not encoded twice, and the encoder need not be loaded.

Kept by the text and the digests of the encoder's and tokenizer's files, so another encoder's are never taken. In
memory and in a folder, both bounded; a file that does not hold together counts as not there.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

KEPT, KEPT_BYTES = 64, 512 << 20

Words = dict[str, Any]
"""Tensors by the names a pipeline is called with."""


class WordCache:
    """folder: None keeps in memory alone."""

    def __init__(self, folder: Path | None):
        self.folder = folder
        self._memory: OrderedDict[str, Words] = OrderedDict()

    def get(self, key: str) -> Words | None:
        if key not in self._memory and (found := self._read(key)) is not None:
            self._memory[key] = found
        if key not in self._memory:
            return None
        self._memory.move_to_end(key)
        return self._memory[key]

    def put(self, key: str, words: Words) -> None:
        self._memory[key] = words
        while len(self._memory) > KEPT:
            self._memory.popitem(last=False)
        if self.folder is not None:
            with contextlib.suppress(OSError):  # a full disk takes nothing away but the time to encode again
                self._write(key, words)

    def _path(self, key: str) -> Path:
        assert self.folder is not None
        return self.folder / f"{key}.safetensors"

    def _read(self, key: str) -> Words | None:
        if self.folder is None or not self._path(key).is_file():
            return None
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        try:
            found = load_file(self._path(key))
            os.utime(self._path(key))
            return found
        except (OSError, SafetensorError):
            return None

    def _write(self, key: str, words: Words) -> None:
        from safetensors.torch import save

        assert self.folder is not None
        self.folder.mkdir(parents=True, exist_ok=True)
        made = save({name: tensor.contiguous() for name, tensor in words.items()})
        with tempfile.NamedTemporaryFile(dir=self.folder, delete=False) as part:
            try:
                part.write(made)
                part.flush()
                os.replace(part.name, self._path(key))
            except OSError:
                os.unlink(part.name)
                raise
        self._tidy()

    def _tidy(self) -> None:
        assert self.folder is not None
        newest = sorted(self.folder.glob("*.safetensors"), key=lambda path: -path.stat().st_mtime)
        room = KEPT_BYTES
        for number, path in enumerate(newest):
            room -= path.stat().st_size
            if room < 0 or number >= 4 * KEPT:
                path.unlink(missing_ok=True)


def words_key(text: str, digests: dict[str, str], *said: Any) -> str:
    """digests: of the files of encoders and tokenizers, by path."""
    return hashlib.sha256(json.dumps([text, sorted(digests.items()), said], default=str).encode()).hexdigest()
