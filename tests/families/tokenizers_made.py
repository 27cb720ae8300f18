"""tokenizer.json and tokenizer_config.json of a vocabulary, in the layout its family publishes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vocabularies import CONTROL, NORMAL, USER, Vocabulary

_WORDS = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}DIGITS| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
_DIGITS = {"llama-bpe": "{1,3}", "deepseek-v3": "{1,3}"}


def write_tokenizer(folder: Path, vocab: Vocabulary, papers: Mapping[str, Any], template: str | None) -> None:
    """papers: bos_token, eos_token, add_bos_token, as tokenizer_config.json has them."""
    marks = [{"id": n, "content": token.decode(), "single_word": False, "lstrip": False, "rstrip": False,
              "normalized": False, "special": kind == CONTROL}
             for n, (token, kind) in enumerate(zip(vocab.tokens, vocab.types, strict=True)) if kind in (CONTROL, USER)]
    made = {"version": "1.0", "truncation": None, "padding": None, "added_tokens": marks, "post_processor": None,
            **(_pieces(vocab) if vocab.model == "llama" else _bytes(vocab))}
    (folder / "tokenizer.json").write_text(json.dumps(made, ensure_ascii=False), "utf-8")
    said = {"tokenizer_class": "PreTrainedTokenizerFast", **papers}
    if template:
        said["chat_template"] = template
    (folder / "tokenizer_config.json").write_text(json.dumps(said, ensure_ascii=False), "utf-8")


def _bytes(vocab: Vocabulary) -> dict[str, Any]:
    words = _WORDS.replace("DIGITS", _DIGITS.get(vocab.said.get("tokenizer.ggml.pre", ""), ""))
    letters = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    cut = {"type": "Split", "pattern": {"Regex": words}, "behavior": "Isolated", "invert": False}
    return {"normalizer": None, "pre_tokenizer": {"type": "Sequence", "pretokenizers": [cut, letters]},
            "decoder": letters, "model": {
                "type": "BPE", "byte_fallback": False, "ignore_merges": vocab.said.get(
                    "tokenizer.ggml.pre") == "llama-bpe", "vocab": _numbers(vocab),
                "merges": [merge.decode() for merge in vocab.merges]}}


def _pieces(vocab: Vocabulary) -> dict[str, Any]:
    """SentencePiece's BPE: the pair to join first is the one whose piece has the highest score."""
    known = {token.decode("utf-8", "replace"): score for token, score, kind in
             zip(vocab.tokens, vocab.scores, vocab.types, strict=True) if kind == NORMAL}
    pairs = sorted((-score, len(piece), at, piece) for piece, score in known.items() for at in range(1, len(piece))
                   if piece[:at] in known and piece[at:] in known)
    space = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
    return {"normalizer": {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, space]},
            "pre_tokenizer": None,
            "decoder": {"type": "Sequence", "decoders": [
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"},
                {"type": "Fuse"}]},
            "model": {"type": "BPE", "byte_fallback": True, "fuse_unk": True, "unk_token": "<unk>",
                      "vocab": _numbers(vocab),
                      "merges": [[piece[:at], piece[at:]] for _, _, at, piece in pairs]}}


def _numbers(vocab: Vocabulary) -> dict[str, int]:
    return {token.decode("utf-8", "replace"): n for n, token in enumerate(vocab.tokens)}
