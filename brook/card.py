"""The card of headwater/brook, docs/brook.md and the README's picture, from figures.json and the weights themselves."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from brook import FPS, FRAMES, SIDE, world
from brook.cases import SEED
from brook.measure import ASKED

KINDS = {"held out": "a colour and a shape never seen together", "seen": "colours and shapes seen together",
         "two things": "two things", "from a photo": "from a first frame and words, colour and shape held out"}


def weights(repo: Path) -> dict[str, str]:
    """sha256 by path of each file of weights."""
    return {path.relative_to(repo).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(repo.rglob("*.safetensors"))}


def card(repo: Path, figures: dict[str, Any], log: list[dict[str, Any]]) -> str:
    lines = [*_front(), *_what(), "", "## What it can do", "", *measured(figures), "", "## How it was made", "",
             *_made(log), "", "## Weights", "", "| file | sha256 |", "|---|---|"]
    lines += [f"| {path} | `{digest}` |" for path, digest in weights(repo).items()]
    return "\n".join([*lines, "", *_chinese(figures), ""])


def _front() -> Iterator[str]:
    yield from ("---", "license: apache-2.0", "pipeline_tag: text-to-video", "library_name: diffusers",
                "language: [en]", "tags: [wan, image-to-video, text-to-video, brook]", "---", "# headwater/brook", "")


def _what() -> Iterator[str]:
    yield (f"A small open model that makes films of {SIDE}x{SIDE} pixels, {FRAMES} frames, {FPS} a second, from words "
           "or from a first frame and words. It knows flat shapes that move before a plain ground, and nothing else. "
           "It is no rival of large models: it shows that the whole way from an empty folder to a film is open and "
           "runs on two cores, and it is a film model to try things with where nothing can be downloaded.")
    yield ""
    yield ("The layout is Wan 2.2 TI2V's (AutoencoderKLWan, UMT5EncoderModel, WanTransformer3DModel, "
           "expand_timesteps), so `WanPipeline` and `WanImageToVideoPipeline` of diffusers both load it.")
    yield ""
    yield "Its words: " + ", ".join(world.vocabulary()) + ". Any other word is unknown to it."
    yield ""
    yield from ("```python", "from diffusers import DiffusionPipeline",
                "pipeline = DiffusionPipeline.from_pretrained(\"brook\")",
                "film = pipeline(\"a big red circle drifts left slowly on a black background\", height=64, width=64,",
                "                num_frames=17, num_inference_steps=12, guidance_scale=4.0).frames[0]", "```", "",
                "In Headwater: `headwater add brook`, then "
                "`headwater film --model headwater/brook \"a red circle drifts left\"`.")


def measured(figures: dict[str, Any]) -> Iterator[str]:
    """Tables of what was right, n of N with the exact 95 % interval."""
    yield ("Each film was looked at by plain counting (`brook/sight.py`: distance from the ground's colour, overlap "
           "with six ideal shapes, the way of the centre), no learned judge. *Drawn* are films the generator drew of "
           "the same words: what can be reached. *Other words* are brook's films beside the words of another case: "
           "what chance gives. Direction is of those that drift; pace of those asked to do it slowly or quickly; "
           "*all* means nothing asked for was wrong.")
    yield ""
    yield from _verdict(figures)
    for kind, title in KINDS.items():
        found = figures["kinds"][kind]
        yield from ("", f"**{title[0].upper()}{title[1:]}**", "", "| asked | brook | drawn | other words |",
                    "|---|---|---|---|")
        for name in ASKED:
            if name in found["brook"]:
                yield f"| {name} | " + " | ".join(_share(found[of].get(name)) for of in
                                                  ("brook", "drawn", "other words")) + " |"
        moving = found["smoothness and motion"]
        yield (f"\nSmoothness beside motion (median; `headwater.film.measures`): brook {moving['brook'][0]} at "
               f"{moving['brook'][1]} % of the width a second, drawn {moving['drawn'][0]} at {moving['drawn'][1]} %.")
    first, again = figures["first frame"], figures["autoencoder"]
    yield (f"\nThe first frame beside the photo: PSNR {first['psnr'][1]:.1f} dB (quartiles {first['psnr'][0]:.1f} and "
           f"{first['psnr'][2]:.1f}), SSIM {first['ssim'][1]:.3f}. The autoencoder alone, whole films: "
           f"{again['psnr'][1]:.1f} dB ({again['psnr'][0]:.1f} and {again['psnr'][2]:.1f}), and of the drawn films of "
           f"held-out pairs that went through it the shape is seen in {_share(again['shape'])}. A film took "
           f"{figures['seconds a film']:.1f} s on one busy core.")


def _verdict(figures: dict[str, Any]) -> Iterator[str]:
    """What is followed: where brook's interval lies above that of other words. Said for each kind, never rounded up."""
    for kind, title in KINDS.items():
        found = figures["kinds"][kind]
        heard = [name for name in ASKED[:-1] if name in found["brook"]
                 and found["brook"][name][2] > found["other words"][name][3]]
        rest = [name for name in ASKED[:-1] if name in found["brook"] and name not in heard]
        yield (f"- {title[0].upper()}{title[1:]}: follows {', '.join(heard) or 'nothing'}"
               + (f"; not to be told from other words: {', '.join(rest)}." if rest else "."))


def _share(found: list[float] | None) -> str:
    return "–" if found is None else f"{found[0]} of {found[1]} ({100 * found[2]:.0f}–{100 * found[3]:.0f} %)"


def _made(log: list[dict[str, Any]]) -> Iterator[str]:
    last: dict[str, dict[str, Any]] = {line["part"]: line for line in log if "loss" in line}
    yield ("`make brook` in Headwater's repo does it all again: `brook/world.py` draws the films and says them, "
           "`brook/autoencoder.py` and `brook/denoiser.py` learn, `brook/export.py` writes this folder. Every draw "
           "follows from a seed; `log.jsonl` is the training's log. No film, picture or text of anybody was used.")
    yield ""
    yield from ("| part | steps | loss at the end | seconds |", "|---|---|---|---|")
    for part, line in last.items():
        yield f"| {part} | {line['step']} | {line['loss']:.3f} | {line['seconds']} |"
    yield ""
    hours = sum(line["seconds"] for line in last.values()) / 3600
    yield ("Limits: one or two things; nothing but its words; another size or length than it was trained for falls "
           f"apart; edges are soft. All of it took {hours:.1f} hours of one core of a busy machine.")


def _chinese(figures: dict[str, Any]) -> Iterator[str]:
    held = figures["kinds"]["held out"]["brook"]
    yield "## 中文"
    yield ""
    yield (f"headwater/brook 是一个从零训练、完全开放的小型视频模型:{SIDE}×{SIDE} 像素、{FRAMES} 帧、每秒 {FPS} 帧,"
           "由文字或首帧图片加文字生成。它只认识在纯色背景上运动的平面图形,词汇约五十个英文单词。"
           "结构与 Wan 2.2 TI2V 相同,diffusers 可直接加载。"
           "数据生成器、训练代码和日志都在 Headwater 仓库中,`make brook` 可重新训练。"
           f"在训练中从未同时出现过的颜色与形状组合上,颜色正确 {held['colour'][0]}/{held['colour'][1]},"
           f"形状正确 {held['shape'][0]}/{held['shape'][1]},运动正确 {held['motion'][0]}/{held['motion'][1]}。"
           "许可证:Apache-2.0。")


def page(figures: dict[str, Any], log: list[dict[str, Any]]) -> str:
    """docs/brook.md."""
    asked = {kind: found["brook"]["all"][1] for kind, found in figures["kinds"].items()}
    lines = ["# Brook", "", "What `headwater/brook` is and what it can do, written by `make brook`. What was tried "
             "is in [the note](design/023-brook.md).", "", "![Films of brook](pictures/brook.png)", "",
             "One film a row, every other frame: four of held-out pairs, two of seen ones, one of two things, two from "
             "a photo. The first of each kind, not the best.", "",
             *_what(), "", "## Measured", "",
             f"`python -m brook measure`: {sum(asked.values())} films of seed {SEED}, "
             + ", ".join(f"{count} {kind}" for kind, count in asked.items()) + ".", "", *measured(figures), "",
             "## How it was made", "", *_made(log), ""]
    return "\n".join(lines)
