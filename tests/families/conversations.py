"""The families a repo may be of: what is genuine of each, what must hold, and where it stops."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import talkers
from llama_cpp_files import template, vocabulary
from talkers import Shape
from tokenizers_made import write_tokenizer
from vocabularies import NORMAL, USER, Vocabulary, genuine

from headwater.weights.describe import Template
from headwater.weights.gguf import read_header
from headwater.weights.marks import Mark, from_gguf
from headwater.weights.source import FileSource
from headwater.weights.speech import Voice

CHATML = ("{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
          "'<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")
LLAMA2 = ("{% if messages[0]['role'] == 'system' %}{% set system = messages[0]['content'] %}{% set rest = messages[1:] "
          "%}{% else %}{% set system = false %}{% set rest = messages %}{% endif %}{% for message in rest %}{% if "
          "(message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}"
          "{% endif %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' }}{% if loop.first and system %}"
          "{{ '<<SYS>>\n' + system + '\n<</SYS>>\n\n' }}{% endif %}{{ message['content'] + ' [/INST]' }}"
          "{% else %}{{ ' ' + message['content'] + ' ' + eos_token }}{% endif %}{% endfor %}")
MINICPM = ("{% for message in messages %}{% if message['role'] == 'user' %}{{'<用户>' + message['content'].strip() + "
           "'<AI>'}}{% else %}{{message['content'].strip()}}{% endif %}{% endfor %}")


@dataclass(frozen=True)
class Family:
    """vocab: a genuine vocabulary, or marks in the genuine numbers. template: a genuine file, or our wording of a
    short one. opened: the end of the prompt for one user message. stops: of the answer. remarks: codes that must be
    there; bad ones must not, unless named here.

    shape, whole: the architecture and the vocabulary a tiny model of it is written with. said: what its GGUF files say
    over that vocabulary. ends: the tokens such a model ends with, the second when it is asked for `again`. roles: marks
    that are sent as numbers, because text never becomes them. dated: the template writes the day it is told. hf: the
    papers of its safetensors, where a GGUF repo goes without.
    """

    name: str
    stops: frozenset[int]
    opened: str
    vocab: str | None = None
    marks: Mapping[str, int] = field(default_factory=dict)
    file: str | None = None
    text: str | None = None
    papers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    bos: str | None = None
    remarks: frozenset[str] = frozenset()
    shape: Shape = talkers.LLAMA
    whole: Callable[[], Vocabulary] = field(default=lambda: genuine("llama-spm"))
    said: Mapping[str, Any] = field(default_factory=dict)
    ends: tuple[int, ...] = (2,)
    dated: bool = False
    roles: Mapping[str, int] = field(default_factory=dict)
    hf: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def wording(self) -> str | None:
        """The chat template, None for a family whose files bring none."""
        return template(self.file) if self.file else self.text

    def write_gguf(self, folder: Path) -> Path:
        """A repo of one file, as such repos are: template and ends in the GGUF and nowhere else."""
        folder.mkdir(parents=True)
        said = {f"tokenizer.{name}": value for name, value in self.said.items()}
        talkers.write_gguf(folder / "model-F16.gguf", self.shape, self.whole(), self.ends,
                           {"tokenizer.chat_template": self.wording, **said})
        return folder

    def write_safetensors(self, folder: Path) -> Path:
        """A repo as transformers loads it: config.json, generation_config.json, tokenizer and weights."""
        vocab, papers = self.whole(), self.hf or self.papers
        talkers.write_safetensors(folder, self.shape, vocab, self.ends, papers.get("config", {}))
        (folder / "generation_config.json").write_text(json.dumps(papers.get("generation", {})))
        write_tokenizer(folder, vocab, papers["tokenizer"], self.wording)
        return folder

    def voice(self) -> Voice:
        marks, said = {text: Mark(number, True) for text, number in self.marks.items()}, {}
        if self.vocab:
            with FileSource(vocabulary(self.vocab)) as source:
                marks = from_gguf(source) | marks
            with FileSource(vocabulary(self.vocab)) as source:
                said = dict(read_header(source).metadata)
        said.pop("tokenizer.chat_template", None)
        text = self.wording
        return Voice(self.papers.get("config", {}), self.papers.get("generation", {}), self.papers.get("tokenizer", {}),
                     said, marks, Template(text, self.file or "tokenizer_config.json") if text else None)


DEEPSEEK2 = ("{{ bos_token }}{% for message in messages %}{% if message['role'] == 'user' %}{{ 'User: ' + "
             "message['content'] + '\n\n' }}{% elif message['role'] == 'assistant' %}{{ 'Assistant: ' + "
             "message['content'] + eos_token }}{% else %}{{ message['content'] + '\n\n' }}{% endif %}{% endfor %}"
             "{% if add_generation_prompt %}{{ 'Assistant:' }}{% endif %}")


def yi() -> Vocabulary:
    return genuine("llama-spm").shifted(3, {**_YI, "<fim_prefix>": 14})


def qwen3() -> Vocabulary:
    return genuine("qwen2").with_marks({"<think>": 151667, "</think>": 151668}, USER)


def baichuan2() -> Vocabulary:
    """Baichuan's pieces under Baichuan 2's names; the marks of its roles are ordinary pieces, as in its own file."""
    return genuine("baichuan").with_marks({"<reserved_106>": 195, "<reserved_107>": 196}, NORMAL)


def deepseek() -> Vocabulary:
    """V3's numbers over the pieces of DeepSeek's first models."""
    first = {text: number for text, number in _DS.items() if number < 2}
    return genuine("deepseek-llm").shifted(0, first).with_marks(_DS)


_IM = "<|im_start|>assistant\n"
_L3 = "<|start_header_id|>assistant<|end_header_id|>\n\n"
_DS = {"<｜begin▁of▁sentence｜>": 0, "<｜end▁of▁sentence｜>": 1, "<｜User｜>": 128803, "<｜Assistant｜>": 128804,
       "<think>": 128798, "</think>": 128799}
_DS_SAYS = {"ggml.bos_token_id": 0, "ggml.eos_token_id": 1, "ggml.padding_token_id": 1, "ggml.add_bos_token": True,
            "ggml.pre": "deepseek-v3"}
_DS_PAPERS = {"tokenizer": {"bos_token": {"__type": "AddedToken", "content": "<｜begin▁of▁sentence｜>"},
                            "add_bos_token": True,
                            "eos_token": {"__type": "AddedToken", "content": "<｜end▁of▁sentence｜>"}},
              "config": {"eos_token_id": 1}}
_QWEN_PAPERS = {"tokenizer": {"bos_token": None, "eos_token": "<|im_end|>", "add_bos_token": False},
                "config": {"eos_token_id": 151645, "bos_token_id": 151643},
                "generation": {"eos_token_id": [151645, 151643]}}
_L3_PAPERS = {"tokenizer": {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>", "add_bos_token": True},
              "config": {"eos_token_id": [128001, 128009], "bos_token_id": 128000},
              "generation": {"eos_token_id": [128001, 128009]}}
_L2_PAPERS = {"tokenizer": {"bos_token": "<s>", "eos_token": "</s>", "add_bos_token": True},
              "config": {"eos_token_id": 2, "bos_token_id": 1}}
_V2_PAPERS = {"tokenizer": {"bos_token": "<｜begin▁of▁sentence｜>", "eos_token": "<｜end▁of▁sentence｜>",
                            "add_bos_token": True}, "config": {"eos_token_id": 100001, "bos_token_id": 100000}}
_YI = {"<|startoftext|>": 1, "<|endoftext|>": 2, "<|im_start|>": 6, "<|im_end|>": 7}
_YI_SAYS = {"ggml.bos_token_id": 1, "ggml.eos_token_id": 2, "ggml.add_bos_token": False}
_YI_PAPERS = {"config": {"eos_token_id": 2, "bos_token_id": 1}, "generation": {"eos_token_id": 7},
              "tokenizer": {"eos_token": "<|endoftext|>", "bos_token": "<|startoftext|>", "add_bos_token": False}}

FAMILIES = (
    Family("Yi", frozenset({2, 7}), _IM, marks=_YI, text=CHATML, papers=_YI_PAPERS, bos="<|startoftext|>",
           whole=yi, said=_YI_SAYS, ends=(2, 7)),
    Family("Yi, no template", frozenset({2, 7}), _IM, marks=_YI, papers=_YI_PAPERS, bos="<|startoftext|>",
           remarks=frozenset({"default"}),
           whole=yi, said=_YI_SAYS, ends=(2, 7)),
    Family("Llama 2", frozenset({2}), "[/INST]", vocab="llama-spm", text=LLAMA2, bos="<s>", hf=_L2_PAPERS,
           remarks=frozenset({"double-bos", "no-opening"})),
    Family("Llama 3", frozenset({128001, 128009}), _L3, vocab="llama-bpe", file="meta-llama-Llama-3.1-8B-Instruct",
           bos="<|begin_of_text|>", remarks=frozenset({"double-bos", "end-unnamed"}), dated=True, hf=_L3_PAPERS,
           shape=talkers.LLAMA_GROUPED, whole=lambda: genuine("llama-bpe"), ends=(128009, 128001)),
    Family("Llama 3, no template", frozenset({128001, 128009}), _L3, vocab="llama-bpe", bos="<|begin_of_text|>",
           hf=_L3_PAPERS,
           remarks=frozenset({"default"}),
           shape=talkers.LLAMA_GROUPED, whole=lambda: genuine("llama-bpe"), ends=(128009, 128001)),
    Family("Qwen 1", frozenset({151643, 151645}), _IM,
           marks={"<|endoftext|>": 151643, "<|im_start|>": 151644, "<|im_end|>": 151645},
           papers={"generation": {"eos_token_id": 151643}}, remarks=frozenset({"default", "no-bos"}),
           shape=talkers.QWEN, whole=lambda: genuine("qwen2"), ends=(151645, 151643)),
    Family("Qwen 2", frozenset({151643, 151645}), _IM, vocab="qwen2", text=CHATML, papers=_QWEN_PAPERS,
           remarks=frozenset({"no-bos"}),
           shape=talkers.QWEN2, whole=lambda: genuine("qwen2"), ends=(151645, 151643)),
    Family("Qwen 2.5", frozenset({151643, 151645}), _IM, vocab="qwen2", file="Qwen-Qwen2.5-7B-Instruct",
           hf=_QWEN_PAPERS,
           remarks=frozenset({"no-bos", "end-unnamed"}),
           shape=talkers.QWEN2, whole=lambda: genuine("qwen2"), ends=(151645, 151643)),
    Family("Qwen 3", frozenset({151643, 151645}), _IM, vocab="qwen2", file="Qwen-Qwen3-0.6B", papers=_QWEN_PAPERS,
           remarks=frozenset({"no-bos", "switch"}),
           shape=talkers.QWEN3, whole=qwen3, ends=(151645, 151643)),
    Family("Baichuan 2", frozenset({2}), "<reserved_107>",
           marks={"<s>": 1, "</s>": 2, "<reserved_106>": 195, "<reserved_107>": 196},
           papers={"config": {"eos_token_id": 2}}, remarks=frozenset({"default", "no-end"}),
           shape=talkers.BAICHUAN, whole=baichuan2, said={"ggml.add_bos_token": False},
           roles={"<reserved_106>": 195, "<reserved_107>": 196}),
    Family("Baichuan", frozenset({2}), "<reserved_103>", vocab="baichuan", bos="<s>",
           remarks=frozenset({"default", "pieces"}),
           shape=talkers.BAICHUAN, whole=lambda: genuine("baichuan"),
           roles={"<reserved_102>": 195, "<reserved_103>": 196}),
    Family("DeepSeek V2", frozenset({100001}), "Assistant:", vocab="deepseek-llm", text=DEEPSEEK2, hf=_V2_PAPERS,
           bos="<｜begin▁of▁sentence｜>", remarks=frozenset({"double-bos"}), shape=talkers.DEEPSEEK2,
           whole=lambda: genuine("deepseek-llm"), ends=(100001,)),
    Family("DeepSeek R1", frozenset({1}), "<｜Assistant｜><think>\n", marks=_DS, papers=_DS_PAPERS,
           file="llama-cpp-deepseek-r1", bos="<｜begin▁of▁sentence｜>", remarks=frozenset({"double-bos", "thinks"}),
           shape=talkers.DEEPSEEK3, whole=deepseek, said=_DS_SAYS, ends=(1,)),
    Family("DeepSeek R1 distilled", frozenset({1}), "<think>\n</think>", marks=_DS, papers=_DS_PAPERS,
           file="deepseek-ai-DeepSeek-R1-Distill-Qwen-32B", bos="<｜begin▁of▁sentence｜>",
           remarks=frozenset({"double-bos", "switch"}),
           shape=talkers.QWEN2, whole=deepseek, said=_DS_SAYS, ends=(1,)),
    Family("DeepSeek V3.1", frozenset({1}), "<｜Assistant｜><think></think>", marks=_DS, papers=_DS_PAPERS,
           file="deepseek-ai-DeepSeek-V3.1", bos="<｜begin▁of▁sentence｜>", remarks=frozenset({"double-bos"}),
           shape=talkers.DEEPSEEK3, whole=deepseek, said=_DS_SAYS, ends=(1,)),
    Family("MiniCPM", frozenset({2}), "<AI>", vocab="llama-spm", text=MINICPM, bos="<s>",
           papers={"tokenizer": {"bos_token": "<s>", "eos_token": "</s>", "add_bos_token": True}},
           remarks=frozenset({"no-opening", "no-end"}),
           shape=talkers.MINICPM),
)
IN_TORCH = ("Yi", "Llama 2", "Llama 3, no template", "Qwen 2.5", "Qwen 3", "DeepSeek V2", "DeepSeek R1")
"""Run by transformers in the suite; the others transformers has differ from one of these in their template alone."""
