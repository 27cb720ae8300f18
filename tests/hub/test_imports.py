"""`headwater add`: from a second Headwater, from upstreams that break or lie; killed and resumed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from fake_upstream import FakeHub
from huggingface_hub import HfApi
from hypothesis import given
from hypothesis import strategies as st
from server import Team, fresh, opened_hub

from headwater.core.errors import (
    BadInput,
    Busy,
    CorruptFile,
    DiskFull,
    Forbidden,
    NotBuilt,
    NotFound,
    NotSignedIn,
    Unavailable,
)
from headwater.core.types import ANYONE, Actor, EntryKind, Kind, Repo
from headwater.core.work import Cancelled
from headwater.hub import Hub, browse
from headwater.hub import repos as repo_verbs
from headwater.hub.accounts import create_user
from headwater.hub.commit import Add, Delete, commit
from headwater.hub.imports import SOURCES, enqueue_import, import_job, import_source
from headwater.hub.imports._folder import work_folder
from headwater.hub.imports._http import Upstream, _zone

WEIGHTS = os.urandom(3_000_000)
CARD = b"---\nlicense: mit\n---\n# Yi\n"


def set_up(hub: Hub, **values: Any) -> None:
    hub.settings._values.update(values)


def contents(hub: Hub, repo: Repo, revision: str = "main") -> dict[str, bytes]:
    found = browse.files(hub, browse.resolve(hub, repo, revision))
    return {entry.path: b"".join(browse.read(hub, entry)) for entry in found}


def leftovers(hub: Hub) -> list[str]:
    return sorted(path.relative_to(hub.tmp).as_posix() for path in hub.tmp.rglob("*") if path.name != "lock")


class Stages(list):
    """A Progress that remembers what it was told."""

    def __call__(self, done, total=None, *, stage=None, unit=None):
        self.append((done, total, stage))

    @property
    def most(self) -> tuple[int, int]:
        return max(done for done, _, _ in self), max((total or 0) for _, total, _ in self)


@pytest.fixture(autouse=True)
def quick_to_try_again(monkeypatch):
    monkeypatch.setattr("headwater.hub.imports._download.FIRST_WAIT_S", 0.01)


# --- a fake upstream, which can break and lie


@pytest.fixture
def upstream(hub: Hub):
    fake = FakeHub({"README.md": CARD, "config.json": b"{}", "model.bin": WEIGHTS, "sub/part two.bin": b"\0" * 5})
    set_up(hub, import_endpoint=fake.url)
    yield fake
    fake.gate.set()
    fake.server.shutdown()
    fake.server.server_close()


def test_a_repo_arrives_whole_with_its_provenance(hub, owner, upstream):
    stages = Stages()
    made = import_source(hub, owner, "hf:01-ai/Yi-tiny", progress=stages)
    assert made.repo.full_name == "01-ai/Yi-tiny" and not made.repo.private
    assert contents(hub, made.repo) == upstream.files
    assert made.commit.title == f"Import 01-ai/Yi-tiny@{'a' * 12}"
    assert f"Imported-From: {upstream.url}/01-ai/Yi-tiny@{'a' * 40}" in made.commit.message.splitlines()
    size = sum(map(len, upstream.files.values()))
    assert stages.most == (size, size) and (made.fetched, made.bytes) == (4, size)
    assert made.repo.card.data == {"license": "mit"} and leftovers(hub) == []
    lfs = {e.path: e.lfs for e in browse.files(hub, made.commit)}
    assert lfs == {"README.md": False, "config.json": False, "model.bin": True, "sub/part two.bin": True}


def test_xet_is_never_asked_for(hub, owner, upstream):
    import_source(hub, owner, "hf:01-ai/Yi-tiny")
    assert not [path for path, _ in upstream.requests if "xet" in path]


def test_the_same_revision_again_asks_for_the_list_and_fetches_nothing(hub, owner, upstream):
    first = import_source(hub, owner, "hf:01-ai/Yi-tiny")
    upstream.requests.clear()
    again = import_source(hub, owner, "hf:01-ai/Yi-tiny@main")
    assert again.already and again.commit == first.commit and not upstream.asked("/resolve/")


def test_a_new_revision_fetches_what_changed_and_keeps_what_was_changed_here(hub, owner, upstream):
    made = import_source(hub, owner, "hf:01-ai/Yi-tiny")
    commit(hub, owner, made.repo, "main", [Add("config.json", b'{"mine": 1}'), Add("notes.md", b"mine"),
                                          Delete("README.md")], title="my own")
    upstream.requests.clear()
    del upstream.files["sub/part two.bin"]
    upstream.files["more.json"], upstream.sha = b"[1]", "b" * 40
    second = import_source(hub, owner, "hf:01-ai/Yi-tiny")
    assert contents(hub, second.repo) == {"config.json": b'{"mine": 1}', "notes.md": b"mine", "more.json": b"[1]",
                                          "model.bin": WEIGHTS}
    fetched = [path for path, _ in upstream.requests if "/resolve/" in path]
    assert fetched == [f"/01-ai/Yi-tiny/resolve/{'b' * 40}/more.json"]


def test_bytes_the_repo_has_already_are_not_fetched(hub, owner, upstream):
    repo = repo_verbs.create(hub, owner, Kind.MODEL, "local", "mine")
    commit(hub, owner, repo, "main", [Add("under-another-name.bin", WEIGHTS)], title="first")
    made = import_source(hub, owner, "hf:01-ai/Yi-tiny", "local/mine")
    assert contents(hub, made.repo) == {**upstream.files, "under-another-name.bin": WEIGHTS}
    assert not upstream.asked("model.bin")


def test_bytes_of_somebody_elses_repo_are_fetched_not_borrowed(hub, owner, upstream):
    repo = repo_verbs.create(hub, owner, Kind.MODEL, "local", "secret", private=True)
    commit(hub, owner, repo, "main", [Add("model.bin", WEIGHTS)], title="first")
    import_source(hub, owner, "hf:01-ai/Yi-tiny")
    assert len(upstream.asked("model.bin")) == 1


def test_two_paths_with_the_same_bytes_are_fetched_once(hub, owner, upstream):
    upstream.files |= {"copy.bin": WEIGHTS, "copy.json": b"{}"}
    upstream.lfs.add("copy.bin")
    made = import_source(hub, owner, "hf:01-ai/Yi-tiny")
    assert contents(hub, made.repo) == upstream.files
    assert len(upstream.asked("model.bin") + upstream.asked("copy.bin")) == 1


def test_a_broken_connection_is_taken_up_where_it_broke(hub, owner, upstream):
    upstream.break_after["model.bin"] = [1_000_000, 500_000, 0, 7]
    made = import_source(hub, owner, "hf:01-ai/Yi-tiny")
    assert contents(hub, made.repo)["model.bin"] == WEIGHTS
    starts = [headers.get("range") for headers in upstream.asked("model.bin")]
    assert starts == [None, "bytes=1000000-", "bytes=1500000-", "bytes=1500000-", "bytes=1500007-"]


def test_a_source_that_ignores_ranges_is_read_from_the_start_again(hub, owner, upstream):
    upstream.break_after["model.bin"], upstream.ignore_ranges = [1_000_000], True
    made = import_source(hub, owner, "hf:01-ai/Yi-tiny")
    assert contents(hub, made.repo)["model.bin"] == WEIGHTS


def test_a_source_that_goes_away_leaves_what_came_for_the_next_attempt(hub, owner, upstream):
    upstream.break_after["model.bin"] = [2_000_000, *[0] * 6]
    with pytest.raises(Unavailable, match="goes on from there"):
        import_source(hub, owner, "hf:01-ai/Yi-tiny")
    assert hub.repos.find(Kind.MODEL, "01-ai", "Yi-tiny") is None, "nothing is visible"
    upstream.break_after.clear()
    upstream.requests.clear()
    made = import_source(hub, owner, "hf:01-ai/Yi-tiny")
    assert contents(hub, made.repo) == upstream.files
    assert [headers.get("range") for headers in upstream.asked("model.bin")] == ["bytes=2000000-"]
    assert leftovers(hub) == []


@pytest.mark.parametrize("path", ["model.bin", "config.json"])
def test_bytes_that_hash_otherwise_are_refused_and_nothing_is_visible(hub, owner, upstream, path):
    data = upstream.files[path]
    upstream.serve_instead[path] = bytes([data[0] ^ 1]) + data[1:]
    with pytest.raises(CorruptFile, match="Nothing of it was kept"):
        import_source(hub, owner, "hf:01-ai/Yi-tiny")
    assert hub.repos.find(Kind.MODEL, "01-ai", "Yi-tiny") is None
    assert not [p for p in leftovers(hub) if hashlib.sha256(data).hexdigest() in p]
    upstream.serve_instead.clear()
    assert contents(hub, import_source(hub, owner, "hf:01-ai/Yi-tiny").repo) == upstream.files


def test_a_damaged_half_from_before_is_thrown_away_and_fetched_anew(hub, owner, upstream):
    upstream.break_after["model.bin"] = [2_000_000, *[0] * 6]
    with pytest.raises(Unavailable):
        import_source(hub, owner, "hf:01-ai/Yi-tiny")
    part = next(hub.tmp.rglob(f"{hashlib.sha256(WEIGHTS).hexdigest()}.part"))
    with part.open("r+b") as file:
        file.write(b"damaged")
    upstream.break_after.clear()
    assert contents(hub, import_source(hub, owner, "hf:01-ai/Yi-tiny").repo) == upstream.files


def test_more_bytes_than_announced_are_refused(hub, owner, upstream):
    upstream.serve_instead["model.bin"] = WEIGHTS + b"more"
    with pytest.raises(BadInput, match="more than the"):
        import_source(hub, owner, "hf:01-ai/Yi-tiny")


@pytest.mark.parametrize("path", ["../out", "/etc/passwd", ".git/config", "a\\b", "a//b", ""])
def test_a_listed_path_that_climbs_out_is_refused(hub, owner, upstream, path):
    upstream.files[path] = b"x"
    with pytest.raises(BadInput):
        import_source(hub, owner, "hf:01-ai/Yi-tiny")
    assert hub.repos.find(Kind.MODEL, "01-ai", "Yi-tiny") is None


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5),
                    lambda inner: st.lists(inner, max_size=3)
                    | st.dictionaries(st.sampled_from(["sha", "id", "path", "type", "lfs", "oid", "size"]), inner)))
def test_whatever_json_an_endpoint_answers_the_error_is_ours(answer):
    from headwater.hub.imports import hf
    from headwater.hub.imports._shelf import Meter

    class Odd:
        shown = "http://odd"

        def url(self, path):
            return path

        def json(self, url):
            return (answer if "revision" not in url else {"sha": "a" * 40, "id": "a/b"}), None

    for revision in ("revision", "other"):
        odd = Odd()
        if revision == "other":
            odd.json = lambda url: (answer, None)
        with contextlib.suppress(BadInput):
            hf._plan(odd, Kind.MODEL, "a/b", "main", Meter(Stages()))


# --- the token, and where it may go


@pytest.fixture
def second_host(upstream: FakeHub):
    """Another server, as a content network is: it has the same files."""
    other = FakeHub(upstream.files, upstream.name)
    yield other
    other.server.shutdown()
    other.server.server_close()


def test_a_redirect_to_another_host_does_not_see_the_token(hub, owner, upstream, second_host, caplog):
    caplog.set_level("DEBUG")
    set_up(hub, import_token="hf_topsecret")
    upstream.redirect_to = second_host.url + "{path}"
    made = import_source(hub, owner, "hf:01-ai/Yi-tiny")
    assert contents(hub, made.repo) == upstream.files
    assert {headers.get("authorization") for _, headers in upstream.requests} == {"Bearer hf_topsecret"}
    assert second_host.requests and {headers.get("authorization") for _, headers in second_host.requests} == {None}
    assert "hf_topsecret" not in caplog.text


def test_a_relative_redirect_stays_with_the_endpoint_and_keeps_the_token(hub, owner, upstream):
    set_up(hub, import_token="hf_topsecret")
    first = upstream.answer

    def answer(to):
        if "/resolve/" in to.path:
            return upstream.send(to, b"", 307, {"Location": to.path.replace("/resolve/", "/api/cache/resolve/")})
        to.path = to.path.replace("/api/cache/resolve/", "/resolve/")
        return first(to)

    upstream.answer = lambda to: answer(to) if "/api/cache/" not in to.path else (
        setattr(to, "path", to.path.replace("/api/cache/", "/")) or first(to))
    import_source(hub, owner, "hf:01-ai/Yi-tiny")
    assert {headers.get("authorization") for _, headers in upstream.requests} == {"Bearer hf_topsecret"}


def test_an_error_holds_neither_the_token_nor_a_signed_url(hub, owner, upstream, second_host):
    set_up(hub, import_token="hf_topsecret")
    upstream.redirect_to = second_host.url + "/gone?Signature=sesame"
    with pytest.raises(NotFound) as caught:
        import_source(hub, owner, "hf:01-ai/Yi-tiny")
    assert "hf_topsecret" not in str(caught.value) and "sesame" not in str(caught.value)


@pytest.mark.parametrize("status", [401, 403])
def test_a_gated_repo_says_what_to_set(hub, owner, upstream, status):
    upstream.answer = lambda to: upstream.send(to, b"{}", status, {"X-Error-Message": "Access is gated"})
    with pytest.raises(Forbidden, match=r"Access is gated.*import_token"):
        import_source(hub, owner, "hf:01-ai/Yi-tiny")


def test_what_the_hubs_token_opened_is_private_and_only_for_an_administrator(hub, owner, upstream):
    set_up(hub, import_token="hf_topsecret")
    upstream.info = {"gated": "manual"}
    anna = Actor(create_user(hub, owner, "anna", None), owner.scope)
    with pytest.raises(Forbidden):
        import_source(hub, anna, "hf:01-ai/Yi-tiny", "anna/yi")
    assert import_source(hub, owner, "hf:01-ai/Yi-tiny").repo.private


# --- where a redirect may lead (A8)


@pytest.mark.parametrize("address, zone", [
    ("127.0.0.1", "loopback"), ("::1", "loopback"), ("::ffff:127.0.0.1", "loopback"), ("64:ff9b::7f00:1", "loopback"),
    ("2002:7f00:1::", "loopback"), ("10.1.2.3", "private"), ("192.168.1.1", "private"), ("172.16.0.1", "private"),
    ("100.64.0.1", "private"), ("fd00::1", "private"), ("169.254.169.254", "special"), ("fe80::1", "special"),
    ("224.0.0.1", "special"), ("0.0.0.0", "special"), ("::", "special"), ("::ffff:169.254.169.254", "special"),
    ("1.1.1.1", "public"), ("2606:4700::1111", "public")])
def test_addresses_are_told_apart(address, zone):
    import ipaddress

    assert _zone(ipaddress.ip_address(address)) == zone


@pytest.mark.parametrize("zones, target, allowed", [
    ({"public"}, "127.0.0.1", False), ({"public"}, "10.0.0.1", False), ({"public"}, "169.254.169.254", False),
    ({"public"}, "1.1.1.1", True), ({"private"}, "10.0.0.1", True), ({"private"}, "127.0.0.1", False),
    ({"private"}, "169.254.169.254", False), ({"loopback"}, "127.0.0.1", True),
    ({"loopback"}, "169.254.169.254", False)])
def test_a_redirect_leads_only_into_networks_the_endpoint_is_in(zones, target, allowed, monkeypatch):
    """The name is looked up once: what was checked is what is connected to, whatever the next answer would be."""
    answers = iter([target, "127.0.0.1"])
    with Upstream("http://127.0.0.1:1", "hf_x") as upstream:
        upstream._zones = zones
        monkeypatch.setattr("socket.getaddrinfo", lambda *a, **k: [(2, 1, 6, "", (next(answers), 80))])
        if not allowed:
            with pytest.raises(Forbidden, match="not followed"):
                upstream._targets("http://rebind.example/x", ("http", "rebind.example", 80))
        else:
            (url, headers, _), = upstream._targets("http://rebind.example/x", ("http", "rebind.example", 80))
            assert (url.host, headers["Host"]) == (target, "rebind.example")


@pytest.mark.parametrize("location", ["ftp://127.0.0.1/x", "file:///etc/passwd", "gopher://x", "javascript:1", ""])
def test_a_redirect_to_another_kind_of_url_is_not_followed(hub, owner, upstream, location):
    upstream.redirect_to = location
    with pytest.raises((Unavailable, BadInput)):
        import_source(hub, owner, "hf:01-ai/Yi-tiny")


def test_a_redirect_into_a_link_local_network_is_refused_even_from_loopback(hub, owner, upstream):
    upstream.redirect_to = "http://169.254.169.254/latest/meta-data"
    with pytest.raises(Forbidden, match="not followed"):
        import_source(hub, owner, "hf:01-ai/Yi-tiny")


def test_redirects_without_end_are_given_up(hub, owner, upstream):
    upstream.redirect_to = upstream.url + "{path}"
    with pytest.raises(Unavailable, match="redirects more than"):
        import_source(hub, owner, "hf:01-ai/Yi-tiny")


# --- who, when, how much


def test_rights_are_asked_before_any_byte_is_fetched(hub, owner, upstream):
    anna = Actor(create_user(hub, owner, "anna", None), owner.scope)
    for actor, error in ((ANYONE, NotSignedIn), (anna, Forbidden)):
        with pytest.raises(error):
            import_source(hub, actor, "hf:01-ai/Yi-tiny")
    repo_verbs.create(hub, owner, Kind.MODEL, "local", "mine")
    with pytest.raises(Forbidden):
        import_source(hub, anna, "hf:01-ai/Yi-tiny", "local/mine")
    assert not upstream.asked("/resolve/")
    assert import_source(hub, anna, "hf:01-ai/Yi-tiny", "anna/yi").repo.full_name == "anna/yi"


def test_a_file_larger_than_the_hub_takes_is_refused_before_it_is_fetched(hub, owner, upstream):
    set_up(hub, file_max_bytes=1_000_000)
    with pytest.raises(Exception, match="file_max_bytes"):
        import_source(hub, owner, "hf:01-ai/Yi-tiny")
    assert not upstream.asked("/resolve/")


def test_an_import_larger_than_the_disk_is_refused_before_it_begins(hub, owner, upstream):
    upstream.item = lambda path: {"type": "file", "path": path, "oid": "c" * 40, "size": 1 << 38}
    with pytest.raises(DiskFull):
        import_source(hub, owner, "hf:01-ai/Yi-tiny")
    assert not upstream.asked("/resolve/")


def test_a_quota_passed_leaves_no_empty_repo(hub, owner, upstream):
    set_up(hub, repo_quota_bytes=1_000)
    with pytest.raises(Exception, match="allowed"):
        import_source(hub, owner, "hf:01-ai/Yi-tiny")
    assert hub.repos.find(Kind.MODEL, "01-ai", "Yi-tiny") is None


def test_the_same_import_does_not_run_twice_at_once(hub, owner, upstream):
    with work_folder(hub, f"{upstream.url}/01-ai/Yi-tiny\nmodel/01-ai/Yi-tiny".lower()), pytest.raises(Busy):
        import_source(hub, owner, "hf:01-ai/Yi-tiny")


@pytest.mark.parametrize("source", ["hf:", "hf:a/b/c", "hf:a b", "hf:a/b@", "nonsense", "pypi:", "pypi:-r x",
                                    "pypi:a @ http://x", "pypi:x;y", "pypi:a==1 --index-url=http://x", "pypi:a..3"])
def test_a_source_that_is_none_is_refused_with_an_example(hub, owner, source):
    with pytest.raises(BadInput) as caught:
        import_source(hub, owner, source)
    assert caught.value.hint


def test_spaces_are_said_not_to_be_kept(hub, owner):
    with pytest.raises(NotBuilt):
        import_source(hub, owner, "hf:spaces/a/b")


def test_every_file_on_the_shelf_is_a_source_with_an_example_it_accepts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "path/to/folder").mkdir(parents=True)
    (tmp_path / "path/to/model.gguf").touch()
    assert SOURCES.names() == ["file", "folder", "hf", "pypi", "shipped"] and not SOURCES.broken
    assert all(source.accepts(source.example) for source in SOURCES)


# --- as a job


@pytest.fixture
def jobs(hub: Hub):
    hub.jobs.register("import", import_job(hub), at_once=2)
    yield hub.jobs
    hub.jobs.stop()


def settled(hub: Hub, job_id: str) -> Any:
    for _ in range(400):
        job = hub.jobs.get(job_id)
        if job.state.final:
            return job
        time.sleep(0.05)
    raise AssertionError("the job does not end")


def test_as_a_job_it_is_the_actors_and_asked_twice_it_is_one(hub, owner, upstream, jobs):
    first = enqueue_import(hub, owner, "hf:01-ai/Yi-tiny")
    assert enqueue_import(hub, owner, "hf:01-ai/Yi-tiny").id == first.id
    jobs.start()
    done = settled(hub, first.id)
    assert done.result["repo"] == "01-ai/Yi-tiny" and done.result["source_revision"] == "a" * 40, done.error
    assert hub.accounts.audit(limit=5)[0].actor == owner.name


def test_a_cancelled_import_stops_and_goes_on_when_asked_again(hub, owner, upstream, jobs):
    jobs.start()
    upstream.gate.clear()
    job = enqueue_import(hub, owner, "hf:01-ai/Yi-tiny")
    while not upstream.asked("README"):
        time.sleep(0.02)
    jobs.cancel(job.id)
    upstream.gate.set()
    assert settled(hub, job.id).state == "cancelled"
    assert hub.repos.find(Kind.MODEL, "01-ai", "Yi-tiny") is None
    assert settled(hub, enqueue_import(hub, owner, "hf:01-ai/Yi-tiny").id).state == "done"


def test_files_of_the_hubs_machine_are_only_for_its_administrator_at_that_machine(hub, owner, tmp_path, jobs):
    (tmp_path / "model").mkdir()
    anna = Actor(create_user(hub, owner, "anna", None), owner.scope)
    for actor, is_local, path in ((anna, True, tmp_path), (owner, False, tmp_path), (anna, False, tmp_path / "none")):
        with pytest.raises(BadInput, match="headwater push") as caught:
            enqueue_import(hub, actor, str(path), is_local=is_local)
        assert "no such file" not in caught.value.message, "whether a path exists is not told"
    assert enqueue_import(hub, owner, str(tmp_path), is_local=True).kind == "import"


def test_progress_raising_cancelled_leaves_nothing_visible(hub, owner, upstream):
    def stop(done, total=None, *, stage=None, unit=None):
        if done > 1_000_000:
            raise Cancelled

    with pytest.raises(Cancelled):
        import_source(hub, owner, "hf:01-ai/Yi-tiny", progress=stop)
    assert hub.repos.find(Kind.MODEL, "01-ai", "Yi-tiny") is None
    assert contents(hub, import_source(hub, owner, "hf:01-ai/Yi-tiny").repo) == upstream.files


# --- from a second Headwater, as a real process


def test_from_another_headwater_every_byte_and_git_id_is_the_same(hub, owner, open_server, tmp_path):
    api = HfApi(open_server.url, token="x")
    name = f"local/{fresh('up')}"
    (tmp_path / "up/sub").mkdir(parents=True)
    (tmp_path / "up/README.md").write_bytes(CARD)
    (tmp_path / "up/sub/weights.bin").write_bytes(WEIGHTS)
    (tmp_path / "up/sub/ü #1?.txt").write_text("umlaut")
    api.create_repo(name)
    api.upload_folder(repo_id=name, folder_path=tmp_path / "up")
    set_up(hub, import_endpoint=open_server.url)
    made = import_source(hub, owner, f"hf:{name}", "copies/one")
    theirs = {i.path: i.blob_id for i in api.list_repo_tree(name, recursive=True) if hasattr(i, "blob_id")}
    ours = {e.path: e.oid for e in browse.listing(hub, made.commit, recursive=True) if e.kind is EntryKind.FILE}
    assert ours == theirs and contents(hub, made.repo)["sub/weights.bin"] == WEIGHTS
    assert made.shown["source_revision"] == api.model_info(name).sha
    tag = api.create_commit(name, [], commit_message="nothing") and api.create_tag(name, tag="v/1", revision="main")
    assert tag is None and import_source(hub, owner, f"hf:{name}@v/1", "copies/one").already
    with pytest.raises(NotFound):
        import_source(hub, owner, f"hf:{name}@nowhere")


def test_a_dataset_from_another_headwater(hub, owner, open_server):
    api = HfApi(open_server.url, token="x")
    name = f"local/{fresh('data')}"
    api.create_repo(name, repo_type="dataset")
    api.upload_file(path_or_fileobj=b"a,b\n1,2\n", path_in_repo="train.csv", repo_id=name, repo_type="dataset")
    set_up(hub, import_endpoint=open_server.url)
    made = import_source(hub, owner, f"hf:datasets/{name}", "copies/data")
    assert made.repo.kind is Kind.DATASET and contents(hub, made.repo)["train.csv"] == b"a,b\n1,2\n"


def test_a_private_repo_of_another_headwater_comes_with_its_token_alone(hub, owner, team_server: Team):
    name = f"alice/{fresh('private')}"
    HfApi(team_server.url, token=team_server.tokens["alice"]).create_repo(name, private=True)
    set_up(hub, import_endpoint=team_server.url)
    with pytest.raises((NotFound, Forbidden)):
        import_source(hub, owner, f"hf:{name}", "copies/private")
    set_up(hub, import_token=team_server.tokens["alice-read"])
    assert import_source(hub, owner, f"hf:{name}", "copies/private").repo.private


# --- killed at any moment


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from server import opened_hub
from headwater.hub.accounts import owner_actor
from headwater.hub.imports import import_source
with opened_hub(Path(sys.argv[1]), import_endpoint=sys.argv[2]) as hub:
    print("ready", flush=True)
    import_source(hub, owner_actor(hub), "hf:01-ai/Yi-tiny")
    print("done", flush=True)
"""


def test_killed_at_any_moment_nothing_half_is_visible_and_the_next_attempt_finishes(tmp_path):
    import random

    fake = FakeHub({f"f{n}.bin": b"\0" + os.urandom(400_000) for n in range(6)} | {"README.md": CARD})
    data, rng = tmp_path / "data", random.Random(11)
    with opened_hub(data):
        pass
    try:
        for _ in range(6):
            child = subprocess.Popen([sys.executable, "-c", KILLED, data, fake.url, str(Path(__file__).parents[1])],
                                     stdout=subprocess.PIPE)
            child.stdout.readline()
            time.sleep(rng.uniform(0, 0.25))
            child.send_signal(signal.SIGKILL)
            child.communicate()
            with opened_hub(data) as hub:
                repo = hub.repos.find(Kind.MODEL, "01-ai", "Yi-tiny")
                assert repo is None or contents(hub, repo) in ({}, fake.files)
        with opened_hub(data, import_endpoint=fake.url) as hub:
            from headwater.hub.accounts import owner_actor

            made = import_source(hub, owner_actor(hub), "hf:01-ai/Yi-tiny")
            assert contents(hub, made.repo) == fake.files and leftovers(hub) == []
    finally:
        fake.server.shutdown()
        fake.server.server_close()
