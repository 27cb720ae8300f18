"""A photo set in motion: eyes really close, heads turn the way they are told, nothing tears, nothing is made up."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from photo_made import FPS, aged, nets, request_of, scene_of, shut_frame
from PIL import Image, ImageDraw
from real_models import face_nets, photo

from headwater.core.errors import BadInput, CorruptFile
from headwater.core.film import AXES, Brush
from headwater.film.measures import measure
from headwater.film.process import frames
from headwater.film_engines import FILM_ENGINES
from headwater.film_engines.photo.faces import find_faces
from headwater.film_engines.photo.fields import folds
from headwater.film_engines.photo.nets import Nets
from headwater.film_engines.photo.script import draw
from headwater.film_engines.photo.still import cleaned
from headwater.film_engines.photo.words import read_words

ENGINE = FILM_ENGINES["photo"]
PHOTOS = ("astronaut.png", "camera.png", "chelsea.png", "coffee.png", "rocket.jpg", "china.jpg", "flower.jpg",
          "logo.png", "text.png", "moon.png")
"""A portrait, a man from the side, a cat, a cup, a rocket, a landscape, a flower, a drawing, letters, the moon."""


@pytest.fixture(scope="module")
def astronaut():
    return scene_of("astronaut.png", side=512)


def face_in(picture):
    return find_faces(nets(), picture)[0]


def way_faced(face):
    """Where the nose lies between the ears: smaller when it is turned to the left of the picture."""
    left, right = face.points[[234, 454], 0]
    return (face.points[4, 0] - left) / (right - left)


# --- the same film


def test_the_same_request_gives_the_same_frames_bit_for_bit_in_any_process():
    request = request_of(photo("astronaut.png"), "she turns left and smiles", side=256, seconds=1.5)
    told = []
    here = list(ENGINE.frames(request, told.append, lambda: False))
    there = list(frames(request, lambda step: None, lambda: False, memory_bytes=2 << 30))
    assert len(here) == request.frames == len(there)
    assert all(np.array_equal(a, b) for a, b in zip(here, there, strict=True))
    assert [step.i for step in told if step.stage == "frames"] == list(range(1, request.frames + 1))
    other = list(ENGINE.frames(replace(request, seed=6), lambda step: None, lambda: False))
    assert not np.array_equal(here[-1], other[-1])


def test_a_film_stops_when_it_is_told():
    request = request_of(photo("china.jpg"), side=200)
    made = []
    for frame in ENGINE.frames(request, lambda step: None, lambda: len(made) >= 2):
        made.append(frame)
    assert len(made) == 2


# --- faces


def test_eyes_really_close_when_they_blink_as_the_landmarks_of_the_frames_say(astronaut):
    shut = shut_frame(astronaut)
    assert astronaut.people[0].curves.blink[shut].min() > 0.95
    before, closed = face_in(astronaut.frame(shut - 3)), face_in(astronaut.frame(shut))
    # The models draw the lids somewhat apart even where they meet, hence pixels below.
    for was, now in zip(before.eyes, closed.eyes, strict=True):
        assert was.open > 0.3 and now.open < 0.75 * was.open
    pupil = astronaut.people[0].face.eyes[0].upper[4] * 0.5 + astronaut.people[0].face.eyes[0].lower[4] * 0.5
    x, y = pupil.astype(int)
    open_eye = astronaut.photo[y - 1:y + 2, x - 1:x + 2].mean()
    drawn = astronaut.photo.copy()
    for _, lids in astronaut.people[0].lids:
        lids.close(drawn, 1.0)
    assert drawn[y - 3:y, x - 1:x + 2].mean() > open_eye + 30, "where the pupil was there is skin"
    assert np.array_equal(drawn[:y - 40], astronaut.photo[:y - 40]), "nothing but the eyes has changed"


@pytest.mark.parametrize(("words", "sign"), [("she turns left", -1), ("她向右看", 1)])
def test_a_head_turns_the_way_the_words_say(words, sign):
    scene = scene_of("astronaut.png", words, side=512)
    turned = way_faced(face_in(scene.frame(scene._request.frames - 1))) - way_faced(face_in(scene.frame(0)))
    assert sign * turned > 0.03


def test_a_smile_draws_the_corners_of_the_mouth_up_and_out():
    scene = scene_of("astronaut.png", "she smiles", side=512)
    before, after = face_in(scene.frame(0)), face_in(scene.frame(scene._request.frames - 1))

    def mouth(face):
        corners, lip = face.points[[61, 291], :2], face.points[[13], :2]
        return (np.linalg.norm(corners[0] - corners[1]) / face.size,
                float(((corners - lip) @ face.down).mean()) / face.size)

    (wide, height), (wider, higher) = mouth(before), mouth(after)
    assert wider > wide + 0.004 and higher < height


def test_the_person_moves_more_than_the_background(astronaut):
    rows, columns = astronaut.grid.shape
    face = astronaut.people[0].face.centre / 4
    moved = np.linalg.norm([astronaut.moved(n) for n in range(0, 36, 5)], axis=3)
    there = moved[:, int(face[1]) - 4:int(face[1]) + 5, int(face[0]) - 4:int(face[0]) + 5].mean()
    corners = np.mean([moved[:, :rows // 4, -columns // 5:].mean(), moved[:, :rows // 4, :columns // 6].mean()])
    assert there > 3 * corners


def test_each_of_a_group_moves_by_their_own_and_neither_pulls_the_other(tmp_path):
    with Image.open(photo("astronaut.png")) as image:
        one = np.asarray(image.convert("RGB"))[:220, 110:350]
    group = np.hstack([one, one[:, ::-1], one])
    Image.fromarray(group).save(tmp_path / "group.png")
    scene = scene_of(tmp_path / "group.png", side=720)
    assert len(scene.people) == 3 and all(len(one.lids) == 2 for one in scene.people)
    blinks = {tuple(np.flatnonzero(one.curves.blink[:, 0])) for one in scene.people}
    assert len(blinks) > 1, "they do not all blink at once"
    assert max(folds(scene.moved(n)) for n in range(0, 36, 5)) == 0


def test_what_has_no_face_moves_by_the_camera_alone():
    for name in PHOTOS[1:]:
        assert max((one.amount for one in scene_of(name, side=200).people), default=0.0) < 0.5, name


def test_an_old_print_is_cleaned_before_its_face_is_looked_for(tmp_path):
    old = np.asarray(Image.open(aged(photo("astronaut.png"), tmp_path / "old.png")))
    new = np.asarray(Image.open(photo("astronaut.png")).convert("RGB").resize((500, 500)))
    true, found = face_in(new), find_faces(nets(), cleaned(old))
    assert len(found) == 1
    apart = np.linalg.norm(found[0].points[:, :2] - true.points[:, :2], axis=1).mean() / true.size
    assert apart < 0.04
    assert scene_of(tmp_path / "old.png", side=500).people[0].amount > 0.5


def test_dark_glasses_keep_their_shape(tmp_path):
    scene = scene_of("astronaut.png", side=512)
    eyes = scene.people[0].face.eyes
    picture = Image.fromarray(scene.photo)
    brush = ImageDraw.Draw(picture)
    for eye in eyes:
        x, y = eye.upper.mean(axis=0) * 0.5 + eye.lower.mean(axis=0) * 0.5
        brush.ellipse([x - 19, y - 13, x + 19, y + 13], fill=(15, 15, 18))
    picture.save(tmp_path / "glasses.png")
    assert all(one.lids == [] for one in scene_of(tmp_path / "glasses.png", side=512).people)


# --- points a person corrects


def test_points_a_person_moves_move_the_face_and_a_face_nobody_found_can_be_shown():
    request = request_of(photo("astronaut.png"), side=512)
    points = ENGINE.points(request)
    assert set(points) == {f"face1.{name}" for name in ("left_eye", "right_eye", "nose", "mouth", "chin")}
    moved = {name: (x + 0.02, y + 0.01) for name, (x, y) in points.items()}
    again = ENGINE.points(replace(request, points=moved))
    assert all(np.allclose(again[name], moved[name], atol=2e-3) for name in moved)
    shown = {f"face2.{name.partition('.')[2]}": at for name, at in points.items()}
    assert "face2.nose" in ENGINE.points(replace(request, points=shown))


@pytest.mark.parametrize("points", [{"face1.ear": (0.5, 0.5)}, {"nose": (0.5, 0.5)}, {"face0.nose": (0.5, 0.5)},
                                    {"face1.nose": (3.0, 0.5)}, {"face7.nose": (0.5, 0.5)}])
def test_points_that_mean_nothing_are_refused(points):
    with pytest.raises(BadInput):
        ENGINE.points(replace(request_of(photo("astronaut.png")), points=points))


# --- brushes


def painted(tmp_path, box, size=(640, 427)):
    mask = Image.new("L", size, 0)
    ImageDraw.Draw(mask).rectangle(box, fill=255)
    mask.save(tmp_path / "mask.png")
    return tmp_path / "mask.png"


@pytest.mark.parametrize("end", [0.7, 0.13])
def test_only_the_painted_part_moves_and_it_moves_from_the_photo_on(tmp_path, end):
    mask = painted(tmp_path, (60, 60, 300, 200))
    scene = scene_of("china.jpg", "everything stands still", side=320, faces=False,
                     brushes=(Brush(mask, ((0.1, 0.3), (end, 0.3))),))
    first, later = scene.frame(0), scene.frame(20)
    with Image.open(photo("china.jpg")) as image:
        assert measure([first], FPS, photo=np.asarray(image)).first_ssim > 0.95
    changed = abs(later.astype(int) - first).max(axis=2) > 2
    inside = np.zeros_like(changed)
    inside[29:103, 29:152] = True
    assert changed[inside].mean() > 0.3 and not changed[~inside].any()


def test_a_flow_goes_the_way_it_was_drawn(tmp_path):
    mask = painted(tmp_path, (0, 0, 511, 511), (512, 512))
    scene = scene_of("gravel.png", "still", side=256, faces=False, brushes=(Brush(mask, ((0.1, 0.5), (0.5, 0.5))),))
    grey = [cv2.cvtColor(scene.frame(n), cv2.COLOR_RGB2GRAY)[40:-40, 40:-40] for n in (0, 1)]
    flow = cv2.calcOpticalFlowFarneback(*grey, None, 0.5, 3, 15, 3, 5, 1.2, 0)
    expected = 0.4 * 256 / 36
    assert np.median(flow[..., 0]) == pytest.approx(expected, rel=0.3) and abs(np.median(flow[..., 1])) < 0.3


def test_a_part_painted_without_a_way_keeps_still(tmp_path):
    mask = painted(tmp_path, (0, 0, 511, 511), (512, 512))
    free = scene_of("astronaut.png", "she nods")
    kept = scene_of("astronaut.png", "she nods", brushes=(Brush(mask),))
    centre = tuple((kept.people[0].face.centre[::-1] / 4).astype(int))
    assert max(abs(kept.moved(n)[centre]).max() for n in range(36)) < 0.4 * max(
        abs(free.moved(n)[centre]).max() for n in range(36))


def test_masks_and_ways_that_cannot_be_are_refused(tmp_path):
    (tmp_path / "mask.png").write_bytes(b"nothing")
    with pytest.raises(BadInput, match="mask"):
        scene_of("china.jpg", brushes=(Brush(tmp_path / "mask.png", ((0, 0), (1, 1))),))
    with pytest.raises(BadInput, match="points"):
        scene_of("china.jpg", brushes=(Brush(tmp_path / "mask.png", ((0, 0),)),))
    with pytest.raises(BadInput, match="brushes"):
        scene_of("china.jpg", brushes=(Brush(tmp_path / "mask.png"),) * 9)


# --- the sheet never tears, the camera never leaves the photo


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("size", [(160, 120), (90, 160)])
def test_the_camera_moves_and_never_leaves_the_photo(axis, size):
    for strength in (-10.0, 10.0):
        scene = scene_of("astronaut.png", size=size, camera={axis: strength}, seconds=2.0)
        height, width = scene.photo.shape[:2]
        for number in (0, 6, 12, 23):
            x, y = scene.map(number)
            assert x.min() > -1 and x.max() < width and y.min() > -1 and y.max() < height
        x0, x1 = (scene.map(number)[0] for number in (0, 23))
        y0, y1 = (scene.map(number)[1] for number in (0, 23))
        assert abs(x1 - x0).max() + abs(y1 - y0).max() > 0.08 * min(height, width)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 2**31), seconds=st.floats(0.1, 30), fps=st.integers(1, 60),
       prompt=st.sampled_from(["", "she turns left and nods", "shakes her head, tilts her head, smiles", "still",
                               "blinks", "sways and breathes", "winks", "looks down"]))
def test_curves_begin_with_the_photo_and_stay_within_what_a_face_bears(seed, seconds, fps, prompt):
    curves = draw(read_words(prompt), max(1, round(seconds * fps)), fps, seed, 0)
    for name, most in (("turn", 14), ("nod", 8), ("tilt", 8), ("smile", 1), ("breath", 1.7), ("sway", 3.5)):
        values = getattr(curves, name)
        assert np.isfinite(values).all() and abs(values).max() <= most and abs(values[0]) < 1e-6, name
    assert curves.blink.min() >= 0 and curves.blink.max() <= 1 and not curves.blink[0].any()


@pytest.mark.parametrize("prompt", ["", "she turns right, tilts her head and smiles", "shakes her head", "she nods"])
def test_a_face_bent_as_far_as_it_goes_does_not_fold(prompt):
    for seed in range(3):
        scene = scene_of("astronaut.png", prompt, seed=seed)
        assert max(folds(scene.moved(number)) for number in range(0, 36, 3)) == 0
        for number in (17, 35):
            x, y = scene.map(number)
            across = np.gradient(x, axis=1) * np.gradient(y, axis=0) - np.gradient(x, axis=0) * np.gradient(y, axis=1)
            assert across[2:-2, 2:-2].min() > 0


# --- contact sheet: many kinds of photo


@pytest.mark.parametrize("name", PHOTOS)
def test_every_kind_of_photo_becomes_a_smooth_film_that_begins_with_it(name):
    scene = scene_of(name, side=256, seconds=2.0)
    made = [scene.frame(number) for number in range(24)]
    with Image.open(photo(name)) as image:
        found = measure(made, FPS, photo=np.asarray(image.convert("RGB")))
    assert found.first_ssim > 0.95, "it begins with the photo"
    assert found.cuts == () and found.black == 0
    assert found.motion > 0.3 and (found.smoothness or 0) > 0.4
    rim = np.concatenate([made[-1][:2].reshape(-1, 3), made[-1][-2:].reshape(-1, 3)])
    assert scene.photo.min() <= rim.min(), "no border darker than the photo"


# --- photos as they come


def test_a_photo_on_its_side_by_exif_is_set_upright(tmp_path):
    with Image.open(photo("astronaut.png")) as image:
        lying = image.convert("RGB").rotate(90, expand=True)
    tag = Image.Exif()
    tag[0x0112] = 6
    lying.save(tmp_path / "lying.jpg", exif=tag)
    assert len(scene_of(tmp_path / "lying.jpg", size=(300, 300)).people) == 1


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "LA", "CMYK", "I;16", "1"])
def test_every_kind_of_pixel_is_read(mode, tmp_path):
    with Image.open(photo("astronaut.png")) as image:
        small = image.convert("RGB").resize((64, 64))
    if mode == "I;16":
        Image.fromarray(np.asarray(small.convert("L"), np.uint16) * 257).save(tmp_path / "it.tiff")
    else:
        small.convert(mode).save(tmp_path / "it.tiff")
    frame = scene_of(tmp_path / "it.tiff", size=(64, 64), faces=False).frame(0)
    assert frame.shape == (64, 64, 3) and 60 < frame.mean() < 180


@pytest.mark.parametrize("shape", [(17, 900), (900, 17), (16, 16), (40, 2000), (60, 60)])
def test_photos_and_films_of_every_shape_fit_together(shape, tmp_path):
    with Image.open(photo("astronaut.png")) as image:
        image.convert("RGB").resize(shape).save(tmp_path / "it.png")
    mask = painted(tmp_path, (0, 0, 49, 49), (50, 50))
    for size in ((64, 64), (720, 64), (64, 720)):
        scene = scene_of(tmp_path / "it.png", "she turns", size=size, seconds=0.5,
                         brushes=(Brush(mask, ((0.2, 0.2), (0.9, 0.5))), Brush(mask)))
        x, y = scene.map(3)
        height, width = scene.photo.shape[:2]
        assert scene.frame(3).shape == (size[1], size[0], 3)
        assert x.min() > -1 and x.max() < width and y.min() > -1 and y.max() < height


def test_photos_that_cannot_be_are_refused_before_their_pixels_are_read(tmp_path):
    Image.new("1", (10_001, 10_000)).save(tmp_path / "large.png")
    with pytest.raises(BadInput, match="100 megapixels"):
        scene_of(tmp_path / "large.png", size=(64, 64))
    (tmp_path / "cut.png").write_bytes(photo("astronaut.png").read_bytes()[:5_000])
    with pytest.raises(BadInput, match="cannot be read"):
        scene_of(tmp_path / "cut.png", size=(64, 64))
    Image.new("RGB", (8, 400)).save(tmp_path / "thread.png")
    with pytest.raises(BadInput, match="16 a side"):
        scene_of(tmp_path / "thread.png", size=(64, 64))


def test_models_that_are_none_of_these_are_refused(tmp_path):
    assert "lacks" in ENGINE.accepts(("model.gguf",))
    names = tuple(path.name for path in face_nets().rglob("*.tflite"))
    assert ENGINE.accepts(names) is None
    with pytest.raises(BadInput, match="lack"):
        Nets(tmp_path)
    for path in face_nets().rglob("*.tflite"):
        (tmp_path / path.name).write_bytes(path.read_bytes()[:3_000] if "iris" in path.name else path.read_bytes())
    with pytest.raises(CorruptFile, match="iris"):
        Nets(tmp_path)
    (tmp_path / "iris_landmark.tflite").write_bytes((tmp_path / "face_landmark.tflite").read_bytes())
    with pytest.raises((CorruptFile, BadInput)):
        request = replace(request_of(photo("astronaut.png"), size=(128, 128)), folder=tmp_path)
        next(iter(ENGINE.frames(request, lambda step: None, lambda: False)))
