"""Each family transformers has, as safetensors, end to end: the engine sends what transformers' own
apply_chat_template sends, and its answer ends at each of the family's ends. All in one process beside torch."""

import json
import os
import subprocess
import sysconfig
from pathlib import Path

import pytest
from clients import VENVS, torch_python
from conversations import FAMILIES, IN_TORCH, Family
from llama_cpp_files import vocabulary
from page import PAGE
from talkers import QUESTIONS, SAYS

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.xdist_group("torch"),
              pytest.mark.skipif(not (VENVS / "torch" / "ready").exists(), reason="no environment with torch")]


@pytest.fixture(scope="module")
def heard(tmp_path_factory) -> dict:
    return talk_in_torch(tmp_path_factory.mktemp("torch"))


def talk_in_torch(folder: Path) -> dict:
    """What torch_talks.py prints."""
    # that environment's packages first, then ours for what it lacks
    (folder / "sitecustomize.py").write_text(f"import sys\nsys.path.append({sysconfig.get_path('purelib')!r})\n")
    models = vocabulary("qwen2").parents[1]
    paths = f"{folder}:{ROOT / 'src'}:{ROOT / 'tests'}:{Path(__file__).parent}"
    done = subprocess.run([torch_python(), Path(__file__).with_name("torch_talks.py")], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": paths, "HEADWATER_TEST_MODELS": str(models)}, timeout=280)
    assert done.returncode == 0, done.stderr[-4000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("family", [family for family in FAMILIES if family.name in IN_TORCH],
                         ids=lambda family: family.name)
def test_a_family_in_safetensors_sends_what_transformers_would_and_stops_at_each_end(family: Family, heard):
    found = heard[family.name]
    assert found["class"] == family.shape.hf
    if family.wording:
        assert found["sent"] == found["own"]
    assert set(found["stops"]) == family.stops
    assert [end for end, _ in found["ends"]] == [family.ends[0], family.ends[-1]]
    for answer, prompt in zip(found["told"], found["sent"], strict=True):
        said = answer["choices"][0]
        assert (said["message"]["content"], said["finish_reason"]) == (SAYS, "stop")
        assert answer["usage"]["prompt_tokens"] == len(prompt)
    assert len(found["told"]) == len(QUESTIONS)
    assert found["row"] in PAGE.read_text("utf-8"), "run: python tools/families.py"


def test_every_architecture_that_transformers_has_is_among_them():
    shapes = {family.shape.hf for family in FAMILIES if family.shape.hf}
    assert {family.shape.hf for family in FAMILIES if family.name in IN_TORCH} == shapes
