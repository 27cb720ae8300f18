"""transformers: a tiny model and tokenizer pushed and loaded by AutoModel and AutoTokenizer; sharded too."""

import tempfile

import torch
from huggingface_hub import HfApi
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

torch.manual_seed(0)
words = ["<unk>", "<s>", "</s>", "the", "river", "begins", "here"]
tokenizer = PreTrainedTokenizerFast(
    tokenizer_object=Tokenizer(models.WordLevel({w: n for n, w in enumerate(words)}, unk_token="<unk>")),
    unk_token="<unk>", bos_token="<s>", eos_token="</s>")
tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
config = LlamaConfig(vocab_size=len(words), hidden_size=32, intermediate_size=64, num_hidden_layers=2,
                     num_attention_heads=2, num_key_value_heads=1, max_position_embeddings=64, bos_token_id=1,
                     eos_token_id=2)
model = LlamaForCausalLM(config).eval()
asked = tokenizer("the river begins here", return_tensors="pt")["input_ids"]
api, me = HfApi(), HfApi().whoami()["name"]

for name, options in (("tiny-llama", {}), ("tiny-llama-shards", {"max_shard_size": "20KB"})):
    model.push_to_hub(f"{me}/{name}", **options)
    tokenizer.push_to_hub(f"{me}/{name}")
    with tempfile.TemporaryDirectory() as cache:
        loaded = AutoModelForCausalLM.from_pretrained(f"{me}/{name}", cache_dir=cache).eval()
        words_back = AutoTokenizer.from_pretrained(f"{me}/{name}", cache_dir=cache)
        assert torch.equal(loaded(asked).logits, model(asked).logits)
        assert loaded.generate(asked, max_new_tokens=3, do_sample=False).shape[1] > asked.shape[1]
        assert words_back("the river")["input_ids"] == tokenizer("the river")["input_ids"]
    found = api.get_safetensors_metadata(f"{me}/{name}")
    assert sum(found.parameter_count.values()) == sum(p.numel() for p in model.parameters())
info = api.model_info(f"{me}/tiny-llama")
assert info.config["model_type"] == "llama" and info.library_name == "transformers", info
assert any(".safetensors.index.json" in f for f in api.list_repo_files(f"{me}/tiny-llama-shards"))
