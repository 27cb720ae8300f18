"""Other people's clients of OpenAI's API: each does an answer, a stream and what else it is known for."""

import subprocess

import pytest
from clients import openai_node, run_model_client
from huggingface_hub import InferenceClient
from huggingface_hub.errors import HfHubHTTPError
from model_hub import model_hub, toy

pytestmark = pytest.mark.xdist_group("model_clients")  # one hub for the module
ASK = [{"role": "system", "content": "You are a helpful assistant."},
       {"role": "user", "content": "What is the capital of France?"}]
PARIS = "The capital of France is Paris."


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with model_hub(tmp_path_factory.mktemp("clients") / "data", {"river": toy()}) as running:
        yield running


def test_the_inference_client_of_hugging_face(served):
    client = InferenceClient(base_url=f"{served[0].url}/v1", api_key="any")
    answer = client.chat_completion(ASK, model="local/smollm2", temperature=0)
    assert answer.choices[0].message.content == PARIS
    chunks = client.chat_completion(ASK, model="local/smollm2", temperature=0, stream=True)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == PARIS
    tool = {"type": "function", "function": {"name": "look_up", "parameters": {
        "type": "object", "properties": {"digit": {"enum": [7]}}, "required": ["digit"]}}}
    called = client.chat_completion(ASK, model="local/smollm2", tools=[tool], tool_choice="required", temperature=0)
    assert called.choices[0].message.tool_calls[0].function.name == "look_up"
    with pytest.raises(HfHubHTTPError, match="404"):
        client.chat_completion(ASK, model="local/none")


def test_langchain(served):
    run_model_client("""
import sys
from langchain_openai import ChatOpenAI
from pydantic import BaseModel
class City(BaseModel):
    name: str
model = ChatOpenAI(base_url=sys.argv[1] + "/v1", api_key="any", model="local/smollm2", temperature=0, max_retries=0)
ask = [("system", "You are a helpful assistant."), ("human", "What is the capital of France?")]
assert model.invoke(ask).content == sys.argv[2]
assert "".join(chunk.content for chunk in model.stream(ask)) == sys.argv[2]
assert isinstance(model.with_structured_output(City, method="json_schema").invoke(ask), City)
assert isinstance(model.with_structured_output(City, method="function_calling").invoke(ask), City)
""", served[0].url, PARIS)


def test_litellm(served):
    run_model_client("""
import sys, litellm
def ask(model="openai/local/smollm2", **fields):
    return litellm.completion(model=model, api_base=sys.argv[1] + "/v1", api_key="any", temperature=0, num_retries=0,
        messages=[{"role": "system", "content": "You are a helpful assistant."},
                  {"role": "user", "content": "What is the capital of France?"}], **fields)
assert ask().choices[0].message.content == sys.argv[2]
assert "".join(chunk.choices[0].delta.content or "" for chunk in ask(stream=True)) == sys.argv[2]
try:
    ask("openai/local/none")
    raise SystemExit("taken")
except litellm.NotFoundError:
    pass
""", served[0].url, PARIS)


def test_the_official_client_for_node(served):
    folder = openai_node()
    if isinstance(folder, str):
        pytest.skip(folder)
    code = """
import OpenAI from 'openai'
import assert from 'node:assert'
const [url, said] = process.argv.slice(-2)
const client = new OpenAI({baseURL: url + '/v1', apiKey: 'any', maxRetries: 0})
const asked = {model: 'local/smollm2', temperature: 0, messages: [
  {role: 'system', content: 'You are a helpful assistant.'}, {role: 'user', content: 'What is the capital of France?'}]}
const whole = await client.chat.completions.create(asked)
assert.equal(whole.choices[0].message.content, said)
let text = ''
for await (const chunk of await client.chat.completions.create({...asked, stream: true}))
  text += chunk.choices[0]?.delta?.content ?? ''
assert.equal(text, said)
const tool = {type: 'function', function: {name: 'look_up', parameters: {type: 'object',
  properties: {digit: {enum: [7]}}, required: ['digit']}}}
const called = client.chat.completions.stream({...asked, tools: [tool], tool_choice: 'required'})
assert.equal((await called.finalChatCompletion()).choices[0].message.tool_calls[0].function.name, 'look_up')
await assert.rejects(client.chat.completions.create({...asked, model: 'local/none'}), OpenAI.NotFoundError)
"""
    script = folder / "check.mjs"
    script.write_text(code)
    done = subprocess.run(["node", script, served[0].url, PARIS], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
