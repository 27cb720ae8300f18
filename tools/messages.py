"""Gather the words of the pages, and the sentences of trace they show, and bring the catalogues up to date.

For maintainers: `make messages`.

New messages come in empty, messages no page says any more go out; tests/web/test_words.py refuses empty ones.
"""

from __future__ import annotations

import io
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po, write_po

WEB = Path(__file__).parents[1] / "src" / "headwater" / "web"
METHODS = [("pages/**.py", "python"), ("pages/**.html", "jinja2"), ("parts/**.html", "jinja2")]
KEYWORDS = {"_": None, "gettext": None, "ngettext": (1, 2), "translate": None}
TRACE = WEB.with_name("trace")

# Without dates, so that nothing changes when no word does.
HEADER = """# The words of the pages. `make messages` keeps the list; the words are written by hand.
msgid ""
msgstr ""
"Language: {language}\\n"
"Plural-Forms: {plural}\\n"
"MIME-Version: 1.0\\n"
"Content-Type: text/plain; charset=utf-8\\n"
"Content-Transfer-Encoding: 8bit\\n"

"""


def gather() -> Catalog:
    """Every message of the pages, as a template catalogue."""
    catalog = Catalog(project="headwater", charset="utf-8")
    found = [*extract_from_dir(WEB, METHODS, keywords=KEYWORDS, comment_tags=()),
             *((f"trace/{path}", *rest) for path, *rest in
               extract_from_dir(TRACE, [("**.py", "python")], keywords={"said": None}, comment_tags=()))]
    for path, _line, message, _comments, context in sorted(found, key=lambda row: (row[0], row[1])):
        # Files without lines: line numbers would change with every edit.
        catalog.add(message, locations=[(path, 1)], context=context)
    return catalog


def main() -> None:
    template = gather()
    for po in sorted((WEB / "locale").glob("*/LC_MESSAGES/headwater.po")):
        with po.open("rb") as file:
            catalog = read_po(file, locale=po.parts[-3])
        catalog.update(template, no_fuzzy_matching=True)
        catalog.obsolete.clear()
        text = io.BytesIO()
        write_po(text, catalog, width=110, include_lineno=False, sort_output=True, omit_header=True)
        po.write_bytes(HEADER.format(language=po.parts[-3], plural=catalog.plural_forms).encode() + text.getvalue())
        print(f"{po.parts[-3]}: {sum(1 for m in catalog if m.id and not all(_strings(m.string)))} without words")


def _strings(value: str | tuple[str, ...]) -> tuple[str, ...]:
    return value if isinstance(value, tuple) else (value,)


if __name__ == "__main__":
    main()
