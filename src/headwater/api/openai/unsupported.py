"""What OpenAI's API has and Headwater has not yet: each answers 501 with what there is, never a bare 404."""

from __future__ import annotations

from fastapi import APIRouter

from headwater.core.errors import NotBuilt

_PATHS = ("assistants", "audio", "batches", "containers", "conversations", "evals",
          "fine_tuning", "images", "moderations", "realtime", "threads",
          "uploads", "vector_stores")
THERE_ARE = "GET /v1/models and POST /v1/chat/completions, /v1/completions, /v1/responses, /v1/embeddings, " \
            "/v1/rerank, /v1/files, /v1/videos, /v1/messages"
_METHODS = ["GET", "POST", "DELETE"]


def build() -> APIRouter:
    router = APIRouter(include_in_schema=False)
    for path in _PATHS:
        for rest in ("", "/{rest:path}"):
            router.add_api_route(f"/v1/{path}{rest}", _refusal(path), methods=_METHODS)
    return router


def _refusal(path: str) -> object:
    def refuse() -> None:
        raise NotBuilt(f"Headwater does not have /v1/{path} yet.",
                       hint=f"There are {THERE_ARE}.")

    return refuse
