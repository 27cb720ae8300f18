"""Order a film, look at it, cancel it, delete it. Every face (OpenAI, Kling, pages, CLI) comes through here.

An order is checked by its engine before it is kept, so what cannot be made is refused at once; the seed is drawn and
the model pinned to its revision, so a restart, or a second order of the same, makes the same film.
"""

from __future__ import annotations

import contextlib
import secrets
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from headwater.core.errors import BadInput, Busy, Conflict, ModelNotFound, NotFound, TooLarge
from headwater.core.film import (
    AXES,
    PIXELS_MAX,
    Brush,
    Capabilities,
    FilmEngine,
    FilmRequest,
    Normalised,
    Picture,
    Point,
    work_of,
)
from headwater.core.types import Account, Actor, Job, JobState, KeptFile, KeptFilm, Staged
from headwater.film import Film
from headwater.film.consent import Sender, check_people, note_people, people_in
from headwater.film.elsewhere import admit, kind_of
from headwater.film.gate import admit_order, count_order, uncount_order
from headwater.film.parts import bare, laid_out, pinned

PROMPT_MAX = 4_000
PHOTO_MAX = 25_000_000
FILES_MAX = 100_000
PURPOSE = "film"
SIDE_MIN, SIDE_MAX, DEFAULT_SIDE = 64, 4_096, 720
POINTS_MAX = 100
FPS, SECONDS = 24, 4.0
BUILT_IN = ("photo", "plain")
"""Engines that need no model, in the order of preference; a film whose model is "" or "headwater/<name>" takes one."""


@dataclass(frozen=True)
class Asked:
    """What a person or program asks for. None: the engine's or the picture's own. model: owner/name[@revision], an
    engine's name, or "". size: (width, height). brushes: (mask, way) as core.film.Brush has them; last: the frame to
    end with. callback: the URL that is told when the film is made, or cannot be (callback.py). points: landmarks that
    a person corrected, as core.film.FilmRequest has them. badge: "en" or "zh" to show that it is a machine's work.
    extends, footage: the film this one goes on from (extend.py). told: what is said of the order in its notes.
    people: who can be recognised in the photo, as consent.ANSWERS has it, None or "" where nobody said; sender: who
    sent the order, for the log."""

    prompt: str = ""
    model: str = ""
    negative: str = ""
    seconds: float | None = None
    fps: int | None = None
    size: tuple[int, int] | None = None
    steps: int | None = None
    guidance: float | None = None
    seed: int | None = None
    preset: str = "normal"
    camera: dict[str, float] = field(default_factory=dict)
    external_id: str | None = None
    remixed_from: str | None = None
    more: dict[str, Any] = field(default_factory=dict)
    brushes: tuple[tuple[Staged, tuple[Point, ...]], ...] = ()
    last: Staged | None = None
    callback: str = ""
    points: dict[str, Point] | None = None
    badge: str = ""
    extends: dict[str, Any] | None = None
    footage: Staged | None = None
    told: tuple[str, ...] = ()
    people: str | None = None
    sender: Sender | None = None

    @property
    def staged(self) -> list[Staged]:
        """The pictures beside the first."""
        return [mask for mask, _ in self.brushes] + ([self.last] if self.last else [])


def order(film: Film, actor: Actor, account: Account, asked: Asked, photo: Staged | None = None) -> KeptFilm:
    """Keep the order and its pictures (which are consumed), and enqueue the work.

    Raises BadInput (what the engine cannot do, or a picture it cannot read), ModelNotFound, TooLarge, Busy, Forbidden
    (words the hub makes no film of), Unavailable (when that cannot be told).
    """
    counted = False
    try:
        check_people(film, asked, bool(photo or asked.last))
        normalised = checked(film, actor, account, asked, photo)
        if film.films.unfinished(account.id) >= film.settings.film_queue_user_max:
            raise Busy("You have as many films waiting as one account may.", retry_after=30,
                       hint="Wait for one to be done, or cancel one.")
        count_order(film, account)
        counted = True
        kept_photo = keep_file(film, account, photo, "photo", media_type(photo.path)) if photo else None
        named = _keep_others(film, account, asked)
    except BaseException:
        if counted:
            uncount_order(film, account)
        raise
    finally:
        forget(asked, photo)
    kept = KeptFilm(
        f"video_{secrets.token_hex(16)}", account.id, None, "queued", plain(film, normalised, asked) | named,
        kept_photo.id if kept_photo else None, None, None, None, None, None, None, asked.remixed_from,
        asked.external_id, film.now(), None)
    note_people(film, actor, account, kept, asked.sender)
    film.films.add(kept)
    return _enqueue(film, kept, account.name)


def checked(film: Film, actor: Actor, account: Account, asked: Asked, photo: Staged | None) -> Normalised:
    """The plan of an order that is meant: also what the account may order is looked at. Raises as order()."""
    normalised = plan(film, actor, asked, photo)
    admit_order(film, actor, account, normalised.request)
    return normalised


def forget(asked: Asked, photo: Staged | None) -> None:
    """Drop what was received for an order."""
    for staged in [*asked.staged, asked.footage, photo]:
        if staged:
            Path(staged.path).unlink(missing_ok=True)


def plan(film: Film, actor: Actor, asked: Asked, photo: Staged | None) -> Normalised:
    """The order as its engine will run it, without keeping anything. Raises as order()."""
    _check(asked)
    engine, model, revision, folder = _engine_for(film, actor, asked.model, photo is not None)
    if why := engine.available():
        raise BadInput(f"{engine.name} cannot run here: {why}")
    admit(film, engine, folder)
    capabilities = engine.describe(folder)
    shape = _shape(photo) if photo else None  # also where a size is said: what is no picture is refused here
    width, height = asked.size or _fitted(shape, capabilities)
    fps = asked.fps or capabilities.fps or FPS
    seconds = asked.seconds or (capabilities.frames / fps if capabilities.frames else SECONDS)
    draft = FilmRequest(
        engine.name, "i2v" if photo else "t2v", asked.prompt, seconds, fps,
        width // 2 * 2, height // 2 * 2, secrets.randbelow(2**31) if asked.seed is None else asked.seed,
        model, revision, folder, asked.negative,
        _pictures(asked, photo), tuple(Brush(Path(mask.path), way) for mask, way in asked.brushes),
        camera=asked.camera, steps=asked.steps, guidance=asked.guidance, preset=asked.preset, points=asked.points,
        extra=laid_out(film, pinned(film, actor, asked.more)))  # type: ignore[arg-type]
    if draft.kind not in capabilities.kinds:
        raise BadInput("This engine needs a photo to begin with." if draft.kind == "t2v" else
                       "This model makes films from words alone.", hint="Choose another model.")
    if asked.brushes and not capabilities.brushes:
        raise BadInput(f"{engine.name} has no motion brush.", hint="Leave the masks out, or choose another model.")
    if asked.points and not capabilities.points:
        raise BadInput(f"{engine.name} knows no points of a face.", hint="Leave the points out.")
    if asked.last and not capabilities.last_frame:
        raise BadInput(f"{engine.name} cannot end a film with a given picture.", hint="Leave the last picture out.")
    for picture in asked.staged:
        _shape(picture)
    notes = () if (width, height) == (draft.width, draft.height) else (
        f"{draft.width}x{draft.height} was taken for {width}x{height}: both sides must be even.",)
    if not capabilities.needs_model:
        notes += _idle(engine, asked)
    normalised = engine.normalise(draft)
    memory = engine.estimate(normalised.request).memory_bytes
    if memory and memory > film.settings.film_memory_bytes:
        raise TooLarge(f"The film would need about {memory >> 20} MiB of memory; "
                       f"{film.settings.film_memory_bytes >> 20} MiB may be used.",
                       hint="Ask for a smaller size or fewer seconds, or allow more by the setting film_memory_bytes.")
    return Normalised(normalised.request, notes + normalised.notes)


def offered(film: Film, actor: Actor, model: str, has_photo: bool) -> Capabilities:
    """What the engine that would take this model can do. Raises ModelNotFound, BadInput."""
    engine, _, _, folder = _engine_for(film, actor, model, has_photo)
    if why := engine.available():
        raise BadInput(f"{engine.name} cannot run here: {why}")
    return engine.describe(folder)


def find(film: Film, account: Account, film_id: str) -> KeptFilm:
    """As it stands now. Raises NotFound, also for another's."""
    kept = film.films.get(film_id) if len(film_id) <= 100 and film_id.isascii() and film_id.isprintable() else None
    if kept is None or kept.account_id != account.id:
        raise NotFound(f"No film {film_id[:100]!r} here.", hint="GET /v1/videos lists yours.")
    return settled(film, kept)


def settled(film: Film, kept: KeptFilm) -> KeptFilm:
    """The film, with what became of its job when that was not written down: cancelled before it began, its process
    ended for good, or it waits again since its process died."""
    if kept.state not in ("queued", "running") or kept.job_id is None:
        return kept
    job = film.jobs.get(kept.job_id)
    if job is not None and job.state is JobState.QUEUED and kept.state == "running":
        return replace(kept, state="queued")  # not written: in this moment somebody may take it up
    if job is None or job.state in (JobState.QUEUED, JobState.RUNNING, JobState.DONE):
        return kept
    state = "cancelled" if job.state is JobState.CANCELLED else "failed"
    return film.films.update(kept.id, state=state, error=job.error, finished_at=film.now()) or kept


def job_of(film: Film, kept: KeptFilm) -> Job | None:
    return film.jobs.get(kept.job_id) if kept.job_id else None


def cancel(film: Film, kept: KeptFilm) -> KeptFilm:
    """Raises Conflict when there is nothing to cancel any more. A running one ends at its next step."""
    if kept.state not in ("queued", "running"):
        raise Conflict(f"The film is {kept.state} already.")
    if kept.job_id:
        film.jobs.cancel(kept.job_id)
    return settled(film, film.films.get(kept.id) or kept)


def delete(film: Film, account: Account, kept: KeptFilm) -> None:
    """With its files; a film under way is cancelled first. Bytes go with a later sweep."""
    if kept.state in ("queued", "running") and kept.job_id:
        film.jobs.cancel(kept.job_id)
    film.films.delete(kept)
    brushes = [one["mask"] for one in kept.asked.get("brushes", ())]
    extends = kept.asked.get("extends") or {}
    brushes += [extends["file"]] if extends.get("own") else []
    for file_id in (kept.photo, kept.video, kept.poster, kept.sheet, kept.asked.get("last"), *brushes):
        if file_id:
            film.files.delete(account, file_id)


def again(film: Film, actor: Actor, account: Account, kept: KeptFilm, **changed: Any) -> KeptFilm:
    """A new order of the same with some fields of Asked changed: a new seed unless one is given. Raises as order()."""
    asked, photo = asked_again(film, account, kept, changed)
    return order(film, actor, account, replace(asked, remixed_from=kept.id), photo)


def asked_again(film: Film, account: Account, kept: KeptFilm, changed: dict[str, Any], *,
                copies: bool = True) -> tuple[Asked, Staged | None]:
    """(what was asked for a film, with some fields changed and no seed unless one is among them; its photo). To be
    given to order(), or forgotten. copies: for a film of its own, which keeps its own files."""
    asked = Asked(**{name: kept.asked[name] for name in (
        "prompt", "model", "negative", "seconds", "fps", "steps", "guidance", "preset", "more")},
        # A move the words named goes with them; one a person set stays.
        camera=kept.asked.get("camera_said", kept.asked["camera"]),
        size=(kept.asked["width"], kept.asked["height"]), points=kept.asked.get("points"),
        badge=kept.asked.get("badge", ""), told=() if copies else tuple(kept.asked.get("told", ())),
        people=kept.asked.get("people"))
    # By name: what is the first choice now may not have been when the film was made.
    asked = replace(asked, model=f"{asked.model}@{kept.asked['revision']}" if kept.asked["revision"] else
                    f"headwater/{kept.asked['engine']}")
    photo = film.files.get(account.id, kept.photo) if kept.photo else None
    if kept.photo and photo is None:
        raise NotFound("The photo this film was made of is gone.", hint="Order a new film with it.")
    brushes = tuple((_staged(film, account, one["mask"]), tuple((x, y) for x, y in one["way"]))
                    for one in kept.asked.get("brushes", ()))
    last = _staged(film, account, kept.asked["last"]) if kept.asked.get("last") else None
    extends, footage = kept.asked.get("extends"), None
    if extends and film.files.get(account.id, extends["file"]) is None:
        raise NotFound("The film this one goes on from is gone.", hint="Order a new film.")
    if extends and extends["own"] and copies:
        footage = _staged(film, account, extends["file"])
    staged = film.stage(film.bytes_of(photo), limit=photo.size) if photo else None
    return replace(asked, brushes=brushes, last=last, extends=extends, footage=footage, **changed), staged


def resume(film: Film) -> int:
    """Orders whose work was never enqueued because the hub died in between, enqueued now. Run at start."""
    count = 0
    for state in ("queued", "running"):
        page, _ = film.films.page(None, state=state, limit=1_000)
        for kept in page:
            if kept.job_id is None or film.jobs.get(kept.job_id) is None:
                owner = film.find_account(kept.account_id)
                _enqueue(film, kept, owner.name if owner else "headwater")
                count += 1
    return count


def keep_file(film: Film, account: Account, staged: Staged, name: str, media_type: str) -> KeptFile:
    """A file of a film, under the account. Consumes what was staged. Raises TooLarge when the account has no room."""
    file = KeptFile(f"file-{secrets.token_hex(16)}", account.id, name, PURPOSE, media_type, staged.digest, staged.size,
                    None, film.now())
    film.files.claim(file, most=FILES_MAX, most_bytes=film.settings.user_files_max_bytes)
    try:
        film.blobs.adopt(Path(staged.path), staged.digest)
        film.files.arrived(file)
    except BaseException:
        film.files.delete(account, file.id)
        raise
    return file


def _staged(film: Film, account: Account, file_id: str) -> Staged:
    file = film.files.get(account.id, file_id)
    if file is None:
        raise NotFound("A picture this film was made of is gone.", hint="Order a new film.")
    return film.stage(film.bytes_of(file), limit=file.size)


def _keep_others(film: Film, account: Account, asked: Asked) -> dict[str, Any]:
    """What the record names beside the photo, each only where the order has it: brushes, last, callback."""
    named: dict[str, Any] = {}
    if asked.brushes:
        named["brushes"] = [{"mask": keep_file(film, account, mask, "mask", media_type(mask.path)).id, "way": way}
                            for mask, way in asked.brushes]
    if asked.last:
        named["last"] = keep_file(film, account, asked.last, "last", media_type(asked.last.path)).id
    if asked.callback:
        named["callback"] = asked.callback
    if asked.extends:
        file = asked.footage and keep_file(film, account, asked.footage, "footage", "video/mp4")
        named["extends"] = asked.extends | ({"file": file.id} if file else {})
    return named


def _pictures(asked: Asked, photo: Staged | None) -> tuple[Picture, ...]:
    first = (Picture("first", Path(photo.path), photo.digest),) if photo else ()
    return (*first, Picture("last", Path(asked.last.path), asked.last.digest)) if asked.last else first


def title_of(kept: KeptFilm) -> str:
    return f"Film: {kept.asked['prompt'][:60] or kept.asked['engine']}"


def _enqueue(film: Film, kept: KeptFilm, by: str) -> KeptFilm:
    job = film.jobs.enqueue(kind_of(film, kept.asked["engine"]), {"film_id": kept.id}, title=title_of(kept), by=by,
                            key=kept.id)
    return film.films.update(kept.id, job_id=job.id) or kept


def _engine_for(film: Film, actor: Actor, model: str, has_photo: bool) -> tuple[FilmEngine, str, str, Path | None]:
    """(engine, model, revision, folder)."""
    name = model.removeprefix("headwater/")
    if name in BUILT_IN or not model:
        for candidate in ([name] if model else BUILT_IN):
            if candidate in film.engines.names() and (model or film.engines[candidate].available() is None):
                engine = film.engines[candidate]
                if engine.usual:
                    with contextlib.suppress(ModelNotFound):
                        repo, commit = film.find_model(actor, engine.usual)
                        if engine.accepts(tuple(film.list_files(commit))) is None:
                            return engine, repo.full_name, commit.oid, Path(film.lay_out(repo, commit).folder)
                if engine.describe(None).needs_model:
                    break
                return engine, "", "", None
    if not model:
        raise BadInput("No model was named, and none is built in." if has_photo else
                       "A film from words needs a model.", hint="Name one: owner/name of a film model in the hub.")
    repo, commit = film.find_model(actor, model)
    files = tuple(film.list_files(commit))
    reasons = []
    for engine in film.engines:
        why = engine.accepts(files)
        if why is None:
            return engine, repo.full_name, commit.oid, Path(film.lay_out(repo, commit).folder)
        reasons.append(f"{engine.name}: {why}")
    raise ModelNotFound(f"{repo.full_name} is not a model of film. {'; '.join(reasons)}")


def _idle(engine: FilmEngine, asked: Asked) -> tuple[str, ...]:
    """What of an order only a model could follow. An engine that has one says it itself."""
    said = {"steps": asked.steps, "guidance": asked.guidance, "a negative prompt": asked.negative}
    names = [name for name, there in said.items() if there not in (None, "")]
    names += sorted(name[:40] for name in asked.more)[:20]
    return (f"The engine {engine.name} has no model, so these have no effect: {', '.join(names)}.",) if names else ()


def _check(asked: Asked) -> None:
    if len(asked.prompt) > PROMPT_MAX or len(asked.negative) > PROMPT_MAX:
        raise BadInput(f"A prompt has at most {PROMPT_MAX:,} characters.")
    if asked.seconds is not None and not 0.1 <= asked.seconds <= 120:
        raise BadInput(f"seconds: {asked.seconds:g} is not between 0.1 and 120.")
    if asked.fps is not None and not 1 <= asked.fps <= 60:
        raise BadInput(f"fps: {asked.fps} is not between 1 and 60.")
    if asked.size and not all(SIDE_MIN <= side <= SIDE_MAX for side in asked.size):
        raise BadInput(f"size: {asked.size[0]}x{asked.size[1]}; a side has {SIDE_MIN} to {SIDE_MAX:,} pixels.")
    if asked.badge not in ("", "en", "zh"):
        raise BadInput(f"badge: {asked.badge[:50]!r} is none of en, zh.")
    if asked.preset not in ("draft", "normal", "best"):
        raise BadInput(f"preset: {asked.preset[:50]!r} is none of draft, normal, best.")
    if asked.seed is not None and not 0 <= asked.seed < 2**63:
        raise BadInput("seed: a whole number from 0 to 2^63 - 1.")
    if len(asked.points or ()) > POINTS_MAX:
        raise BadInput(f"points: at most {POINTS_MAX} are taken.")
    moved = [axis for axis, value in asked.camera.items() if value]
    if any(axis not in AXES for axis in asked.camera) or len(moved) > 1 or any(
            not -10 <= asked.camera[axis] <= 10 for axis in moved):
        raise BadInput(f"camera: at most one of {', '.join(AXES)} may differ from 0, from -10 to 10.")


def _shape(photo: Staged) -> tuple[int, int]:
    """Width and height as it is looked at. Raises BadInput for what is no picture, or too large a one."""
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(photo.path) as image:
            # Only the header is read; a picture on its side by EXIF is as wide as it is high.
            width, height = image.size[::-1] if _turned(image) else image.size
    except UnidentifiedImageError:  # whose words name the file it lies in
        raise BadInput("The photo cannot be read: it is no picture.", hint="Save it as JPEG, PNG or WebP.") from None
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise BadInput(f"The photo cannot be read: {error}.", hint="Save it as JPEG, PNG or WebP.") from None
    if width * height > PIXELS_MAX:
        raise BadInput(f"The photo has {width * height / 1e6:.0f} megapixels; the most is {PIXELS_MAX / 1e6:.0f}.",
                       hint="Make it smaller first.")
    return width, height


def _turned(image: Any) -> bool:
    """Whether it lies on its side by what stands before its pixels: to look behind them, Pillow would read them all."""
    from PIL import ImageOps

    if image.format == "PNG" and "exif" not in image.info:
        return False
    return image.getexif().get(ImageOps.ExifTags.Base.Orientation, 1) >= 5


def _fitted(shape: tuple[int, int] | None, capabilities: Capabilities) -> tuple[int, int]:
    """What the model was made for, in the photo's shape; else the longer side is DEFAULT_SIDE."""
    if capabilities.size and shape is None:
        return capabilities.size
    width, height = shape or (16, 9)
    scale = DEFAULT_SIDE / max(width, height)
    if capabilities.size:
        scale = (capabilities.size[0] * capabilities.size[1] / (width * height)) ** 0.5
    return max(SIDE_MIN, round(width * scale)), max(SIDE_MIN, round(height * scale))


def media_type(path: str | Path) -> str:
    from PIL import Image

    with Image.open(path) as image:
        return Image.MIME.get(image.format or "", "application/octet-stream")


def plain(film: Film, normalised: Normalised, asked: Asked) -> dict[str, Any]:
    """The order as JSON: what make.py builds the request from again, `notes`, and `expected`: its work, and the seconds
    its engine thinks it takes; camera_said: the move that was set, where the engine took another from the words;
    people: as consent.people_in tells it."""
    request = normalised.request
    engine = film.engines[request.engine]
    people = people_in(asked, bool(request.pictures))
    badge = asked.badge or (film.settings.film_badge if engine.describe(request.folder).generates else "")
    expected = {"work": work_of(engine, request), "seconds": engine.estimate(request).seconds}
    return {"engine": request.engine, "kind": request.kind, "model": request.model, "revision": request.revision,
            "prompt": request.prompt, "negative": request.negative, "seconds": request.seconds, "fps": request.fps,
            "width": request.width, "height": request.height, "seed": request.seed, "steps": request.steps,
            "guidance": request.guidance, "preset": request.preset, "camera": request.camera,
            "more": bare(request.extra), "notes": [*asked.told, *normalised.notes], "expected": expected,
            **({"points": request.points} if request.points else {}),
            **({"camera_said": asked.camera} if asked.camera != request.camera else {}),
            **({"people": people} if people is not None else {}), **({"badge": badge} if badge else {}),
            **({"told": list(asked.told)} if asked.told else {})}
