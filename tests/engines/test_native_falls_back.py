"""Where the build made here cannot run a model the wheel does, and everybody is told. Real compilers, real SmolLM2."""

import asyncio
import contextlib
import os
import signal
import subprocess
from contextlib import aclosing
from dataclasses import replace

import pytest
from chat_made import asking, chat_over
from engine_samples import cut_smollm2, smollm2, snapshot_of

from headwater.chat.complete import complete
from headwater.chat.process import environment
from headwater.chat.types import Started
from headwater.core.errors import EngineFailed, Unavailable
from headwater.core.settings import load
from headwater.core.types import ANYONE
from headwater.engines import ENGINES, _native, _trial

FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
BROKEN = {
    "runs into an instruction there is not": "__builtin_trap();",
    "ends": "return 3;",
}

WELL_AT_FIRST = """
    int port = 0, on = 1;
    for (int n = 1; n + 1 < argc; n++) if (!strcmp(argv[n], "--port")) port = atoi(argv[n + 1]);
    int s = socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in at = {};
    at.sin_family = AF_INET; at.sin_port = htons(port); at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(s, (sockaddr *) &at, sizeof at) || listen(s, 9)) return 5;
    for (;;) {
        char said[4096] = {}; int c = accept(s, 0, 0);
        read(c, said, sizeof said - 1);
        if (strncmp(said, "GET /health", 11)) __builtin_trap();
        const char * well = "HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\nConnection: close\\r\\n\\r\\n";
        write(c, well, strlen(well)); close(c);
    }
"""
INCLUDES = "".join(f"#include <{name}>\n" for name in
                   ("cstring", "cstdlib", "unistd.h", "sys/socket.h", "netinet/in.h", "arpa/inet.h"))


def build_of(data, code, name="llamacpp-9-here"):
    """A native build whose server does this."""
    made = data / "made"
    made.mkdir(parents=True)
    subprocess.run(["c++", "-w", "-shared", "-fPIC", "-x", "c++", "-", "-o", str(made / _native.LIBRARY)], check=True,
                   input=f"{INCLUDES}int llama_server(int argc, char ** argv) {{ {code} }}\n".encode())
    native = _native.Native(name, "9", "small 1.0", "0" * 64, _native.processor(), "c++", 1, 1.0)
    _native.keep(data, made, native)
    return native


def say(tmp_path, folder, **flags):
    async def story():
        async with (chat_over({"me/m": folder}, data=tmp_path, **flags) as (chat, _),
                    aclosing(complete(chat, ANYONE, asking("me/m", max_tokens=2, temperature=0))) as events):
            return [event async for event in events]

    return asyncio.run(story())


@pytest.mark.parametrize("how", BROKEN)
def test_a_build_that_cannot_run_a_model_is_left_for_the_wheel_and_the_receipt_says_so(tmp_path, how):
    smollm2(tmp_path / "model")
    native = build_of(tmp_path, BROKEN[how])
    wheel, settings = ENGINES["llamacpp"].build(), load(tmp_path, {}, environ={})
    (started,) = (event for event in say(tmp_path, tmp_path / "model") if isinstance(event, Started))
    assert started.origin.build == wheel
    listed = {one["name"]: one for one in _native.listed(settings, wheel, None)}[native.name]
    assert "1 model runs on the wheel instead, the last is me/m" in listed["problem"] and listed["chosen"]
    if "instruction" in how:
        assert signal.Signals.SIGILL.name in listed["problem"]
    snapshot = snapshot_of(tmp_path / "model", "me/m")
    assert ENGINES["llamacpp"].settings_for(settings, snapshot, FILE).llamacpp_build == "wheel", "not tried again"
    other = replace(snapshot, files=())
    assert ENGINES["llamacpp"].settings_for(settings, other, FILE) is settings, "other models still run on it"
    _native.remove(tmp_path, native.name)
    assert build_of(tmp_path, "return 0;") and _native.refused(tmp_path, native) == {}, "a new build is tried anew"


def test_who_wants_the_native_build_is_told_that_it_fails(tmp_path):
    smollm2(tmp_path / "model")
    build_of(tmp_path, BROKEN["ends"])
    with pytest.raises(EngineFailed, match="exit code 3"):
        say(tmp_path, tmp_path / "model", llamacpp_build="native")


def test_a_broken_model_is_not_held_against_the_build(tmp_path):
    cut_smollm2(tmp_path / "model")
    native = build_of(tmp_path, BROKEN["ends"])
    with pytest.raises(EngineFailed):
        say(tmp_path, tmp_path / "model")
    assert _native.refused(tmp_path, native) == {}


def test_a_build_that_was_removed_meanwhile_is_not_made_again_by_its_failures(tmp_path):
    native = build_of(tmp_path, "return 0;")
    _native.remove(tmp_path, native.name)
    _native.refuse(tmp_path, native, "0" * 64, "me/m", "it ended")
    assert os.listdir(tmp_path / "engines") == []


def test_a_build_that_dies_of_an_instruction_while_it_answers_is_left_from_the_next_load_on(tmp_path):
    smollm2(tmp_path / "model")
    native = build_of(tmp_path, WELL_AT_FIRST)

    async def story():
        async with chat_over({"me/m": tmp_path / "model"}, data=tmp_path) as (chat, _):
            builds = []
            for _ in range(2):
                async with aclosing(complete(chat, ANYONE, asking("me/m", max_tokens=2))) as events:
                    with contextlib.suppress(EngineFailed):
                        builds += [event.origin.build async for event in events if isinstance(event, Started)]
                for _ in range(100):  # until the hub has seen it end
                    if _native.refused(tmp_path, native):
                        break
                    await asyncio.sleep(0.05)
            return builds

    assert asyncio.run(story())[-1] == ENGINES["llamacpp"].build()
    assert "ended unasked" in str(_native.refused(tmp_path, native))


def test_the_trial_tells_how_a_build_ended_and_passes_the_wheel(tmp_path):
    native = build_of(tmp_path, WELL_AT_FIRST)
    with pytest.raises(Unavailable, match="killed by SIGILL"):
        _trial.trial(tmp_path / "engines" / native.name, environment("k"), lambda *_, **__: None)
    model = tmp_path / "trial.gguf"
    _trial.write_model(model)
    answers = _trial._answers(model, environment("k"), lambda *_, **__: None)
    assert [len(one) for one in answers] == [_trial.WORDS] * len(_trial.LENGTHS)
    assert all(max(one.values()) - min(one.values()) > 1 for one in answers), "a wrong kernel would show"
