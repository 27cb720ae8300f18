"""Pages: server time of the first page and of a model's page, and what scripts weigh."""

from __future__ import annotations

import gzip
import re
import statistics
import urllib.request
from collections.abc import Iterator

import ground
from ground import Row

LIMIT_S = 0.1


def rows() -> Iterator[Row]:
    with ground.folder() as folder:
        data = folder / "data"
        data.mkdir()
        with ground.hub(data) as url:
            _fill(url, folder)
            for path, name in (("/", "the first page, 60 models"), ("/local/page-7", "a model's page")):
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
