"""Every verb, without a hub that runs: the command opens the data folder itself."""

from __future__ import annotations

import importlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Said, clean_environ

from headwater import cli

ROOT = Path(__file__).parents[2]
Hw = Callable[..., Said]


# --- the house rules


def test_help_is_quick_because_it_loads_nothing_heavy() -> None:
    for argv in (["--help"], ["chat", "--help"], ["--version"]):
        done = subprocess.run([sys.executable, "-X", "importtime", "-m", "headwater", *argv], capture_output=True,
                              text=True, env=clean_environ(), check=True)
        loaded = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in done.stderr.splitlines() if "|" in line}
        heavy = loaded & {"torch", "fastapi", "starlette", "sqlalchemy", "uvicorn", "httpx", "huggingface_hub", "numpy",
                          "alembic", "pydantic", "jinja2", "xllamacpp"}
        assert not heavy, f"{argv}: {heavy}"


def test_the_line_beside_a_verb_is_the_first_of_its_own_help() -> None:
    listed = {(name, cli._function(name)): line for name, line in cli.VERBS.items()}
    for group, (_, verbs) in cli.GROUPS.items():
        listed |= {(group, cli._function(name)): line for name, line in verbs.items()}
    for (module, function), line in listed.items():
        text = getattr(importlib.import_module(f"headwater.cli.{module}"), function).__doc__
        assert text.splitlines()[0] == line


def test_every_verb_takes_json_and_data() -> None:
    for group, verbs in [("", cli.VERBS), *((g, v) for g, (_, v) in cli.GROUPS.items())]:
        for name in verbs:
            module = importlib.import_module(f"headwater.cli.{group or name}")
            assert "common" in getattr(module, cli._function(name)).__annotations__, (group, name)


def test_docs_cli_md_is_what_the_command_line_says() -> None:
    """To renew it: python tests/cli/test_commands.py"""
    assert (ROOT / "docs/cli.md").read_text("utf-8") == reference()


def reference() -> str:
    text = cli.build().generate_docs(output_format="markdown", heading_level=1, flatten_commands=True)
    text = re.sub(r"[ \t]+$", "", text, flags=re.M)
    return "<!-- made from the code by `python tests/cli/test_commands.py` -->\n\n" + text.strip() + "\n"


def test_the_shell_completes_verbs_and_options() -> None:
    for shell in ("bash", "zsh", "fish"):
        script = cli.build().generate_completion(shell=shell)
        assert "restore" in script and "password-stdin" in script


# --- errors


@pytest.mark.parametrize(("argv", "says"), [
    (["nonsense"], "nonsense"), (["list", "--limt", "3"], "--limit"), (["token", "create"], "name"),
    (["up", "--port", "many"], "port"), (["token", "create", "x", "--scope", "all"], "scope"),
])
def test_what_is_not_understood_exits_2_with_one_line(hw: Hw, argv: list[str], says: str) -> None:
    said = hw(*argv)
    assert said.code == 2 and says in said.err.lower() and said.err.count("\n") == 1 and not said.out
    assert re.search(r"Try: headwater .*--help", said.err)
    as_json = hw(*argv, "--json")
    assert as_json.code == 2 and json.loads(as_json.err)["code"] == "Usage"


def test_a_failure_exits_1_with_the_fact_and_the_next_step_in_one_line(hw: Hw) -> None:
    said = hw("show", "local/nothing")
    assert said.code == 1 and not said.out and said.err.count("\n") == 1
    assert said.err.startswith("headwater: No model 'local/nothing' here") and "`headwater list`" in said.err
    as_json = hw("show", "local/nothing", "--json")
    assert as_json.code == 1 and json.loads(as_json.err)["code"] == "RepoNotFound"


@pytest.mark.parametrize("argv", [
    ["list"], ["pull", "a/b"], ["push", "/etc/hostname", "a/b"], ["chat", "a/b", "-m", "hi"], ["doctor"], ["sweep"],
])
def test_a_hub_that_does_not_answer_is_said_so(hw: Hw, monkeypatch: pytest.MonkeyPatch, argv: list[str]) -> None:
    monkeypatch.setenv("HEADWATER_URL", "http://127.0.0.1:9")
    said = hw(*argv)
    assert said.code == 1 and said.err.splitlines()[-1].startswith(
        "headwater: The hub at http://127.0.0.1:9 refused the connection. Is it running?"), said.err


def test_a_wrong_headwater_url_is_said_so(hw: Hw, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWATER_URL", "hub.example")
    assert "Write http://host:port" in hw("list").err


def test_names_from_strangers_cannot_steer_the_terminal() -> None:
    from headwater.cli._common import plain

    assert plain("a\x1b]0;title\x07b\x9bc") == "a\ufffd]0;title\ufffdb\ufffdc"
    assert plain("山\n\t川") == "山\n\t川"


# --- verbs


def test_a_model_is_added_listed_shown_examined_and_asked(hw: Hw, toy: Path) -> None:
    assert "No models here yet" in hw("list").out
    added = hw("add", str(toy), "--as", "local/toy", "--json").json
    assert added["repo"] == "local/toy" and added["kind"] == "model"
    assert [r["id"] for r in hw("list", "--json").json] == ["local/toy"]
    assert "local/toy" in hw("list", "to").out and "local/toy" not in hw("list", "nothing-like-it").out
    shown = hw("show", "local/toy")
    assert f"local/toy@{added['revision']}" in shown.out and "corpus.txt" in shown.out and "mit" in shown.out
    assert hw("show", f"local/toy@{added['revision']}", "--json").json["sha"] == added["revision"]
    well = hw("doctor", "local/toy", "--json")
    assert well.code == 0 and any("markov would run" in c["says"] for c in well.json["checks"])
    asked = hw("chat", "local/toy", "-m", "Where does it run?", "--temperature", "0")
    assert asked.code == 0 and asked.out == "The river runs to the sea.\n"
    answer = hw("chat", "local/toy", "-m", "Where?", "--temperature", "0", "--json").json
    assert answer["headwater"]["revision"] == added["revision"] and answer["finish_reason"] == "stop"
    again = hw("add", str(toy), "--as", "local/toy")
    assert again.code == 0, again.err


def test_chat_continues_where_the_last_talk_ended(hw: Hw, toy: Path, data: Path) -> None:
    hw("add", str(toy), "--as", "local/toy")
    hw("chat", "local/toy", "-m", "First.", "--system", "Be brief.")
    hw("chat", "local/toy", "-m", "Second.", "--continue")
    newest = sorted((data / "talks").glob("*.json"))[-1]
    assert newest.stat().st_mode & 0o777 == 0o600
    kept = json.loads(newest.read_text())
    assert [m["role"] for m in kept["messages"]] == ["system", "user", "assistant", "user", "assistant"]
    assert kept["messages"][1]["content"] == "First."


def test_chat_without_a_terminal_says_how_to_ask(hw: Hw) -> None:
    said = hw("chat", "local/toy", "--json")
    assert said.code == 1 and "-m" in said.err


def test_doctor_says_that_an_empty_hub_is_well_and_hides_secrets(hw: Hw, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADWATER_IMPORT_TOKEN", "hf_secretsecret")
    said = hw("doctor")
    assert said.code == 0 and "SQLite" in said.out and " (the newest)" in said.out
    assert "import_token = set" in said.out and "hf_secretsecret" not in said.out
    found = hw("doctor", "--json").json
    assert found["well"] and {"data folder", "free disk", "blobs", "database", "engine llamacpp", "engine markov",
                              "accounts", "shelves"} <= {c["name"] for c in found["checks"]}


def test_doctor_exits_1_and_names_what_is_wrong(hw: Hw, toy: Path, data: Path) -> None:
    hw("add", str(toy), "--as", "local/toy")
    blob = max((p for p in (data / "blobs").rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    blob.unlink()
    said = hw("doctor", "local/toy")
    assert said.code == 1 and "BAD   files" in said.out and "gone or damaged" in said.out


def test_scrub_finds_damage_and_sweep_frees_what_nothing_names(hw: Hw, toy: Path, data: Path) -> None:
    hw("add", str(toy), "--as", "local/toy")
    assert hw("scrub").code == 0
    assert hw("sweep", "--grace", "0", "--json").json["blobs"] == 0
    blob = next(p for p in (data / "blobs").rglob("*") if p.is_file())
    blob.chmod(0o644)
    blob.write_bytes(b"rot")
    said = hw("scrub", "--json")
    assert said.code == 1 and [d["digest"] for d in said.json["damaged"]] == [blob.name]
    assert "Sweep" in hw("jobs", "list").out and "Scrub" in hw("jobs", "list", "--state", "done").out


def test_a_backup_restores_into_another_folder(hw: Hw, toy: Path, tmp_path: Path) -> None:
    hw("add", str(toy), "--as", "local/toy")
    for target in ("kept", "kept.tar"):
        done = hw("backup", str(tmp_path / target), "--json")
        assert done.code == 0 and done.json["blobs"] == 3 and done.json["lost"] == []
        there = str(tmp_path / f"of-{target}")
        assert hw("restore", str(tmp_path / target), "--data", there).code == 0
        assert [r["id"] for r in hw("list", "--json", "--data", there).json] == ["local/toy"]
        again = hw("restore", str(tmp_path / target), "--data", there)
        assert again.code == 1 and "empty" in again.err
    assert "no data folder" in hw("backup", str(tmp_path / "x"), "--data", str(tmp_path / "none")).err


def test_push_and_pull_through_the_clients_own_code(hw: Hw, toy: Path, tmp_path: Path) -> None:
    (toy / "weights.bin").write_bytes(os.urandom(3_000_000))
    pushed = _process(tmp_path, "push", str(toy), "local/pushed", "-m", "From here", "--json")
    there = tmp_path / "there"
    pulled = _process(tmp_path, "pull", "local/pushed", "--to", str(there), "--json")
    assert pulled["revision"] == pushed["revision"] and pulled["folder"] == str(there)
    for file in toy.iterdir():
        assert (there / file.name).read_bytes() == file.read_bytes()
    assert "corpus.txt" in hw("show", "local/pushed").out
    _process(tmp_path, "push", str(toy / "corpus.txt"), "local/words", "--kind", "dataset", "--private", "--json")
    assert [r["private"] for r in hw("list", "--datasets", "--json").json] == [True]
    _process(tmp_path, "pull", "local/words", "--kind", "dataset", "--to", str(tmp_path / "w"), "--json")
    assert (tmp_path / "w/corpus.txt").exists()


def _process(tmp_path: Path, *argv: str) -> dict[str, str]:
    """As a process of its own: huggingface_hub reads its environment once."""
    done = subprocess.run([sys.executable, "-m", "headwater", *argv], capture_output=True, text=True,
                          env=clean_environ(HEADWATER_DATA=str(tmp_path / "data"), HOME=str(tmp_path / "home")))
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_tokens_are_made_listed_and_revoked(hw: Hw) -> None:
    made = hw("token", "create", "laptop", "--scope", "read", "--days", "2", "--json").json
    assert made["token"].startswith("hf_") and made["scope"] == "read"
    plain = hw("token", "create", "ci")
    assert re.fullmatch(r"hf_\w{34}\n", plain.out), "the token alone, for $(headwater token create ci)"
    assert {t["name"] for t in hw("token", "list", "--json").json} == {"laptop", "ci"}
    assert hw("token", "revoke", "ci").code == 0
    assert hw("token", "revoke", "ci").code == 1
    assert "laptop" in hw("token", "list").out


def test_users_and_organisations(hw: Hw, monkeypatch: pytest.MonkeyPatch) -> None:
    import io

    def typed(text: str) -> None:
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))

    typed("")
    assert "--password-stdin" in hw("user", "create", "alice").err
    typed("short\n")
    assert "8 to 1024" in hw("user", "create", "alice", "--password-stdin").err
    typed("correct horse\n")
    assert hw("user", "create", "alice", "--admin", "--password-stdin").code == 0
    # closed now; whoever may read the data folder is still its owner
    assert {u["name"] for u in hw("user", "list", "--json").json} == {"alice", "local"}
    assert hw("user", "create", "bob", "--no-password", "--json").json["admin"] is False
    typed("another horse\n")
    assert hw("user", "password", "bob", "--password-stdin").code == 0
    assert hw("org", "create", "acme").code == 0
    assert hw("org", "role", "acme", "bob", "write").code == 0
    assert hw("org", "list", "--json").json[0]["members"] == [
        {"name": "bob", "role": "write"}, {"name": "local", "role": "admin"}]
    assert "bob (write)" in hw("org", "list").out
    assert hw("org", "role", "acme", "local", "none").code == 1
    assert hw("org", "role", "acme", "bob", "none").code == 0
    assert hw("org", "delete", "acme").code == 0
    assert hw("user", "delete", "bob").code == 0
    assert "alice" in hw("user", "list").out
    assert hw("token", "list", "--json").json == [], "the tokens that commands made for themselves are gone"


def test_a_job_is_cancelled_by_its_id(hw: Hw, toy: Path) -> None:
    hw("add", str(toy), "--as", "local/toy")
    done = next(job for job in hw("jobs", "list", "--json").json if job["kind"] == "import")
    assert "was done already" in hw("jobs", "cancel", done["id"]).err
    assert hw("jobs", "cancel", "nothing").code == 1
    assert "Import" in hw("jobs").out and hw("jobs", "--json").json == hw("jobs", "list", "--json").json


if __name__ == "__main__":
    (ROOT / "docs/cli.md").write_text(reference(), "utf-8")
