"""Tensors of ONNX files and what the graph does with them, by onnx/onnx.proto (the wire format, read by range).

Reads the structure, never tensor data: the bytes of each initializer are told as a range of the file, or of the file
beside it that holds them. Follows an initializer through casts, transposes, scales and zero points to the node that
uses it, so an int8 file with anonymous names still tells which tensor is a table and which way a matrix lies.
Knows nothing of subgraphs (If, Loop), sparse initializers, or numbers packed two to a byte.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from headwater.core.errors import CorruptFile
from headwater.weights.header import Header, Tensor
from headwater.weights.jsontext import shown
from headwater.weights.safetensors import BITS
from headwater.weights.source import Source

MAX_TENSORS = 100_000
MAX_NODES = 1_000_000
MAX_FIELDS = 8_000_000
MAX_SMALL = 1 << 20
"""Bytes of one node, one name, one attribute. Larger fields are data and are stepped over."""
MAX_DIMS = 8
_WINDOW = 1 << 16
_TYPES = {1: "F32", 2: "U8", 3: "I8", 4: "U16", 5: "I16", 6: "I32", 7: "I64", 9: "BOOL", 10: "F16", 11: "F64",
          12: "U32", 13: "U64", 16: "BF16", 17: "F8_E4M3", 19: "F8_E5M2"}
_SAME = ("Cast", "CastLike", "Identity", "QuantizeLinear", "Reshape")
_PRODUCTS = ("MatMul", "Gemm", "MatMulInteger", "FusedMatMul")


class Scaled(NamedTuple):
    """How stored whole numbers become weights: (q - zero) * scale. axis: the one a vector of scales runs along."""

    scale: Tensor | None
    zero: Tensor | None
    axis: int


@dataclass(frozen=True)
class Graph:
    """header: tensors, those the graph uses first and in that order. columns: names of matrices stored as (in, out).
    tables: names of those that rows are looked up in. scaled: by name of the tensor. skipped: names whose data are in
    no contiguous range."""

    header: Header
    columns: frozenset[str]
    tables: tuple[str, ...]
    scaled: dict[str, Scaled]
    skipped: tuple[str, ...]


class _Node(NamedTuple):
    kind: str
    inputs: list[str]
    outputs: list[str]
    numbers: dict[str, int]


@dataclass(frozen=True)
class _Use:
    """What a value of the graph is: an initializer, seen through the nodes on its way."""

    name: str
    turned: bool = False
    scale: str | None = None
    zero: str | None = None
    axis: int = -1


def read_graph(source: Source, folder: str = "") -> Graph:
    """folder: where the file lies in its repo, to name the files beside it. Raises CorruptFile."""
    nodes: list[_Node] = []
    tensors: dict[str, Tensor] = {}
    skipped: list[str] = []
    reader = _Wire(source)
    graphs = [field for field in reader.fields(0, source.size) if field.number == 7 and field.kind == 2]
    if not graphs:
        raise CorruptFile("not an ONNX file: it holds no graph.")
    for field in reader.fields(graphs[0].start, graphs[0].stop):
        if field.number == 1 and field.kind == 2:
            nodes.append(_node(reader, field))
        elif field.number == 5 and field.kind == 2:
            tensor, whole = _initializer(reader, field, folder)
            if tensor.name in tensors:
                raise CorruptFile(f"two initializers are named {shown(tensor.name)}.")
            if whole:
                tensors[tensor.name] = tensor
            else:
                skipped.append(tensor.name)
        if len(nodes) > MAX_NODES or len(tensors) > MAX_TENSORS:
            raise CorruptFile(f"the graph has more than {MAX_NODES} nodes or {MAX_TENSORS} tensors.")
    return _follow(nodes, tensors, tuple(skipped))


# --- the wire format


class _Field(NamedTuple):
    """kind 0: `start` is the value itself. Other kinds: the bytes [start, stop) of the file."""

    number: int
    kind: int
    start: int
    stop: int


class _Wire:
    """Protocol buffers over a source, through a window."""

    def __init__(self, source: Source):
        self.source = source
        self._base, self._window, self._left = 0, b"", MAX_FIELDS

    def bytes(self, start: int, stop: int) -> bytes:
        if stop - start > MAX_SMALL:
            raise CorruptFile(f"a name or node at byte {start} is {stop - start} bytes long; {MAX_SMALL} are read.")
        if start < self._base or stop > self._base + len(self._window):
            end = min(self.source.size, max(stop, start + _WINDOW))
            self._base, self._window = start, self.source.read(start, end)
        return self._window[start - self._base:stop - self._base]

    def varint(self, at: int, stop: int) -> tuple[int, int]:
        value = 0
        data = self.bytes(at, min(at + 10, stop))
        for index, byte in enumerate(data):
            value |= (byte & 0x7F) << (7 * index)
            if byte < 0x80:
                return value & (1 << 64) - 1, at + index + 1
        raise CorruptFile(f"not an ONNX file: no number ends at byte {at}.")

    def fields(self, at: int, stop: int) -> Iterator[_Field]:
        while at < stop:
            self._left -= 1
            if self._left < 0:
                raise CorruptFile(f"the ONNX file has more than {MAX_FIELDS} fields.")
            begin = at
            key, at = self.varint(at, stop)
            kind = key & 7
            if kind == 0:
                value, at = self.varint(at, stop)
                yield _Field(key >> 3, 0, value, at)
                continue
            length, at = self.varint(at, stop) if kind == 2 else ({1: 8, 5: 4}.get(kind, -1), at)
            if length < 0 or at + length > stop or not key >> 3:
                raise CorruptFile(f"not an ONNX file: byte {begin} starts a field that cannot be.")
            yield _Field(key >> 3, kind, at, at + length)
            at += length

    def text(self, field: _Field) -> str:
        return self.bytes(field.start, field.stop).decode("utf-8", "replace")


def _node(reader: _Wire, field: _Field) -> _Node:
    """Inputs, outputs, kind, and the attributes that are whole numbers."""
    node = _Node("", [], [], {})
    for inner in reader.fields(field.start, field.stop):
        if inner.kind != 2:
            continue
        if inner.number == 1:
            node.inputs.append(reader.text(inner))
        elif inner.number == 2:
            node.outputs.append(reader.text(inner))
        elif inner.number == 4:
            node = node._replace(kind=reader.text(inner))
        elif inner.number == 5:
            name, value = "", None
            for part in reader.fields(inner.start, inner.stop):
                if part.number == 1 and part.kind == 2:
                    name = reader.text(part)
                elif part.number == 3 and part.kind == 0:
                    value = part.start
            if value is not None:
                node.numbers[name] = value if value < 1 << 63 else value - (1 << 64)
    return node


def _initializer(reader: _Wire, field: _Field, folder: str) -> tuple[Tensor, bool]:
    """The tensor, and whether its data are one range that holds as many bytes as its shape asks for."""
    dims: list[int] = []
    kind, name, data, external = 0, "", None, {}
    for inner in reader.fields(field.start, field.stop):
        if inner.number == 1:
            dims += _numbers(reader, inner)
        elif inner.number == 2 and inner.kind == 0:
            kind = inner.start
        elif inner.number == 8 and inner.kind == 2:
            name = reader.text(inner)
        elif inner.number == 13 and inner.kind == 2:
            pair = [reader.text(part) for part in reader.fields(inner.start, inner.stop) if part.kind == 2]
            external |= {pair[0]: pair[1]} if len(pair) == 2 else {}
        elif inner.kind == 2 and (inner.number == 9 or (inner.number, kind) in ((4, 1), (10, 11))):
            data = inner
    if len(dims) > MAX_DIMS or any(side >= 1 << 40 for side in dims) or math.prod(dims) >= 1 << 48:
        raise CorruptFile(f"initializer {shown(name)} has the impossible shape {dims}.")
    dtype = _TYPES.get(kind, f"ONNX{kind}")
    tensor = Tensor(name, dtype, tuple(dims), 0, 0)
    size = tensor.elements * BITS.get(dtype, 0) // 8
    if external:
        return _external(tensor, external, size, folder), dtype in BITS
    if data is None or dtype not in BITS:
        return tensor, False
    if data.stop - data.start != size:
        raise CorruptFile(f"initializer {shown(name)} holds {data.stop - data.start} bytes; its shape {dims} of "
                          f"{dtype} takes {size}.")
    return tensor._replace(start=data.start, stop=data.stop), True


def _numbers(reader: _Wire, field: _Field) -> list[int]:
    """A repeated number, one by one or packed."""
    if field.kind == 0:
        return [field.start]
    found, at = [], field.start
    while at < field.stop and len(found) <= MAX_DIMS:
        value, at = reader.varint(at, field.stop)
        found.append(value)
    return found


def _external(tensor: Tensor, said: dict[str, str], size: int, folder: str) -> Tensor:
    location = said.get("location", "")
    if not location or location.startswith("/") or ".." in location.split("/") or "\\" in location:
        raise CorruptFile(f"initializer {shown(tensor.name)} is said to be in {shown(location)}; a file beside the "
                          "ONNX file was expected.")
    try:
        start, length = int(said.get("offset", "0")), int(said.get("length", str(size)))
    except ValueError:
        raise CorruptFile(f"initializer {shown(tensor.name)} has no whole number as its place.") from None
    if length != size or start < 0:
        raise CorruptFile(f"initializer {shown(tensor.name)} is said to take {length} bytes; its shape takes {size}.")
    return tensor._replace(start=start, stop=start + size, file=f"{folder}/{location}" if folder else location)


# --- the graph


def _follow(nodes: list[_Node], tensors: dict[str, Tensor], skipped: tuple[str, ...]) -> Graph:
    """Walk the nodes in their order, which is one they can run in."""
    uses: dict[str, _Use] = {name: _Use(name) for name in tensors}
    made_by = {output: node for node in nodes for output in node.outputs}
    consumers: dict[str, list[_Node]] = {}
    for node in nodes:
        for name in node.inputs:
            consumers.setdefault(name, []).append(node)
    order: dict[str, _Use] = {}
    columns: set[str] = set()
    tables: list[str] = []
    for node in nodes:
        carried = _carried(node, uses, tensors)
        if carried is not None:
            uses.update(dict.fromkeys(node.outputs, carried))
        elif node.kind == "Gather" and node.inputs and node.inputs[0] in uses:
            use = order.setdefault(uses[node.inputs[0]].name, uses[node.inputs[0]])
            if len(tensors[use.name].shape) == 2:
                tables.append(use.name)
        elif node.kind in _PRODUCTS and len(node.inputs) > 1 and node.inputs[1] in uses:
            use = _with_integer_scale(node, uses[node.inputs[1]], consumers, made_by, tensors)
            turned = use.turned != bool(node.numbers.get("transB", 0))
            if use.name not in order and not turned:
                columns.add(use.name)
            order.setdefault(use.name, use)
    listed = [tensors[name] for name in order] + [t for name, t in tensors.items() if name not in order]
    scaled = {use.name: Scaled(tensors.get(use.scale or ""), tensors.get(use.zero or ""), use.axis)
              for use in order.values() if use.scale or use.zero}
    return Graph(Header("onnx", {}, tuple(listed)), frozenset(columns), tuple(tables), scaled, skipped)


def _carried(node: _Node, uses: dict[str, _Use], tensors: dict[str, Tensor]) -> _Use | None:
    """What the node's output is, if it is still an initializer in another dress."""
    if not node.inputs or node.inputs[0] not in uses:
        return None
    use, more = uses[node.inputs[0]], node.inputs[1:]
    if node.kind in _SAME:
        return use
    if node.kind == "Transpose" and len(tensors[use.name].shape) == 2:
        return replace(use, turned=not use.turned)
    if node.kind == "DequantizeLinear" and more:
        return replace(use, scale=more[0], zero=more[1] if len(more) > 1 else None, axis=node.numbers.get("axis", 1))
    if more and more[0] in tensors and node.kind == "Mul" and use.scale is None:
        return replace(use, scale=more[0])
    if more and more[0] in tensors and node.kind == "Sub" and use.zero is None:
        return replace(use, zero=more[0])
    return None


def _with_integer_scale(node: _Node, use: _Use, consumers: dict[str, list[_Node]], made_by: dict[str, _Node],
                        tensors: dict[str, Tensor]) -> _Use:
    """MatMulInteger leaves the scale to a Mul behind it: product -> Cast -> Mul by (input scale * weight scale)."""
    if node.kind != "MatMulInteger":
        return use
    use = replace(use, zero=node.inputs[3] if len(node.inputs) > 3 and node.inputs[3] in tensors else None)
    after = [n for name in node.outputs for n in consumers.get(name, [])]
    after += [n for one in after if one.kind == "Cast" for name in one.outputs for n in consumers.get(name, [])]
    for one in after:
        for name in one.inputs if one.kind == "Mul" else ():
            maker = made_by.get(name)
            near = [name, *(maker.inputs if maker is not None and maker.kind == "Mul" else [])]
            scale = next((n for n in near if n in tensors and tensors[n].dtype in ("F32", "F16")), None)
            if scale is not None:
                return replace(use, scale=scale)
    return use
