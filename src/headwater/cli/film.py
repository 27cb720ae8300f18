"""`headwater film`"""

from __future__ import annotations

import json
import mimetypes
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from headwater.cli._common import Common, human, note, show_json, show_table, when
from headwater.cli._film_line import change, duplicate, finish, move, pause, queue, resume
from headwater.core.errors import BadInput, HeadwaterError

if TYPE_CHECKING:
    from headwater.cli._hub import Door

POLL_S = 0.3
PEOPLE_HELP = ("Who is in the photo: none (nobody can be recognised) or agreed (people can be, and agreed to be set in "
               "motion). The hub's log keeps it. Left out, a person at a terminal is asked.")
__all__ = ["cancel", "change", "duplicate", "extend", "finish", "list_", "make", "move", "pause", "queue", "resume",
           "verify"]


class FilmFailed(HeadwaterError):
    status, code = 500, "FilmFailed"


def make(
    photo: Annotated[str | None, Parameter(help="A picture to set in motion. Left out, the film is made of the words "
                                                "alone.")] = None,
    prompt: Annotated[str, Parameter(help="What is to happen, in English or Chinese.")] = "",
    *,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"], help="The file to write, an MP4.")] = None,
    model: Annotated[str, Parameter(help="owner/name of a film model; nothing takes what is built in.")] = "",
    seconds: Annotated[float | None, Parameter(help="How long.")] = None,
    size: Annotated[str | None, Parameter(help="As 1280x720; the photo's shape without.")] = None,
    fps: Annotated[int | None, Parameter(help="Frames a second.")] = None,
    seed: Annotated[int | None, Parameter(help="The same seed makes the same film.")] = None,
    preset: Annotated[str, Parameter(help="draft, normal or best.")] = "normal",
    camera: Annotated[str | None, Parameter(help="One of horizontal, vertical, pan, tilt, roll, zoom with -10 to 10, "
                                                 "as zoom=4.")] = None,
    badge: Annotated[Literal["en", "zh"] | None, Parameter(help="Show AI (en) or AI 生成 (zh) in a corner.")] = None,
    people: Annotated[Literal["none", "agreed"] | None, Parameter(help=PEOPLE_HELP)] = None,
    common: Common = Common(),
) -> None:
    """Set a photo in motion, or make a film from words. Ctrl-C gives it up."""
    from headwater.cli._hub import reach

    file = Path(photo).expanduser() if photo else None
    if file is not None and not file.is_file():
        if prompt:
            raise BadInput(f"There is no file {photo}.")
        file, prompt = None, photo or ""
    fields = {"prompt": prompt or "the camera comes slowly closer", "model": model, "seconds": seconds, "size": size,
              "fps": fps, "seed": seed, "preset": preset, "camera": _camera(camera), "badge": badge,
              "people": _people(people, common) if file else None}
    form = {name: str(value) for name, value in fields.items() if value not in (None, "")}
    with reach(common, work=True) as door:
        files = {"input_reference": (file.name, file.read_bytes(), _media_type(file))} if file else None
        ordered = door.ask("POST", "/v1/videos", data=form, files=files)
        _made(door, ordered, out, prompt, common)


def extend(
    film: Annotated[str, Parameter(help="The film's id, or a video file.")],
    prompt: Annotated[str, Parameter(help="What is to happen next; as before without.")] = "",
    *,
    out: Annotated[Path | None, Parameter(name=["--out", "-o"], help="The file to write, an MP4.")] = None,
    seconds: Annotated[float | None, Parameter(help="How long what is added is.")] = None,
    seed: Annotated[int | None, Parameter(help="The same seed makes the same film.")] = None,
    model: Annotated[str, Parameter(help="owner/name of a film model; the one that made the film without.")] = "",
    people: Annotated[Literal["none", "agreed"] | None, Parameter(help="Who is in a video file, as for a photo. A film "
                                                                       "of the hub keeps what was said of it.")] = None,
    common: Common = Common(),
) -> None:
    """Go on where a film ended: a new film, with the frames of both."""
    from headwater.cli._hub import path_of, reach

    file = Path(film).expanduser()
    fields = {"prompt": prompt, "seconds": seconds, "seed": seed, "model": model, "people": people}
    fields = {name: value for name, value in fields.items() if value not in (None, "")}
    with reach(common, work=True) as door:
        if file.is_file():
            form = {name: str(value) for name, value in {"prompt": "the camera comes slowly closer", **fields}.items()}
            with file.open("rb") as video:
                ordered = door.ask("POST", "/v1/videos/extensions", data=form,
                                   files={"video": (file.name, video, _media_type(file))})
        else:
            new = door.post(f"/api/headwater/films/{path_of(film)}/extend", fields)
            ordered = door.get(f"/v1/videos/{new['id']}")
        _made(door, ordered, out, prompt or ordered["prompt"], common)


def verify(file: Path, *, common: Common = Common()) -> None:
    """Say what made a film: by its credential, or for a copy without one by what it looks like."""
    from headwater.cli._hub import reach

    if not file.is_file():
        raise BadInput(f"There is no file {file}.")
    with reach(common) as door:
        found = door.ask("POST", "/api/headwater/films/verify", content=_chunks(file),
                         headers={"content-type": "application/octet-stream"})
    if common.json:
        show_json(found)
        return
    print({"trusted": "Its credential is this hub's, and nothing was changed since.",
           "valid": f"Nothing was changed since {found['signer']} signed it, whom this hub does not know.",
           "broken": "It has a credential and was changed since.",
           "none": "It has no credential."}[found["credential"]])
    if found["film"] and found["distance"] is not None:
        print(f"It looks like {found['film']} of this hub{', mirrored' if found['mirrored'] else ''}: "
              f"{100 * found['distance']:.0f} % of the marks differ.")
    rows = found["recipe"] or found["made"] or {}
    show_table(("what", "value"), [(name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
                                   for name, value in rows.items() if value not in ("", None, {})],
               "No film of yours looks like it.")


def list_(*, common: Common = Common()) -> None:
    """List your films, newest first."""
    from headwater.cli._hub import reach

    with reach(common) as door:
        films = door.get("/v1/videos", limit=100)["data"]
    if common.json:
        show_json(films)
        return
    show_table(("film", "state", "made of", "seconds", "size", "when"), [
        (one["id"], f"{one['status']} {one['progress']} %" if one["status"] == "in_progress" else one["status"],
         one["prompt"][:60], one["seconds"], one["size"], when(one["created_at"])) for one in films],
        "No films yet. `headwater film photo.jpg \"zoom in\"` makes one.")


def cancel(film: Annotated[str, Parameter(help="The film's id.")], *, common: Common = Common()) -> None:
    """Give up a film that waits or is under way."""
    from headwater.cli._hub import path_of, reach

    with reach(common) as door:
        said = door.post(f"/v1/videos/{path_of(film)}/cancel")
    show_json(said) if common.json else note(f"{film} is given up.")


def _made(door: Door, ordered: dict[str, Any], out: Path | None, prompt: str, common: Common) -> None:
    """Wait for the film and write it to `out`, or to a file called as what it was made of."""
    for said in ordered["headwater"]["notes"]:
        note(said)
    film = _watch(door, ordered, quiet=common.json)
    target = out or Path(f"{(prompt or 'film')[:40].replace('/', ' ').strip() or 'film'}.mp4")
    _fetch(door, film["id"], target)
    if common.json:
        show_json({**film, "file": str(target)})
    else:
        note(f"{target}: {float(film['seconds']):.3g} s of {film['size']}, {human(target.stat().st_size)}, seed "
             f"{film['headwater']['seed']}. It says in itself what made it: headwater film verify {target}")


def _watch(door: Door, film: dict[str, Any], *, quiet: bool) -> dict[str, Any]:
    """The film once it is made. Raises FilmFailed with the hub's own words; Ctrl-C cancels it."""
    from headwater.cli._progress import Bar

    path = f"/v1/videos/{film['id']}"
    try:
        with Bar(film["prompt"][:50], quiet=quiet) as bar:
            while film["status"] in ("queued", "in_progress"):
                told = film["headwater"]
                bar(told["done"] or 0, told["total"], stage=told["stage"] or "waiting")
                time.sleep(POLL_S)
                film = door.get(path)
    except KeyboardInterrupt:
        door.post(f"{path}/cancel")
        note("\nThe film is given up.")
        raise
    if film["status"] == "failed":
        raise FilmFailed(film["error"]["message"])
    return film


def _fetch(door: Door, film_id: str, target: Path) -> None:
    part = target.with_name(f".{target.name}.part")
    try:
        with door.stream("GET", f"/v1/videos/{film_id}/content") as answer, part.open("wb") as file:
            for chunk in answer.iter_bytes(1 << 20):
                file.write(chunk)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _camera(text: str | None) -> str | None:
    if text is None:
        return None
    axis, _, value = text.partition("=")
    try:
        return json.dumps({axis: float(value)})
    except ValueError:
        raise BadInput(f"--camera {text!r} is not like zoom=4.") from None


def _people(said: str | None, common: Common) -> str | None:
    """What is said of the people in the photo. A person at a terminal is asked, as the page asks; a program is not:
    the hub then logs that nobody was. Raises BadInput for a person who does not answer."""
    if said is not None or common.json:
        return said
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        note("Nobody said who is in the photo, and the hub's log says so. --people none or --people agreed says it.")
        return None
    note("Who is in the photo? Your answer is kept in the hub's log beside the film.\n"
         "  1  nobody who can be recognised\n"
         "  2  people who can be recognised, and they agree to be set in motion")
    print("1 or 2: ", end="", file=sys.stderr, flush=True)
    answer = {"1": "none", "2": "agreed"}.get(sys.stdin.readline().strip())
    if answer is None:
        raise BadInput("That is neither 1 nor 2, so no film was ordered.", hint="Say --people none or --people agreed.")
    return answer


def _media_type(file: Path) -> str:
    return mimetypes.guess_type(file.name)[0] or "application/octet-stream"


def _chunks(file: Path) -> Iterator[bytes]:
    with file.open("rb") as source:
        while chunk := source.read(1 << 20):
            yield chunk
