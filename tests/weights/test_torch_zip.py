"""PyTorch zip files are read without unpickling, and refuse whatever is not a model."""

import collections
import contextlib
import io
import os
import pickle
import sys
import types
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headwater.core.errors import CorruptFile, HeadwaterError
from headwater.weights import torch_zip, values
from headwater.weights.source import BytesSource


@contextlib.contextmanager
def pretend_torch():
    """Modules of torch's names, so that pickle writes what torch.save writes."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    for name in ("FloatStorage", "HalfStorage", "LongStorage"):
        setattr(torch, name, type(name, (), {"__module__": "torch"}))

    def _rebuild_tensor_v2(*_): ...
    def _rebuild_parameter(*_): ...
    for call in (_rebuild_tensor_v2, _rebuild_parameter):
        call.__module__, call.__qualname__ = "torch._utils", call.__name__
        setattr(utils, call.__name__, call)
    before = {name: sys.modules.get(name) for name in ("torch", "torch._utils")}
    sys.modules |= {"torch": torch, "torch._utils": utils}
    try:
        yield torch, utils
    finally:
        for name, module in before.items():
            if module is None:
                del sys.modules[name]
            else:
                sys.modules[name] = module


class Call:
    def __init__(self, function, *arguments):
        self.pair = function, arguments

    def __reduce__(self):
        return self.pair


class Storage:
    def __init__(self, kind, key, count):
        self.id = ("storage", kind, key, "cpu", count)


class Pickler(pickle.Pickler):
    def persistent_id(self, thing):
        return thing.id if isinstance(thing, Storage) else None


def saved(build, members, protocol=2, method=zipfile.ZIP_STORED):
    """The archive torch.save would make of build(torch, tensor)."""
    out, stream = io.BytesIO(), io.BytesIO()
    with pretend_torch() as (torch, utils):
        def tensor(kind, key, offset, shape, strides, count=100):
            return Call(utils._rebuild_tensor_v2, Storage(getattr(torch, kind), key, count), offset, shape, strides,
                        False, collections.OrderedDict())

        value = build(torch, utils, tensor)
        Pickler(stream, protocol).dump(value)
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.writestr("archive/data.pkl", stream.getvalue())
        archive.writestr("archive/version", "3\n")
        for key, array in members.items():
            archive.writestr(f"archive/data/{key}", array.tobytes())
    return out.getvalue()


A = np.arange(100, dtype=np.float32)


@pytest.mark.parametrize("protocol", [2, 4])
def test_tensors_are_ranges_of_the_file(protocol):
    data = saved(lambda torch, utils, tensor: collections.OrderedDict(
        a=tensor("FloatStorage", "0", 0, (10, 10), (10, 1)), b=tensor("FloatStorage", "0", 20, (2, 3), (3, 1))),
        {"0": A}, protocol)
    header = torch_zip.read_header(BytesSource(data))
    rows = {t.name: values.rows(BytesSource(data), t) for t in header.tensors}
    assert np.array_equal(rows["a"], A.reshape(10, 10))
    assert np.array_equal(rows["b"], A[20:26].reshape(2, 3))


def test_a_state_dict_inside_a_checkpoint_keeps_its_names():
    data = saved(lambda torch, utils, tensor: {"epoch": 3, "lr": 0.1, "state_dict": {
        "w": Call(utils._rebuild_parameter, tensor("HalfStorage", "7", 0, (4,), (1,)), True, {})}},
        {"7": A[:4].astype(np.float16)})
    header = torch_zip.read_header(BytesSource(data))
    assert [(t.name, t.dtype, t.shape) for t in header.tensors] == [("w", "F16", (4,))]


def test_a_transposed_view_is_told_as_skipped():
    data = saved(lambda torch, utils, tensor: {"t": tensor("FloatStorage", "0", 0, (10, 10), (1, 10))}, {"0": A})
    assert torch_zip.read_header(BytesSource(data)).metadata == {"skipped": ("t",)}


class Attack:
    def __reduce__(self):
        return os.system, ("echo attacked > /tmp/headwater-attacked",)


def test_a_pickle_that_calls_something_is_refused_by_name_and_not_run():
    data = saved(lambda torch, utils, tensor: {"a": Attack()}, {})
    with pytest.raises(CorruptFile, match=r"(posix|nt)\.system"):
        torch_zip.read_header(BytesSource(data))
    assert not os.path.exists("/tmp/headwater-attacked")


@pytest.mark.parametrize("build", [
    lambda torch, utils, tensor: {"a": tensor("FloatStorage", "9", 0, (10,), (1,))},
    lambda torch, utils, tensor: {"a": tensor("FloatStorage", "0", 95, (10,), (1,))},
    lambda torch, utils, tensor: {"a": tensor("FloatStorage", "0", 0, (1 << 40,), (1,))},
    lambda torch, utils, tensor: {"a": tensor("FloatStorage", "0", -4, (10,), (1,))},
    lambda torch, utils, tensor: {"a": tensor("FloatStorage", "0", 0, (10, 2), (1,))}])
def test_a_tensor_that_is_not_in_the_file_is_refused(build):
    with pytest.raises(CorruptFile):
        torch_zip.read_header(BytesSource(saved(build, {"0": A})))


def test_compressed_storages_and_other_archives_are_refused():
    squeezed = saved(lambda torch, utils, tensor: {"a": tensor("FloatStorage", "0", 0, (10,), (1,))}, {"0": A},
                     method=zipfile.ZIP_DEFLATED)
    other = io.BytesIO()
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("readme.txt", "no model")
    for data in (squeezed, other.getvalue(), b"PK\x03\x04", b""):
        with pytest.raises(CorruptFile):
            torch_zip.read_header(BytesSource(data))


def test_a_list_that_holds_itself_does_not_hang():
    def build(torch, utils, tensor):
        loop = {}
        loop["again"] = loop
        return {"a": tensor("FloatStorage", "0", 0, (10,), (1,)), "loop": loop}

    header = torch_zip.read_header(BytesSource(saved(build, {"0": A})))
    assert [t.name for t in header.tensors] == ["a"]


@given(st.integers(0, 900), st.binary(min_size=1, max_size=4))
def test_whatever_bytes_are_changed_reading_ends_in_a_header_or_a_told_error(at, change):
    data = saved(lambda torch, utils, tensor: {"a": tensor("FloatStorage", "0", 0, (10, 10), (10, 1))}, {"0": A})
    with contextlib.suppress(HeadwaterError):
        torch_zip.read_header(BytesSource(data[:at] + change + data[at + len(change):]))
