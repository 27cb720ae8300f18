"""Stop strings over any split into tokens, against the whole text cut at the first of them."""

from hypothesis import example, given
from hypothesis import strategies as st

from headwater.engines._worker import Held

letters = st.text("ab\n河🌊", max_size=4)


@given(tokens=st.lists(letters, max_size=30), stop=st.lists(letters.filter(bool), max_size=3))
@example(tokens=["a", "a", "b"], stop=["aab"])
@example(tokens=["ab", "a"], stop=["ba", "bab"])
def test_what_is_said_is_the_text_before_the_first_stop_string(tokens, stop):
    held, said = Held(stop), ""
    for token in tokens:
        said += held.add(token)
        if held.stopped:
            break
    else:
        said += held.rest()
    text = "".join(tokens)
    assert text.startswith(said)
    assert not any(s in said for s in stop)
    assert held.stopped == any(s in text for s in stop)
    if not held.stopped:
        assert said == text


@given(tokens=st.lists(letters, max_size=30), stop=st.lists(letters.filter(bool), max_size=3))
def test_nothing_is_held_back_longer_than_a_stop_string(tokens, stop):
    held = Held(stop)
    for token in tokens:
        held.add(token)
        if held.stopped:
            return
        assert len(held.text) < max((len(s) for s in stop), default=1)
