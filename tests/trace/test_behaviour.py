"""Answers compared against those of unrelated models."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from trace_made import made, noisy, print_of, save_hf

from headwater.core.errors import BadInput, Unavailable
from headwater.trace.asking import Remote
from headwater.trace.behaviour import beginning, likenesses, prompts, with_behaviour
from headwater.trace.judge import judge
from headwater.trace.judgement import Verdict
from headwater.trace.null import NullLibrary


def model(seed, *, of=None, share=0.0, common=0.3):
    """Answers to 400 prompts: `common` of them are what anybody says, `share` are of the model `of`."""
    rng = np.random.default_rng(seed)
    own = [f"word{n}" if rng.random() > common else "the" for n in rng.integers(0, 5000, 400)]
    if of is None:
        return own
    return [theirs if rng.random() < share else mine for mine, theirs in zip(own, of, strict=True)]


def test_a_student_is_alike_and_strangers_are_not():
    parent = model(0)
    child = model(1, of=parent, share=0.5)
    found = likenesses(child, {"parent": parent, "other": model(2), "third": model(3)},
                       {"x": model(4), "y": model(5), "z": model(6)})
    assert [(one.name, one.alike) for one in found] == [("parent", True), ("other", False), ("third", False)]
    assert found[0].interval[0] < found[0].agree / 400 < found[0].interval[1] and found[0].p < 1e-10


def test_unrelated_models_are_called_alike_less_often_than_the_level_says():
    called = 0
    for trial in range(40):
        sets = [model(1000 + 8 * trial + k) for k in range(8)]
        found = likenesses(sets[0], {str(k): sets[k] for k in range(1, 6)}, {"x": sets[6], "y": sets[7]})
        called += sum(one.adjusted < 0.05 for one in found)
    assert called <= 4  # 5 % of 40 families would be 2


def test_silence_is_no_agreement():
    nothing = [""] * 200
    assert likenesses(nothing, {"mute": nothing}, {"x": ["a"] * 200})[0].agree == 0


def test_too_few_prompts_are_never_enough():
    same = [f"w{n}" for n in range(50)]
    found = likenesses(same, {"twin": same}, {"x": ["a"] * 50})[0]
    assert found.adjusted < 1e-10 and not found.alike


def test_without_controls_or_with_other_prompts_nothing_is_said():
    with pytest.raises(BadInput, match="unrelated"):
        likenesses(["a"], {"x": ["a"]}, {})
    with pytest.raises(BadInput):
        likenesses(["a"], {"x": ["a", "b"]}, {"y": ["c"]})


def test_prompts_are_different_and_always_the_same():
    assert len(set(prompts(400))) == 400 and prompts(400) == prompts(400)
    assert len(set(prompts(1000))) == 1000
    with pytest.raises(BadInput):
        prompts(1001)


def test_behaviour_stands_beside_the_weights_and_not_in_their_place(tmp_path):
    null = NullLibrary.load()
    one, stranger, child = (print_of(save_hf(tmp_path / str(n), m))
                            for n, m in enumerate((made(0), made(1), noisy(made(0), 0.1))))
    parent = model(0)
    like = likenesses(model(1, of=parent, share=0.6), {"parent": parent}, {"x": model(4)})[0]
    apart = likenesses(model(2), {"parent": parent}, {"x": model(4)})[0]
    found = with_behaviour(judge(one, stranger, null), like)
    assert found.verdict is Verdict.BEHAVES_ALIKE and not found.verdict.kin
    assert found.evidence[-1].name == "behaviour" and "no weights of each other" in found.says
    assert with_behaviour(judge(one, child, null), like).verdict is Verdict.DESCENDS
    assert with_behaviour(judge(one, child, null), apart).verdict is Verdict.DESCENDS
    assert with_behaviour(judge(one, stranger, null), apart).verdict is Verdict.SAME_ARCHITECTURE


@pytest.fixture
def api():
    """A model behind HTTP that only talks; the last word of a prompt is its answer. /broken answers no JSON."""
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append((self.path, self.headers.get("Authorization"), body))
            if self.path.endswith("/v1/chat/completions"):
                said = body["messages"][-1]["content"].split()[-1]
                self._send(200, json.dumps({"choices": [{"message": {"content": f" {said.upper()} "}}]}))
            elif "busy" in self.path and len(seen) % 2:
                self._send(429, "later", {"retry-after": "0"})
            elif "busy" in self.path:
                self._send(200, json.dumps({"choices": [{"text": body["prompt"].split()[-1]}]}))
            else:
                self._send(200 if "broken" in self.path else 404, "no such thing")

        def _send(self, status, text, headers=None):
            self.send_response(status)
            for name, value in (headers or {}).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_):
            pass

    seen = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", seen
    server.shutdown()
    server.server_close()


def test_a_model_is_asked_through_its_api_at_temperature_0_in_the_way_it_has(api):
    url, seen = api
    remote = Remote(f"{url}/v1/", "m", "sk-secret")
    assert remote.settle("The cat") == " CAT " and remote.ask("A dog") == " DOG "
    assert remote.url == f"{url}/v1/chat/completions"
    assert [path for path, _, _ in seen] == ["/v1/completions", *["/v1/chat/completions"] * 2]
    assert all(key == "Bearer sk-secret" and body["temperature"] == 0 for _, key, body in seen)
    named = Remote(f"{url}/v1/chat/completions", "m")
    assert named.settle("The end") == " END " and named.url == remote.url
    remote.close()
    named.close()


def test_a_model_that_is_busy_is_asked_again_when_it_says_so(api):
    url, seen = api
    remote = Remote(f"{url}/busy/v1", "m")
    assert remote.settle("The cat") == "cat" and remote.ask("A dog") == "dog" and len(seen) == 4
    remote.close()


def test_an_api_that_fails_is_said_to_without_the_key(api):
    for url in (f"{api[0]}/broken", f"{api[0]}/nowhere", "http://127.0.0.1:9/v1"):
        remote = Remote(url, "m", "sk-secret", timeout=5)
        with pytest.raises(Unavailable) as error:
            remote.settle("hello")
        assert "sk-secret" not in str(error.value) and "m " in str(error.value)
        remote.close()
    with pytest.raises(BadInput, match="address"):
        Remote("ftp://host", "m")


def test_of_an_answer_its_beginning_counts_without_the_prompt_said_again():
    assert beginning("The cat", "  the  CAT sat on\nthe mat and purred for an hour") == "sat on the m"
    assert beginning("The cat", "… sat.") == "sat" and beginning("The cat", " ") == ""


def test_candidates_tried_before_are_corrected_for():
    child = model(1, of=model(0), share=0.12)
    alone = likenesses(child, {"parent": model(0)}, {"x": model(4)})[0]
    tenth = likenesses(child, {"parent": model(0)}, {"x": model(4)}, [0.5] * 9)[0]
    assert tenth.p == alone.p and tenth.adjusted == pytest.approx(min(1, 10 * alone.p))
