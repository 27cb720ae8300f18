"""The chat page in a real browser: answers stream, branch and stay; what is deleted can be taken back."""

from __future__ import annotations

import json
import time

import httpx
from test_browser import violations

from headwater.core.types import Kind
from headwater.hub import repos
from headwater.hub.commit import Add, commit

PAUSE = 60_000
"""Milliseconds a first answer may take on a busy machine."""


def begin(visit, path: str = "/chat?model=reader/brook-markov", **options):
    watched = visit(**options)
    watched.open(path)
    watched.until("document.activeElement.id === 'text'")
    return watched


def ask(watched, text: str) -> None:
    """Asks and waits until the answer is whole and kept."""
    watched.page.fill("#text", text)
    watched.page.press("#text", "Enter")
    watched.page.locator(".said.you .text", has_text=text).wait_for()
    settled(watched)


def settled(watched) -> None:
    watched.page.locator(".said.it .under a").last.wait_for(timeout=PAUSE)
    watched.page.wait_for_selector(".said.it.going", state="detached", timeout=PAUSE)
    watched.page.wait_for_selector("#send", state="visible")
    watched.page.wait_for_load_state("networkidle")


def press(watched, name: str, n: int = -1) -> None:
    found = watched.page.get_by_role("button", name=name, exact=True)
    (found.last if n < 0 else found.nth(n)).click()


def said(watched, who: str) -> list[str]:
    return [text.strip() for text in watched.page.locator(f".said.{who} :is(.text, .prose)").all_inner_texts()]


def make(world, name: str, config: dict, corpus: str) -> str:
    if world.app.hub.repos.find(Kind.MODEL, "reader", name) is None:
        made = repos.create(world.app.hub, world.owner, Kind.MODEL, "reader", name)
        commit(world.app.hub, world.owner, made, "main", [
            Add("config.json", content=json.dumps({"model_type": "markov", **config}).encode()),
            Add("corpus.txt", content=corpus.encode())], title="A model for a test")
    return f"reader/{name}"


def test_an_answer_streams_names_the_revision_that_spoke_and_is_there_after_a_reload(visit, world):
    watched = begin(visit)
    ask(watched, "Where does it begin?")
    repo = world.app.hub.repos.find(Kind.MODEL, "reader", "brook-markov")
    link = watched.page.locator(".said.it .under a")
    assert link.get_attribute("href") == f"/reader/brook-markov/tree/{repo.head}"
    assert link.inner_text() == f"reader/brook-markov@{repo.head[:10]}"
    assert violations(watched) == []
    before = said(watched, "it")
    assert before[0].endswith(".")
    watched.page.reload()
    watched.page.locator(".said.it .under a").wait_for()
    assert said(watched, "it") == before
    assert watched.page.locator("#talks li a[aria-current]").inner_text() == "Where does it begin?"
    watched.assert_clean()


def test_stop_ends_the_answer_and_keeps_what_came(visit, world):
    name = make(world, "slow", {"tokens_per_second": 10}, "and on and on it went " * 40)
    watched = begin(visit, f"/chat?model={name}")
    watched.page.keyboard.type("Begin")
    watched.page.keyboard.press("Enter")
    watched.until("document.querySelector('.said.it .prose')?.innerText.split(' ').length > 6", seconds=60)
    watched.page.get_by_role("button", name="Stop").click()
    watched.page.wait_for_selector(".under :text('stopped')")
    before = said(watched, "it")
    watched.page.wait_for_load_state("networkidle")
    watched.page.reload()
    watched.page.wait_for_selector(".under :text('stopped')")
    assert said(watched, "it") == before
    watched.assert_clean()


def test_a_page_that_is_left_in_the_middle_of_an_answer_keeps_what_came(visit, world):
    name = make(world, "slow", {"tokens_per_second": 10}, "and on and on it went " * 40)
    watched = begin(visit, f"/chat?model={name}")
    watched.page.keyboard.type("Begin")
    watched.page.keyboard.press("Enter")
    watched.until("document.querySelector('.said.it .prose')?.innerText.split(' ').length > 4", seconds=60)
    watched.until("location.search.includes('c=')")
    watched.page.reload()
    watched.page.wait_for_selector(".under :text('stopped')")
    assert said(watched, "it")[0].startswith(("and", "on", "it", "went"))


def test_questions_and_answers_branch_and_one_turns_between_the_versions(visit):
    watched = begin(visit)
    ask(watched, "First")
    first = said(watched, "it")[0]
    press(watched, "Answer again")
    settled(watched)
    assert watched.page.locator(".said.it .turns").inner_text().split() == ["2", "/", "2"]
    press(watched, "Earlier version")
    assert said(watched, "it") == [first]
    ask(watched, "And then?")
    press(watched, "Edit and ask anew", 0)
    watched.page.locator(".rewrite textarea").fill("Otherwise")
    press(watched, "Ask anew")
    watched.page.locator(".said.you .text", has_text="Otherwise").wait_for()
    settled(watched)
    assert said(watched, "you") == ["Otherwise"]
    watched.page.reload()
    watched.page.locator(".said.you .turns").wait_for()
    assert watched.page.locator(".said.you .turns").inner_text().split() == ["2", "/", "2"]
    press(watched, "Earlier version")
    assert said(watched, "you") == ["First", "And then?"] and said(watched, "it")[0] == first
    assert violations(watched) == []
    watched.assert_clean()


def test_the_arrow_up_in_an_empty_field_edits_the_last_question_and_escape_leaves_it(visit):
    watched = begin(visit)
    ask(watched, "First")
    watched.page.press("#text", "ArrowUp")
    assert watched.page.locator(".rewrite textarea").input_value() == "First"
    watched.page.keyboard.press("Escape")
    assert said(watched, "you") == ["First"]


def test_what_is_deleted_can_be_taken_back_and_else_is_gone(visit, world):
    watched = begin(visit)
    ask(watched, "Keep me")
    place = watched.page.url
    press(watched, "Delete from here on")
    assert said(watched, "it") == []
    press(watched, "Undo")
    assert len(said(watched, "it")) == 1
    watched.page.locator("#menu summary").click()
    watched.page.locator("#forget").click()
    assert said(watched, "you") == [] and watched.page.locator("#talks a[title='Keep me']").count() == 0
    press(watched, "Undo")
    assert said(watched, "you") == ["Keep me"] and watched.page.url == place
    watched.page.locator("#menu summary").click()
    watched.page.locator("#forget").click()
    watched.page.goto(world.url + "/help")  # leaving settles it
    id = place.split("c=")[1]
    end = time.monotonic() + 10
    while httpx.get(f"{world.url}/api/headwater/conversations/{id}").status_code != 404:
        assert time.monotonic() < end
        time.sleep(0.05)
    watched.assert_clean()
