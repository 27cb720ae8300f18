"""The hub is killed (SIGKILL) while a real client pushes through the Xet door, at each step there is, and started
again. The client's own retries may save the push; if not, the next push must. Never is anything half there."""

import hashlib
import subprocess
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
from clients import client_env, client_python
from server import HubProcess

PUSH = textwrap.dedent("""
    from huggingface_hub import HfApi
    api = HfApi()
    api.create_repo("local/r", exist_ok=True)
    api.upload_file(repo_id="local/r", path_or_fileobj={path!r}, path_in_repo="model.safetensors")
""")
MOMENTS = {
    "while a xorb comes in": lambda data: any(data.glob("tmp/xet/*/*/in-*")),
    "when the first xorb is in": lambda data: any(data.glob("tmp/xet/*/*/*.raw")),
    "while the file is built": lambda data: any(data.glob("tmp/in-*")),
    "when the file is kept": lambda data: any(data.glob("blobs/??/??/*")),
}


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_push_outlives_a_hub_killed(moment: str, tmp_path: Path):
    path, home = tmp_path / "model.safetensors", tmp_path / "home"
    home.mkdir()
    path.write_bytes(np.random.default_rng(3).bytes(90_000_000))
    wanted = hashlib.sha256(path.read_bytes()).hexdigest()
    hub = HubProcess(tmp_path / "data", sweep_every_s=0).start()
    hub.flags["port"] = int(hub.url.rsplit(":", 1)[1])
    try:
        pushing = start(hub.url, path, home)
        wait_for(lambda: MOMENTS[moment](hub.data) or pushing.poll() is not None)
        hub.kill()
        hub.start()
        survived = pushing.wait(200) == 0
        assert read(hub.url) in ((wanted,) if survived else (None, wanted))
        if not survived:
            assert start(hub.url, path, home).wait(200) == 0
        assert read(hub.url) == wanted
        for blob in hub.data.glob("blobs/??/??/*"):
            assert hashlib.sha256(blob.read_bytes()).hexdigest() == blob.name
    finally:
        hub.stop()


def start(url: str, path: Path, home: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([client_python("2.4.0"), "-c", PUSH.format(path=str(path))],
                            env=client_env(url, home, "hf_whoever"), stderr=subprocess.DEVNULL)


def read(url: str) -> str | None:
    """sha256 of what the hub serves; None when there is no such file yet."""
    answer = httpx.get(f"{url}/local/r/resolve/main/model.safetensors", timeout=60)
    return hashlib.sha256(answer.content).hexdigest() if answer.status_code == 200 else None


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.001)
