"""The one place where errors become HTTP. Clients of the Hugging Face Hub read headers, others the body."""

from __future__ import annotations

import errno
import logging
import sqlite3

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException

from headwater.core.errors import BadRange, Busy, HeadwaterError, NotBuilt

log = logging.getLogger("headwater.http")

_OPENAI_TYPES = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error",
                 404: "invalid_request_error", 413: "invalid_request_error", 422: "invalid_request_error",
                 429: "rate_limit_error"}

_ANTHROPIC_TYPES = {400: "invalid_request_error", 401: "authentication_error", 403: "permission_error",
                    404: "not_found_error", 413: "request_too_large", 422: "invalid_request_error",
                    429: "rate_limit_error"}


def install(http: FastAPI) -> None:
    http.add_exception_handler(HeadwaterError, _known)
    http.add_exception_handler(RequestValidationError, _invalid)
    http.add_exception_handler(HTTPException, _plain)
    http.add_exception_handler(Exception, _unknown)


def render(request: Request, status: int, code: str, message: str, headers: dict[str, str] | None = None,
           extra: dict[str, str] | None = None) -> Response:
    """The error in the shape this client shows: a page, or the object of OpenAI, Anthropic or the Hub."""
    path = request.url.path
    headers = {**(headers or {}), "X-Error-Code": code, "X-Error-Message": _one_line(message)}
    if status == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="Headwater"'
    page = getattr(request.app.state, "error_page", None)
    if page and "text/html" in request.headers.get("accept", "") and not path.startswith(("/api/", "/v1/")):
        return page(request, status, message, headers)
    if path.startswith("/v1/messages"):
        body = {"type": "error", "error": {"type": _ANTHROPIC_TYPES.get(status, "api_error"), "message": message}}
    elif path.startswith("/v1/"):
        body = {"error": {"message": message, "type": _OPENAI_TYPES.get(status, "server_error"),
                          "param": (extra or {}).get("param"), "code": code}}
    else:
        body = {"error": message, "code": code, **(extra or {})}
    return JSONResponse(body, status, headers)


def _known(request: Request, error: HeadwaterError) -> Response:
    headers = dict(getattr(error, "headers", {}))
    if isinstance(error, Busy):
        headers["Retry-After"] = str(error.retry_after)
    elif isinstance(error, BadRange):
        headers["Content-Range"] = f"bytes */{error.size}"
    if error.status >= 500 and not isinstance(error, NotBuilt):
        log.warning("%s %s: %s", request.method, request.url.path, error)
    # A client that said exist_ok=True reads the address of what exists from the body.
    # OpenAI's clients read which parameter is meant.
    extra = {name: getattr(error, name) for name in ("url", "param") if hasattr(error, name)}
    return render(request, error.status, error.code, str(error), headers, extra)


def _invalid(request: Request, error: RequestValidationError) -> Response:
    # 422 only where the shape is FastAPI's own; what these clients know for a malformed request is 400.
    first = error.errors()[0]
    where = ".".join(str(step) for step in first["loc"])
    return render(request, 400, "BadRequest", f"{where}: {first['msg']}.")


def _plain(request: Request, error: HTTPException) -> Response:
    message = {404: f"Nothing at {request.url.path}.", 405: f"{request.method} is not possible at {request.url.path}."}
    return render(request, error.status_code, "NotFound" if error.status_code == 404 else "BadRequest",
                  message.get(error.status_code, str(error.detail)), dict(error.headers or {}))


def _unknown(request: Request, error: Exception) -> Response:
    if _is_full(error):
        return render(request, 507, "DiskFull", "The hub's disk is full; nothing was kept. Free space, then try again.")
    log.exception("%s %s failed", request.method, request.url.path, exc_info=error)
    return render(request, 500, "InternalError", "Something broke in the hub; its log says what.")


def _is_full(error: BaseException | None) -> bool:
    """Whether a full disk is behind it: the operating system's, or the database's word for it."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:  # causes may run in a circle
        seen.add(id(error))
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return True
        if isinstance(error, sqlite3.OperationalError) and "disk is full" in str(error):
            return True
        error = error.__cause__
    return False


def _one_line(text: str) -> str:
    # A header holds no control character: the server would drop the connection instead of answering.
    printable = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(printable.split()).encode("latin-1", "replace").decode("latin-1")[:1000]
