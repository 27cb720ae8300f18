"""What is said of a model, from genuine configs of the families and a real GGUF file. What no file says is None."""

import numpy as np
import pytest
import safetensors.numpy
from real_models import smollm2_gguf

from headwater.weights import safetensors as ours
from headwater.weights.describe import Description, Papers, Template, describe
from headwater.weights.header import Clip, Header
from headwater.weights.read import read_header
from headwater.weights.source import BytesSource, FileSource

LLAMA3 = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 4096, "num_hidden_layers": 32,
          "num_attention_heads": 32, "num_key_value_heads": 8, "max_position_embeddings": 8192, "vocab_size": 128256,
          "tie_word_embeddings": False}
GPT2 = {"architectures": ["GPT2LMHeadModel"], "model_type": "gpt2", "n_embd": 768, "n_layer": 12, "n_head": 12,
        "n_positions": 1024, "vocab_size": 50257}
GEMMA3 = {"architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3", "text_config": {
    "hidden_size": 2560, "num_hidden_layers": 34, "num_attention_heads": 8, "num_key_value_heads": 4}}
BAICHUAN = {"architectures": ["BaichuanForCausalLM"], "model_type": "baichuan", "model_max_length": 4096,
            "auto_map": {"AutoConfig": "configuration_baichuan.BaichuanConfig"}}


def header(**arrays: np.ndarray) -> Header:
    return ours.read_header(BytesSource(safetensors.numpy.save(arrays)))


def gguf(**metadata: object) -> Header:
    return Header("gguf", {key.replace("__", "."): value for key, value in metadata.items()}, ())


def test_what_no_file_says_is_none():
    assert describe(None, Papers()) == Description()


@pytest.mark.parametrize("config, shape", [
    (LLAMA3, ("LlamaForCausalLM", 32, 4096, 32, 8, 8192, 128256)),
    (GPT2, ("GPT2LMHeadModel", 12, 768, 12, None, 1024, 50257)),
    (GEMMA3, ("Gemma3ForConditionalGeneration", 34, 2560, 8, 4, None, None)),
    (BAICHUAN, ("BaichuanForCausalLM", None, None, None, None, 4096, None)),
    ({"_class_name": "StableDiffusionPipeline"}, ("StableDiffusionPipeline", *[None] * 6)),
])
def test_the_shape_is_read_under_the_names_each_family_uses(config, shape):
    said = describe(None, Papers(config=config))
    assert (said.architecture, said.layers, said.hidden_size, said.heads, said.kv_heads, said.context_length,
            said.vocabulary) == shape


@pytest.mark.parametrize("value", [0, -1, True, "12", 1.5, None, [], 1 << 60])
def test_a_number_that_cannot_be_a_count_says_nothing(value):
    assert describe(None, Papers(config={"num_hidden_layers": value})).layers is None


def test_a_real_gguf_file_is_described_from_itself_alone():
    with FileSource(smollm2_gguf()) as source:
        said = describe(read_header(source), Papers(), header_path="SmolLM2.gguf")
    assert (said.format, said.architecture, said.family) == ("gguf", "llama", "llama")
    assert (said.layers, said.hidden_size, said.heads, said.kv_heads) == (30, 576, 9, 3)
    assert (said.context_length, said.vocabulary, said.tied_embeddings) == (8192, 49152, True)
    assert (said.parameters, said.dtype, said.quantisation) == (134_515_008, "Q4_1", "Q4_1")
    assert said.nbytes == {"Q8_0": 30_081_024, "F32": 140_544, "Q4_1": 66_355_200}
    assert (said.tokenizer, said.licence) == ("byte-level BPE (smollm)", "apache-2.0")
    assert said.chat_template.source == "SmolLM2.gguf" and "<|im_start|>" in said.chat_template.text


def test_the_type_of_most_bytes_is_the_models_type():
    said = describe(header(w=np.ones((8, 8), np.float16), norm=np.ones(8, np.float32)), Papers())
    assert (said.dtype, said.parameters, said.elements) == ("F16", 72, {"F32": 8, "F16": 64})


def test_packed_elements_are_not_counted_as_parameters():
    packed = {"quantization_config": {"quant_method": "gptq", "bits": 4}}
    said = describe(header(w=np.ones((8, 8), np.int32)), Papers(config=packed))
    assert (said.parameters, said.elements, said.quantisation) == (None, {"I32": 64}, "gptq 4-bit")


@pytest.mark.parametrize("names, config, tied", [
    (["model.embed_tokens.weight"], LLAMA3, True),
    (["model.embed_tokens.weight", "lm_head.weight"], LLAMA3, False),
    (["model.embed_tokens.weight", "lm_head.weight"], {"architectures": ["LlamaForCausalLM"]}, None),
    (["encoder.weight"], {"tie_word_embeddings": True}, True),
    (["embeddings.word_embeddings.weight"], {"architectures": ["BertModel"]}, None),
])
def test_tied_embeddings_are_told_by_the_weights_before_the_config(names, config, tied):
    assert describe(header(**{name: np.ones(1) for name in names}), Papers(config=config)).tied_embeddings is tied


def tokenizer(**templates: str) -> dict[str, object]:
    return {"chat_template": [{"name": name, "template": text} for name, text in templates.items()]}


@pytest.mark.parametrize("papers, expected", [
    (Papers(chat_template="A", processor_template="B", tokenizer_config={"chat_template": "C"}),
     ("A", "chat_template.jinja")),
    (Papers(processor_template="B", tokenizer_config={"chat_template": "C"}), ("B", "chat_template.json")),
    (Papers(tokenizer_config={"chat_template": "C"}), ("C", "tokenizer_config.json")),
    (Papers(tokenizer_config=tokenizer(tool_use="T", default="D")), ("D", "tokenizer_config.json")),
    (Papers(tokenizer_config=tokenizer(tool_use="T")), ("G", "m.gguf")),
    (Papers(tokenizer_config={"chat_template": 7}), ("G", "m.gguf")),
    (Papers(), ("G", "m.gguf")),
])
def test_the_chat_template_comes_from_the_first_file_that_has_one(papers, expected):
    said = describe(gguf(tokenizer__chat_template="G"), papers, header_path="m.gguf")
    assert said.chat_template == Template(*expected)


def test_values_given_for_each_layer_count_only_when_all_are_the_same():
    same = gguf(general__architecture="a", a__attention__head_count=(4, 4, 4))
    other = gguf(general__architecture="a", a__attention__head_count=(4, 8, 4))
    long = gguf(general__architecture="a", a__attention__head_count=Clip((4,) * 64, 80))
    assert [describe(h, Papers()).heads for h in (same, other, long)] == [4, None, None]


@pytest.mark.parametrize("papers, kind", [
    (Papers(tokenizer_config={"tokenizer_class": "Qwen2Tokenizer"}, files=("tokenizer.json",)), "Qwen2Tokenizer"),
    (Papers(files=("tokenizer.json", "tokenizer.model")), "Hugging Face tokenizers"),
    (Papers(files=("tokenizer.model",)), "SentencePiece"), (Papers(files=("qwen.tiktoken",)), "tiktoken"),
    (Papers(files=("config.json",)), None),
])
def test_the_tokenizer_is_named_by_its_config_or_its_file(papers, kind):
    assert describe(None, papers).tokenizer == kind


def test_hostile_values_in_metadata_are_not_believed():
    said = describe(gguf(general__architecture=5, general__file_type="x", general__license=Clip("a", 9),
                         tokenizer__ggml__tokens=7, tokenizer__ggml__model=("x",)), Papers(config={
                             "architectures": "Llama", "quantization_config": {"quant_method": ["gptq"], "bits": "4"}}))
    assert said == Description(format="gguf")
