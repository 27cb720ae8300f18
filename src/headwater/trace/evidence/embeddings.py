"""Embedding rows of shared words, number by number: alike only where the residual stream has one basis in both.

Models that began apart have bases of their own, so the figure is near zero, whatever both know of the words. A
rotation or permutation of the stream hides it.
"""

from __future__ import annotations

import numpy as np

from headwater.trace.compared import Compared
from headwater.trace.hashes import ROW_SIGNS
from headwater.trace.judgement import Evidence
from headwater.trace.said import said

FEWEST = 24
LINE = 0.2
"""Unrelated models with real tokenizers reach 0.03 in size (docs/design/007-judgement.md)."""


def look(pair: Compared) -> Evidence:
    first, second = pair.shared_words
    if not len(pair.a.embedding) or not len(pair.b.embedding) or len(first) < FEWEST:
        return Evidence("embeddings", "none", said("Too few words have an embedding in both."), {"words": len(first)})
    if pair.a.architecture.width != pair.b.architecture.width:
        return Evidence("embeddings", "none", said("Their residual streams have other widths."), {"words": len(first)})
    # A narrow model fills a part of the bits; columns that are one sign throughout say nothing.
    width = min(ROW_SIGNS, pair.a.architecture.width)
    one, two = (np.unpackbits(print_.embedding[places], axis=1, count=width) * 2.0 - 1
                for print_, places in ((pair.a, first), (pair.b, second)))
    cosine = float(((one - one.mean(0)) * (two - two.mean(0))).mean())
    figures = {"cosine": round(cosine, 4), "words": len(first)}
    places = {"words": len(first), "cosine": f"{cosine:.2f}"}
    if cosine >= LINE:
        return Evidence("embeddings", "strong", said(
            "Signs of the embeddings of %(words)s shared words correlate at %(cosine)s: one basis of the residual "
            "stream.", **places), figures)
    return Evidence("embeddings", "none", said(
        "Signs of the embeddings of %(words)s shared words correlate at %(cosine)s: as in models with bases of their "
        "own.", **places), figures)


EVIDENCE = look
