"""The families of film models: which class of pipeline is whose, what it can do, and what it is usually run with.

Numbers and names alone, from the models' own cards and pipelines; knows no files and no torch.
"""

from __future__ import annotations

from dataclasses import dataclass

PRESETS = ("draft", "normal", "best")


@dataclass(frozen=True)
class Family:
    """steps, by preset; guidance; fps, size, frames: what the models were trained for. few: (steps, guidance) of a
    distilled one. classes: pipeline class by kind. embeds: what encode_prompt returns, by the names the pipeline is
    called with; "negative_" goes before each for the other prompt. batched: both prompts in one forward. tiled: decoded
    by tiles. encodes_with: parts without words that encode_prompt's pipeline cannot be made without. made_of: classes
    of the transformer and the autoencoder; needs: what else an index must name."""

    name: str
    steps: tuple[int, int, int]
    guidance: float
    fps: int
    size: tuple[int, int]
    frames: int
    few: tuple[int, float]
    classes: dict[str, str]
    embeds: tuple[str, ...]
    made_of: tuple[str, str]
    negative: bool = True
    batched: bool = False
    tiled: bool = False
    encodes_with: tuple[str, ...] = ()
    needs: tuple[str, ...] = ("text_encoder", "tokenizer", "scheduler")


TWO_TEXTS = ("text_encoder", "tokenizer", "scheduler", "text_encoder_2", "tokenizer_2")
OF_LTX = ("LTXVideoTransformer3DModel", "AutoencoderKLLTXVideo")

WAN = Family("Wan", (20, 30, 50), 5.0, 16, (832, 480), 81, (4, 1.0),
             {"t2v": "WanPipeline", "i2v": "WanImageToVideoPipeline"}, ("prompt_embeds",),
             ("WanTransformer3DModel", "AutoencoderKLWan"))
LTX = Family("LTX", (20, 30, 50), 3.0, 24, (704, 480), 121, (8, 1.0),
             {"t2v": "LTXPipeline", "i2v": "LTXImageToVideoPipeline"}, ("prompt_embeds", "prompt_attention_mask"),
             OF_LTX, batched=True)
LTX_CONDITION = Family("LTX", (20, 30, 50), 3.0, 24, (704, 480), 121, (8, 1.0),
                       {"t2v": "LTXConditionPipeline", "i2v": "LTXConditionPipeline"},
                       ("prompt_embeds", "prompt_attention_mask"), OF_LTX, batched=True)
COG = Family("CogVideoX", (30, 50, 50), 6.0, 8, (720, 480), 49, (8, 1.0),
             {"t2v": "CogVideoXPipeline", "i2v": "CogVideoXImageToVideoPipeline"}, ("prompt_embeds",),
             ("CogVideoXTransformer3DModel", "AutoencoderKLCogVideoX"), batched=True)
HUNYUAN = Family("HunyuanVideo", (20, 30, 50), 6.0, 24, (960, 544), 61, (6, 6.0), {"t2v": "HunyuanVideoPipeline"},
                 ("prompt_embeds", "pooled_prompt_embeds", "prompt_attention_mask"),
                 ("HunyuanVideoTransformer3DModel", "AutoencoderKLHunyuanVideo"), negative=False, tiled=True,
                 needs=TWO_TEXTS)
HUNYUAN_15 = Family("HunyuanVideo 1.5", (20, 30, 50), 6.0, 24, (848, 480), 121, (8, 1.0),
                    {"t2v": "HunyuanVideo15Pipeline", "i2v": "HunyuanVideo15ImageToVideoPipeline"},
                    ("prompt_embeds", "prompt_embeds_mask", "prompt_embeds_2", "prompt_embeds_mask_2"),
                    ("HunyuanVideo15Transformer3DModel", "AutoencoderKLHunyuanVideo15"), tiled=True,
                    encodes_with=("vae",), needs=TWO_TEXTS)

PIPELINES: dict[str, Family] = {
    "WanPipeline": WAN, "WanImageToVideoPipeline": WAN, "LTXPipeline": LTX, "LTXImageToVideoPipeline": LTX,
    "LTXConditionPipeline": LTX_CONDITION, "CogVideoXPipeline": COG, "CogVideoXImageToVideoPipeline": COG,
    "HunyuanVideoPipeline": HUNYUAN, "HunyuanVideo15Pipeline": HUNYUAN_15,
    "HunyuanVideo15ImageToVideoPipeline": HUNYUAN_15}
"""By the class model_index.json names."""

MODELS = {
    "transformer": {"WanTransformer3DModel", "LTXVideoTransformer3DModel", "CogVideoXTransformer3DModel",
                    "HunyuanVideoTransformer3DModel", "HunyuanVideo15Transformer3DModel"},
    "vae": {"AutoencoderKLWan", "AutoencoderKLLTXVideo", "AutoencoderKLCogVideoX", "AutoencoderKLHunyuanVideo",
            "AutoencoderKLHunyuanVideo15"},
    "text_encoder": {"UMT5EncoderModel", "T5EncoderModel", "LlamaModel", "CLIPTextModel", "Qwen2_5_VLTextModel",
                     "Qwen2_5_VLForConditionalGeneration"},
    "image_encoder": {"CLIPVisionModel", "CLIPVisionModelWithProjection", "SiglipVisionModel"},
}
"""Classes with weights that a part may be of."""
MODELS |= {"transformer_2": MODELS["transformer"], "text_encoder_2": MODELS["text_encoder"]}

PAPERS = {
    "scheduler": {"UniPCMultistepScheduler", "FlowMatchEulerDiscreteScheduler", "CogVideoXDPMScheduler",
                  "CogVideoXDDIMScheduler", "DPMSolverMultistepScheduler", "FlowMatchHeunDiscreteScheduler",
                  "LCMScheduler", "FlowMatchLCMScheduler"},
    "tokenizer": {"T5Tokenizer", "T5TokenizerFast", "LlamaTokenizer", "LlamaTokenizerFast", "CLIPTokenizer",
                  "CLIPTokenizerFast", "Qwen2Tokenizer", "Qwen2TokenizerFast", "ByT5Tokenizer",
                  "PreTrainedTokenizerFast", "TokenizersBackend"},
    "image_processor": {"CLIPImageProcessor", "CLIPImageProcessorFast", "CLIPImageProcessorPil",
                        "SiglipImageProcessor", "SiglipImageProcessorFast", "SiglipImageProcessorPil"},
    "guider": {"ClassifierFreeGuidance", "AdaptiveProjectedMixGuidance", "AdaptiveProjectedGuidance"},
}
"""Classes without weights."""
PAPERS |= {"tokenizer_2": PAPERS["tokenizer"], "feature_extractor": PAPERS["image_processor"]}
