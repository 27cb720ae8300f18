"""Which file of a repo is loaded, and by which engine."""

import asyncio

import pytest
from chat_made import chat_over
from engine_samples import markov

from headwater.chat.models import find, find_all
from headwater.core.errors import EngineFailed, ModelNotFound
from headwater.core.types import ANYONE
from headwater.engines import ENGINES


@pytest.mark.parametrize("files, chosen", [
    (["README.md", "model.gguf"], "model.gguf"),
    (["m-Q8_0.gguf", "m-Q4_K_M.gguf", "m-f16.gguf"], "m-Q4_K_M.gguf"),
    (["m-Q4_1.gguf", "m-BF16.gguf"], "m-Q4_1.gguf"),
    (["mmproj-model-f16.gguf", "ggml-model-Q4_K_M.gguf"], "ggml-model-Q4_K_M.gguf"),
    (["mmproj-model-f16.gguf"], None),
    (["lora-adapter.gguf", "model.GGUF"], "model.GGUF"),
    (["m-00002-of-00003.gguf", "m-00001-of-00003.gguf", "m-00003-of-00003.gguf"], "m-00001-of-00003.gguf"),
    (["q8/m-Q4_K_M.gguf", "m-Q8_0.gguf"], "m-Q8_0.gguf"),
    (["model.safetensors", "config.json"], None),
])
def test_llama_cpp_takes_the_usual_quantisation_and_the_first_part(files, chosen):
    assert ENGINES["llamacpp"].accepts(files) == chosen
    assert ENGINES["llamacpp"].accepts(files[::-1]) == chosen


def over(folders, story):
    async def run():
        async with chat_over(folders) as (chat, shelf):
            story(chat, shelf)

    asyncio.run(run())


def test_models_no_engine_takes_are_not_listed_and_say_so(tmp_path):
    markov(tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "README.md").write_text("words")

    def story(chat, shelf):
        assert [model.repo.full_name for model in find_all(chat, ANYONE)] == ["me/a"]
        with pytest.raises(ModelNotFound, match="No engine here runs me/b"):
            find(chat, ANYONE, "me/b")

    over({"me/a": tmp_path / "a", "me/b": tmp_path / "b"}, story)


def test_an_engine_that_is_not_installed_says_how_to_install_it(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "model.gguf").write_bytes(b"GGUF")
    monkeypatch.setattr("headwater.engines.llamacpp.PACKAGE", "no_such_package")

    def story(chat, shelf):
        assert find_all(chat, ANYONE) == []
        with pytest.raises(EngineFailed, match="pip install"):
            find(chat, ANYONE, "me/a")

    over({"me/a": tmp_path / "a"}, story)


def test_files_of_a_revision_are_listed_once(tmp_path, monkeypatch):
    markov(tmp_path / "a")
    asked = []

    def story(chat, shelf):
        chat.list_files = lambda commit: asked.append(commit) or shelf.files(commit)
        for _ in range(3):
            assert find(chat, ANYONE, "me/a").exact_name == f"me/a@{shelf.commit('me/a').oid}"
            find_all(chat, ANYONE)
        assert len(asked) == 1

    over({"me/a": tmp_path / "a"}, story)
