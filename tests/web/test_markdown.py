"""Cards of strangers become HTML that is safe, stays at home, and does not take for ever."""

from __future__ import annotations

import time
from html.parser import HTMLParser
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headwater.web import cards, highlight
from headwater.web.markdown import render
from headwater.web.snippets import snippets

LOADING = {"src", "srcset", "data", "poster", "background", "action", "formaction", "xlink:href"}


def shown(text: str) -> str:
    return render(text, "/o/n", "main")


class Danger(HTMLParser):
    def __init__(self, html: str):
        super().__init__()
        self.found: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        if tag in ("script", "style", "iframe", "object", "embed", "form", "svg", "math", "link", "meta", "base"):
            self.found.append(tag)
        for name, value in attrs:
            if name.startswith("on") or name == "style":
                self.found.append(name)
            if name in LOADING and not (value or "").startswith("/o/n/resolve/"):
                self.found.append(f"{name}={value}")
            if name == "href" and urlsplit(value or "").scheme not in ("", "http", "https", "mailto"):
                self.found.append(f"href={value}")


HOSTILE = [
    "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "[a](javascript:alert(1))",
    "<a href='java\nscript:1'>x</a>",
    "<svg onload=alert(1)>", "<iframe src=//e.test></iframe>", "<math><mi xlink:href='javascript:1'>",
    "<b style='x'>y</b>",
    "![x](http://e.test/p.png)", "![x](//e.test/p.png)", "<img src='https://e.test/p.png' srcset='//e.test/q 2x'>",
    "<video poster=//e.test/p src=//e.test/v></video>", "<base href=//e.test>",
    "<form action=//e.test><input name=a></form>",
    "<noscript><p title='</noscript><img src=x onerror=1>'>", "<!--><img src=x onerror=1>-->",
    "[![a](http://e.test/x)](#y)",
    "<div id=toast class=toast>x</div>", "![x](data:image/png;base64,AAAA)",
    "![x](../../../other/private/resolve/main/x)",
    "<a href='&#106;avascript:alert(1)'>x</a>", "[x](vbscript:1)", "<img src=\"/o/n/resolve/main/x\" onload=1>",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_runs_and_nothing_is_loaded_from_elsewhere(text):
    html = shown(text)
    assert Danger(html).found == []
    assert "id=" not in html and "toast" not in html.replace("class=toast", "")


JOINTS = ["\n\n", "> ", "- ", "```\n", "|a|b|\n|-|-|\n", "<div>", "</div>", "<", '"', "'", "&", "<!--", "]]>", "`"]


@given(st.lists(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=30), st.sampled_from(JOINTS)), max_size=12))
@settings(max_examples=150, deadline=None)
def test_no_mixture_of_pieces_gets_through(pieces):
    assert Danger(shown("".join(pieces))).found == []


@pytest.mark.parametrize("piece", [
    ">", "[", "*a ", "- ", "<", "`", "![[", "|a", "<!--", "[^1]", "&", "a**b", "[a](<b", "_a", "[a]: u\n", "1) ", "\\",
    "[x](", "# a\n", "<b>", "<div>\n\n",
])
def test_a_card_of_one_repeated_piece_is_rendered_in_seconds(piece):
    started = time.thread_time()
    shown(piece * (150_000 // len(piece)))
    assert time.thread_time() - started < 10


def test_links_and_pictures_of_the_repo_point_into_it_at_the_revision():
    html = render("[f](sub/a%20b.md#part) ![p](./p.png) [#](#a-part)\n\n## A part", "/datasets/o/n", "v 1")
    assert 'href="/datasets/o/n/blob/v%201/sub/a%20b.md#part"' in html
    assert 'src="/datasets/o/n/resolve/v%201/p.png"' in html
    assert 'href="#card-a-part"' in html and 'id="card-a-part"' in html


def test_headings_begin_at_the_second_level_and_skip_none():
    assert [t for t in ("h2", "h3", "h4") if f"<{t}" in shown("### A\n\n###### B\n\n# C\n\n#### D")] == ["h2", "h3"]
    html = shown("### A\n\n###### B\n\n# C\n\n#### D")
    assert [html.count(f"<{t} ") == html.count(f"</{t}>") for t in ("h2", "h3")] == [True, True]


def test_headings_have_ids_of_their_own():
    html = shown("# A\n\n# A\n\n## 用途")
    assert '<h2 id="card-a">' in html and '<h2 id="card-a-1">' in html and '<h3 id="card-用途">' in html


def test_code_is_coloured_with_classes_and_tables_can_scroll():
    html = shown("```py\nimport os\n```\n\n|a|\n|-|\n|1|")
    assert '<span class="kn">import</span>' in html
    assert '<div class="wide" tabindex="0"' in html


def test_source_lines_carry_their_colours_over_line_ends():
    lines = highlight.lines('x = """one\ntwo"""\n', "python")
    assert len(lines) == 2
    assert all(line.count("<span") == line.count("</span>") for line in lines)


@given(st.text(max_size=300), st.sampled_from(["python", "json", "markdown", "yaml", "html", None]))
@settings(max_examples=100, deadline=None)
def test_colouring_changes_no_character(text, language):
    from html import unescape
    from re import sub

    text = text.replace("\r", "")
    assert unescape(sub(r"</?span[^>]*>", "", highlight.colour(text, language))) == text


@pytest.mark.parametrize(("body", "line"), [
    ("# T\n\nIt is a model that sings of rivers.\n", "It is a model that sings of rivers."),
    ("![badge](x)\n\n<p align=center>x</p>\n\n**Bold** model by [us](https://x), for all who read.",
     "Bold model by us, for all who read."),
    ("# Only a title\n\n- a\n- b", ""), ("", ""),
])
def test_the_line_on_what_it_is_comes_from_the_first_plain_paragraph(body, line):
    assert cards.opening(body) == line


def test_snippets_fit_what_the_repo_holds():
    from headwater.core.types import Card, Entry, EntryKind, Kind, Repo

    repo = Repo(1, Kind.MODEL, "o", "n", False, 0, 0, None, 0, 0, 0, Card())
    files = [Entry(p, EntryKind.FILE, "0" * 40) for p in ("config.json", "model.safetensors", "m-Q4.gguf")]
    titles = [s.title for s in snippets(repo, files, "http://h", "o/n", needs_token=True)]
    assert titles == ["headwater", "openai", "curl", "hf", "huggingface_hub", "transformers", "llama.cpp"]
    assert [s.title for s in snippets(repo, [], "http://h", None, needs_token=False)] == ["hf", "huggingface_hub"]
    for s in snippets(repo, files, "http://h", "o/n", needs_token=True):
        if s.language == "python":
            compile(s.text, s.title, "exec")
