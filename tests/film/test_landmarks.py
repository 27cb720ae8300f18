"""Landmarks are found in a process of its own, and what a person corrected goes into the film's record."""

import io

import pytest
from PIL import Image
from real_models import face_nets, photo

from headwater.app import open_app
from headwater.core.errors import BadInput
from headwater.core.settings import load
from headwater.film.landmarks import find_points
from headwater.film.order import Asked, order, plan
from headwater.hub.accounts import owner_actor
from headwater.hub.imports import import_source


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    return open_app(load(tmp_path_factory.mktemp("hub") / "data", environ={}))


def staged(app, data: bytes | None = None):
    out = io.BytesIO()
    if data is None:
        with Image.open(photo("astronaut.png")) as image:
            image.convert("RGB").resize((300, 300)).save(out, "PNG")
    return app.film.stage([data or out.getvalue()], limit=10_000_000)


def test_landmarks_are_found_and_those_corrected_are_kept_with_the_order(app):
    actor = owner_actor(app.hub)
    asked = Asked(prompt="she nods", size=(256, 256))
    with pytest.raises(BadInput, match="no points"):
        find_points(app.film, actor, asked, staged(app))
    import_source(app.hub, actor, str(face_nets()), "pypi/mediapipe")
    found = find_points(app.film, actor, asked, staged(app))
    assert set(found) == {f"face1.{name}" for name in ("left_eye", "right_eye", "nose", "mouth", "chin")}
    assert found["face1.left_eye"][0] < found["face1.nose"][0] < found["face1.right_eye"][0]
    moved = Asked(prompt="she nods", size=(256, 256), points={name: (x + 0.01, y) for name, (x, y) in found.items()})
    kept = order(app.film, actor, actor.account, moved, staged(app))
    assert kept.asked["points"]["face1.nose"] == pytest.approx([found["face1.nose"][0] + 0.01, found["face1.nose"][1]])


def test_points_that_cannot_be_are_refused_with_the_order_and_not_in_the_job(app):
    actor = owner_actor(app.hub)
    import_source(app.hub, actor, str(face_nets()), "pypi/mediapipe")
    with pytest.raises(BadInput, match="no point of a face"):
        plan(app.film, actor, Asked(points={"face1.ear": (0.5, 0.5)}), staged(app))
    with pytest.raises(BadInput, match="at most"):
        plan(app.film, actor, Asked(points={f"face1.{n}": (0.5, 0.5) for n in range(101)}), staged(app))
    with pytest.raises(BadInput, match="no points"):
        plan(app.film, actor, Asked(model="headwater/plain", points={"face1.nose": (0.5, 0.5)}), staged(app))


def test_a_photo_that_cannot_be_read_is_refused_by_the_child(app):
    actor = owner_actor(app.hub)
    out = io.BytesIO()
    Image.effect_noise((300, 300), 80).save(out, "PNG")
    with pytest.raises(BadInput, match="cannot be read"):
        find_points(app.film, actor, Asked(), staged(app, out.getvalue()[:30_000]))
