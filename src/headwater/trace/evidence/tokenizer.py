"""The words of the two vocabularies. Many unrelated models share a tokenizer: context, and a clue to direction."""

from __future__ import annotations

from headwater.trace.compared import Compared
from headwater.trace.judgement import Evidence


def look(pair: Compared) -> Evidence:
    one, two = pair.a.tokenizer, pair.b.tokenizer
    overlap = pair.vocabulary_overlap
    if overlap is None:
        return Evidence("tokenizer", "none", "One of them has no words to compare.", {"a": one.count, "b": two.count})
    figures = {"a": one.count, "b": two.count, "a_in_b": round(overlap[0], 3), "b_in_a": round(overlap[1], 3),
               "same": one.digest == two.digest}
    if one.digest == two.digest:
        return Evidence("tokenizer", "context", f"Both have the same {one.count:,} tokens.", figures)
    says = f"A has {one.count:,} tokens, B {two.count:,}; about {overlap[0]:.0%} of A's words are in B, " \
           f"{overlap[1]:.0%} of B's in A."
    return Evidence("tokenizer", "context", says, figures)


EVIDENCE = look
