"""Serve web/static. An address that names the file's digest is kept by browsers for good; others are asked again.

Text travels packed; packing is done once a file and kept, for they are few and small.
"""

from __future__ import annotations

import gzip
from functools import cache
from typing import Any

from starlette.datastructures import Headers
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from headwater.web.site import ROOT, YEAR_S

_TEXT = (".js", ".css", ".svg")


class _Static(StaticFiles):
    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        asked = Headers(scope=scope)
        if response.status_code == 200 and path.endswith(_TEXT):
            response.headers["Vary"] = "Accept-Encoding"
            if "gzip" in asked.get("accept-encoding", "") and "range" not in asked:
                response = _packed_response(path, response)
        kept = b"v=" in scope["query_string"] and response.status_code in (200, 304)
        response.headers["Cache-Control"] = f"public, max-age={YEAR_S}, immutable" if kept else "no-cache"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response


def _packed_response(path: str, plain: Response) -> Response:
    # A weak ETag: the same file, other bytes.
    headers = {"Content-Encoding": "gzip", "Vary": "Accept-Encoding", "ETag": f"W/{plain.headers['etag']}",
               "Last-Modified": plain.headers["last-modified"]}
    return Response(_packed(path, plain.headers["etag"]), 200, headers, media_type=plain.media_type)


@cache
def _packed(path: str, _etag: str) -> bytes:
    return gzip.compress((ROOT / "static" / path).read_bytes(), 9)


def static_files() -> Any:
    return _Static(directory=ROOT / "static")
