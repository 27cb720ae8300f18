"""Attack A11: files that run code when they are loaded are marked, by their bytes, and never run."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from huggingface_hub import CommitOperationAdd, HfApi
from pickle_samples import EVIL, PACKERS, SEVEN_ZIP, STATE, TEXT_EVIL, stack_calls, torch_legacy, torch_tar, torch_zip
from server import fresh

from headwater.core.types import Actor, Finding, Repo
from headwater.core.work import Cancelled
from headwater.hub import Hub, scan
from headwater.hub.browse import files, resolve
from headwater.hub.commit import Add, Copy, Delete, commit
from headwater.hub.scan import findings, scan_file, scan_job, scan_revision, scanned, worst

TENSORS = safetensors.numpy.save({"w": np.ones(4, np.float32)})


def put(hub: Hub, owner: Actor, repo: Repo, contents: dict[str, bytes]) -> None:
    commit(hub, owner, repo, "main", [Add(path, content) for path, content in contents.items()], title="files")


def levels(found: list[Finding]) -> dict[str, str]:
    return {finding.path: finding.level for finding in found}


def test_a_revision_is_scanned_and_each_file_marked(hub, owner, repo):
    put(hub, owner, repo, {
        "README.md": b"# hi", "model.safetensors": TENSORS, "pytorch_model.bin": torch_zip(EVIL),
        "old/legacy.pth": torch_legacy(STATE), "old/tar.pt": torch_tar(EVIL), "renamed.safetensors": torch_zip(EVIL),
        "renamed.gguf": EVIL, "m.joblib": PACKERS["zlib"](TEXT_EVIL), "packed.7z": SEVEN_ZIP,
        "hidden": stack_calls("os", "system"),
    })
    assert levels(scan_revision(hub, repo, "main")) == {
        "model.safetensors": "safe", "pytorch_model.bin": "dangerous", "old/legacy.pth": "notice",
        "old/tar.pt": "dangerous", "renamed.safetensors": "dangerous", "renamed.gguf": "dangerous",
        "m.joblib": "dangerous", "packed.7z": "suspicious", "hidden": "dangerous"}


def test_a_file_is_scanned_once_for_its_bytes(hub, owner, repo, monkeypatch):
    looked = []
    monkeypatch.setattr(scan, "scan_file", lambda path, name: looked.append(name) or Finding(name, "notice", "seen"))
    put(hub, owner, repo, {"a.bin": torch_zip(STATE), "b.bin": torch_zip(STATE), "model.safetensors": TENSORS})
    scan_revision(hub, repo, "main")
    assert sorted(looked) in (["a.bin", "model.safetensors"], ["b.bin", "model.safetensors"])
    commit(hub, owner, repo, "main", [Copy("c/d.bin", "a.bin"), Add("new.pkl", EVIL)], title="more")
    found = scan_revision(hub, repo, "main")
    assert looked[2:] == ["new.pkl"]
    assert levels(found).keys() == {"a.bin", "b.bin", "c/d.bin", "new.pkl", "model.safetensors"}


def test_bytes_that_come_back_under_a_riskier_name_are_scanned_again(hub, owner, repo):
    """A pickle of protocol 0 has no mark, so under a name that asks for no look it passes; renamed it does not."""
    put(hub, owner, repo, {"words": TEXT_EVIL, "state.bin": torch_zip(STATE)})
    assert levels(scan_revision(hub, repo, "main")) == {"words": "safe", "state.bin": "notice"}
    renames = [Copy("words.pkl", "words"), Copy("model.safetensors", "state.bin")]
    commit(hub, owner, repo, "main", renames, title="rename")
    head = resolve(hub, repo, "main")
    assert not scanned(hub, files(hub, head))
    found = levels(scan_revision(hub, repo, "main"))
    assert found["words.pkl"] == "dangerous" and found["model.safetensors"] == "suspicious"
    assert scanned(hub, files(hub, head)) and levels(findings(hub, head)) == found


def test_what_is_stored_is_found_again_without_a_scan(hub, owner, repo):
    put(hub, owner, repo, {"a.pkl": EVIL})
    head = resolve(hub, repo, "main")
    assert findings(hub, head) == [] and not scanned(hub, files(hub, head))
    found = scan_revision(hub, repo, "main")
    assert findings(hub, head) == found and scanned(hub, files(hub, head))
    assert "os.system" in found[0].reason and worst(found) == "dangerous" and worst([]) == "safe"


@pytest.mark.parametrize("config, marked", [
    ({"auto_map": {"AutoModel": "modeling_x.X"}}, True), ({"model_type": "llama"}, False), ({"auto_map": {}}, False),
])
def test_python_beside_a_config_that_asks_for_it_is_a_notice(hub, owner, repo, config, marked):
    said = json.dumps(config).encode()
    put(hub, owner, repo, {"config.json": said, "modeling_x.py": b"import os", "tools/x.py": b""})
    found = scan_revision(hub, repo, "main")
    assert levels(found) == ({"modeling_x.py": "notice"} if marked else {})
    assert not marked or "trust_remote_code=True (config.json)" in found[0].reason


def test_remote_code_is_found_through_any_config_and_pipelines_too(hub, owner, repo):
    put(hub, owner, repo, {
        "tokenizer_config.json": b'{"auto_map": {"AutoTokenizer": ["t.T", null]}}', "t.py": b"",
        "custom_generate/generate.py": b"", "unet/model.py": b"", "unet/config.json": b"{broken",
        "pipe/model_index.json": b'{"_class_name": "P", "unet": ["my_unet", "U"]}', "pipe/my_unet.py": b"",
        "plain/model_index.json": b'{"_class_name": "P", "unet": ["diffusers", "U"]}', "plain/x.py": b""})
    assert levels(scan_revision(hub, repo, "main")) == {"t.py": "notice", "custom_generate/generate.py": "notice",
                                                        "pipe/my_unet.py": "notice"}


def test_a_client_is_told_what_the_scan_of_its_push_found(open_server):
    api = HfApi(open_server.url, token="hf_anyone")
    repo = api.create_repo(f"local/{fresh('scan')}").repo_id
    operations = [CommitOperationAdd(path, data) for path, data in (
        ("README.md", b"# hi"), ("model.safetensors", TENSORS), ("pytorch_model.bin", torch_zip(EVIL)),
        ("config.json", b'{"auto_map": {"AutoModel": "m.M"}}'), ("m.py", b"pass"))]
    api.create_commit(repo, operations, commit_message="files")
    until = time.monotonic() + 60
    while not (status := api.model_info(repo, securityStatus=True).security_repo_status)["scansDone"]:
        assert time.monotonic() < until, "never scanned"
        time.sleep(0.2)
    assert [(issue["path"], issue["level"]) for issue in status["filesWithIssues"]] == [
        ("m.py", "caution"), ("pytorch_model.bin", "unsafe")]
    files = {file.path: file.security for file in api.list_repo_tree(repo, expand=True)}
    assert {path: security.safe for path, security in files.items() if path.startswith(("R", "m", "p"))} == {
        "README.md": True, "m.py": False, "model.safetensors": True, "pytorch_model.bin": False}
    assert "os.system" in files["pytorch_model.bin"].pickle_import_scan["message"]


def test_a_scan_that_runs_out_of_time_is_itself_a_finding(tmp_path, monkeypatch):
    monkeypatch.setattr(scan, "SCAN_SECONDS", 1)
    (tmp_path / "slow.pkl").write_bytes(b"\x80\x02(" + b"K\x01" * 8_000_000 + EVIL[2:])
    found = scan_file(tmp_path / "slow.pkl", "slow.pkl")
    assert found.level == "suspicious" and "Could not be scanned" in found.reason


def test_a_scan_short_of_memory_never_passes_a_file(tmp_path, monkeypatch):
    """picklescan takes MemoryError for the end of the pickle; an evil import may stand after that."""
    monkeypatch.setattr(scan, "SCAN_MEMORY", 256 << 20)
    for name, data in (("many.pkl", b"\x80\x02(" + b"K\x01" * 1_500_000 + EVIL[2:]),
                       ("line.pkl", b"S'" + b"x" * (150 << 20) + b"'\n0" + TEXT_EVIL)):
        (tmp_path / name).write_bytes(data)
        assert scan_file(tmp_path / name, name).level in ("suspicious", "dangerous")


def test_the_child_gets_no_secrets_and_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    seen = {}
    real = scan.subprocess.run
    monkeypatch.setattr(scan.subprocess, "run", lambda *a, **k: seen.update(k["env"]) or real(*a, **k))
    (tmp_path / "a.pkl").write_bytes(EVIL)
    assert scan_file(tmp_path / "a.pkl", "a.pkl").level == "dangerous"
    assert "HF_TOKEN" not in seen and sorted(p.name for p in tmp_path.iterdir()) == ["a.pkl"]


def test_files_that_nothing_unpickles_start_no_child(tmp_path, monkeypatch):
    monkeypatch.setattr(scan.subprocess, "run", lambda *a, **k: pytest.fail("a child was started"))
    (tmp_path / "x").write_bytes(b"# Title")
    assert scan_file(tmp_path / "x", "README.md").level == "safe"


def test_names_with_control_characters_do_not_break_the_answer(tmp_path):
    (tmp_path / "a").write_bytes(stack_calls("os", "system\n\x1b[31m"))
    found = scan_file(tmp_path / "a", "we\u2028ird \x1b name.pkl")
    assert found.level in ("suspicious", "dangerous") and "\x1b" not in found.reason


def test_a_store_without_files_is_scanned_from_a_copy_that_is_removed(hub, owner, repo, monkeypatch):
    put(hub, owner, repo, {"a.pkl": EVIL})
    monkeypatch.setattr(type(hub.blobs), "path", lambda self, digest: None)
    assert levels(scan_revision(hub, repo, "main")) == {"a.pkl": "dangerous"}
    assert not list(Path(hub.tmp).glob("scan-*"))


def test_the_job_tells_its_progress_stops_when_cancelled_and_goes_on_where_it_was(hub, owner, repo):
    put(hub, owner, repo, {"a.pkl": EVIL, "b.pkl": STATE})
    told = []

    def progress(done: int, total: int | None = None, **_: object) -> None:
        told.append((done, total))
        if done == 1 and len(told) == 2:
            raise Cancelled

    payload = {"repo_id": repo.id, "revision": resolve(hub, repo, "main").oid}
    with pytest.raises(Cancelled):
        scan_job(hub)(payload, progress)
    assert scan_job(hub)(payload, progress) == {"files": 2, "worst": "dangerous"}
    assert told == [(0, 2), (1, 2), (0, 1), (1, 1)]


def test_a_job_for_a_repo_that_is_gone_does_nothing(hub, owner, repo):
    payload = {"repo_id": repo.id, "revision": resolve(hub, repo, "main").oid}
    hub.repos.delete(repo, by=owner)
    assert scan_job(hub)(payload, lambda *a, **k: None) is None


def test_bytes_that_are_gone_are_passed_over(hub, owner, repo):
    put(hub, owner, repo, {"a.pkl": EVIL, "b": stack_calls("os", "system")})
    for folder in (hub.settings.data / "blobs").iterdir():
        shutil.rmtree(folder)
    assert scan_revision(hub, repo, "main") == []
    commit(hub, owner, repo, "main", [Delete("a.pkl")], title="gone")
