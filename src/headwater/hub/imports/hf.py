"""`hf:owner/name[@revision]`: a model, or with `hf:datasets/owner/name` a dataset, of the Hugging Face Hub or any hub
that speaks its API (the setting import_endpoint; another Headwater is one).

Two API calls name the files with their hashes, plain ranged GETs bring them. What the answers say of Xet is not
read. Source: the Hub's API as huggingface_hub 2.4 calls it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from headwater.core.errors import BadInput, HeadwaterError, NotBuilt
from headwater.core.types import Actor, Kind, Staged
from headwater.hub import Hub
from headwater.hub.access import need_admin
from headwater.hub.imports import _download
from headwater.hub.imports._download import TRIES, download, pause
from headwater.hub.imports._http import Transient, Upstream, failed
from headwater.hub.imports._shelf import Meter, Offer, Plan

FILES_MAX = 100_000
_OID = re.compile(r"[0-9a-f]{40}\Z")
_DIGEST = re.compile(r"[0-9a-f]{64}\Z")
_TEXT = re.compile(r"hf:(?:(?P<kinds>models|datasets|spaces)/)?(?P<id>[\w.-]+(?:/[\w.-]+)?)(?:@(?P<revision>\S+))?\Z",
                   re.A)


class HuggingFace:
    name = "hf"
    example = "hf:owner/name@revision"
    local = False

    def accepts(self, text: str) -> bool:
        return text.startswith("hf:")

    @contextmanager
    def open(self, hub: Hub, actor: Actor, text: str, meter: Meter) -> Iterator[Plan]:
        match = _TEXT.match(text)
        if match is None:
            raise BadInput(f"{text[:200]!r} is no repo of a hub.", hint="Write hf:owner/name@revision.")
        if match["kinds"] == "spaces":
            raise NotBuilt("Headwater keeps models and datasets, no spaces.")
        kind = Kind.DATASET if match["kinds"] == "datasets" else Kind.MODEL
        with Upstream(hub.settings.import_endpoint, hub.settings.import_token) as upstream:
            meter.start(f"asking {upstream.shown}")
            plan = _plan(upstream, kind, match["id"], match["revision"] or "main", meter)
            if plan.private and hub.settings.import_token:
                # The hub's own token opened it: what an administrator may pass on is not for every account to take.
                need_admin(actor)
            yield plan


SOURCE = HuggingFace()


def _plan(upstream: Upstream, kind: Kind, asked: str, revision: str, meter: Meter) -> Plan:
    api = upstream.url(f"/api/{kind}s/{quote(asked)}")
    info, _ = _json(upstream, f"{api}/revision/{quote(revision, safe='')}", meter)
    oid, full_name = _text(info, "sha", _OID), _text(info, "id", re.compile(r"[\w.-]+(/[\w.-]+)?\Z", re.A))
    owner, slash, name = full_name.rpartition("/")
    files = upstream.url(f"/{'datasets/' if kind is Kind.DATASET else ''}{full_name}/resolve/{oid}/")
    offers = tuple(_offer(upstream, files, item) for item in _listing(upstream, f"{api}/tree/{oid}", meter))
    return Plan(
        kind=kind, owner=owner if slash else None, name=name, offers=offers, whole=True, version=oid,
        origin=upstream.url(f"/{'datasets/' if kind is Kind.DATASET else ''}{full_name}"),
        title=f"Import {full_name}@{oid[:12]}", notes=(f"{revision} of {full_name} at {upstream.shown}",),
        private=bool(info.get("private") or info.get("gated")), shown={"source_revision": oid})


def _listing(upstream: Upstream, url: str, meter: Meter) -> Iterator[dict[str, Any]]:
    following: str | None = f"{url}?recursive=true&expand=false"
    count = 0
    while following:
        page, following = _json(upstream, following, meter)
        if not isinstance(page, list) or not all(isinstance(item, dict) for item in page):
            raise BadInput(f"{upstream.shown} lists its files in a form that is not understood.")
        if not page and following:
            raise BadInput(f"{upstream.shown} lists empty pages without end.")
        for item in page:
            if item.get("type") == "file":
                yield item
        count += len(page)
        if count > FILES_MAX:
            raise BadInput(f"The repo has more than {FILES_MAX:,} files.", hint="Push the part you need instead.")


def _offer(upstream: Upstream, files: str, item: dict[str, Any]) -> Offer:
    path = item.get("path")
    if not isinstance(path, str):
        raise BadInput(f"{upstream.shown} lists a file without a path.")
    lfs = item.get("lfs")
    digest = _text(lfs, "oid", _DIGEST) if isinstance(lfs, dict) else None
    size = (lfs if digest else item).get("size")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise BadInput(f"{upstream.shown} lists {path[:200]!r} without a size.")
    oid = None if digest else _text(item, "oid", _OID)
    fetch = partial(_fetch, upstream, files + quote(path), path, size, digest, oid)
    return Offer(path, size, fetch, digest=digest, oid=oid)


def _fetch(upstream: Upstream, url: str, path: str, size: int, digest: str | None, oid: str | None, folder: Path,
           meter: Meter) -> Staged:
    return download(upstream, url, folder, meter, path=path, size=size, digest=digest, oid=oid)


def _text(item: Any, name: str, form: re.Pattern[str]) -> str:
    value = item.get(name) if isinstance(item, dict) else None
    if not isinstance(value, str) or not form.match(value):
        raise BadInput(f"The endpoint answers without a proper {name!r}.",
                       hint="Is import_endpoint the URL of a Hugging Face compatible hub?")
    return value


def _json(upstream: Upstream, url: str, meter: Meter) -> tuple[Any, str | None]:
    error: HeadwaterError
    for attempt in range(TRIES):
        try:
            return upstream.json(url)
        except Transient as failure:
            error = failed(upstream, failure)
            pause(failure.wait_s if failure.wait_s is not None else _download.FIRST_WAIT_S * 2 ** attempt, meter)
    raise error
