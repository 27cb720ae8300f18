"""What the tests of films share."""

import pytest


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
