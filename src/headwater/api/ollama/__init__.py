"""Of Ollama's API what a chat client needs: the models there are, and a conversation."""

from __future__ import annotations

from fastapi import APIRouter

from headwater.api.ollama import chat


def routers() -> list[APIRouter]:
    return [chat.router]
