"""Anthropic's Messages API, as its own clients speak it, answered by the models kept here."""

from __future__ import annotations

from fastapi import APIRouter

from headwater.api.anthropic import messages


def routers() -> list[APIRouter]:
    return [messages.router]
