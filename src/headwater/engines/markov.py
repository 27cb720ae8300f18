"""A toy that chats without weights: a chain over the words of corpus.txt. Tutorial, test double and demo.

The repo has config.json {"model_type": "markov"} and corpus.txt. config may say `tokens_per_second`, to be slow
on purpose. A token is a word with the space before it, or one Chinese character; an answer ends with a sentence.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import re
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import Any

from headwater.core.types import Snapshot
from headwater.engines import _worker

TOKEN = re.compile(r"\s?[^\s\u3400-\u9fff，。！？]+|\s?[\u3400-\u9fff，。！？]")
ENDS = (".", "!", "?", "。", "！", "？")


class Chain:
    """The model: which tokens followed which, as often as they did."""

    def __init__(self, folder: Path):
        config = json.loads((folder / "config.json").read_text("utf-8"))
        if config.get("model_type") != "markov":
            raise ValueError(f"config.json says model_type {config.get('model_type')!r}, not 'markov'.")
        self.pause = 1 / config["tokens_per_second"] if config.get("tokens_per_second") else 0.0
        tokens = TOKEN.findall((folder / "corpus.txt").read_text("utf-8"))
        if not tokens:
            raise ValueError("corpus.txt has no words.")
        self.next: dict[str, list[str]] = {}
        for one, two in zip(tokens, [*tokens[1:], tokens[0]], strict=True):
            self.next.setdefault(one.strip(), []).append(two)
        self.first = [tokens[0]] + [two for one, two in itertools.pairwise(tokens) if one.endswith(ENDS)]

    def count(self, messages: Sequence[dict[str, Any]]) -> int:
        return sum(len(TOKEN.findall(message["content"])) for message in messages)

    async def reply(self, messages: Sequence[dict[str, Any]], *, seed: int, temperature: float) -> AsyncGenerator[str]:
        dice = random.Random(f"{seed} {messages}")
        choose = dice.choice if temperature > 0 else lambda options: max(sorted(set(options)), key=options.count)
        token = choose(self.first).lstrip()
        while True:
            await asyncio.sleep(self.pause)
            yield token
            if token.endswith(ENDS):
                return
            token = choose(self.next[token.strip()])


class Markov:
    name = "markov"
    slots = 64

    def available(self) -> str | None:
        return None

    def build(self) -> str:
        return "markov 1"

    def accepts(self, files: Sequence[str]) -> str | None:
        return "corpus.txt" if {"config.json", "corpus.txt"} <= set(files) else None

    def command(self, snapshot: Snapshot, path: str, *, port: int, threads: int, context: int) -> list[str]:
        return _worker.command(__name__, Path(snapshot.folder), port=port, threads=threads, context=context)


ENGINE = Markov()

if __name__ == "__main__":
    given, key = _worker.arguments("A markov worker."), _worker.take_key()
    _worker.die_with_parent()
    try:
        chain = Chain(given.path)
    except (OSError, ValueError, TypeError, ArithmeticError) as error:
        _worker.fail(f"markov cannot load this: {error}")
    _worker.serve(chain, port=given.port, key=key)
