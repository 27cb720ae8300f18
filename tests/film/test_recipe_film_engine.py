"""docs/recipes/add-a-film-engine.md works as it is written: its engine is put on the shelf and makes a film."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
from film_made import drift
from PIL import Image

from headwater.core.film import FilmRequest, Picture
from headwater.film.encode import encode, look

RECIPE = Path(__file__).parents[2] / "docs" / "recipes" / "add-a-film-engine.md"
CHILD = """
import sys
import headwater.film_engines as shelf
shelf.__path__.append(sys.argv.pop(1))
from headwater.film_engines import _worker
_worker.main()
"""


def test_the_engine_of_the_recipe_makes_a_film_in_a_process_of_its_own(tmp_path):
    engine = re.search(r"```python\n(.*?)```", RECIPE.read_text("utf-8"), re.S)[1]
    (tmp_path / "shelf").mkdir()
    (tmp_path / "shelf" / "fade.py").write_text(engine, "utf-8")
    Image.fromarray(next(drift(1, (96, 128)))).save(tmp_path / "photo.png")
    request = FilmRequest("fade", "i2v", "", 0.5, 12, 64, 48, 7, pictures=(
        Picture("first", tmp_path / "photo.png", "d"),))
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path / "shelf"), str(4_000_000_000), "1"],
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child.stdin.write(request.to_json().encode() + b"\n")
    child.stdin.flush()
    frames, ended = [], b""
    while ended not in (b"Q", b"E"):
        head = child.stdout.read(5)
        ended, data = head[:1], child.stdout.read(int.from_bytes(head[1:], "little"))
        if ended == b"F":
            frames.append(np.frombuffer(data, np.uint8).reshape(48, 64, 3))
    child.communicate()
    assert ended == b"Q", data
    assert len(frames) == 6 and frames[0].mean() < frames[2].mean() < frames[5].mean()
    encode(frames, tmp_path / "film.mp4", fps=12)
    assert look(tmp_path / "film.mp4").frames == 6
