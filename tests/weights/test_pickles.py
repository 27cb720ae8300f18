"""What is said of files that could run code. Samples are opcodes put together by hand; nothing loads them."""

import contextlib
import io
import pickle
import random
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pickle_samples import (
    EVIL,
    PACKERS,
    SEVEN_ZIP,
    STATE,
    TEXT_EVIL,
    calls,
    memo_calls,
    object_array,
    stack_calls,
    text,
    torch_legacy,
    torch_tar,
    torch_zip,
)
from picklescan import scanner

from headwater.weights import pickles
from headwater.weights.pickles import HARMLESS, Verdict, look, wants_look

pytestmark = pytest.mark.filterwarnings("ignore:invalid escape sequence")  # pickletools, on damaged text

DANGEROUS = {
    "protocol 0": ("a.pkl", TEXT_EVIL),
    "protocol 2": ("a.pkl", EVIL),
    "protocol 4": ("a.pkl", stack_calls("os", "system")),
    "posix": ("a.pkl", stack_calls("posix", "system")),
    "from the memo": ("a.pkl", memo_calls("os", "system")),
    "eval": ("a.pkl", stack_calls("builtins", "eval", "1+1")),
    "old eval": ("a.bin", calls("__builtin__", "eval", "1+1")),
    "exec": ("a.bin", calls("builtins", "exec", "pass")),
    "subprocess": ("a.pt", calls("subprocess", "Popen")),
    "read a file": ("a.pkl", calls("linecache", "getlines", "/etc/passwd")),
    "pickle in a pickle": ("a.pkl", calls("pickle", "loads")),
    "torch.load in a pickle": ("a.bin", calls("torch.storage", "_load_from_bytes")),
    "broken off": ("a.pkl", EVIL[:-1]),
    "after a number in hex": ("a.pkl", b"I0x10\n0" + TEXT_EVIL),
    "after a long in hex": ("a.bin", b"L0x10L\n0" + TEXT_EVIL),
    "before what confuses picklescan": ("a.pkl", TEXT_EVIL + b"\x93."),
    "second pickle": ("a.pkl", pickle.dumps([1, 2]) + EVIL),
    "torch zip": ("pytorch_model.bin", torch_zip(EVIL)),
    "torch zip, packed": ("m.pt", torch_zip(EVIL, packed=True)),
    "torch zip, odd name": ("m.pt", torch_zip(EVIL, name="archive/weights")),
    "torch legacy": ("m.pth", torch_legacy(EVIL)),
    "torch legacy, last": ("m.pth", torch_legacy(STATE, EVIL)),
    "torch tar": ("m.ckpt", torch_tar(EVIL)),
    "object array": ("a.npy", object_array(EVIL)),
    **{f"joblib in {name}": ("m.joblib", pack(EVIL)) for name, pack in PACKERS.items()},
}


def said(tmp_path, name: str, data: bytes) -> Verdict:
    (tmp_path / "blob").write_bytes(data)
    return look(str(tmp_path / "blob"), name)


@pytest.mark.parametrize("case", DANGEROUS)
def test_a_pickle_that_would_act_is_dangerous_and_the_reason_names_what_it_calls(case, tmp_path):
    verdict = said(tmp_path, *DANGEROUS[case])
    assert verdict.level == "dangerous"
    called = ("system", "eval", "exec", "Popen", "getlines", "loads", "_load_from_bytes")
    assert any(word in verdict.reason for word in called)


@pytest.mark.parametrize("ending", [".safetensors", ".gguf"])
@pytest.mark.parametrize("case", ["protocol 2", "protocol 0", "torch zip", "torch legacy", "joblib in zlib"])
def test_a_pickle_renamed_to_a_safe_format_is_dangerous_and_its_name_is_called_out(case, ending, tmp_path):
    verdict = said(tmp_path, f"model{ending}", DANGEROUS[case][1])
    assert verdict.level == "dangerous" and verdict.reason.startswith(f"Named {ending} but is not one")


def test_even_a_harmless_pickle_is_suspicious_under_the_name_of_a_safe_format(tmp_path):
    verdict = said(tmp_path, "model.safetensors", torch_zip(STATE))
    assert verdict.level == "suspicious" and "a zip archive" in verdict.reason


@pytest.mark.parametrize("name, data", [
    ("pytorch_model.bin", torch_zip(STATE)), ("old.bin", torch_legacy(STATE)), ("state.pkl", STATE),
    ("a.npy", object_array(pickle.dumps([{}]))), *[(f"p{p}.pkl", pickle.dumps(np.arange(3), p)) for p in range(6)],
    *[(f"s{p}.pkl", pickle.dumps({"a": np.float32(1), "b": {1, 2}, "c": b"x\xff", "d": 1j}, p)) for p in range(6)],
])
def test_values_that_only_hold_data_are_a_notice_for_being_a_pickle(name, data, tmp_path):
    verdict = said(tmp_path, name, data)
    assert verdict.level == "notice" and "a pickle, which makes" in verdict.reason


@pytest.mark.parametrize("name, data, words", [
    ("m.pkl", calls("mymodel.net", "Net"), "imports mymodel.net.Net"),
    ("training_args.bin", torch_zip(calls("transformers.training_args", "TrainingArguments")), "TrainingArguments"),
    ("m.joblib", calls("joblib.numpy_pickle", "NumpyArrayWrapper"), "NumpyArrayWrapper"),
    ("m.pkl", pickle.dumps([1, 2]) + b"\xff\xfe raw bytes", "cannot be read to its end"),
    ("m.pkl", pickle.dumps(list(range(9)))[:-4], "cannot be read to its end"),
    ("m.7z", SEVEN_ZIP, "a 7z archive is not opened"),
    ("m.bin", SEVEN_ZIP, "a 7z archive is not opened"),
    ("m.joblib", b"\x04\x22\x4d\x18" + bytes(40), "an LZ4 stream is not opened"),
    ("m.pt", torch_zip(STATE)[:-9], "zip archive that cannot be read"),
    ("m.safetensors", b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
    ("m.gguf", b"GGUF\x03\0\0\0" + bytes(4), "cut short"),
    ("m.npy", b"\x93NUMPY\x01\x00\xff\xff{", "header cannot be read"),
])
def test_what_cannot_be_vouched_for_is_suspicious(name, data, words, tmp_path):
    verdict = said(tmp_path, name, data)
    assert verdict.level == "suspicious" and words in verdict.reason


@pytest.mark.parametrize("name, data", [
    ("raw.bin", bytes(range(200, 256)) * 40), ("floats.bin", np.linspace(0, 1, 999, dtype=np.float32).tobytes()),
    ("notes.bin", b"Some words, no pickle.\n"), ("empty.bin", b""),
    ("images.zip", torch_zip(b"\x89PNG\r\n", name="a.png")),
    ("data.csv.gz", PACKERS["gzip"](b"id,name\n1,cat\n2,dog\n")), ("words.txt.gz", PACKERS["gzip"](b"cat\ndog\nemu\n")),
    ("data.jsonl.gz", PACKERS["gzip"](b'{"text": "hello"}\n' * 50)), ("model.bin", b"lmgg" + bytes(100)),
])
def test_files_without_a_pickle_are_safe(name, data, tmp_path):
    assert said(tmp_path, name, data).level == "safe"


def test_arrays_of_numbers_are_safe(tmp_path):
    out = io.BytesIO()
    np.savez(out, a=np.arange(100_000), b=np.ones(3))
    assert said(tmp_path, "a.npz", out.getvalue()).level == "safe"
    np.save(single := io.BytesIO(), np.arange(4))
    assert said(tmp_path, "a.npy", single.getvalue()).level == "safe"


def test_a_member_of_an_archive_is_judged_by_its_bytes_whatever_checksums_say(tmp_path):
    data = bytearray(torch_zip(EVIL))
    at = data.index(b"PK\x01\x02")
    data[at + 16:at + 20] = b"\0\0\0\0"  # the CRC in the directory; torch does not look at it
    assert said(tmp_path, "m.pt", bytes(data)).level == "dangerous"
    with pytest.raises(zipfile.BadZipFile), zipfile.ZipFile(io.BytesIO(bytes(data))) as archive:
        archive.read("archive/data.pkl")


def test_what_picklescan_alone_would_pass_is_found_here(tmp_path):
    """The reason this part opens tar archives and compressed streams itself."""
    for data in (torch_tar(EVIL), *(pack(EVIL) for pack in PACKERS.values())):
        alone = scanner.scan_bytes(io.BytesIO(data), "m", ".joblib")
        assert not alone.globals and not alone.scan_err
        assert said(tmp_path, "m.joblib", data).level == "dangerous"


@pytest.mark.parametrize("number", [b"I0x10\n", b"L0x10L\n"])
def test_numbers_that_stop_both_scanners_do_not_stop_python(number, tmp_path):
    """Why opcodes are stepped over here too: what follows such a number would otherwise not be seen."""
    assert pickle.loads(number + b".") == 16
    alone = scanner.scan_bytes(io.BytesIO(number + b"0" + TEXT_EVIL), "m", ".pkl")
    assert not alone.globals and not alone.scan_err
    assert said(tmp_path, "m.pkl", number + b"0" + TEXT_EVIL).level == "dangerous"
    hidden = number + b"0ccollections\nOrderedDict\n0" + stack_calls("os", "system")[2:]
    assert said(tmp_path, "m.pkl", hidden).level == "suspicious"
    assert said(tmp_path, "m.pkl", number + b".").level == "suspicious"


class Inert:
    """Stands for whatever a pickle names: takes any call and any state, and does nothing."""

    def __init__(self, *args: object, **kwargs: object):
        pass

    def __setstate__(self, state: object) -> None:
        pass


class Recording(pickle._Unpickler):
    """Python's own reader of opcodes, with every name it would import written down and none imported."""

    def find_class(self, module: str, name: str) -> type:
        self.asked.add(f"{module}.{name}")
        return Inert

    def persistent_load(self, pid: object) -> None:
        return None


def imports_of(data: bytes) -> set[str]:
    reader = Recording(io.BytesIO(data))
    reader.asked = set()
    # Most of what is tried is not a whole pickle; what it imports before it breaks would have been imported.
    with contextlib.suppress(Exception):
        reader.load()
    return reader.asked


NAMES = [("os", "system"), ("builtins", "eval"), ("mymodel", "Net"), ("collections", "OrderedDict"), ("torch", "Size")]
PIECES = [
    *[b"c%s\n%s\n" % (m.encode(), n.encode()) for m, n in NAMES], *[text(m) + text(n) + b"\x93" for m, n in NAMES],
    *[b"(i%s\n%s\n" % (m.encode(), n.encode()) for m, n in NAMES],
    *[text(m) + b"\x94" + text(n) + b"\x94\x93" for m, n in NAMES], b"h\x00h\x01\x93", b"\x80\x02",
    b"\x80\x04", b"I0x10\n",
    b"I1\n", b"L0x1L\n", b"S'a'\n", b"V\\u0061\n", b"F1_0\n", b"F1.5\n", b"N", b"K\x05", b"(", b")",
    b"]", b"}", b"t", b"R", b"0", b"2", b"\x94", b"q\x00", b"q\x01", b"h\x00", b"b", b"\x81", b"\x85", b".", b"\xff",
    b"C\x02ab", b"\x95\x05\0\0\0\0\0\0\0", b"Q", b"Pabc\n", b"p7\n", b"g7\n",
]


@settings(max_examples=600, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(PIECES), max_size=14).map(b"".join))
def test_nothing_python_would_import_beyond_the_harmless_passes_as_a_notice(tmp_path, data):
    asked = imports_of(data) - HARMLESS
    if asked:
        assert said(tmp_path, "m.pkl", data).level in ("suspicious", "dangerous"), (data, asked)


def test_a_pickle_too_long_to_be_read_in_full_is_no_more_than_suspicious(tmp_path, monkeypatch):
    monkeypatch.setattr(pickles, "MAX_PICKLE", 1000)
    long = b"\x80\x02(" + b"K\x01" * 900 + EVIL[2:-1] + b"t."
    for data in (torch_zip(long), PACKERS["zlib"](long)):
        assert said(tmp_path, "m.pt", data).level == "suspicious"


def test_random_bytes_under_any_name_get_a_verdict(tmp_path):
    source = random.Random(11)
    for name in ("a.bin", "a.pkl", "a.npy", "a.npz", "a.safetensors", "a.gguf"):
        for _ in range(60):
            assert said(tmp_path, name, source.randbytes(300)).level in ("safe", "suspicious")


def test_a_claim_of_gigabytes_in_a_small_file_allocates_none(tmp_path):
    for claim in (b"\x8e" + b"\xff" * 7 + b"\x0f", b"X\xff\xff\xff\xff", b"\x8b\xff\xff\xff\x7f"):
        assert said(tmp_path, "m.pkl", b"\x80\x04" + claim + EVIL[2:]).level == "suspicious"
        assert said(tmp_path, "raw.bin", claim + bytes(100)).level == "safe"


def test_damaged_samples_get_a_verdict(tmp_path):
    for _, data in DANGEROUS.values():
        for at in range(1, len(data), max(1, len(data) // 12)):
            assert said(tmp_path, "m.bin", data[:at]).level
            assert said(tmp_path, "m.bin", data[:at] + b"\xff\x00" + data[at + 2:]).level


@pytest.mark.parametrize("name, head, wanted", [
    ("README.md", b"# Title", False), ("config.json", b"{}", False), ("model.safetensors", b"", True),
    ("weights.dat", EVIL, True), ("weights", torch_zip(STATE), True), ("tokenizer.model", b"\n\x0e", False),
    ("a.BIN", b"", True), ("x.weird", SEVEN_ZIP, True),
])
def test_files_are_looked_at_for_their_name_or_their_first_bytes(name, head, wanted):
    assert wants_look(head, name) is wanted
