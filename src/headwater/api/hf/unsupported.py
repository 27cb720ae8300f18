"""What the Hugging Face Hub has and Headwater has not: each answers 501 with its reason, never a bare 404."""

from __future__ import annotations

from fastapi import APIRouter, Request

from headwater.core.errors import NotBuilt, NotFound

_REASONS = {
    "spaces": "Headwater runs models itself; it does not host Spaces.",
    "collections": "Collections are not built.",
    "papers": "Papers are not kept here.",
    "daily_papers": "Papers are not kept here.",
    "jobs": "Hosted jobs are not offered; Headwater's own are at /api/headwater/jobs.",
    "scheduled-jobs": "Hosted jobs are not offered.",
    "buckets": "Buckets are not built; use a dataset.",
    "kernels": "Headwater keeps models and datasets, not kernels.",
}
_PARTS = {
    "discussions": "Discussions and pull requests are not built.",
    "user-access-request": "Gated access is not built: a repo here is public or private.",
    "leaderboard": "Leaderboards come with the compare room.",
    "resource-group": "Resource groups are not built; use organisations.",
}
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


def build() -> APIRouter:
    """Routes for everything above; included last, so that what is built answers first."""
    router = APIRouter(include_in_schema=False)
    for first, reason in _REASONS.items():
        _refuse(router, f"/api/{first}", reason)
        _refuse(router, f"/api/{first}/{{rest:path}}", reason)
    for part, reason in _PARTS.items():
        for kinds in ("models", "datasets"):
            _refuse(router, f"/api/{kinds}/{{owner}}/{{name}}/{part}", reason)
            _refuse(router, f"/api/{kinds}/{{owner}}/{{name}}/{part}/{{rest:path}}", reason)
    for who in ("users", "organizations"):
        for what in ("followers", "following"):
            _refuse(router, f"/api/{who}/{{name}}/{what}", "Nobody follows anybody here.")
    _refuse(router, "/api/settings/webhooks", "Webhooks are not built.")
    _refuse(router, "/api/settings/webhooks/{rest:path}", "Webhooks are not built.")
    router.add_api_route("/api/{rest:path}", _unknown, methods=_METHODS)
    return router


def _refuse(router: APIRouter, path: str, reason: str) -> None:
    def refuse() -> None:
        raise NotBuilt(reason)

    router.add_api_route(path, refuse, methods=_METHODS)


def _unknown(request: Request) -> None:
    raise NotFound(f"No such endpoint: {request.method} {request.url.path}.", hint="/docs lists what there is.")
