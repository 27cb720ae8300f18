"""Find the fastest faithful form of a model: try each way to store it in a real worker, measure, compare, keep one.

A form wins when a turn of TURN tokens takes it at least GAIN less time, and loses however fast it is when what it
computes is not what the repo's own form computes: KL_MAX and AGREE_MIN, over a fixed text. Figures that set them:
docs/design/013-fast-on-a-plain-cpu.md.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater.chat import admission, form
from headwater.chat.form import Form
from headwater.chat.process import WorkerProcess, build_in, settings_for, threads
from headwater.chat.types import ChatModel
from headwater.core.errors import BadInput, DiskFull, EngineFailed
from headwater.core.settings import Settings
from headwater.core.types import Snapshot
from headwater.core.work import Progress

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import aiohttp

PROBE_JOB, BUILD_JOB = "form", "engine-build"
"""Kinds of the jobs: find a form, and compile an engine (which is the engine's own work)."""
TURN = (512, 128)
"""Tokens read and tokens written of the turn that is timed."""
WRITTEN, ROUNDS, CONTEXT_TRIED = 32, 3, 1024
GAIN = 0.10
KL_MAX, AGREE_MIN = 0.02, 0.95
"""Mean divergence of the next token's distribution in nats; share of places with the same first choice, of those where
the repo's form prefers its own by more than CLEAR nats."""
CLEAR = 0.2
LISTED, PLACES, FIRST = 64, 64, 24
"""Tokens of a distribution that are compared one by one; places in the text; the first of them."""
TOKENS_MAX = CONTEXT_TRIED - 2 * WRITTEN
"""Of the text, for tokenizers that cut it into letters."""
BATCH_S, BATCHES = 0.25, (64, 128, 256, 512)
"""A worker reads a prompt in batches; a hang-up waits for one, so none should take longer than this."""
TEXT = """The river rises in the hills above the town, where the snow lies until May. In spring it carries more water
than the old bridge was built for, and in 1921 it took the bridge with it. People say that on quiet nights one can
still hear the stones. The engineer who built the new one had learned from this: she made the arches wider, set the
piers on rock, and wrote down every flood since. "Water always wins," she used to say, "so give it room."

Question: A train leaves at 9:40 and arrives at 11:05. How long does the journey take?
Answer: From 9:40 to 10:40 is one hour, and from 10:40 to 11:05 are 25 minutes, so it takes 1 hour and 25 minutes.

河水从山上流下来，经过小镇，最后流入大海。春天的时候，雪化了，河水涨得很高。老人们说，这座桥是一百年前建的。

def mean(numbers: list[float]) -> float:
    \"\"\"The arithmetic mean; raises ValueError for an empty list.\"\"\"
    if not numbers:
        raise ValueError("mean of nothing")
    return sum(numbers) / len(numbers)

1. Boil the water. 2. Add the rice and a little salt. 3. Cover the pot, turn down the heat and wait for 15 minutes.
The capital of France is Paris, the capital of Japan is Tokyo, and the capital of Egypt is Cairo.
"""

Logits = list[dict[int, float]]
"""For each place in the text, log-probabilities of the likeliest next tokens by token id."""


@dataclass(frozen=True)
class Trial:
    """One form measured. Rates in tokens a second of processor time, seconds of it for TURN. kl, agree: None for the
    repo's own. refused: why it cannot win, None if it can."""

    form: str
    bytes: int
    read_rate: float
    write_rate: float
    seconds: float
    kl: float | None = None
    agree: float | None = None
    refused: str | None = None


def probe(settings: Settings, model: ChatModel, snapshot: Snapshot, progress: Progress, *,
          smaller: bool = False) -> dict[str, Any]:
    """Try the forms of a model and keep the winner: {form or None, trials, ...}. Blocking, for a minute or more.

    smaller: try forms with fewer bits too. Raises BadInput (no forms for this), EngineFailed, DiskFull.
    """
    settings = settings_for(model, snapshot, settings)
    digest = form.digest_of(model, snapshot)
    offered = getattr(model.engine, "forms", None)
    if offered is None or digest is None:
        raise BadInput(f"{model.path} runs as it is stored.", hint="Forms are for GGUF files that are not in parts.")
    folder, sizes = form.folder_of(settings, digest), offered(Path(snapshot.folder) / model.path, smaller)
    build = build_in(model, settings)
    candidates = [Form(name, folder / f"{name}.gguf", size) for name, size in sizes.items()]
    trials = asyncio.run(_tries(settings, model, snapshot, candidates, progress))
    best = _winner(trials)
    won = next((one for one in candidates if one.name == best.form), None)
    verdict = {"form": won and won.name, "bytes": won.file.stat().st_size if won else 0,
               "batch": _batch(best.read_rate), "trials": [asdict(trial) for trial in trials], "at": time.time(),
               "build": build, "processor": form.place(build).partition(" ")[0]}
    form.decide(settings, digest, build, verdict)
    kept = {found.get("form") for found in form.verdicts(settings, digest).values()}
    for one in candidates:
        if one.name not in kept:
            one.file.unlink(missing_ok=True)
    return {"model": model.exact_name, "file": model.path, **verdict}


def probe_job(settings: Settings, find: Callable[[str], tuple[ChatModel, Snapshot]]) -> Any:
    """The job's body. find: the model of an exact name and its files."""
    return lambda payload, progress: probe(settings, *find(payload["model"]), progress,
                                           smaller=bool(payload.get("smaller")))


def _winner(trials: list[Trial]) -> Trial:
    """The repo's own, unless a faithful one takes at least GAIN less time."""
    own, rest = trials[0], [trial for trial in trials[1:] if trial.refused is None]
    best = min(rest, key=lambda trial: trial.seconds, default=own)
    return best if best.seconds <= own.seconds * (1 - GAIN) else own


def _batch(rate: float) -> int:
    return max((size for size in BATCHES if size <= rate * BATCH_S), default=BATCHES[0])


# --- measuring


async def _tries(settings: Settings, model: ChatModel, snapshot: Snapshot, candidates: list[Form],
                 progress: Progress) -> list[Trial]:
    import aiohttp

    async with aiohttp.ClientSession(trust_env=False, connector=aiohttp.TCPConnector(force_close=True)) as http:
        own = next(entry.size for entry in snapshot.files if entry.path == model.path)
        progress(0, len(candidates) + 1, stage="trying the form of the repo", unit="forms")
        first, logits = await _trial(http, settings, model, snapshot, None, own)
        trials = [first]
        for done, one in enumerate(candidates, 1):
            if why := _no_room(one):
                trials.append(replace(first, form=one.name, bytes=one.bytes, refused=why))
                continue
            if not one.file.is_file():
                form.write(settings, model, snapshot, one, lambda written, one=one: progress(
                    written, one.bytes, stage=f"storing as {one.name}", unit="bytes"))
            progress(done, len(candidates) + 1, stage=f"trying {one.name}", unit="forms")
            trial, other = await _trial(http, settings, model, snapshot, one, one.file.stat().st_size)
            trials.append(_judged(trial, logits, other))
    return trials


def _no_room(one: Form) -> str | None:
    """Memory that is not there; a disk that is too full is an error, for nothing else would fit either."""
    import shutil

    one.file.parent.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(one.file.parent).free < one.bytes * 1.2:
        raise DiskFull(f"{one.name} takes {one.bytes:,} bytes, and the data folder has not as much free.")
    if admission.available() < one.bytes + 2 * admission.OVERHEAD_BYTES:
        return "there is not enough free memory"
    return None


def _judged(trial: Trial, own: Logits, other: Logits) -> Trial:
    kl, agree = compare(own, other)
    refused = None
    if kl > KL_MAX:
        refused = f"it computes something else: divergence {kl:.4f} nats, at most {KL_MAX}"
    elif agree < AGREE_MIN:
        refused = f"it prefers another token in {1 - agree:.1%} of clear places, at most {1 - AGREE_MIN:.0%}"
    return replace(trial, kl=round(kl, 6), agree=round(agree, 4), refused=refused)


def compare(own: Logits, other: Logits) -> tuple[float, float]:
    """(mean KL of other from own in nats, share of own's clear first choices that are other's too).

    What is in own's list and not in other's counts as the least of other's; all that is in neither, as one token.
    """
    total, clear, same = 0.0, 0, 0
    for p, q in zip(own, other, strict=True):
        floor, rest_p, rest_q = min(q.values()), 1.0, 1.0
        for token, log_p in p.items():
            log_q = q.get(token, floor)
            total += math.exp(log_p) * (log_p - log_q)
            rest_p, rest_q = rest_p - math.exp(log_p), rest_q - math.exp(log_q)
        if rest_p > 1e-6:
            total += rest_p * (math.log(rest_p) - math.log(max(rest_q, 1e-6)))
        first, *others = sorted(p, key=p.__getitem__, reverse=True)
        if not others or p[first] - p[others[0]] > CLEAR:
            clear += 1
            same += max(q, key=q.__getitem__) == first
    return max(0.0, total / len(own)), same / clear if clear else 1.0


async def _trial(http: aiohttp.ClientSession, settings: Settings, model: ChatModel, snapshot: Snapshot,
                 one: Form | None, size: int) -> tuple[Trial, Logits]:
    async with _worker(http, settings, model, snapshot, one) as ask:
        tokens = (await ask("/tokenize", {"content": TEXT, "add_special": True}))["tokens"][:TOKENS_MAX]
        long = (tokens * (TURN[0] // len(tokens) + 1))[:TURN[0]]
        read = write = 0.0
        for _ in range(ROUNDS):
            greedy = {"prompt": long, "temperature": 0, "ignore_eos": True}
            begin = ask.computed()
            await ask("/completion", {**greedy, "n_predict": 1, "cache_prompt": False})
            middle = ask.computed()
            await ask("/completion", {**greedy, "n_predict": WRITTEN, "cache_prompt": True})
            read, write = (max(read, TURN[0] / max(1e-3, middle - begin)),
                           max(write, WRITTEN / max(1e-3, ask.computed() - middle)))
        step = max(1, (len(tokens) - FIRST) // PLACES)
        logits = [await _next(ask, tokens[:at], tokens[FIRST - 1]) for at in range(FIRST, len(tokens), step)][:PLACES]
    name = one.name if one else "as stored"
    return Trial(name, size, round(read, 1), round(write, 1), round(TURN[0] / read + TURN[1] / write, 4)), logits


def _computed(worker: WorkerProcess, width: int) -> float:
    """Processor seconds the worker took for each of its threads: unlike those of the clock, the same beside others."""
    import psutil

    took = psutil.Process(worker.endpoint.pid).cpu_times()
    return (took.user + took.system) / width


async def _next(ask: Any, tokens: list[int], said: int) -> dict[int, float]:
    """said: the token it is made to say, a whole character: for half of one llama.cpp tells no probabilities. Those it
    tells are from before the choice, so this changes none."""
    told = await ask("/completion", {"prompt": tokens, "n_predict": 1, "n_probs": LISTED, "cache_prompt": True,
                                     "temperature": 0, "logit_bias": [[said, 1000]]})
    listed = told["completion_probabilities"][0]["top_logprobs"]
    return {one["id"]: one["logprob"] for one in listed if one["logprob"] is not None and one["logprob"] > -1e30}


@asynccontextmanager
async def _worker(http: aiohttp.ClientSession, settings: Settings, model: ChatModel, snapshot: Snapshot,
                  one: Form | None) -> AsyncIterator[Any]:
    """A worker of the form, one slot, as a verb: ask(path, body) -> JSON, and ask.computed(). Raises EngineFailed."""
    import aiohttp

    plan = admission.Plan(1, CONTEXT_TRIED, 0)
    worker = await WorkerProcess.start(model, snapshot, settings, http, plan, told=one.environ() if one else None)

    async def ask(path: str, body: dict[str, Any]) -> Any:
        try:
            async with http.post(f"{worker.endpoint.url}{path}", json=body,
                                 headers={"Authorization": f"Bearer {worker.endpoint.key}"}) as answer:
                if answer.status == 200:
                    return await answer.json()
                said = (await answer.text())[:300]
        except aiohttp.ClientError as error:
            raise worker.failure(f"ended while {path} was asked ({error})") from None
        raise EngineFailed(f"{model.path} cannot be measured: {path} answered {answer.status}: {said}")

    ask.computed = lambda: _computed(worker, threads(settings))
    try:
        yield ask
    finally:
        await worker.stop(kindly=False)
