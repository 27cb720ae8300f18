"""Make an ordered film: the body of a "film" job. May be run again at any point and ends the same.

Frames come from the engine's process and go straight into the encoder; then the credential is signed, last of all
that touches the file; then poster, sprite sheet and mark are taken from what was signed, and everything is kept.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from headwater.core.errors import Conflict, HeadwaterError, NotFound
from headwater.core.film import Brush, FilmRequest, Picture, Step, is_warm, work_of
from headwater.core.types import Account, Digest, KeptFilm
from headwater.core.work import Cancelled, Progress, Work
from headwater.film import Film, credit
from headwater.film.badge import WORDS, drawn
from headwater.film.callback import announce
from headwater.film.elsewhere import Pictures, bring, left
from headwater.film.encode import encode, full, poster, spritesheet
from headwater.film.extend import Earlier, earlier, join
from headwater.film.mark import mark_of
from headwater.film.order import keep_file, media_type
from headwater.film.parts import bare, laid_out
from headwater.film.process import frames

VIDEO_MAX = 2_000_000_000
WISH_S = 0.5


def film_job(film: Film) -> Work:
    """payload {film_id}."""

    def work(payload: dict[str, Any], progress: Progress) -> dict[str, Any] | None:
        try:
            return whole(payload, progress)
        finally:
            announce(film, payload["film_id"])

    def whole(payload: dict[str, Any], progress: Progress) -> dict[str, Any] | None:
        kept = film.films.get(payload["film_id"])
        account = film.find_account(kept.account_id) if kept else None
        if kept is None or account is None or kept.state not in ("queued", "running"):
            return None  # deleted, or done by a run that died before it could say so
        # What it is made from is read in the moment nobody may change it any more.
        kept = film.films.update(kept.id, state="running", wish=None)
        if kept is None:
            return None
        try:
            with _room(film, kept) as room:
                made = _make(film, kept, account, room, progress)
        except Cancelled as end:
            if end.args == ("cancel",):
                film.films.update(kept.id, state="cancelled", error=left(film, kept.id), finished_at=film.now())
            elif end.args in (("hold",), ("stop",)):  # it waits again, and begins anew when it is let go or at a start
                film.films.update(kept.id, state="queued")
            raise
        except (HeadwaterError, OSError) as error:
            said = (full(error) or error) if isinstance(error, OSError) else error
            film.films.update(kept.id, state="failed", error=str(said), finished_at=film.now())
            raise said from None
        return {"film": kept.id, "video": made}

    return work


def preview_path(film: Film, kept: KeptFilm) -> Path:
    """Where the latest JPEG of a film under way lies, if there is one."""
    return film.tmp / f"film-{kept.id}" / "preview.jpg"


def finish(film: Film, kept: KeptFilm) -> None:
    """Stop here and keep the draft: the steps that are left are skipped, and what there is becomes the film.

    Raises Conflict for a film that is not at work. A hub that dies before the draft is kept makes the film whole.
    """
    if kept.state != "running":
        raise Conflict(f"The film is {kept.state}; only one at work can be finished early.",
                       hint="Cancel it, if it waits.")
    film.films.update(kept.id, wish="finish")


def _wish(film: Film, kept: KeptFilm) -> Callable[[], bool]:
    """Whether somebody asked for the draft, perhaps at another hub of this database; looked up now and then."""
    asked, looked_at = False, 0.0

    def look() -> bool:
        nonlocal asked, looked_at
        if not asked and time.monotonic() - looked_at > WISH_S:
            looked_at = time.monotonic()
            now = film.films.get(kept.id)
            asked = now is not None and now.wish == "finish"
        return asked

    return look


def _make(film: Film, kept: KeptFilm, account: Account, room: Path, progress: Progress) -> str | None:
    request = _request(film, kept, account, room)
    engine, began, seen = film.engines[request.engine], time.monotonic(), Step("denoise", 0, 0)

    def tell(step: Step) -> None:
        nonlocal seen
        if step.stage == "denoise":
            seen = step
        if step.preview is not None:
            part = room / "preview.part"
            part.write_bytes(step.preview)
            part.replace(room / "preview.jpg")
        progress(step.i, step.n, stage=step.stage, unit="frames" if step.stage == "frames" else "steps")

    arrived = bring(film, kept, request, room, tell)
    request = arrived.request
    made = frames(request, tell, _wish(film, kept), memory_bytes=film.settings.film_memory_bytes,
                  threads=_threads(film) if is_warm(engine) else 1, warm=film.warm if is_warm(engine) else None)
    before, shown = earlier(film, kept, account, room), _told(made)
    if before:
        shown = join(before.path, shown, request.fps, before.footage)
    if badge := kept.asked.get("badge"):
        shown = drawn(shown, badge)
    clip = encode(shown, room / "plain.mp4", fps=before.footage.fps if before else request.fps,
                  comment=f"Made with Headwater; film {kept.id}")
    wanted = before.wanted(request.frames, request.fps) if before else request.frames
    seconds = time.monotonic() - began
    progress(clip.frames, clip.frames, stage="sign")
    receipt = {"engine": request.engine, "build": engine.build(), "seconds": round(seconds, 3),
               "work": work_of(engine, request), "frames": clip.frames, "fps": clip.fps,
               "generates": engine.describe(request.folder).generates if arrived.generates is None else
               arrived.generates, **({"elsewhere": arrived.told} if arrived.told else {})}
    if seen.i < seen.n or clip.frames < wanted:
        receipt["draft"] = f"{seen.i} of {seen.n} steps" if seen.n else f"{clip.frames} of {wanted} frames"
    if before:
        receipt["extends"] = before.told()
        receipt["generates_before"] = before.generates
    receipt["size"] = f"{clip.width}x{clip.height}"
    if badge:
        receipt["badge"] = WORDS[badge]
    _sign(film, kept, request, receipt, room, (*arrived.pictures, *_ingredient(before)))
    progress(clip.frames, clip.frames, stage="keep")
    return _keep(film, kept, account, receipt, room)


def _ingredient(before: Earlier | None) -> Pictures:
    """The film that was extended, as far as C2PA can hold it: an MP4."""
    if before is None:
        return ()
    with before.path.open("rb") as file:
        if file.read(8)[4:] != b"ftyp":
            return ()
    return (("the film it extends", before.path, "video/mp4"),)


def _threads(film: Film) -> int:
    return film.settings.worker_threads or max(1, (os.cpu_count() or 2) - 1)


def _told(made: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """Closes the engine's process as soon as the encoder ends, also by an error."""
    with contextlib.closing(made):  # type: ignore[type-var]
        yield from made


def _request(film: Film, kept: KeptFilm, account: Account, room: Path) -> FilmRequest:
    asked = dict(kept.asked)
    for told in ("notes", "callback", "expected", "camera_said", "badge", "told", "extends", "people"):
        asked.pop(told, None)
    extra, painted, last = asked.pop("more"), asked.pop("brushes", ()), asked.pop("last", None)
    pictures: tuple[Picture, ...] = ()
    if kept.photo:
        pictures = (Picture("first", *_copy(film, account, kept.photo, room / "photo")),)
    if last:
        pictures += (Picture("last", *_copy(film, account, last, room / "last")),)
    brushes = tuple(Brush(_copy(film, account, one["mask"], room / f"mask-{number}")[0],
                          tuple((x, y) for x, y in one["way"])) for number, one in enumerate(painted))
    folder, digests = None, {}
    if asked["model"]:
        repo, commit = film.find_commit(asked["model"], asked["revision"])
        snapshot = film.lay_out(repo, commit)
        folder, digests = Path(snapshot.folder), {entry.path: entry.digest for entry in snapshot.files}
    return FilmRequest(**asked, folder=folder, pictures=pictures, brushes=brushes, extra=laid_out(film, extra),
                       digests=digests)


def _copy(film: Film, account: Account, file_id: str, target: Path) -> tuple[Path, Digest]:
    file = film.files.get(account.id, file_id)
    if file is None:
        raise NotFound("A picture was deleted before the film was made.", hint="Order the film again.")
    with target.open("wb") as out:
        for chunk in film.bytes_of(file):
            out.write(chunk)
    return target, file.digest


def _sign(film: Film, kept: KeptFilm, request: FilmRequest, receipt: dict[str, Any], room: Path,
          further: Pictures) -> None:
    generates = receipt["generates"]
    source = credit.ANIMATED_PHOTO if not (generates or receipt.get("generates_before")) else (
        credit.GENERATED_FROM_PHOTO if request.pictures else credit.GENERATED)
    recipe = {"film": kept.id, "model": request.model or f"headwater/{request.engine}", "revision": request.revision,
              "engine": receipt["build"], "prompt": request.prompt, "negative": request.negative, "seed": request.seed,
              "frames": receipt["frames"], "fps": receipt["fps"], "size": receipt["size"],
              "camera": request.camera, "steps": request.steps, "guidance": request.guidance,
              **{name: receipt[name] for name in ("draft", "elsewhere", "extends", "badge") if name in receipt},
              **({"settings": bare(request.extra)} if request.extra else {}),
              "notice": _notice(generates, receipt)}
    pictures = [("photo" if one.role == "first" else one.role, one.path, media_type(one.path))
                for one in request.pictures] + list(further)
    credit.sign(room / "plain.mp4", room / "film.mp4", credit.authority(film.authority),
                title=request.prompt[:100] or "film", recipe=recipe, source_type=source, pictures=pictures)
    (room / "plain.mp4").unlink()


def _notice(generates: bool, receipt: dict[str, Any]) -> str:
    """Of a film that extends another, of both parts; nothing is claimed of one whose maker is not known."""
    if generates or receipt.get("generates_before"):
        return "Generated by a model." if generates else "Generated by a model, and then its last frame set in motion."
    if receipt.get("generates_before", False) is None:
        return "The last frame of a film was set in motion; what made that film is not known."
    return "A photo was set in motion; nothing was generated."


def _keep(film: Film, kept: KeptFilm, account: Account, receipt: dict[str, Any], room: Path) -> str | None:
    """One transaction makes the film done; until then its files belong to nobody's film and are taken back."""
    video = room / "film.mp4"
    mark = mark_of(video)
    parts = {"video": (_chunks(video), "video/mp4"), "poster": (iter([poster(video)]), "image/webp"),
             "sheet": (iter([spritesheet(video)]), "image/webp")}
    files = {}
    try:
        for name, (chunks, media) in parts.items():
            staged = film.stage(chunks, limit=VIDEO_MAX)
            files[name] = keep_file(film, account, staged, f"{kept.id}.{media.partition('/')[2]}", media).id
        done = film.films.update(kept.id, state="done", receipt=receipt, mark=mark, finished_at=film.now(), **files)
    except BaseException:
        for file_id in files.values():
            film.files.delete(account, file_id)
        raise
    if done is None:  # deleted while it was made
        for file_id in files.values():
            film.files.delete(account, file_id)
        return None
    return files["video"]


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            yield chunk


@contextmanager
def _room(film: Film, kept: KeptFilm) -> Iterator[Path]:
    """A folder for the work, empty at the start whatever a run before left in it, and gone at the end."""
    room = film.tmp / f"film-{kept.id}"
    shutil.rmtree(room, ignore_errors=True)
    room.mkdir(parents=True)
    try:
        yield room
    finally:
        shutil.rmtree(room, ignore_errors=True)
