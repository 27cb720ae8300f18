"""What people send by mistake or on purpose, and a disk that fills up: each is told in a sentence; nothing is left."""

import io
import json
import struct
import subprocess
import sys
import zlib
from dataclasses import replace

import pytest
from PIL import Image
from test_make import app, finished, ordered, photo  # noqa: F401

from headwater.core.errors import BadInput, Damaged, HeadwaterError, ModelNotFound
from headwater.film.extend import extend
from headwater.film.order import Asked, again, order
from headwater.hub.accounts import owner_actor
from headwater.hub.browse import files
from headwater.hub.imports import import_source


def png(width: int, height: int, rows: bytes = b"") -> bytes:
    """A PNG by hand: what its header says need not be so."""
    def part(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + part(b"IHDR", head) + part(b"IDAT", rows) + part(b"IEND", b"")


def saved(form: str, **more) -> bytes:
    out = io.BytesIO()
    Image.linear_gradient("L").resize((320, 240)).convert("RGB").save(out, form, **more)
    return out.getvalue()


PICTURES = {
    "nothing": b"", "words": b"no picture", "a page": b"<svg xmlns='http://www.w3.org/2000/svg'/>",
    "a hundred megapixels": png(10_000, 10_000), "two gigapixels": png(65_535, 40_000), "no width": png(0, 240),
    "one row": png(320, 240, zlib.compress(b"\0" + b"\x80" * 960)), "cut short": saved("JPEG")[:900],
    "a bomb": png(7_000, 7_000, zlib.compress(b"\0" * 7_000 * 21_001, 9)), "wrong bytes": png(320, 240, b"\xff" * 200),
}
"""`one row` and what follows can be opened, and are found out when they are read: the film fails and says so."""


def test_a_picture_that_is_none_is_refused_or_its_film_fails_with_a_sentence(app):  # noqa: F811
    actor, orders = owner_actor(app.hub), {}
    for what, data in PICTURES.items():
        staged = app.film.stage([data], limit=10_000_000)
        asked = Asked(prompt="zoom", model="plain", seconds=0.25, fps=12, size=(160, 120))
        try:
            orders[what] = order(app.film, actor, actor.account, asked, staged)
        except BadInput as error:
            assert error.message.endswith(".") and str(app.film.tmp) not in str(error), what
    assert set(orders) <= {"one row", "cut short", "a bomb", "wrong bytes"}
    for what, kept in orders.items():
        ended = finished(app, kept)
        if ended.state == "failed":
            assert ended.error.endswith((".", "WebP.")) and "Traceback" not in ended.error, (what, ended.error)
            assert str(app.film.tmp) not in ended.error, (what, ended.error)
    assert not list(app.film.tmp.iterdir())


def test_masks_that_are_missing_or_of_no_use_are_refused(app):  # noqa: F811
    actor = owner_actor(app.hub)
    broken = app.film.stage([b"no mask"], limit=100)
    way = ((0.1, 0.1), (0.5, 0.5))
    for model, says in (("plain", "no motion brush"), ("photo", "cannot be read")):
        asked = Asked(prompt="zoom", model=model, brushes=((replace(broken), way),))
        with pytest.raises(BadInput, match=says):
            order(app.film, actor, actor.account, asked, photo(app))
        broken = app.film.stage([b"no mask"], limit=100)
    kept = ordered(app, model="photo", brushes=((app.film.stage([saved("PNG")], limit=100_000), way),), seconds=0.25)
    mask = kept.asked["brushes"][0]["mask"]
    app.film.jobs.cancel(kept.job_id)
    app.film.files.delete(actor.account, mask)
    with pytest.raises(HeadwaterError, match="is gone"):
        again(app.film, actor, actor.account, kept)


def test_models_that_are_not_there_or_no_film_models_are_refused(app):  # noqa: F811
    for name in ("nobody/none", "nobody/none@main", "../../etc", "a" * 500, "nobody/none@" + "0" * 40):
        with pytest.raises((ModelNotFound, BadInput)):
            ordered(app, model=name)
    assert not [path for path in app.film.tmp.iterdir() if path.is_file()]


def test_files_the_hub_has_lost_are_told_and_nothing_is_made_of_the_rest(app, tmp_path):  # noqa: F811
    papers = ("model_index.json", "transformer/config.json", "vae/config.json")
    for name in papers:
        (tmp_path / "model" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "model" / name).write_text(json.dumps({"of": name}))
    made = import_source(app.hub, owner_actor(app.hub), str(tmp_path / "model"), "local/lost")
    lost = next(entry.digest for entry in files(app.hub, made.commit) if entry.path == papers[2])
    app.film.blobs.delete(lost)
    with pytest.raises(Damaged, match=r"lost the bytes of vae/config.json. Push or add the model again"):
        ordered(app, model="local/lost")
    assert not list((app.settings.data / "snapshots").rglob("*.json"))


def test_a_film_whose_photo_or_video_was_lost_says_so(app):  # noqa: F811
    kept = finished(app, ordered(app, seconds=0.25))
    actor = owner_actor(app.hub)
    for file_id in (kept.photo, kept.video):
        app.film.blobs.delete(app.film.files.get(actor.account.id, file_id).digest)
    for go_on in (again, extend):
        with pytest.raises(Damaged, match=r"lost the bytes of .* Order the film again"):
            go_on(app.film, actor, actor.account, kept)
    assert not list(app.film.tmp.iterdir())


FULL = """
import json, resource, sys
sys.path[:0] = {paths!r}
from test_make import finished, ordered
from headwater.app import open_app
from headwater.core.settings import load
app = open_app(load(__import__("pathlib").Path({data!r}), environ={{}}))
resource.setrlimit(resource.RLIMIT_FSIZE, ({most}, resource.RLIM_INFINITY))
app.start()
big = {{"size": (640, 480), "seconds": 1.0, "fps": 24, "prompt": "roll"}}
import test_make
test_make.photo = lambda app, **_: app.film.stage([open({picture!r}, "rb").read()], limit=10_000_000)
full = finished(app, ordered(app, **big))
left = [path.name for path in app.film.tmp.iterdir()]
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
after = finished(app, ordered(app, **{{**big, "seconds": 0.25}}))
app.stop()
print(json.dumps([full.state, full.error, left, after.state]))
"""


def test_a_disk_that_is_full_in_the_middle_fails_the_film_alone(tmp_path):
    from numpy.random import default_rng

    picture = tmp_path / "noise.jpg"
    Image.fromarray(default_rng(0).integers(0, 255, (480, 640, 3), "uint8")).save(picture, quality=60)
    program = FULL.format(paths=sys.path, data=str(tmp_path / "data"), picture=str(picture), most=700_000)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2_000:]
    state, error, left, after = json.loads(done.stdout)
    assert (state, after, left) == ("failed", "done", []), error
    assert "no room left" in error
