"""The fingerprint of a model: at most 1 MB that pairs of models are compared by, made in one bounded pass.

Holds for every layer the profiles of its strongest neurons in the token frame (trace/frame.py), one sign a dimension;
for every tensor a hash; for some raw rows their signs; and what the tokenizer and the architecture look like. Written
by make_fingerprint (trace/make.py), read by trace/agree.py. Judges nothing.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from headwater.core.errors import CorruptFile
from headwater.trace.frame import DIMENSIONS
from headwater.trace.hashes import ROW_COUNT, ROW_SIGNS

VERSION = 4
"""Moves when a fingerprint of the same model would come out different."""
MAX_BYTES = 1_000_000
MAX_LAYERS = 40
NEURONS = 96
MAX_HASHES = 8_192
MAX_NOTES = 100
MAX_ROLES = 16
PROFILES = ("gate", "up", "down")
_NOT_COUNTS = ("form", "declared", "found_by", "tied")
_MAGIC = b"HWTRACE1"
_DTYPES = {"|u1": np.uint8, "<i4": np.int32, "<u4": np.uint32, "<u8": np.uint64, "<f4": np.float32}


@dataclass(frozen=True)
class LayerPrint:
    """One layer. number: its place among all the model's layers with an MLP, from 0. neurons: how many it has.

    rows: int32 (n,) the chosen neurons' numbers, strongest first. norms: float32 (n,) their norms, gain folded.
    gate, up, down: uint8 (n, K / 8) packed signs of their profiles, or None: an MLP without gate has no gate, and one
    with a gate keeps down only in a few layers. raw: uint8 (r, ROW_SIGNS / 8) by role, signs of raw rows at fixed
    places. lattice: share of quantised-looking blocks by role. median_norm: about that of all the layer's neurons.
    """

    number: int
    neurons: int
    rows: np.ndarray
    norms: np.ndarray
    gate: np.ndarray | None
    up: np.ndarray | None
    down: np.ndarray | None
    median_norm: float = 0.0
    lattice: dict[str, float] = field(default_factory=dict)
    raw: dict[str, np.ndarray] = field(default_factory=dict)

    def profiles(self, which: str) -> np.ndarray | None:
        """float32 (n, K) unit rows of "gate", "up" or "down"; None if it was not kept."""
        packed = getattr(self, which)
        return None if packed is None else unpack(packed)

    @property
    def pair(self) -> tuple[str, str]:
        """The two profiles that are matched independently: gate and up, or up and down where there is no gate."""
        return ("gate", "up") if self.gate is not None else ("up", "down")


@dataclass(frozen=True)
class TokenizerPrint:
    """count: tokens. digest: of all strings in order, "" when there is no tokenizer. hashes: uint64, the lowest among
    the words' (a sample of the vocabulary that two models can compare); numbers: their token numbers."""

    count: int
    digest: str
    style: str
    hashes: np.ndarray
    numbers: np.ndarray


@dataclass(frozen=True)
class Architecture:
    """What the shapes say, and what the files declare of themselves. form: gated or plain MLPs, an adapter, or opaque
    where no layer was found. layers: all of them, also those beyond MAX_LAYERS."""

    form: str
    width: int
    layers: int
    neurons: int
    experts: int
    vocabulary: int
    tied: bool
    parameters: int
    declared: str
    found_by: str
    passed: int
    rank: int = 0


@dataclass(frozen=True)
class Fingerprint:
    """tensors: uint64, hashes of tensors, rising, the lowest MAX_HASHES. frame: anchors, spread, lean, dimension; {} if
    there is no frame, and then layers have no profiles. notes: what was not read, and why, for a person. embedding:
    uint8 (words, ROW_SIGNS / 8), the signs of the centred embedding rows of the tokenizer's sampled words, in their
    order; (0, …) where there are none. total_bytes, bytes_read: of the files, and of them what this pass asked for."""

    version: int
    architecture: Architecture
    tokenizer: TokenizerPrint
    tensors: np.ndarray
    frame: dict[str, float]
    layers: tuple[LayerPrint, ...]
    notes: tuple[str, ...]
    total_bytes: int
    bytes_read: int
    embedding: np.ndarray = field(default_factory=lambda: np.zeros((0, ROW_SIGNS // 8), np.uint8))

    def to_bytes(self) -> bytes:
        """Magic, length of the JSON, JSON, arrays one after another."""
        arrays: list[np.ndarray] = []

        def put(array: np.ndarray | None) -> int | None:
            if array is None:
                return None
            arrays.append(np.ascontiguousarray(array))
            return len(arrays) - 1

        head = {
            "version": self.version, "architecture": asdict(self.architecture), "frame": self.frame,
            "notes": self.notes, "total_bytes": self.total_bytes, "bytes_read": self.bytes_read,
            "tokenizer": {"count": self.tokenizer.count, "digest": self.tokenizer.digest,
                          "style": self.tokenizer.style, "hashes": put(self.tokenizer.hashes),
                          "numbers": put(self.tokenizer.numbers)},
            "tensors": put(self.tensors), "embedding": put(self.embedding),
            "layers": [{"number": y.number, "neurons": y.neurons, "median_norm": y.median_norm, "lattice": y.lattice,
                        "rows": put(y.rows), "norms": put(y.norms), "gate": put(y.gate), "up": put(y.up),
                        "down": put(y.down), "raw": {role: put(bits) for role, bits in y.raw.items()}}
                       for y in self.layers],
        }
        head["arrays"] = [[a.dtype.str, list(a.shape)] for a in arrays]
        text = json.dumps(head, separators=(",", ":")).encode()
        return b"".join([_MAGIC, len(text).to_bytes(4, "little"), text, *(a.tobytes() for a in arrays)])

    @staticmethod
    def from_bytes(data: bytes) -> Fingerprint:
        """Raises CorruptFile; also for a version this code does not read."""
        try:
            return _parse(data)
        except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError, OverflowError) as error:
            raise CorruptFile(f"the fingerprint does not hold together: {error}.",
                              hint="Have it made again from the model.") from None


def pack(profiles: np.ndarray) -> np.ndarray:
    """float (n, K) to uint8 (n, K / 8): one sign each."""
    return np.packbits(profiles > 0, axis=1)


def unpack(packed: np.ndarray) -> np.ndarray:
    """uint8 (n, K / 8) to float32 (n, K) unit rows."""
    count = packed.shape[1] * 8
    return (np.unpackbits(packed, axis=1).astype(np.float32) * 2 - 1) / np.float32(np.sqrt(count))


def _parse(data: bytes) -> Fingerprint:
    if len(data) > 2 * MAX_BYTES or data[:len(_MAGIC)] != _MAGIC:
        raise ValueError(f"{len(data)} bytes that do not begin with {_MAGIC.decode()}")
    at = len(_MAGIC) + 4
    length = int.from_bytes(data[len(_MAGIC):at], "little")
    head = json.loads(data[at:at + length])
    if head["version"] != VERSION:
        raise ValueError(f"version {head['version']} is not {VERSION}")
    arrays = _arrays(head["arrays"], data, at + length)
    if len(head["layers"]) > MAX_LAYERS or len(head["notes"]) > MAX_NOTES:
        raise ValueError(f"{len(head['layers'])} layers and {len(head['notes'])} notes")
    layers = tuple(_layer(entry, arrays) for entry in head["layers"])
    frame = {str(k)[:32]: _finite(v) for k, v in head["frame"].items()}
    tokens, embedding = _tokens(head["tokenizer"], arrays), _signs(arrays[head["embedding"]], ROW_SIGNS)
    if len(embedding) not in (0, len(tokens.hashes)):
        raise ValueError(f"{len(embedding)} embeddings of {len(tokens.hashes)} words")
    return Fingerprint(
        head["version"], _architecture(head["architecture"]), tokens,
        _vector(arrays[head["tensors"]], np.uint64), frame, layers,
        tuple(str(note)[:1000] for note in head["notes"]), _count(head["total_bytes"]), _count(head["bytes_read"]),
        embedding)


def _architecture(entry: dict[str, Any]) -> Architecture:
    found = {name: value if isinstance(value, bool) else str(value)[:64] if isinstance(value, str) else _count(value)
             for name, value in entry.items()}
    made = Architecture(**found)  # type: ignore[arg-type]
    texts = (made.form, made.declared, made.found_by)
    if not all(isinstance(text, str) for text in texts) or not isinstance(made.tied, bool) \
            or any(isinstance(v, str | bool) for k, v in found.items() if k not in _NOT_COUNTS):
        raise ValueError("an architecture of other kinds of values")
    return made


def _tokens(entry: dict[str, Any], arrays: list[np.ndarray]) -> TokenizerPrint:
    hashes, numbers = _vector(arrays[entry["hashes"]], np.uint64), _vector(arrays[entry["numbers"]], np.int32)
    if len(hashes) != len(numbers):
        raise ValueError(f"{len(hashes)} words with {len(numbers)} numbers")
    return TokenizerPrint(_count(entry["count"]), str(entry["digest"])[:64], str(entry["style"])[:16], hashes, numbers)


def _vector(array: np.ndarray, dtype: type) -> np.ndarray:
    if array.ndim != 1 or array.dtype != dtype:
        raise ValueError(f"a list of shape {array.shape} and type {array.dtype}")
    return array


def _count(value: object) -> int:
    if not isinstance(value, int) or not 0 <= value < 1 << 60:
        raise ValueError(f"a count of {str(value)[:40]}")
    return value


def _finite(value: object) -> float:
    if not isinstance(value, int | float) or not abs(value) < 1e300:
        raise ValueError(f"a figure of {str(value)[:40]}")
    return float(value)


def _arrays(listed: list[Any], data: bytes, at: int) -> list[np.ndarray]:
    found = []
    for name, shape in listed:
        dtype = np.dtype(_DTYPES[name])
        count = 1
        for side in shape:
            if not 0 <= side <= len(data):
                raise ValueError(f"an array of shape {shape}")
            count *= side
        stop = at + count * dtype.itemsize
        if stop > len(data):
            raise ValueError(f"it ends at byte {len(data)}, inside an array")
        found.append(np.frombuffer(data[at:stop], dtype).reshape(shape))
        at = stop
    if at != len(data):
        raise ValueError(f"{len(data) - at} bytes follow its end")
    return found


def _layer(entry: dict[str, Any], arrays: list[np.ndarray]) -> LayerPrint:
    rows, norms = _vector(arrays[entry["rows"]], np.int32), _vector(arrays[entry["norms"]], np.float32)
    packed = [None if entry[which] is None else _signs(arrays[entry[which]], DIMENSIONS) for which in PROFILES]
    if len(rows) != len(norms) or any(p is not None and len(p) != len(rows) for p in packed):
        raise ValueError("a layer's arrays differ in length")
    raw = {str(role)[:32]: _signs(arrays[number], ROW_SIGNS) for role, number in entry["raw"].items()}
    # One array may be named many times: without bounds a small file would be much work.
    if len(rows) > NEURONS or len(raw) > MAX_ROLES or any(len(signs) > ROW_COUNT for signs in raw.values()):
        raise ValueError(f"a layer of {len(rows)} neurons and {len(raw)} matrices")
    return LayerPrint(_count(entry["number"]), _count(entry["neurons"]), rows, norms, *packed,
                      median_norm=_finite(entry["median_norm"]),
                      lattice={str(k)[:32]: _finite(v) for k, v in entry["lattice"].items()}, raw=raw)


def _signs(array: np.ndarray, count: int) -> np.ndarray:
    if array.ndim != 2 or array.shape[1] != count // 8 or array.dtype != np.uint8:
        raise ValueError(f"signs of shape {array.shape}")
    return array
