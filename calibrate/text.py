"""Three bodies of text out of the Python installation, cut into 512 words: what the tiny models are trained on.

The words are chosen over all three, so every model has one vocabulary. Knows nothing of models.
"""

from __future__ import annotations

import ast
import re
import sysconfig
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import numpy as np

VOCABULARY = 512
BODIES = ("source", "english", "headers")
_CHARACTERS = 600_000
_PIECES = re.compile(r" ?[A-Za-z]+|\d| ?[^\sA-Za-z\d]|\s")


@lru_cache(maxsize=2)
def bodies(vocabulary: int = VOCABULARY, characters: int = _CHARACTERS) -> tuple[list[str], dict[str, np.ndarray]]:
    """(the words, byte-level style; token numbers int32 by name of the body). characters: of each body, at most."""
    pieces = {name: _PIECES.findall(text) for name, text in _texts(characters).items()}
    letters = [chr(n) for n in range(33, 127)] + [" ", "\n"]
    counts = Counter[str]()
    for found in pieces.values():
        total = Counter(p for p in found if len(p) > 1)
        for piece, count in total.items():
            counts[piece] += count / len(found)
    common = [piece for piece, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))]
    words = letters + common[:vocabulary - len(letters)]
    numbers = {word: n for n, word in enumerate(words)}
    known: dict[str, list[int]] = {}
    cut = {name: np.array([n for piece in found for n in _cut(piece, numbers, known)], np.int32)
           for name, found in pieces.items()}
    return [word.replace(" ", "Ġ").replace("\n", "Ċ") for word in words], cut


def _cut(piece: str, numbers: dict[str, int], known: dict[str, list[int]]) -> list[int]:
    """The piece's token numbers, the longest first; a character that is no token is left out."""
    if piece not in known:
        found, at = [], 0
        while at < len(piece):
            stop = next((s for s in range(len(piece), at, -1) if piece[at:s] in numbers), 0)
            found += [numbers[piece[at:stop]]] if stop else []
            at = stop or at + 1
        known[piece] = found
    return known[piece]


def _texts(characters: int = _CHARACTERS) -> dict[str, str]:
    library = Path(sysconfig.get_paths()["stdlib"])
    sources = [p for p in sorted(library.glob("*.py")) + sorted(library.glob("[a-z]*/*.py"))
               if "site-packages" not in p.parts and "idle" not in str(p)]
    headers = sorted(Path(sysconfig.get_paths()["include"]).rglob("*.h"))
    headers += sorted((Path(np.__file__).parent / "_core" / "include").rglob("*.h"))
    return {"source": _joined((p.read_text("utf-8", "replace") for p in sources[::2]), characters),
            "english": _joined((text for p in sources[1::2] for text in _told(p)), characters),
            "headers": _joined((p.read_text("utf-8", "replace") for p in headers), characters)}


def _told(path: Path) -> Iterator[str]:
    """What a module says of itself and its parts in words."""
    try:
        tree = ast.parse(path.read_text("utf-8"))
    except (SyntaxError, UnicodeDecodeError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            yield (ast.get_docstring(node) or "") + "\n"


def _joined(parts: Iterator[str], characters: int) -> str:
    found, length = [], 0
    for part in parts:
        found.append(re.sub(r"[ \t]+", " ", part))
        length += len(found[-1])
        if length > characters:
            break
    return "".join(found)[:characters]
