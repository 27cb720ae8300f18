"""Any JSON at all sent to the other faces: taken, or refused with a sentence, and never anything else."""

import asyncio
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.api.anthropic.request import CountBody, MessagesBody, messages_request
from headwater.api.ollama.chat import OllamaBody
from headwater.api.ollama.chat import _asked as ollama_request
from headwater.api.openai.completions import TextBody
from headwater.api.openai.completions import _asked as text_request
from headwater.api.openai.embeddings import EmbeddingsBody, _texts
from headwater.api.openai.request import read_body
from headwater.api.openai.responses import ResponsesBody
from headwater.api.openai.responses import _asked as response_request
from headwater.core.errors import BadInput, NotSignedIn
from headwater.core.types import ANYONE

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=8)
PARTS = ["text", "input_text", "tool_use", "tool_result", "thinking", "image", "message", "function_call",
         "function_call_output", "function", "custom", 5]
BLOCK = st.dictionaries(
    st.sampled_from(["text", "role", "content", "input", "id", "name", "tool_use_id", "thinking", "output", "call_id",
                     "arguments", "function", "parameters", "input_schema", "$ref"]), VALUES, max_size=4)
ITEM = st.builds(lambda kind, block: {**block, "type": kind}, st.sampled_from(PARTS), BLOCK)
MESSAGE = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "tool"]), "content": st.lists(ITEM, max_size=3) | VALUES},
    optional={"tool_calls": VALUES | st.lists(ITEM, max_size=2), "images": VALUES})
FACES = {
    "anthropic": (MessagesBody, messages_request), "count": (CountBody, messages_request),
    "ollama": (OllamaBody, ollama_request), "completions": (TextBody, text_request),
    "embeddings": (EmbeddingsBody, _texts),
    "responses": (ResponsesBody, lambda body: asyncio.run(response_request(None, ANYONE, body, None))),
}


class Sent:
    def __init__(self, data):
        self.data = data

    async def stream(self):
        yield self.data


@pytest.mark.parametrize("face", FACES)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_any_object_is_taken_or_refused(face, data):
    kind, asked = FACES[face]
    names = [name for name in kind.model_fields if name != "previous_response_id"]
    body = {"model": "a/b", "max_tokens": 5, "prompt": "x", "input": data.draw(st.lists(ITEM, max_size=3) | VALUES),
            "messages": data.draw(st.lists(MESSAGE, max_size=3))}
    if face == "responses":
        del body["prompt"]
    body |= data.draw(st.dictionaries(st.sampled_from(names), VALUES | st.lists(ITEM, max_size=2), max_size=3))
    try:
        assert asked(asyncio.run(read_body(Sent(json.dumps(body).encode()), kind))) is not None
    except (BadInput, NotSignedIn) as error:
        assert error.message.strip() and 400 <= error.status < 500
