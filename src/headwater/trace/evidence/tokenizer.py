"""The words of the two vocabularies. Many unrelated models share a tokenizer: context, and a clue to direction."""

from __future__ import annotations

from headwater.trace.compared import Compared
from headwater.trace.judgement import Evidence
from headwater.trace.said import said


def look(pair: Compared) -> Evidence:
    one, two = pair.a.tokenizer, pair.b.tokenizer
    overlap = pair.vocabulary_overlap
    if overlap is None:
        return Evidence("tokenizer", "none", said("One of them has no words to compare."),
                        {"a": one.count, "b": two.count})
    figures = {"a": one.count, "b": two.count, "a_in_b": round(overlap[0], 3), "b_in_a": round(overlap[1], 3),
               "same": one.digest == two.digest}
    if one.digest == two.digest:
        return Evidence("tokenizer", "context", said("Both have the same %(n)s tokens.", n=f"{one.count:,}"), figures)
    says = said("A has %(a)s tokens, B %(b)s; about %(a_in_b)s of A's words are in B, %(b_in_a)s of B's in A.",
                a=f"{one.count:,}", b=f"{two.count:,}", a_in_b=f"{overlap[0]:.0%}", b_in_a=f"{overlap[1]:.0%}")
    return Evidence("tokenizer", "context", says, figures)


EVIDENCE = look
