"""Run by the environment that has torch, for test_brook.py: brook_in_torch.py REPO FOLDER. Prints one line of JSON."""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from brook import ask, autoencoder, cases, denoiser
from brook.course import Course


def clips(repo: Path) -> dict[str, object]:
    """Two clips of four steps from words, and one from a photo, by the pipelines that diffusers picks."""
    words, photo, call = ask.load(repo)
    call["num_inference_steps"] = 4
    one = next(cases.cases({"held out": 1}))
    two = list(cases.cases({"held out": 0, "seen": 0, "two things": 0, "from a photo": 1}))[-1]
    made = [ask.films(words, call, [one]) for _ in range(2)]
    begun = ask.films(photo, call, [two])[0][0].astype(float)
    return {"classes": [type(words).__name__, type(photo).__name__], "shape": made[0].shape,
            "digests": [hashlib.sha256(film.tobytes()).hexdigest() for film in made],
            "psnr": float(10 * np.log10(255 ** 2 / ((begun - two.film[0]) ** 2).mean()))}


def trained(folder: Path) -> dict[str, object]:
    """Three steps of each part at once, and stopped after the second: the same weights, to the bit."""
    autoencoder.BATCH, denoiser.BATCH, denoiser.SHARD = 2, 2, 4
    denoiser.TRANSFORMER |= {"num_attention_heads": 1, "attention_head_dim": 24, "ffn_dim": 48, "num_layers": 2}
    found: dict[str, list[str]] = {"autoencoder": [], "denoiser": []}
    for name, stops in (("unbroken", (None,)), ("stopped", (2, None))):
        place = folder / name
        place.mkdir()
        log = place / "log.jsonl"
        for stop in stops:
            model = autoencoder.train(place, log, Course("autoencoder", 3, 1e-3, 1), autoencoder.fresh(), stop)
        if name == "unbroken":
            denoiser.shards(model, folder, last=2)
        for shard in folder.glob("latents-*.npz"):
            (place / shard.name).symlink_to(shard)
        for stop in stops:
            spoken = denoiser.train(place, log, Course("denoiser", 3, 1e-3, 1, whole=denoiser.COURSE.whole), 2, stop,
                                    compiled=False)
        found["autoencoder"].append(digest(model))
        found["denoiser"].append(digest(spoken))
    return found


def heard() -> float:
    """How far the transformer as it is trained is from diffusers' own, which is handed 512 words: greatest difference
    beside the greatest number."""
    spoken, plain = denoiser.Spoken(), denoiser.WanTransformer3DModel(**denoiser.TRANSFORMER)
    with torch.no_grad():
        for weights in spoken.transformer.parameters():
            weights.add_(0.02 * torch.randn(weights.shape, generator=torch.Generator().manual_seed(weights.numel())))
        plain.load_state_dict(spoken.transformer.state_dict())
        latents, times = torch.randn(2, denoiser.LATENT, 5, 8, 8), torch.tensor([300.0, 900.0])
        said = ["a red circle drifts left", ""]
        read = spoken.words(said, padding="max_length", max_length=denoiser.WORDS, return_tensors="pt")
        words = spoken.text(read.input_ids, read.attention_mask).last_hidden_state * read.attention_mask[..., None]
        padded = torch.nn.functional.pad(words, (0, 0, 0, denoiser.PADDED - denoiser.WORDS))
        expected = plain(latents, times, padded, return_dict=False)[0]
        return float((spoken(latents, times, said) - expected).abs().max() / expected.abs().max())


def digest(module: torch.nn.Module) -> str:
    whole = hashlib.sha256()
    for value in module.state_dict().values():
        whole.update(value.float().numpy().tobytes())
    return whole.hexdigest()


if __name__ == "__main__":
    torch.set_num_threads(1)
    out = {"clips": clips(Path(sys.argv[1])), "trained": trained(Path(sys.argv[2])), "heard": heard()}
    print(json.dumps(out))
