"""Pictures in conversations: really seen, by each API; refused with a sentence where they cannot be.

The models are small and of random weights, in the genuine layouts of LLaVA and MiniCPM-V: what they answer is noise,
and which noise depends on every pixel.
"""

import base64
import io
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import numpy as np
import pytest
from clients import run_model_client
from llama_made import llama_gguf, llava_gguf, minicpmv_gguf
from model_hub import model_hub, toy
from openai import BadRequestError, OpenAI, PermissionDeniedError
from PIL import Image

pytestmark = pytest.mark.xdist_group("pictures")  # one hub for the module


def picture(seed: int = 1, form: str = "PNG") -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (40, 56, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, form)
    return out.getvalue()


def url(data: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(data).decode()}"


@pytest.fixture(scope="module")
def elsewhere():
    """A host with /cat.png, and /away, which leads to it by another name."""
    class Host(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(302 if self.path == "/away" else 200)
            self.send_header("location", f"http://localhost:{self.server.server_port}/cat.png")
            self.end_headers()
            self.wfile.write(b"\0" * 13_000_000 if self.path == "/long" else picture(1))

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Host) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    made: Path = tmp_path_factory.mktemp("made")
    llama_gguf(made / "model")
    for name, make, width in (("llava", llava_gguf, 128), ("minicpmv", minicpmv_gguf, 128), ("wide", llava_gguf, 256)):
        make(made / name, width)
    model = (made / "model").read_bytes()
    models = {name: {"tiny__gguf": model, "mmproj-tiny-f16__gguf": (made / name).read_bytes()}
              for name in ("llava", "minicpmv", "wide")}
    data = tmp_path_factory.mktemp("pictures") / "data"
    with model_hub(data, {**models, "blind": {"tiny__gguf": model}, "toy": toy()}, workers_max=2, real=False,
                   chat_context=1024, picture_hosts="127.0.0.1") as running:
        yield running[0].url


@pytest.fixture
def client(served) -> OpenAI:
    return OpenAI(base_url=f"{served}/v1", api_key="any", max_retries=0)


def ask(client: OpenAI, model: str, *shown: str, **fields):
    content = [{"type": "text", "text": "What is this?"}, *({"type": "image_url", "image_url": {"url": one}}
                                                           for one in shown)]
    return client.chat.completions.create(model=f"local/{model}", temperature=0, max_tokens=6, messages=[
        {"role": "user", "content": content}], **fields)


def odds(answer) -> list[float]:
    return [token.logprob for token in answer.choices[0].logprobs.content]


@pytest.mark.parametrize("model", ["llava", "minicpmv"])
def test_another_picture_gives_another_answer_and_the_same_the_same(client, model):
    one, two, again, none = (ask(client, model, *shown, logprobs=True) for shown in (
        [url(picture(1))], [url(picture(2))], [url(picture(1, "BMP"))], []))
    assert odds(one) == pytest.approx(odds(again), abs=1e-4) and one.choices[0].message == again.choices[0].message
    assert one.choices[0].message.content != two.choices[0].message.content
    assert max(abs(a - b) for a, b in zip(odds(one), odds(two), strict=False)) > 0.1
    assert one.usage.prompt_tokens > none.usage.prompt_tokens + 3
    assert ask(client, model, url(picture(1)), url(picture(2))).usage.prompt_tokens > one.usage.prompt_tokens + 3


def test_answers_at_once_see_each_their_own_picture(client):
    alone = [ask(client, "llava", url(picture(n))).choices[0].message.content for n in range(4)]
    assert len(set(alone)) == 4
    with ThreadPoolExecutor(4) as pool:
        again = list(pool.map(lambda n: ask(client, "llava", url(picture(n))).choices[0].message.content, [0, 1, 2, 3]))
    assert sum(a == b for a, b in zip(alone, again, strict=True)) >= 3  # other batches may round one token otherwise


def test_the_list_says_which_models_see(client):
    says = {model.id: model.headwater["modalities"] for model in client.models.list()}
    assert says["local/llava"] == ["text", "image"] and says["local/blind"] == says["local/toy"] == ["text"]


def test_a_model_that_sees_nothing_says_what_is_missing_and_still_talks(client):
    for model, why in (("blind", "no projector, a file mmproj-"), ("toy", "sees no pictures"),
                       ("wide", "mmproj-tiny-f16.gguf makes vectors of 256 numbers")):
        with pytest.raises(BadRequestError, match=why) as refused:
            ask(client, model, url(picture()))
        assert refused.value.code == "unsupported_parameter"
        assert ask(client, model).usage.completion_tokens > 0


@pytest.mark.parametrize(("shown", "why"), [
    ("file:///etc/passwd", "must be a data: URL"), ("data:image/png;base64,!!", "no whole data: URL"),
    ("cat.png", "must be a data: URL"),
    (url(b"<svg/>"), "Picture 1 is none of PNG"), (url(picture()[:300]), "cannot be read"), ("gopher://x", "data: URL"),
    ("http://user:pass@127.0.0.1/", "no plain http"),
], ids=["file", "no base64", "name", "svg", "cut", "gopher", "password"])
def test_what_is_no_picture_is_refused(client, shown, why):
    with pytest.raises(BadRequestError, match=why):
        ask(client, "llava", shown)


def test_a_picture_is_fetched_from_hosts_that_are_allowed_and_no_others(client, elsewhere):
    assert ask(client, "llava", f"{elsewhere}/cat.png").choices == ask(client, "llava", url(picture(1))).choices
    for away in ("http://169.254.169.254/latest/meta-data", "http://localhost:1/", "http://[::1]/x",
                 f"{elsewhere}/away"):
        with pytest.raises(PermissionDeniedError, match="fetches no pictures"):
            ask(client, "llava", away)
    with pytest.raises(BadRequestError, match="more than"):
        ask(client, "llava", f"{elsewhere}/long")


def test_anthropics_client_shows_pictures_too(served):
    code = """
import sys, anthropic
client = anthropic.Anthropic(base_url=sys.argv[1], api_key="any", max_retries=0)
def ask(data, model="local/llava"):
    return client.messages.create(model=model, max_tokens=6, extra_body={"temperature": 0}, messages=[
        {"role": "user", "content": [{"type": "image", "source": {"type": "base64", "media_type": "image/png",
        "data": data}}, {"type": "text", "text": "What is this?"}]}])
one, two, again = (ask(data) for data in (sys.argv[2], sys.argv[3], sys.argv[2]))
assert one.content[0].text == again.content[0].text != two.content[0].text
try:
    ask(sys.argv[2], "local/blind")
    raise SystemExit("taken")
except anthropic.BadRequestError as error:
    assert "no projector" in error.body["error"]["message"], error.body
"""
    run_model_client(code, served, *(base64.b64encode(picture(n)).decode() for n in (1, 2)))


def test_ollamas_client_and_responses_show_pictures_too(served, client):
    code = """
import sys, base64, ollama
client = ollama.Client(host=sys.argv[1])
def ask(data):
    said = client.chat(model="local/llava", options={"temperature": 0, "num_predict": 6}, messages=[
        {"role": "user", "content": "What is this?", "images": [base64.b64decode(data)]}])
    return said.message.content
one, two, again = (ask(data) for data in (sys.argv[2], sys.argv[3], sys.argv[2]))
assert one == again != two
def generate(data):
    return client.generate(model="local/llava", prompt="What is this?", images=[base64.b64decode(data)],
                           options={"temperature": 0, "num_predict": 6}).response
assert generate(sys.argv[2]) == one and generate(sys.argv[3]) == two
assert "vision" in client.show("local/llava").capabilities and "vision" not in client.show("local/blind").capabilities
"""
    run_model_client(code, served, *(base64.b64encode(picture(n)).decode() for n in (1, 2)))
    said = [client.responses.create(model="local/llava", temperature=0, max_output_tokens=6, input=[
        {"role": "user", "content": [{"type": "input_image", "image_url": url(picture(n))}]}]).output_text
        for n in (1, 2, 1)]
    assert said[0] == said[2] != said[1]


def test_pictures_belong_to_what_a_user_says(served):
    part = {"type": "image_url", "image_url": {"url": url(picture())}}
    for role, content in (("system", [part]), ("assistant", [part]), ("user", [{"type": "image_url"}]),
                          ("user", [{"type": "input_audio"}]), ("user", [{**part, "image_url": {"url": 5}}])):
        refused = httpx.post(f"{served}/v1/chat/completions", json={
            "model": "local/llava", "messages": [{"role": role, "content": content}]})
        assert refused.status_code == 400, refused.text
