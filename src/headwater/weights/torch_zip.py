"""Tensors of PyTorch's zip files (torch.save since 1.6), without unpickling and without torch.

The pickle inside is followed by a machine of our own that knows a fixed list of opcodes and names. It builds
dictionaries, lists, numbers and tensors; anything else is refused by name, nothing is imported or called.
Tensor data are ranges of the file, because torch stores its members uncompressed.
"""

from __future__ import annotations

import io
import pickletools
import zipfile
import zlib
from collections import deque
from collections.abc import Iterator
from typing import Any, NamedTuple

from headwater.core.errors import CorruptFile
from headwater.weights.header import Header, Tensor
from headwater.weights.jsontext import shown
from headwater.weights.safetensors import BITS
from headwater.weights.source import Source

MAX_PICKLE = 64 << 20
MAX_MEMBERS = 200_000
MAX_OPCODES = 20_000_000
MAX_DEPTH = 8
MAX_TENSORS = 100_000
_STORAGES = {"DoubleStorage": "F64", "FloatStorage": "F32", "HalfStorage": "F16", "BFloat16Storage": "BF16",
             "LongStorage": "I64", "IntStorage": "I32", "ShortStorage": "I16", "CharStorage": "I8",
             "ByteStorage": "U8", "BoolStorage": "BOOL"}
_CALLS = {"torch._utils _rebuild_tensor_v2": "tensor", "torch._utils _rebuild_parameter": "first",
          "collections OrderedDict": "dict"}
_AROUND = ("state_dict", "model", "model_state_dict", "module")
_HINT = "Convert the model to safetensors where it was made."


class _Name(NamedTuple):
    """A name the pickle imports; never looked up."""

    text: str


class _Storage(NamedTuple):
    dtype: str
    member: str


class _View(NamedTuple):
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class _File(io.RawIOBase):
    """A source as a file, for zipfile."""

    def __init__(self, source: Source):
        self._source, self._at = source, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = max(0, offset + {0: 0, 1: self._at, 2: self._source.size}[whence])
        return self._at

    def read(self, size: int = -1) -> bytes:
        stop = self._source.size if size is None or size < 0 else min(self._at + size, self._source.size)
        data = self._source.read(self._at, stop) if stop > self._at else b""
        self._at += len(data)
        return data


def read_header(source: Source) -> Header:
    """Tensors by their dotted place in the saved dictionary. metadata["skipped"]: names of those that are no plain
    range of the file (views across a storage). Raises CorruptFile."""
    try:
        with zipfile.ZipFile(_File(source)) as archive:
            members = {info.filename: info for info in archive.infolist()[:MAX_MEMBERS]}
            pickles = [name for name in members if name == "data.pkl" or name.endswith("/data.pkl")]
            if len(pickles) != 1:
                raise CorruptFile("not a PyTorch zip file: it holds no data.pkl.", hint=_HINT)
            if members[pickles[0]].file_size > MAX_PICKLE:
                raise CorruptFile(f"data.pkl is {members[pickles[0]].file_size} bytes long; {MAX_PICKLE} are read.")
            with archive.open(pickles[0]) as stream:
                data = stream.read(MAX_PICKLE)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise CorruptFile(f"the PyTorch zip file cannot be read: {error}.") from None
    prefix = pickles[0].removesuffix("data.pkl")
    ranges = _Ranges(source, members, prefix)
    tensors, skipped = [], []
    for name, view in _views(_run(data)):
        if len(tensors) >= MAX_TENSORS:
            raise CorruptFile(f"the file holds more than {MAX_TENSORS} tensors.")
        if _contiguous(view):
            tensors.append(ranges.tensor(name, view))
        else:
            skipped.append(name)
    return Header("torch", {"skipped": tuple(skipped)} if skipped else {}, tuple(tensors))


class _Ranges:
    """Where the members of the archive lie in the file."""

    def __init__(self, source: Source, members: dict[str, zipfile.ZipInfo], prefix: str):
        self._source, self._members, self._prefix = source, members, prefix
        self._starts: dict[str, int] = {}

    def tensor(self, name: str, view: _View) -> Tensor:
        info = self._members.get(f"{self._prefix}data/{view.storage.member}")
        if info is None:
            raise CorruptFile(f"tensor {shown(name)} is in storage {shown(view.storage.member)}, which is not there.")
        if info.compress_type != zipfile.ZIP_STORED:
            raise CorruptFile(f"the storage of tensor {shown(name)} is compressed; torch stores them as they are.")
        tensor = Tensor(name, view.storage.dtype, view.shape, 0, 0)
        width = BITS[tensor.dtype] // 8
        first, size = view.offset * width, tensor.elements * width
        if first + size > info.file_size:
            raise CorruptFile(f"tensor {shown(name)} reaches past the end of its storage of {info.file_size} bytes.")
        start = self._start(info) + first
        if start + size > self._source.size:
            raise CorruptFile(f"tensor {shown(name)} reaches past the end of the file of {self._source.size} bytes.")
        return tensor._replace(start=start, stop=start + size)

    def _start(self, info: zipfile.ZipInfo) -> int:
        """The byte of the file where a member's data begin, by its local header."""
        if info.filename not in self._starts:
            at = info.header_offset
            if at < 0 or at + 30 > self._source.size:
                raise CorruptFile(f"the member {shown(info.filename)} is said to begin at byte {at}.")
            head = self._source.read(at, at + 30)
            if head[:4] != b"PK\x03\x04":
                raise CorruptFile(f"no member of the archive begins at byte {at}, as its list says.")
            names = int.from_bytes(head[26:28], "little") + int.from_bytes(head[28:30], "little")
            self._starts[info.filename] = at + 30 + names
        return self._starts[info.filename]


def _contiguous(view: _View) -> bool:
    step = 1
    for side, stride in zip(reversed(view.shape), reversed(view.strides), strict=True):
        if side > 1 and stride != step:
            return False
        step *= side
    return True


def _views(saved: Any) -> Iterator[tuple[str, _View]]:
    """Tensors in nested dictionaries, each dictionary once; a "state_dict" or "model" around them leaves no trace in
    the names."""
    waiting: deque[tuple[str, Any, int]] = deque([("", saved, 0)])
    seen: set[int] = set()
    while waiting:
        name, value, depth = waiting.popleft()
        if isinstance(value, _View):
            yield name, value
        elif isinstance(value, dict) and depth < MAX_DEPTH and id(value) not in seen:
            seen.add(id(value))
            for key, inner in value.items():
                plain = depth == 0 and isinstance(inner, dict) and key in _AROUND
                waiting.append(("" if plain else f"{name}.{key}" if name else str(key), inner, depth + 1))


# --- the machine


def _run(data: bytes) -> Any:
    machine = _Machine()
    try:
        for count, (opcode, argument, at) in enumerate(pickletools.genops(io.BytesIO(data))):
            if count > MAX_OPCODES:
                raise CorruptFile(f"data.pkl has more than {MAX_OPCODES} opcodes.")
            machine.step(opcode.name, argument, at)
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, UnicodeError, OverflowError) as error:
        raise CorruptFile(f"data.pkl does not hold together: {error}.", hint=_HINT) from None
    if len(machine.stack) != 1:
        raise CorruptFile("data.pkl leaves no single value.", hint=_HINT)
    return machine.stack[0]


_PLAIN = frozenset({"BININT", "BININT1", "BININT2", "LONG1", "INT", "LONG", "BINFLOAT", "BINUNICODE",
                    "SHORT_BINUNICODE", "UNICODE", "BINUNICODE8"})
_VALUES = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_GETS, _PUTS = ("BINGET", "LONG_BINGET", "GET"), ("BINPUT", "LONG_BINPUT", "PUT")
_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class _Machine:
    """The unpickler's stack and memo, for the opcodes torch.save writes."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any, at: int) -> None:
        if name in _PLAIN:
            self.stack.append(argument)
        elif name in _VALUES:
            self.stack.append(_VALUES[name])
        elif name in _PUTS:
            self.memo[argument] = self.stack[-1]
        elif name in _GETS:
            self.stack.append(self.memo[argument])
        elif name == "MEMOIZE":
            self.memo[len(self.memo)] = self.stack[-1]
        elif name in ("PROTO", "FRAME", "STOP"):
            pass
        elif not (self._collect(name) or self._apply(name, argument)):
            raise CorruptFile(f"data.pkl has the opcode {name} at byte {at}, which no model needs.", hint=_HINT)

    def _collect(self, name: str) -> bool:
        """Opcodes that build containers."""
        if name == "MARK":
            self.marks.append(len(self.stack))
        elif name in ("EMPTY_DICT", "EMPTY_LIST", "EMPTY_TUPLE"):
            self.stack.append({"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}[name]())
        elif name in _TUPLES:
            count = _TUPLES[name]
            self.stack[-count:] = [tuple(self.stack[-count:])]
        elif name in ("TUPLE", "LIST"):
            items = self._to_mark()
            self.stack.append(tuple(items) if name == "TUPLE" else items)
        elif name in ("APPEND", "APPENDS"):
            items = [self.stack.pop()] if name == "APPEND" else self._to_mark()
            self._last(list).extend(items)
        elif name in ("SETITEM", "SETITEMS", "DICT"):
            items = [self.stack.pop(-2), self.stack.pop()] if name == "SETITEM" else self._to_mark()
            if name == "DICT":
                self.stack.append({})
            self._last(dict).update(zip(items[::2], items[1::2], strict=True))
        else:
            return False
        return True

    def _apply(self, name: str, argument: Any) -> bool:
        """Opcodes that import and call, of which only the listed names are followed."""
        if name == "GLOBAL":
            self.stack.append(_allowed(argument))
        elif name == "STACK_GLOBAL":
            last, module = self.stack.pop(), self.stack.pop()
            self.stack.append(_allowed(f"{module} {last}"))
        elif name == "BINPERSID":
            self.stack.append(_storage(self.stack.pop()))
        elif name == "REDUCE":
            arguments, called = self.stack.pop(), self.stack.pop()
            self.stack.append(_called(called, arguments))
        elif name == "BUILD":  # an OrderedDict's attributes (_metadata): of no use here
            self.stack.pop()
            self._last(dict)
        else:
            return False
        return True

    def _to_mark(self) -> list[Any]:
        at = self.marks.pop()
        items = self.stack[at:]
        del self.stack[at:]
        return items

    def _last(self, kind: type) -> Any:
        if type(self.stack[-1]) is not kind:
            raise ValueError(f"a {kind.__name__} was expected")
        return self.stack[-1]


def _allowed(text: str) -> _Name:
    module, _, last = text.partition(" ")
    if text in _CALLS or (module == "torch" and last in _STORAGES):
        return _Name(text)
    raise CorruptFile(f"loading the file would import {shown(text.replace(' ', '.'))}, which is not read here.",
                      hint=_HINT)


def _storage(identity: Any) -> _Storage:
    kind, type_name, member = identity[0], identity[1], identity[2]
    if kind != "storage" or not isinstance(type_name, _Name) or not isinstance(member, str):
        raise ValueError("a persistent id that is no storage")
    return _Storage(_STORAGES[type_name.text.partition(" ")[2]], member)


def _called(called: Any, arguments: Any) -> Any:
    if not isinstance(called, _Name) or not isinstance(arguments, tuple):
        raise ValueError("a call of something that is no name")
    what = _CALLS[called.text]
    if what == "dict":
        if arguments:  # torch fills it afterwards; a copy of a copied list would grow without bound
            raise ValueError("an OrderedDict made of a list")
        return {}
    if what == "first":
        return arguments[0]
    storage, offset, shape, strides = arguments[:4]
    numbers = (offset, *shape, *strides)
    if not isinstance(storage, _Storage) or len(shape) != len(strides) \
            or any(type(n) is not int or not 0 <= n < 1 << 48 for n in numbers):
        raise ValueError("a tensor that cannot be")
    return _View(storage, offset, tuple(shape), tuple(strides))
