"""Of Ollama's API what a client that talks needs: the models there are, a conversation, a single prompt."""

from __future__ import annotations

from fastapi import APIRouter

from headwater.api.ollama import about, chat, generate


def routers() -> list[APIRouter]:
    return [about.router, chat.router, generate.router]
