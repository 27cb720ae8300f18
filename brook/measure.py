"""Does the film do what the words say? Counts by sight.py, beside what can be reached and what chance gives.

Ceiling: the same counts on films drawn by the words. Floor: brook's films beside the words of another case of the same
kind. Knows films and cases, no model.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from brook import FPS
from brook.cases import COUNTS, Case, cases
from brook.sight import see
from headwater.film.measures import measure as measure_film
from headwater.stats.counts import share_interval

ASKED = ("colour", "shape", "motion", "direction", "pace", "ground", "all")


def figures(films: np.ndarray, again: np.ndarray, seconds: float, counts: dict[str, int] = COUNTS) -> dict[str, Any]:
    every = list(cases(counts))
    true = np.stack([case.film for case in every])
    out: dict[str, Any] = {"seconds a film": round(seconds, 2), "kinds": {}}
    for kind in counts:
        places = [n for n, case in enumerate(every) if case.kind == kind]
        ours = [every[n] for n in places]
        out["kinds"][kind] = {
            "brook": _shares(ours, films[places]),
            "drawn": _shares(ours, true[places]),
            "other words": _shares([*ours[1:], ours[0]], films[places]),
            "smoothness and motion": {"brook": _moving(films[places]), "drawn": _moving(true[places])}}
    photos = [n for n, case in enumerate(every) if case.kind == "from a photo"]
    out["first frame"] = _first(films[photos], true[photos])
    held = [n for n, case in enumerate(every) if case.kind == "held out"][:len(again)]
    out["autoencoder"] = _beside(again, true[held]) | {"shape": _shares([every[n] for n in held], again)["shape"]}
    return out


def right(case: Case, film: np.ndarray) -> dict[str, bool]:
    """Of all that was asked for, whether it is so; what was left open is not in it. Of two things each has to be."""
    found: dict[str, list[bool]] = {}
    for thing in case.scene.things:
        seen = see(film, thing.colour if len(case.scene.things) > 1 else None)
        found.setdefault("colour", []).append(seen.colour == thing.colour)
        found.setdefault("shape", []).append(seen.shape == thing.shape)
        found.setdefault("motion", []).append(seen.motion == thing.motion)
        if thing.motion in ("left", "right", "up", "down"):
            found.setdefault("direction", []).append(seen.motion == thing.motion)
        if thing.pace:
            found.setdefault("pace", []).append(seen.motion == thing.motion and seen.pace == thing.pace)
        if case.scene.ground_said:
            found["ground"] = [seen.ground == case.scene.ground]
    out = {name: all(values) for name, values in found.items()}
    return out | {"all": all(out.values())}


def _shares(asked: Sequence[Case], films: np.ndarray) -> dict[str, list[float]]:
    """By what was asked: [right, of, low, high], with the exact interval of 95 in 100."""
    found = [right(case, film) for case, film in zip(asked, films, strict=True)]
    out = {}
    for name in ASKED:
        values = [one[name] for one in found if name in one]
        if values:
            low, high = share_interval(sum(values), len(values))
            out[name] = [sum(values), len(values), round(low, 3), round(high, 3)]
    return out


def _moving(films: np.ndarray) -> list[float]:
    """[median smoothness, median motion]: one says nothing without the other; still films have no smoothness."""
    pairs = [measure_film(film, FPS).pair for film in films]
    smooth = [pair[0] for pair in pairs if pair[0] is not None]
    return [round(float(np.median(smooth)), 3) if smooth else 0.0, round(float(np.median([p[1] for p in pairs])), 2)]


def _first(films: np.ndarray, true: np.ndarray) -> dict[str, list[float]]:
    """Quartiles over films of the first frame beside the photo."""
    found = [measure_film(film[:1], FPS, one[0]) for film, one in zip(films, true, strict=True)]
    return {"psnr": _quartiles([m.first_psnr for m in found]), "ssim": _quartiles([m.first_ssim for m in found])}


def _beside(films: np.ndarray, true: np.ndarray) -> dict[str, list[float]]:
    errors = ((films.astype(float) - true) ** 2).mean((1, 2, 3, 4))
    return {"psnr": _quartiles(list(10 * np.log10(255 ** 2 / np.maximum(errors, 1e-3))))}


def _quartiles(values: Sequence[float]) -> list[float]:
    return [round(float(v), 3) for v in np.quantile(values, [0.25, 0.5, 0.75])]
