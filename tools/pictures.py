"""Take the pictures of the README from a running hub with real models in it. For maintainers.

    headwater up --starter                                       # in another terminal
    .venv/bin/python tools/pictures.py http://127.0.0.1:8080     # writes docs/pictures/*.png
    .venv/bin/python tools/pictures.py http://127.0.0.1:8080 portrait.png    # film.png alone: that portrait, alive

film.png is of astronaut.png, which scikit-image ships: NASA's portrait of Eileen Collins, in the public domain.

The picture of a family is of FAMILY, if the hub has it: SmolLM2 with layers left out, shuffled, requantised and called
otherwise by tests/trace/smollm2_disguised.py, uploaded without a word of where it comes from.

Needs Chromium; `pngquant` makes the pictures small where it is installed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
CHROMIUM = os.environ.get("HEADWATER_TEST_CHROMIUM", "/usr/bin/chromium")
MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
FAMILY = "local/river-assistant-0.1B"
QUESTION = {"en": "What is a river's headwater? Answer in two sentences.",
            "zh-CN": "Name three rivers, one sentence each."}  # the starter model speaks English only


def main(url: str) -> None:
    PICTURES.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = _page(browser, 1280, 860, "light", "en")
        for name, path in (("home", "/"), ("model", f"/{MODEL}"), ("weights", f"/{MODEL}/weights")):
            page.goto(url + path, wait_until="networkidle")
            page.screenshot(path=PICTURES / f"{name}.png")
        if page.goto(f"{url}/{FAMILY}", wait_until="networkidle").ok:
            page.screenshot(path=PICTURES / "lineage.png")
        _chat(page, url, "en", "chat")
        for width, height, light, ending in ((1280, 860, "light", "zh"), (390, 780, "dark", "zh-phone")):
            page = _page(browser, width, height, light, "zh-CN")
            page.goto(f"{url}/{MODEL}", wait_until="networkidle")
            page.screenshot(path=PICTURES / f"model-{ending}.png")
            _chat(page, url, "zh-CN", f"chat-{ending}")
        browser.close()
    _shrink()


def film(url: str, photo: str) -> None:
    """The page of a film that is made of the photo now."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        page = _page(browser, 1280, 1000, "light", "en")
        page.goto(f"{url}/film", wait_until="networkidle")
        page.set_input_files("#photo", photo)
        page.fill("#prompt", "She turns and smiles; the camera comes closer")
        page.check('[name="people"][value="agreed"]')
        page.click("#go")
        page.wait_for_url("**/film/watch/*")
        page.wait_for_selector("#measures dl", timeout=180_000)
        page.evaluate("document.querySelector('video').currentTime = 2")
        page.wait_for_timeout(2_000)
        page.screenshot(path=PICTURES / "film.png")
        browser.close()
    _shrink()


def _page(browser: Browser, width: int, height: int, light: str, language: str) -> Any:
    size = {"width": width, "height": height}
    return browser.new_context(viewport=size, color_scheme=light, locale=language).new_page()


def _chat(page: Any, url: str, language: str, name: str) -> None:
    page.goto(f"{url}/chat?model={MODEL}", wait_until="networkidle")
    page.fill("#text", QUESTION[language])
    page.press("#text", "Enter")
    page.wait_for_selector(".said.it .under a", timeout=120_000)
    page.wait_for_timeout(300)
    page.screenshot(path=PICTURES / f"{name}.png")


def _shrink() -> None:
    if shutil.which("pngquant"):
        files = [str(p) for p in PICTURES.glob("*.png")]
        subprocess.run(["pngquant", "--force", "--ext", ".png", "--strip", "64", *files], check=True)
    for picture in sorted(PICTURES.glob("*.png")):
        print(f"{picture.name}: {picture.stat().st_size:,} bytes")


if __name__ == "__main__":
    address = sys.argv[1].rstrip("/")
    film(address, sys.argv[2]) if len(sys.argv) > 2 else main(address)
