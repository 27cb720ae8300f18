"""The face models lie in the hub like any model, and a film of a photo takes them by itself and says so."""

import io
import json

import c2pa
import pytest
from film_witness import decoded
from PIL import Image
from real_models import face_nets, photo
from test_make import bytes_of, finished

from headwater.app import open_app
from headwater.core.settings import load
from headwater.film.credit import ANIMATED_PHOTO, RECIPE
from headwater.film.encode import look
from headwater.film.order import Asked, again, order, plan
from headwater.hub.accounts import owner_actor
from headwater.hub.imports import import_source


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    app = open_app(load(tmp_path_factory.mktemp("hub") / "data", environ={}))
    app.start()
    yield app
    app.stop()


def staged(app):
    out = io.BytesIO()
    with Image.open(photo("astronaut.png")) as image:
        image.convert("RGB").save(out, "JPEG", quality=92)
    return app.film.stage([out.getvalue()], limit=10_000_000)


def test_an_old_photo_comes_alive_by_the_models_of_the_hub(app, tmp_path):
    actor = owner_actor(app.hub)
    asked = Asked(prompt="she turns and smiles", seconds=1.0, fps=12, size=(320, 320), seed=7)
    before = plan(app.film, actor, asked, staged(app))
    assert before.request.folder is None and "headwater add pypi:mediapipe" in before.notes[0]
    made = import_source(app.hub, actor, str(face_nets()), "pypi/mediapipe")
    kept = finished(app, order(app.film, actor, actor.account, asked, staged(app)))
    assert kept.state == "done", kept.error
    assert (kept.asked["engine"], kept.asked["model"]) == ("photo", "pypi/mediapipe")
    assert kept.asked["revision"] == made.commit.oid and kept.asked["notes"] == []
    film = bytes_of(app, kept.video)
    (tmp_path / "film.mp4").write_bytes(film)
    assert look(tmp_path / "film.mp4").frames == 12
    assert decoded(film) == (12, 320, 320, 12)
    store = json.loads(c2pa.Reader("video/mp4", io.BytesIO(film)).json())
    assertions = {one["label"]: one["data"] for one in store["manifests"][store["active_manifest"]]["assertions"]}
    assert assertions[RECIPE]["model"] == "pypi/mediapipe" and "nothing was generated" in assertions[RECIPE]["notice"]
    assert ANIMATED_PHOTO in json.dumps(store)
    second = finished(app, again(app.film, actor, actor.account, kept, seed=7))
    assert second.asked == kept.asked and bytes_of(app, second.poster) == bytes_of(app, kept.poster)
