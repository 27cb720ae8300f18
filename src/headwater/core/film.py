"""What is asked of a film engine, what it answers, and the port it implements (film_engines/, one file or folder each).

A request is complete before an engine sees it: the seed is drawn, the model pinned to a revision, files lie on disk.
The same request, engine build and revision give the same frames.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

AXES = ("horizontal", "vertical", "pan", "tilt", "roll", "zoom")
"""The camera's six axes, as Kling's API names them. Each goes from -10 to 10; at most one is not zero."""

PIXELS_MAX = 50_000_000
"""Pixels a still may have; a larger one is refused by its header, before it is read."""

Point = tuple[float, float]
"""x, y as shares of width and height, origin top left."""


@dataclass(frozen=True)
class Picture:
    """A still that goes into the film. role: "first" frame, "last" frame, or a "reference" of what is to be seen."""

    role: Literal["first", "last", "reference"]
    path: Path
    digest: str


@dataclass(frozen=True)
class Brush:
    """A painted part of the first frame (a picture of its size, white where painted) and the way it takes: at least
    two points, the first where it starts. No points: the part keeps still."""

    mask: Path
    way: tuple[Point, ...] = ()


@dataclass(frozen=True)
class FilmRequest:
    """engine: its name on the shelf. model: owner/name, "" for an engine that needs none; folder: its files.

    kind: "t2v" from words, "i2v" from a picture. Frames are fps * seconds, at even width and height. points: landmarks
    a person corrected, by the engine's own names; None when nobody did. steps and guidance None mean the model's own.
    extra: what some engines have beside, by the names vLLM-Omni's clients use: lora [{repo, file, scale, expert}],
    flow_shift, guidance_scale_2, boundary_ratio; and gguf [{repo, file, expert}], precision.
    """

    engine: str
    kind: Literal["t2v", "i2v"]
    prompt: str
    seconds: float
    fps: int
    width: int
    height: int
    seed: int
    model: str = ""
    revision: str = ""
    folder: Path | None = None
    negative: str = ""
    pictures: tuple[Picture, ...] = ()
    brushes: tuple[Brush, ...] = ()
    camera: dict[str, float] = field(default_factory=dict)
    steps: int | None = None
    guidance: float | None = None
    preset: Literal["draft", "normal", "best"] = "normal"
    points: dict[str, Point] | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    """Of the model's files, by path, where they are known: what is kept of a part is kept by them."""

    @property
    def frames(self) -> int:
        return max(1, round(self.seconds * self.fps))

    def to_json(self) -> str:
        return json.dumps(asdict(self), default=str)

    @staticmethod
    def from_json(text: str) -> FilmRequest:
        """What to_json wrote. Raises TypeError or KeyError for anything else."""
        said = json.loads(text)
        pictures = tuple(Picture(**{**one, "path": Path(one["path"])}) for one in said.pop("pictures"))
        brushes = tuple(Brush(Path(one["mask"]), tuple((x, y) for x, y in one["way"])) for one in said.pop("brushes"))
        folder, points = said.pop("folder"), said.pop("points")
        return FilmRequest(**said, pictures=pictures, brushes=brushes, folder=Path(folder) if folder else None,
                           points={name: (x, y) for name, (x, y) in points.items()} if points is not None else None)


@dataclass(frozen=True)
class Normalised:
    """The request as the engine will run it. notes: what was changed or cannot be followed, a sentence each."""

    request: FilmRequest
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Capabilities:
    """What a page offers and an API refuses. kinds of FilmRequest; seconds at most; which controls have an effect.
    points: the engine finds landmarks that a person may correct (PointFinder).

    generates: the pictures come out of a trained model. False for an engine that only moves what the photo shows.
    negative, steps, guidance, loras: whether such a control changes the film. multiple: both sides are a multiple of so
    many pixels; frames_each: frames are one more than a multiple of it (1: any number). size, frames, fps: what the
    model was trained for, None where it does not say.
    """

    kinds: frozenset[str]
    max_seconds: float
    max_side: int
    generates: bool
    needs_model: bool
    camera: bool = False
    brushes: bool = False
    points: bool = False
    last_frame: bool = False
    negative: bool = False
    extend: bool = False
    steps: bool = False
    guidance: bool = False
    loras: bool = False
    multiple: int = 2
    frames_each: int = 1
    size: tuple[int, int] | None = None
    frames: int | None = None
    fps: int | None = None


@dataclass(frozen=True)
class Estimate:
    """Seconds of work (expected, and the range most films fall in) and bytes of memory. None: not measured yet."""

    seconds: float | None
    low: float | None
    high: float | None
    memory_bytes: int | None


@dataclass(frozen=True)
class Step:
    """Where the work stands: stage ("read", "frames", "denoise", "decode", …), i of n done; preview: a JPEG or None."""

    stage: str
    i: int
    n: int
    preview: bytes | None = None


class PointFinder(Protocol):
    """What an engine offers besides when its capabilities say `points`. Called in a child process, like frames()."""

    def points(self, request: FilmRequest) -> dict[str, Point]:
        """Where it sees landmarks in the first picture, by the names FilmRequest.points takes; empty for none. Raises
        BadInput."""


class GivenUp(Exception):
    """Raised by `tell` to an engine at work: nobody wants the film any more. To be let through."""


class FilmEngine(Protocol):
    """Makes the frames of a film. Runs in a child process of its own, under limits; knows no hub and no database.

    What not every engine has, asked by the functions below: `warm`, `work`, `index`.
    """

    name: str
    usual: str
    """owner/name of the repo it takes where nobody names a model and the hub has it; "" for none."""

    def available(self) -> str | None:
        """None when it can run here, else the sentence that says how to install it."""

    def build(self) -> str:
        """Name and version of what computes."""

    def accepts(self, files: tuple[str, ...]) -> str | None:
        """None when a repo with these files is a model of this engine's, else why not."""

    def describe(self, folder: Path | None) -> Capabilities: ...

    def normalise(self, request: FilmRequest) -> Normalised:
        """Raises BadInput for what it cannot do at all, with the reason."""

    def estimate(self, request: FilmRequest) -> Estimate: ...

    def frames(self, request: FilmRequest, tell: Callable[[Step], None],
               should_stop: Callable[[], bool]) -> Iterator[Any]:
        """uint8 arrays (height, width, 3), RGB, `request.frames` of them.

        tell: where the work stands; the same again costs nothing, so it may be said often. It raises GivenUp once the
        film is cancelled: what is cancelled is noticed only there. should_stop() becomes true when what there is shall
        be kept: an engine that draws frame by frame ends with fewer, one that refines all of them skips the steps that
        are left and gives the draft, whole.
        """


def is_warm(engine: FilmEngine) -> bool:
    """Whether its process is worth keeping for the next film: it holds a model that took long to load."""
    return bool(getattr(engine, "warm", False))


def work_of(engine: FilmEngine, request: FilmRequest) -> float:
    """What the time of a normalised film is taken to grow with, in the engine's own measure; pixels if it has none."""
    measure = getattr(engine, "work", None)
    return float(measure(request)) if measure else float(request.frames * request.width * request.height)
