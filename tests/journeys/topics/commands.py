"""The command line: hf (huggingface-cli before it), told only the endpoint and a token."""

import json
import os
import subprocess
import sys
import uuid
from pathlib import Path

from kit import ME, VERSION, api, content, folder

BIN = Path(sys.executable).parent
binary = os.urandom(40_000)


def run(*argv, command="hf", ok=True):
    done = subprocess.run([BIN / command, *argv], capture_output=True, text=True,
                          stdin=subprocess.DEVNULL, timeout=60)
    assert (done.returncode == 0) is ok, (argv, done.returncode, done.stdout[-800:], done.stderr[-1500:])
    return done.stdout + done.stderr


old = VERSION < (1, 0)
name = f"{ME}/cli-{uuid.uuid4().hex[:8]}"
assert ME in run("auth", "whoami")
if old:
    run("repo", "create", name)
    assert ME in run("whoami", command="huggingface-cli")
else:
    run("repos", "create", name)
root = folder({"a.txt": b"a", "sub/w.bin": binary})
out = run("upload", name, str(root), ".", "--commit-message", "by hand")
assert name in out
run("upload", name, str(root / "a.txt"), "b.txt")
into = folder({})
run("download", name, "--local-dir", str(into))
assert content(into).items() >= {"a.txt": b"a", "b.txt": b"a", "sub/w.bin": binary}.items()
run("download", name, "sub/w.bin", "--local-dir", str(into))
assert run("download", name, "nope.txt", ok=False)
if not old:
    run("repos", "tag", "create", name, "v1")
    assert "v1" in run("repos", "tag", "list", name)
    run("repos", "branch", "create", name, "dev")
    run("repos", "settings", name, "--private")
    assert api.model_info(name).private is True
    listed = json.loads(run("models", "ls", "--search", name.split("/")[1], "--format", "json"))
    assert [m["id"] for m in listed] == [name], listed
    assert name in run("models", "info", name)
    run("repos", "delete", name, "--yes")
    assert not api.repo_exists(name)
data = f"{ME}/cli-data-{uuid.uuid4().hex[:8]}"
run("upload", data, str(root), "--repo-type", "dataset")
assert "sub/w.bin" in api.list_repo_files(data, repo_type="dataset")
