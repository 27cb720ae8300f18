"""Matrices packed down their columns: GPTQ and AWQ, which store a linear layer as (in, out).

A number is `(code - zero) * scale`; zero and scale are those of its group of inputs. Told as (out, in), as the layer
had it before. A *panel*, the packed words of some outputs, is kept between two calls of one thread: at most
PANEL_BYTES. Finds no tensors. Checked against auto-gptq's and autoawq's own packing in tests/weights/test_packed.py.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np

from headwater.weights import values
from headwater.weights.header import Tensor
from headwater.weights.packed.bits import UNIT, stored_rows, unpack
from headwater.weights.packed.rows import Of, finite, group_numbers

PANEL_BYTES = 32 << 20
AWQ_SLOT = np.array([0, 4, 1, 5, 2, 6, 3, 7])
"""Where in a word of eight the number of each column stands (autoawq, utils/packing_utils.py)."""


@dataclass(frozen=True)
class _Panel:
    """Outputs [first, first + n). words: uint32 (words of the inputs asked, n or n / 8). zeros, scales: (groups, n);
    zeros None where all are in the middle."""

    key: tuple[str, int, int, int]
    first: int
    words: np.ndarray
    zeros: np.ndarray | None
    scales: np.ndarray


class Kept(threading.local):
    """What a thread has open."""

    panel: _Panel | None = None


@dataclass(frozen=True)
class PackedColumns:
    """tensor: (out, in), its bytes those of the codes. order: int32 (in,), the group of each input; None where they
    follow one another by `group`. interleaved: AWQ's order, eight outputs a word; else numbers run down the inputs.
    above: what is added to a stored zero point; zeros: None where all are in the middle."""

    tensor: Tensor
    codes: Tensor
    scales: Tensor
    zeros: Tensor | None
    bits: int
    group: int
    order: Tensor | None = None
    interleaved: bool = False
    above: int = 0

    def take(self, of: Of, numbers: np.ndarray, begin: int, end: int, kept: Kept) -> np.ndarray:
        """float32 (len(numbers), end - begin): inputs [begin, end) of chosen outputs."""
        codes, zeros, scales = self._parts(of, numbers, begin, end, kept)
        codes -= zeros
        codes *= scales
        return codes

    def apart(self, of: Of, numbers: np.ndarray, plain: np.ndarray, kept: Kept) -> np.ndarray:
        """As PackedRows.apart."""
        codes, zeros, scales = self._parts(of, numbers, 0, self.tensor.shape[1], kept)
        beyond = plain / scales + zeros - codes
        outside = ((codes == 0) & (beyond < 0)) | ((codes == (1 << self.bits) - 1) & (beyond > 0))
        return np.where(outside, 0, 2 * np.abs(beyond)).astype(np.float32)

    def _parts(self, of: Of, numbers: np.ndarray, begin: int, end: int,
               kept: Kept) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """float32 (len(numbers), end - begin): codes, zero points and scales."""
        codes, zeros, scales = (np.empty((len(numbers), end - begin), np.float32) for _ in range(3))
        if not codes.size:
            return codes, zeros, scales
        low, high = begin // UNIT * UNIT, min(-(-end // UNIT) * UNIT, self.tensor.shape[1])
        groups = self._groups(of, low, high)
        step = self._step(high - low)
        windows = numbers // step
        for window in np.unique(windows):
            mine = np.flatnonzero(windows == window)
            panel = self._opened(of, int(window) * step, step, low, high, kept)
            undone = self._undone(panel, numbers[mine] - panel.first, groups)
            for whole, part in zip((codes, zeros, scales), undone, strict=True):
                whole[mine] = part[..., begin - low:end - low]
        return codes, zeros, scales

    def _groups(self, of: Of, low: int, high: int) -> np.ndarray:
        if self.order is None:
            return np.arange(low, high) // self.group
        return group_numbers(of, self.order, low, high, self.scales.shape[0])

    def _step(self, inputs: int) -> int:
        """Outputs of one panel."""
        each = inputs * self.bits // 8 + 8 * self.scales.shape[0]
        return max(UNIT, PANEL_BYTES // max(each, 1) // UNIT * UNIT)

    def _opened(self, of: Of, first: int, step: int, low: int, high: int, kept: Kept) -> _Panel:
        key = (self.tensor.name, first, low, high)
        if kept.panel is None or kept.panel.key != key:
            kept.panel = None  # gone before the next one is made
            last = min(first + step, self.tensor.shape[0])
            if self.interleaved:
                words = _words(of, self.codes, low, high, first // 8, last // 8)
            else:
                words = _words(of, self.codes, low * self.bits // 32, -(-high * self.bits // 32), first, last)
            scales = values.part(of(self.scales), self.scales, 0, self.scales.shape[0], first, last)
            kept.panel = _Panel(key, first, words, self._zeros(of, first, last), finite(scales, self.scales.name))
        return kept.panel

    def _zeros(self, of: Of, first: int, last: int) -> np.ndarray | None:
        if self.zeros is None:
            return None
        low, high = first * self.bits // 32, -(-last * self.bits // 32)
        words = _words(of, self.zeros, 0, self.zeros.shape[0], low, min(high, self.zeros.shape[1]))
        codes = unpack(words.view(np.uint8), self.bits)
        if self.interleaved:
            codes = codes.reshape(len(codes), -1, 8)[:, :, AWQ_SLOT].reshape(len(codes), -1)
        # A zero point of 0 is stored as -1 in the form that stores one less: it turns over.
        return ((codes[:, :last - first].astype(np.int32) + self.above) & (1 << self.bits) - 1).astype(np.float32)

    def _undone(self, panel: _Panel, outputs: np.ndarray, groups: np.ndarray) -> tuple[np.ndarray, ...]:
        """(len(outputs), inputs of the panel): codes, zero points, scales."""
        if self.interleaved:
            shifts = (4 * AWQ_SLOT[outputs % 8]).astype(np.uint32)
            codes = (panel.words[:, outputs // 8] >> shifts & np.uint32(15)).T
        else:
            lines = np.ascontiguousarray(panel.words[:, outputs].T)
            codes = unpack(lines.view(np.uint8), self.bits)[:, :len(groups)]
        zeros = np.full(codes.shape, 1 << (self.bits - 1), np.float32) if panel.zeros is None else \
            np.ascontiguousarray(panel.zeros[:, outputs].T)[:, groups]
        return codes, zeros, np.ascontiguousarray(panel.scales[:, outputs].T)[:, groups]


def _words(of: Of, tensor: Tensor, top: int, bottom: int, left: int, right: int) -> np.ndarray:
    """uint32 (bottom - top, right - left) of a matrix of words of 32 bits."""
    stored = stored_rows(of(tensor), tensor.start, 4 * tensor.shape[1], np.arange(top, bottom), 4 * left, 4 * right)
    return stored.view("<u4")
