"""The process of an engine is kept for the next film, let go when nobody wants it, killed when it does not listen."""

import contextlib
import os
import signal
import threading
import time
from dataclasses import replace

import numpy as np
import psutil
import pytest
from PIL import Image

from headwater.core.errors import BadInput, EngineFailed
from headwater.core.film import FilmRequest, Picture, Step
from headwater.film import process
from headwater.film.process import Warm, frames
from headwater.film_engines import FILM_ENGINES

MEMORY = 3 << 30


@pytest.fixture
def wanted(tmp_path):
    ramp = np.random.default_rng(0).integers(0, 255, (12, 16, 3), np.uint8)
    Image.fromarray(ramp).resize((320, 240), Image.Resampling.BICUBIC).save(tmp_path / "photo.png")
    plain = FilmRequest("plain", "i2v", "move left", 0.5, 12, 160, 120, 7,
                        pictures=(Picture("first", tmp_path / "photo.png", "0" * 64),))
    return FILM_ENGINES["plain"].normalise(plain).request


@pytest.fixture
def warm():
    kept = Warm(60)
    yield kept
    kept.close()
    assert workers() == []


def workers() -> list[int]:
    """Those of engines that live; one that is dead and not yet waited for has no command line."""
    found = []
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess):  # a zombie is one, too
            if "film_engines" in " ".join(child.cmdline()):
                found.append(child.pid)
    return found


def film(request, warm, tell=lambda step: None) -> list[np.ndarray]:
    return list(frames(request, tell, lambda: False, memory_bytes=MEMORY, warm=warm))


def until(true, seconds=20.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_the_next_film_is_made_by_the_same_process(wanted, warm):
    first = film(wanted, warm)
    (pid,) = workers()
    second = film(replace(wanted, seed=8), warm)
    assert workers() == [pid] and len(first) == len(second) == 6


def test_a_film_given_up_ends_at_its_next_step_and_its_process_makes_the_next(wanted, warm):
    class Cancel(Exception):
        pass

    def tell(step: Step) -> None:
        if step.i == 2:
            raise Cancel

    whole = film(wanted, warm)
    pids = workers()
    with pytest.raises(Cancel):
        film(replace(wanted, seconds=30.0), warm, tell)
    assert all(np.array_equal(a, b) for a, b in zip(film(wanted, warm), whole, strict=True))
    assert workers() == pids


def test_what_the_asker_did_wrong_costs_no_process(wanted, warm, tmp_path):
    film(wanted, warm)
    pids = workers()
    (tmp_path / "photo.png").write_bytes(b"no picture")
    with pytest.raises(BadInput, match="cannot be read"):
        film(wanted, warm)
    assert workers() == pids


def test_a_process_that_does_not_stop_is_killed(wanted, warm, monkeypatch):
    monkeypatch.setattr(process, "GRACE_S", 0.2)
    making = frames(replace(wanted, seconds=30.0), lambda step: None, lambda: False, memory_bytes=MEMORY, warm=warm)
    next(making)
    (pid,) = workers()
    os.kill(pid, signal.SIGSTOP)
    making.close()
    until(lambda: pid not in workers())
    assert len(film(wanted, warm)) == 6


def test_a_process_that_died_meanwhile_is_replaced_and_one_that_dies_at_work_is_told(wanted, warm):
    film(wanted, warm)
    (pid,) = workers()
    os.kill(pid, signal.SIGKILL)
    until(lambda: pid not in workers())
    assert len(film(wanted, warm)) == 6

    def tell(step: Step) -> None:
        if step.i == 2:
            os.kill(workers()[0], signal.SIGKILL)

    with pytest.raises(EngineFailed, match="stopped before the film was whole"):
        film(replace(wanted, seconds=30.0), warm, tell)
    assert len(film(wanted, warm)) == 6


def test_an_idle_process_is_let_go(wanted):
    warm = Warm(0.3)
    film(wanted, warm)
    assert len(workers()) == 1
    until(lambda: workers() == [])
    assert len(film(wanted, warm)) == 6
    warm.close()


def test_two_films_at_once_take_turns(wanted, warm):
    made = []
    threads = [threading.Thread(target=lambda: made.append(len(film(wanted, warm)))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert made == [6, 6] and len(workers()) == 1
