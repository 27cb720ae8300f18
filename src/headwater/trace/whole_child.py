"""Look at whole models in a process of its own, as trace/child.py does: python -I -m headwater.trace.whole_child

The files of several models come in one list, each path begun with its model's number: "0/model.safetensors". The first
line holds besides either `layers`, the pairs of them to compare between models 0 and 1, or `names`, one for each model,
of which the first may be a sum of the others, or with `applied` the second one with the others, adapters, merged into
it. The answer is JSON.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from headwater.core.errors import TooLarge
from headwater.trace.all_neurons import NeuronPair
from headwater.trace.applied import Applied, find_applied
from headwater.trace.child import Asked, serve
from headwater.trace.judgement import LayerPair
from headwater.trace.merges import Model, find_mixture
from headwater.trace.pair import PairReport, compare_files
from headwater.trace.reader import Reader
from headwater.weights.source import Source

REPORT_MAX = 256 << 10
_WORD = 40
"""Of a word no more is kept: a vocabulary may hold one of a megabyte."""


def whole(asked: Asked) -> bytes:
    found: dict[str, Any]
    if "names" in asked.line:
        first, *others = [_model(asked, number, name) for number, name in enumerate(asked.line["names"])]
        found = asdict(_applied(first, *others) if asked.line.get("applied") else find_mixture(first, others))
    else:
        found = _compared(asked).as_json()
    data = json.dumps(found).encode()
    if len(data) > REPORT_MAX:
        raise TooLarge(f"what was found takes {len(data):,} bytes; {REPORT_MAX:,} are kept.")
    return data


def _applied(child: Model, base: Model, *adapters: Model) -> Applied:
    with ExitStack() as stack, np.errstate(all="ignore"):
        readers = [stack.enter_context(Reader(m.open_file, m.files)) for m in (child, base, *adapters)]
        return find_applied(readers[0], readers[1], [(m.name, r) for m, r in zip(adapters, readers[2:], strict=True)])


def _compared(asked: Asked) -> PairReport:
    one, two = (_model(asked, number) for number in range(2))
    layers = [LayerPair(a, b, 0.0) for a, b in asked.line["layers"]]
    report = compare_files(one.open_file, one.files, two.open_file, two.files, layers, progress=asked.tell,
                           guess_tokens=asked.guess_tokens)
    return replace(report, neurons=tuple((x, y, _short(pair)) for x, y, pair in report.neurons))


def _short(pair: NeuronPair) -> NeuronPair:
    cut = {which: tuple(word[:_WORD] for word in getattr(pair, which))
           for which in ("reads_a", "reads_b", "writes_a", "writes_b")}
    return replace(pair, **cut)


def _model(asked: Asked, number: int, name: str = "") -> Model:
    mine = f"{number}/"

    def open_file(path: str) -> Source:
        return asked.open_file(mine + path)

    files = {path.removeprefix(mine): size for path, size in asked.sizes.items() if path.startswith(mine)}
    return Model(name, open_file, files)


if __name__ == "__main__":
    raise SystemExit(serve(whole))
