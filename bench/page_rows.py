"""Pages: server time of the first page, of a model's page and of those of descent, and what scripts weigh."""

from __future__ import annotations

import gzip
import re
import statistics
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import ground
from ground import Row

LIMIT_S = 0.1
KIN = 6
sys.path.append(str(Path(__file__).parents[1] / "tests"))


def rows() -> Iterator[Row]:
    with ground.folder() as folder:
        data = folder / "data"
        data.mkdir()
        with ground.hub(data) as url:
            _fill(url, folder)
            _fill_family(url, folder)
            for path, name in (("/", "the first page, 60 models"), ("/local/page-7", "a model's page"),
                               ("/local/kin-1", f"a model's page, {KIN} of a family drawn"),
                               ("/local/kin-1/trace/local/kin-0", "two models side by side"),
                               ("/lineage", "the tree of the hub")):
                ours = tuple(sorted(ground.timed(lambda path=path: _html(url + path)) for _ in range(30))[5:25])
                weight = _scripts(url, path)
                yield Row(name, "100 ms", (statistics.median(ours),), (LIMIT_S,), "<= 1, aim 0.3",
                          note=f"scripts {weight / 1024:.1f} KiB gzipped (budget 60, aim 30)")


def _fill(url: str, folder: ground.Path) -> None:
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi(endpoint=url, token="hf_any")
    for n in range(60):
        api.create_repo(f"local/page-{n}")
        card = f"---\nlicense: apache-2.0\ntags: [bench]\n---\n# Model {n}\n\n" + "A paragraph of the card.\n\n" * 40
        api.create_commit(f"local/page-{n}", [CommitOperationAdd("README.md", card.encode())], commit_message="card")


def _fill_family(url: str, folder: Path) -> None:
    """Models of one source with real fingerprints and edges."""
    import json

    from huggingface_hub import HfApi
    from trace_made import made, noisy, save_hf

    api, base = HfApi(endpoint=url, token="hf_any"), made(0, layers=12)
    for n in range(KIN):
        name = f"local/kin-{n}"
        api.create_repo(name)
        files = save_hf(folder / f"kin-{n}", noisy(base, 0.05 * n, n) if n else base)
        api.upload_folder(repo_id=name, folder_path=files)
        until = time.monotonic() + 120
        while json.loads(_html(f"{url}/api/headwater/lineage/{name}"))["status"]["state"] != "read":
            if time.monotonic() > until:
                raise TimeoutError(f"{name} was not read")
            time.sleep(0.1)


def _html(address: str) -> str:
    request = urllib.request.Request(address, headers={"Accept": "text/html"})
    with urllib.request.urlopen(request) as answer:
        return answer.read().decode()


def _scripts(url: str, path: str) -> int:
    sources = re.findall(r'<script[^>]+src="([^"]+)"', _html(url + path))
    return sum(len(gzip.compress(_bytes(url + source))) for source in sources)


def _bytes(address: str) -> bytes:
    with urllib.request.urlopen(address) as answer:
        return answer.read()
