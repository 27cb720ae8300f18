"""Films another server makes: any with OpenAI's /v1/videos (vLLM-Omni, SGLang, NIM, another Headwater), or Kling's API.

A repo for it has remote-videos.json: {"url": "https://host/v1", "model": "...", "api": "openai"}. Repos are anybody's,
so the URL is asked only if it is one of the setting `remotes` ({url: key}), which administrators write; the key goes to
that URL alone. The hub places the order and brings the file (`fetch`); its frames are taken out in a child process that
knows no key (`frames`), so that the film is encoded, credited and marked like every other.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater.core.elsewhere import Arrived, Errand
from headwater.core.errors import BadInput, CorruptFile, EngineFailed
from headwater.core.film import Capabilities, Estimate, FilmRequest, Normalised, Step
from headwater.core.settings import Settings
from headwater.film_engines.remote_videos._declared import FILE, Declared, read, secret_for
from headwater.film_engines.remote_videos._look import Found, look

if TYPE_CHECKING:
    import numpy as np

SECONDS_MAX = 130.0
"""Of what may come; a film asked for has fewer."""
FURTHER = frozenset({"guidance_scale_2", "boundary_ratio", "flow_shift", "image_reference", "video_reference",
                     "audio_reference", "lora", "generate_sound", "extra_params"})
"""Of FilmRequest.extra, what an `openai` server is sent: vLLM-Omni's names."""
STILL_MAX, STILL_SIDE_MIN = 10_000_000, 300
"""Bytes and pixels of a picture, as Kling takes them."""
ARRIVED = "arrived"
"""In FilmRequest.extra: the file whose frames are taken out."""


class RemoteVideos:
    name = "remote_videos"
    usual = ""

    def available(self) -> str | None:
        return None

    def build(self) -> str:
        return "remote videos 1"

    def accepts(self, files: tuple[str, ...]) -> str | None:
        return None if FILE in files else f"it holds no {FILE}"

    def describe(self, folder: Path | None) -> Capabilities:
        return read(folder).capabilities()

    def admit(self, settings: Settings, folder: Path | None) -> None:
        secret_for(settings, read(folder))

    def normalise(self, request: FilmRequest) -> Normalised:
        declared, notes = read(request.folder), []
        if request.seconds > declared.capabilities().max_seconds and not declared.seconds:
            raise BadInput(f"{declared.model} at {declared.host} makes at most {declared.max_seconds:g} s.")
        if declared.api == "kling":
            _check_stills(request)
        changed = replace(request, seconds=_nearest(declared, request, notes), fps=declared.fps or request.fps,
                          extra={name: value for name, value in request.extra.items() if name in FURTHER})
        changed = _sized(declared, changed, notes)
        notes += _without_effect(declared, request)
        notes.append(f"{declared.host} makes this film, not this hub: the words"
                     f"{' and the pictures' if request.pictures else ''} are sent there.")
        return Normalised(changed, tuple(notes))

    def estimate(self, request: FilmRequest) -> Estimate:
        return Estimate(None, None, None, 300_000_000)

    def fetch(self, request: FilmRequest, errand: Errand) -> Arrived:
        from headwater.film_engines.remote_videos._watch import Watch

        declared = read(request.folder)
        secret, file = secret_for(errand.settings, declared), errand.room / "arrived.mp4"
        number, seen = Watch(_asker(declared, secret, errand.settings), declared.host, request, errand).bring(file)
        try:
            found = look(file, errand.settings.film_memory_bytes)
            if found.seconds > SECONDS_MAX:
                raise CorruptFile(f"It is {found.seconds:.0f} s long.")
        except CorruptFile as error:
            raise EngineFailed(f"What {declared.host} sent cannot be used: {error.message}",
                               hint="Order the film again.") from None
        return _arrived(declared, request, file, number, seen.said, found)

    def frames(self, request: FilmRequest, tell: Callable[[Step], None],
               should_stop: Callable[[], bool]) -> Iterator[np.ndarray]:
        """should_stop is not asked: the film is whole already."""
        import av

        total, most = request.frames, round(SECONDS_MAX * request.fps)
        size = (request.height, request.width)
        try:
            with av.open(request.extra[ARRIVED], metadata_errors="replace") as box:
                stream = box.streams.video[0]
                stream.thread_type = "NONE"
                for number, frame in enumerate(box.decode(stream)):
                    if number >= most:
                        raise CorruptFile(f"What was sent has more than {most} frames.")
                    picture = frame.to_ndarray(format="rgb24")[: size[0], : size[1]]
                    if picture.shape[:2] != size:
                        raise CorruptFile(f"Frame {number} of what was sent has another size than those before it.")
                    tell(Step("frames", number + 1, max(total, number + 1)))
                    yield picture
        except av.FFmpegError as error:
            raise CorruptFile(f"What was sent breaks off: {error.strerror}.") from None


ENGINE = RemoteVideos()


def _asker(declared: Declared, secret: str, settings: Settings) -> Any:
    from headwater.film_engines.remote_videos._kling import Kling
    from headwater.film_engines.remote_videos._openai import OpenAI
    from headwater.film_engines.remote_videos._wire import Wire

    wire = Wire(json.loads(settings.remotes))
    return (Kling if declared.api == "kling" else OpenAI)(declared, secret, wire)


def _arrived(declared: Declared, request: FilmRequest, file: Path, number: str, said: dict[str, Any],
             found: Found) -> Arrived:
    fps = max(1, round(found.fps))
    told = {"server": declared.host, "api": declared.api, "order": number, "model": said.get("model") or declared.model,
            "revision": said.get("revision") or "not known", "engine": said.get("engine") or "not known",
            "build": said.get("build") or "not known", "width": found.width, "height": found.height,
            "fps": round(found.fps, 3), "seed": said.get("seed", "not known"),
            **({"left_out": "sound"} if found.sound else {})}
    seconds = found.seconds or request.seconds
    request = replace(request, width=found.width // 2 * 2, height=found.height // 2 * 2, fps=fps,
                      seconds=max(1, round(seconds * found.fps)) / fps, extra={**request.extra, ARRIVED: str(file)})
    generates = said.get("generates")
    return Arrived(request, told, ((f"film made by {declared.host}", file, "video/mp4"),),
                   generates if isinstance(generates, bool) else None)


def _nearest(declared: Declared, request: FilmRequest, notes: list[str]) -> float:
    if not declared.seconds or request.seconds in declared.seconds:
        return request.seconds
    seconds = min(declared.seconds, key=lambda one: abs(one - request.seconds))
    notes.append(f"{seconds:g} s (asked {request.seconds:g}: {declared.model} makes "
                 f"{', '.join(f'{one:g}' for one in declared.seconds)}).")
    return seconds


def _sized(declared: Declared, request: FilmRequest, notes: list[str]) -> FilmRequest:
    asked = (request.width, request.height)
    size = asked
    if declared.sizes and asked not in declared.sizes:
        shape = asked[0] / asked[1]
        size = min(declared.sizes, key=lambda one: (max(one[0] / one[1] / shape, shape / (one[0] / one[1])),
                                                    abs(one[0] * one[1] - asked[0] * asked[1])))
    elif max(asked) > declared.max_side:
        scale = declared.max_side / max(asked)
        size = (round(asked[0] * scale) // 2 * 2, round(asked[1] * scale) // 2 * 2)
    if size == asked:
        return request
    notes.append(f"{size[0]}x{size[1]} (asked {asked[0]}x{asked[1]}: what {declared.model} makes).")
    return replace(request, width=size[0], height=size[1])


def _without_effect(declared: Declared, request: FilmRequest) -> list[str]:
    plain = declared.api == "kling" or not declared.fields
    there = (
        ("the negative prompt", request.negative and not declared.capabilities().negative),
        ("camera moves", any(request.camera.values()) and not declared.camera),
        ("steps", request.steps is not None and plain), ("guidance", request.guidance is not None and plain),
        ("corrected points", request.points),
        *((name, name not in FURTHER or plain) for name in sorted(request.extra)))
    lost = [name for name, true in there if true]
    notes = [f"These have no effect there: {', '.join(lost)}."] if lost else []
    if plain:
        notes.append(f"{declared.model} is told no seed: ordered again, the film will be another.")
    return notes


def _check_stills(request: FilmRequest) -> None:
    from PIL import Image

    for one in request.pictures:
        with Image.open(one.path) as image:
            if image.format not in ("JPEG", "PNG") or min(image.size) < STILL_SIDE_MIN \
                    or one.path.stat().st_size > STILL_MAX:
                raise BadInput(f"Kling takes JPEG and PNG up to {STILL_MAX / 1e6:.0f} MB with at least "
                               f"{STILL_SIDE_MIN} pixels a side; this is {image.format}, {image.width}x{image.height}.",
                               hint="Save it anew.")
