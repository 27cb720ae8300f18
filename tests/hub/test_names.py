"""Which names, paths and refs are allowed; what is refused says why."""

from __future__ import annotations

import subprocess

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headwater.core.errors import BadName, BadPath
from headwater.hub.names import MAX_PATH_BYTES, check_name, check_owner, check_path, check_ref, split_full_name


@pytest.mark.parametrize("name", ["Yi-6B-Chat", "a", "0", "Llama-2.7b_x", "x" * 96])
def test_an_ordinary_name_passes(name: str) -> None:
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", ".", "..", "-a", "a-", "a.", ".a", "a--b", "a..b", "a.git", "a.ipynb", "a/b",
                                  "a b", "ä", "раураl", "a\n", "a\0", "x" * 97, "%2e", "a\\b"])
def test_a_name_that_could_mislead_is_refused(name: str) -> None:
    with pytest.raises(BadName):
        check_name(name)


@pytest.mark.parametrize("name", ["api", "API", "datasets", "settings", "v1", "docs"])
def test_nobody_can_be_called_what_a_route_is_called(name: str) -> None:
    with pytest.raises(BadName, match="reserved"):
        check_owner(name)


@pytest.mark.parametrize("text", ["a", "a/b/c", "/a", "a/", "../a", "a/.."])
def test_a_full_name_is_owner_and_name(text: str) -> None:
    with pytest.raises(BadName):
        split_full_name(text)


@pytest.mark.parametrize("path", ["a", "a/b.txt", "…", "a b", "%2e%2e/x", "模型.safetensors", "-", "~", "a:b",
                                  ".gitignore", ".github/x", "x" * 255,
                                  "نمی\u200cخواهم.txt"])
def test_an_ordinary_path_passes(path: str) -> None:
    assert check_path(path) == path


@pytest.mark.parametrize(("path", "why"), [
    ("", "empty"), ("/a", "absolute"), ("a/", "empty"), ("a//b", "empty"), (".", "segment"), ("a/./b", "segment"),
    ("..", "segment"), ("a/../b", "segment"), ("a\\b", "backslash"), ("a\0b", "control"), ("a\nb", "control"),
    (".git/config", ".git"), ("a/.GIT/x", ".git"), ("e\u0301", "NFC"), ("\ud800", "control"), ("x" * 256, "255"),
    ("/".join("x" * 200 for _ in range(6)), str(MAX_PATH_BYTES)), ("a\u2028b", "control"),
    ("model\u202efs.exe", "control"), ("a\ufeff", "control"), (".g\u200cit/config", ".git"), ("GIT~1/config", ".git"),
])
def test_a_path_that_climbs_hides_or_clashes_is_refused(path: str, why: str) -> None:
    with pytest.raises(BadPath, match=why):
        check_path(path)


SEGMENTS = st.sampled_from(["", ".", "..", ".git", ".GIT", "a", "b.txt", "…", "\\", "\0", "%2e%2e", "c" * 300, "~",
                            " ", "\u202e", "é", "e\u0301"]) | st.text(max_size=8)


@settings(max_examples=300)
@given(st.lists(SEGMENTS, max_size=6).map("/".join) | st.text(max_size=30))
@example("a/b")
def test_a_path_that_passes_stays_inside_any_folder(path: str) -> None:
    try:
        check_path(path)
    except BadPath:
        return
    steps = path.split("/")
    assert not path.startswith("/") and "\\" not in path and "\0" not in path
    assert not {"", ".", ".."} & set(steps) and ".git" not in [s.lower() for s in steps]
    path.encode("utf-8")


@settings(max_examples=150, deadline=None)
@given(st.text("ab./-_@{+=~^:?*[\\ \n", min_size=1, max_size=10) | st.sampled_from(
    ["refs/x", "HEAD", "a.lock", "a/b", "v1.0", "a/.b", "@", "a@{b", "f" * 40]))
def test_a_ref_that_passes_is_one_git_accepts(name: str) -> None:
    try:
        check_ref(name)
    except BadName:
        return
    done = subprocess.run(["git", "check-ref-format", f"refs/heads/{name}"])
    assert done.returncode == 0, name


@pytest.mark.parametrize("name", ["..", "a..b", "-a", "/a", "a/", "a//b", "a b", "a\0", "refs/heads/a", "0" * 40, "",
                                  "a.lock", "x" * 201, "ä"])
def test_a_ref_that_could_mislead_is_refused(name: str) -> None:
    with pytest.raises(BadName):
        check_ref(name)
