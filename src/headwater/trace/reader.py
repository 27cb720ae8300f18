"""A model's files, opened: one list of tensors, the token strings, and numbers by row or by column.

Counts the bytes it asks for. Knows formats through `weights` and what a tensor does through `roles`; judges nothing.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from types import TracebackType

import numpy as np

from headwater.core.errors import CorruptFile
from headwater.trace.roles import Matrix
from headwater.weights import gguf, onnx, scaled, shards, sniff, tokens, torch_zip, values
from headwater.weights.header import Header, Tensor
from headwater.weights.packed.find import find_packed
from headwater.weights.packed.numbers import Numbers
from headwater.weights.read import read_header
from headwater.weights.source import Source
from headwater.weights.tokens import Tokens

OpenFile = Callable[[str], Source]
MAX_CONFIG = 1 << 20
CONFIGS = ("config.json", "adapter_config.json")
MAX_INDEX = 25_000_000
BLOCK_NUMBERS = 1 << 17
"""Of a block that is only summed up: half a megabyte of float32 stays in a core's cache."""


class Counted:
    """A source that adds up what is read from it."""

    def __init__(self, source: Source):
        self._source = source
        self.size = source.size
        self.gap_bytes = getattr(source, "gap_bytes", values.GAP_BYTES)
        self.taken, self._lock = 0, threading.Lock()
        if hasattr(source, "view"):
            self.view = self._viewed

    def _take(self, count: int) -> None:
        with self._lock:
            self.taken += count

    def read(self, start: int, stop: int) -> bytes:
        self._take(stop - start)
        return self._source.read(start, stop)

    def _viewed(self, start: int, stop: int, wanted: int) -> memoryview | bytes:
        self._take(wanted)
        return self._source.view(start, stop, wanted)  # type: ignore[attr-defined]


def _no_model(files: Mapping[str, int]) -> str:
    """Why nothing among these is taken for a language model."""
    parts = sorted({path.partition("/")[0] for path in files if "/" in path})
    if not parts:
        return "no file of weights was found among these."
    shown = ", ".join(parts[:6]) + (", …" if len(parts) > 6 else "")
    return f"it is no language model: its weights lie in parts ({shown}), as those of pipelines for pictures and " \
           "films do. Such are not traced yet."


def other_models(files: Mapping[str, int]) -> list[str]:
    """The ONNX file, or else the PyTorch files, that are the model: nearest to the root, the largest."""
    graphs = [path for path in files if path.lower().endswith(".onnx")]
    if graphs:
        return [min(graphs, key=lambda path: (path.count("/"), -files[path], path))]
    zipped = [path for path in files if path.lower().endswith((".bin", ".pt", ".pth", ".ckpt")) and "/" not in path
              and not path.startswith(("training_args", "optimizer", "scheduler", "rng_state"))]
    parts = sorted(path for path in zipped if "-of-" in path)
    return parts or ([max(zipped, key=lambda path: (files[path], path))] if zipped else [])


class Reader:
    """A context manager. header: all tensors. tokens: None where the files hold none. columns: names of tensors stored
    as (in, out). total: bytes of the model's files. config: config.json, or else adapter_config.json, or {}."""

    def __init__(self, open_file: OpenFile, files: Mapping[str, int]):
        self._stack, self._open_file = ExitStack(), open_file
        self._sources: dict[str, Counted] = {}
        self._files = files
        self.columns: frozenset[str] = frozenset()
        self._scaled: dict[str, onnx.Scaled | scaled.Blocks] = {}
        self._numbers = Numbers(self.of)
        self.notes: list[str] = []
        try:
            self.config = self._read_config()
            self.header = self._read_headers()
            self.tokens = self._read_tokens()
        except BaseException:
            self._stack.close()
            raise
        self.total = sum(self._source(path).size for path in self._paths)

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        self._stack.close()

    @property
    def bytes_read(self) -> int:
        return sum(source.taken for source in self._sources.values())

    @property
    def in_place(self) -> bool:
        """Whether the weights are looked at where they lie, which several threads may do."""
        return all(hasattr(self._source(path), "view") for path in self._paths)

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
        paths = paths or other_models(self._files)
        missing = [path for path in paths if path not in self._files]
        if missing:
            raise CorruptFile(f"the model's index names {missing[0]}, which is not there.",
                              hint=f"{len(missing)} of {len(paths)} files are missing.")
        if not paths:
            raise CorruptFile(_no_model(self._files), hint="safetensors, GGUF, ONNX and PyTorch zip files are read.")
        self._paths = paths
        headers = {path: self._header(path) for path in paths}
        # An ONNX tensor may lie in a file beside its graph, which merge would not know.
        if paths[0].lower().endswith(".onnx"):
            return headers[paths[0]]
        header, blocks = scaled.find_scaled(shards.merge(headers, index))
        self._scaled.update(blocks)
        header, packed = find_packed(header, self.of, self.config)
        self._numbers.know(packed)
        return header

    def _header(self, path: str) -> Header:
        source = self._source(path)
        if path.lower().endswith(".onnx"):
            return self._onnx(path)
        if sniff.kind_of(source.read(0, min(source.size, sniff.HEAD_BYTES))) == "a zip archive":
            header = torch_zip.read_header(source)
            if header.metadata:
                self.notes.append(f"{len(header.metadata['skipped'])} tensors are views across a storage: not read.")
            return header
        return read_header(source, path)

    def _onnx(self, path: str) -> Header:
        graph = onnx.read_graph(self._source(path), path.rpartition("/")[0])
        self.columns = graph.columns
        self._scaled.update(graph.scaled)
        if graph.skipped:
            self.notes.append(f"{len(graph.skipped)} ONNX tensors are stored in a form that is not read.")
        beside = {tensor.file for tensor in graph.header.tensors if tensor.file}
        for file in sorted(beside):
            if file not in self._files:
                raise CorruptFile(f"the ONNX file keeps numbers in {file}, which is not there.")
        self._paths = [path, *sorted(beside)]
        for tensor in graph.header.tensors:
            size = self._source(tensor.file or path).size
            if tensor.stop > size:
                raise CorruptFile(f"tensor {tensor.name[:80]!r} ends at byte {tensor.stop} of a file of {size}.")
        return graph.header

    def _whole(self, path: str, limit: int) -> bytes:
        source = self._source(path)
        if source.size > limit:
            raise CorruptFile(f"{path} is {source.size} bytes long; at most {limit} are read.")
        return source.read(0, source.size)

    def _read_config(self) -> dict[str, object]:
        path = next((path for path in CONFIGS if path in self._files), None)
        if path is None:
            return {}
        try:
            config = json.loads(self._whole(path, MAX_CONFIG))
        except (ValueError, RecursionError) as error:
            raise CorruptFile(f"{path} cannot be read: {error}.") from None
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
        numbers = matrix.stored(numbers)
        if not matrix.columns:
            found = self._numbers.gather(matrix.tensor, numbers)
            return self._unscaled(matrix.tensor, found, numbers)
        found = np.empty((len(numbers), matrix.tensor.shape[0]), np.float32)
        for start, block in self._blocks(matrix.tensor):
            found[:, start:start + len(block)] = block[:, numbers].T
        return found

    def squares(self, matrix: Matrix, gain: np.ndarray | None, silent: np.ndarray | None = None,
                width: int | None = None) -> np.ndarray:
        """float64 (neurons,): squared norm of each neuron, the gain folded in and what lies along `silent` left out;
        of its first `width` numbers alone, if told."""
        width = min(matrix.shape[1], width or matrix.shape[1])
        weight = None if gain is None else (gain[:width] * gain[:width]).astype(np.float32)
        along = None if silent is None else silent[:width] / max(float(np.linalg.norm(silent[:width])), 1e-30)
        if along is not None and gain is not None:
            along = along * gain[:width]
        if matrix.columns:
            return self._squares_of_columns(matrix, weight, along, width)
        pieces = []
        for block in self._leading(matrix, width):
            heard = None if along is None else block @ along
            np.multiply(block, block, out=block)
            found = block.sum(1) if weight is None else block @ weight
            pieces.append(found if heard is None else np.maximum(found - heard * heard, 0))
        return np.concatenate(pieces) if pieces else np.zeros(0)

    def _squares_of_columns(self, matrix: Matrix, weight: np.ndarray | None, along: np.ndarray | None,
                            width: int) -> np.ndarray:
        found, heard = np.zeros(matrix.shape[0], np.float64), np.zeros(matrix.shape[0], np.float64)
        for start, block in self._blocks(matrix.tensor, 0, width):
            part = block[:, matrix.part]
            here = slice(start, start + len(part))
            found += (part * part if weight is None else part * part * weight[here, None]).sum(0)
            if along is not None:
                heard += along[here] @ part
        return np.maximum(found - heard * heard, 0)

    def _leading(self, matrix: Matrix, width: int) -> Iterator[np.ndarray]:
        """float32 (n, width), block after block: the first numbers of every neuron. May be overwritten."""
        tensor, (first, last, apart) = matrix.tensor, matrix.bounds
        step = max(1, BLOCK_NUMBERS // max(width * apart, 1)) * apart
        for start in range(first, last, step):
            stop = min(start + step, last)
            block = self._numbers.leading(tensor, start, stop, width)
            yield self._unscaled(tensor, block, np.arange(start, stop))[::apart]

    def corner(self, matrix: Matrix, numbers: np.ndarray, width: int) -> np.ndarray:
        """float32 (len(numbers), at most width): the first numbers of neurons that stand one after another."""
        first, last = (int(n) for n in matrix.stored(numbers[[0, -1]]))
        tensor, apart = matrix.tensor, matrix.bounds[2]
        plain = self._scale_of(tensor) is None
        if not matrix.columns:
            if plain:
                return self._numbers.part(tensor, first, last + 1, 0, width)[::apart]
            block = self._numbers.rows(tensor, first, last + 1)
            return self._unscaled(tensor, block, np.arange(first, last + 1))[::apart, :width]
        if plain:
            return self._numbers.part(tensor, 0, width, first, last + 1).T[::apart]
        block = self._numbers.rows(tensor, 0, min(width, tensor.shape[0]))
        return self._unscaled(tensor, block, np.arange(len(block)))[:, first:last + 1:apart].T

    def apart(self, matrix: Matrix, numbers: np.ndarray, plain: np.ndarray) -> np.ndarray | None:
        """How far rows of another model lie from these, in halves of a step; None where they are not packed."""
        return None if matrix.columns else self._numbers.apart(matrix.tensor, matrix.stored(numbers), plain)

    def vector(self, tensor: Tensor) -> np.ndarray:
        return values.rows(self.of(tensor), tensor).reshape(-1)

    def _blocks(self, tensor: Tensor, first: int = 0, last: int | None = None) -> Iterator[tuple[int, np.ndarray]]:
        stop = tensor.shape[0] if last is None else last
        step = max(1, BLOCK_NUMBERS // max(values.row_width(tensor), 1))
        for start in range(first, stop, step):
            block = self._numbers.rows(tensor, start, min(start + step, stop))
            yield start, self._unscaled(tensor, block, np.arange(start, start + len(block)))

    def _scale_of(self, tensor: Tensor) -> tuple[onnx.Scaled | scaled.Blocks, int] | None:
        """What scales the tensor's stored numbers, and before which of its rows the tensor begins: an expert is cut
        from a stack."""
        name, _, expert = tensor.name.removesuffix("]").rpartition("[")
        if tensor.name in self._scaled:
            return self._scaled[tensor.name], 0
        if expert.isdigit() and name in self._scaled:
            return self._scaled[name], int(expert) * tensor.shape[0]
        return None

    def _unscaled(self, tensor: Tensor, rows: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Weights from what is stored in `rows` (their first numbers, if not all); `rows` themselves where there is
        no scale."""
        if not self._scaled or (known := self._scale_of(tensor)) is None:
            return rows
        scale, before = known
        if isinstance(scale, scaled.Blocks):
            return rows * self._of_blocks(scale, numbers + before, rows.shape[1])
        for part, apply in ((scale.zero, np.subtract), (scale.scale, np.multiply)):
            if part is not None:
                rows = apply(rows, self._spread(part, tensor, scale.axis, numbers, rows.shape[1]))
        return rows

    def _of_blocks(self, blocks: scaled.Blocks, numbers: np.ndarray, width: int) -> np.ndarray:
        """float32 (len(numbers), width): the scale of each number."""
        across = blocks.scale.shape[-1]
        flat = blocks.scale._replace(shape=(blocks.scale.elements // across, across))
        wanted, back = np.unique(numbers // blocks.of * blocks.each + numbers % blocks.of // blocks.rows,
                                 return_inverse=True)
        found = values.gather(self.of(blocks.scale), flat, wanted)[back]
        return np.repeat(found, blocks.columns, axis=1)[:, :width] if blocks.columns < width else found[:, :1]

    def _spread(self, part: Tensor, tensor: Tensor, axis: int, numbers: np.ndarray, width: int) -> np.ndarray:
        """Scales or zero points in a shape that fits the first `width` numbers of the rows `numbers` of the tensor."""
        count = part.elements
        if count == tensor.shape[0] and (axis == 0 or part.shape[-1:] == (1,)):
            return self.vector(part)[numbers][:, None]
        if count in (1, values.row_width(tensor)):
            return self.vector(part)[:width]
        raise CorruptFile(f"tensor {tensor.name[:80]!r} of shape {tensor.shape} has {count} scales.")
