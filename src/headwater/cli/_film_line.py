"""The verbs of `headwater film` about films that wait: the line, and what becomes of an order in it."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from headwater.cli._common import Common, note, show_json, show_table
from headwater.core.errors import BadInput

FilmId = Annotated[str, Parameter(help="The film's id, as `headwater film queue` shows it.")]
ROOT = "/api/headwater/films"


def queue(*, common: Common = Common()) -> None:
    """Show the line of films: your own, all of them for an administrator."""
    from headwater.cli._hub import reach

    with reach(common) as door:
        line = door.get(f"{ROOT}/queue")
    if common.json:
        show_json(line)
        return
    show_table(("place", "film", "whose", "made of", "#seconds", "ready in"), map(_row, line["films"]),
               f"No film of yours waits; {line['waiting']} of others do." if line["waiting"] else "No film waits.")
    if line["paused"]:
        note("The line is paused: no film is begun. `headwater film resume` lets it go on.")


def move(
    film: FilmId,
    *,
    before: Annotated[str | None, Parameter(help="The film it is to stand before.")] = None,
    after: Annotated[str | None, Parameter(help="The film it is to stand after.")] = None,
    to: Annotated[Literal["top", "end"] | None, Parameter(help="The top or the end of the line.")] = None,
    common: Common = Common(),
) -> None:
    """Move a film that waits to another place in the line.

    Whoever is no administrator moves it among the places their own films have.
    """
    if [before, after, to].count(None) != 2:
        raise BadInput("Say one of --before, --after, --to.")
    said = _post(common, film, "move", {"before": before, "after": after, "to": to})
    _told(said, common, f"{film} is at place {_place(said)}.")


def pause(film: Annotated[str | None, Parameter(help="The film; left out, the whole line.")] = None, *,
          common: Common = Common()) -> None:
    """Hold a film: it keeps its place and waits. Without a film, the whole line is paused.

    One under way stops at its next step and begins anew when it is resumed; it becomes the same film.
    """
    _told(_post(common, film, "pause"), common, f"{film} waits until `headwater film resume {film}`." if film else
          "The line is paused: what is under way is made, and no other is begun.")


def resume(film: Annotated[str | None, Parameter(help="The film; left out, the whole line.")] = None, *,
           common: Common = Common()) -> None:
    """Let a held film go on. Without a film, the whole line."""
    _told(_post(common, film, "resume"), common, f"{film} goes on." if film else "The line goes on.")


def change(
    film: FilmId,
    *,
    prompt: Annotated[str | None, Parameter(help="What is to happen.")] = None,
    seconds: Annotated[float | None, Parameter(help="How long.")] = None,
    size: Annotated[str | None, Parameter(help="As 1280x720.")] = None,
    seed: Annotated[int | None, Parameter(help="The same seed makes the same film.")] = None,
    preset: Annotated[Literal["draft", "normal", "best"] | None, Parameter(help="draft, normal or best.")] = None,
    common: Common = Common(),
) -> None:
    """Change the order of a film that waits. It is checked anew and keeps its place."""
    from headwater.cli._hub import path_of, reach

    fields: dict[str, Any] = {"prompt": prompt, "seconds": seconds, "seed": seed, "preset": preset, **_size(size)}
    fields = {name: value for name, value in fields.items() if value is not None}
    if not fields:
        raise BadInput("Say what to change: --prompt, --seconds, --size, --seed or --preset.")
    with reach(common) as door:
        said = door.ask("PATCH", f"{ROOT}/{path_of(film)}", content=json.dumps(fields),
                        headers={"content-type": "application/json"})
    for one in said["notes"]:
        note(one)
    _told(said, common, f"{film} is changed.")


def duplicate(film: FilmId, *,
              seed: Annotated[int | None, Parameter(help="Its seed; a new one is drawn without.")] = None,
              common: Common = Common()) -> None:
    """Order the same film again with a new seed."""
    said = _post(common, film, "duplicate", {"seed": seed})
    _told(said, common, f"{said['id']} is ordered, with the seed {said['seed']}.")


def finish(film: FilmId, *, common: Common = Common()) -> None:
    """Stop a film under way here and keep the draft: the steps that are left are skipped."""
    _told(_post(common, film, "finish"), common, f"{film} ends with what there is.")


def _post(common: Common, film: str | None, verb: str, body: Any = None) -> Any:
    from headwater.cli._hub import path_of, reach

    with reach(common) as door:
        return door.post(f"{ROOT}/{path_of(film) if film else 'queue'}/{verb}", body)


def _told(said: Any, common: Common, words: str) -> None:
    show_json(said) if common.json else note(words)


def _row(one: dict[str, Any]) -> tuple[Any, ...]:
    left = one["waits"] and one["waits"]["left_s"]
    ready = "held" if one["waits"] and one["waits"]["held"] else "" if left is None else f"{left:.0f} s"
    return (_place(one), one["id"], one["account"], one["prompt"][:50], f"{one['seconds']:g}", ready)


def _place(one: dict[str, Any]) -> str:
    waits = one["waits"]
    return one["state"] if not waits else "now" if waits["place"] == 0 else f"{waits['place']} of {waits['of']}"


def _size(text: str | None) -> dict[str, int]:
    if text is None:
        return {}
    width, cross, height = text.partition("x")
    if not (cross and width.isdecimal() and height.isdecimal()):
        raise BadInput(f"--size {text!r} is not like 1280x720.")
    return {"width": int(width), "height": int(height)}
