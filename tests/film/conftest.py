"""What the tests of films share."""

from collections.abc import Iterator

import pytest

# Here and not in the files that use them: what a file imports is made once for the file, not once for the session.
from diffusers_hub import film_hub, tiny_repos, torch_and_ours  # noqa: F401
from film_maker import Maker


@pytest.fixture(scope="session")
def film_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Maker]:
    """A server with /v1/videos, whose every film is the same."""
    from film_made import drift

    from headwater.film.encode import encode

    path = tmp_path_factory.mktemp("served") / "film.mp4"
    encode(drift(12, (96, 128)), path, fps=12)
    maker = Maker(path.read_bytes())
    yield maker
    maker.close()


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 KiB: what a film does not fit on."""
    import subprocess

    room = tmp_path / "small"
    room.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", str(room)], capture_output=True).returncode:
        pytest.skip("needs the right to mount a small file system")
    yield room
    subprocess.run(["umount", str(room)], check=True)
