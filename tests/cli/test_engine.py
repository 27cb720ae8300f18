"""`headwater engine`: what is there, what is removed, what is forgotten."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from conftest import Said

from headwater.engines import _native

Hw = Callable[..., Said]


def test_builds_are_listed_and_removed(hw: Hw, data: Path) -> None:
    made = data / "made"
    made.mkdir(parents=True)
    (made / _native.LIBRARY).write_bytes(b"")
    one = _native.Native("mine", "9", "small 1.0", "0" * 64, _native.processor(), "c++", 7_000_000, 1.0)
    _native.keep(data, made, one)
    _native.refuse(data, one, "1" * 64, "me/yi", "The worker did not start (killed by SIGILL).")
    listed = hw("engine", "list")
    assert listed.code == 0 and "mine" in listed.out and "b9 (native for" in listed.out and "me/yi" in listed.out
    assert {row["name"]: row["chosen"] for row in hw("engine", "list", "--json").json}["mine"] is True
    assert "mine is deleted" in hw("engine", "remove", "mine").err
    gone = hw("engine", "remove", "mine")
    assert gone.code != 0 and "no engine build" in gone.err


def test_a_form_that_was_never_found_is_forgotten_in_peace(hw: Hw, toy: Path) -> None:
    assert hw("add", str(toy), "--as", "local/toy").code == 0
    said = hw("engine", "probe", "local/toy", "--forget")
    assert said.code == 0 and "Nothing was found before." in said.err
