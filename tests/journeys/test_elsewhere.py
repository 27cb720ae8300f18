"""The same journeys as a team would run the hub: records in PostgreSQL, blobs in S3; accounts and tokens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from clients import run_client
from conftest_clients import Client
from server import HubProcess, Team, fresh

TOPICS = Path(__file__).parent / "topics"
CHOSEN = ("round_trip", "commits", "refs", "filesystem", "repos")


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The address of a running S3, as moto plays it, with a bucket `journey`."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    boto3.client("s3", endpoint_url=f"http://{host}:{port}", aws_access_key_id="k", aws_secret_access_key="s",
                 region_name="us-east-1").create_bucket(Bucket="journey")
    yield f"http://{host}:{port}"
    server.stop()


def test_a_client_does_the_same_on_postgresql_and_s3(postgres_url: str, s3: str, tmp_path: Path) -> None:
    options = f'{{"endpoint": "{s3}", "access_key_id": "k", "secret_access_key": "s", "region": "us-east-1"}}'
    with HubProcess(tmp_path / "data", sweep_every_s=0, database_url=postgres_url, blobs_url="s3://journey/hub",
                    blobs_options=options) as server:
        client = Client("2.4.0", server.url, tmp_path, "hf_whoever")
        try:
            for topic in CHOSEN:
                client.run(TOPICS / f"{topic}.py")
        finally:
            client.close()
        assert not list(server.data.glob("blobs/??")) and not (server.data / "headwater.db").exists()
        assert "Traceback" not in server.tail(), server.tail()


ASK = """
from huggingface_hub import HfApi
from huggingface_hub.utils import HfHubHTTPError, RepositoryNotFoundError
import os
alice, bob = HfApi(), HfApi(token="BOB")
assert alice.whoami()["name"] == "alice"
assert [o["name"] for o in alice.whoami()["orgs"]] == ["acme"]
for name in ("alice/NAME", "acme/NAME"):
    alice.create_repo(name, private=True)
    alice.upload_file(path_or_fileobj=os.urandom(50_000), path_in_repo="w.bin", repo_id=name)
assert bob.list_repo_files("acme/NAME") == ["w.bin"]
try:
    bob.model_info("alice/NAME")
except RepositoryNotFoundError:
    pass
else:
    raise AssertionError("bob sees what is alice's own")
for call in (lambda: bob.upload_file(path_or_fileobj=b"x", path_in_repo="x", repo_id="acme/NAME"),
             lambda: bob.delete_repo("acme/NAME"), lambda: bob.create_repo("alice/other-NAME")):
    try:
        call()
    except HfHubHTTPError as error:
        assert error.response.status_code == 403 and "may not" in str(error), error
    else:
        raise AssertionError("bob may not do that")
assert "NAME" not in str([m.id for m in bob.list_models(author="alice")])
assert [m.id for m in bob.list_models(author="acme", search="NAME")] == ["acme/NAME"]
try:
    HfApi(token="hf_wrong").whoami()
except Exception as error:  # 0.36.2 raises the error of requests here
    assert error.response.status_code == 401, error
else:
    raise AssertionError("a wrong token opened something")
print("done")
"""


@pytest.mark.parametrize("version", ["0.36.2", "2.4.0"])
def test_a_client_with_a_token_may_what_its_account_may_and_is_told_why_not_more(team_server: Team, version: str,
                                                                                 tmp_path: Path) -> None:
    code = ASK.replace("NAME", fresh("own")).replace("BOB", team_server.tokens["bob"])
    assert run_client(version, code, team_server.url, tmp_path, token=team_server.tokens["alice"]) == "done\n"
