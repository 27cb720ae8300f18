"""The pages in a real browser: accessible in light and dark, at home on a phone, quiet on the network, and at work."""

from __future__ import annotations

import gzip
import hashlib
import os
import re
import time
from pathlib import Path

from addresses import addresses

from headwater.core.types import Kind
from headwater.hub import browse, repos

AXE = Path(__file__).parent / "vendor" / "axe.min.js"
# Pages whose pictures are files a hostile card asks for and the repo does not have.
MISSING = {"Failed to load resource: the server responded with a status of 404 (Not Found)"}
RULES = """rules => axe.run(document, {resultTypes: ["violations"],
    ...(rules && {runOnly: {type: "rule", values: rules}})}).then(found => found.violations.map(
    one => `${one.id}: ${one.help} — ${one.nodes.slice(0, 4).map(node => node.target.join(" ")).join(", ")}`))"""
# What may differ between light and dark: our scripts read no colours, our style sheets change nothing else.
OF_COLOURS = ["color-contrast", "link-in-text-block"]


def violations(watched) -> list[str]:
    watched.page.evaluate(AXE.read_text())
    return watched.page.evaluate(RULES)


def violations_in_the_dark(watched) -> list[str]:
    """After violations(), of the same page. Back in the light it goes on as if nothing had been."""
    watched.page.emulate_media(color_scheme="dark", reduced_motion="reduce")  # no colour is on its way to another
    found = watched.page.evaluate(RULES, OF_COLOURS)
    watched.page.emulate_media(color_scheme="light", reduced_motion="no-preference")
    return [f"dark: {one}" for one in found]


def test_every_page_is_accessible_in_light_and_dark_quiet_and_stays_on_its_origin(visit):
    watched, wrong = visit(color_scheme="light"), {}
    for path in addresses():
        watched.open(path)
        if found := violations(watched) + violations_in_the_dark(watched):
            wrong[path] = found
        if path == "/nothing/here" or path.startswith("/reader/Streamlet-8K"):
            watched.errors = [e for e in watched.errors if e not in MISSING]
        assert watched.errors == [], path
    assert watched.elsewhere == []
    assert not wrong


def test_nothing_is_wider_than_a_phone(visit):
    watched, wide = visit(viewport={"width": 390, "height": 844}, locale="zh-CN"), []
    for path in addresses():
        watched.open(path)
        if watched.page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            wide.append(path)
    assert not wide


def test_every_page_is_accessible_in_chinese_on_a_phone(visit):
    watched = visit(viewport={"width": 390, "height": 844}, locale="zh-CN")
    wrong = {}
    for path in ("/", "/models", "/reader/xiliu", "/reader/Streamlet-8K", "/chat", "/settings/tokens", "/help"):
        watched.open(path)
        if found := violations(watched):
            wrong[path] = found
    assert not wrong


def test_the_first_page_sends_little_script(visit, world):
    watched, packed = visit(), {}
    watched.page.on("response", lambda r: packed.update({r.url: len(gzip.compress(r.body(), 9))})
                    if r.url.split("?")[0].endswith(".js") else None)
    for path, most in (("/", 6_000), ("/models", 30_000), ("/reader/Streamlet-8K", 30_000), ("/chat", 60_000)):
        packed.clear()
        watched.open(path)
        watched.page.wait_for_load_state("networkidle")
        assert sum(packed.values()) < most, (path, packed)


def test_typing_searches_and_a_chip_filters(visit):
    watched = visit()
    watched.open("/models")
    watched.page.keyboard.press("/")
    watched.page.keyboard.type("brook-markov")
    watched.until("document.querySelectorAll('#found .repos > li').length === 1")
    assert "q=brook" in watched.page.url
    watched.page.get_by_role("link", name=re.compile("^cc0-1.0")).first.click()
    watched.page.wait_for_url("**/models?*tag=license*")
    assert watched.page.locator("#found .repos > li").count() == 1
    watched.assert_clean()


def test_keys_lead_to_pages_and_never_while_typing(visit):
    watched = visit()
    watched.open("/")
    watched.page.keyboard.press("g")
    watched.page.keyboard.press("d")
    watched.page.wait_for_url("**/datasets")
    watched.page.keyboard.press("?")
    watched.page.wait_for_url("**/help#keys")
    watched.open("/models")
    watched.page.locator("main [data-seek]").focus()
    watched.page.keyboard.type("g?gm")
    assert watched.page.url.split("?")[0].endswith("/models")


def test_everything_on_the_model_page_is_reached_by_tab(visit):
    watched = visit()
    watched.open("/reader/brook-markov")
    watched.page.keyboard.press("Tab")
    assert watched.page.evaluate("document.activeElement.className") == "skip"
    seen = set()
    for _ in range(80):
        watched.page.keyboard.press("Tab")
        seen.add(watched.page.evaluate("document.activeElement.getAttribute('href') || document.activeElement.tagName"))
    for wanted in ("/models", "/chat?model=reader%2Fbrook-markov", "/reader/brook-markov/use",
                   "/reader/brook-markov/tree/main"):
        assert wanted in seen


def test_language_and_light_are_chosen_at_the_foot_and_kept(visit):
    watched = visit()
    watched.open("/models")
    watched.page.get_by_role("button", name="Dark").click()
    watched.page.get_by_role("button", name="中文").click()
    assert watched.page.locator("h1").inner_text() == "模型"
    watched.open("/help")
    assert watched.page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert watched.page.evaluate("document.documentElement.lang") == "zh-Hans"


def test_a_snippet_is_copied(visit, world):
    watched = visit(permissions=["clipboard-read", "clipboard-write"])
    watched.open("/reader/brook-markov/use")
    watched.page.locator("[data-copy]").first.click()
    assert watched.page.evaluate("navigator.clipboard.readText()") == "headwater chat reader/brook-markov"
    assert watched.page.locator("#toast").inner_text() == "Copied"


def test_a_like_changes_the_button_alone(visit, world):
    watched = visit()
    watched.open("/reader/brook-markov")
    watched.page.get_by_role("button", name="Like 0").click()
    watched.page.get_by_role("button", name="Take the like back 1").click()
    watched.page.get_by_role("button", name="Like 0").wait_for()
    assert watched.page.url.endswith("/reader/brook-markov")
    watched.assert_clean()


def test_files_chosen_in_the_browser_become_a_commit_with_the_same_bytes(visit, world, tmp_path):
    watched = visit()
    watched.open("/new")
    watched.page.get_by_label("Name", exact=True).fill("from-browser")
    watched.page.get_by_role("button", name="Create and choose files").click()
    watched.page.wait_for_url("**/from-browser/upload/main")
    large, small = os.urandom(9_000_000) + b"\0end", "# Käse\n".encode()
    watched.page.set_input_files("#files", [
        {"name": "model.safetensors", "mimeType": "", "buffer": large},
        {"name": "README.md", "mimeType": "", "buffer": small},
        {"name": "empty.txt", "mimeType": "", "buffer": b""}])
    watched.page.get_by_role("button", name="Leave out: empty.txt").click()
    assert watched.page.locator("#sum").inner_text() == "2 files, 9.00 MB"
    assert violations(watched) == []
    watched.page.get_by_label("Into the folder").fill("deep/er")
    watched.page.get_by_role("button", name="Upload", exact=True).click()
    watched.page.wait_for_url("**/from-browser/tree/main")
    repo = world.app.hub.repos.find(Kind.MODEL, "reader", "from-browser")
    found = {e.path: e for e in browse.files(world.app.hub, browse.resolve(world.app.hub, repo, "main"))}
    assert found.keys() == {"deep/er/model.safetensors", "deep/er/README.md"}
    assert found["deep/er/model.safetensors"].digest == hashlib.sha256(large).hexdigest()
    assert found["deep/er/README.md"].digest == hashlib.sha256(small).hexdigest()
    assert found["deep/er/model.safetensors"].lfs and not found["deep/er/README.md"].lfs
    watched.assert_clean()


def test_a_folder_dropped_keeps_its_paths_and_leaves_clutter_behind(visit, world, tmp_path):
    repos.create(world.app.hub, world.owner, Kind.MODEL, "reader", "dropped")
    folder = tmp_path / "thing"
    for name, data in (("a.txt", b"a"), ("in/b.txt", b"b"), ("in/.DS_Store", b"x"), (".git/config", b"x")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    watched = visit()
    watched.open("/reader/dropped/upload/main")
    watched.page.set_input_files("#folder-input", str(folder))
    watched.page.wait_for_selector("#list tr")
    assert sorted(watched.page.locator("#list td:first-child").all_inner_texts()) == ["a.txt", "in/b.txt"]
    watched.page.get_by_role("button", name="Upload", exact=True).click()
    watched.page.wait_for_url("**/dropped/tree/main")
    watched.assert_clean()


def test_an_upload_that_cannot_be_says_why_and_can_be_tried_again(visit, world):
    repos.create(world.app.hub, world.owner, Kind.MODEL, "reader", "refused")
    watched = visit()
    watched.open("/reader/refused/upload/main")
    watched.page.set_input_files("#files", [{"name": "a.txt", "mimeType": "", "buffer": b"a"}])
    watched.page.get_by_label("Into the folder").fill("../up")
    watched.page.get_by_role("button", name="Upload", exact=True).click()
    watched.page.wait_for_selector("#state.bad")
    assert "'..'" in watched.page.locator("#state").inner_text()
    watched.page.get_by_label("Into the folder").fill("")
    watched.page.get_by_role("button", name="Upload", exact=True).click()
    watched.page.wait_for_url("**/refused/tree/main")


def test_a_running_job_is_shown_live_and_cancelled(visit, world):
    def crawl(payload, progress):
        for n in range(600):
            progress(n, 600, stage="crawling", unit="steps")
            time.sleep(0.1)

    world.app.hub.jobs.register("crawl", crawl)
    world.app.hub.jobs.enqueue("crawl", {}, title="Crawl upstream", by="reader")
    watched = visit()
    watched.open("/jobs")
    watched.page.get_by_role("progressbar", name="Crawl upstream").wait_for()
    watched.until("document.querySelector('progress[aria-label=\"Crawl upstream\"]')?.value > 10")
    assert violations(watched) == []
    watched.page.get_by_role("button", name="Cancel Crawl upstream").click()
    watched.page.locator("tr", has_text="Crawl upstream").get_by_text("cancelled").wait_for()
    watched.assert_clean()


def test_pages_work_without_javascript(visit):
    watched = visit(java_script_enabled=False)
    watched.open("/models")
    watched.page.locator("main input[name=q]").fill("brook-markov")
    watched.page.locator("main input[name=q]").press("Enter")
    watched.page.wait_for_url("**/models?*q=brook-markov*")
    assert watched.page.locator("#found .repos > li").count() == 1
    watched.page.get_by_role("link", name="reader/brook-markov").click()
    assert watched.page.locator("h1").inner_text().endswith("brook-markov")
