"""/v1/files by OpenAI's own client, and files shown to a model in chat."""

from __future__ import annotations

import base64
import io

import httpx
import openai
import pdf_made
import pytest
from model_hub import model_hub, toy
from openai import OpenAI

pytestmark = pytest.mark.xdist_group("openai_files")  # one hub for the module
STORY = "The capital of Freedonia is the city of Klopstokia."
PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    with model_hub(tmp_path_factory.mktemp("files") / "data", {"toy": toy("It runs to the sea.")}) as running:
        yield running


@pytest.fixture(scope="module")
def client(served):
    with OpenAI(base_url=f"{served[0].url}/v1", api_key="any", max_retries=0, timeout=60) as client:
        yield client


def put(client, name, data, purpose="user_data"):
    return client.files.create(file=(name, data), purpose=purpose)


def ask(client, *parts, model="local/smollm2"):
    return client.chat.completions.create(model=model, temperature=0, max_tokens=24, messages=[
        {"role": "user", "content": [*parts, {"type": "text", "text": "What is the capital of Freedonia?"}]}])


def test_a_file_is_kept_listed_read_and_deleted(client):
    made = put(client, "notes/长江.txt", b"river notes")
    assert (made.object, made.bytes, made.filename, made.purpose, made.status) == (
        "file", 11, "长江.txt", "user_data", "processed")
    assert client.files.retrieve(made.id) == made
    assert client.files.content(made.id).read() == b"river notes"
    assert made in list(client.files.list()) and made in list(client.files.list(purpose="user_data"))
    assert made not in list(client.files.list(purpose="vision"))
    assert client.files.delete(made.id).deleted
    for call in (client.files.retrieve, client.files.content, client.files.delete):
        with pytest.raises(openai.NotFoundError):
            call(made.id)


def test_the_client_pages_through_many_files(client):
    made = [put(client, f"{n}.txt", str(n).encode()).id for n in range(5)]
    seen = [file.id for file in client.files.list(limit=2, order="asc")]
    assert [name for name in seen if name in made] == made and len(set(seen)) == len(seen)


def test_purposes_and_files_that_are_none_are_refused(client, served):
    with pytest.raises(openai.BadRequestError, match="fine-tune"):
        put(client, "a.jsonl", b"{}", "fine-tune")
    with pytest.raises(openai.BadRequestError, match="no picture"):
        put(client, "a.png", b"text", "vision")
    with pytest.raises(openai.BadRequestError, match="empty"):
        put(client, "a.txt", b"")
    with pytest.raises(openai.BadRequestError, match="encrypted"):
        put(client, "a.pdf", pdf_made.pdf("secret", password="open sesame"))
    with pytest.raises(openai.BadRequestError, match="expires_after"):
        client.files.create(file=("a.txt", b"a"), purpose="user_data",
                            expires_after={"anchor": "created_at", "seconds": 3600})
    url = f"{served[0].url}/v1/files"
    for kwargs in ({"content": b"nonsense"}, {"data": {"purpose": "user_data"}}, {"files": {"file": b"a"}},
                   {"content": b"--x\r\n", "headers": {"content-type": "multipart/form-data; boundary=x"}},
                   {"content": b"a", "headers": {"content-type": "multipart/form-data"}}):
        answer = httpx.post(url, **kwargs)
        assert answer.status_code == 400 and answer.json()["error"]["message"], kwargs
    assert httpx.get(f"{url}/file-nowhere").status_code == 404
    assert httpx.get(url, params={"after": "file-nowhere"}).status_code == 404


def test_a_file_past_the_limit_is_refused_and_leaves_nothing(tmp_path):
    from server import HubProcess
    with HubProcess(tmp_path / "data", chat_file_max_bytes=1_000_000, user_files_max_bytes=1_500_000) as server:
        with OpenAI(base_url=f"{server.url}/v1", api_key="any", max_retries=0) as client:
            with pytest.raises(openai.APIStatusError) as told:
                put(client, "big.bin", io.BytesIO(b"\0" * 1_000_001))
            assert told.value.status_code == 413 and "1,000,000 bytes" in str(told.value)
            put(client, "fits.bin", b"\0" * 1_000_000)
            with pytest.raises(openai.APIStatusError, match="1,500,000 bytes together"):
                put(client, "more.bin", b"\1" * 900_000)
            assert len(list(client.files.list())) == 1
        assert not list((tmp_path / "data" / "tmp").iterdir())


def test_the_model_reads_a_text_file_and_a_pdf(client):
    plain = ask(client)
    text = put(client, "a.txt", STORY.encode())
    document = put(client, "a.pdf", pdf_made.pdf(STORY))
    inline = {"filename": "a.pdf", "file_data": "data:application/pdf;base64,"
              + base64.b64encode(pdf_made.pdf(STORY)).decode()}
    answers = [ask(client, {"type": "file", "file": file})
               for file in ({"file_id": text.id}, {"file_id": document.id}, inline)]
    assert "Klopstokia" not in plain.choices[0].message.content
    for answer in answers:
        assert "Klopstokia" in answer.choices[0].message.content
        assert answer.usage.prompt_tokens > plain.usage.prompt_tokens + 10


def test_a_picture_goes_to_the_model_as_a_picture(client, served):
    made = put(client, "dot.png", PNG, "vision")
    content = httpx.get(f"{served[0].url}/v1/files/{made.id}/content")
    assert content.headers["content-type"] == "image/png" and content.content == PNG
    for file in ({"file_id": made.id}, {"file_data": base64.b64encode(PNG).decode(), "filename": "dot.png"}):
        with pytest.raises(openai.BadRequestError, match=r"projector|pictures|see"):
            ask(client, {"type": "file", "file": file})


@pytest.mark.parametrize("file", [
    None, {}, {"file_id": "file-nowhere"}, {"file_id": 3}, {"file_data": "é"}, {"file_data": 3},
    {"file_data": base64.b64encode(b"\0\1\2").decode()}, {"file_data": base64.b64encode(b"%PDF-1.4").decode()},
    {"file_id": "a", "file_data": "a"}, {"file_url": "http://169.254.169.254/"}])
def test_a_part_that_names_no_readable_file_is_refused_before_the_model_is_asked(client, file):
    with pytest.raises((openai.BadRequestError, openai.NotFoundError)):
        ask(client, {"type": "file", "file": file}, model="local/toy")


def test_one_request_cannot_show_files_without_bound(client):
    made = put(client, "a.txt", b"a")
    with pytest.raises(openai.APIStatusError) as told:
        ask(client, *[{"type": "file", "file": {"file_id": made.id}}] * 101, model="local/toy")
    assert told.value.status_code == 413


def test_what_can_be_read_in_a_file_is_told_to_its_owner(client, served):
    document, picture = put(client, "a.pdf", pdf_made.pdf(STORY)), put(client, "dot.png", PNG, "vision")
    base = f"{served[0].url}/api/headwater/files"
    told = httpx.get(f"{base}/{document.id}/text").json()
    assert (told["text"], told["media_type"], told["name"]) == (STORY, "application/pdf", "a.pdf")
    assert httpx.get(f"{base}/{picture.id}/text").json()["text"] is None
    assert httpx.get(f"{base}/file-nowhere/text").status_code == 404


def test_html_somebody_uploaded_is_never_opened_in_the_hubs_name(client, served):
    made = put(client, "x.html", b"<script>alert(1)</script>")
    answer = httpx.get(f"{served[0].url}/v1/files/{made.id}/content")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"].startswith("attachment")
    assert "sandbox" in answer.headers["content-security-policy"]


def test_nobody_reaches_the_file_of_another(team_server):
    with team_server.client("alice") as alice, team_server.client("bob") as bob, team_server.client() as stranger:
        made = alice.post("/v1/files", files={"file": ("a.txt", b"whispered")}, data={"purpose": "user_data"}).json()
        for path in (f"/v1/files/{made['id']}", f"/v1/files/{made['id']}/content",
                     f"/api/headwater/files/{made['id']}/text"):
            assert alice.get(path).status_code == 200
            assert bob.get(path).status_code == 404 and stranger.get(path).status_code == 401
        assert bob.delete(f"/v1/files/{made['id']}").status_code == 404
        assert made["id"] not in [file["id"] for file in bob.get("/v1/files").json()["data"]]
        with team_server.client("alice-one") as one:
            assert one.get("/v1/files").status_code == 403


def test_a_response_reads_files_and_goes_on_with_them(client):
    document = put(client, "a.pdf", pdf_made.pdf(STORY))
    question = {"type": "input_text", "text": "What is the capital of Freedonia?"}
    inline = {"filename": "a.txt", "file_data": base64.b64encode(STORY.encode()).decode()}
    for file in ({"file_id": document.id}, inline):
        made = client.responses.create(model="local/smollm2", temperature=0, max_output_tokens=24, input=[
            {"role": "user", "content": [{"type": "input_file", **file}, question]}])
        assert "Klopstokia" in made.output_text
    items = client.responses.input_items.list(made.id)
    assert items.data[0].content[0].type == "input_file"  # kept as it was sent
    more = client.responses.create(model="local/smollm2", input="Say it again.", previous_response_id=made.id,
                                   max_output_tokens=4)
    assert more.usage.input_tokens > made.usage.input_tokens
    picture = put(client, "dot.png", PNG, "vision")
    with pytest.raises(openai.BadRequestError, match=r"projector|pictures|see"):
        client.responses.create(model="local/smollm2", input=[{"role": "user", "content": [
            {"type": "input_image", "file_id": picture.id, "detail": "auto"}, question]}])
    for part in ({"type": "input_file", "file_url": "http://169.254.169.254/"}, {"type": "input_file"},
                 {"type": "input_image", "file_id": document.id}):
        with pytest.raises(openai.BadRequestError):
            client.responses.create(model="local/toy", input=[{"role": "user", "content": [part]}])
