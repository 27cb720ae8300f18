"""Every film's credential is read by C2PA's own reader, and one changed byte is told."""

import json
import shutil
import stat
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import c2pa
import pytest
from film_made import drift
from film_witness import flipped
from PIL import Image

from headwater.core.errors import BadInput, CorruptFile, EngineFailed
from headwater.film.credit import ANIMATED_PHOTO, RECIPE, Credential, authority, check, sign
from headwater.film.encode import encode, look

RECIPE_OF = {"model": "headwater/faces", "revision": "a" * 40, "prompt": "她转身微笑", "seed": 7}


@pytest.fixture
def signed(tmp_path):
    encode(drift(8), tmp_path / "plain.mp4", fps=8)
    Image.new("RGB", (320, 320), "teal").save(tmp_path / "photo.jpg")
    by = authority(tmp_path / "keys" / "authority.pem")
    sign(tmp_path / "plain.mp4", tmp_path / "film.mp4", by, title="she turns", recipe=RECIPE_OF,
         source_type=ANIMATED_PHOTO, pictures=[("photo.jpg", tmp_path / "photo.jpg", "image/jpeg")])
    return tmp_path / "film.mp4", by


def test_a_film_tells_what_made_it_to_any_reader(signed):
    film, by = signed
    store = json.loads(c2pa.Reader("video/mp4", film.open("rb")).json())
    active = store["manifests"][store["active_manifest"]]
    assert store["validation_state"] == "Valid"  # untouched; a reader that does not know this hub says no more
    assert [one["data"] for one in active["assertions"] if one["label"] == RECIPE] == [RECIPE_OF]
    assert [(one["title"], one["relationship"]) for one in active["ingredients"]] == [("photo.jpg", "inputTo")]
    assert check(film, [by.trusted]) == Credential(
        "trusted", RECIPE_OF, "Headwater", None, ANIMATED_PHOTO, ("photo.jpg",), ())


def test_signing_leaves_the_pictures_as_they_were(signed):
    film, _ = signed
    assert look(film) == look(film.with_name("plain.mp4"))


def test_one_flipped_byte_is_told(signed, tmp_path):
    film, by = signed
    data = bytearray(film.read_bytes())
    data[-100] ^= 1
    (tmp_path / "touched.mp4").write_bytes(data)
    told = check(tmp_path / "touched.mp4", [by.trusted])
    assert told.state == "broken" and any("mismatch" in code for code in told.problems)


def test_a_bit_flipped_anywhere_in_pictures_or_index_is_told(signed, tmp_path):
    film, by = signed
    for number, data in enumerate(flipped(film.read_bytes(), 60)):
        (tmp_path / "touched.mp4").write_bytes(data)
        assert check(tmp_path / "touched.mp4", [by.trusted]).state == "broken", number


def test_a_film_of_another_hub_is_valid_but_not_known(signed, tmp_path):
    film, _ = signed
    told = check(film, [authority(tmp_path / "another.pem").trusted])
    assert told.state == "valid" and told.recipe == RECIPE_OF and "signingCredential.untrusted" in told.problems


def test_a_film_without_credential_says_none(signed):
    film, by = signed
    assert check(film.with_name("plain.mp4"), [by.trusted]) == Credential("none")


def test_what_is_no_film_is_refused(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"nothing of the kind")
    with pytest.raises(CorruptFile):
        check(tmp_path / "a.mp4", [])


def test_the_key_is_the_owners_alone_and_made_once(tmp_path):
    with ThreadPoolExecutor(8) as many:
        made = set(many.map(lambda _: authority(tmp_path / "authority.pem"), range(8)))
    assert len(made) == 1
    assert stat.S_IMODE((tmp_path / "authority.pem").stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["authority.pem"]


def own_authority(folder: Path, form: str) -> str:
    """The PEM file of an owner whose root, by openssl, signed a second authority, and that one a signing key."""
    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=folder, check=True, capture_output=True)

    (folder / "ca.ext").write_text("basicConstraints=critical,CA:TRUE\nkeyUsage=critical,keyCertSign,cRLSign\n")
    (folder / "leaf.ext").write_text("basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
                                     "extendedKeyUsage=emailProtection\nauthorityKeyIdentifier=keyid\n")
    for name, above, ends in (("root", "root", "ca"), ("second", "root", "ca"), ("leaf", "second", "leaf")):
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", f"{name}.key")
        openssl("req", "-new", "-key", f"{name}.key", "-subj", f"/O=A museum/CN=museum {name}", "-out", f"{name}.csr")
        by = ["-signkey", "root.key"] if name == "root" else ["-CA", f"{above}.pem", "-CAkey", f"{above}.key",
                                                              "-CAcreateserial"]
        openssl("x509", "-req", "-in", f"{name}.csr", *by, "-days", "30", "-extfile", f"{ends}.ext", "-out",
                f"{name}.pem")
    if form == "EC":
        openssl("ec", "-in", "leaf.key", "-out", "leaf.key")
    return "".join((folder / name).read_text() for name in ("leaf.key", "leaf.pem", "second.pem", "root.pem"))


def test_an_authority_that_cannot_sign_is_refused_with_what_to_put_there(signed, tmp_path):
    film, by = signed
    other = authority(tmp_path / "other.pem")
    damaged = by.key.replace("\nMIGH", "\nBIGH")
    (tmp_path / "damaged.pem").write_text(damaged + by.chain)
    with pytest.raises(BadInput, match="EC P-256 key there as PEM"):
        authority(tmp_path / "damaged.pem")
    mixed = replace(by, chain=other.chain.replace("A", "B", 9))
    with pytest.raises(EngineFailed, match="EC P-256 key and its chain"):
        sign(film.with_name("plain.mp4"), tmp_path / "x.mp4", mixed, title="x", recipe={}, source_type=ANIMATED_PHOTO)


@pytest.mark.parametrize("form", ["PKCS#8", "EC"])
def test_an_owners_own_authority_signs_under_its_name(tmp_path, form):
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the authority")
    (tmp_path / "authority.pem").write_text(own_authority(tmp_path, form))
    by = authority(tmp_path / "authority.pem")
    encode(drift(4), tmp_path / "plain.mp4", fps=8)
    sign(tmp_path / "plain.mp4", tmp_path / "film.mp4", by, title="x", recipe=RECIPE_OF, source_type=ANIMATED_PHOTO)
    told = check(tmp_path / "film.mp4", [by.trusted])
    assert (told.state, told.signer, told.problems) == ("trusted", "museum leaf", ())
    assert by.trusted == (tmp_path / "root.pem").read_text()


def test_an_authority_without_its_key_is_refused_with_the_fact(tmp_path):
    (tmp_path / "authority.pem").write_text("nothing")
    with pytest.raises(BadInput, match="0 private keys and 0 certificates"):
        authority(tmp_path / "authority.pem")
