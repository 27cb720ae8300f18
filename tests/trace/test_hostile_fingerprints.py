"""Fingerprints come from strangers too: what is in them ends in a judgement or in CorruptFile, soon."""

import json
import time

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trace_made import made, print_of, save_hf

from headwater.core.errors import CorruptFile
from headwater.trace.fingerprint import Fingerprint
from headwater.trace.judge import judge
from headwater.trace.null import NullLibrary

NULL = NullLibrary.load()


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    return print_of(save_hf(tmp_path_factory.mktemp("m"), made(0, layers=2, d=64, f=128)))


def parts(data):
    length = int.from_bytes(data[8:12], "little")
    return json.loads(data[12:12 + length]), data[12 + length:]


def whole(head, rest):
    text = json.dumps(head).encode()
    return b"HWTRACE1" + len(text).to_bytes(4, "little") + text + rest


STRANGE = st.sampled_from([None, True, -1, 0, 1, 7, 2**62, 10**400, 1.5, float("nan"), float("inf"), "", "gated",
                           "x" * 5000, [], {}, [0], {"a": 1}])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_value_in_any_place_is_judged_or_refused(real, data):
    head, rest = parts(real.to_bytes())
    at = head
    while True:
        key = data.draw(st.sampled_from(sorted(at) if isinstance(at, dict) else list(range(len(at)))))
        if isinstance(at[key], dict | list) and at[key] and data.draw(st.booleans()):
            at = at[key]
            continue
        at[key] = data.draw(STRANGE)
        break
    try:
        found = Fingerprint.from_bytes(whole(head, rest))
    except CorruptFile:
        return
    for pair in ((found, real), (real, found)):
        json.dumps(judge(*pair, NULL).as_json(), allow_nan=False)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**31), st.integers(1, 64))
def test_any_bytes_in_the_arrays_are_judged(real, seed, size):
    head, rest = parts(real.to_bytes())
    rng = np.random.default_rng(seed)
    noise = bytearray(rest)
    start = int(rng.integers(0, len(noise)))
    stop = min(start + size * 64, len(noise))
    noise[start:stop] = bytes([int(rng.choice([255, 0, 127]))]) * (stop - start)
    found = Fingerprint.from_bytes(whole(head, bytes(noise)))
    json.dumps(judge(found, real, NULL).as_json(), allow_nan=False)


@pytest.mark.parametrize("change", [
    lambda head: head["layers"].extend(head["layers"][:1] * 5000),
    lambda head: head["layers"][0]["raw"].update({f"attention{n}": 0 for n in range(5000)}),
    lambda head: head["notes"].extend(["x"] * 5000),
])
def test_a_small_file_that_asks_for_much_work_is_refused_at_once(real, change):
    head, rest = parts(real.to_bytes())
    change(head)
    started = time.monotonic()
    with pytest.raises(CorruptFile):
        Fingerprint.from_bytes(whole(head, rest))
    assert time.monotonic() - started < 2
