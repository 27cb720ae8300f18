"""The rows of docs/families.md, as the conformance tests measure them; tools/families.py writes the page.

A row says what was heard when the family was talked with; the test that hears it fails where the page says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from conversations import FAMILIES, IN_TORCH, Family

from headwater.weights.speech import Speech

PAGE = Path(__file__).parents[2] / "docs" / "families.md"
HEAD = """# Model families

Written by `tools/families.py` from the conformance tests (`tests/families`), which fail where a row is no longer true.
Each family is talked with end to end: a tiny model of its real architecture under its genuine vocabulary (or one in
the genuine layout, where no package carries it), whose answer provably ends with each of its ends in turn. That it
*works* means: the prompt sent is the one its template makes, token by token, with BOS as often as the column says; the
answer stops at every end, and no mark of a turn stands in it.

| family | engine | architecture | template | BOS | ends | thinking |
|---|---|---|---|---|---|---|
"""
LEFT_OUT = (
    ("llamacpp", "Llama 3", "the template's own date", "llama.cpp hands Llama 3's templates today's date; transformers "
     "writes the one in the template (26 Jul 2024)"),
    ("llamacpp", "Baichuan 1, 2", "roles as text", "`<reserved_106>` is a token that text never becomes: its number is "
     "sent instead. A request with tools goes as text all the same, and its roles in pieces"),
    ("llamacpp", "Baichuan 2", "NormHead", "llama.cpp has none: the head must have been normalised when the GGUF was "
     "made, as Baichuan's own notes say; `headwater doctor` measures its rows and says when it was not"),
    ("llamacpp", "DeepSeek", "its end as text", "with some of its templates llama.cpp writes the end into the answer; "
     "it is cut off as a stop text"),
    ("llamacpp", "DeepSeek V3.1, R1 distilled", "llama.cpp's habit of switching thinking on", "unasked, the template's "
     "own default holds"),
    ("llamacpp", "LLaVA, MiniCPM-V, Llama 3-V", "pictures without a projector", "refused, naming what is missing: a "
     "text model answers fluently about a picture it never saw"),
    ("transformers", "Qwen 1, Baichuan, MiniCPM 1 and 2", "the whole family", "transformers has no class for them, and "
     "code of a repo is not run; use GGUF"),
    ("transformers", "all", "tools, JSON schemas, logprobs, bare prompts", "refused, naming the engine"),
    ("transformers", "all", "top_p, penalties, the thinking switch", "told as not honoured or ignored; the template's "
     "own default holds"),
    ("both", "without a switch", "reasoning_effort, enable_thinking, thinking, think", "told as ignored: the template "
     "is tried both ways, and the prompt is the same"),
)
"""engine, family, what, reason."""


def row(family: Family, engine: str, speech: Speech, ends: Mapping[int, str]) -> str:
    """ends: the tokens the answers really ended with, and their texts."""
    template = speech.template.source if speech.template else "none"
    if not template.startswith("default"):
        template = "its own"
    written = speech.template and ("bos_token" in speech.template.text or (speech.bos or "-") in speech.template.text)
    bos = f"{_code(speech.bos)} once" if speech.bos and (speech.adds_bos or written) else "none"
    thinking = {None: "no switch", True: "switch, on by itself", False: "switch, off by itself"}[speech.thinking]
    if any(remark.code == "thinks" for remark in speech.remarks):
        thinking = "always" if speech.thinking is None else thinking
    named = ", ".join(f"{_code(text)} ({number})" for number, text in sorted(ends.items()))
    kind = family.shape.gguf if engine == "llamacpp" else family.shape.hf
    return f"| {family.name} | {engine} | `{kind}` | {template} | {bos} | {named} | {thinking} |"


def _code(text: str) -> str:
    return "`" + text.replace("|", "\\|") + "`"


def missing(family: Family) -> str | None:
    """The row of a family the engine transformers is not tried with; None where it is."""
    if family.name in IN_TORCH:
        return None
    why = ("as the rows of its architecture: only the template differs" if family.shape.hf
           else "not run: transformers has no class for it")
    return f"| {family.name} | transformers | {why} | | | | |"


def page(rows: Mapping[tuple[str, str], str]) -> str:
    """rows: by family and engine."""
    lines = []
    for family in FAMILIES:
        lines.append(rows[family.name, "llamacpp"])
        lines.append(missing(family) or rows[family.name, "transformers"])
    left = "".join(f"| {' | '.join(one)} |\n" for one in LEFT_OUT)
    return (HEAD + "\n".join(lines) + "\n\n## What each engine leaves out, and why\n\n"
            "| engine | family | what | reason |\n|---|---|---|---|\n" + left)
