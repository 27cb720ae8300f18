"""Make a fingerprint from a model's files, in one pass that reads a part of them.

Read: the embedding rows of the anchors, every gate (or, without gates, every up) once for its norms, the chosen rows
again, and a piece of every tensor. Memory stays under MEMORY whatever the model's size: a block of rows, the frame,
and the covariance of at most 2^25 numbers.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, NamedTuple

import numpy as np

from headwater.core.errors import CorruptFile
from headwater.trace import hashes
from headwater.trace.fingerprint import (
    MAX_HASHES,
    MAX_LAYERS,
    NEURONS,
    VERSION,
    Architecture,
    Fingerprint,
    LayerPrint,
    TokenizerPrint,
    pack,
)
from headwater.trace.folding import Folding, centred, folding_of, is_centred
from headwater.trace.frame import Anchors, Frame, build_frame, find_anchors
from headwater.trace.reader import OpenFile, Reader
from headwater.trace.roles import Layer, Matrix, Roles, find_roles, layer_key
from headwater.weights import values
from headwater.weights.tokens import Tokens

MEMORY = 700_000_000
MAX_WIDTH = 1 << 15
MAX_NEURONS = 1 << 22
"""Of one layer, its experts' together: five times what the largest models have (384 experts of 2,048)."""
LATTICE_NUMBERS = 256
DOWN_LAYERS = 4
"""Gated layers whose down profiles are kept: they serve the evidence page, not the verdict."""
SHORTLIST = 4 * NEURONS
"""Neurons whose norms are taken in whole, where a layer has more."""
SEEN_FIRST = 4
FEWEST_SEEN = 256
"""Which they are is told by the first numbers of every neuron: one in SEEN_FIRST, and no fewer than FEWEST_SEEN."""
THREADS = 2
"""At most, of files looked at in place: numpy lets go of the interpreter for nearly all of the pass. Bytes that
must be asked for are asked for by one, in order."""

_Marks = tuple[dict[str, np.ndarray], dict[str, float]]
"""Signs of raw rows, and the lattice, by role."""
Progress = Callable[[int, int], None]
"""(steps done, steps in all)."""


def make_fingerprint(open_file: OpenFile, files: Mapping[str, int], progress: Progress | None = None,
                     guess_tokens: Callable[[int], Tokens | None] | None = None) -> Fingerprint:
    """files: bytes by path of a repo. open_file: a Source for one of them, closed here if it can be.

    guess_tokens: asked, with the rows of the largest table, when the files hold no tokenizer (a bare ONNX file); what
    it answers is used as a guess, and a note says so. Raises CorruptFile for a model that does not hold together.
    """
    with Reader(open_file, files) as reader:
        if reader.tokens is None and guess_tokens is not None:
            table = find_roles(reader.header, None, reader.columns).embedding
            reader.tokens = guess_tokens(table.shape[0]) if table is not None else None
            if reader.tokens is not None:
                reader.notes.append("the files hold no tokens; those of a known model of as many rows were tried.")
        count = len(reader.tokens) if reader.tokens is not None else None
        roles = find_roles(reader.header, count, reader.columns)
        if roles.width > MAX_WIDTH:
            raise CorruptFile(f"the model is {roles.width} wide; at most {MAX_WIDTH} are read.")
        most = max((layer.neurons for layer in roles.layers), default=0)
        if most > MAX_NEURONS:
            raise CorruptFile(f"a layer of the model has {most} neurons; at most {MAX_NEURONS} are read.")
        with np.errstate(all="ignore"):  # a stranger's numbers overflow; every product of them is cleared of NaN below
            return _Pass(reader, roles, progress or (lambda done, total: None)).run()


class _Shortlist(NamedTuple):
    """neurons: their numbers, rising. median: about the median norm of all the layer's, or None where all are here."""

    neurons: np.ndarray
    folding: Folding
    median: float | None


class _Here(Executor):
    """Does what it is given at once, in the caller's thread."""

    def submit(self, verb: Callable[..., Any], /, *of: Any, **named: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(verb(*of, **named))
        return done


def _workers(threads: int) -> Executor:
    threads = min(threads, os.cpu_count() or 1)
    return ThreadPoolExecutor(threads, "trace") if threads > 1 else _Here()


class _Pass:
    """One model on its way to a fingerprint; gathers notes as it goes."""

    def __init__(self, reader: Reader, roles: Roles, progress: Progress):
        self.reader, self.roles, self.progress = reader, roles, progress
        self.notes = reader.notes
        self._done, self._lock = 0, threading.Lock()
        self.centred = bool(roles.layers) and is_centred(reader, roles.layers[0])

    def run(self) -> Fingerprint:
        chosen = _evenly(len(self.roles.layers), MAX_LAYERS)
        with _workers(THREADS if self.reader.in_place else 1) as pool:
            try:
                return self._gather(pool, chosen)
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def _gather(self, pool: Executor, chosen: Sequence[int]) -> Fingerprint:
        """What needs no frame goes beside its making; what it leaves is small. Layers follow when there is one."""
        def begin(verb: Callable[..., Any], *of: object) -> Future[Any]:
            return pool.submit(copy_context().run, verb, *of)

        layers = [self.roles.layers[number] for number in chosen]
        framed = begin(self._framed)
        hashed = begin(self._hashes)
        marked = [begin(self._raw, layer) for layer in layers]
        listed = [begin(self._shortlist, layer) for layer in layers]
        with_down = set(_evenly(len(chosen), DOWN_LAYERS))
        made = [begin(self._layer, number, layer, place in with_down, framed, listed[place], marked[place],
                      len(chosen) + 1) for place, (number, layer) in enumerate(zip(chosen, layers, strict=True))]
        anchors, frame = framed.result()
        if len(chosen) < len(self.roles.layers):
            self.notes.append(f"{len(chosen)} of {len(self.roles.layers)} layers were kept, evenly spread.")
        tokenizer = _tokenizer(self.reader.tokens, anchors)
        embedding = self._embedding(tokenizer.numbers)
        prints = tuple(layer.result() for layer in made)
        self.progress(len(chosen) + 1, len(chosen) + 1)
        summary = {} if frame is None else {"anchors": float(frame.anchors), "spread": frame.spread,
                                            "lean": frame.lean, "dimension": frame.dimension}
        return Fingerprint(VERSION, self._architecture(), tokenizer, hashed.result(), summary, prints,
                           tuple(self.notes), self.reader.total, self.reader.bytes_read, embedding)

    def _embedding(self, numbers: np.ndarray) -> np.ndarray:
        """Signs of the sampled words' rows, each column less its median: a mean that all rows share is not theirs."""
        table = self.roles.embedding
        if table is None or not len(numbers) or numbers.max() >= table.shape[0]:
            return np.zeros((0, hashes.ROW_SIGNS // 8), np.uint8)
        order = np.argsort(numbers)
        rows = np.empty((len(numbers), min(hashes.ROW_SIGNS, table.shape[1])), np.float32)
        rows[order] = self.reader.rows(table, numbers[order].astype(np.int64))[:, :rows.shape[1]]
        return hashes.row_signs(rows - np.median(np.nan_to_num(rows), axis=0))

    def _framed(self) -> tuple[Anchors | None, Frame | None]:
        anchors = find_anchors(self.reader.tokens) if self.reader.tokens is not None else None
        return anchors, self._frame(anchors)

    def _frame(self, anchors: Anchors | None) -> Frame | None:
        table = self.roles.embedding
        if anchors is None or not len(anchors.numbers):
            self.notes.append("no token strings were found, so there is no token frame.")
            return None
        if table is None:
            self.notes.append("no token embeddings were found, so there is no token frame.")
            return None
        inside = anchors.numbers < table.shape[0]
        if not inside.all():
            self.notes.append(f"{int((~inside).sum())} tokens have no embedding row.")
            anchors = Anchors(anchors.numbers[inside], anchors.hashes[inside], anchors.found)
        if len(anchors.numbers) < 2:
            return None
        return build_frame(anchors, table.shape[1], lambda numbers: self._written(self.reader.rows(table, numbers)))

    def _written(self, rows: np.ndarray) -> np.ndarray:
        return centred(rows) if self.centred else rows

    def _layer(self, number: int, layer: Layer, with_down: bool, framed: Future[tuple[Anchors | None, Frame | None]],
               listed: Future[_Shortlist], marked: Future[_Marks], steps: int) -> LayerPrint:
        """steps: of the whole pass, of which this is one."""
        (among, folding, median), frame = listed.result(), framed.result()[1]
        leading = layer.gates or layer.ups
        neurons = sum(matrix.shape[0] for matrix in leading)
        whole = _cleared(folding.fold(self._rows(leading, among)))
        norms = np.nan_to_num(np.sqrt(np.multiply(whole, whole).sum(1)), posinf=0)
        best = _strongest(norms, NEURONS)
        kept = {"gate": layer.gates, "up": layer.ups, "down": layer.downs if with_down or not layer.gates else ()}
        packed = self._profiles(kept, among[best], neurons, frame, folding, whole[best])
        raw, lattice = marked.result()
        with self._lock:
            self._done += 1
            self.progress(self._done, steps)
        return LayerPrint(number, neurons, among[best].astype(np.int32), norms[best].astype(np.float32), **packed,
                          median_norm=float(np.median(norms)) if median is None else median, lattice=lattice, raw=raw)

    def _shortlist(self, layer: Layer) -> _Shortlist:
        """Of the neurons that may be among the strongest, by the first numbers of each alone. The strongest are hardly
        ever missed (docs/design/006-trace.md)."""
        folding, leading = folding_of(self.reader, layer), layer.gates or layer.ups
        neurons = sum(matrix.shape[0] for matrix in leading)
        if neurons <= SHORTLIST:
            return _Shortlist(np.arange(neurons), folding, None)
        width = leading[0].shape[1]
        seen = max(FEWEST_SEEN, -(-width // SEEN_FIRST // values.BLOCK) * values.BLOCK)
        squares = np.nan_to_num(np.concatenate([
            self.reader.squares(matrix, folding.gain, folding.silent, seen) for matrix in leading]), posinf=0)
        median = float(np.sqrt(np.median(squares) * max(width / seen, 1)))
        return _Shortlist(np.sort(_strongest(squares, SHORTLIST)), folding, median)

    def _profiles(self, kept: Mapping[str, Sequence[Matrix]], rows: np.ndarray, neurons: int, frame: Frame | None,
                  folding: Folding, leading: np.ndarray) -> dict[str, np.ndarray | None]:
        """Packed signs of the chosen neurons' profiles, by which; None for those not kept. One product for all.
        leading: the rows of the first of them that are kept, which were read to choose by."""
        fit = [which for which, matrices in kept.items()
               if frame is not None and len(rows) and sum(m.shape[0] for m in matrices) == neurons]
        found: dict[str, np.ndarray | None] = dict.fromkeys(kept)
        if frame is None or not fit:
            return found
        first = "gate" if kept["gate"] else "up"
        parts = [leading if which == first else self._written(self._rows(kept[which], rows)) if which == "down"
                 else folding.fold(self._rows(kept[which], rows)) for which in fit]
        packed = pack(_cleared(np.concatenate(parts)) @ frame.directions.T)
        return found | dict(zip(fit, np.split(packed, len(fit)), strict=True))

    def _rows(self, matrices: Sequence[Matrix], rows: np.ndarray) -> np.ndarray:
        """float32 (n, width): chosen neurons; `rows` counts over all matrices, one after another."""
        if len(matrices) == 1:
            return self.reader.rows(matrices[0], rows)
        found = np.zeros((len(rows), matrices[0].shape[1]), np.float32)
        first = 0
        for matrix in matrices:
            mine = np.flatnonzero((rows >= first) & (rows < first + matrix.shape[0]))
            if len(mine):
                found[mine] = self.reader.rows(matrix, rows[mine] - first)
            first += matrix.shape[0]
        return found

    def _raw(self, layer: Layer) -> _Marks:
        raw: dict[str, np.ndarray] = {}
        probed: dict[str, np.ndarray] = {}
        parts = {"gate": layer.gates[:1], "up": layer.ups[:1], "down": layer.downs[:1]}
        parts |= {f"attention{n}": (matrix,) for n, matrix in enumerate(layer.attention[:4])}
        for role, matrices in parts.items():
            for matrix in matrices:
                # Blocks of a quantisation lie along the stored rows, whichever way the neurons do.
                stored = Matrix(matrix.tensor)
                rows = self.reader.corner(stored, hashes.probed_rows(stored.shape[0]), LATTICE_NUMBERS)
                probed[role] = rows
                if role in ("gate", "up") and matrix != stored:
                    rows = self.reader.corner(matrix, hashes.probed_rows(matrix.shape[0]), hashes.ROW_SIGNS)
                raw[role] = hashes.row_signs(rows)
        shares = hashes.lattices(list(probed.values())) if probed else []
        return raw, {role: round(share, 4) for role, share in zip(probed, shares, strict=True)}

    def _hashes(self) -> np.ndarray:
        tables = {m.tensor.name for m in (self.roles.embedding, self.roles.head) if m is not None}
        found = {hashes.tensor_hash(self.reader.of(t), t, hashes.PIECES_OF_A_TABLE if t.name in tables else 1)
                 for t in self.reader.header.tensors if t.nbytes}
        return np.array(sorted(found)[:MAX_HASHES], np.uint64)

    def _architecture(self) -> Architecture:
        roles, first = self.roles, self.roles.layers[0] if self.roles.layers else None
        form = "adapter" if roles.adapter else "opaque" if first is None else "gated" if first.gates else "plain"
        metadata = self.reader.header.metadata
        declared = self.reader.config.get("model_type") or metadata.get("general.architecture") or ""
        if roles.adapter:
            return self._adapter_architecture(str(declared)[:64])
        return Architecture(
            form, roles.width, len(roles.layers), first.neurons if first else 0, len(first.ups) if first else 0,
            roles.embedding.shape[0] if roles.embedding else 0, roles.head is None,
            self.reader.header.parameter_count, str(declared)[:64], roles.found_by, roles.passed)

    def _adapter_architecture(self, declared: str) -> Architecture:
        """The width is the side most of its matrices have, neurons the longest side, layers those it names."""
        pairs = self.roles.adapter
        sides = Counter(side for down, up in pairs for side in (down.shape[1], up.shape[0]))
        layers = {key for key in (layer_key(down.name) for down, _ in pairs) if key is not None}
        return Architecture("adapter", sides.most_common(1)[0][0], len(layers), max(sides), 0, 0, True,
                            self.reader.header.parameter_count, declared, self.roles.found_by, self.roles.passed,
                            max(down.shape[0] for down, _ in pairs))


def _cleared(rows: np.ndarray) -> np.ndarray:
    """0 for what is no number. One sum tells whether there is any: most models have none, and looking costs more."""
    return rows if np.isfinite(rows.sum()) else np.nan_to_num(rows, posinf=0, neginf=0)


def _evenly(count: int, most: int) -> list[int]:
    if count <= most:
        return list(range(count))
    return sorted({round(n * (count - 1) / (most - 1)) for n in range(most)})


def _strongest(norms: np.ndarray, count: int) -> np.ndarray:
    """The numbers of the greatest norms, greatest first; of equals the lower number."""
    if len(norms) > count:
        among = np.argpartition(-norms, count - 1)[:count]
        among.sort()
    else:
        among = np.arange(len(norms))
    return among[np.argsort(-norms[among], kind="stable")]


def _tokenizer(tokens: Tokens | None, anchors: Anchors | None) -> TokenizerPrint:
    if tokens is None or anchors is None:
        return TokenizerPrint(0, "", "none", np.zeros(0, np.uint64), np.zeros(0, np.int32))
    numbers, lowest = anchors.lowest
    lengths = (tokens.stops - tokens.starts).astype("<i4")
    digest = hashlib.sha256(lengths.tobytes())
    for number in numbers:
        digest.update(tokens.canonical(int(number)))
    return TokenizerPrint(len(tokens), digest.hexdigest()[:32], tokens.style, lowest, numbers.astype(np.int32))

