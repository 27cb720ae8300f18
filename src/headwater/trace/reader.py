"""A model's files, opened: one list of tensors, the token strings, and numbers by row or by column.

Counts the bytes it asks for. Knows formats through `weights` and what a tensor does through `roles`; judges nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from types import TracebackType

import numpy as np

from headwater.core.errors import CorruptFile
from headwater.trace.roles import Matrix
from headwater.weights import gguf, shards, tokens, values
from headwater.weights.header import Header, Tensor
from headwater.weights.read import read_header
from headwater.weights.source import Source
from headwater.weights.tokens import Tokens

OpenFile = Callable[[str], Source]
MAX_CONFIG = 1 << 20
MAX_INDEX = 25_000_000


class Counted:
    """A source that adds up what is read from it."""

    def __init__(self, source: Source):
        self._source = source
        self.size = source.size
        self.taken = 0

    def read(self, start: int, stop: int) -> bytes:
        self.taken += stop - start
        return self._source.read(start, stop)


class Reader:
    """A context manager. header: all tensors. tokens: None where the files hold none. columns: names of tensors stored
    as (in, out). total: bytes of the model's files. config: config.json, or {}."""

    def __init__(self, open_file: OpenFile, files: Mapping[str, int]):
        self._stack, self._open_file = ExitStack(), open_file
        self._sources: dict[str, Counted] = {}
        self._files = files
        try:
            self.header = self._read_headers()
            self.config = self._read_config()
            self.tokens = self._read_tokens()
        except BaseException:
            self._stack.close()
            raise
        self.columns: frozenset[str] = frozenset()
        self.total = sum(self._source(path).size for path in self._paths)

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._stack.close()

    @property
    def bytes_read(self) -> int:
        return sum(source.taken for source in self._sources.values())

    def _source(self, path: str) -> Counted:
        if path not in self._sources:
            source = self._open_file(path)
            if hasattr(source, "__exit__"):
                source = self._stack.enter_context(source)
            self._sources[path] = Counted(source)
        return self._sources[path]

    def of(self, tensor: Tensor) -> Source:
        return self._source(tensor.file or self._paths[0])

    # --- opening

    def _read_headers(self) -> Header:
        paths, index_path = shards.model_files(self._files)
        index = None
        if index_path is not None:
            index = shards.parse_index(self._whole(index_path, MAX_INDEX))
            folder = index_path.rpartition("/")[0]
            paths = [f"{folder}/{file}" if folder else file for file in index.files]
        missing = [path for path in paths if path not in self._files]
        if missing:
            raise CorruptFile(f"the model's index names {missing[0]}, which is not there.",
                              hint=f"{len(missing)} of {len(paths)} files are missing.")
        if not paths:
            raise CorruptFile("no file of weights was found among these.", hint="safetensors and GGUF are read.")
        self._paths = paths
        return shards.merge({path: read_header(self._source(path), path) for path in paths}, index)

    def _whole(self, path: str, limit: int) -> bytes:
        source = self._source(path)
        if source.size > limit:
            raise CorruptFile(f"{path} is {source.size} bytes long; at most {limit} are read.")
        return source.read(0, source.size)

    def _read_config(self) -> dict[str, object]:
        if "config.json" not in self._files:
            return {}
        try:
            config = json.loads(self._whole("config.json", MAX_CONFIG))
        except (ValueError, RecursionError) as error:
            raise CorruptFile(f"config.json cannot be read: {error}.") from None
        return config if isinstance(config, dict) else {}

    def _read_tokens(self) -> Tokens | None:
        if self.header.format == "gguf":
            first = self._source(self._paths[0])
            start = self.header.data_start or gguf.read_header(first).data_start or 0
            found = tokens.from_gguf(first, start)
            if found is not None:
                return found
        for name in tokens.FILES:
            if name in self._files:
                return tokens.read_tokens(name, self._whole(name, tokens.MAX_BYTES))
        return None

    # --- numbers

    def rows(self, matrix: Matrix, numbers: np.ndarray) -> np.ndarray:
        """float32 (len(numbers), width): neurons by number."""
        numbers = numbers + (matrix.span[0] if matrix.span else 0)
        if not matrix.columns:
            return values.gather(self.of(matrix.tensor), matrix.tensor, numbers)
        found = np.empty((len(numbers), matrix.tensor.shape[0]), np.float32)
        for start, block in self._blocks(matrix.tensor):
            found[:, start:start + len(block)] = block[:, numbers].T
        return found

    def squares(self, matrix: Matrix, gain: np.ndarray | None) -> np.ndarray:
        """float64 (neurons,): squared norm of each neuron, the gain folded in."""
        weight = None if gain is None else (gain * gain).astype(np.float32)
        first, last = matrix.span or (0, matrix.shape[0])
        if matrix.columns:
            found = np.zeros(last - first, np.float64)
            for start, block in self._blocks(matrix.tensor):
                part = block[:, first:last]
                found += (part * part if weight is None else part * part * weight[start:start + len(part), None]).sum(0)
            return found
        pieces = []
        for _, block in self._blocks(matrix.tensor, first, last):
            np.multiply(block, block, out=block)
            pieces.append(block.sum(1) if weight is None else block @ weight)
        return np.concatenate(pieces) if pieces else np.zeros(0)

    def vector(self, tensor: Tensor) -> np.ndarray:
        return values.rows(self.of(tensor), tensor).reshape(-1)

    def _blocks(self, tensor: Tensor, first: int = 0, last: int | None = None) -> Iterator[tuple[int, np.ndarray]]:
        source, stop = self.of(tensor), tensor.shape[0] if last is None else last
        step = max(1, values.BLOCK_BYTES // 4 // max(values.row_width(tensor), 1))
        for start in range(first, stop, step):
            yield start, values.rows(source, tensor, start, min(start + step, stop))
