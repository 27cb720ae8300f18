"""Films by a diffusion model: any repo of the hub whose model_index.json is of a family in families.py.

The hub's process reads configs and headers alone; torch is imported in the engine's own process (run.py). No code of a
repo is run and no pickle is read. docs/design/024-diffusers.md tells what was chosen.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from headwater.core.errors import BadInput, CorruptFile
from headwater.core.film import Capabilities, Estimate, FilmRequest, Normalised, Step

if TYPE_CHECKING:
    import numpy as np

NEEDED = ("torch", "diffusers", "transformers", "accelerate", "ftfy")
SPEED = 0.15
"""10^12 operations a second, of a core or two; what a first estimate is made from."""
LOADING_S = 15.0


class Diffusers:
    name = "diffusers"
    usual = ""
    warm = True

    def available(self) -> str | None:
        missing = [name for name in NEEDED if find_spec(name) is None]
        return f"{', '.join(missing)} not installed: pip install 'headwater[torch]'" if missing else None

    def build(self) -> str:
        try:
            torch, transformers = version("torch"), version("transformers")
            return f"diffusers {version('diffusers')} (torch {torch}, transformers {transformers})"
        except PackageNotFoundError:
            return "diffusers (not installed)"

    def accepts(self, files: tuple[str, ...]) -> str | None:
        if "model_index.json" not in files:
            return ("it is put together by code of its own (modular_model_index.json), which is never run"
                    if "modular_model_index.json" in files else "it has no model_index.json")
        lacks = [name for name in ("transformer", "vae") if f"{name}/config.json" not in files]
        return f"it lacks {' and '.join(f'{name}/config.json' for name in lacks)}" if lacks else None

    def index(self, text: str) -> str | None:
        """None when this model_index.json is of a film model, else why not."""
        from headwater.film_engines.diffusers.repo import check_index

        try:
            check_index(json.loads(text))
        except (BadInput, ValueError, RecursionError) as error:
            return str(error)
        return None

    def describe(self, folder: Path | None) -> Capabilities:
        from headwater.film_engines.diffusers.asked import capabilities
        from headwater.film_engines.diffusers.repo import read_model

        if folder is None:
            return Capabilities(frozenset({"t2v", "i2v"}), 30.0, 2_048, generates=True, needs_model=True)
        return capabilities(read_model(folder))

    def normalise(self, request: FilmRequest) -> Normalised:
        from headwater.film_engines.diffusers.asked import normalise

        return normalise(request)

    def estimate(self, request: FilmRequest) -> Estimate:
        from headwater.film_engines.diffusers.asked import widths
        from headwater.film_engines.diffusers.needs import needs
        from headwater.film_engines.diffusers.repo import read_model

        model = read_model(_folder(request))
        seconds = LOADING_S + self.work(request) / SPEED
        return Estimate(seconds, seconds / 4, seconds * 4, needs(model, request, *widths(model, request)).least())

    def work(self, request: FilmRequest) -> float:
        from headwater.film_engines.diffusers.needs import work
        from headwater.film_engines.diffusers.repo import read_model

        return work(read_model(_folder(request)), request)

    def frames(self, request: FilmRequest, tell: Callable[[Step], None],
               should_stop: Callable[[], bool]) -> Iterator[np.ndarray]:
        from headwater.film_engines.diffusers.run import frames

        yield from frames(request, tell, should_stop)


def _folder(request: FilmRequest) -> Path:
    if request.folder is None:
        raise CorruptFile("The model's files are not here.")
    return request.folder


ENGINE = Diffusers()
