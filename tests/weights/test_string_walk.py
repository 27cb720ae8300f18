"""Many strings are walked at once and end up where walking one by one does."""

from hypothesis import given
from hypothesis import strategies as st

from headwater.weights.string_walk import walk


def one_by_one(window, at, most):
    found = []
    for _ in range(most):
        stop = at + 8 + int.from_bytes(window[at:at + 8], "little")
        if stop > len(window) or at + 8 > len(window):
            break
        found.append((at + 8, stop))
        at = stop
    return found


TEXTS = st.one_of(st.binary(max_size=12), st.just(b""), st.just(bytes(9)), st.binary(min_size=250, max_size=260),
                  st.sampled_from([b"word", b"\x04" + bytes(7), b"\x00\x03" + bytes(7) + b"abc"]))


@given(st.lists(TEXTS, max_size=30), st.binary(max_size=5), st.integers(0, 40), st.integers(0, 60))
def test_strings_of_any_bytes_are_found_where_their_lengths_say(texts, before, most, cut):
    window = before + b"".join(len(text).to_bytes(8, "little") + text for text in texts)
    window = window[:max(len(window) - cut, len(before))] if cut < 30 else window
    starts, stops = walk(window, len(before), most)
    assert list(zip(starts.tolist(), stops.tolist(), strict=True)) == one_by_one(window, len(before), most)


@given(st.binary(max_size=300), st.integers(0, 40))
def test_bytes_that_are_no_strings_are_walked_as_far_as_they_hold(window, at):
    at = min(at, len(window))
    starts, stops = walk(window, at, 100)
    assert list(zip(starts.tolist(), stops.tolist(), strict=True)) == one_by_one(window, at, 100)


def test_a_length_beyond_every_file_ends_the_walk():
    window = (3).to_bytes(8, "little") + b"abc" + b"\xff" * 8 + b"more"
    assert [part.tolist() for part in walk(window, 0, 5)] == [[8], [11]]
