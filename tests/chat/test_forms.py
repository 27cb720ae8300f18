"""A model runs in the form this processor reads fastest, if that computes the same; the repo's file is never touched.

Real llama.cpp workers throughout, on a small Llama of random weights; the real model is probed in tests/soak.
"""

import asyncio
import io
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from chat_made import asking, chat_over, until
from engine_samples import snapshot_of
from gguf import GGUFReader
from gguf.quants import dequantize
from llama_made import llama_gguf

from headwater.chat import form, form_probe
from headwater.chat.admission import Estimate
from headwater.chat.complete import complete
from headwater.chat.form import Form
from headwater.chat.form_probe import Trial
from headwater.chat.types import ChatModel, Started
from headwater.core.errors import BadInput, CorruptFile, EngineFailed
from headwater.core.settings import load
from headwater.core.types import ANYONE
from headwater.core.work import Cancelled
from headwater.engines import ENGINES, _forms
from headwater.weights.gguf import read_header
from headwater.weights.source import FileSource


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Path:
    """A folder with a Llama in Q4_0, its embedding in F32."""
    folder = tmp_path_factory.mktemp("small") / "model"
    folder.mkdir()
    llama_gguf(folder.parent / "wide.gguf")
    _forms.write(folder.parent / "wide.gguf", folder / "small.Q4_0.gguf", "Q4_0", io.BytesIO())
    return folder


def header(path):
    with FileSource(path) as source:
        return read_header(source)


def numbers(tensor):
    return dequantize(tensor.data, tensor.tensor_type)


@pytest.mark.parametrize("name", _forms.FORMS)
def test_a_form_has_the_same_metadata_and_weights_in_more_bits(small, tmp_path, name):
    source, target = small / "small.Q4_0.gguf", tmp_path / "form.gguf"
    _forms.write(source, target, name, io.BytesIO())
    before, after = GGUFReader(source), GGUFReader(target)  # the format's own reader
    assert list(before.fields) == list(after.fields)
    changed = 0
    for one, two in zip(before.tensors, after.tensors, strict=True):
        assert one.name == two.name and list(one.shape) == list(two.shape)
        p, q = numbers(one), numbers(two)
        assert np.abs(p - q).max() <= np.abs(p).max() / 120
        if one.tensor_type != two.tensor_type:
            changed += 1
            assert two.tensor_type.name == name and two.n_bytes > one.n_bytes
    assert changed == 14 and not list(tmp_path.glob("*.part"))
    assert abs(target.stat().st_size - _forms.size_of(header(source), name)) < 32 * len(before.tensors)


def test_fewer_bits_are_offered_only_when_asked_for(small):
    wide = header(small.parent / "wide.gguf")
    assert _forms.forms_of(wide) == () and _forms.forms_of(wide, smaller=True) == ("Q4_0",)
    assert _forms.forms_of(header(small / "small.Q4_0.gguf")) == ("Q8_0", "BF16")
    for tensor in header(small / "small.Q4_0.gguf").tensors:
        assert all(_forms.bits(_forms.target(tensor, name)) >= _forms.bits(tensor.dtype) for name in _forms.FORMS)


def test_a_cut_file_makes_no_form(small, tmp_path):
    cut = tmp_path / "cut.gguf"
    cut.write_bytes((small / "small.Q4_0.gguf").read_bytes()[:-1000])
    with pytest.raises(CorruptFile):
        _forms.write(cut, tmp_path / "form.gguf", "Q8_0", io.BytesIO())
    assert list(tmp_path.iterdir()) == [cut]


def world(tmp_path, small):
    settings = load(tmp_path, {"llamacpp_build": "wheel"}, environ={})
    snapshot = snapshot_of(small, "me/small")
    model = ChatModel(snapshot.repo, None, ENGINES["llamacpp"], "small.Q4_0.gguf")
    return settings, replace_exact(model), snapshot


def replace_exact(model):
    from chat_made import Shelf

    return replace(model, commit=Shelf({}).commit("me/small"))


def test_a_probe_measures_each_form_and_keeps_one_verdict(tmp_path, small):
    settings, model, snapshot = world(tmp_path, small)
    stages = []
    found = form_probe.probe(settings, model, snapshot, lambda done, total=None, **said: stages.append(said["stage"]))
    assert [trial["form"] for trial in found["trials"]] == ["as stored", "Q8_0", "BF16"]
    for trial in found["trials"][1:]:
        assert trial["kl"] < form_probe.KL_MAX  # of random weights every choice is close, so which is first may differ
        assert (trial["refused"] is None) == (trial["agree"] >= form_probe.AGREE_MIN)
        assert trial["read_rate"] > 0 and trial["write_rate"] > 0
    assert "storing as Q8_0" in stages and "trying BF16" in stages
    build = ENGINES["llamacpp"].build()
    files = {path.name for path in form.folder_of(settings, "0" * 64).iterdir()}
    assert files == {"verdict.json"} | ({f"{found['form']}.gguf"} if found["form"] else set())
    chosen = form.chosen(settings, model, snapshot, build)
    assert (chosen and chosen.name) == found["form"]
    assert form.chosen(settings, model, snapshot, "another build") is None, "a verdict holds for one build"
    assert form.forget(settings, "0" * 64) and form.chosen(settings, model, snapshot, build) is None


def test_a_cancelled_probe_leaves_no_process_and_no_verdict(tmp_path, small):
    settings, model, snapshot = world(tmp_path, small)

    def cancel(done, total=None, **said):
        if said["stage"].startswith("storing"):
            raise Cancelled

    with pytest.raises(Cancelled):
        form_probe.probe(settings, model, snapshot, cancel)
    assert form.verdicts(settings, "0" * 64) == {}


def test_what_has_no_forms_is_refused(tmp_path, small):
    settings, model, snapshot = world(tmp_path, small)
    for other in (replace(model, engine=ENGINES["markov"]), replace(model, path="small-00001-of-00002.gguf")):
        with pytest.raises(BadInput, match="as it is stored"):
            form_probe.probe(settings, other, snapshot, lambda *_, **__: None)


def trial(name, seconds, refused=None):
    return Trial(name, 1, 1.0, 1.0, seconds, refused=refused)


def test_the_winner_is_faithful_and_a_tenth_faster():
    own = trial("as stored", 1.0)
    assert form_probe._winner([own, trial("Q8_0", 0.95)]) is own
    assert form_probe._winner([own, trial("Q8_0", 0.8), trial("BF16", 0.7)]).form == "BF16"
    assert form_probe._winner([own, trial("Q8_0", 0.8), trial("Q4_0", 0.1, "something else")]).form == "Q8_0"
    assert form_probe._winner([own]) is own


def test_the_divergence_is_that_of_the_distributions():
    p, q = {1: np.log(0.5), 2: np.log(0.25), 3: np.log(0.25)}, {1: np.log(0.25), 2: np.log(0.5), 3: np.log(0.25)}
    kl, agree = form_probe.compare([p], [q])
    assert kl == pytest.approx(0.5 * np.log(2) - 0.25 * np.log(2)) and agree == 0.0
    assert form_probe.compare([p, p], [p, p]) == (pytest.approx(0), 1.0)
    assert form_probe.compare([{1: -0.7, 2: -0.71}], [{2: -0.7, 1: -0.71}])[1] == 1.0, "no clear first choice"


def test_a_chosen_form_is_run_and_named_and_written_again_when_lost(tmp_path, small):
    folder = small
    settings, model, snapshot = world(tmp_path / "data", small)
    (tmp_path / "data").mkdir()
    build = ENGINES["llamacpp"].build()
    form.decide(settings, "0" * 64, build, {"form": "Q8_0", "bytes": 400_000, "batch": 64})

    async def one():
        async with chat_over({"me/small": folder}, data=tmp_path / "data", llamacpp_build="wheel") as (chat, _):
            async with aclosing(complete(chat, ANYONE, asking("me/small", max_tokens=2, temperature=0))) as events:
                first = await anext(events)
            await until(form.chosen(settings, model, snapshot, build).file.is_file)
            assert isinstance(first, Started)
            return first.origin.build

    assert asyncio.run(one()) == build, "there is no file yet: as stored, and it is written meanwhile"
    assert asyncio.run(one()) == f"{build}, weights as Q8_0"


def test_a_form_counts_with_its_own_bytes(small):
    snapshot = snapshot_of(small, "me/small")
    own = snapshot.files[0].size
    model = ChatModel(snapshot.repo, None, ENGINES["llamacpp"], "small.Q4_0.gguf")
    grown = form.grown(Estimate(own + 7, 3, 9), Form("BF16", Path("x"), own * 3), snapshot, model)
    assert grown == Estimate(own * 3 + 7, 3, 9)


def test_a_converter_that_fails_says_why(tmp_path, small):
    settings, model, snapshot = world(tmp_path, small)
    with pytest.raises(EngineFailed, match="cannot be stored as"):
        form.write(settings, replace(model, path="gone.gguf"), snapshot, Form("Q8_0", tmp_path / "x.gguf", 1),
                   lambda _: None)
