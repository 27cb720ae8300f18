"""Any JSON at all as a chat request: taken, or refused with a sentence, and never anything else."""

import asyncio
import json

from hypothesis import example, given, settings
from hypothesis import strategies as st

from headwater.api.openai.request import ChatBody, chat_body, chat_request
from headwater.core.errors import BadInput

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=8)
NAMES = st.sampled_from([*ChatBody.model_fields, "tools", "tool_choice", "logprobs", "response_format", "user", "x"])
PARTS = st.lists(st.fixed_dictionaries({"type": st.sampled_from(["text", "image_url", 5])}, optional={"text": VALUES}),
                 max_size=3)
ROLES = st.sampled_from(["user", "assistant", "tool", "developer"])
MESSAGES = st.lists(st.fixed_dictionaries(
    {"role": ROLES, "content": st.text(max_size=5) | PARTS | VALUES},
    optional={"name": VALUES, "tool_calls": VALUES, "other": VALUES}), max_size=3)
BODIES = st.builds(lambda base, more: {**base, **more},
                   st.fixed_dictionaries({"model": st.just("a/b"), "messages": MESSAGES}),
                   st.dictionaries(NAMES, VALUES, max_size=3))


class Sent:
    """A request whose body comes in two chunks."""

    def __init__(self, data):
        self.data = data

    async def stream(self):
        yield self.data[:7]
        yield self.data[7:]


def taken(data):
    """The ChatRequest and its warnings, or the BadInput."""
    try:
        return chat_request(asyncio.run(chat_body(Sent(data))))
    except BadInput as error:
        return error


@settings(max_examples=400, deadline=None)
@given(BODIES)
@example({"model": "a/b", "messages": [{"role": "user", "content": "\ud800"}]})
def test_any_object_is_taken_or_refused(body):
    answer = taken(json.dumps(body).encode())
    if isinstance(answer, BadInput):
        assert answer.message.strip() and 400 <= answer.status < 500
        return
    request, warnings = answer
    assert request.messages and all(isinstance(m["content"], str) for m in request.messages)
    assert all(m["content"].encode("utf-8") is not None for m in request.messages)
    assert isinstance(warnings, list)


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60) | VALUES.map(lambda value: json.dumps(value).encode()))
@example(b"[" * 100_000)
@example(b'{"a":' * 50_000)
def test_anything_else_is_refused(data):
    assert isinstance(taken(data), BadInput)


def test_a_parameter_is_taken_warned_of_or_refused():
    base = {"model": "a/b", "messages": [{"role": "user", "content": "x"}]}
    request, warnings = taken(json.dumps({**base, "temperature": 1, "stop": ["", "x"], "user": "u"}).encode())
    assert request.temperature == 1.0 and request.stop == ("x",) and warnings == ["user is ignored"]
    assert taken(json.dumps({**base, "tools": [1]}).encode()).param == "tools"
