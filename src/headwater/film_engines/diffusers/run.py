"""Makes the frames, in the engine's own process: words, steps, decoding, through the pipeline class the repo names.

A loaded model stays for the next film. The scheduler's step is where a film is watched: progress, previews, the wish
to stop with the draft; `tell` may raise GivenUp there, and between the blocks of every model.
"""

from __future__ import annotations

import functools
import inspect
import logging
import os
import resource
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from headwater.core.errors import CorruptFile, HeadwaterError, TooLarge
from headwater.core.film import FilmRequest, GivenUp, Step
from headwater.film_engines._still import open_still
from headwater.film_engines.diffusers import preview
from headwater.film_engines.diffusers.asked import widths
from headwater.film_engines.diffusers.families import LTX_CONDITION
from headwater.film_engines.diffusers.needs import Way, needs
from headwater.film_engines.diffusers.parts import Parts, device, load_paper, load_part, threads
from headwater.film_engines.diffusers.repo import WHOLE_AGAIN, read_model
from headwater.film_engines.diffusers.words import WordCache, Words, words_key

PREVIEW_S = 1.0
CACHE = os.environ.get("HEADWATER_FILM_CACHE")
_PARTS = Parts()
_WORDS = WordCache(Path(CACHE) / "words" if CACHE else None)
_MAPS: dict[Any, np.ndarray | None] = {}


def frames(request: FilmRequest, tell: Callable[[Step], None],
           should_stop: Callable[[], bool]) -> Iterator[np.ndarray]:
    """As core.film.FilmEngine.frames has it."""
    with _told("The model could not be run", request):
        made = _Film(request, tell, should_stop).make()
    if not np.isfinite(made.sum()):  # numbers from 0 to 1, unless there are some that are none
        raise CorruptFile("The model made no pictures: what it computed are no numbers.",
                          hint="Ask for precision float32. If that makes none either, the weights are damaged: push or "
                               "add the model again.")
    for number, frame in enumerate(made):
        tell(Step("frames", number + 1, len(made)))
        yield (frame * 255).round().astype(np.uint8)


@contextmanager
def _told(what: str, request: FilmRequest) -> Iterator[None]:
    """Whatever libraries raise at a repo that is damaged or lies becomes a sentence, and the process makes the next
    film. Which errors those are cannot be listed: tokenizers and safetensors have kinds of their own."""
    try:
        yield
    except (HeadwaterError, GivenUp, MemoryError):
        raise
    except Exception as error:
        text = str(error)
        if "memory" in text.lower() and ("alloc" in text.lower() or "CUDA" in text):
            raise TooLarge("The film needs more memory than it may use.",
                           hint="Ask for a smaller size or fewer seconds.") from None
        logging.getLogger(__name__).exception("the pipeline failed")
        text = " ".join(text.replace(str(request.folder), request.model).split())[:300].rstrip(" .")
        raise CorruptFile(f"{what}: {type(error).__name__}: {text}.", hint=WHOLE_AGAIN) from None


class _Film:
    def __init__(self, request: FilmRequest, tell: Callable[[Step], None], should_stop: Callable[[], bool]):
        assert request.folder is not None
        self.request, self.model = request, read_model(request.folder)
        self.tell, self.should_stop = tell, should_stop
        self.step = Step("load", 0, 1)
        self.wide, self.vae_wide = widths(self.model, request)
        self.way = self._way()
        _PARTS.beat = lambda: self.tell(self.step)

    def make(self) -> np.ndarray:
        """float32 (frames, height, width, 3), from 0 to 1."""
        import torch

        _quieten()
        torch.set_num_threads(threads())
        self.say("load", 0, 1)
        _PARTS.keep_only(self.model.folder)
        said = self._words()
        if self.way != "all":
            _PARTS.let_go(*(part.name for part in self.model.encoders))
        pipe = self._pipeline()
        call = said | self._call()
        takes = inspect.signature(type(pipe).__call__).parameters
        answer = self._map()
        self.say("denoise", 0, self.request.steps or 1)
        _Watch(self, pipe, answer)
        with torch.inference_mode():
            video = pipe(**{name: value for name, value in call.items() if name in takes}).frames[0]
        if self.way == "in turn":
            _PARTS.let_go("transformer", "transformer_2")
        return np.asarray(video, np.float32)

    def say(self, stage: str, i: int, n: int, picture: bytes | None = None) -> None:
        self.tell(Step(stage, i, n, picture))
        self.step = Step(stage, i, n)

    def part(self, name: str) -> Any:
        """None for what the model does not have."""
        import torch

        if name not in self.model.parts:
            return None
        wide = self.vae_wide if name in ("vae", "image_encoder") else self.wide
        dtype = torch.float32 if wide == 4 else torch.bfloat16
        extra = {key: value for key, value in self.request.extra.items() if key in ("lora", "gguf", "precision")}
        changed = repr(sorted(extra.items())) if name.startswith("transformer") else ""
        with _told(f"The {name} of the model could not be loaded", self.request):
            made = _PARTS.get(name, (self.model.folder, self.model.digest, wide, changed),
                              lambda: load_part(self.model, self.model.parts[name], dtype, extra))
        if name == "vae" and self.model.family.tiled:
            made.enable_tiling()
        return made

    def paper(self, name: str) -> Any:
        if name not in self.model.papers:
            return None
        with _told(f"The {name} of the model could not be loaded", self.request):
            return _PARTS.get(name, (self.model.folder, self.model.digest), lambda: load_paper(self.model, name))

    def _way(self) -> Way:
        limit = resource.getrlimit(resource.RLIMIT_DATA)[0]
        wanted = needs(self.model, self.request, self.wide, self.vae_wide)
        way = wanted.way(limit if limit != resource.RLIM_INFINITY else sys.maxsize)
        if way is None:
            raise TooLarge(f"The film needs about {wanted.least() >> 20} MiB of memory; {limit >> 20} MiB may be used.",
                           hint="Ask for a smaller size or fewer seconds.")
        return way

    def _kind(self) -> Any:
        import diffusers

        return getattr(diffusers, self.model.family.classes[self.request.kind])

    def _made(self, **there: Any) -> Any:
        """The pipeline with these parts; what it would have beside them is not there."""
        kind = self._kind()
        names = {name: None for name, one in inspect.signature(kind.__init__).parameters.items()
                 if name != "self" and one.default is inspect.Parameter.empty}
        pipe = kind(**(names | there))
        pipe.set_progress_bar_config(disable=True)
        return pipe

    def _words(self) -> Words:
        """Both prompts, encoded or remembered, by the names the pipeline takes them by."""
        request, family = self.request, self.model.family
        digests = {path: digest for path, digest in request.digests.items()
                   if path.startswith(("text_encoder", "tokenizer"))}
        mine = (digests or str(self.model.folder), self.wide, family.classes[request.kind])
        texts = {"": request.prompt}
        if family.negative and (request.guidance or 0) > 1:
            texts["negative_"] = request.negative
        said: Words = {}
        for before, text in texts.items():
            key = words_key(text, digests, *mine)
            words = _WORDS.get(key)
            if words is None:
                self.say("encode", 0, 1)
                words = self._encode(text)
                _WORDS.put(key, words)
            said |= {before + name: tensor.to(device()) for name, tensor in words.items()}
        return said

    def _encode(self, text: str) -> Words:
        import torch

        there = {name: self.part(name) for name in self.model.parts
                 if name.startswith("text_encoder") or name in self.model.family.encodes_with}
        there |= {name: self.paper(name) for name in self.model.papers if name.startswith("tokenizer")}
        pipe = self._made(**there)
        takes = inspect.signature(pipe.encode_prompt).parameters
        said: dict[str, Any] = {"prompt": text, "do_classifier_free_guidance": False, "device": device()}
        if length := inspect.signature(type(pipe).__call__).parameters.get("max_sequence_length"):
            said["max_sequence_length"] = self.model.transformer.get("max_text_seq_length") or length.default
        with torch.inference_mode():
            made = pipe.encode_prompt(**{name: value for name, value in said.items() if name in takes})
        return {name: tensor.cpu() for name, tensor in zip(self.model.family.embeds, made, strict=False)}

    def _pipeline(self) -> Any:
        model, names = self.model, inspect.signature(self._kind().__init__).parameters
        there: dict[str, Any] = {"scheduler": self._scheduler()}
        wanted = ["transformer", *(["transformer_2"] if self.way != "in turn" else []), "vae", "image_encoder"]
        for name in wanted:
            if name in names:
                self.say("load", len(there), len(wanted) + 1)
                there[name] = self.part(name)
        there |= {name: self.paper(name) for name in model.papers
                  if name in names and name not in ("scheduler", "guider")}
        if "guider" in names:
            from diffusers import ClassifierFreeGuidance

            there["guider"] = ClassifierFreeGuidance(guidance_scale=self.request.guidance or 1.0)
        there |= {name: model.index[name] for name in ("boundary_ratio", "expand_timesteps")
                  if name in names and model.index.get(name) is not None}
        if "boundary_ratio" in self.request.extra and "boundary_ratio" in names:
            there["boundary_ratio"] = self.request.extra["boundary_ratio"]
        pipe = self._made(**there)
        if hasattr(pipe.video_processor, "calculate_default_height_width"):
            # It would choose a size by the picture's shape; this film has one.
            size = (self.request.height, self.request.width)
            pipe.video_processor.calculate_default_height_width = lambda height, width, target_size: size
        return pipe

    def _scheduler(self) -> Any:
        """A new one for each film, so that none leaves anything to the next."""
        made = self.paper("scheduler")
        shift, changed = self.request.extra.get("flow_shift"), {}
        if shift is not None:
            changed = {name: shift for name in ("flow_shift", "shift") if name in made.config}
        return type(made).from_config(made.config, **changed)

    def _call(self) -> dict[str, Any]:
        import torch

        request, model = self.request, self.model
        call: dict[str, Any] = {
            "height": request.height, "width": request.width, "num_frames": request.frames,
            "num_inference_steps": request.steps, "guidance_scale": request.guidance, "frame_rate": request.fps,
            "generator": torch.Generator("cpu").manual_seed(request.seed), "output_type": "np"}
        if "guidance_scale_2" in request.extra:
            call["guidance_scale_2"] = request.extra["guidance_scale_2"]
        if model.vae.get("timestep_conditioning"):
            call |= {"decode_timestep": 0.05, "decode_noise_scale": 0.025}
        stills = {one.role: self._still(one.path) for one in request.pictures if one.role in ("first", "last")}
        if request.kind == "i2v" and model.family is LTX_CONDITION:
            from diffusers.pipelines.ltx.pipeline_ltx_condition import LTXVideoCondition

            call["conditions"] = [LTXVideoCondition(image=stills[role], frame_index=at) for role, at in
                                  (("first", 0), ("last", request.frames - 1)) if role in stills]
        elif request.kind == "i2v":
            call |= {"image": stills["first"], **({"last_image": stills["last"]} if "last" in stills else {})}
        return call

    def _still(self, path: Path) -> Any:
        """The picture at the film's size; what is over at two sides is cut off."""
        from PIL import Image, ImageOps

        size = (self.request.width, self.request.height)
        return ImageOps.fit(Image.fromarray(open_still(path, size)), size, Image.Resampling.LANCZOS)

    def _map(self) -> np.ndarray | None:
        """Latents to RGB; None for an autoencoder that cannot be asked."""
        digests = sorted(item for item in self.request.digests.items() if item[0].startswith("vae/"))
        key = words_key("", dict(digests)) if digests else (self.model.folder, self.model.digest)
        if key not in _MAPS:
            kept = Path(CACHE) / "previews" / f"{key}.json" if CACHE and isinstance(key, str) else None
            try:
                _MAPS[key] = preview.fit(self.model, self.part("vae"), kept)
            except (RuntimeError, ValueError, TypeError, AttributeError):  # then there is no preview, and still a film
                logging.getLogger(__name__).exception("no previews of this autoencoder")
                _MAPS[key] = None
        return _MAPS[key]


class _Watch:
    """Stands in for the scheduler's step. Every family calls it once a step, with the latents."""

    def __init__(self, film: _Film, pipe: Any, answer: np.ndarray | None):
        self.film, self.pipe, self.answer = film, pipe, answer
        self.done, self.pictured_at = 0, 0.0
        scheduler = pipe.scheduler
        own = scheduler.step

        @functools.wraps(own)  # some pipelines look which arguments it takes
        def step(*args: Any, **kwargs: Any) -> Any:
            out = own(*args, **kwargs)
            self._after(out[0])
            return out

        scheduler.step = step

    def _after(self, latents: Any) -> None:
        film, total = self.film, self.film.request.steps or 1
        self.done += 1
        film.say("denoise", min(self.done, total), total, self._picture(latents))
        if film.should_stop():
            self.pipe._interrupt = True
        last = self.pipe._interrupt or self.done >= total
        if film.way == "in turn":
            self._make_room(last)
        if last:
            film.say("decode", 0, 1)

    def _make_room(self, last: bool) -> None:
        """What has had its turn goes; the second expert comes when its first step is next."""
        pipe = self.pipe
        if last:
            _PARTS.let_go("transformer", "transformer_2")
        elif "transformer_2" in self.film.model.parts and pipe.transformer_2 is None:
            boundary = pipe.config.boundary_ratio * pipe.scheduler.config.num_train_timesteps
            if self.done < len(pipe.scheduler.timesteps) and pipe.scheduler.timesteps[self.done] < boundary:
                _PARTS.let_go("transformer")
                pipe.transformer_2 = self.film.part("transformer_2")

    def _picture(self, latents: Any) -> bytes | None:
        now = time.monotonic()
        if self.answer is None or now - self.pictured_at < PREVIEW_S:
            return None
        self.pictured_at = now
        shaped = _shaped(self.film, latents.detach().float().cpu())
        return preview.jpeg(shaped.numpy(), self.answer) if shaped is not None else None


def _shaped(film: _Film, latents: Any) -> Any:
    """(channels, frames, height, width); None for what cannot be laid out so."""
    model, request = film.model, film.request
    if model.family.name == "LTX" and latents.ndim == 3:  # (1, tokens, channels)
        high, across = request.height // model.spatial, request.width // model.spatial
        count = high * across
        if latents.shape[1] < count:
            return None
        whole = latents[0, latents.shape[1] % count:]
        return whole.reshape(-1, high, across, latents.shape[2]).permute(3, 0, 1, 2)
    if latents.ndim != 5:
        return None
    return latents[0].permute(1, 0, 2, 3) if model.family.name == "CogVideoX" else latents[0]


@functools.lru_cache(maxsize=1)
def _quieten() -> None:
    """Bars and advice would fill the log that errors are read from."""
    import diffusers
    import transformers

    warnings.filterwarnings("ignore")
    for library in (diffusers, transformers):
        library.utils.logging.set_verbosity_error()
        library.utils.logging.disable_progress_bar()
