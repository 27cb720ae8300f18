"""Which instructions llama.cpp is compiled with here, said as its own options. Knows the compiler, no processor: what
`-march=native` stands for is asked of it.

GGML_NATIVE is not used on x86: it takes AMX wherever it is, and AMX must be left out where its code does not run.
"""

from __future__ import annotations

import platform
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

_NEEDED = {
    "SSE42": "SSE4_2", "AVX": "AVX", "AVX2": "AVX2", "FMA": "FMA", "F16C": "F16C", "BMI2": "BMI2",
    "AVX_VNNI": "AVXVNNI", "AVX512": "AVX512F AVX512CD AVX512VL AVX512DQ AVX512BW", "AVX512_VBMI": "AVX512VBMI",
    "AVX512_VNNI": "AVX512VNNI", "AVX512_BF16": "AVX512BF16",
}
"""llama.cpp's options and the macros a compiler defines when it may use what they switch on."""
_AMX = {"AMX_TILE": "AMX_TILE", "AMX_INT8": "AMX_INT8", "AMX_BF16": "AMX_BF16"}
_SHIM = """#include_next <amxtileintrin.h>
#define _tile_loadconfig(from) \\
    __asm__ volatile("ldtilecfg\\t%0" :: "m"(*reinterpret_cast<const char (*)[64]>(from)))
"""
"""GCC 12 says that ldtilecfg reads 8 bytes. It reads 64, and what a program stored in the other 56 is dropped as never
read: the tiles have no size, and the first use of one is an illegal instruction."""


def options(compiler: str, work: Path, amx: bool) -> list[str]:
    """cmake's -D words. work: a folder that stays while it compiles. Nothing but GGML_NATIVE where it is no x86."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return ["-DGGML_NATIVE=ON"]
    there = _macros(compiler, ["-march=native"])
    said = [f"-DGGML_{name}={'ON' if _has(there, macros) else 'OFF'}" for name, macros in _NEEDED.items()]
    said += [f"-DGGML_{name}={'ON' if amx and _has(there, macro) else 'OFF'}" for name, macro in _AMX.items()]
    return ["-DGGML_NATIVE=OFF", *said, f"-DCMAKE_CXX_FLAGS={_shim(work) if '__clang__' not in there else ''}"]


def has_amx(compiler: str) -> bool:
    return "__AMX_TILE__" in _macros(compiler, ["-march=native"])


def _has(there: frozenset[str], macros: str) -> bool:
    return all(f"__{macro}__" in there for macro in macros.split())


def _macros(compiler: str, words: Sequence[str]) -> frozenset[str]:
    """Empty for a compiler that does not know the words."""
    said = subprocess.run([compiler, *words, "-dM", "-E", "-x", "c++", "-"], input="", capture_output=True, text=True,
                          timeout=60, check=False)
    return frozenset(re.findall(r"^#define (\w+)", said.stdout, re.MULTILINE)) if said.returncode == 0 else frozenset()


def _shim(work: Path) -> str:
    """The flag by which the header above is read in place of the compiler's."""
    folder = work / "headers"
    folder.mkdir(exist_ok=True)
    header = folder / "amxtileintrin.h"
    if not header.is_file() or header.read_text() != _SHIM:  # else everything would be compiled anew
        header.write_text(_SHIM)
    return f"-isystem {folder}"
