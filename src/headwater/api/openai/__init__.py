"""OpenAI's API, as its own clients speak it: models and chat completions, run by the models kept here."""

from __future__ import annotations

from fastapi import APIRouter

from headwater.api.openai import chat, completions, embeddings, files, models, responses, unsupported, videos


def routers() -> list[APIRouter]:
    """In the order they are asked: what is not built comes last."""
    return [models.router, chat.router, completions.router, embeddings.router, responses.router, files.router,
            videos.router, unsupported.build()]
