"""A native engine is made of a pinned source by steps that can be broken off, taken up again and cancelled.

The steps run for real, on a small CMake project; llama.cpp itself is compiled in tests/soak.
"""

import hashlib
import io
import re
import shutil
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from headwater.core.errors import BadInput, CorruptFile, EngineFailed, NotFound, Unavailable
from headwater.core.settings import load
from headwater.core.work import Cancelled
from headwater.engines import _build, _march, _native
from headwater.engines._build import Source

CMAKE = """cmake_minimum_required(VERSION 3.14)
project(small CXX)
add_library(llama-server-impl SHARED server.cpp)
add_executable(llama-server main.cpp)
target_link_libraries(llama-server PRIVATE llama-server-impl)
"""
SERVER = "int llama_server(int argc, char ** argv) { return argc > 1 && argv[1][2] != 'v' ? 7 : 0; }\n"
MAIN = "int llama_server(int argc, char ** argv);\nint main(int c, char ** v) { return llama_server(c, v); }\n"
FILES = {"llama.cpp/CMakeLists.txt": CMAKE, "llama.cpp/server.cpp": SERVER, "llama.cpp/main.cpp": MAIN,
         "setup.py": "raise SystemExit('the package is never run')\n"}


def packed(tmp_path, files=FILES, build="7"):
    """(source, fetch): a source package of these files."""
    archive = tmp_path / f"small-{build}.tar.gz"
    with tarfile.open(archive, "w:gz") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(f"small-1.0/{name}")
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text.encode()))
    sha = hashlib.sha256(archive.read_bytes()).hexdigest()

    def fetch(source, folder, progress):
        return shutil.copy(archive, folder / archive.name) and folder / archive.name

    return Source("small", "1.0", sha, build, "llama.cpp", "llama-server"), fetch


def passed(folder, environ, progress):
    assert (folder / "llama-server").is_file()


class Told:
    def __init__(self, stop_at=None):
        self.stages, self.stop_at, self.totals = [], stop_at, []

    def __call__(self, done, total=None, *, stage=None, unit=None):
        if stage not in self.stages:
            self.stages.append(stage)
        self.totals.append((done, total))
        if stage == self.stop_at:
            raise Cancelled


def test_a_build_goes_on_where_it_was_cancelled_and_is_kept_whole(tmp_path):
    source, fetch = packed(tmp_path)
    with pytest.raises(Cancelled):
        _build.build(tmp_path, Told(stop_at="compiling"), source, fetch=fetch, trial=passed)
    assert _native.installed(tmp_path) == [] and _native.usable(tmp_path) is None
    told = Told()
    made = _build.build(tmp_path, told, source, fetch=None, trial=passed)  # the source is there already
    assert told.stages == ["compiling", "trying the build"] and any(total for _, total in told.totals)
    assert made.sha256 == source.sha256 and made.bytes > 0 and made.build == "7"
    assert _native.usable(tmp_path) == made and made.name in str(list((tmp_path / "engines").iterdir()))
    assert [path.name for path in (tmp_path / "engines").iterdir()] == [made.name]
    assert _build.build(tmp_path, told, source, fetch=None, trial=passed) == made, "what is there is not made again"


def test_another_archive_than_the_pinned_one_is_refused(tmp_path):
    source, fetch = packed(tmp_path)
    with pytest.raises(CorruptFile, match="is expected"):
        _build.build(tmp_path, Told(), replace(source, sha256="0" * 64), fetch=fetch, trial=passed)
    assert not list((tmp_path / "engines").rglob("CMakeLists.txt"))


def test_an_archive_that_climbs_out_is_refused(tmp_path):
    source, fetch = packed(tmp_path, {**FILES, "llama.cpp/../../../../out.txt": "out"})
    with pytest.raises(CorruptFile, match="beside its folder"):
        _build.build(tmp_path / "data", Told(), source, fetch=fetch, trial=passed)
    assert not (tmp_path / "out.txt").exists()


def test_what_does_not_compile_says_the_compilers_error(tmp_path):
    source, fetch = packed(tmp_path, {**FILES, "llama.cpp/server.cpp": "int llama_server( { }\n"})
    with pytest.raises(Unavailable, match="error"):
        _build.build(tmp_path, Told(), source, fetch=fetch, trial=passed)


def test_a_build_that_does_not_run_is_not_kept(tmp_path):
    source, fetch = packed(tmp_path, {**FILES, "llama.cpp/server.cpp": SERVER.replace("? 7 : 0", "? 7 : 1")})
    with pytest.raises(Unavailable, match="trying the build failed"):
        _build.build(tmp_path, Told(), source, fetch=fetch, trial=passed)
    assert _native.installed(tmp_path) == []


def test_a_build_that_fails_its_trial_is_made_without_amx_and_refused_if_that_fails_too(tmp_path, monkeypatch):
    monkeypatch.setattr(_march, "has_amx", lambda compiler: True)
    source, fetch = packed(tmp_path)
    words = []

    def wrong(times):
        def trial(folder, environ, progress):
            words.append(next(folder.parent.glob("configured.json")).read_text())
            if len(words) <= times:
                raise Unavailable("its server ended (killed by SIGILL)")
        return trial

    with pytest.raises(Unavailable, match="SIGILL"):
        _build.build(tmp_path / "a", Told(), source, fetch=fetch, trial=wrong(9))
    assert len(words) == 2 and _native.installed(tmp_path / "a") == []
    assert "AMX_TILE=ON" not in words[1]
    words.clear()
    made = _build.build(tmp_path / "b", Told(), source, fetch=fetch, trial=wrong(1))
    assert made.compiler.endswith("without AMX") and _native.usable(tmp_path / "b") == made


def test_the_compiler_is_told_what_this_processor_has_and_the_whole_tile_configuration_is_kept(tmp_path):
    compiler = shutil.which("c++")
    words = _march.options(compiler, tmp_path, True)
    if not words[0].endswith("NATIVE=OFF"):
        pytest.skip("no x86")
    said = {word.partition("=")[0]: word.partition("=")[2] for word in words}
    there = Path("/proc/cpuinfo").read_text()
    assert (said["-DGGML_AVX2"] == "ON") == (" avx2 " in there)
    assert all(word.endswith("OFF") for word in _march.options(compiler, tmp_path, False) if "AMX" in word)
    if said["-DGGML_AMX_TILE"] != "ON" or not said["-DCMAKE_CXX_FLAGS"]:
        pytest.skip("no AMX here")
    program = """#include <immintrin.h>
    struct alignas(64) Config { unsigned char palette = 1, rest[15] = {}; unsigned short width[16] = {};
                                unsigned char rows[16] = {}; };
    void tell(int rows) { Config c; c.width[3] = 64; c.rows[3] = rows; _tile_loadconfig(&c); }"""
    flags = [*said["-DCMAKE_CXX_FLAGS"].split(), "-O3", "-mamx-tile"]
    made = subprocess.run([compiler, *flags, "-S", "-o", "-", "-x", "c++", "-"], input=program, text=True, check=True,
                          capture_output=True).stdout
    assert "ldtilecfg" in made and re.search("%(dil|edi)", made), "what is told of the rows is stored"


def test_a_machine_without_a_compiler_is_told_the_package(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match="apt-get install g"):
        _build.build(tmp_path, Told())


def native(data, name, build, processor):
    made = data / "made"
    made.mkdir(parents=True)
    (made / _native.LIBRARY).write_bytes(b"")
    _native.keep(data, made, _native.Native(name, build, "small 1.0", "0" * 64, processor, "g++", 1, 1.0))


def test_the_newest_build_of_this_processor_is_taken(tmp_path):
    ours = _native.processor()
    for name, build, where in (("a", "9", ours), ("b", "10", ours), ("c", "11", "x86_64-another")):
        native(tmp_path, name, build, where)
    settings = load(tmp_path, {})
    assert _native.chosen(settings).name == "b" and "b10 (native" in _native.chosen(settings).says
    assert [one.name for one in _native.installed(tmp_path)] == ["c", "b", "a"]
    assert _native.remove(tmp_path, "b").name == "b" and _native.chosen(settings).name == "a"
    with pytest.raises(NotFound):
        _native.remove(tmp_path, "../a")


def test_the_setting_says_which_build_runs(tmp_path):
    assert _native.chosen(load(tmp_path, {})) is None
    with pytest.raises(EngineFailed, match="engine build"):
        _native.chosen(load(tmp_path, {"llamacpp_build": "native"}))
    native(tmp_path, "a", "9", _native.processor())
    assert _native.chosen(load(tmp_path, {"llamacpp_build": "wheel"})) is None
    with pytest.raises(BadInput, match="auto, native, wheel"):
        _native.chosen(load(tmp_path, {"llamacpp_build": "best"}))
