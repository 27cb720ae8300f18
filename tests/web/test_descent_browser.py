"""The drawings of descent in a real browser: zoomed and moved by hand and by keys, read without scripts, in Chinese."""

from __future__ import annotations

from test_browser import violations

PAGES = ("/reader/headspring", "/reader/brooklet/lineage", "/reader/brooklet/trace/reader/rill", "/lineage")


def test_a_family_is_zoomed_and_moved_by_keys_and_mouse_and_a_drag_follows_no_link(visit):
    watched = visit(viewport={"width": 390, "height": 844})
    watched.open("/reader/headspring")
    page, view = watched.page, watched.page.locator("[data-pan]")
    size = "Number(document.querySelector('[data-pan] svg').getAttribute('width'))"
    natural = page.evaluate(size)
    view.focus()
    page.keyboard.press("+")
    assert page.evaluate(size) > natural * 1.2
    page.keyboard.press("0")
    frame = "document.querySelector('[data-pan]')"
    watched.until(f"{frame}.scrollWidth <= {frame}.clientWidth")
    page.get_by_role("button", name="Larger").click(click_count=3)
    page.get_by_role("button", name="Larger").click(click_count=3)
    before = page.evaluate(f"{frame}.scrollLeft")
    box = page.locator("[data-pan] a.box").first.bounding_box()
    shown = view.bounding_box()
    x, y = min(max(box["x"], shown["x"]) + 20, shown["x"] + shown["width"] - 20), shown["y"] + 40
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x - 60, y, steps=4)
    page.mouse.up()
    assert page.evaluate(f"{frame}.scrollLeft") > before
    assert page.url.endswith("/reader/headspring")
    watched.assert_clean()


def test_pages_of_descent_are_accessible_in_chinese_on_a_dark_phone(visit):
    watched = visit(viewport={"width": 390, "height": 844}, locale="zh-CN", color_scheme="dark")
    for path in PAGES:
        watched.open(path)
        assert violations(watched) == [], path
        assert not watched.page.evaluate("document.documentElement.scrollWidth > innerWidth"), path
    watched.assert_clean()


def test_without_scripts_the_drawing_leads_to_relatives(visit):
    watched = visit(java_script_enabled=False)
    watched.open("/reader/headspring")
    assert watched.page.locator("[data-pan-tools]").is_hidden()
    watched.page.locator("svg a.box", has_text="rill").last.click()
    watched.page.wait_for_url("**/reader/*rill")


def test_without_scripts_a_drawing_wider_than_its_frame_opens_at_its_middle_and_the_page_at_its_top(visit):
    watched = visit(java_script_enabled=False, viewport={"width": 300, "height": 700})
    watched.open("/reader/headspring/lineage")
    left, whole, seen, top = watched.page.evaluate(
        "(() => { const v = document.querySelector('.family-view');"
        " return [v.scrollLeft, v.scrollWidth, v.clientWidth, scrollY] })()")
    assert whole > seen and left > 0 and top == 0
