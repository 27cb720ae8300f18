"""What stands around a conversation: models side by side, search and folders, links, presets, files, tabs, keys."""

from __future__ import annotations

import json

import httpx
from test_browser import violations
from test_chat import PAUSE, ask, begin, press, said, settled
from web_world import picture


def test_two_models_answer_side_by_side_and_one_is_gone_on_with(visit):
    watched = begin(visit)
    press(watched, "Ask another model beside it")
    second = watched.page.locator("#more-models select")
    second.select_option("reader/xiliu")
    watched.page.fill("#text", "Where to?")
    watched.page.press("#text", "Enter")
    watched.page.locator(".beside .said.it .pick").nth(1).wait_for(timeout=PAUSE)
    assert watched.page.locator(".beside .who-spoke").all_inner_texts() == ["reader/brook-markov", "reader/xiliu"]
    watched.page.wait_for_load_state("networkidle")
    assert violations(watched) == []
    watched.page.reload()
    watched.page.locator(".beside .pick").nth(1).wait_for()
    answers = said(watched, "it")
    watched.page.fill("#text", "Too early")
    watched.page.press("#text", "Enter")
    assert "Choose the answer" in watched.page.locator("#note").inner_text()
    watched.page.locator(".beside .pick").nth(1).click()
    assert said(watched, "it") == [answers[1]]
    assert watched.page.locator(".said.it .turns").inner_text().split()[1:] == ["/", "2"]
    assert watched.page.locator("#model").input_value() == "reader/xiliu"
    assert watched.page.locator("#more-models select").count() == 0
    ask(watched, "Go on")
    assert len(said(watched, "it")) == 2
    watched.assert_clean()


def test_conversations_are_found_by_their_words_and_kept_in_folders(visit):
    watched = begin(visit)
    ask(watched, "源头在哪里呢")
    press(watched, "New conversation")
    ask(watched, "A walrus asks")
    watched.page.locator("#menu summary").click()
    watched.page.locator("#rename").click()
    watched.page.get_by_label("Name", exact=True).last.fill("Of walruses")
    watched.page.locator("#folder").fill("Beasts")
    watched.page.keyboard.press("Enter")
    watched.page.locator("#talks a", has_text="Of walruses").locator("small", has_text="Beasts").wait_for()
    watched.page.keyboard.press("Control+k")
    assert watched.page.evaluate("document.activeElement.id") == "seek"
    watched.page.keyboard.type("源头")
    watched.page.locator("#talks mark", has_text="源头").wait_for()
    assert watched.page.locator("#talks li").count() == 1
    watched.page.fill("#seek", "WALRUS asks")
    watched.page.locator("#talks a", has_text="Of walruses").wait_for()
    watched.page.fill("#seek", "no such words anywhere")
    watched.page.get_by_text("Nothing found.").wait_for()
    assert violations(watched) == []
    watched.page.fill("#seek", "")
    watched.page.locator("#folders").select_option("Beasts")
    watched.until("document.querySelectorAll('#talks li').length === 1")
    watched.page.locator("#talks a").click()
    assert said(watched, "you") == ["A walrus asks"]
    watched.assert_clean()


def test_two_tabs_show_the_same_conversation(visit):
    watched = begin(visit)
    ask(watched, "From one tab")
    other = watched.page.context.new_page()
    other.goto(watched.page.url)
    other.locator(".said.it .under a").wait_for()
    ask(watched, "And again")
    other.locator(".said.you .text", has_text="And again").wait_for()
    other.locator(".said.it .under a").nth(1).wait_for(timeout=PAUSE)
    prose = ".said.it .prose"
    assert other.locator(prose).all_inner_texts() == watched.page.locator(prose).all_inner_texts()
    assert other.locator("#talks a", has_text="From one tab").count() == 1


def test_words_chosen_with_an_input_method_send_nothing_until_enter_is_pressed_alone(visit):
    watched = begin(visit, locale="zh-CN")
    keys = watched.page.context.new_cdp_session(watched.page)
    for n in range(1, 6):
        keys.send("Input.imeSetComposition", {"text": "nihao"[:n], "selectionStart": n, "selectionEnd": n})
    enter = {"windowsVirtualKeyCode": 229, "key": "Process", "code": "Enter"}  # while an input method has it
    for kind in ("rawKeyDown", "keyUp"):
        keys.send("Input.dispatchKeyEvent", {"type": kind, **enter})
    watched.page.evaluate("""() => document.getElementById("text").dispatchEvent(
        new KeyboardEvent("keydown", {key: "Enter", bubbles: true, cancelable: true, isComposing: true}))""")
    assert watched.page.locator(".said").count() == 0
    keys.send("Input.insertText", {"text": "你好"})
    assert watched.page.input_value("#text") == "你好"
    watched.page.keyboard.press("Shift+Enter")
    assert watched.page.locator(".said").count() == 0
    watched.page.keyboard.press("Enter")
    settled(watched)
    assert said(watched, "you") == ["你好"]


def test_settings_reach_the_model_stay_with_the_conversation_and_make_a_preset(visit):
    watched = begin(visit)
    watched.page.locator("#tuning > summary").click()
    watched.page.fill("#system", "Be brief.")
    watched.page.fill("#max_tokens", "5")
    watched.page.fill("#seed", "11")
    watched.page.fill("#top_p", "")
    watched.page.locator("#reasoning_effort").select_option("none")
    watched.page.fill("#preset-name", "Short")
    press(watched, "Keep", 0)
    watched.page.get_by_text("The preset is kept.").wait_for()
    assert violations(watched) == []
    with watched.page.expect_request("**/v1/chat/completions") as sent:
        ask(watched, "Speak")
    body = json.loads(sent.value.post_data)
    assert (body["seed"], body["max_tokens"]) == (11, 5)
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert "top_p" not in body and body["reasoning_effort"] == "none"
    assert "reasoning_effort" in watched.page.locator(".said.it .heed").inner_text()  # no such switch, and it says so
    assert "seed 11" in watched.page.locator(".said.it .under").inner_text()
    assert "cut off" in watched.page.locator(".said.it .under").inner_text()
    watched.page.reload()
    watched.page.locator(".said.it .under a").wait_for()
    assert watched.page.input_value("#seed") == "11" and watched.page.input_value("#system") == "Be brief."
    press(watched, "New conversation")
    assert watched.page.input_value("#seed") == ""
    watched.page.locator("#tuning > summary").click()
    watched.page.locator("#preset").select_option(label="Short")
    assert watched.page.input_value("#seed") == "11"
    press(watched, "Delete this preset")
    press(watched, "Undo")
    watched.until("[...document.getElementById('preset').options].some((one) => one.text === 'Short')")
    watched.assert_clean()


def test_a_schema_that_is_none_is_refused_before_anything_is_sent(visit):
    watched = begin(visit)
    watched.page.locator("#tuning > summary").click()
    watched.page.get_by_text("Form of the answer, as a JSON schema").click()
    watched.page.fill("#schema", '{"type": ')
    assert "no JSON schema" in watched.page.locator("#schema-said").inner_text()
    watched.page.fill("#text", "Hello")
    watched.page.press("#text", "Enter")
    assert "no JSON schema" in watched.page.locator("#note").inner_text()
    assert watched.page.locator(".said").count() == 0 and watched.page.input_value("#text") == "Hello"


def test_the_request_is_shown_as_code_as_it_would_be_sent_now(visit, world):
    watched = begin(visit, permissions=["clipboard-read", "clipboard-write"])
    watched.page.locator("#seed").evaluate("(e) => { e.value = 5; e.dispatchEvent(new Event('input')); }")
    watched.page.fill("#text", "Where?")
    press(watched, "This request as code")
    assert f"curl {world.url}/v1/chat/completions" in watched.page.locator("#code-text").inner_text()
    watched.page.locator("#code-language").select_option("python")
    text = watched.page.locator("#code-text").inner_text()
    assert "seed=5," in text and '"content": "Where?"' in text
    watched.page.locator("#code-box .copy").click()
    assert watched.page.evaluate("navigator.clipboard.readText()").replace("\r", "") == text
    assert violations(watched) == []
    watched.page.keyboard.press("Escape")
    assert watched.page.input_value("#text") == "Where?"
    watched.assert_clean()


def test_a_model_that_cannot_answer_says_why_and_is_asked_again(visit):
    watched = begin(visit)
    watched.page.route("**/v1/chat/completions", lambda route: route.fulfill(
        status=503, json={"error": {"message": "The engine did not start.", "type": "x", "code": "EngineFailed"}}))
    watched.page.keyboard.type("Hello")
    watched.page.keyboard.press("Enter")
    watched.page.wait_for_selector(".said .note.bad")
    assert watched.page.locator(".said .note.bad").inner_text() == "The engine did not start."
    watched.page.unroute("**/v1/chat/completions")
    press(watched, "Answer again")
    settled(watched)
    assert watched.page.locator(".said .note.bad").count() == 0 and watched.page.locator(".turns").count() == 0


STAGED = """(pieces) => {
    const real = window.fetch;
    window.told = [];
    window.fetch = (path, ...more) => path !== "/v1/chat/completions" ? real(path, ...more)
      : Promise.resolve(new Response(
        new ReadableStream({async start(out) {
            const box = document.getElementById("log");
            for (const piece of pieces) {
                const bytes = new TextEncoder().encode(piece), half = bytes.length >> 1;  // may split a character
                out.enqueue(bytes.slice(0, half));
                await new Promise((go) => setTimeout(go, 20));
                out.enqueue(bytes.slice(half));
                await new Promise((go) => setTimeout(go, 120));
                window.told.push(box.lastElementChild.innerText);
            }
            out.close();
        }})));
}"""


def test_reasoning_is_folded_and_the_place_in_the_queue_is_told(visit):
    watched = begin(visit)
    origin = {"headwater": {"repo": "reader/brook-markov", "revision": "a" * 40}}
    deltas = [{"reasoning_content": "让我想想。\n一条河"}, {"reasoning_content": "有源头。"}, {"content": "在山里。"}]
    pieces = [f"data: {json.dumps({**origin, 'choices': [{'delta': one}]}, ensure_ascii=False)}\n\n" for one in deltas]
    watched.page.evaluate(STAGED, [": headwater.queue 3\n\n", *pieces, "data: [DONE]\n\n"])
    ask(watched, "Where?")
    told = watched.page.evaluate("window.told")
    assert told[0] == "Waiting: place 3 in the queue"
    assert told[1].split("\n")[0].endswith("一条河") and told[2].split("\n")[0].startswith("Thinking for")
    thought = watched.page.locator(".said.it details.thought")
    assert thought.evaluate("(e) => e.open") is False
    assert thought.locator("summary").inner_text().startswith("Thought for")
    thought.locator("summary").click()
    assert thought.locator("div").inner_text() == "让我想想。\n一条河有源头。"
    assert said(watched, "it") == ["在山里。"]
    watched.page.reload()
    watched.page.locator(".said.it details.thought").wait_for()
    assert violations(watched) == []


def test_conversations_of_the_browser_move_to_the_hub_once(visit, world):
    watched = visit()
    watched.open("/help")
    old = [{"id": "b" * 16, "title": "Old and newer", "model": "reader/brook-markov", "messages": [
        {"role": "user", "content": "Old question"},
        {"role": "assistant", "content": "Old answer", "origin": {"revision": "c" * 40}}]},
        {"id": "a" * 16, "title": "Old and older", "model": "", "messages": [{"role": "user", "content": "Lost"}]}]
    watched.page.evaluate("(old) => localStorage.setItem('headwater.talks', JSON.stringify(old))", old)
    watched.open("/chat")
    watched.page.locator("#talks a", has_text="Old and older").wait_for()
    watched.page.locator("#talks a", has_text="Old and newer").click()
    watched.page.locator(".said.it").wait_for()
    assert said(watched, "you") == ["Old question"] and said(watched, "it") == ["Old answer"]
    assert watched.page.evaluate("localStorage.getItem('headwater.talks')") is None
    watched.page.reload()
    watched.page.locator(".said.it").wait_for()
    found = httpx.get(f"{world.url}/api/headwater/conversations", params={"q": "Old and"}).json()["items"]
    assert sorted(one["title"] for one in found) == ["Old and newer", "Old and older"]


def test_on_a_phone_the_list_is_a_drawer(visit):
    watched = visit(viewport={"width": 390, "height": 844}, has_touch=True)
    watched.open("/chat?model=reader/brook-markov")
    ask(watched, "On a phone")
    assert not watched.page.locator("#talks").is_visible()
    press(watched, "Conversations")
    assert watched.page.evaluate("document.activeElement.id") == "seek"
    assert violations(watched) == []
    watched.page.keyboard.press("Escape")
    assert not watched.page.locator("#talks").is_visible()
    assert watched.page.evaluate("document.activeElement.id") == "drawer"
    press(watched, "Conversations")
    press(watched, "New conversation")
    assert watched.page.locator(".said").count() == 0 and not watched.page.locator("#talks").is_visible()


def test_what_was_typed_is_still_there_after_a_look_at_another_conversation(visit):
    watched = begin(visit)
    ask(watched, "Stay")
    watched.page.fill("#text", "half a thou")
    watched.page.keyboard.press("Control+Shift+O")
    assert watched.page.input_value("#text") == ""
    watched.page.locator("#talks a", has_text="Stay").first.click()
    watched.until("document.getElementById('text').value === 'half a thou'")


def test_sentences_are_announced_in_a_log(visit):
    watched = begin(visit)
    ask(watched, "Say something")
    told = watched.page.locator("#live p").all_inner_texts()
    assert told[0] == "Answering" and told[-1] == "Answer complete" and len(told) >= 3
    assert watched.page.locator("#live").get_attribute("aria-live") == "polite"


def test_files_are_chosen_dropped_or_pasted_go_with_the_question_and_stay_with_it(visit, world):
    watched = begin(visit)
    watched.page.set_input_files("#chosen", [{"name": "笔记.md", "mimeType": "text/markdown", "buffer": b"# Springs"}])
    watched.page.evaluate("""() => {
        const held = new DataTransfer(), more = new DataTransfer();
        held.items.add(new File(["a,b\\n1,2\\n"], "table.csv", {type: "text/csv"}));
        const pasted = new ClipboardEvent("paste", {clipboardData: held, bubbles: true});
        document.getElementById("text").dispatchEvent(pasted);
        more.items.add(new File(["#!/bin/sh"], "run.exe", {type: "application/x-msdownload"}));
        document.querySelector(".talk").dispatchEvent(new DragEvent("drop", {dataTransfer: more, bubbles: true}));
    }""")
    watched.until("document.querySelectorAll('#files li').length === 3 && !document.querySelector('#files .sending')")
    watched.page.fill("#text", "What is in these?")
    watched.page.press("#text", "Enter")
    assert "Only pictures, PDF and text" in watched.page.locator("#note").inner_text()
    assert violations(watched) == []
    press(watched, "Leave out: run.exe")
    with watched.page.expect_request("**/v1/chat/completions") as sent:
        ask(watched, "What is in these?")
    parts = json.loads(sent.value.post_data)["messages"][0]["content"]
    assert [part["type"] for part in parts] == ["file", "file", "text"]
    text = httpx.get(f"{world.url}/v1/files/{parts[0]['file']['file_id']}/content").text
    assert text == "# Springs"
    watched.page.reload()
    watched.page.locator(".said.it .under a").wait_for()
    assert watched.page.locator(".said.you .files li").all_inner_texts() == ["笔记.md", "table.csv"]
    watched.assert_clean()


def test_a_picture_for_a_model_that_cannot_see_is_refused_before_anything_is_sent(visit):
    watched, asked = begin(visit), []
    watched.page.on("request", lambda request: asked.append(request.url) if "completions" in request.url else None)
    watched.page.set_input_files("#chosen", [{"name": "course.png", "mimeType": "image/png", "buffer": picture()}])
    watched.page.locator("#files canvas[aria-label='course.png']").wait_for()
    watched.page.fill("#text", "What do you see?")
    watched.page.press("#text", "Enter")
    watched.page.get_by_text("reader/brook-markov cannot see pictures.").wait_for()
    assert watched.page.input_value("#text") == "What do you see?" and asked == []
    press(watched, "Leave out: course.png")
    assert not watched.page.locator("#note").is_visible()
    watched.assert_clean()


def test_a_shared_link_is_read_in_another_session_and_gone_on_from(visit, world):
    watched = begin(visit)
    ask(watched, "Read this, all of you")
    watched.page.locator("#menu > summary").click()
    watched.page.locator("#share").click()
    link = watched.page.locator("#share-link")
    link.wait_for()
    address = link.input_value()
    assert address.startswith(f"{world.url}/chat/shared/") and violations(watched) == []
    other = visit()
    other.open(address.removeprefix(world.url))
    assert other.page.get_by_text("Read this, all of you").first.is_visible()
    other.page.get_by_role("button", name="Continue from here").last.click()
    other.page.wait_for_url("**/chat?c=*")
    other.page.locator(".said.you .text", has_text="Read this, all of you").wait_for()
    ask(other, "I go on")
    press(watched, "Stop sharing")
    watched.page.wait_for_selector("#share-box", state="hidden")
    assert httpx.get(address, headers={"accept": "text/html"}).status_code == 404
    watched.assert_clean()


def test_copies_are_saved_as_markdown_and_as_json(visit):
    watched = begin(visit)
    ask(watched, "To be kept")
    for form, holds in (("md", "To be kept"), ("json", '"messages"')):
        watched.page.locator("#menu > summary").click()
        with watched.page.expect_download() as got:
            watched.page.locator(f"[data-form={form}]").click()
        assert holds in got.value.path().read_text("utf-8") and got.value.suggested_filename.endswith(f".{form}")
    watched.page.locator("#menu > summary").click()
    with watched.page.expect_popup() as paper:
        watched.page.locator("[data-form=html]").click()
    paper.value.get_by_text("To be kept").first.wait_for()


def test_what_is_typed_before_the_scripts_are_there_is_not_lost(visit):
    watched = visit()
    waiting = []
    watched.page.route("**/static/chat.js*", lambda route: waiting.append(route))
    watched.page.goto(f"{watched.url}/chat?model=reader/brook-markov", wait_until="commit")
    watched.page.fill("#text", "I type fast")
    watched.page.locator("#tuning > summary").click()
    watched.page.fill("#seed", "3")
    waiting[0].continue_()
    watched.page.locator("#tuning.moved").wait_for()
    assert watched.page.input_value("#text") == "I type fast" and watched.page.input_value("#seed") == "3"
