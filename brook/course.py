"""One way to train that both parts of brook take: AdamW, or Muon for what a part names, under a cosine, a running mean
of the weights, a log, and a checkpoint every two minutes that a killed run goes on from. Each step's chance comes from
seed and number of the step alone, so a run that was stopped sees what an unbroken one sees. Runs in the environment
that has torch.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

EVERY_S, TELL = 120.0, 50
Loss = Callable[[int], tuple[torch.Tensor, Mapping[str, float]]]
"""From the number of a step to the loss and what the log should say of it."""


@dataclass(frozen=True)
class Course:
    """name: of checkpoint and log. steps in all; rate at its highest, after `warm` steps; it ends at a 50th. mean: how
    much the running mean keeps from step to step. whole: parameters under these names are matrices that Muon turns as
    wholes (Jordan 2024, with Moonshot's scale, so that one rate does for both)."""

    name: str
    steps: int
    rate: float
    warm: int = 100
    decay: float = 0.01
    mean: float = 0.995
    whole: tuple[str, ...] = ()

    def rate_at(self, step: int) -> float:
        left = 0.5 + 0.5 * math.cos(math.pi * min(1.0, step / self.steps))
        return self.rate * min(1.0, (step + 1) / self.warm) * (0.02 + 0.98 * left)

    def optimisers(self, ours: Mapping[str, torch.nn.Parameter]) -> list[torch.optim.Optimizer]:
        whole = {name for name, p in ours.items() if p.ndim == 2 and name.startswith(self.whole)}
        rest = [p for name, p in ours.items() if name not in whole]
        made: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(rest, lr=self.rate, betas=(0.9, 0.98), weight_decay=self.decay)]
        if whole:
            made.append(torch.optim.Muon([ours[name] for name in ours if name in whole], lr=self.rate,
                                         weight_decay=self.decay, adjust_lr_fn="match_rms_adamw"))
        return made


def seeded(seed: int, step: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed * 1_000_003 + step)


def run(course: Course, module: torch.nn.Module, loss_of: Loss, folder: Path, log: Path,
        stop_after: int | None = None) -> dict[str, torch.Tensor]:
    """Train, from the checkpoint in `folder` if there is one; the mean of the weights. stop_after: steps of this call,
    for a run that shall be stopped early (its checkpoint is kept)."""
    ours = {n: p for n, p in module.named_parameters() if p.requires_grad}
    optimisers = course.optimisers(ours)
    mean = {n: p.detach().clone() for n, p in ours.items()}
    kept, step, spent = folder / f"{course.name}.pt", 0, 0.0
    if kept.exists():
        state = torch.load(kept, weights_only=True)
        module.load_state_dict(state["module"])
        for optimiser, known in zip(optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(known)
        mean, step, spent = state["mean"], int(state["step"]), float(state["spent"])
    first, began, saved, told = step, time.monotonic(), time.monotonic(), 0.0
    last = course.steps if stop_after is None else min(course.steps, step + stop_after)
    while step < last:
        loss, facts = loss_of(step)
        module.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(ours.values(), 1.0)
        for optimiser in optimisers:
            for group in optimiser.param_groups:
                group["lr"] = course.rate_at(step)
            optimiser.step()
        keep = min(course.mean, (1 + step) / (10 + step))
        with torch.no_grad():
            torch._foreach_lerp_(list(mean.values()), list(ours.values()), 1 - keep)
        step += 1
        told += float(loss.detach())
        now = time.monotonic()
        if step % TELL == 0:
            _tell(course, step, told / TELL, facts, spent + now - began, (now - began) / (step - first), log)
            told = 0.0
        if now - saved > EVERY_S or step == last:
            _save(kept, module, optimisers, mean, step, spent + now - began)
            saved = now
    return mean


def _tell(course: Course, step: int, loss: float, facts: Mapping[str, float], spent: float, each: float,
          log: Path) -> None:
    left = each * (course.steps - step)
    print(f"{course.name}: step {step} of {course.steps}, loss {loss:.4f}, "
          + "".join(f"{key} {value:.3f}, " for key, value in facts.items())
          + f"{each:.2f} s a step, {left / 60:.0f} min left", flush=True)
    line = {"part": course.name, "step": step, "loss": round(loss, 5), "seconds": round(spent)}
    with log.open("a") as file:
        file.write(json.dumps(line | {key: round(value, 4) for key, value in facts.items()}) + "\n")


def _save(file: Path, module: torch.nn.Module, optimisers: list[torch.optim.Optimizer],
          mean: Mapping[str, torch.Tensor], step: int, spent: float) -> None:
    state = {"module": module.state_dict(), "optimisers": [each.state_dict() for each in optimisers],
             "mean": dict(mean), "step": step, "spent": spent}
    part = file.with_suffix(f".{os.getpid()}.part")
    torch.save(state, part)
    part.replace(file)
