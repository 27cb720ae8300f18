"""Words and noise to latents: a small UMT5 encoder and a WanTransformer3DModel, learned together by flow matching.

One transformer for films from words and from a photo, as Wan 2.2 TI2V does it: every place has its own time, and the
first place of a photo's film is clean, at time nought. Words are left out for one film in eight, for guidance. Latents
come from shards that `shards` writes; the set grows as training goes on. Runs in the environment that has torch.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast, UMT5Config, UMT5EncoderModel

from brook import world
from brook.autoencoder import LATENT, encode
from brook.course import Course, run, seeded

SEED, BATCH, SHARD, MOST = 2, 32, 256, 56
PADDED, WORDS = 512, 24
"""How many words diffusers hands to the transformer, most of them empty; and how many are kept while training."""
TEXT = 128
TRANSFORMER = {"num_attention_heads": 3, "attention_head_dim": 64, "in_channels": LATENT, "out_channels": LATENT,
               "text_dim": TEXT, "freq_dim": 128, "ffn_dim": 768, "num_layers": 6, "cross_attn_norm": True}
ENCODER = {"d_model": TEXT, "d_kv": 32, "num_heads": 4, "d_ff": 256, "num_layers": 2, "dropout_rate": 0.0,
           "relative_attention_num_buckets": 16, "relative_attention_max_distance": 32}
COURSE = Course("denoiser", 12_000, 5e-3, mean=0.999, whole=("transformer.blocks.", "text.encoder.block."))
SHIFT, WORDLESS, FROM_PHOTO = 2.0, 0.12, 0.35


def tokenizer() -> PreTrainedTokenizerFast:
    """Each word of the world is one piece, what is not in it is <unk>. Capitals and points are as nothing; T5Tokenizer
    would forget that rule when it is read again, so it is the general class."""
    pieces = {"<pad>": 0, "</s>": 1, "<unk>": 2} | {word: 3 + n for n, word in enumerate(world.vocabulary())}
    made = Tokenizer(models.WordLevel(pieces, unk_token="<unk>"))
    made.normalizer = normalizers.Sequence([normalizers.Lowercase(), normalizers.Replace(Regex("[^a-z]+"), " "),
                                            normalizers.Strip()])
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    made.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    return PreTrainedTokenizerFast(tokenizer_object=made, pad_token="<pad>", eos_token="</s>", unk_token="<unk>",
                                   model_max_length=PADDED)


class Spoken(torch.nn.Module):
    """The text encoder and the transformer as one thing to train."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(SEED)
        self.words = tokenizer()
        self.text = UMT5EncoderModel(UMT5Config(vocab_size=len(self.words), pad_token_id=0, eos_token_id=1, **ENCODER))
        self.transformer = WanTransformer3DModel(**TRANSFORMER)
        with torch.no_grad():
            self.transformer.proj_out.weight.zero_()
            for block in self.transformer.blocks:
                block.scale_shift_table[:, [2, 5]] += 1  # gates begin open, or little is learned for a long time
            self.hear()
        for block in self.transformer.blocks:
            block.attn1.processor = block.attn2.processor = Plain()

    @torch.no_grad()
    def hear(self) -> None:
        """Of 512 words about ten are said, so attention left to chance spends 2 % on them and learns them as slowly.
        Here what is empty begins at nought, its keys point one way, and queries lean the other way."""
        torch.manual_seed(SEED + 1)
        embedder = self.transformer.condition_embedder.text_embedder
        embedder.linear_1.bias.zero_()
        embedder.linear_2.bias.zero_()
        for block in self.transformer.blocks:
            for name in ("to_q", "to_k", "to_v"):
                getattr(block.attn2, name).reset_parameters()
            block.attn2.to_out[0].weight.mul_(0).add_(0.01 * torch.randn_like(block.attn2.to_out[0].weight))
            block.attn2.to_out[0].bias.zero_()
            way = torch.randn_like(block.attn2.to_k.bias).sign()
            block.attn2.norm_q.weight.fill_(1)
            block.attn2.norm_k.weight.fill_(1)
            block.attn2.to_k.bias.copy_(-0.01 * way)
            block.attn2.to_q.bias.copy_(0.5 * way)
            block.attn2.to_v.bias.zero_()

    def forward(self, latents: torch.Tensor, times: torch.Tensor, said: list[str]) -> torch.Tensor:
        """latents (films, 16, 5, 8, 8); times (films,) or (films, 80), 0 to 1000. The way from film to noise."""
        found = self.words(said, padding="max_length", max_length=WORDS, truncation=True, return_tensors="pt")
        spoken = self.text(found.input_ids, found.attention_mask).last_hidden_state
        spoken = spoken * found.attention_mask[..., None]
        return self.transformer(latents, times, spoken, return_dict=False)[0]


class Plain:
    """Attention as WanAttnProcessor has it, in plain matrix products: of 80 places, torch's fused kernel takes half of
    a step's time for its way back, these a tenth. And diffusers fills up to 512 words with zeros and lets them be
    attended to: they are all alike, so here the last one counts for all that were left out."""

    def __call__(self, attn: torch.nn.Module, places: torch.Tensor, words: torch.Tensor | None = None,
                 mask: None = None, rope: tuple[torch.Tensor, torch.Tensor] | None = None) -> torch.Tensor:
        heard = places if words is None else words
        query, key = attn.norm_q(attn.to_q(places)), attn.norm_k(attn.to_k(heard))
        query, key, value = (each.unflatten(2, (attn.heads, -1)) for each in (query, key, attn.to_v(heard)))
        if rope is not None:
            query, key = _turned(query, *rope), _turned(key, *rope)
        query, key, value = (each.type_as(value).transpose(1, 2) for each in (query, key, value))
        score = (query * query.shape[-1] ** -0.5) @ key.transpose(-1, -2)
        if words is not None:
            count = score.new_zeros(score.shape[-1])
            count[-1] = math.log(PADDED - len(count) + 1)
            score = score + count
        found = score.softmax(-1).type_as(value) @ value
        return attn.to_out[0](found.transpose(1, 2).flatten(2))


def _turned(each: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    cos, sin = cos[..., 0::2], sin[..., 1::2]
    a, b = each.unflatten(-1, (-1, 2)).unbind(-1)
    return torch.stack((a * cos - b * sin, a * sin + b * cos), -1).flatten(-2)


# --- what is learned from


def shards(model: AutoencoderKLWan, folder: Path, first: int = 0, last: int = MOST, by: int = 1) -> None:
    """Write the shards that are not there yet: scaled latents in half precision and the scenes they are of."""
    mean = torch.tensor(model.config.latents_mean).view(1, -1, 1, 1, 1)
    deviation = torch.tensor(model.config.latents_std).view(1, -1, 1, 1, 1)
    for number in range(first, last, by):
        if _shard(folder, number).exists():
            continue
        drawn = world.films(SEED * 10_000 + number)
        scenes, films = [], []
        for _ in range(SHARD):
            of, _, film = next(drawn)
            scenes.append(json.dumps(asdict(of)))
            films.append(film)
        latents = torch.cat([encode(model, np.stack(films[n:n + 16])) for n in range(0, SHARD, 16)])
        part = folder / f".{number}.{os.getpid()}.npz"
        np.savez(part, latents=((latents - mean) / deviation).half().numpy(), scenes=np.array(scenes))
        part.rename(_shard(folder, number))


def _shard(folder: Path, number: int) -> Path:
    return folder / f"latents-{number:03d}.npz"


class Learned:
    """The latents and scenes written so far. Step n draws from the first `reach(n)` shards and waits for them, so that
    what is seen does not depend on how fast they come."""

    def __init__(self, folder: Path, most: int) -> None:
        self.folder, self.most = folder, most
        self.latents: list[np.ndarray] = []
        self.scenes: list[world.Scene] = []

    def reach(self, step: int) -> int:
        return min(self.most, 4 + step // 16)

    def draw(self, step: int, rng: np.random.Generator) -> tuple[torch.Tensor, list[str]]:
        while len(self.latents) < self.reach(step):
            self._read(len(self.latents))
        places = rng.integers(0, self.reach(step) * SHARD, BATCH)
        latents = np.stack([self.latents[n // SHARD][n % SHARD] for n in places]).astype(np.float32)
        return torch.from_numpy(latents), [world.words(self.scenes[n], rng) for n in places]

    def _read(self, number: int) -> None:
        file = _shard(self.folder, number)
        while not file.exists():
            time.sleep(0.5)
        with np.load(file) as kept:
            self.latents.append(kept["latents"])
            for line in kept["scenes"]:
                known = json.loads(str(line))
                things = tuple(world.Thing(**thing) for thing in known.pop("things"))
                self.scenes.append(world.Scene(things, **known))


def train(folder: Path, log: Path, course: Course = COURSE, most: int = MOST, stop_after: int | None = None,
          compiled: bool = True) -> Spoken:
    """compiled: a third faster, after two minutes of a C++ compiler; without one it goes on as it is."""
    model, learned = Spoken(), Learned(folder, most)
    torch._dynamo.config.suppress_errors = True
    for block in model.transformer.blocks if compiled else ():
        block.compile(dynamic=False)

    def loss_of(step: int) -> tuple[torch.Tensor, Mapping[str, float]]:
        rng = np.random.default_rng([SEED, step])
        clean, said = learned.draw(step, rng)
        said = ["" if rng.random() < WORDLESS else words for words in said]
        chance = seeded(SEED, step)
        noise = torch.randn(clean.shape, generator=chance)
        part = torch.rand(len(clean), generator=chance)
        part = SHIFT * part / (1 + (SHIFT - 1) * part)
        level = part.view(-1, 1, 1, 1, 1).expand(-1, 1, clean.shape[2], 1, 1)
        photo = rng.random() < FROM_PHOTO
        if photo:
            level = level.clone()
            level[:, :, 0] = 0
        mixed = (1 - level) * clean + level * noise
        tokens = clean.shape[3] * clean.shape[4] // 4
        times = 1000 * (level[:, 0, :, 0, 0].repeat_interleave(tokens, 1) if photo else part)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = model(mixed, times, said)
        error = (found.float() - (noise - clean))[:, :, int(photo):]
        loss = error.pow(2).mean()
        return loss, {"photo" if photo else "words": float(loss.detach())}

    mean = run(course, model, loss_of, folder, log, stop_after)
    model.load_state_dict({**model.state_dict(), **mean})
    return model.eval()
