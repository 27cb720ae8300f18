"""Turn a conversation into the text a model reads, by a chat template from a stranger.

render() runs in a sandbox of jinja2, which keeps a template from reaching Python; it bounds neither time nor memory.
render_apart() does the same in a process of its own, with limits on both: for the hub. A worker is such a process
already and calls render(). Knows no model, no tokenizer and no family.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import cache, lru_cache
from typing import Any, NamedTuple

from headwater.core.errors import BadInput

MAX_TEMPLATE = 1_000_000
"""Characters. The longest of the 71 templates that llama.cpp tests with has 35,000."""
MAX_TEXT = 4_000_000
CPU_S, WALL_S, MEMORY_BYTES = 3, 10, 512 << 20

Messages = Sequence[Mapping[str, Any]]


class TemplateFailed(BadInput):
    """The template is broken, or refuses this conversation; the message is what it or jinja2 says."""

    code = "TemplateFailed"


class Case(NamedTuple):
    """One conversation to render. variables: what the template may ask for (bos_token, enable_thinking, tools)."""

    messages: Messages
    opening: bool
    """Whether the text ends where the model's answer begins (add_generation_prompt)."""
    variables: Mapping[str, Any]


class Rendered(NamedTuple):
    """text, or the error that came instead of it; the other is None."""

    text: str | None
    error: str | None


def render(template: str, case: Case) -> str:
    """The text. Raises TemplateFailed. Takes the time and memory the template takes."""
    from jinja2 import TemplateError

    if len(template) > MAX_TEMPLATE:
        raise TemplateFailed(f"The template has {len(template)} characters; at most {MAX_TEMPLATE} are read.")
    try:
        text = _compiled(template).render(messages=list(case.messages), add_generation_prompt=case.opening,
                                          **{"tools": None, "documents": None, **case.variables})
    except TemplateError as error:
        line = f" (line {error.lineno})" if getattr(error, "lineno", None) else ""
        raise TemplateFailed(f"{error.message or type(error).__name__}{line}") from None
    except MemoryError:
        raise TemplateFailed("The template takes too much memory.") from None
    except Exception as error:  # a stranger's expressions fail in any way: TypeError, OverflowError, RecursionError
        raise TemplateFailed(f"{type(error).__name__}: {error}"[:500]) from None
    if len(text) > MAX_TEXT:
        raise TemplateFailed(f"The template makes {len(text)} characters; at most {MAX_TEXT} are read.")
    return text


def render_apart(template: str, cases: Sequence[Case]) -> list[Rendered]:
    """Each case, in order, in one child process with limits. A template that breaks those fails every case."""
    if len(template) > MAX_TEMPLATE:
        return [Rendered(None, f"The template has more than {MAX_TEMPLATE} characters.")] * len(cases)
    order = json.dumps({"template": template, "cases": [case._asdict() for case in cases]})
    try:
        done = subprocess.run([sys.executable, "-I", "-m", "headwater.weights.template"], input=order.encode(),
                              capture_output=True, timeout=WALL_S, env={}, check=True)
        answers = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        return [Rendered(None, f"The template ran for more than {WALL_S} s and was stopped.")] * len(cases)
    except (subprocess.CalledProcessError, ValueError):
        why = f"The template took more than {CPU_S} s or {MEMORY_BYTES >> 20} MiB and was stopped."
        return [Rendered(None, why)] * len(cases)
    return [Rendered(*answer) for answer in answers]


def render_all(template: str, cases: Sequence[Case]) -> list[Rendered]:
    """render_apart() without the process: for one that has limits already."""
    return [_answer(template, case) for case in cases]


def one_bos(text: str, bos: str | None, wanted: bool) -> str:
    """The text with exactly one BOS in front where the template writes one or the tokenizer adds one (`wanted`).

    To be encoded with no special tokens added. bos None: the model has none.
    """
    if not bos:
        return text
    bare = text
    while bare.startswith(bos):
        bare = bare[len(bos):]
    return bos + bare if wanted or len(bare) != len(text) else text


@cache
def _environment() -> Any:
    """As transformers sets its own up: the filters and globals that published templates use."""
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Generation(Extension):
        """{% generation %} marks what a model said, for training; in a conversation it changes nothing."""

        tags = frozenset({"generation"})

        def parse(self, parser: Any) -> Any:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                                extensions=[Generation, loopcontrols])
    environment.filters["tojson"] = _tojson
    environment.globals |= {"raise_exception": _refuse, "strftime_now": lambda how: datetime.now().strftime(how)}
    return environment


@lru_cache(8)
def _compiled(template: str) -> Any:
    return _environment().from_string(template)


def _tojson(value: Any, ensure_ascii: bool = False, indent: int | None = None, separators: Any = None,
            sort_keys: bool = False) -> str:
    # jinja2's own escapes <, > and &, which models were not trained on
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _refuse(message: str) -> None:
    from jinja2 import TemplateError

    raise TemplateError(str(message)[:500])


def main() -> None:
    """The child of render_apart: an order on standard input, answers on standard output."""
    import resource

    order = json.load(sys.stdin.buffer)
    _environment()  # imported before the limits, so that they are the template's alone
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    json.dump(render_all(order["template"], [Case(**case) for case in order["cases"]]), sys.stdout)


def _answer(template: str, case: Case) -> Rendered:
    try:
        return Rendered(render(template, case), None)
    except TemplateFailed as error:
        return Rendered(None, error.message)


if __name__ == "__main__":
    main()
