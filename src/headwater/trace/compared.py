"""Two fingerprints side by side, with what several kinds of evidence need of both, worked out once. Judges nothing."""

from __future__ import annotations

from functools import cached_property

import numpy as np

from headwater.trace.agree import Agreement, agree
from headwater.trace.fingerprint import Fingerprint, LayerPrint
from headwater.trace.judgement import LayerPair

EDGE_FIRST, EDGE_LAST = 1, 2
"""Layers at both ends that say nothing alone: unrelated models of one tokenizer grow the same neurons there."""


class Compared:
    def __init__(self, a: Fingerprint, b: Fingerprint):
        self.a, self.b = a, b

    @cached_property
    def agreement(self) -> Agreement:
        return agree(self.a, self.b)

    @cached_property
    def pairs(self) -> tuple[LayerPair, ...]:
        """Each layer of the model with fewer, and the other's that suits it best."""
        found = self.agreement
        own = found.layers_b if found.turned else found.layers_a
        pairs = [(int(o), int(m), float(s)) for o, m, s in zip(own, found.matches, found.best, strict=True)]
        return tuple(LayerPair(m, o, s) if found.turned else LayerPair(o, m, s) for o, m, s in pairs)

    @property
    def inner_pairs(self) -> tuple[LayerPair, ...]:
        """Without the layers at the ends; empty for models of so few."""
        return self.pairs[EDGE_FIRST:len(self.pairs) - EDGE_LAST]

    @cached_property
    def likely_pairs(self) -> tuple[tuple[LayerPrint, LayerPrint], ...]:
        """Layers that correspond if any do: by agreement where it stands out from the row's others, else by number.

        Agreement does not change when a model's neurons are shuffled, so choosing by it favours no order of theirs.
        """
        a, b = ({y.number: y for y in print_.layers} for print_ in (self.a, self.b))
        clear = [(p.a, p.b) for p in self.pairs if p.agreement >= 0.25]
        if len(clear) * 2 > len(self.pairs):
            return tuple((a[one], b[two]) for one, two in clear)
        return tuple((a[number], b[number]) for number in sorted(a.keys() & b.keys()))

    @cached_property
    def shared_hashes(self) -> np.ndarray:
        """uint64: of tensors both have that no two models have by chance."""
        shared = np.intersect1d(self.a.tensors, self.b.tensors)
        return shared[shared & np.uint64(1) == 1]

    @cached_property
    def shared_words(self) -> tuple[np.ndarray, np.ndarray]:
        """(places in a's sample of words, places in b's) of the words that are in both samples."""
        _, first, second = np.intersect1d(self.a.tokenizer.hashes, self.b.tokenizer.hashes, return_indices=True)
        return first, second

    @cached_property
    def vocabulary_overlap(self) -> tuple[float, float] | None:
        """(share of a's words that b has, share of b's that a has), from the two samples; None without words."""
        a, b = self.a.tokenizer.hashes, self.b.tokenizer.hashes
        if not len(a) or not len(b):
            return None
        # A large vocabulary is thinned to the hashes that eight divides: then only those can be met.
        if any(len(x) > 16 and not (x % np.uint64(8)).any() for x in (a, b)):
            a, b = a[a % np.uint64(8) == 0], b[b % np.uint64(8) == 0]
        if not len(a) or not len(b):
            return None
        limit = min(a.max(), b.max())
        a, b = a[a <= limit], b[b <= limit]
        common = len(np.intersect1d(a, b))
        return common / max(len(a), 1), common / max(len(b), 1)


def bits_per_number(print_: Fingerprint) -> float:
    return 8 * print_.total_bytes / max(print_.architecture.parameters, 1)
