"""Pickles written opcode by opcode, some of which would run a command if anybody loaded them. Nobody does.

Each is made as bytes; no object in this process ever has a __reduce__ that acts.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import pickle
import struct
import tarfile
import zipfile
import zlib
from functools import partial

TORCH_MAGIC = 0x1950A86A20F9469CFC6C


def text(value: str) -> bytes:
    """SHORT_BINUNICODE."""
    raw = value.encode()
    return b"\x8c" + bytes([len(raw)]) + raw


def calls(module: str, name: str, argument: str = "echo loaded") -> bytes:
    """Protocol 2: GLOBAL, one argument, REDUCE."""
    raw = argument.encode()
    return b"\x80\x02c%s\n%s\n(X%s%stR." % (module.encode(), name.encode(), struct.pack("<I", len(raw)), raw)


def stack_calls(module: str, name: str, argument: str = "echo loaded") -> bytes:
    """Protocol 4: the name is put together on the stack (STACK_GLOBAL)."""
    return b"\x80\x04" + text(module) + text(name) + b"\x93" + text(argument) + b"\x85R."


def memo_calls(module: str, name: str) -> bytes:
    """The same with both words fetched from the memo."""
    return (b"\x80\x04" + text(module) + b"\x94" + text(name) + b"\x94" + b"00h\x00h\x01\x93" + text("x") + b"\x85R.")


TEXT_EVIL = b"cos\nsystem\n(S'echo loaded'\ntR."
"""Protocol 0: no mark at its start."""
EVIL = calls("os", "system")
STATE = (b"\x80\x02ccollections\nOrderedDict\nq\x00)Rq\x01X\x01\0\0\0wq\x02ctorch._utils\n_rebuild_tensor_v2\nq\x03"
         b"((X\x07\0\0\0storageq\x04ctorch\nFloatStorage\nq\x05X\x01\0\0\x000q\x06X\x03\0\0\0cpuq\x07K\x10tq\x08Q"
         b"K\x00K\x10\x85q\tK\x01\x85q\n\x89h\x00)Rq\x0btq\x0cRq\rs.")
"""The state dict of one tensor, as torch.save pickles it."""


def torch_zip(pickled: bytes, *, name: str = "archive/data.pkl", packed: bool = False) -> bytes:
    """What torch.save has written since 1.6."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED if packed else zipfile.ZIP_STORED) as archive:
        archive.writestr(name, pickled)
        archive.writestr("archive/data/0", bytes(64))
        archive.writestr("archive/version", "3\n")
    return out.getvalue()


def torch_legacy(state: bytes, keys: bytes = pickle.dumps(["0"], 2)) -> bytes:
    """What torch.save wrote before: five pickles, then raw numbers."""
    told = pickle.dumps({"protocol_version": 1001, "little_endian": True}, 2)
    head = pickle.dumps(TORCH_MAGIC, 2) + pickle.dumps(1001, 2) + told
    return head + state + keys + struct.pack("<q", 16) + bytes(range(64))


def torch_tar(state: bytes) -> bytes:
    """What torch.save wrote before that."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in (("storages", pickle.dumps(1, 2)), ("tensors", pickle.dumps(0, 2)), ("pickle", state)):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def object_array(pickled: bytes) -> bytes:
    """A .npy of dtype object; what follows the header is a pickle."""
    header = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }".ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + pickled


PACKERS = {"gzip": partial(gzip.compress, mtime=0), "zlib": zlib.compress, "bz2": bz2.compress, "xz": lzma.compress,
           "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE)}
SEVEN_ZIP = b"7z\xbc\xaf\x27\x1c\x00\x04" + bytes(60)
