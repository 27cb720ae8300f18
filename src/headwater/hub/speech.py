"""How the model of a revision is spoken with: gathers the files that weights/speech.py judges. Kept in memory,
because a revision never changes and its template runs in a process of its own."""

from __future__ import annotations

from dataclasses import replace

from headwater.core.errors import CorruptFile, HeadwaterError
from headwater.core.types import Commit, Repo
from headwater.hub import Hub, browse
from headwater.hub.facts import _Kept, _Look, facts
from headwater.weights import marks
from headwater.weights.header import Header
from headwater.weights.source import RangeSource
from headwater.weights.speech import Remark, Speech, Voice, audit
from headwater.weights.values import row_count, rows

KEPT = 256
HEAD_ROWS = 256
PIECES_BYTES = 16_000_000
"""Bytes of a SentencePiece model that are read; Gemma's, the largest seen, has 4 MB."""


def speech(hub: Hub, repo: Repo, commit: Commit) -> Speech | None:
    """None for a revision that has nothing to do with text. Raises nothing for files that are corrupt: what they
    would have said is missing. Takes some 0.3 s the first time."""
    return _speeches.get((repo.id, commit.oid), lambda: _listen(hub, repo, commit))


def _listen(hub: Hub, repo: Repo, commit: Commit) -> Speech | None:
    found = facts(hub, repo, commit)
    said = found.model.metadata if found.model is not None and found.model.format == "gguf" else {}
    look = _Look(hub, commit)
    tokenizer = look.object("tokenizer_config.json") or {}
    if found.description.chat_template is None and not tokenizer and "tokenizer.ggml.model" not in said:
        return None
    path = next(iter(found.headers), "") if said else None
    voice = Voice(look.object("config.json") or {}, look.object("generation_config.json") or {}, tokenizer, said,
                  _marks(look, path, tokenizer), found.description.chat_template)
    heard = audit(voice)
    if path and (lengths := _head_lengths(voice, look, path, found.headers[path])):
        low, high = lengths
        if not 0.9 < low <= high < 1.1:
            heard = replace(heard, remarks=(*heard.remarks, Remark("plain-head", {"low": f"{low:.2f}",
                                                                                  "high": f"{high:.2f}"})))
    return heard


def _head_lengths(voice: Voice, look: _Look, path: str, header: Header) -> tuple[float, float] | None:
    """The least and the greatest length among the first rows of Baichuan 2's head; None for every other model."""
    role = (voice.marks or {}).get("<reserved_106>")
    head = next((tensor for tensor in header.tensors if tensor.name == "output.weight"), None)
    if voice.gguf.get("general.architecture") != "baichuan" or role is None or role.id != 195 or head is None:
        return None
    entry = look.entries[path]
    source = RangeSource(entry.size, lambda a, b: b"".join(browse.read(look.hub, entry, a, b)))
    try:
        lengths = [float((row * row).sum() ** 0.5) for row in rows(source, head, 0, min(HEAD_ROWS, row_count(head)))]
    except (CorruptFile, HeadwaterError):
        return None
    return (min(lengths), max(lengths)) if lengths else None


def _marks(look: _Look, gguf_path: str | None, tokenizer: dict) -> marks.Marks | None:
    """Of the files that are there together; None when none of them could be read."""
    known: dict[str, marks.Mark] = {}
    try:
        if gguf_path and (entry := look.entries.get(gguf_path)):
            known |= marks.from_gguf(RangeSource(entry.size, lambda a, b: b"".join(
                browse.read(look.hub, entry, a, b))))
        if (entry := look.entries.get("tokenizer.model")) and entry.size <= PIECES_BYTES:
            known |= marks.from_sentencepiece(browse.read_small(look.hub, entry, PIECES_BYTES))
        if entry := look.entries.get("tokenizer.json"):
            head = b"".join(browse.read(look.hub, entry, 0, min(entry.size, marks.TOKENIZER_HEAD)))
            known |= marks.from_tokenizer_json(head)
    except (CorruptFile, HeadwaterError):
        return None  # told by facts() or by the engine, which read the same file whole
    known |= marks.from_papers(tokenizer, look.object("added_tokens.json") or {})
    return known or None


_speeches: _Kept[Speech | None] = _Kept(KEPT, lambda _: 1)
