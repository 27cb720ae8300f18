"""A hub that runs where torch is, with the tiny film models of tiny_repos.py in it, and its clients. Pytest fixtures.

The environment with torch lacks Headwater, and ours lacks torch, so a third one, empty, has the packages of both.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import psutil
import pytest
from clients import VENVS, torch_python
from film_maker import Maker
from server import HubProcess

TORCH = VENVS / "torch"
BUILDER = Path(__file__).with_name("tiny_repos.py")
needs_torch = [pytest.mark.xdist_group("torch"),
               pytest.mark.skipif(not (TORCH / "ready").exists(), reason="no environment with torch: tests/prepare.py")]


def joint_python(folder: Path) -> Path:
    """torch's packages first, then ours for what it lacks; seen also by children that ignore the environment."""
    subprocess.run([torch_python(), "-m", "venv", "--without-pip", folder], check=True)
    site = next(folder.glob("lib/python*/site-packages"))
    theirs = next(TORCH.glob("lib/python*/site-packages"))
    (site / "joint.pth").write_text(
        f"import site; site.addsitedir({str(theirs)!r}); site.addsitedir({sysconfig.get_path('purelib')!r})\n")
    return folder / "bin" / "python"


@pytest.fixture(scope="session")
def torch_and_ours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return joint_python(tmp_path_factory.mktemp("joint") / "env")


@pytest.fixture(scope="session")
def tiny_repos(torch_and_ours: Path) -> Path:
    return build_repos(torch_and_ours)


def build_repos(python: Path) -> Path:
    """A folder with one of each, built once for each text of the builder."""
    name = f"tiny-films-{hashlib.sha256(BUILDER.read_bytes()).hexdigest()[:12]}"
    folder = VENVS / name
    if not folder.is_dir():
        making = VENVS / f"{name}.{os.getpid()}"
        making.mkdir()
        try:
            done = subprocess.run([python, "-I", BUILDER, making], capture_output=True, text=True, timeout=200,
                                  env={"OMP_NUM_THREADS": "1", "PATH": os.environ["PATH"]})
            assert done.returncode == 0, done.stderr[-4000:]
            if not folder.is_dir():
                making.rename(folder)
        finally:
            shutil.rmtree(making, ignore_errors=True)
    return folder


class FilmHub(HubProcess):
    """order() and made() go through OpenAI's own client."""

    def client(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key="hf_whoever", max_retries=0)

    def order(self, model: str, photo: Path | None = None, **more: Any) -> str:
        said: dict[str, Any] = {"prompt": "a red ball", "seed": "7", **more}
        prompt = said.pop("prompt")
        reference = {"input_reference": photo} if photo else {}
        return self.client().videos.create(model=model, prompt=prompt, extra_body=said, **reference).id

    def made(self, film_id: str, seconds: float = 240) -> Any:
        """The video when it is completed or failed."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            video = self.client().videos.retrieve(film_id)
            if video.status in ("completed", "failed"):
                return video
            time.sleep(0.05)
        raise AssertionError(f"still {video}\n{self.tail()}")

    def frames(self, film_id: str) -> list[Any]:
        """Every frame of the finished film, decoded."""
        import io

        import av

        data = self.client().videos.download_content(film_id).read()
        with av.open(io.BytesIO(data)) as box:
            return [frame.to_ndarray(format="rgb24") for frame in box.decode(video=0)]

    def workers(self) -> list[int]:
        """Process numbers of film engines at work or warm."""
        assert self.process is not None
        return [one.pid for one in psutil.Process(self.process.pid).children()
                if "headwater.film_engines._worker" in " ".join(one.cmdline())]


@pytest.fixture(scope="session")
def film_hub(tmp_path_factory: pytest.TempPathFactory, torch_and_ours: Path, tiny_repos: Path,
             film_server: Maker) -> Iterator[FilmHub]:
    """With every tiny repo as local/<its name>, pushed by huggingface_hub; films may be ordered from film_server."""
    from huggingface_hub import HfApi

    hub = FilmHub(tmp_path_factory.mktemp("films") / "data", sweep_every_s=0, worker_threads=1,
                  remotes=json.dumps({film_server.url: ""}))
    hub.PYTHON = str(torch_and_ours)  # type: ignore[misc]
    with hub:
        api = HfApi(endpoint=hub.url, token="hf_whoever")
        for folder in sorted(tiny_repos.iterdir()):
            api.create_repo(f"local/{folder.name}")
            api.upload_folder(repo_id=f"local/{folder.name}", folder_path=folder)
        yield hub
