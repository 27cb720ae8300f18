"""What a card declares of a model's descent, and the card that would say what was found. Reads and writes no files."""

from __future__ import annotations

from headwater.core.types import Card
from headwater.trace.judgement import Verdict

RELATIONS = {Verdict.DESCENDS: "finetune", Verdict.REENCODED: "quantized", Verdict.MERGE: "merge",
             Verdict.ADAPTER: "adapter", Verdict.PRUNED: "pruned", Verdict.UPCYCLED: "upcycled",
             Verdict.DEPTH_SCALED: "finetune", Verdict.IDENTICAL: "quantized"}
"""What a card calls it. Hugging Face knows the first four words; search here knows all."""
_MOST = 20


def bases_of(card: Card) -> list[tuple[str, str | None]]:
    """(name, relation or None) of each base model the card declares, in its order, each once."""
    named = card.data.get("base_model")
    relation = card.data.get("base_model_relation")
    relation = relation if isinstance(relation, str) and relation else None
    names = [named] if isinstance(named, str) else named if isinstance(named, list) else []
    return [(name, relation) for name in dict.fromkeys(n.strip() for n in names if isinstance(n, str))
            if 0 < len(name) <= 200][:_MOST]
