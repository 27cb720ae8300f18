"""Templates from strangers: what they can do here, and what they cannot."""

import time

import pytest

from headwater.weights.template import Case, TemplateFailed, one_bos, render, render_apart

HELLO = Case([{"role": "user", "content": "hello <b> & 你好"}], True, {})


@pytest.mark.parametrize(("template", "want"), [
    ("{{ messages[0] | tojson }}", '{"role": "user", "content": "hello <b> & 你好"}'),
    ("{% generation %}{{ messages[0].content }}{% endgeneration %}", "hello <b> & 你好"),
    ("{% for m in messages %}{% if loop.first %}{% continue %}{% endif %}x{% endfor %}", ""),
    ("{{ strftime_now('%Y')[:2] }}", "20"),
    ("{{ tools }}{{ 'yes' if add_generation_prompt }}", "Noneyes"),
    ("{% set ns = namespace(n=0) %}{% set ns.n = 2 %}{{ ns.n }}", "2"),
])
def test_what_published_templates_use_is_there(template, want):
    assert render(template, HELLO) == want


def test_a_refusal_says_what_the_template_says():
    with pytest.raises(TemplateFailed, match="System role not supported"):
        render("{{ raise_exception('System role not supported') }}", HELLO)


@pytest.mark.parametrize("template", [
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ messages.append(1) }}",
    "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "{% for x in ().__class__.__base__.__subclasses__() %}{{ x }}{% endfor %}",
    "{{ '{0.__class__.__init__.__globals__}'.format(messages) }}",
    "{% include '/etc/passwd' %}",
    "{% if %}", "{{ 1 // 0 }}", "{{ range(10**9) }}",
])
def test_no_template_reaches_python_and_a_broken_one_says_so(template):
    with pytest.raises(TemplateFailed):
        render(template, HELLO)


@pytest.mark.parametrize("template", [
    "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    "{{ 'a' * 10**10 }}",
    "{% set ns = namespace(s='aaaaaaaa') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
    "{{ 7 ** (10 ** 10) }}",
])
def test_a_template_that_would_never_end_is_stopped_within_seconds(template):
    begun = time.monotonic()
    answers = render_apart(template, [HELLO, HELLO])
    assert time.monotonic() - begun < 12
    assert [a.text for a in answers] == [None, None] and all(a.error for a in answers)


def test_the_child_answers_every_case_and_sees_none_of_our_environment(monkeypatch):
    monkeypatch.setenv("HEADWATER_SECRET", "x")
    good, bad = render_apart("{{ messages[0].content if add_generation_prompt else raise_exception('no') }}",
                             [HELLO, HELLO._replace(opening=False)])
    assert (good.text, bad.error) == ("hello <b> & 你好", "no")


@pytest.mark.parametrize(("text", "bos", "wanted", "want"), [
    ("hi", "<s>", True, "<s>hi"), ("<s>hi", "<s>", True, "<s>hi"), ("<s><s>hi", "<s>", True, "<s>hi"),
    ("<s>hi", "<s>", False, "<s>hi"), ("hi", "<s>", False, "hi"), ("hi", None, True, "hi"),
])
def test_bos_stands_once_or_not_at_all(text, bos, wanted, want):
    assert one_bos(text, bos, wanted) == want
