"""The modules of the chat page that know no page, run in a real browser: Markdown that is being written, formulas and
code, sentences for a screen reader, the tree of messages, a request as a program writes it."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
import subprocess

import pytest

PAPER = """async ([text, step]) => {
    const {Paper} = await import("/static/chat-paper.js");
    const box = document.createElement("div");
    box.className = "prose";
    document.body.append(box);
    const paper = new Paper(box, () => document.createElement("button"));
    const costs = [];
    for (let n = 0; n < text.length; n += step) {
        const before = paper.read;
        paper.write(text.slice(n, n + step));
        costs.push(paper.read - before);
    }
    const streamed = box.innerHTML;
    paper.settle(text);
    return {streamed, whole: box.innerHTML, costs, said: box.textContent,
            strange: box.querySelectorAll("img,script,[onerror],[style],[id],a:not([href^=http])[href]").length};
}"""


@pytest.fixture(scope="module")
def paper(chromium, world):
    """One page for all of these: they keep nothing."""
    context = chromium.new_context()
    page = context.new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if said.type == "error" else None)
    page.goto(f"{world.url}/chat?model=reader/brook-markov")
    yield page
    assert errors == []
    context.close()


def plain(html: str) -> str:
    return re.sub(r">\s+<", "><", html).replace("\n<", "<")


def test_what_a_model_says_is_shown_and_never_run(paper):
    text = ("# Hi\n\n<img src=x onerror='window.hurt=1'><script>window.hurt=1</script>\n\n"
            "[go](javascript:window.hurt=1) ![x](https://e.test/p.png)\n\n"
            "<b class='toast' id='text' style='top:0'>b</b> <b>bold</b>\n\n"
            "- a\n- b\n  - c\n\n1. one\n2. two\n3. three\n\n```text\nx = 1\n```\n\nend")
    drawn = paper.evaluate(PAPER, [text, 1])
    assert plain(drawn["streamed"]) == plain(drawn["whole"])
    whole = drawn["whole"]
    assert drawn["strange"] == 0 and "<b>bold</b>" in whole
    assert "<img src=x onerror='window.hurt=1'>" in drawn["said"]  # what it says is not dropped in silence
    assert "<h1>Hi</h1>" in whole and "x = 1" in whole and "<li>one</li>" in whole
    assert paper.evaluate("window.hurt") is None


@pytest.mark.parametrize(("kind", "text"), [
    ("paragraphs", "A sentence of some words, and *another* one.\n\n" * 2000),
    ("one block of code", "```text\n" + "value = call(argument)  # and why\n" * 3000 + "```\n\nDone."),
    ("one list", "- an item of some words\n" * 3000 + "\nDone."),
    ("a numbered list", "".join(f"{n}. an item of some words\n" for n in range(1, 3000))),
])
def test_a_piece_costs_as_much_at_the_end_of_a_long_answer_as_at_its_beginning(paper, kind, text):
    drawn = paper.evaluate(PAPER, [text, 40])
    costs = drawn["costs"]
    assert max(costs[-500:]) <= max(costs[:500]) + 40 < 400, kind
    assert plain(drawn["streamed"]) == plain(drawn["whole"])


def test_formulas_become_mathml_and_money_stays_money(paper):
    text = ("Euler: $e^{i\\pi}+1=0$, also \\(a^2\\).\n\n$$\\frac{1}{2}\n\n+ x$$\n\n\\[\\sum_{n=1}^\\infty n\\]\n\n"
            "It costs $5 and $6, or $7. Broken: $\\frac{$ here. `$a$` is code.\n\n"
            "$\\href{javascript:alert(1)}{x}$ end\n\n"
            "$\\def\\a{\\a\\a}\\a$")
    got = paper.evaluate("""async (text) => {
        const {Paper} = await import("/static/chat-paper.js");
        const box = document.createElement("div");
        document.body.append(box);
        const paper = new Paper(box, () => document.createElement("button"));
        for (const c of text) paper.write(c);
        paper.settle(text);
        const end = performance.now() + 15000;
        while (!box.querySelector("math") && performance.now() < end) await new Promise((go) => setTimeout(go, 30));
        return {maths: box.querySelectorAll("math").length, shown: box.querySelectorAll("math[display=block]").length,
                text: box.textContent, links: [...box.querySelectorAll("a")].map((a) => a.href)};
    }""", text)
    assert got["maths"] >= 4 and got["shown"] == 2
    assert "It costs $5 and $6, or $7." in got["text"] and "$a$" in got["text"]
    assert got["links"] == []


def test_code_is_coloured_when_its_block_is_closed(paper):
    got = paper.evaluate("""async () => {
        const {Paper} = await import("/static/chat-paper.js");
        const box = document.createElement("div");
        document.body.append(box);
        const paper = new Paper(box, () => document.createElement("button"));
        paper.settle("```py\\ndef f(x):\\n    return '<b>' # <img src=x>\\n```\\n\\n```cobol-of-mars\\nMOVE\\n```");
        const end = performance.now() + 15000;
        while (!box.querySelector(".hljs-keyword") && performance.now() < end)
            await new Promise((go) => setTimeout(go, 30));
        return {keyword: box.querySelector(".hljs-keyword")?.textContent, text: box.querySelector("code").textContent,
                names: [...box.querySelectorAll(".head-line span")].map((one) => one.textContent),
                images: box.querySelectorAll("img").length};
    }""")
    assert got["text"].rstrip() == "def f(x):\n    return '<b>' # <img src=x>"
    assert got["keyword"] == "def" and got["images"] == 0 and got["names"] == ["py", "cobol-of-mars"]


def test_a_screen_reader_is_told_sentences_without_marks_and_without_code(paper):
    text = ("**Rain** falls 3.5 mm. Why? See [the page](https://e.test).\n```py\nx = 1. \n```\n"
            "源头在山里。水往海里流！End")
    heard = paper.evaluate("""async (text) => {
        const {Sentences} = await import("/static/chat-speech.js");
        const one = new Sentences(), heard = [];
        for (const c of text) heard.push(...one.feed(c));
        return [...heard, ...one.close()];
    }""", text)
    assert heard == ["Rain falls 3.5 mm.", "Why?", "See the page.", "源头在山里。", "水往海里流！", "End"]


def test_a_tree_turns_steps_prunes_and_offers_a_choice(paper):
    got = paper.evaluate("""async () => {
        const {Tree} = await import("/static/chat-tree.js");
        const node = (id, parent, role, group, column) => ({id, parent, role, made: group ? {group, column} : {}});
        const tree = new Tree([node("q", null, "user"), node("a", "q", "assistant"), node("q2", "a", "user"),
            node("b", "q", "assistant"), node("c", "q2", "assistant", "g", 1), node("d", "q2", "assistant", "g", 0)]);
        const ids = (list) => list.map((one) => one.id);
        const out = {path: ids(tree.path("c")), tip: tree.tip("q"), rivals: ids(tree.rivals("q2")),
            step: [tree.step(tree.get("a"), 1).id, tree.step(tree.get("b"), 1).id],
            lost: ids(new Tree([node("x", "gone", "user")]).path("x"))};
        tree.add(node("e", "c", "user"));
        return {...out, decided: ids(tree.rivals("q2")),
            on: tree.tip("a"), gone: ids(tree.remove("q2")), left: tree.size};
    }""")
    assert got == {"path": ["q", "a", "q2", "c"], "tip": "q2", "rivals": ["d", "c"], "step": ["b", "b"], "lost": ["x"],
                   "decided": [], "on": "e", "gone": ["q2", "c", "d", "e"], "left": 3}


def written(page, language: str, settings: dict, base: str, said: str = "It's \"so\"\nand 你好 \\ $HOME") -> str:
    return page.evaluate("""async ([language, settings, base, said]) => {
        const {request, WRITERS} = await import("/static/chat-request.js");
        return WRITERS[language](request("reader/brook-markov", [{role: "user", content: said}], settings), base);
    }""", [language, settings, base, said])


SETTINGS = {"system": "Be brief.", "temperature": 0, "top_p": None, "max_tokens": 8, "seed": 7, "schema": ""}


def test_the_request_as_curl_runs_and_is_answered(paper, world):
    code = written(paper, "curl", SETTINGS, world.url)
    done = subprocess.run(["bash", "-c", code], capture_output=True, text=True, timeout=60,
                          env={**os.environ, "HF_TOKEN": ""})
    answer = json.loads(done.stdout)
    assert answer["headwater"]["seed"] == 7 and answer["usage"]["completion_tokens"] <= 8


def test_the_request_in_python_runs_with_the_real_client(paper, world, monkeypatch):
    monkeypatch.delenv("HF_TOKEN", raising=False)
    code, out = written(paper, "python", SETTINGS, world.url), io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, "snippet", "exec"), {"__name__": "snippet"})
    assert out.getvalue().strip()
    schema = {**SETTINGS, "schema": '{"type": "object", "required": ["a"], "additionalProperties": false}'}
    compile(written(paper, "python", schema, world.url), "snippet", "exec")
    assert "'additionalProperties': False" in written(paper, "python", schema, world.url).replace('"', "'")


def test_the_request_in_javascript_says_the_same(paper, world):
    code = written(paper, "javascript", SETTINGS, world.url)
    given = json.loads(code[code.index("create(") + 7:code.index(");\nfor await")])
    assert given["seed"] == 7 and given["messages"][0] == {"role": "system", "content": "Be brief."} and given["stream"]
