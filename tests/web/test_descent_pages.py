"""Pages of descent: what a family, a pair and the whole tree show, to whom, and what their buttons do."""

from __future__ import annotations

import io
import re
import time
from itertools import pairwise

import httpx
import networkx
import pytest
from web_world import World

from headwater.core.types import Kind
from headwater.trace.forest import Forest, Forests, Link, Node
from headwater.trace.groups import group
from headwater.trace.lineage import Family, Status
from headwater.trace.work import trace_job
from headwater.web.family_tree import HEIGHT, WIDTH, Member, Tie, draw
from headwater.web.pages._descent import shown

HTML = {"accept": "text/html", "accept-language": "en"}


@pytest.fixture(scope="module")
def http(world: World):
    with httpx.Client(base_url=world.url, headers=HTML) as client:
        yield client


def text(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html))


def test_the_model_page_draws_its_family_and_names_the_nearest_unrelated(http):
    html = http.get("/reader/rill").text
    boxes = re.findall(r'class="box (\w[\w -]*)"[^>]*><title translate="no">([^<:]+)', html)
    assert ("bare self", "reader/rill") in boxes and ("both", "reader/headspring") in boxes
    assert ("unrelated", "reader/stranger") in boxes and "found in the weights too" in html


def test_the_state_of_the_reading_is_told_and_unread_is_never_none(http):
    assert "not yet read" in text(http.get("/reader/bare").text)
    assert "Nobody has read these weights yet, which does not mean" in text(http.get("/reader/bare/lineage").text)
    assert "None of it is kin" in text(http.get("/reader/stranger/lineage").text)


def test_a_model_stored_a_moment_ago_is_asked_for_again_and_the_page_is_whole_once_it_is_read(http):
    family = Family("reader/new", "0" * 40, Status("not-yet-read"))
    assert shown(family, stored_at=time.time()).fresh and not shown(family, stored_at=time.time() - 60).fresh
    panel = {"hx-request": "true", "hx-target": "lineage"}
    assert http.get("/reader/rill/lineage", headers=panel).headers["hx-refresh"] == "true"
    assert "hx-refresh" not in http.get("/reader/bare/lineage", headers=panel).headers


def test_a_model_without_kin_is_compared_in_whole_with_one_of_each_family_of_its_shape(http):
    for _ in range(120):
        said = text(http.get("/reader/stranger/lineage").text)
        if "A closer look is under way" not in said:
            break
        time.sleep(0.5)
    assert "Compared in whole with 1 model of its shape, too. reader/headspring" in said
    assert "Compared in whole with 1 model of its shape" in text(http.get("/reader/stranger").text)


def test_a_pair_has_a_sentence_figures_layers_evidence_and_its_command(http):
    html = http.get("/reader/brooklet/trace/reader/rill").text
    said = text(html)
    assert "reader/brooklet descends from reader/rill." in said
    assert "Of reader/headspring and reader/unseen-rill one descends from the other, or both from a third" in text(
        http.get("/reader/headspring/trace/reader/unseen-rill").text)
    assert "permuted or rotated" in said and "of the neurons agree in the median layer" in said
    assert html.count("<rect class=\"s") == 36 and len(re.findall(r"<rect class=\"s\d best", html)) == 6
    assert "headwater trace reader/brooklet reader/rill" in said and "Which came from which" in said
    other = text(http.get("/reader/headspring/trace/reader/stranger").text)
    assert "no weights in common that can be seen" in other and "Which came from which" not in other
    unread = text(http.get("/reader/rill/trace/reader/bare").text)
    assert "Until both are read, nothing is said of the two." in unread


def test_sentences_of_evidence_are_said_in_chinese_with_their_figures(http):
    html = http.get("/reader/brooklet/trace/reader/rill", headers={"accept-language": "zh"}).text
    rows = re.findall(r'<td class="soft">(.*?)</td>', html, re.S)
    assert len(rows) >= 9 and all(re.search("[\u4e00-\u9fff]", row) for row in rows)
    assert 'lang="en"' not in html.split('<main')[1].split("<footer")[0] and "对独立模型中有" in html


def test_the_form_that_names_another_model_leads_to_the_pair(http):
    answer = http.get("/reader/rill/trace", params={"with": "reader/headspring"})
    assert answer.headers["location"] == "/reader/rill/trace/reader/headspring"
    assert http.get("/reader/rill/trace/reader/rill").status_code == 404


def test_an_owner_answers_and_both_pages_show_it(http):
    path = "/reader/stranger/trace/reader/headspring"
    assert http.post(path, data={"do": "answer", "text": "Trained apart. <b>Truly</b>."}).status_code == 303
    for where in (path, "/reader/headspring/trace/reader/stranger", "/reader/headspring/lineage"):
        assert "Trained apart. &lt;b&gt;Truly&lt;/b&gt;." in http.get(where).text


def test_the_whole_tree_is_filtered_and_exported(http):
    html = http.get("/lineage").text
    assert "1 family" in text(html) and 'href="/reader/rill"' in html
    later = html.split("Not yet read: nothing is known")[1]
    assert 'href="/reader/bare/lineage"' in later and "reader/bare" not in html.split("without kin here")[-1].split(
        "Not yet read")[0]
    assert "No family is like that" in http.get("/lineage?q=nothing-like-this").text
    assert "No family is like that" in http.get("/lineage?owner=watershed").text
    assert "1 family" in text(http.get("/lineage?verdict=descends&owner=reader").text)
    link = re.search(r'href="(/api/headwater/lineage\?form=graphml[^"]*)"', html)[1].replace("&amp;", "&")
    graph = networkx.read_graphml(io.BytesIO(http.get(link).content))
    assert graph.has_edge("reader/headspring", "reader/rill")


def test_a_private_relative_is_not_told_to_others(closed):
    with httpx.Client(base_url=closed.url, headers=HTML) as stranger:
        for path in ("/reader/headspring", "/reader/headspring/lineage", "/lineage", "/lineage?q=unseen"):
            answer = stranger.get(path)
            assert answer.status_code == 200 and "reader/unseen-rill" not in answer.text
        hidden, absent = (stranger.get(f"/reader/headspring/trace/reader/{name}") for name in ("unseen-rill", "absent"))
        assert hidden.status_code == absent.status_code == 404
        assert stranger.post("/reader/rill/lineage", data={"do": "read"}).status_code == 401
        assert "Your answer" not in stranger.get("/reader/rill/trace/reader/headspring").text


def test_licences_of_found_ancestors_bind_and_what_nobody_verified_says_so(http):
    said = text(http.get("/reader/brooklet/lineage").text)
    assert "Gemma Terms of Use not verified" in said and "The card says mit, but" in said


def test_the_parent_is_offered_to_the_owner_and_written_by_the_button_alone(world, http):
    before = http.get("/reader/brooklet/resolve/main/README.md").text
    assert "Write it into the card" in http.get("/reader/brooklet/lineage").text and "base_model" not in before
    assert http.post("/reader/brooklet/lineage", data={"do": "declare"}).status_code == 303
    assert 'base_model: "reader/rill"' in http.get("/reader/brooklet/resolve/main/README.md").text
    after = world.app.hub.repos.find(Kind.MODEL, "reader", "brooklet")
    trace_job(world.app.trace)({"repo_id": after.id, "revision": after.head}, lambda *said, **more: None)
    html = http.get("/reader/brooklet/lineage").text
    assert "Write it into the card" not in html and "found in the weights too" in html


# --- drawing


def boxes(drawing):
    return {box.member.name: (box.x, box.y) for box in drawing.boxes}


def tie(parent, child, order="weights"):
    return Tie(parent, child, order, "descends", 0.9)


def test_parents_stand_above_children_below_and_open_kin_beside():
    names = "abcde"
    made = draw([Member(n) for n in names], [tie("a", "b"), tie("b", "c"), tie("b", "d"), tie("b", "e", "open")], "b")
    at = boxes(made)
    assert at["a"][1] < at["b"][1] == at["e"][1] < at["c"][1] == at["d"][1]
    assert len(made.lines) == 4 and made.left_out == 0


def test_who_comes_from_the_centre_and_from_its_child_stands_below_both():
    made = draw([Member(n) for n in "abc"], [tie("a", "b"), tie("b", "c"), tie("a", "c")], "a")
    assert [boxes(made)[name][1] for name in "abc"] == sorted({at[1] for at in boxes(made).values()})
    made = draw([Member(n) for n in "abc"], [tie("a", "b"), tie("b", "c"), tie("a", "c")], "c")
    assert [boxes(made)[name][1] for name in "abc"] == sorted({at[1] for at in boxes(made).values()})
    circle = draw([Member(n) for n in "abc"], [tie("a", "b"), tie("b", "c"), tie("c", "a")], "a")
    assert len(circle.boxes) == 3


def test_between_neighbours_that_a_line_joins_a_label_has_room():
    made = draw([Member(n) for n in "abc"], [tie("a", "b", "open"), tie("a", "c", "open")], "a")
    places = sorted(x for x, _ in boxes(made).values())
    assert all(right - left - WIDTH >= 190 for left, right in pairwise(places))
    assert all(line.y < line.below for line in made.lines)


def test_no_two_boxes_lie_on_one_another_and_all_are_inside():
    members = [Member(f"o/{n}") for n in range(40)]
    ties = [tie(f"o/{n // 4}", f"o/{n}", "open" if n % 5 == 0 else "weights") for n in range(1, 40)]
    made = draw(members, ties, "o/3", Member("x/y", "unrelated"))
    places = sorted(boxes(made).values(), key=lambda at: (at[1], at[0]))
    for (x, y), (right, down) in pairwise(places):
        assert y != down or right >= x + WIDTH
    assert all(0 <= x <= made.width - WIDTH and 0 <= y <= made.height - HEIGHT for x, y in places)
    assert len(made.boxes) + made.left_out == 41


def test_a_long_name_keeps_both_its_ends():
    assert Member("someone/a-very-long-name-of-a-model-Q4_K_M").short == "a-very-long-…l-Q4_K_M"


def test_a_tree_is_made_once_while_nothing_changes_and_few_are_kept():
    at, made = [0.0], []
    forests = Forests(lambda: at[0])

    def get(key, mark):
        return forests.get(key, mark, lambda: made.append(key) or Forest((), (), False))

    assert get("a", 1) is get("a", 1) and made == ["a"]
    get("a", 2)
    at[0] += Forests.KEPT_S
    get("a", 2)
    assert made == ["a"] * 3
    for n in range(Forests.MOST):
        get(n, 2)
    get("a", 2)
    assert made[-1] == "a" and len(forests._kept) == Forests.MOST


def test_families_of_many_models_are_thinned_to_trees():
    nodes = tuple(Node(f"o/{n:04}", "r", "read", {}) for n in range(1500))
    links = tuple(Link(f"o/{n - n % 10:04}", f"o/{n:04}", "descends", True, 0.9, 0, 0.0, None, n % 2 == 0)
                  for n in range(1400) if n % 10) + tuple(
        Link(f"o/{n:04}", f"o/{n + 1:04}", "descends", False, 0.5, 0, 0.0, None, False)
        for n in range(1399) if n % 10 not in (0, 9))
    groups, alone = group(Forest(nodes, links, False))
    assert len(groups) == 140 and len(alone) == 100
    assert all(g.head.endswith("0") and len(g.links) == 9 and g.undeclared == 5 for g in groups)
