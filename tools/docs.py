"""Write the pages of docs/ that are made from code: settings.md and api.md. tests/test_docs.py compares them."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def settings_page() -> str:
    from headwater.core.settings import SETTINGS

    rows = [f"| `{s.name}` | {_default(s.default, s.unit)} | {s.help}{' (secret)' if s.secret else ''} |"
            for s in SETTINGS]
    return "\n".join([
        "# Settings", "",
        "Made from `core/settings.py` by `tools/docs.py`. A setting stands in `headwater.toml` in the data folder, or",
        "in the environment (`port` is `HEADWATER_PORT`), or is a flag of `headwater up`; the later wins. An unknown",
        "key is an error. `HEADWATER_DATA` names the data folder; without it, it is `~/.headwater`.", "",
        "| name | default | meaning |", "|---|---|---|", *rows, ""])


def _default(value: object, unit: str) -> str:
    if value == "":
        return "empty"
    text = f"{value:,}" if isinstance(value, int) and unit in ("bytes", "s") else str(value)
    return f"{text} {unit}".strip()


def api_page() -> str:
    from headwater.app import open_app
    from headwater.core.settings import load

    with tempfile.TemporaryDirectory() as folder:
        app = open_app(load(Path(folder), environ={}))
        paths = app.http.openapi()["paths"]
        app.records.close()
    groups: dict[str, list[str]] = {}
    for path, verbs in sorted(paths.items()):
        for verb, said in sorted(verbs.items()):
            first = (said.get("description") or "").split("\n\n")[0].replace("\n", " ").strip()
            tag = (said.get("tags") or ["other"])[0]
            groups.setdefault(tag, []).append(f"| `{verb.upper()} {path}` | {first or said['summary']} |")
    parts = [f"## {tag}\n\n| endpoint | what it does |\n|---|---|\n" + "\n".join(rows) + "\n"
             for tag, rows in sorted(groups.items())]
    return ("# API\n\nMade from the routes by `tools/docs.py`. A running hub shows the same with parameters and shapes "
            "at `/docs`.\nWhat the Hugging Face Hub has and Headwater has not answers 501 with the reason.\n\n"
            + "\n".join(parts))


PAGES = {"settings.md": settings_page, "api.md": api_page}


def main() -> None:
    for name in sys.argv[1:] or PAGES:
        (DOCS / name).write_text(PAGES[name](), "utf-8")


if __name__ == "__main__":
    main()
