"""Two hubs on one PostgreSQL, and one of them killed: quotas and responses are those of both."""

from __future__ import annotations

import time

import openai
import pytest
from model_hub import keep, toy
from server import HubProcess, opened_hub

from headwater.core.types import Access, Actor
from headwater.hub.accounts import create_user, issue_token, owner_actor, set_password

pytestmark = pytest.mark.xdist_group("two gateways")


@pytest.fixture
def two(tmp_path, postgres_url):
    """(one hub, the other, tokens by name)"""
    data, flags = tmp_path / "data", {"database_url": postgres_url, "workers_max": 1}
    with opened_hub(data, database_url=postgres_url) as hub:
        owner = owner_actor(hub)
        keep(hub, owner, "local", "river", **toy())
        keep(hub, owner, "local", "endless", **toy("tick tock ", tokens_per_second=50))
        people = {name: Actor(create_user(hub, owner, name, "a long password"), Access.ADMIN)
                  for name in ("ann", "bob")}
        tokens = {name: issue_token(hub, person, "tests")[0] for name, person in people.items()}
        set_password(hub, owner, owner.name, "a long password")
    with HubProcess(data, user_requests_per_day=11, **flags) as one, \
            HubProcess(data, user_requests_per_day=11, **flags) as other:
        yield one, other, tokens


def client(server, token):
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key=token, max_retries=0, timeout=60)


def until(question, seconds=10.0):
    start = time.monotonic()
    while not question():
        assert time.monotonic() - start < seconds, f"not within {seconds} s"
        time.sleep(0.05)


def test_responses_and_quotas_are_those_of_both_and_outlive_a_hub_killed(two):
    one, other, tokens = two
    ann, across, bob = client(one, tokens["ann"]), client(other, tokens["ann"]), client(other, tokens["bob"])
    first = ann.responses.create(model="local/river", input="Where does it run?", max_output_tokens=5)
    second = across.responses.create(model="local/river", input=[{"role": "user", "content": "And then?"}],
                                     previous_response_id=first.id, max_output_tokens=5)
    items = list(ann.responses.input_items.list(second.id, order="asc", limit=1))
    assert [(item.type, item.role) for item in items] == [
        ("message", "user"), ("message", "assistant"), ("message", "user")]
    assert items[0].content[0].text == "Where does it run?" and items[1].content[0].text == first.output_text
    assert [item.id for item in across.responses.input_items.list(second.id)] == [item.id for item in items][::-1]
    for ask in (bob.responses.retrieve, bob.responses.delete, bob.responses.cancel, bob.responses.input_items.list):
        with pytest.raises(openai.NotFoundError):
            ask(first.id)
    with pytest.raises(openai.NotFoundError):
        bob.responses.create(model="local/river", input="x", previous_response_id=first.id)

    # made here, cancelled there
    endless = ann.responses.create(model="local/endless", input="x", background=True)
    assert endless.status == "in_progress"
    until(lambda: across.responses.retrieve(endless.id).output)
    with pytest.raises(openai.BadRequestError, match="still in progress"):
        across.responses.create(model="local/river", input="x", previous_response_id=endless.id)
    assert across.responses.cancel(endless.id).status == "cancelled"
    assert ann.responses.retrieve(endless.id).status == "cancelled"

    # counted together: three were asked of models by now
    for server in (one, other) * 4:
        client(server, tokens["ann"]).chat.completions.create(model="local/river", max_tokens=1, messages=[
            {"role": "user", "content": "x"}])
    time.sleep(3.5)  # quotas.FLUSH_S + FRESH_S
    for asking in (ann, across):
        with pytest.raises(openai.RateLimitError, match="11 of 11 requests") as spent:
            asking.responses.create(model="local/river", input="x")
        assert spent.value.response.headers["x-ratelimit-remaining-requests"] == "0"
        assert 0 < int(spent.value.response.headers["retry-after"]) <= 86_401
    bob.responses.create(model="local/river", input="x", max_output_tokens=1)

    # killed and started anew, it knows all of it; the other never stumbled
    dying = client(one, tokens["bob"]).responses.create(model="local/endless", input="x", background=True)
    one.kill()
    assert across.responses.retrieve(second.id).output_text == second.output_text
    one.start()
    again = client(one, tokens["ann"])
    assert again.responses.retrieve(second.id).output_text == second.output_text
    with pytest.raises(openai.RateLimitError, match="11 of 11"):
        again.responses.create(model="local/river", input="x")
    again.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        across.responses.retrieve(first.id)
    bob.responses.delete(dying.id)
    with pytest.raises(openai.NotFoundError):
        client(one, tokens["bob"]).responses.retrieve(dying.id)
    for server in (one, other):
        assert "Traceback" not in server.tail(), server.tail()
