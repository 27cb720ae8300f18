"""Words choose the motion, in English and Chinese; what a photo cannot do is said."""

import pytest
from photo_made import request_of
from real_models import photo

from headwater.core.errors import BadInput
from headwater.core.film import FilmRequest
from headwater.film_engines import FILM_ENGINES
from headwater.film_engines.photo.words import read_words

ENGINE = FILM_ENGINES["photo"]


@pytest.mark.parametrize(("prompt", "moves"), [
    ("she turns and smiles", {"turn": 0.0, "smile": 1.0}),
    ("He slowly turns his head to the left.", {"turn": -1.0}),
    ("looking right", {"turn": 1.0}),
    ("she looks up", {"nod": -2.0}),
    ("grandma nods and blinks", {"nod": 1.0, "blink": 1.0}),
    ("he shakes his head", {"shake": 1.0}),
    ("she tilts her head", {"tilt": 1.0}),
    ("a smiling woman who does not blink", {"smile": 1.0}),
    ("without smiling she turns right", {"turn": 1.0}),
    ("她转头微笑", {"turn": 0.0, "smile": 1.0}),
    ("他向左看，点头", {"turn": -1.0, "nod": 1.0}),
    ("眨眼，不要笑", {"blink": 1.0}),
    ("", {}),
])
def test_words_name_motions(prompt, moves):
    assert read_words(prompt).moves == moves


@pytest.mark.parametrize(("prompt", "camera"), [
    ("zoom in on her face", {"zoom": 6.0}), ("the camera pulls back", {"zoom": -6.0}), ("pan left", {"pan": -6.0}),
    ("camera moves right", {"horizontal": 6.0}), ("camera tilts up", {"tilt": 6.0}), ("camera rolls", {"roll": 4.0}),
    ("镜头拉近", {"zoom": 6.0}), ("镜头左移", {"horizontal": -6.0}), ("do not zoom", {}), ("she turns left", {}),
])
def test_words_name_one_camera_axis(prompt, camera):
    assert read_words(prompt).camera == camera
    assert request_of(photo("china.jpg"), prompt).camera == camera


def test_a_camera_asked_for_by_number_goes_before_words():
    assert request_of(photo("china.jpg"), "zoom in", camera={"pan": 3.0, "zoom": 0.0}).camera == {"pan": 3.0}


@pytest.mark.parametrize(("prompt", "note"), [
    ("she walks to the door", "walking"), ("他开始说话", "mouth"), ("he waves his hand", "hands"),
    ("the river flows", "motion brush"), ("purple elephants philosophise", "No word names"),
    ("she laughs", "laughter"), ("a dragon appears", "does not show"),
])
def test_what_cannot_be_done_is_said(prompt, note):
    notes = ENGINE.normalise(request_of(photo("china.jpg"), prompt)).notes
    assert any(note in one for one in notes), notes


def test_a_request_that_can_be_followed_has_no_notes_and_one_without_models_says_how_to_get_them():
    assert ENGINE.normalise(request_of(photo("china.jpg"), "she turns and smiles")).notes == ()
    assert "headwater add" in ENGINE.normalise(request_of(photo("china.jpg"), "she smiles", faces=False)).notes[0]


def test_words_without_a_photo_and_films_too_long_are_refused():
    with pytest.raises(BadInput, match="photo"):
        ENGINE.normalise(FilmRequest("photo", "t2v", "she smiles", 4, 24, 320, 320, 0))
    with pytest.raises(BadInput, match="At most"):
        request_of(photo("china.jpg"), seconds=31.0)
    with pytest.raises(BadInput, match="axis"):
        request_of(photo("china.jpg"), camera={"yaw": 3.0})


def test_nothing_is_promised_that_is_not_done():
    capabilities = ENGINE.describe(None)
    assert not capabilities.generates and capabilities.kinds == {"i2v"} and not capabilities.last_frame
    assert ENGINE.available() is None and "photo" in ENGINE.build()
