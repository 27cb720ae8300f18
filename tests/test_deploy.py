"""The files in deploy/ do what docs/deployment.md says of them, with the real programs."""

import shutil
import socket
import subprocess
from pathlib import Path

import httpx
import pytest
from server import HubProcess, fresh

DEPLOY = Path(__file__).parents[1] / "deploy"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")


@pytest.fixture
def proxied(tmp_path):
    """(hub, https address of the nginx before it), with deploy/nginx.conf but for its names and ports."""
    if NGINX is None:
        pytest.skip("nginx is not installed: apt-get install nginx-light")
    cert, key = tmp_path / "hub.pem", tmp_path / "hub.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                    "-keyout", key, "-out", cert], check=True, capture_output=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with HubProcess(tmp_path / "data", public_url=f"https://127.0.0.1:{port}") as hub:
        site = (DEPLOY / "nginx.conf").read_text()
        for ours, theirs in (("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
                             ("/etc/ssl/certs/hub.example.org.pem", str(cert)),
                             ("/etc/ssl/private/hub.example.org.key", str(key)),
                             ("http://127.0.0.1:8080", hub.url)):
            assert ours in site
            site = site.replace(ours, theirs)
        conf = tmp_path / "nginx.conf"
        conf.write_text(f"daemon off; pid {tmp_path}/pid; error_log stderr; user root;\nevents {{}}\n"
                        f"http {{ access_log off; client_body_temp_path {tmp_path}/body;\n{site}\n}}\n")
        process = subprocess.Popen([NGINX, "-c", conf], stderr=subprocess.DEVNULL)
        try:
            yield hub, f"https://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait(10)


def test_behind_nginx_a_stranger_is_not_taken_for_the_local_owner(proxied):
    hub, address = proxied
    transport = httpx.HTTPTransport(verify=False, retries=5)
    with httpx.Client(base_url=address, transport=transport, timeout=30) as outside:
        name = fresh()
        assert outside.post("/api/repos/create", json={"name": name}).status_code == 401
        assert httpx.post(f"{hub.url}/api/repos/create", json={"name": name}).status_code == 200
        assert outside.get(f"/api/models/local/{name}").json()["id"] == f"local/{name}"
        token = httpx.post(f"{hub.url}/api/headwater/tokens", json={"name": "outside"}).json()["token"]
        batch = outside.post(f"/local/{name}.git/info/lfs/objects/batch", headers={"authorization": f"Bearer {token}"},
                             json={"operation": "upload", "objects": [{"oid": "a" * 64, "size": 5}]}).json()
        href = batch["objects"][0]["actions"]["upload"]["href"]
        assert href.startswith(address), "links carry the address the outside uses"


def test_the_unit_names_the_command_and_stops_it_as_the_hub_wants():
    unit = (DEPLOY / "headwater.service").read_text()
    assert "headwater up" in unit and "HEADWATER_DATA=" in unit and "KillMode=mixed" in unit
    if analyze := shutil.which("systemd-analyze"):
        done = subprocess.run([analyze, "verify", DEPLOY / "headwater.service"], capture_output=True, text=True)
        wrong = [line for line in done.stderr.splitlines() if "headwater.service" in line
                 and "is not executable" not in line and "No such file" not in line]
        assert not wrong, wrong


def test_the_container_file_copies_what_the_build_needs():
    text = (DEPLOY / "Containerfile").read_text()
    for name in ("pyproject.toml", "README.md", "LICENSE", "src"):
        assert name in text and (DEPLOY.parent / name).exists()
