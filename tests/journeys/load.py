"""Run by test_loaders.py where torch is: libraries that load models and datasets, told only where the hub is."""

import tempfile
from pathlib import Path

import torch
from datasets import Dataset, load_dataset
from diffusers import DDPMPipeline, DDPMScheduler, DiffusionPipeline, UNet2DModel
from huggingface_hub import HfApi
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

api = HfApi()


def same(a: torch.nn.Module, b: torch.nn.Module) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_transformers() -> None:
    words = {word: n for n, word in enumerate(["<unk>", "the", "river", "runs", "home"])}
    raw = Tokenizer(models.WordLevel(words, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="<unk>")
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(vocab_size=5, hidden_size=16, intermediate_size=32, num_hidden_layers=2,
                                         num_attention_heads=2, max_position_embeddings=32))
    folder = tempfile.mkdtemp()
    model.save_pretrained(folder, max_shard_size="4KB")
    tokenizer.save_pretrained(folder)
    assert len(list(Path(folder).glob("*.safetensors"))) > 1, "the sharded path is the one to try"
    api.create_repo("local/tiny-llama")
    api.upload_folder(repo_id="local/tiny-llama", folder_path=folder)
    loaded = AutoModelForCausalLM.from_pretrained("local/tiny-llama")
    assert same(model, loaded)
    ids = AutoTokenizer.from_pretrained("local/tiny-llama")("the river runs", return_tensors="pt")
    assert ids["input_ids"].tolist() == [[1, 2, 3]]
    assert loaded.generate(**ids, max_new_tokens=3, do_sample=False).shape == (1, 6)
    model.push_to_hub("local/pushed-llama")
    assert same(model, AutoModelForCausalLM.from_pretrained("local/pushed-llama"))


def test_diffusers() -> None:
    unet = UNet2DModel(sample_size=8, in_channels=3, out_channels=3, layers_per_block=1, block_out_channels=(8, 8),
                       norm_num_groups=4, down_block_types=("DownBlock2D", "DownBlock2D"),
                       up_block_types=("UpBlock2D", "UpBlock2D"))
    folder = tempfile.mkdtemp()
    DDPMPipeline(unet, DDPMScheduler(num_train_timesteps=4)).save_pretrained(folder)
    api.create_repo("local/tiny-diffusion")
    api.upload_folder(repo_id="local/tiny-diffusion", folder_path=folder)
    loaded = DiffusionPipeline.from_pretrained("local/tiny-diffusion")
    assert same(unet, loaded.unet)
    assert loaded(num_inference_steps=2, output_type="np").images.shape == (1, 8, 8, 3)


def test_datasets() -> None:
    api.create_repo("local/rivers", repo_type="dataset")
    for name, text in (("train", "name,km\nYangtze,6300\nRhine,1230\n"), ("test", "name,km\nPo,652\n")):
        api.upload_file(repo_id="local/rivers", repo_type="dataset", path_or_fileobj=text.encode(),
                        path_in_repo=f"data/{name}.csv")
    rivers = load_dataset("local/rivers")
    assert rivers["train"]["km"][:] == [6300, 1230] and rivers["test"]["name"][:] == ["Po"]
    Dataset.from_dict({"a": [1, 2, 3]}).push_to_hub("local/pushed")
    assert load_dataset("local/pushed", split="train")["a"][:] == [1, 2, 3]


for test in (test_transformers, test_diffusers, test_datasets):
    test()
    print(test.__name__, "ok", flush=True)
