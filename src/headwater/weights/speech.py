"""How a model is spoken with: its template, where it stops, and what is wrong with either.

From the small files of a repo and the marks of its vocabulary; templates run in a child process (template.py).
Knows the families whose repos bring no template; knows no engine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from headwater.weights.describe import Template
from headwater.weights.marks import LOOKS, Mark, Marks
from headwater.weights.template import Case, Rendered, render_apart

_CHATML = ("{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + "
           "'<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")
_LLAMA3 = ("{{ bos_token }}{% for message in messages %}{{ '<|start_header_id|>' + message['role'] + "
           "'<|end_header_id|>\\n\\n' + message['content'] | trim + '<|eot_id|>' }}{% endfor %}"
           "{% if add_generation_prompt %}{{ '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{% endif %}")
_BAICHUAN = ("{%% for message in messages %%}{%% if message['role'] == 'system' %%}{{ message['content'] }}"
             "{%% elif message['role'] == 'user' %%}{{ '%s' + message['content'] }}"
             "{%% else %%}{{ '%s' + message['content'] }}{%% endif %%}{%% endfor %%}"
             "{%% if add_generation_prompt %%}{{ '%s' }}{%% endif %%}")
DEFAULTS: tuple[tuple[str, str, Mapping[str, int | None]], ...] = (
    ("Llama 3", _LLAMA3, {"<|start_header_id|>": None, "<|end_header_id|>": None, "<|eot_id|>": None}),
    ("ChatML (Yi, Qwen)", _CHATML, {"<|im_start|>": None, "<|im_end|>": None}),
    # roles are the tokens 195 and 196; the two generations spell those differently
    ("Baichuan 2", _BAICHUAN % ("<reserved_106>", "<reserved_107>", "<reserved_107>"),
     {"<reserved_106>": 195, "<reserved_107>": 196}),
    ("Baichuan", _BAICHUAN % ("<reserved_102>", "<reserved_103>", "<reserved_103>"),
     {"<reserved_102>": 195, "<reserved_103>": 196}),
)
"""(family, template, marks). A default is used only where the vocabulary has all its marks, at the numbers given."""


class Stop(NamedTuple):
    """A token that ends an answer. sources: the files that name it, or "the template"."""

    id: int
    text: str | None
    sources: tuple[str, ...]


State = Literal["ok", "note", "bad"]

SENTENCES: dict[str, tuple[State, str]] = {
    "stops": ("ok", "An answer ends at: %(tokens)s."),
    "no-stop": ("bad", "No file names a token that ends an answer, so answers end only at their greatest length."),
    "no-template": ("note", "No file brings a chat template, and no default fits the vocabulary. Engines guess one."),
    "default": ("note", "No file brings a chat template. The default for %(family)s is used: its marks are in the "
                        "vocabulary."),
    "broken": ("bad", "The template cannot be run: %(error)s"),
    "loses": ("bad", "The template leaves out what the user says."),
    "no-system": ("note", "The template takes no system message: %(error)s"),
    "drops-system": ("note", "The template leaves out the system message."),
    "no-opening": ("note", "The template does not open the model's turn (add_generation_prompt changes nothing)."),
    "thinks": ("note", "The template opens %(mark)s itself: what comes before its end is reasoning."),
    "switch": ("ok", "Thinking can be switched (enable_thinking)."),
    "double-bos": ("note", "The template writes %(mark)s and the tokenizer adds it too. Headwater sends it once."),
    "twice-bos": ("bad", "The template itself writes %(mark)s twice in front."),
    "no-bos": ("ok", "The model has no BOS, and none is sent."),
    "no-end": ("note", "The template writes nothing after an answer, so in a longer conversation the model does not "
                       "see where its turns ended."),
    "end-in-pieces": ("bad", "The template ends an answer with %(mark)s, which is no single token here: the model "
                             "cannot be stopped at it."),
    "pieces": ("note", "No single tokens of this vocabulary, so read as ordinary text: %(marks)s."),
    "end-unnamed": ("note", "No config names %(mark)s as an end, but the template ends answers with it. Headwater "
                            "stops there."),
    "plain-head": ("bad", "Baichuan 2 divides each row of its head by its length, and this file was made without: rows "
                          "are %(low)s to %(high)s long, so answers will be poor. Convert it again with llama.cpp's "
                          "own converter."),
    "unknown-marks": ("note", "The vocabulary cannot be read here, so marks were not checked."),
}
"""Code of a remark: its state, and the sentence in English. web/ has the same in other languages."""


class Remark(NamedTuple):
    code: str
    values: Mapping[str, str]

    @property
    def state(self) -> State:
        return SENTENCES[self.code][0]

    @property
    def says(self) -> str:
        return SENTENCES[self.code][1] % self.values


@dataclass(frozen=True)
class Voice:
    """What the files say of speaking. Any of them may be missing or say nonsense.

    gguf: its metadata. marks: None when the vocabulary is in no form that is read (tiktoken files).
    """

    config: Mapping[str, Any] = field(default_factory=dict)
    generation: Mapping[str, Any] = field(default_factory=dict)
    tokenizer: Mapping[str, Any] = field(default_factory=dict)
    gguf: Mapping[str, Any] = field(default_factory=dict)
    marks: Marks | None = None
    template: Template | None = None


@dataclass(frozen=True)
class Speech:
    """template: the one in force, None where engines must guess. bos: its text, None if there is none.

    adds_bos: whether the tokenizer puts BOS in front by itself. stops: the union over all files. thinking: whether the
    template has the model think when it is told nothing, None where it has no switch. pieces: marks of the template
    that have a number and are no single token to tokenizers (Baichuan's roles): they must be sent as numbers.
    """

    template: Template | None
    stops: tuple[Stop, ...]
    bos: str | None
    adds_bos: bool
    remarks: tuple[Remark, ...]
    thinking: bool | None = None
    pieces: Mapping[str, int] = field(default_factory=dict)


def choose_template(voice: Voice) -> Template | None:
    """The repo's own, else the default of a family whose marks the vocabulary has."""
    if voice.template is not None:
        return voice.template
    marks = voice.marks or {}
    return next((Template(text, f"default: {family}") for family, text, needed in DEFAULTS
                 if all(mark in marks and number in (None, marks[mark].id) for mark, number in needed.items())), None)


def pieces_of(voice: Voice) -> dict[str, int]:
    """As Speech.pieces. Only of a default template: what a repo's own writes as text is meant as text."""
    template, marks = choose_template(voice), voice.marks or {}
    return next(({mark: marks[mark].id for mark, number in needed.items() if number and not marks[mark].special}
                 for _, text, needed in DEFAULTS if voice.template is None and template and text == template.text), {})


def stop_set(voice: Voice, turn_end: str | None = None) -> tuple[Stop, ...]:
    """The union of what config, generation_config, tokenizer, GGUF and the template's turn end name."""
    found: dict[int, list[str]] = {}
    marks = voice.marks or {}

    def name(value: Any, source: str) -> None:
        for number in value if isinstance(value, list | tuple) else (value,):
            if type(number) is int and 0 <= number < 1 << 31 and len(found) < 64:
                found.setdefault(number, []).append(source)

    name(voice.config.get("eos_token_id"), "config.json")
    name(voice.generation.get("eos_token_id"), "generation_config.json")
    if (eos := marks.get(_token_text(voice.tokenizer.get("eos_token")) or "")) is not None:
        name(eos.id, "tokenizer_config.json")
    for which in ("eos", "eot", "eom"):
        name(voice.gguf.get(f"tokenizer.ggml.{which}_token_id"), f"GGUF {which}")
    if turn_end and (mark := marks.get(turn_end)) and mark.special:
        name(mark.id, "the template")
    texts = {mark.id: text for text, mark in marks.items()}
    return tuple(Stop(number, texts.get(number), tuple(sources)) for number, sources in sorted(found.items()))


def bos_of(voice: Voice) -> tuple[str | None, bool]:
    """(text of BOS or None, whether the tokenizer adds it). A tokenizer that names no BOS has none: Qwen's GGUF
    files number one all the same, and must not be given it."""
    if voice.tokenizer:
        text = _token_text(voice.tokenizer.get("bos_token"))
        default = "llama" in str(voice.tokenizer.get("tokenizer_class", "")).lower()
        return text, text is not None and voice.tokenizer.get("add_bos_token", default) is True
    number, adds = voice.gguf.get("tokenizer.ggml.bos_token_id"), voice.gguf.get("tokenizer.ggml.add_bos_token")
    text = next((text for text, mark in (voice.marks or {}).items() if mark.id == number), None)
    if adds is None:  # llama.cpp's own defaults
        adds = (voice.gguf.get("tokenizer.ggml.model") == "llama"
                or voice.gguf.get("tokenizer.ggml.pre") in ("llama-bpe", "llama3", "llama-v3"))
    return (text, adds is True) if adds or (text and _writes(voice, text)) else (None, False)


def _writes(voice: Voice, bos: str) -> bool:
    template = voice.template.text if voice.template else ""
    return bos in template or "bos_token" in template


def _token_text(value: Any) -> str | None:
    """A special token as tokenizer_config.json has it: its text, or an object with `content`."""
    value = value.get("content") if isinstance(value, dict) else value
    return value if isinstance(value, str) and value else None


# --- the audit

THINKING = ("enable_thinking", "thinking")
"""What templates call the switch: Qwen 3 and most others, DeepSeek V3.1."""
_SYSTEM, _USER, _ANSWER, _AGAIN = "q1sysw", "q2userw", "q3answ", "q4moreW"


Run = Callable[[str, Sequence[Case]], list[Rendered]]


def audit(voice: Voice, run: Run = render_apart) -> Speech:
    """Speech with its remarks. Runs the template in a child process, once; `run` may be render_all."""
    template = choose_template(voice)
    bos, adds = bos_of(voice)
    if template is None:
        return Speech(None, stop_set(voice), bos, adds, (Remark("no-template", {}), *_ending(voice, None)))
    remarks = []
    if template is not voice.template:
        remarks.append(Remark("default", {"family": template.source.removeprefix("default: ")}))
    asked, opened, system, talked, on, off = _probe(run, template.text, voice, bos)
    if opened.text is None:
        remarks.append(Remark("broken", {"error": opened.error or ""}))
        return Speech(template, stop_set(voice), bos, adds, (*remarks, *_ending(voice, None)))
    end = _turn_end(talked.text or "")
    remarks += _content(asked, opened, system)
    if on.text != off.text:
        remarks.append(Remark("switch", {}))
    remarks += _bos_remarks(opened.text, bos, adds)
    remarks += _mark_remarks(voice, talked, end)
    thinking = opened.text == on.text if on.text != off.text else None
    return Speech(template, stop_set(voice, end), bos, adds, (*remarks, *_ending(voice, end)), thinking,
                  pieces_of(voice))


def _probe(run: Run, template: str, voice: Voice, bos: str | None) -> list[Rendered]:
    """A question; the same with the answer opened; one with a system message; a talk that ends with an answer; the
    second again with thinking switched on, and off."""
    variables = {"bos_token": bos or "", "eos_token": _token_text(voice.tokenizer.get("eos_token")) or _eos(voice)}
    user, answer = {"role": "user", "content": _USER}, {"role": "assistant", "content": _ANSWER}
    system = {"role": "system", "content": _SYSTEM}
    return run(template, [Case([user], False, variables), Case([user], True, variables),
                          Case([system, user], True, variables), Case([user, answer], False, variables),
                          *(Case([user], True, variables | dict.fromkeys(THINKING, way)) for way in (True, False))])


def _eos(voice: Voice) -> str:
    number = voice.gguf.get("tokenizer.ggml.eos_token_id", voice.config.get("eos_token_id"))
    return next((text for text, mark in (voice.marks or {}).items() if mark.id == number), "")


def _turn_end(talked: str) -> str | None:
    """The first mark after an answer."""
    found = LOOKS.search(talked.rpartition(_ANSWER)[2]) if _ANSWER in talked else None
    return found.group() if found else None


def _content(asked: Rendered, opened: Rendered, system: Rendered) -> list[Remark]:
    remarks, text = [], opened.text or ""
    if _USER not in text:
        remarks.append(Remark("loses", {}))
    if system.text is None:
        remarks.append(Remark("no-system", {"error": system.error or ""}))
    elif _SYSTEM not in system.text:
        remarks.append(Remark("drops-system", {}))
    if asked.text == text:
        remarks.append(Remark("no-opening", {}))
    if text.rstrip().endswith("<think>"):
        remarks.append(Remark("thinks", {"mark": "<think>"}))
    return remarks


def _bos_remarks(text: str, bos: str | None, adds: bool) -> list[Remark]:
    if bos is None:
        return [Remark("no-bos", {})]
    if text.startswith(bos + bos):
        return [Remark("twice-bos", {"mark": bos})]
    return [Remark("double-bos", {"mark": bos})] if adds and text.startswith(bos) else []


def _mark_remarks(voice: Voice, talked: Rendered, end: str | None) -> list[Remark]:
    if voice.marks is None:
        return [Remark("unknown-marks", {})]
    written = dict.fromkeys(LOOKS.findall(talked.text or ""))
    pieces = [mark for mark in written if not voice.marks.get(mark, Mark(0, False)).special]
    remarks = [Remark("pieces", {"marks": " ".join(pieces[:12])})] if pieces else []
    if end in pieces:
        remarks.append(Remark("end-in-pieces", {"mark": end or ""}))
    elif talked.text is not None and end is None:
        remarks.append(Remark("no-end", {}))
    return remarks


def _ending(voice: Voice, end: str | None) -> list[Remark]:
    stops = stop_set(voice, end)
    remarks = [Remark("end-unnamed", {"mark": s.text or str(s.id)}) for s in stops if s.sources == ("the template",)]
    if not stops:
        return [Remark("no-stop", {})]
    named = ", ".join(f"{s.text} ({s.id}: {', '.join(s.sources)})" if s.text else f"{s.id} ({', '.join(s.sources)})"
                      for s in stops)
    return [*remarks, Remark("stops", {"tokens": named})]
