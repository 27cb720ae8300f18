"""What engines of films note and refuse is said in Chinese on Chinese pages, with its names and numbers."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from headwater.core.errors import BadInput
from headwater.core.film import FilmRequest, Picture
from headwater.film_engines.photo import ENGINE as PHOTO
from headwater.film_engines.plain import ENGINE as PLAIN
from headwater.web import words
from headwater.web.pages._film_said import parts, sentences
from headwater.web.told import known_again

ZH = words.words("zh_Hans")
CHINESE = re.compile("[\u4e00-\u9fff]")


@pytest.fixture
def photo(tmp_path) -> Path:
    Image.new("RGB", (96, 72)).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def request(engine: str, prompt: str, photo: Path) -> FilmRequest:
    pictures = tuple(Picture(role, photo, "0" * 64) for role in ("first", "last"))
    return FilmRequest(engine, "i2v", prompt, 1.0, 12, 96, 72, 7, pictures=pictures, negative="fog", steps=3)


def test_every_note_of_the_built_in_engines_is_said_in_chinese(photo):
    notes = [note for engine in (PLAIN, PHOTO) for prompt in ("he walks and speaks", "clouds", "xyzzy")
             for note in engine.normalise(request(engine.name, prompt, photo)).notes]
    assert len(set(notes)) >= 7
    for note in notes:
        said = known_again(ZH, note)
        assert said is not None and CHINESE.search(said), note
    beyond = next(n for n in notes if "cannot show" in n)
    assert known_again(ZH, beyond) == "让照片动起来时不能出现走动、张开的嘴：这里不生成任何新内容。"


def test_a_refusal_of_an_engine_is_known_again_with_its_figures(photo):
    with pytest.raises(BadInput) as refused:
        PHOTO.normalise(replace(request("photo", "she smiles", photo), seconds=1e6))
    said = known_again(ZH, refused.value.message)
    assert said is not None and re.findall(r"\d+", said) == re.findall(r"\d+", refused.value.message)


def test_every_listed_sentence_is_known_by_its_own_form_and_no_other():
    for template in sentences(lambda text: text):
        places = {name: str(n + 2) for n, name in enumerate(re.findall(r"%\((\w+)\)s", template))}
        assert known_again(ZH, template % places) == ZH.gettext(template) % places, template
    assert all(ZH.gettext(part) != part for part in parts(lambda text: text))


def test_what_is_not_known_or_in_its_own_language_is_left_as_it_is():
    assert known_again(ZH, "Something nobody has listed.") is None
    assert known_again(ZH, "x" * 100_000) is None
    assert known_again(words.words(words.SOURCE), "Leave one of them out.") is None
