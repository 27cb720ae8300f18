"""Layers of one model against layers of another as cells of a drawing. Numbers only; a page writes the SVG."""

from __future__ import annotations

from dataclasses import dataclass

from headwater.trace.judgement import Judgement

STEPS = 9
"""Shades. The lowest is drawn too, so that a layer that was compared is told from one that was not."""
SIDE = 14
LABEL = 30


@dataclass(frozen=True)
class Cell:
    """a, b: numbers of the layers. shade: 0 to STEPS - 1. best: the layer of the other that suits it best."""

    x: float
    y: float
    a: int
    b: int
    agreement: float
    shade: int
    best: bool


@dataclass(frozen=True)
class Heat:
    """across, down: (place, number of the layer) of the labels: b across, a down."""

    width: float
    height: float
    side: float
    cells: tuple[Cell, ...]
    across: tuple[tuple[float, int], ...]
    down: tuple[tuple[float, int], ...]


def heat(said: Judgement) -> Heat | None:
    """None where no layers were compared."""
    rows, columns = said.table.shape
    if not rows or not columns:
        return None
    side = max(SIDE, min(40, 280 // max(rows, columns)))
    best = {(pair.a, pair.b) for pair in said.layers}
    cells = tuple(
        Cell(LABEL + j * side, LABEL + i * side, a, b, share := float(said.table[i, j]), _shade(share), (a, b) in best)
        for i, a in enumerate(said.table_a) for j, b in enumerate(said.table_b))
    return Heat(LABEL + columns * side + 4, LABEL + rows * side + 4, side, cells,
                tuple((LABEL + j * side + side / 2, b) for j, b in _few(said.table_b, side)),
                tuple((LABEL + i * side + side / 2, a) for i, a in _few(said.table_a, side)))


def _shade(agreement: float) -> int:
    return max(0, min(STEPS - 1, round(agreement * (STEPS - 1))))


def _few(numbers: tuple[int, ...], side: float) -> list[tuple[int, int]]:
    """Labels that have room, with their places."""
    step = 1 if side >= 20 else 2 if len(numbers) <= 24 else 4
    return [(n, number) for n, number in enumerate(numbers) if n % step == 0]
