"""Look at what the photo engine does: films of real photos, eight frames of each side by side, in one PNG.

    python tools/contact_sheet.py OUT.png [PHOTO …] [--words "she turns and smiles"]

Without photos it takes those scikit-image and scikit-learn ship. Frames are chosen to show the blink. Beside the
picture it prints, for each, who was found, how much of every motion they get, and the film's measures.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
from PIL import Image

# ruff: noqa: E402 - the requests and photos are those of the tests, which are no package
sys.path[:0] = [str(Path(__file__).parents[1] / "tests"), str(Path(__file__).parents[1] / "tests" / "film")]
from photo_made import FPS, scene_of
from real_models import photo

from headwater.film.measures import measure
from headwater.film_engines.photo.fields import folds
from headwater.film_engines.photo.scene import Scene

USUAL = ("astronaut.png", "camera.png", "chelsea.png", "coffee.png", "rocket.jpg", "china.jpg", "flower.jpg",
         "logo.png")
WIDTH = 240


def chosen(scene: Scene, frames: int) -> list[int]:
    """Eight frames in order: some through the film, and the blink of the first person."""
    numbers = {round(i * (frames - 1) / 5) for i in range(6)}
    if scene.people and scene.people[0].lids:
        shut = int(np.argmax(scene.people[0].curves.blink.max(axis=1)))
        numbers |= {shut, shut - 1}
    spare = (n for n in range(frames) if n not in numbers)
    while len(numbers) < 8:
        numbers.add(next(spare))
    return sorted(numbers)


def row(path: Path, words: str) -> np.ndarray:
    scene = scene_of(path, words, side=480)
    frames = 3 * FPS
    made = [scene.frame(number) for number in range(frames)]
    with Image.open(path) as image:
        found = measure(made, FPS, photo=np.asarray(image.convert("RGB")))
    people = ", ".join(f"face of {one.face.size:.0f} px moved by {one.amount:.0%}, {len(one.lids)} eyes blink"
                       for one in scene.people) or "no face"
    print(f"{path.name}: {people}; motion {found.motion:.1f} % of the width a second at smoothness "
          f"{found.smoothness or 0:.2f}, first frame SSIM {found.first_ssim:.3f}, folds "
          f"{max(folds(scene.moved(n)) for n in range(frames))}")
    small = [Image.fromarray(made[n]) for n in chosen(scene, frames)]
    height = round(WIDTH * small[0].height / small[0].width)
    return np.hstack([np.asarray(one.resize((WIDTH, height), Image.Resampling.LANCZOS)) for one in small])


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    asked.add_argument("out", type=Path)
    asked.add_argument("photos", type=Path, nargs="*")
    asked.add_argument("--words", default="")
    said = asked.parse_args()
    rows = [row(path, said.words) for path in said.photos or [photo(name) for name in USUAL]]
    Image.fromarray(np.vstack(rows)).save(said.out)


if __name__ == "__main__":
    main()
