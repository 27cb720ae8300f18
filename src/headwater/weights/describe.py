"""Say what a model is: its shape, size, type of numbers, tokenizer and chat template, from headers and small files.

What no file says is None ("not measured"), never zero and never a default a library might fill in. Nothing is loaded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from headwater.weights.ggml_types import FILE_TYPES
from headwater.weights.header import Clip, Header

PACKED = frozenset({"gptq", "awq", "bitsandbytes", "compressed-tensors", "hqq", "aqlm", "quip", "eetq", "vptq", "spqr",
                    "auto-round", "mlx"})
"""Quantisation methods that keep several parameters in one element, so elements are no parameters."""

_NESTED = ("text_config", "llm_config", "language_config", "thinker_config")
_CONFIG: dict[str, tuple[str, ...]] = {
    "layers": ("num_hidden_layers", "n_layer", "num_layers", "n_layers"),
    "hidden_size": ("hidden_size", "n_embd", "d_model", "dim"),
    "heads": ("num_attention_heads", "n_head", "num_heads", "n_heads"),
    "kv_heads": ("num_key_value_heads", "num_kv_heads", "n_kv_heads", "multi_query_group_num"),
    "context_length": ("max_position_embeddings", "n_positions", "seq_length", "max_seq_len", "model_max_length",
                       "max_sequence_length", "n_ctx"),
    "vocabulary": ("vocab_size", "padded_vocab_size"),
    "experts": ("num_local_experts", "n_routed_experts", "num_experts"),
}
_GGUF: dict[str, str] = {
    "layers": "block_count", "hidden_size": "embedding_length", "heads": "attention.head_count",
    "kv_heads": "attention.head_count_kv", "context_length": "context_length", "vocabulary": "vocab_size",
    "experts": "expert_count",
}
_GGUF_TOKENIZERS = {"llama": "SentencePiece", "gpt2": "byte-level BPE", "bert": "WordPiece", "t5": "Unigram",
                    "rwkv": "RWKV", "plamo2": "PLaMo 2"}
_TOKENIZER_FILES = (("tokenizer.json", "Hugging Face tokenizers"), ("tokenizer.model", "SentencePiece"),
                    ("spiece.model", "SentencePiece"), ("vocab.txt", "WordPiece"), ("tekken.json", "Tekken"))


class Template(NamedTuple):
    """A chat template and the file it came from."""

    text: str
    source: str


@dataclass(frozen=True)
class Papers:
    """The small files of a repo that speak of the model, as far as it has them.

    files: names at the root of the repo. licence: what the card says.
    """

    config: Mapping[str, Any] | None = None
    tokenizer_config: Mapping[str, Any] | None = None
    chat_template: str | None = None
    processor_template: str | None = None
    files: tuple[str, ...] = ()
    licence: str | None = None


@dataclass(frozen=True)
class Description:
    """parameters: None where elements are packed, or no header was read. elements, nbytes: by dtype, as stored.

    dtype: the type that most bytes are of. quantisation: how the makers name it (Q4_K_M, gptq 4-bit), None if plain.
    architecture: the class (LlamaForCausalLM) or GGUF's name (llama); family: config's model_type, or the latter.
    """

    format: str | None = None
    architecture: str | None = None
    family: str | None = None
    layers: int | None = None
    hidden_size: int | None = None
    heads: int | None = None
    kv_heads: int | None = None
    experts: int | None = None
    context_length: int | None = None
    vocabulary: int | None = None
    tied_embeddings: bool | None = None
    parameters: int | None = None
    elements: dict[str, int] = field(default_factory=dict)
    nbytes: dict[str, int] = field(default_factory=dict)
    dtype: str | None = None
    quantisation: str | None = None
    tokenizer: str | None = None
    chat_template: Template | None = None
    licence: str | None = None


def describe(header: Header | None, papers: Papers, *, header_path: str = "the GGUF file") -> Description:
    """header: the model's, merged if it is in parts; header_path names it as a template's source."""
    said = header.metadata if header is not None and header.format == "gguf" else {}
    config = papers.config or {}
    shape = {name: _from_config(config, keys) for name, keys in _CONFIG.items()}
    name = _text(said.get("general.architecture"))
    shape = {key: _from_gguf(said, name, _GGUF[key]) if value is None else value for key, value in shape.items()}
    if shape["vocabulary"] is None:
        shape["vocabulary"] = _token_count(said)
    nbytes = header.bytes_by_dtype if header is not None else {}
    return Description(
        format=header.format if header is not None else None,
        architecture=_architecture(config) or name,
        family=_text(config.get("model_type")) or name,
        tied_embeddings=_tied(header, config),
        parameters=(header.parameter_count or None) if header is not None and _method(config) not in PACKED else None,
        elements=header.parameters if header is not None else {},
        nbytes=nbytes,
        dtype=max(nbytes, key=lambda dtype: nbytes[dtype]) if nbytes else None,
        quantisation=_quantisation(config, said),
        tokenizer=_tokenizer(papers, said),
        chat_template=_template(papers, said, header_path),
        licence=papers.licence or _text(said.get("general.license")),
        **shape,
    )


def _from_config(config: Mapping[str, Any], keys: Iterable[str]) -> int | None:
    """The first of these keys that holds a count, in the config or in the part of it that is the language model."""
    places = [config, *(config[name] for name in _NESTED if isinstance(config.get(name), dict))]
    return next((found for place in places for key in keys if (found := _count(place.get(key))) is not None), None)


def _from_gguf(said: Mapping[str, Any], name: str | None, key: str) -> int | None:
    """A value given for each layer counts only if all layers have the same."""
    value = said.get(f"{name}.{key}")
    if isinstance(value, Clip):
        return None
    if isinstance(value, tuple):
        value = value[0] if value and len(set(value)) == 1 else None
    return _count(value)


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 < value < 1 << 53 else None


def _text(value: Any, limit: int = 200) -> str | None:
    return value[:limit] if isinstance(value, str) and value.strip() else None


def _architecture(config: Mapping[str, Any]) -> str | None:
    names = config.get("architectures")
    first = names[0] if isinstance(names, list) and names else config.get("_class_name")
    return _text(first)


def _token_count(said: Mapping[str, Any]) -> int | None:
    tokens = said.get("tokenizer.ggml.tokens")
    if isinstance(tokens, Clip):
        return tokens.length
    return _count(len(tokens)) if isinstance(tokens, tuple) else None


def _tied(header: Header | None, config: Mapping[str, Any]) -> bool | None:
    """Whether words are read and written with one matrix: the weights say so, or else the config."""
    names = {tensor.name for tensor in header.tensors} if header is not None else set()
    if header is not None and header.format == "gguf":
        return ("output.weight" not in names) if "token_embd.weight" in names else None
    said = config.get("tie_word_embeddings")
    said = said if isinstance(said, bool) else None
    embeds = any(name.endswith(("embed_tokens.weight", "wte.weight", "word_embeddings.weight")) for name in names)
    heads = any(name.endswith(("lm_head.weight", "embed_out.weight")) for name in names)
    if embeds and not heads and (_architecture(config) or "").endswith(("ForCausalLM", "LMHeadModel")):
        return True
    return said


def _method(config: Mapping[str, Any]) -> str | None:
    settings = config.get("quantization_config")
    return _text(settings.get("quant_method")) if isinstance(settings, dict) else None


def _quantisation(config: Mapping[str, Any], said: Mapping[str, Any]) -> str | None:
    """Q4_K_M for GGUF; "gptq 4-bit" for a method named in the config."""
    if said:
        name = FILE_TYPES.get(said.get("general.file_type", -1)) if _is_int(said.get("general.file_type")) else None
        return None if name in ("F32", "F16", "BF16") else name
    method, settings = _method(config), config.get("quantization_config")
    if method is None or not isinstance(settings, dict):
        return None
    bits = _count(settings.get("bits") or settings.get("w_bit"))
    if settings.get("load_in_4bit") is True:
        bits = 4
    elif settings.get("load_in_8bit") is True:
        bits = 8
    return f"{method} {bits}-bit" if bits else method


def _is_int(value: Any) -> bool:
    return type(value) is int


def _tokenizer(papers: Papers, said: Mapping[str, Any]) -> str | None:
    """The class the tokenizer's config names, else what the file beside it is, else GGUF's kind."""
    named = _text((papers.tokenizer_config or {}).get("tokenizer_class"))
    if named:
        return named
    for file, kind in _TOKENIZER_FILES:
        if file in papers.files:
            return kind
    if any(file.endswith(".tiktoken") for file in papers.files):
        return "tiktoken"
    kind = _text(said.get("tokenizer.ggml.model"))
    pre = _text(said.get("tokenizer.ggml.pre"))
    shown = _GGUF_TOKENIZERS.get(kind, kind) if kind else None
    return f"{shown} ({pre})" if shown and pre and pre != "default" else shown


def _template(papers: Papers, said: Mapping[str, Any], header_path: str) -> Template | None:
    """chat_template.jinja before chat_template.json before tokenizer_config.json before the GGUF file."""
    if papers.chat_template is not None:
        return Template(papers.chat_template, "chat_template.jinja")
    if papers.processor_template is not None:
        return Template(papers.processor_template, "chat_template.json")
    value = (papers.tokenizer_config or {}).get("chat_template")
    if isinstance(value, list):  # several, by name: [{"name": "default", "template": "..."}]
        value = next((t.get("template") for t in value if isinstance(t, dict) and t.get("name") == "default"), None)
    if isinstance(value, str):
        return Template(value, "tokenizer_config.json")
    value = said.get("tokenizer.chat_template")
    return Template(value, header_path) if isinstance(value, str) else None
