"""`headwater add brook`: the film model that comes with Headwater."""

from importlib.resources import files
from pathlib import Path

from headwater.film_engines.diffusers import ENGINE
from headwater.hub import browse
from headwater.hub.imports import import_source

REPO = Path(str(files("headwater"))) / "shipped" / "brook"


def test_brook_becomes_a_repo_with_its_card_and_is_not_imported_twice(hub, owner):
    made = import_source(hub, owner, "brook")
    assert made.repo.full_name == "headwater/brook"
    assert made.repo.card.data["license"] == "apache-2.0"
    assert made.repo.card.data["pipeline_tag"] == "text-to-video"
    found = {entry.path: entry for entry in browse.files(hub, browse.resolve(hub, made.repo, "main"))}
    ours = {path.relative_to(REPO).as_posix(): path for path in REPO.rglob("*") if path.is_file()}
    assert found.keys() >= ours.keys()
    weights = "transformer/diffusion_pytorch_model.safetensors"
    assert b"".join(browse.read(hub, found[weights])) == ours[weights].read_bytes()
    assert import_source(hub, owner, " brook ").already


def test_the_engine_for_diffusers_knows_what_brook_makes():
    names = tuple(path.relative_to(REPO).as_posix() for path in REPO.rglob("*") if path.is_file())
    assert ENGINE.accepts(names) is None
    assert ENGINE.index((REPO / "model_index.json").read_text()) is None
    able = ENGINE.describe(REPO)
    assert able.kinds == {"t2v", "i2v"}
    assert (able.size, able.frames, able.fps) == ((64, 64), 17, 8)
