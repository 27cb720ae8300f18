"""diffusers: a tiny pipeline pushed and loaded; its parts stand in folders, and only those needed are fetched."""

import tempfile

import torch
from diffusers import DDIMScheduler, DDPMPipeline, DiffusionPipeline, UNet2DModel
from huggingface_hub import HfApi

torch.manual_seed(0)
unet = UNet2DModel(sample_size=8, in_channels=3, out_channels=3, layers_per_block=1, block_out_channels=(8, 16),
                   norm_num_groups=4, down_block_types=("DownBlock2D", "AttnDownBlock2D"),
                   up_block_types=("AttnUpBlock2D", "UpBlock2D"), attention_head_dim=4)
pipeline = DDPMPipeline(unet, DDIMScheduler(num_train_timesteps=10))
name = f"{HfApi().whoami()['name']}/tiny-ddpm"
pipeline.push_to_hub(name)
with tempfile.TemporaryDirectory() as cache:
    loaded = DiffusionPipeline.from_pretrained(name, cache_dir=cache)
    assert type(loaded) is DDPMPipeline
    for key, value in unet.state_dict().items():
        assert torch.equal(loaded.unet.state_dict()[key], value), key
    picture = loaded(num_inference_steps=2, generator=torch.manual_seed(1), output_type="np").images
    again = pipeline(num_inference_steps=2, generator=torch.manual_seed(1), output_type="np").images
    assert (picture == again).all()
assert "diffusers" in HfApi().model_info(name).tags
