"""OpenAI's API, as its own clients speak it: models and chat completions, run by the models kept here."""

from __future__ import annotations

from fastapi import APIRouter

from headwater.api.openai import chat, models


def routers() -> list[APIRouter]:
    return [models.router, chat.router]
