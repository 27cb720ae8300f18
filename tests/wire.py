"""The Hugging Face wire protocol spoken by hand, for what no well-behaved client would send."""

from __future__ import annotations

import base64
import hashlib
import json
from types import TracebackType
from typing import Any

import httpx


def line(key: str, **value: Any) -> dict[str, Any]:
    return {"key": key, "value": value}


def header(summary: str = "t", **more: Any) -> dict[str, Any]:
    return line("header", summary=summary, **more)


def file(path: str, data: bytes) -> dict[str, Any]:
    return line("file", path=path, content=base64.b64encode(data).decode(), encoding="base64")


def lfs_file(path: str, data: bytes, **more: Any) -> dict[str, Any]:
    return line("lfsFile", path=path, oid=hashlib.sha256(data).hexdigest(), algo="sha256", **more)


def ndjson(*lines: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(each).encode() + b"\n" for each in lines)


class Wire:
    """One connection to a hub, as whoever holds `token`. Paths are those of models unless kinds says datasets."""

    def __init__(self, url: str, token: str | None = None, **options: Any):
        headers = {"authorization": f"Bearer {token}"} if token else {}
        self.http = httpx.Client(base_url=url, headers=headers, timeout=60, verify=False, **options)

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.http.close()

    def repo(self, name: str, **more: Any) -> str:
        """A new repo; its full name."""
        answer = self.http.post("/api/repos/create", json={"name": name, **more})
        assert answer.status_code == 200, answer.text
        return answer.json()["name"]

    def head(self, name: str, kinds: str = "models") -> str:
        return self.http.get(f"/api/{kinds}/{name}").json()["sha"]

    def post_commit(self, name: str, *lines: dict[str, Any], branch: str = "main", kinds: str = "models",
                    **options: Any) -> httpx.Response:
        return self.http.post(f"/api/{kinds}/{name}/commit/{branch}", content=ndjson(*lines),
                              headers={"content-type": "application/x-ndjson"}, **options)

    def commit(self, name: str, files: dict[str, bytes], **options: Any) -> str:
        """A commit of regular files; its oid."""
        answer = self.post_commit(name, header(), *(file(path, data) for path, data in files.items()), **options)
        assert answer.status_code == 200, answer.text
        return answer.json()["commitOid"]

    def batch(self, name: str, *objects: tuple[str, int], transfers: tuple[str, ...] = ("basic",),
              **more: Any) -> httpx.Response:
        body = {"operation": "upload", "transfers": list(transfers), "hash_algo": "sha256",
                "objects": [{"oid": oid, "size": size} for oid, size in objects], **more}
        return self.http.post(f"/{name}.git/info/lfs/objects/batch", json=body)

    def link(self, name: str, data: bytes) -> str | None:
        """Where to PUT these bytes; None if they are here."""
        answer = self.batch(name, (hashlib.sha256(data).hexdigest(), len(data)))
        assert answer.status_code == 200, answer.text
        return answer.json()["objects"][0].get("actions", {}).get("upload", {}).get("href")

    def send(self, name: str, data: bytes) -> str:
        """Bytes through the LFS door; their digest."""
        if href := self.link(name, data):
            assert (answer := httpx.put(href, content=data, verify=False)).status_code == 200, answer.text
        return hashlib.sha256(data).hexdigest()

    def upload(self, name: str, files: dict[str, bytes]) -> str:
        """A commit of LFS files; its oid."""
        for data in files.values():
            self.send(name, data)
        answer = self.post_commit(name, header(), *(lfs_file(p, data, size=len(data)) for p, data in files.items()))
        assert answer.status_code == 200, answer.text
        return answer.json()["commitOid"]

    def read(self, name: str, path: str, revision: str = "main") -> httpx.Response:
        return self.http.get(f"/{name}/resolve/{revision}/{path}")

    def files(self, name: str, revision: str = "main") -> list[str]:
        return [e["path"] for e in self.http.get(f"/api/models/{name}/tree/{revision}?recursive=true").json()
                if e["type"] == "file"]
