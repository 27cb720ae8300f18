"""Film models of random weights, minuscule, in the layout of the real ones. Run in the environment that has torch:

    python tests/film/tiny_repos.py FOLDER

Each is built from its config by a seed, saved by diffusers itself, and runs the code path of the real weights.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

SENTENCE = "a red ball bounces on green grass while the blue sky drifts by and a small dog runs to the left"


def torch_seed() -> Any:
    import torch

    torch.manual_seed(0)
    return torch


def tokenizer(length: int = 32) -> Any:
    """A Unigram tokenizer trained on a few words, in T5's own class."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import T5Tokenizer

    words = ["<pad>", "</s>", "<unk>", *(f"▁{word}" for word in sorted(set(SENTENCE.split()))), "▁",
             *"abcdefghijklmnopqrstuvwxyz"]
    made = Tokenizer(models.Unigram([(word, -1.0 - number / 10) for number, word in enumerate(words)], unk_id=2))
    made.normalizer = normalizers.Lowercase()
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return T5Tokenizer(tokenizer_object=made, pad_token="<pad>", eos_token="</s>", unk_token="<unk>", extra_ids=0,
                       model_max_length=length)


def umt5() -> Any:
    from transformers import UMT5Config, UMT5EncoderModel

    torch_seed()
    return UMT5EncoderModel(UMT5Config(vocab_size=64, d_model=32, d_kv=16, d_ff=32, num_layers=2, num_heads=2,
                                       feed_forward_proj="gated-gelu")).eval()


def t5() -> Any:
    from transformers import T5Config, T5EncoderModel

    torch_seed()
    return T5EncoderModel(T5Config(vocab_size=64, d_model=32, d_kv=16, d_ff=32, num_layers=1, num_heads=2,
                                   feed_forward_proj="gated-gelu")).eval()


def wan_vae(**changed: Any) -> Any:
    from diffusers import AutoencoderKLWan

    torch_seed()
    return AutoencoderKLWan(base_dim=3, z_dim=16, dim_mult=[1, 1, 1, 1], num_res_blocks=1,
                            temperal_downsample=[False, True, True], **changed)


def ti2v_vae() -> Any:
    from diffusers import AutoencoderKLWan

    torch_seed()
    return AutoencoderKLWan(base_dim=3, decoder_base_dim=3, z_dim=48, dim_mult=[1, 1, 1, 1], num_res_blocks=1,
                            temperal_downsample=[False, True, True], in_channels=12, out_channels=12, is_residual=True,
                            patch_size=2, latents_mean=[0.0] * 48, latents_std=[1.0] * 48, scale_factor_spatial=16,
                            scale_factor_temporal=4)


def wan_transformer(seed: int = 0, **changed: Any) -> Any:
    from diffusers import WanTransformer3DModel

    torch_seed().manual_seed(seed)
    usual: dict[str, Any] = {"num_attention_heads": 2, "attention_head_dim": 12, "in_channels": 16, "out_channels": 16,
                             "text_dim": 32, "freq_dim": 32, "ffn_dim": 32, "num_layers": 2, "rope_max_seq_len": 32}
    return WanTransformer3DModel(**(usual | changed))


def unipc(shift: float = 3.0) -> Any:
    from diffusers import UniPCMultistepScheduler

    return UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift)


def clip() -> tuple[Any, Any]:
    from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModel

    torch_seed()
    return CLIPVisionModel(CLIPVisionConfig(hidden_size=16, intermediate_size=16, num_hidden_layers=2,
                                            num_attention_heads=2, image_size=32, patch_size=16)).eval(), \
        CLIPImageProcessor(crop_size=32, size={"shortest_edge": 32})


def wan21_t2v() -> Any:
    from diffusers import WanPipeline

    return WanPipeline(tokenizer(), umt5(), wan_vae(), unipc(), wan_transformer())


def wan22_a14b() -> Any:
    from diffusers import WanPipeline

    return WanPipeline(tokenizer(), umt5(), wan_vae(), unipc(), wan_transformer(), wan_transformer(1),
                       boundary_ratio=0.875)


def wan22_ti2v() -> Any:
    from diffusers import WanPipeline

    return WanPipeline(tokenizer(), umt5(), ti2v_vae(), unipc(), wan_transformer(in_channels=48, out_channels=48),
                       expand_timesteps=True)


def wan21_i2v() -> Any:
    from diffusers import WanImageToVideoPipeline

    encoder, processor = clip()
    return WanImageToVideoPipeline(
        tokenizer(), umt5(), wan_vae(), unipc(), processor, encoder,
        wan_transformer(in_channels=36, image_dim=16, added_kv_proj_dim=24))


def wan21_flf2v() -> Any:
    from diffusers import WanImageToVideoPipeline

    encoder, processor = clip()
    places = 2 * (encoder.config.image_size // encoder.config.patch_size) ** 2 + 2
    return WanImageToVideoPipeline(
        tokenizer(), umt5(), wan_vae(), unipc(), processor, encoder,
        wan_transformer(in_channels=36, image_dim=16, added_kv_proj_dim=24, pos_embed_seq_len=places))


def ltx() -> Any:
    from diffusers import (
        AutoencoderKLLTXVideo,
        FlowMatchEulerDiscreteScheduler,
        LTXPipeline,
        LTXVideoTransformer3DModel,
    )

    torch_seed()
    vae = AutoencoderKLLTXVideo(
        latent_channels=8, block_out_channels=(8, 8, 8, 8), decoder_block_out_channels=(8, 8, 8, 8),
        layers_per_block=(1, 1, 1, 1, 1), decoder_layers_per_block=(1, 1, 1, 1, 1),
        spatio_temporal_scaling=(True, True, True, False), decoder_spatio_temporal_scaling=(True, True, True, False),
        decoder_inject_noise=(False,) * 5, upsample_residual=(False,) * 4, upsample_factor=(1,) * 4)
    transformer = LTXVideoTransformer3DModel(
        in_channels=8, out_channels=8, num_attention_heads=2, attention_head_dim=8, cross_attention_dim=16,
        num_layers=1, caption_channels=32)
    return LTXPipeline(FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True), vae, t5(), tokenizer(), transformer)


def cogvideox() -> Any:
    from diffusers import AutoencoderKLCogVideoX, CogVideoXDDIMScheduler, CogVideoXPipeline, CogVideoXTransformer3DModel

    torch_seed()
    vae = AutoencoderKLCogVideoX(
        block_out_channels=(8, 8, 8, 8), latent_channels=4, layers_per_block=1, norm_num_groups=2,
        temporal_compression_ratio=4, down_block_types=("CogVideoXDownBlock3D",) * 4,
        up_block_types=("CogVideoXUpBlock3D",) * 4)
    transformer = CogVideoXTransformer3DModel(
        num_attention_heads=2, attention_head_dim=16, in_channels=4, out_channels=4, time_embed_dim=8,
        text_embed_dim=32, num_layers=1, sample_width=8, sample_height=8, sample_frames=9, max_text_seq_length=16,
        use_rotary_positional_embeddings=True)
    return CogVideoXPipeline(tokenizer(16), t5(), vae, transformer,
                             CogVideoXDDIMScheduler(prediction_type="v_prediction", timestep_spacing="trailing"))


def hunyuan15() -> Any:
    from diffusers import (
        AutoencoderKLHunyuanVideo15,
        ClassifierFreeGuidance,
        FlowMatchEulerDiscreteScheduler,
        HunyuanVideo15Pipeline,
        HunyuanVideo15Transformer3DModel,
    )
    from transformers import ByT5Tokenizer, Qwen2_5_VLTextModel, T5Config, T5EncoderModel
    from transformers.models.qwen2_5_vl.configuration_qwen2_5_vl import Qwen2_5_VLTextConfig

    torch_seed()
    words = Qwen2_5_VLTextModel(Qwen2_5_VLTextConfig(
        vocab_size=300, hidden_size=16, intermediate_size=16, num_hidden_layers=3, num_attention_heads=2,
        num_key_value_heads=2, max_position_embeddings=2048, bos_token_id=257, eos_token_id=258,
        rope_parameters={"rope_type": "default", "mrope_section": [2, 1, 1], "rope_theta": 10_000.0})).eval()
    letters = T5EncoderModel(T5Config(vocab_size=400, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)).eval()
    vae = AutoencoderKLHunyuanVideo15(latent_channels=4, block_out_channels=(16,) * 5, layers_per_block=1)
    transformer = HunyuanVideo15Transformer3DModel(
        in_channels=9, out_channels=4, num_attention_heads=2, attention_head_dim=16, num_layers=1, num_refiner_layers=1,
        mlp_ratio=2.0, text_embed_dim=16, text_embed_2_dim=16, image_embed_dim=8, rope_axes_dim=(4, 6, 6),
        target_size=64, task_type="t2v")
    return HunyuanVideo15Pipeline(words, of_letters(), transformer, vae, FlowMatchEulerDiscreteScheduler(shift=5.0),
                                  letters, ByT5Tokenizer(), ClassifierFreeGuidance(guidance_scale=6.0))


def of_letters() -> Any:
    """A Qwen2 tokenizer that knows bytes alone, with its turns."""
    from tokenizers import pre_tokenizers
    from transformers import Qwen2Tokenizer

    known = {letter: number for number, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    known |= {"<|endoftext|>": 256, "<|im_start|>": 257, "<|im_end|>": 258}
    made = Qwen2Tokenizer(vocab=known, merges=[], pad_token="<|endoftext|>")
    made.chat_template = ("{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n"
                          "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}")
    return made


BUILDERS = {"wan21-t2v": wan21_t2v, "wan22-a14b": wan22_a14b, "wan22-ti2v": wan22_ti2v, "wan21-i2v": wan21_i2v,
            "wan21-flf2v": wan21_flf2v, "ltx": ltx, "cogvideox": cogvideox, "hunyuan15": hunyuan15}
CARD = """---
license: apache-2.0
pipeline_tag: text-to-video
library_name: diffusers
---
# A film model of random weights
"""
SAID = '{"width": 64, "height": 64, "frames": 9, "fps": 8, "steps": 3}'


def build(folder: Path) -> None:
    """Each repo as a folder of its name, and two LoRAs and a GGUF file of the first."""
    for name, make in BUILDERS.items():
        make().save_pretrained(folder / name, safe_serialization=True)
        (folder / name / "README.md").write_text(CARD)
        (folder / name / "film.json").write_text(SAID)
    save_loras(folder / "loras")
    save_gguf(folder / "gguf")


def save_loras(folder: Path, rank: int = 4) -> None:
    """One in the layout of LightX2V and ComfyUI, named as a distilled one is; one in that of diffusers."""
    from safetensors.torch import save_file

    torch = torch_seed()
    folder.mkdir()
    theirs, ours = {}, {}
    for block in range(2):
        for short, long in (("self_attn.q", "attn1.to_q"), ("cross_attn.v", "attn2.to_v"), ("self_attn.o",
                                                                                             "attn1.to_out.0")):
            down, up = torch.randn(rank, 24) * 0.5, torch.randn(24, rank) * 0.5
            stem = f"diffusion_model.blocks.{block}.{short}"
            theirs |= {f"{stem}.lora_down.weight": down, f"{stem}.lora_up.weight": up,
                       f"{stem}.alpha": torch.tensor(float(rank)), f"{stem}.diff_b": torch.randn(24) * 0.1}
            stem = f"transformer.blocks.{block}.{long}"
            ours |= {f"{stem}.lora_A.weight": down.clone(), f"{stem}.lora_B.weight": up.clone()}
    save_file(theirs, folder / "wan21_t2v_lightx2v_4step.safetensors")
    save_file(ours, folder / "style.safetensors")
    (folder / "README.md").write_text("---\nlicense: apache-2.0\n---\n# LoRAs\n")


def save_gguf(folder: Path) -> None:
    """The first repo's transformer under its authors' names, as Q8_0."""
    import gguf
    from safetensors.numpy import load_file

    from headwater.film_engines.diffusers.lora import original

    folder.mkdir()
    tensors = load_file(folder.parent / "wan21-t2v" / "transformer" / "diffusion_pytorch_model.safetensors")
    out = gguf.GGUFWriter(folder / "wan21-t2v-Q8_0.gguf", "wan")
    for name, tensor in tensors.items():
        module, _, last = name.rpartition(".")
        theirs = f"{original(module)}.{last}" if module else original(name)
        if name.endswith("scale_shift_table"):
            theirs = original(name)
        if tensor.ndim == 2 and tensor.shape[1] % 32 == 0:
            out.add_tensor(theirs, gguf.quants.quantize(tensor, gguf.GGMLQuantizationType.Q8_0),
                           raw_dtype=gguf.GGMLQuantizationType.Q8_0)
        else:
            out.add_tensor(theirs, tensor)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


if __name__ == "__main__":
    build(Path(sys.argv[1]))
