"""Chat over safetensors by transformers and torch: the engine for what is in no GGUF. The extra [torch] brings both.

No code of a repo is run (trust_remote_code is off) and no pickle is read. Template, BOS and ends are those of
weights/speech.py, so they are what the pages and `headwater doctor` say. One answer at a time.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from headwater.core.types import Snapshot
from headwater.engines import _worker

WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
TOKENIZERS = frozenset({"tokenizer.json", "tokenizer.model", "vocab.json"})
SPEAKS = frozenset({"generation_config.json", "chat_template.jinja"})
"""A repo with neither is an encoder or an adapter more often than a model that writes."""
PREFILL = 128
"""Prompt tokens computed before a hang-up is looked for."""


class Transformers:
    name = "transformers"
    slots = 1

    def available(self) -> str | None:
        missing = [name for name in ("torch", "transformers") if find_spec(name) is None]
        return f"{' and '.join(missing)} not installed: pip install 'headwater[torch]'" if missing else None

    def build(self) -> str:
        try:
            return f"transformers {version('transformers')} (torch {version('torch')})"
        except PackageNotFoundError:
            return "transformers (not installed)"

    def accepts(self, files: Sequence[str]) -> str | None:
        there = set(files)
        if "config.json" not in there or not there & TOKENIZERS or not there & SPEAKS:
            return None
        return next((path for path in WEIGHTS if path in there), None)

    def command(self, snapshot: Snapshot, path: str, *, port: int, threads: int, context: int) -> list[str]:
        return _worker.command(__name__, Path(snapshot.folder) / path, port=port, threads=threads, context=context)


ENGINE = Transformers()


class Causal:
    """A loaded model and its tokenizer."""

    def __init__(self, folder: Path, threads: int, context: int):
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        torch.set_num_threads(threads)
        safe = {"trust_remote_code": False, "local_files_only": True}
        self.tokenizer = AutoTokenizer.from_pretrained(folder, **safe)
        self.model = AutoModelForCausalLM.from_pretrained(folder, use_safetensors=True, dtype="auto", **safe).eval()
        trained = getattr(self.model.config, "max_position_embeddings", None)
        self.context = min(context, trained) if isinstance(trained, int) else context
        self.speech = _speech(folder, self.tokenizer)
        self.ends = {stop.id for stop in self.speech.stops}
        self.turn = asyncio.Lock()

    def check(self, messages: Sequence[dict[str, Any]]) -> None:
        """Raises Refused for a conversation the template or the context does not take."""
        if (length := self.count(messages)) >= self.context:
            raise _worker.Refused(f"The conversation has {length} tokens; this model is loaded with {self.context}.")

    def count(self, messages: Sequence[dict[str, Any]]) -> int:
        return len(self._encode(messages))

    def _encode(self, messages: Sequence[dict[str, Any]]) -> list[int]:
        from headwater.weights.template import Case, TemplateFailed, one_bos, render

        if self.speech.template is None:
            raise _worker.Refused("This model has no chat template.")
        words = {"bos_token": self.speech.bos or "", "eos_token": self.tokenizer.eos_token or ""}
        try:
            text = render(self.speech.template.text, Case(messages, True, words))
        except TemplateFailed as error:
            raise _worker.Refused(f"The chat template refuses this: {error.message}") from None
        text = one_bos(text, self.speech.bos, self.speech.adds_bos)
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    async def reply(self, messages: Sequence[dict[str, Any]], *, seed: int, temperature: float) -> AsyncGenerator[str]:
        import torch

        prompt = self._encode(messages)
        dice, said = torch.Generator().manual_seed(seed), _Said(self.tokenizer)
        async with self.turn:
            logits, past = None, None
            for start in range(0, len(prompt), PREFILL):
                logits, past = await asyncio.to_thread(self._step, prompt[start:start + PREFILL], past)
            for _ in range(self.context - len(prompt)):
                token = _draw(logits, temperature, dice)
                if token in self.ends:
                    return
                yield said.add(token)
                logits, past = await asyncio.to_thread(self._step, [token], past)
            raise _worker.Full

    def _step(self, tokens: list[int], past: Any) -> tuple[Any, Any]:
        """Logits (vocabulary,) after these tokens, and the cache with them in it."""
        import torch

        with torch.inference_mode():
            out = self.model(input_ids=torch.tensor([tokens]), past_key_values=past, use_cache=True)
        return out.logits[0, -1].float(), out.past_key_values


def _draw(logits: Any, temperature: float, dice: Any) -> int:
    import torch

    if temperature <= 0:
        return int(logits.argmax())
    return int(torch.multinomial(torch.softmax(logits / temperature, -1), 1, generator=dice))


class _Said:
    """Text out of tokens, whole characters only. A window of the last tokens is decoded, not the whole answer."""

    def __init__(self, tokenizer: Any):
        self.tokenizer, self.tokens = tokenizer, []
        self.window, self.told = 0, 0

    def add(self, token: int) -> str:
        """What this token lets be said; empty while a character is unfinished."""
        self.tokens.append(token)
        before, now = (self.tokenizer.decode(part, skip_special_tokens=True) for part in
                       (self.tokens[self.window:self.told], self.tokens[self.window:]))
        if len(now) <= len(before) or (now.endswith("\ufffd") and len(self.tokens) - self.told < 8):
            return ""
        self.window, self.told = self.told, len(self.tokens)
        return now[len(before):]


def _speech(folder: Path, tokenizer: Any) -> Any:
    from headwater.weights.describe import Papers, describe
    from headwater.weights.marks import Mark
    from headwater.weights.speech import Voice, audit
    from headwater.weights.template import render_all

    config, generation, said = (_object(folder / name) for name in
                                ("config.json", "generation_config.json", "tokenizer_config.json"))
    jinja = folder / "chat_template.jinja"
    papers = Papers(config, said, jinja.read_text("utf-8") if jinja.is_file() else None,
                    _object(folder / "chat_template.json").get("chat_template"))
    marks = {text: Mark(number, True) for text, number in tokenizer.get_added_vocab().items()}
    # this is a process with limits already, so the template needs no other
    return audit(Voice(config, generation, said, {}, marks, describe(None, papers).chat_template), render_all)


def _object(path: Path) -> dict[str, Any]:
    """The JSON object of a file; empty if there is none. Raises ValueError for what is no JSON."""
    value = json.loads(path.read_text("utf-8")) if path.is_file() else {}
    return value if isinstance(value, dict) else {}


def main() -> None:
    given, key = _worker.arguments("A transformers worker."), _worker.take_key()
    _worker.die_with_parent()
    try:
        model = Causal(given.path.parent, given.threads, given.context)
    except Exception as error:  # hundreds of classes of transformers read the files; whatever it was is told
        _worker.fail(f"transformers cannot load {given.path.name}: {type(error).__name__}: {error}".replace("\n", " "))
    _worker.serve(model, port=given.port, key=key)


if __name__ == "__main__":
    main()
