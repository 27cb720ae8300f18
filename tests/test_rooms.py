"""The arrows of docs/rooms.md hold. Nothing is imported, so nothing can hide behind a missing library."""

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "headwater"
EXCEPTIONS = {("cli/_hub.py", "app")}


def allowed() -> dict[str, set[str]]:
    text = (ROOT / "docs" / "rooms.md").read_text()
    table = text.split("| from | may import |")[1].split("\n\n")[0]
    rows = re.findall(r"^\| (\w+) \|([^|]*)\|$", table, re.M)
    return {name: {part.strip() for part in parts.split(",") if part.strip()} | {name} for name, parts in rows}


def test_every_test_file_has_a_name_of_its_own():
    """pytest imports them by their bare names, and refuses the second of two."""
    names = [path.name for path in sorted((ROOT / "tests").rglob("test_*.py"))]
    assert [name for name in names if names.count(name) > 1] == []


def part_of(path: Path) -> str:
    inside = path.relative_to(SOURCE).parts
    return inside[0].removesuffix(".py")


def imports(path: Path):
    """(line, part) of every import of headwater, those under TYPE_CHECKING left out."""
    tree = ast.parse(path.read_text("utf-8"))
    hidden = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", getattr(node.test, "attr", "")) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: write imports from the root: headwater.…"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            steps = name.split(".")
            if steps[0] == "headwater" and len(steps) > 1 and steps[1] != "__version__":
                yield node.lineno, steps[1]


def test_every_part_has_a_row():
    parts = {part_of(p) for p in SOURCE.rglob("*.py")} - {"__init__", "__main__"}
    assert parts <= set(allowed()), "a new part wants a row in docs/rooms.md"


def test_no_arrow_points_the_wrong_way():
    table, wrong = allowed(), []
    for path in SOURCE.rglob("*.py"):
        part, name = part_of(path), str(path.relative_to(SOURCE))
        for line, target in imports(path):
            if part in table and target not in table[part] and (name, target) not in EXCEPTIONS:
                wrong.append(f"{name}:{line}: {part} -> {target}")
    assert not wrong, "\n".join(wrong)


def test_core_uses_the_standard_library_alone():
    import sys

    wrong = []
    for path in (SOURCE / "core").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                names = [node.module]
            wrong += [f"{path.name}:{node.lineno}: {n}" for n in names
                      if n.split(".")[0] not in sys.stdlib_module_names | {"headwater"}]
    assert not wrong, "\n".join(wrong)
