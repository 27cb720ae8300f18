"""`headwater chat`"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from headwater.cli._common import Common, note, plain, show_json
from headwater.core.errors import BadInput, HeadwaterError, Unavailable

if TYPE_CHECKING:
    from headwater.cli._hub import Door

HELP = """/new         start over
/model NAME  go on with another model
/save FILE   write the conversation to a file, as Markdown
/quit        end (or Ctrl-D); Ctrl-C stops an answer"""


@dataclass
class Talk:
    """A conversation with a model. messages: as OpenAI writes them."""

    model: str
    messages: list[dict[str, str]] = field(default_factory=list)
    options: dict[str, Any] = field(default_factory=dict)


@dataclass
class Answer:
    """What came back. origin: repo, revision, engine, build and so on, as the hub says them. reason: why it ended;
    None while it has not."""

    text: str = ""
    thought: str = ""
    reason: str | None = None
    origin: dict[str, Any] = field(default_factory=dict)
    usage: dict[str, int] | None = None
    seconds: float = 0.0


def chat(
    model: Annotated[str, Parameter(help="owner/name, or owner/name@revision.")],
    *,
    message: Annotated[str | None, Parameter(name=["--message", "-m"], help="Ask this one thing; - reads standard "
                                                                            "input.")] = None,
    system: Annotated[str | None, Parameter(help="What the model is told before all else.")] = None,
    seed: Annotated[int | None, Parameter(help="The same seed gives the same answer.")] = None,
    temperature: Annotated[float | None, Parameter(help="0 takes the likeliest word each time.")] = None,
    max_tokens: Annotated[int | None, Parameter(help="Longest answer.")] = None,
    resume: Annotated[bool, Parameter(name="--continue", negative="", help="Go on where the last talk with this model "
                                                                           "ended.")] = False,
    common: Common = Common(),
) -> None:
    """Talk with a model, or ask it one thing with -m.

    Conversations are kept in the data folder, under talks/. /new starts over, /model NAME changes the model, /save
    FILE writes the talk down, /quit ends; Ctrl-C stops an answer.
    """
    from headwater.cli._hub import reach
    from headwater.cli._talks import Talks
    from headwater.core.settings import default_data

    options = {"seed": seed, "temperature": temperature, "max_tokens": max_tokens}
    talk = Talk(model, options={name: value for name, value in options.items() if value is not None})
    talks = Talks((common.data or default_data()) / "talks")
    if resume:
        talk.messages = talks.last(model)
    elif system:
        talk.messages = [{"role": "system", "content": system}]
    with reach(common, work=True) as door:
        if message is not None:
            _once(door, talk, sys.stdin.read() if message == "-" else message, common.json)
        elif not sys.stdin.isatty() or common.json:
            raise BadInput("There is no terminal to talk at.", hint="Ask one thing with -m TEXT, or -m - to read it.")
        else:
            _converse(door, talk, talks)
        if talk.messages:
            talks.keep(talk.model, talk.messages)


def _once(door: Door, talk: Talk, text: str, as_json: bool) -> None:
    answer = _ask(door, talk, text, show=not as_json)
    if as_json:
        show_json({"answer": answer.text, "finish_reason": answer.reason, "usage": answer.usage,
                   "headwater": answer.origin})
    elif sys.stderr.isatty():
        note(_signature(answer))


def _converse(door: Door, talk: Talk, talks: Any) -> None:
    note(f"{talk.model}. /help shows what else you can type.")
    for text in _typed(talks.folder):
        try:
            if text.startswith("/"):
                if not _command(door, talk, text):
                    return
            elif text.strip():
                answer = _ask(door, talk, text, show=True)
                note(f"\033[2m{_signature(answer)}\033[0m" if sys.stderr.isatty() else _signature(answer))
                talks.keep(talk.model, talk.messages)
        except (HeadwaterError, OSError) as error:
            note(f"headwater: {error}")


def _typed(folder: Path) -> Iterator[str]:
    """What the person types, line by line, with the arrow keys going through what was typed before."""
    import readline

    kept = folder / "typed"
    if kept.exists():
        readline.read_history_file(kept)
    readline.set_history_length(1000)
    try:
        while True:
            try:
                yield input("\n> ")
            except KeyboardInterrupt:
                note("\n/quit or Ctrl-D ends.")
            except EOFError:
                print()
                return
    finally:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        readline.write_history_file(kept)


def _command(door: Door, talk: Talk, text: str) -> bool:
    """False when the person wants to end."""
    name, _, rest = text[1:].partition(" ")
    match name, rest.strip():
        case "quit" | "exit" | "bye", _:
            return False
        case "new", _:
            talk.messages = [m for m in talk.messages if m["role"] == "system"]
            note("A new conversation.")
        case "model", "":
            known = [m["id"] for m in door.get("/v1/models")["data"]]
            note("\n".join(known) or "No model here can be talked to.")
        case "model", other:
            known = {m["id"].lower() for m in door.get("/v1/models")["data"]}
            if other.partition("@")[0].lower() not in known:
                raise BadInput(f"No model {other!r} here can be talked to.", hint="/model alone lists them.")
            talk.model = other
            note(f"{other} goes on with this conversation; /new starts another.")
        case "save", "":
            raise BadInput("Save it where?", hint="/save FILE")
        case "save", file:
            from headwater.cli._talks import as_markdown

            path = Path(file).expanduser()
            path.write_text(as_markdown(talk.model, talk.messages), "utf-8")
            note(f"Saved to {path}.")
        case _:
            note(HELP)
    return True


def _ask(door: Door, talk: Talk, text: str, *, show: bool) -> Answer:
    """The answer, shown while it comes. Ctrl-C ends it; what came until then stays in the conversation."""
    from headwater.cli._live import Live

    asked = [*talk.messages, {"role": "user", "content": text}]
    answer, began = Answer(), time.monotonic()
    with Live(show) as live:
        try:
            for piece in _stream(door, {"model": talk.model, "messages": asked, **talk.options}, answer):
                live.write(piece)
        except KeyboardInterrupt:
            answer.reason = "stopped"
    answer.seconds = time.monotonic() - began
    talk.messages = [*asked, {"role": "assistant", "content": answer.text}]
    return answer


def _stream(door: Door, body: dict[str, Any], answer: Answer) -> Iterator[str]:
    """Pieces of text as they come; fills `answer`. Leaving it hangs up, and that stops the engine."""
    body = {**body, "stream": True, "stream_options": {"include_usage": True}}
    with door.stream("POST", "/v1/chat/completions", json=body) as reply:
        for line in reply.iter_lines():
            data = line.removeprefix("data: ")
            if data == line or data == "[DONE]":
                continue
            event = json.loads(data)
            if "error" in event:
                raise Unavailable(event["error"]["message"])
            answer.origin = event.get("headwater") or answer.origin
            answer.usage = event.get("usage") or answer.usage
            for choice in event["choices"]:
                answer.reason = choice["finish_reason"] or answer.reason
                answer.thought += choice["delta"].get("reasoning_content") or ""
                if text := choice["delta"].get("content"):
                    answer.text += text
                    yield plain(text)


def _signature(answer: Answer) -> str:
    """Who spoke: the revision, the engine, and how fast."""
    origin = answer.origin
    said = [f"{origin['repo']}@{origin['revision'][:12]}", origin["build"]] if origin else []
    if answer.usage and answer.seconds:
        tokens = answer.usage["completion_tokens"]
        said.append(f"{tokens} tokens in {answer.seconds:.1f} s")
    if answer.reason not in ("stop", None):
        said.append({"length": "cut at its longest", "stopped": "stopped by you"}.get(answer.reason, answer.reason))
    return " · ".join(said)
