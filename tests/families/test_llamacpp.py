"""The engine llamacpp speaks with the template the pages show."""

import time

import httpx
import pytest
from engine_samples import bare_worker, smollm2

pytestmark = pytest.mark.xdist_group("engines")


def ready(client: httpx.Client) -> bool:
    try:
        return client.get("/health").status_code == 200
    except httpx.ConnectError:
        return False


@pytest.mark.parametrize(("text", "least", "most"), [("{{ messages[-1]['content'] }}", 1, 3), (None, 8, 60)])
def test_a_template_beside_the_gguf_goes_before_the_one_in_it(tmp_path, text, least, most):
    smollm2(tmp_path / "model")
    if text:
        (tmp_path / "model" / "chat_template.jinja").write_text(text, "utf-8")
    with bare_worker("llamacpp", tmp_path / "model") as (_, client):
        until = time.monotonic() + 20
        while not ready(client) and time.monotonic() < until:
            time.sleep(0.05)
        answer = client.post("/v1/chat/completions", json={
            "messages": [{"role": "user", "content": "hi"}], "max_tokens": 1}).json()
    assert least <= answer["usage"]["prompt_tokens"] <= most
