"""`headwater trace NAME --api`: a closed model of another hub held beside models of this one, all toys."""

from __future__ import annotations

import contextlib
import re

import httpx
import pytest
from model_hub import model_hub, toy

SAME = "The river is old."
PAGE = {"accept": "text/html", "accept-language": "en"}


@pytest.fixture(scope="module")
def hubs(tmp_path_factory):
    """(this hub, the one that is closed)"""
    with contextlib.ExitStack() as stack:
        ours = {"twin": toy(SAME), "one": toy("A stone lies here."), "two": toy("Nobody went there.")}
        yield tuple(stack.enter_context(model_hub(tmp_path_factory.mktemp(name) / "data", models, real=False))[0]
                    for name, models in (("ours", ours), ("closed", {"secret": toy(SAME), "other": toy("No.")})))


@pytest.fixture
def trace(hw, hubs, monkeypatch):
    monkeypatch.setenv("HEADWATER_URL", hubs[0].url)
    monkeypatch.delenv("HEADWATER_DATA")
    controls = ["--control", "local/one", "--control", "local/two"]
    return lambda model, *more: hw("trace", "local/twin", "--api", f"{hubs[1].url}/v1", "--model", model, *controls,
                                   "--prompts", "100", *more)


def test_what_it_takes_is_said_before_and_nothing_is_asked(trace):
    said = trace("local/secret", "--dry-run")
    assert said.code == 0 and "100 requests go to local/secret" in said.err and "300 to models of the hub" in said.err
    assert trace("local/secret", "--dry-run", "--json").json["closed"] == 100


def test_what_broke_off_goes_on_and_the_result_stands_on_the_models_page(trace, hubs, monkeypatch):
    monkeypatch.setenv("HEADWATER_API_KEY", "sk-very-secret")
    from headwater.trace.asking import Remote

    asked, ask = [], Remote.ask

    def broken(remote, prompt):
        asked.append(prompt)
        if len(asked) == 50:
            raise KeyboardInterrupt
        return ask(remote, prompt)

    with monkeypatch.context() as patched:
        patched.setattr(Remote, "ask", broken)
        with pytest.raises(SystemExit):
            trace("local/secret")
    said = trace("local/secret")
    assert "60 requests go to local/secret" in said.err and "(40 are in already)" in said.err
    assert said.code == 0 and "behaves alike; its weights are not seen" in said.out
    assert "100 of 100 answers begin alike" in said.out and "no proof of descent" in said.err
    again = trace("local/secret", "--json").json
    assert again["alike"] and again["weights"] == "not seen" and again["tests"] == 1
    assert [(c["name"], c["agree"]) for c in again["controls"]] == [("local/one", 0), ("local/two", 0)]
    listed = httpx.get(f"{hubs[0].url}/api/headwater/behaviour/of/local/twin").json()
    assert [one["id"] for one in listed] == [again["id"]]
    page = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", httpx.get(f"{hubs[0].url}/local/twin/lineage",
                                                                 headers=PAGE).text))
    assert "local/secret" in page and "Behaves alike; its weights are not seen" in page
    assert "100 of 100 answers begin alike" in page and "learnt from the other" in page
    assert "sk-very-secret" not in page + str(listed) + hubs[0].tail()


def test_a_model_that_answers_otherwise_is_said_not_to_be_more_alike_than_unrelated_ones(trace):
    said = trace("local/other", "--json").json
    assert not said["alike"] and said["agree"] == 0 and said["p"] == 1.0
    assert "does not answer more alike than unrelated models" in trace("local/other").out


def test_orders_that_cannot_tell_anything_are_refused(trace, hw, hubs):
    for argv, why in ((["trace", "local/twin", "local/one", "--api", "http://x", "--model", "m"], "beside one model"),
                      (["trace", "local/twin", "--api", "http://x"], "--model"),
                      (["trace", "local/twin", "--model", "m"], "--api")):
        refused = hw(*argv)
        assert refused.code != 0 and why in refused.err
    url, path = hubs[0].url, "/api/headwater/behaviour"
    good = {"repo": "local/twin", "url": "https://host/v1/completions", "model": "m",
            "controls": ["local/one", "local/two"], "prompts": 100}
    for changed, status in (({"url": "https://me:key@host/v1/completions"}, 400), ({"prompts": 50}, 400),
                            ({"url": "https://host/v1/completions?key=1"}, 400), ({"url": "https://host/v1/x"}, 400),
                            ({"controls": ["local/one"]}, 400), ({"controls": []}, 400),
                            ({"controls": ["local/one", "local/twin"]}, 400), ({"repo": "local/nobody"}, 404)):
        assert httpx.post(url + path, json=good | changed).status_code == status, changed
    order = httpx.post(url + path, json=good).json()
    assert order["state"] == "asking" and len(order["questions"]) == 100
    early = httpx.post(f"{url}{path}/{order['id']}/count")
    assert early.status_code == 409 and "0 of 100" in early.text
    out_of_turn = httpx.post(f"{url}{path}/{order['id']}/answers", json={"first": 7, "answers": ["a"]})
    assert out_of_turn.status_code == 409
    assert httpx.get(f"{url}{path}/nothing").status_code == 404
