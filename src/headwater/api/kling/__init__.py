"""Kling's API of video tasks, as programs written for it speak it: text2video, image2video and video-extend, by what
runs here."""

from __future__ import annotations

from fastapi import APIRouter

from headwater.api.kling import tasks


def routers() -> list[APIRouter]:
    """To be asked before OpenAI's /v1/videos/{id}, whose paths these would be."""
    return [tasks.router]
