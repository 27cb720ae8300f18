"""The nouns of the chat room: what can be talked to, what is asked, what comes back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from headwater.core.engine import ChatEngine
from headwater.core.errors import BadInput
from headwater.core.types import Commit, Oid, Repo


@dataclass(frozen=True)
class Adapter:
    """A revision of a repo that has a LoRA adapter, and its file there."""

    repo: Repo
    commit: Commit
    path: str


@dataclass(frozen=True)
class ChatModel:
    """A revision of a repo, the engine that runs it and the file that engine loads.

    projector: the file beside it through which it sees pictures. adapters: those loaded with it; which of them an
    answer is made with is the request's affair.
    """

    repo: Repo
    commit: Commit
    engine: ChatEngine
    path: str
    projector: str | None = None
    adapters: tuple[Adapter, ...] = ()

    @property
    def exact_name(self) -> str:
        """The name that means this revision for ever."""
        return f"{self.repo.full_name}@{self.commit.oid}"

    @property
    def key(self) -> tuple[Any, ...]:
        """What one worker process serves."""
        beside = frozenset((adapter.repo.id, adapter.commit.oid, adapter.path) for adapter in self.adapters)
        return self.repo.id, self.commit.oid, self.engine.name, self.path, beside

    def covers(self, other: ChatModel) -> bool:
        """Whether a worker of this can answer for the other: the same model, with its adapters or more."""
        return self.key[:-1] == other.key[:-1] and self.key[-1] >= other.key[-1]


@dataclass(frozen=True)
class Switch:
    """A wish of the client for the chat template. asked: the parameter it came as. words: names the template may read,
    with their values."""

    asked: str
    words: Mapping[str, Any]


@dataclass(frozen=True)
class ChatRequest:
    """What is asked of a model. None means the engine's own default; a seed of None is drawn and told.

    model: "owner/name", or "owner/name@revision"; "+owner/adapter" after it adds a LoRA adapter.
    messages: {"role", "content"} with text contents, at least one; in OpenAI's form an assistant message may have
    "tool_calls", and one of role "tool" a "tool_call_id". With a prompt there are none: it is a text to go on with.
    What a user says may be a list of parts: {"type": "text", "text"} and {"type": "image_url", "image_url": {"url"}}.
    adapters: more LoRA adapters, each with its scale.
    tell_stop: whether Finished is to say which stop text ended the answer, if the engine can.
    form: a JSON schema the answer must have; {} means any JSON object.
    tools: function tools in OpenAI's form. tool_choice: auto, required or the name of one of them.
    logprobs: how many alternatives to tell with each token, 0 for the token alone.
    """

    model: str
    messages: tuple[dict[str, Any], ...]
    stop: tuple[str, ...] = ()
    seed: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    top_k: int | None = None
    prompt: str | None = None
    form: dict[str, Any] | None = None
    tools: tuple[dict[str, Any], ...] = ()
    tool_choice: str = "auto"
    parallel_tool_calls: bool | None = None
    logprobs: int | None = None
    adapters: tuple[tuple[str, float], ...] = ()
    tell_stop: bool = False
    switches: tuple[Switch, ...] = ()

    @property
    def words(self) -> dict[str, Any]:
        """What the chat template is given beside the conversation."""
        return {name: value for switch in self.switches for name, value in switch.words.items()}

    @property
    def pictures(self) -> list[str]:
        """The URLs of all pictures shown, in order."""
        return [part["image_url"]["url"] for message in self.messages if isinstance(message["content"], list)
                for part in message["content"] if part["type"] == "image_url"]

    @property
    def speaks_of_tools(self) -> bool:
        """Whether a call or its result stands in the conversation."""
        return any(message["role"] == "tool" or "tool_calls" in message for message in self.messages)


@dataclass(frozen=True)
class Usage:
    prompt_tokens: int
    completion_tokens: int

    @property
    def total_tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens


@dataclass(frozen=True)
class Origin:
    """Where an answer comes from; with the same request enough to ask for it again."""

    repo: str
    revision: Oid
    engine: str
    build: str
    file: str
    seed: int
    adapters: tuple[dict[str, Any], ...] = ()
    """{repo, revision, file, scale} of each LoRA adapter the answer was made with."""


@dataclass(frozen=True)
class Started:
    """Always the first event: the worker has taken the request."""

    origin: Origin


@dataclass(frozen=True)
class Piece:
    """Some of the answer. reasoning is what a model thinks aloud before it; each part may be empty.

    calls: OpenAI's deltas of tool calls: index, id and name once, then arguments as they are written.
    logprobs: OpenAI's {token, logprob, bytes, top_logprobs} of the tokens in text.
    """

    text: str
    reasoning: str = ""
    calls: tuple[dict[str, Any], ...] = ()
    logprobs: tuple[dict[str, Any], ...] = ()


@dataclass(frozen=True)
class Finished:
    """Always the last event. reason: stop, length or tool_calls. usage None: the engine did not count.

    stopped_by: the stop text of the request that ended it; None when it was none of them, or that is not known.
    """

    reason: str
    usage: Usage | None
    warnings: tuple[str, ...] = field(default=())
    stopped_by: str | None = None


ChatEvent = Started | Piece | Finished


SHOWN_MAX = 100
"""Letters of a parameter's name that are told."""


class Ignored(str):
    """A warning that says which parameter has no effect."""

    name: str

    def __new__(cls, name: str, why: str = "") -> Ignored:
        made = super().__new__(cls, f"{name[:SHOWN_MAX]} is ignored{why}")
        made.name = name[:SHOWN_MAX]
        return made


class UnsupportedParameter(BadInput):
    """A part of the request that would change the answer and that Headwater does not do. `param` names it."""

    code = "unsupported_parameter"

    def __init__(self, message: str, *, param: str, hint: str | None = None):
        super().__init__(message, hint=hint)
        self.param = param
