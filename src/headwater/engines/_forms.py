"""The same weights stored another way: a GGUF written anew with other tensor types. Runs as a program of its own.

`python -m headwater.engines._forms SOURCE TARGET FORM`; what it says on standard output is its progress, in bytes.
Metadata and order of tensors stay. A tensor is widened or left alone: it never gets fewer bits than it has, unless the
form says so by its name in SMALLER. Reads with our bounded reader, block by block: memory does not grow with the file.
"""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from headwater.core.errors import CorruptFile
from headwater.weights.ggml_types import TENSOR_TYPES
from headwater.weights.gguf import read_header
from headwater.weights.header import Header, Tensor
from headwater.weights.source import FileSource, Source

FORMS = ("Q8_0", "BF16")
SMALLER = ("Q4_0",)
"""Forms with fewer bits than many files have: made only when asked for."""
BLOCK = 1 << 22
"""Elements converted at a time."""
ALIGNMENT = 32
_NUMBERS = {name: (number, block, size) for number, (name, block, size) in TENSOR_TYPES.items()}


def bits(dtype: str) -> float:
    """Of one number, scales included."""
    _, block, size = _NUMBERS[dtype]
    return size * 8 / block


def forms_of(header: Header, smaller: bool = False) -> tuple[str, ...]:
    """Forms worth a try: those that change something. Nothing for a file whose layers are wide already."""
    wanted = FORMS + (SMALLER if smaller else ())
    return tuple(form for form in wanted if any(target(tensor, form) != tensor.dtype for tensor in header.tensors))


def target(tensor: Tensor, form: str) -> str:
    """The type a tensor gets. Vectors (norms, biases) and what is no matrix of rows stay."""
    _, block, _ = _NUMBERS[form]
    if len(tensor.shape) < 2 or tensor.shape[-1] % block or tensor.dtype not in _READABLE:
        return tensor.dtype
    if form in SMALLER:
        return form if bits(tensor.dtype) > bits(form) and not _is_outside(tensor) else tensor.dtype
    return form if bits(tensor.dtype) < bits(form) else tensor.dtype


_READABLE = frozenset({"F32", "F16", "BF16", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K",
                       "Q6_K", "IQ4_NL", "IQ4_XS"})


def _is_outside(tensor: Tensor) -> bool:
    """Embedding and output: the tensors that suffer most from few bits."""
    return tensor.name in ("token_embd.weight", "output.weight")


def size_of(header: Header, form: str) -> int:
    """Bytes the file would have, to within its alignment."""
    total = header.data_start or 0
    for tensor in header.tensors:
        _, block, size = _NUMBERS[target(tensor, form)]
        total += tensor.elements // block * size
    return total


def command(source: Path, place: Path, form: str) -> list[str]:
    return [sys.executable, "-m", __name__, str(source), str(place), form]


def write(source: Path, place: Path, form: str, told: BinaryIO) -> None:
    """The form at `place`, which appears whole. Raises CorruptFile, OSError."""
    part = place.with_name(f"{place.name}.{os.getpid()}.part")
    try:
        with FileSource(source) as file, part.open("wb") as out:
            header = read_header(file)
            start, step = _copy_head(file, header, form, out), _alignment(header)
            for tensor in header.tensors:
                out.write(bytes(-(out.tell() - start) % step))
                for block in _blocks(file, tensor, target(tensor, form)):
                    out.write(block)
                told.write(b"%d\n" % out.tell())
                told.flush()
            out.flush()
            os.fsync(out.fileno())
        part.rename(place)
    finally:
        part.unlink(missing_ok=True)


def _copy_head(file: Source, header: Header, form: str, out: BinaryIO) -> int:
    """Everything before the data: the metadata byte by byte, the list of tensors anew. Answers where data begin."""
    entries = b"".join(_entries(header, form))
    listed = sum(len(_entry(tensor, tensor.dtype, 0)) for tensor in header.tensors)
    metadata = file.read(0, _list_start(file, header, listed))
    out.write(metadata + entries)
    out.write(bytes(-out.tell() % _alignment(header)))
    return out.tell()


def _list_start(file: Source, header: Header, listed: int) -> int:
    """The byte where the list of tensors begins: so many before the data, less the padding there is."""
    first = _entry(header.tensors[0], header.tensors[0].dtype, 0)[:-8]
    until = header.data_start or 0
    window = file.read(max(0, until - listed - _alignment(header)), until - listed + len(first))
    at = window.rfind(first)
    if at < 0:
        raise CorruptFile("the list of tensors is not where its length says.")
    return max(0, until - listed - _alignment(header)) + at


def _alignment(header: Header) -> int:
    value = header.metadata.get("general.alignment", ALIGNMENT)
    return value if isinstance(value, int) else ALIGNMENT


def _entries(header: Header, form: str) -> Iterator[bytes]:
    at, step = 0, _alignment(header)
    for tensor in header.tensors:
        at += -at % step
        dtype = target(tensor, form)
        yield _entry(tensor, dtype, at)
        _, block, size = _NUMBERS[dtype]
        at += tensor.elements // block * size


def _entry(tensor: Tensor, dtype: str, offset: int) -> bytes:
    name = tensor.name.encode()
    return (struct.pack("<Q", len(name)) + name + struct.pack("<I", len(tensor.shape))
            + b"".join(struct.pack("<Q", size) for size in reversed(tensor.shape))
            + struct.pack("<IQ", _NUMBERS[dtype][0], offset))


def _blocks(file: Source, tensor: Tensor, dtype: str) -> Iterator[bytes]:
    import numpy as np
    from gguf import GGMLQuantizationType
    from gguf.quants import dequantize, quantize

    if dtype == tensor.dtype:
        for at in range(tensor.start, tensor.stop, BLOCK):
            yield file.read(at, min(at + BLOCK, tensor.stop))
        return
    width = tensor.shape[-1]
    _, block, size = _NUMBERS[tensor.dtype]
    row, count = width // block * size, tensor.elements // width
    take = max(1, BLOCK // width)
    for at in range(0, count, take):
        rows = min(take, count - at)
        data = np.frombuffer(file.read(tensor.start + at * row, tensor.start + (at + rows) * row), np.uint8)
        kind = GGMLQuantizationType[tensor.dtype]
        plain = {"F32": np.float32, "F16": np.float16}.get(tensor.dtype)
        numbers = data.view(plain).reshape(rows, width) if plain else dequantize(data.reshape(rows, row), kind)
        yield quantize(numbers.astype(np.float32), GGMLQuantizationType[dtype]).tobytes()


def main(argv: Sequence[str]) -> None:
    try:
        write(Path(argv[0]), Path(argv[1]), argv[2], sys.stdout.buffer)
    except (CorruptFile, OSError, ValueError) as error:
        sys.exit(f"{Path(argv[0]).name} cannot be stored as {argv[2]}: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
