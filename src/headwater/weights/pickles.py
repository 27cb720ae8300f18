"""Look into files that can run code when they are loaded: pickles, and archives that hold them. Nothing is run.

Two scanners judge each pickle: picklescan (which names it imports, against its lists) and fickling (what it would
do with them). What neither opens is opened here: tar archives and compressed streams, which picklescan passes as
clean (tests/weights/test_pickles.py shows it), and what each pickle in a zip says to fickling.

A denylist never ends, so a verdict leans on the list of names known to be harmless: all names on it is a notice
("loading this runs code"), any other name is suspicious, a name known to act on the machine is dangerous.

Meant for a child process with limits: `python -m headwater.weights.pickles FILE NAME` prints a verdict as JSON.
The scanners may take the memory and time of whatever they are fed.
"""

from __future__ import annotations

import bz2
import io
import json
import lzma
import os
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from typing import IO, Any, Literal, NamedTuple, Protocol

from headwater.core.errors import CorruptFile
from headwater.weights import sniff
from headwater.weights.jsontext import shown
from headwater.weights.read import HEADER_ENDINGS, read_header
from headwater.weights.source import FileSource

PICKLE_ENDINGS = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".dill", ".npy", ".npz", ".mar",
                  ".nemo", ".skops", ".zip", ".7z", ".rar", ".tar", ".tgz")
"""Names under which pickles travel. Files of other names are looked at when their first bytes ask for it."""

MAX_PICKLE = 64 << 20
"""Bytes of one pickle inside an archive that are read; a longer one is suspicious."""
MAX_MEMBERS = 100_000
FICKLING_BYTES = 1 << 20
"""Above this fickling takes minutes; the verdict then rests on the names alone."""

Level = Literal["safe", "notice", "suspicious", "dangerous"]
_ORDER: tuple[Level, ...] = ("safe", "notice", "suspicious", "dangerous")
_ACTS = frozenset({"UnsafeImports", "UnsafeImportsML", "ScannerDeactivation"})
_DISPUTED = frozenset({"from joblib.numpy_pickle import NumpyArrayWrapper"})
"""fickling calls it malicious; every joblib file has it. Suspicious is enough: the arrays hide what follows."""
_INNER = (".pkl", ".pickle", ".joblib", ".dill")
_UNOPENED = {"a 7z archive": "suspicious", "a RAR archive": "suspicious", "a zstd stream": "notice",
             "an LZ4 stream": "notice"}
_IMPORTS = frozenset({"GLOBAL", "INST", "STACK_GLOBAL", "EXT1", "EXT2", "EXT4"})
_CALLS = frozenset({"REDUCE", "NEWOBJ", "NEWOBJ_EX", "OBJ", "BUILD"})
_CUT = "a pickle that cannot be read to its end."
TORCH_MAGIC = 0x1950A86A20F9469CFC6C

HARMLESS: frozenset[str] = frozenset({
    "collections.OrderedDict", "collections.Counter", "collections.defaultdict", "_codecs.encode", "argparse.Namespace",
    *(f"{module}.{name}" for module in ("builtins", "__builtin__")
      for name in ("set", "frozenset", "bytearray", "complex", "dict", "list", "tuple", "int", "float", "bool", "str",
                   "bytes", "slice", "range", "object")),
    "datetime.datetime", "datetime.date", "datetime.timedelta", "copyreg._reconstructor", "copy_reg._reconstructor",
    "numpy.dtype", "numpy.ndarray",
    *(f"numpy.{core}.{name}" for core in ("core", "_core")
      for name in ("multiarray._reconstruct", "multiarray.scalar", "numeric._frombuffer")),
    "torch.Size", "torch.Tensor", "torch.device", "torch.nn.parameter.Parameter", "torch.serialization._get_layout",
    "torch.storage.UntypedStorage", "torch.storage.TypedStorage", "torch._tensor._rebuild_from_type_v2",
    *(f"torch._utils._rebuild_{name}" for name in ("tensor", "tensor_v2", "tensor_v3", "parameter", "qtensor",
                                                  "parameter_with_state", "sparse_tensor")),
    *(f"torch.{name}Storage" for name in ("Long", "Float", "Half", "Double", "BFloat16", "Bool", "Char", "Short", "Int",
                                          "Byte", "QUInt4x2", "QUInt2x4", "QInt32", "QInt8", "QUInt8", "ComplexFloat",
                                          "ComplexDouble")),
    *(f"torch.{name}" for name in ("float16", "float32", "float64", "bfloat16", "int8", "int16", "int32", "int64",
                                   "uint8", "bool", "complex64", "complex128", "float8_e4m3fn", "float8_e5m2")),
})
"""Names that make plain values. Drawn from picklescan's own list and torch.load(weights_only=True)'s."""


class Verdict(NamedTuple):
    level: Level
    reason: str


def wants_look(head: bytes, path: str) -> bool:
    """Whether a file with these first bytes and this name is one `look` has something to say about."""
    kind = sniff.kind_of(head)
    if path.lower().endswith((*PICKLE_ENDINGS, *HEADER_ENDINGS)):
        return True
    return kind in _UNOPENED or kind in sniff.COMPRESSED or kind in (
        "a pickle", "a zip archive", "a tar archive", "a NumPy array file")


def look(file: str, name: str) -> Verdict:
    """What the bytes of `file`, called `name` in its repo, could do when somebody loads them."""
    with open(file, "rb") as stream:
        head = stream.read(sniff.HEAD_BYTES)
    kind = sniff.kind_of(head)
    ending = next((e for e in HEADER_ENDINGS if name.lower().endswith(e)), None)
    if ending is not None:
        try:
            with FileSource(file) as source:
                count = len(read_header(source, name).tensors)
            return Verdict("safe", f"{ending[1:]} with {count} tensors: data only.")
        except CorruptFile as error:
            inside = _look_inside(file, kind, name)
            said = f"{kind}, {inside.reason}" if inside.level != "safe" else error.message
            return Verdict(max(inside.level, "suspicious", key=_ORDER.index), f"Named {ending} but is not one: {said}")
    return _look_inside(file, kind, name)


def _look_inside(file: str, kind: str | None, name: str) -> Verdict:
    if kind in _UNOPENED:
        packed = name.lower().endswith(PICKLE_ENDINGS)
        return Verdict("suspicious" if packed else _UNOPENED[kind], f"{kind} is not opened here.")
    with open(file, "rb") as stream:
        if kind == "a zip archive":
            return _worst(_zip_members(stream), "a zip archive without pickles.")
        if kind == "a tar archive":
            return _worst(_tar_members(stream), "a tar archive without pickles.")
        if kind in sniff.COMPRESSED:
            return _look_compressed(stream, kind)
        if kind == "a NumPy array file":
            return _numpy(stream)
        # Pickles of protocol 0 and 1 have no mark, so this may be one whatever it looks like.
        return _judge(_Clamped(stream), "")


# --- archives


def _zip_members(stream: IO[bytes]) -> Iterator[Verdict]:
    """A verdict for each member that could be a pickle. Read as torch reads: flags and checksums are ignored."""
    from picklescan.relaxed_zipfile import RelaxedZipFile

    try:
        with RelaxedZipFile(stream) as archive:
            infos = archive.infolist()
            if len(infos) > MAX_MEMBERS:
                yield Verdict("suspicious", f"a zip archive of {len(infos)} members; {MAX_MEMBERS} are looked at.")
            for info in infos[:MAX_MEMBERS]:
                with archive.open(info) as member:
                    yield from _member(member, info.filename)
    except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError, OSError, ValueError) as error:
        yield Verdict("suspicious", f"a zip archive that cannot be read to its end ({_first_line(error)}).")


def _tar_members(stream: IO[bytes]) -> Iterator[Verdict]:
    try:
        with tarfile.open(fileobj=stream, mode="r:") as archive:
            for count, info in enumerate(archive):
                if count == MAX_MEMBERS:
                    yield Verdict("suspicious", f"a tar archive of more than {MAX_MEMBERS} members.")
                    return
                if info.isfile() and (member := archive.extractfile(info)):
                    yield from _member(member, info.name)
                archive.members = []  # else tarfile keeps every header
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        yield Verdict("suspicious", f"a tar archive that cannot be read to its end ({_first_line(error)}).")


def _member(member: IO[bytes], name: str) -> Iterator[Verdict]:
    head = member.read(sniff.HEAD_BYTES)
    kind, within = sniff.kind_of(head), f"in {shown(name)}: "
    pickled = kind == "a pickle" or name.lower().endswith(_INNER) or name.rsplit("/", 1)[-1] == "pickle"
    if not pickled and kind != "a NumPy array file":
        if kind in ("a zip archive", "a tar archive", *_UNOPENED):
            yield Verdict("notice", f"{within}{kind}, not opened here.")
        return
    if kind == "a NumPy array file":
        numbers = _numpy(io.BytesIO(head + member.read(1 << 16)), within)
        if numbers.level == "safe":
            yield numbers
            return
    member.seek(0)
    data = member.read(MAX_PICKLE + 1)
    verdict = (_numpy if kind == "a NumPy array file" else _judge)(io.BytesIO(data[:MAX_PICKLE]), within)
    if len(data) > MAX_PICKLE and verdict.level in ("notice", "suspicious"):
        verdict = Verdict("suspicious", f"{within}longer than the {MAX_PICKLE >> 20} MiB that are looked at.")
    yield verdict


def _look_compressed(stream: IO[bytes], kind: str) -> Verdict:
    """joblib and old torch tar balls: one stream, unpacked up to a bound."""
    try:
        data = _unpacked(stream, kind, sniff.HEAD_BYTES)
        inner = sniff.kind_of(data)
        if inner == "a tar archive":
            return Verdict("notice", f"{kind} with a tar archive, not opened here.")
        if inner == "a JSON file":
            return Verdict("safe", f"{kind} without a pickle.")
        stream.seek(0)
        data = _unpacked(stream, kind, MAX_PICKLE + 1)
    except (zlib.error, OSError, EOFError, lzma.LZMAError, ValueError) as error:
        return Verdict("safe" if kind == "a zlib stream" else "suspicious",
                       f"{kind} that cannot be unpacked ({_first_line(error)}).")
    verdict = _judge(io.BytesIO(data[:MAX_PICKLE]), f"in {kind}: ", maybe_text=True)
    if len(data) > MAX_PICKLE and verdict.level == "notice":
        return Verdict("suspicious", f"{kind} longer than the {MAX_PICKLE >> 20} MiB that are looked at.")
    return verdict


def _unpacked(stream: IO[bytes], kind: str, limit: int) -> bytes:
    """At most `limit` bytes of what the stream unpacks to."""
    if kind in ("an xz stream", "an LZMA stream"):
        return lzma.LZMADecompressor(memlimit=256 << 20).decompress(stream.read(limit), max_length=limit)
    if kind == "a bzip2 stream":
        return bz2.BZ2Decompressor().decompress(stream.read(limit), max_length=limit)
    return zlib.decompressobj(31 if kind == "a gzip stream" else 15).decompress(stream.read(limit), limit)


def _numpy(stream: IO[bytes], within: str = "") -> Verdict:
    from numpy.lib import format as npy

    try:
        version = npy.read_magic(stream)
        reader = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        dtype = reader(stream)[2]
    except (ValueError, EOFError, TypeError, SyntaxError) as error:
        return Verdict("suspicious", f"{within}a NumPy file whose header cannot be read ({_first_line(error)}).")
    if not dtype.hasobject:
        return Verdict("safe", f"{within}NumPy numbers, no pickle.")
    return _judge(io.BytesIO(stream.read(MAX_PICKLE)), f"{within}a NumPy array of Python objects: ")


# --- one pickle, or several one after another


class _Stream(Protocol):
    """What opcode readers need of a file."""

    def read(self, count: int = -1, /) -> bytes: ...
    def readline(self, count: int = -1, /) -> bytes: ...
    def seek(self, at: int, whence: int = 0, /) -> int: ...
    def tell(self) -> int: ...


class _Clamped:
    """A file whose read() asks for no more than is left: opcodes claim gigabytes, and Python allocates them first."""

    def __init__(self, stream: IO[bytes]):
        self._stream = stream
        self._size = stream.seek(0, io.SEEK_END)
        stream.seek(0)
        self.readline, self.seek, self.tell = stream.readline, stream.seek, stream.tell

    def read(self, count: int = -1) -> bytes:
        return self._stream.read(min(count, max(0, self._size - self.tell())) if count >= 0 else -1)


def _judge(stream: _Stream, within: str, *, maybe_text: bool = False) -> Verdict:
    """The verdict of both scanners on the pickles in `stream`. `within` begins the reason.

    maybe_text: words can look like a pickle that breaks off (a CSV starting "id,name" imports "d,name"), so one
    without a mark that calls nothing is passed.
    """
    marked = sniff.kind_of(stream.read(2)) == "a pickle"
    legacy = _is_legacy_torch(stream)
    whole, imports, calls, walked = _walk_through(stream, 5 if legacy else None)
    if not whole and not (imports and (marked or calls or not maybe_text)):
        return Verdict("suspicious", f"{within}{_CUT}") if marked else Verdict("safe", f"{within}no pickle.")
    names, dangerous, followed = _names(stream, legacy, walked)
    if not dangerous:
        dangerous, broken = _acts(stream)
        followed = followed and not broken
    unknown = sorted(set(names) - HARMLESS)
    if dangerous:
        return Verdict("dangerous", f"{within}loading it would call {_list(dangerous)}.")
    if unknown:
        return Verdict("suspicious", f"{within}loading it imports {_list(unknown)}.")
    if not whole or not followed or (imports and not names):
        return Verdict("suspicious", f"{within}{_CUT}")
    made = f"makes only known values ({_list(sorted(names))})" if names else "makes plain values only"
    return Verdict("notice", f"{within}a pickle, which {made}; safetensors is the safer format.")


def _is_legacy_torch(stream: _Stream) -> bool:
    """Whether torch would read this in its old way: five pickles, then raw numbers that no opcode reader follows."""
    from picklescan import torch

    stream.seek(0)
    try:
        return torch.get_magic_number(stream) == TORCH_MAGIC
    except MemoryError:
        raise
    except Exception:  # genops raises whatever a strange argument makes it raise
        return False


class _Walk(NamedTuple):
    """whole: pickles from the first byte to the last, or at least as many as asked for. imports, calls: opcodes that
    do so. names: "module name" of the imports that carry theirs."""

    whole: bool
    imports: int
    calls: int
    names: set[str]


def _walk_through(stream: _Stream, pickles: int | None) -> _Walk:
    """Step over the opcodes as Python's own unpickler would, reading no argument but names.

    pickletools, which both scanners stand on, refuses arguments that the unpickler takes (the number 0x10), and
    stops before what follows. A stream without an import calls nothing.
    """
    import pickletools

    end = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    imports, calls, count, names = 0, 0, 0, set()
    while stream.tell() < end and count != pickles:
        opcode = pickletools.code2op.get(stream.read(1).decode("latin-1"))
        if opcode is None:
            return _Walk(False, imports, calls, names)
        if opcode.name in ("GLOBAL", "INST"):
            module, name = _line(stream), _line(stream)
            names.add(f"{module.decode('utf-8', 'replace')} {name.decode('utf-8', 'replace')}")
        elif opcode.arg is not None:
            _skip_argument(stream, opcode.arg.n)
        imports += opcode.name in _IMPORTS
        calls += opcode.name in _CALLS
        count += opcode.name == "STOP"
        if stream.tell() > end:
            return _Walk(False, imports, calls, names)
    stream.seek(max(0, stream.tell() - 1))
    return _Walk(stream.read(1) == b".", imports, calls, names)


def _skip_argument(stream: _Stream, size: int) -> None:
    """size: as pickletools has it: bytes, or -1 for a line, or a code for the length that stands before the bytes."""
    if size == -1:
        _line(stream)
        return
    width = {-2: 1, -3: 4, -4: 4, -5: 8}.get(size)
    length = size if width is None else int.from_bytes(stream.read(width), "little")
    stream.seek(min(length, 1 << 40), io.SEEK_CUR)


def _line(stream: _Stream) -> bytes:
    """Up to the next line feed; of a long line only the first bytes."""
    first = piece = stream.readline(1 << 16)
    while piece and not piece.endswith(b"\n"):
        piece = stream.readline(1 << 16)
    return first.rstrip(b"\n")


def _names(stream: _Stream, legacy: bool, walked: set[str]) -> tuple[list[str], list[str], bool]:
    """By picklescan: names imported, those it calls dangerous, and whether it could follow every opcode.

    walked: "module name" of imports it may not have come to; they are put to it too.
    """
    from picklescan import scanner

    stream.seek(0)
    try:
        result = scanner.scan_pytorch(stream, "") if legacy else scanner.scan_pickle_bytes(stream, "")
        followed = not result.scan_err and _scanners_follow(stream, 5 if legacy else None)
    except MemoryError:  # not a fault of the file's: the child ends here, and the parent says so
        raise
    except Exception:  # one pickle that confuses it takes down what it found in those before
        result, followed = scanner.ScanResult([]), False
    plain = (name.split(" ", 1) for name in walked)
    again = b"".join(b"c%s\n%s\n" % (module.encode(), name.encode()) for module, name in plain)
    result.merge(scanner.scan_pickle_bytes(io.BytesIO(again + b"."), ""))
    names = {f"{g.module}.{g.name}" for g in result.globals}
    bad = {f"{g.module}.{g.name}" for g in result.globals if g.safety is scanner.SafetyLevel.Dangerous}
    return sorted(names), sorted(bad), followed


def _scanners_follow(stream: _Stream, pickles: int | None) -> bool:
    """Whether pickletools gets as far as we did: where it stops before the first name, picklescan says nothing."""
    import pickletools

    end = stream.seek(0, io.SEEK_END)
    stream.seek(0)
    count = 0
    try:
        while stream.tell() < end and count != pickles:
            for _ in pickletools.genops(stream):
                pass
            count += 1
    except MemoryError:
        raise
    except Exception:  # whatever a strange argument makes it raise
        return False
    return True


def _acts(stream: _Stream) -> tuple[list[str], bool]:
    """By fickling: imports and calls that act on the machine; and whether it found the opcodes tampered with."""
    stream.seek(0, io.SEEK_END)
    if stream.tell() > FICKLING_BYTES:
        return [], False
    stream.seek(0)
    from fickling.analysis import Severity, check_safety
    from fickling.fickle import StackedPickle

    try:
        results = [result for pickled in StackedPickle.load(io.BytesIO(stream.read()), fail_on_decode_error=False)
                   for result in check_safety(pickled).results]
    except MemoryError:
        raise
    except Exception:  # it raises what it pleases on opcodes it does not know; picklescan's names then stand alone
        return [], False
    acts = {str(r.trigger) for r in results if r.trigger not in _DISPUTED and (
        r.severity >= Severity.OVERTLY_MALICIOUS
        or (r.severity >= Severity.LIKELY_OVERTLY_MALICIOUS and r.analysis_name in _ACTS))}
    broken = any(r.analysis_name in ("DuplicateProtoAnalysis", "MisplacedProtoAnalysis") for r in results)
    return sorted(acts), broken


def _worst(verdicts: Iterator[Verdict], none: str) -> Verdict:
    worst = Verdict("safe", none)
    for verdict in verdicts:
        if _ORDER.index(verdict.level) > _ORDER.index(worst.level):
            worst = verdict
        if worst.level == "dangerous":
            break
    return worst


def _list(names: list[str], limit: int = 6) -> str:
    text = ", ".join(shown(name, 100)[1:-1] for name in names[:limit])
    return text + (f" and {len(names) - limit} more" if len(names) > limit else "")


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:120]


def main(argv: list[str]) -> int:
    """The child: limits first, then look, then one line of JSON."""
    import logging

    logging.disable(logging.CRITICAL)
    limit_self(memory=int(argv[3]), seconds=int(argv[4]))
    verdict = look(argv[1], argv[2])
    out: dict[str, Any] = {"level": verdict.level, "reason": verdict.reason[:2000]}
    sys.__stdout__.write(json.dumps(out) + "\n")
    return 0


def limit_self(*, memory: int, seconds: int, files: int = 64) -> None:
    """This process may take so much address space and CPU time, have so many files open, write none, and gives way to
    others."""
    import resource

    os.nice(10)

    wanted = {"RLIMIT_AS": memory, "RLIMIT_CPU": seconds, "RLIMIT_FSIZE": 0, "RLIMIT_CORE": 0, "RLIMIT_NOFILE": files}
    for name, value in wanted.items():
        try:
            resource.setrlimit(getattr(resource, name), (value, value))
        except (AttributeError, ValueError, OSError):  # macOS lacks or refuses some; the parent's clock still holds
            continue


if __name__ == "__main__":
    raise SystemExit(main(sys.argv))
