"""A small model for every engine on the shelf, and a worker run bare, without the supervisor.

A new engine wants one line in SAMPLES: the contract tests fail with that sentence until it has one.
"""

import atexit
import contextlib
import functools
import itertools
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
from real_models import smollm2_gguf

from headwater.chat.process import environment
from headwater.core.types import Access, Actor, Card, Entry, EntryKind, Kind, Repo, Snapshot
from headwater.engines import ENGINES
from headwater.hub import repos
from headwater.hub.accounts import create_user, issue_token, owner_actor, set_password
from headwater.hub.commit import Add, commit

KEY = "key-of-the-tests"
RIVER = (
    "The river rises in the hills. The river runs to the sea. 河水从山上流下。海很宽🌊。"
    "The sea is wide and the hills are high. Water finds its way."
)


@dataclass(frozen=True)
class Sample:
    """make writes a working model into a folder; spoil breaks it; endless writes one that talks for seconds."""

    make: Callable[[Path], None]
    spoil: Callable[[Path], None]
    endless: Callable[[Path], None]
    starts_s: float = 20
    env: Callable[[], dict[str, str]] = dict
    """What the engine's own environment() would add for the sample."""


def markov(folder: Path, text: str = RIVER, **config) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps({"model_type": "markov", **config}))
    (folder / "corpus.txt").write_text(text, "utf-8")


def smollm2(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    os.symlink(smollm2_gguf(), folder / "SmolLM2-135M-Instruct.Q4_1.gguf")


def cut_smollm2(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with smollm2_gguf().open("rb") as file:
        (folder / "SmolLM2-135M-Instruct.Q4_1.gguf").write_bytes(file.read(3_000_000))


@functools.cache
def another_headwater() -> tuple[str, str]:
    """(URL, token) of a closed hub in a process of its own, with two markov models; it ends with the tests."""
    from server import opened_hub

    data = Path(tempfile.mkdtemp(prefix="hw-remote-"))
    with opened_hub(data) as hub:
        person = Actor(create_user(hub, owner_actor(hub), "distant", "a long password", is_admin=True), Access.ADMIN)
        token = issue_token(hub, person, "tests")[0]
        for name, text, config in (("river", RIVER, {}), ("clock", "tick tock ", {"tokens_per_second": 200})):
            repo = repos.create(hub, person, Kind.MODEL, "distant", name)
            commit(hub, person, repo, "main", [Add("corpus.txt", text.encode()), Add(
                "config.json", json.dumps({"model_type": "markov", **config}).encode())], title="files")
        set_password(hub, owner_actor(hub), owner_actor(hub).name, "a long password")
    process = subprocess.Popen([sys.executable, str(Path(__file__).with_name("hub_process.py")), str(data),
                                json.dumps({"port": 0})], stdout=subprocess.PIPE, text=True)
    atexit.register(lambda: (process.kill(), process.wait(), shutil.rmtree(data, ignore_errors=True)))
    url = f"http://127.0.0.1:{process.stdout.readline().strip()}/v1"
    # it says its port a moment before it listens
    with httpx.Client(transport=httpx.HTTPTransport(retries=6), timeout=60,
                      headers={"Authorization": f"Bearer {token}"}) as client:
        for model in ("river", "clock"):  # loads them now: tests of others count the processes below ours
            client.post(f"{url}/chat/completions", json={
                "model": f"distant/{model}", "messages": [{"role": "user", "content": "?"}], "max_tokens": 1},
            ).raise_for_status()
    return url, token


def remote(folder: Path, model: str = "distant/river") -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "remote.json").write_text(json.dumps({"url": another_headwater()[0], "model": model}))


def remote_env() -> dict[str, str]:
    url, token = another_headwater()
    return {"HEADWATER_REMOTE_URL": url, "HEADWATER_REMOTE_KEY": token}


def broken_remote(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "remote.json").write_text('{"url": "file:///etc/passwd", "model": "x"}')


def alphabet(folder: Path, last: str = "<|im_end|>") -> None:
    """A genuine Llama of one layer, 128 wide, that says the letters, 海 and 🌊 and then `last`: each token's embedding
    is a direction of its own, attention and MLP add nothing, and the head points from each to its successor."""
    import torch
    from tokenizers import Tokenizer, decoders, models
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    marks = ["<unk>", "<|im_start|>", "<|im_end|>"]
    words = [*marks, *dict.fromkeys("\n" + "".join(map(chr, range(32, 123))) + "海🌊用中文和表情符号回答")]
    tokens = Tokenizer(models.BPE({word: n for n, word in enumerate(words)}, [], unk_token="<unk>"))
    tokens.decoder = decoders.Fuse()
    PreTrainedTokenizerFast(tokenizer_object=tokens, unk_token="<unk>", eos_token="<|im_end|>",
                            additional_special_tokens=["<|im_start|>"]).save_pretrained(folder)
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=128, hidden_size=128, intermediate_size=32, num_hidden_layers=1, num_attention_heads=4,
        max_position_embeddings=2048, eos_token_id=2, bos_token_id=None, tie_word_embeddings=False))
    chain = ["\n", *"abcdefghijklmnopqrstuvwxyz海🌊", last]
    with torch.no_grad():
        model.model.embed_tokens.weight.copy_(torch.eye(128))
        model.model.layers[0].self_attn.o_proj.weight.zero_()
        model.model.layers[0].mlp.down_proj.weight.zero_()
        model.lm_head.weight.copy_(torch.randn(128, 128) * 0.05)
        model.lm_head.weight[len(words):] = -9
        for one, two in itertools.pairwise(chain):
            model.lm_head.weight[words.index(two), words.index(one)] = 1
    model.save_pretrained(folder)


def spoilt_alphabet(folder: Path) -> None:
    alphabet(folder)
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:len(whole) // 2])


SAMPLES = {
    "llamacpp": Sample(smollm2, cut_smollm2, smollm2),
    "markov": Sample(markov, lambda f: markov(f, text=" "), lambda f: markov(f, "tick tock ", tokens_per_second=200)),
    "remote": Sample(remote, broken_remote, lambda f: remote(f, "distant/clock"), env=remote_env),
    "transformers": Sample(alphabet, spoilt_alphabet, lambda f: alphabet(f, "a"), starts_s=60),
}


def snapshot_of(folder: Path, name: str = "someone/model") -> Snapshot:
    owner, short = name.split("/")
    repo = Repo(1, Kind.MODEL, owner, short, False, 0.0, 0.0, "0" * 40, 0, 0, 0, Card())
    files = tuple(Entry(str(p.relative_to(folder)), EntryKind.FILE, "0" * 40, p.stat().st_size, "0" * 64)
                  for p in sorted(folder.rglob("*")) if p.is_file())
    return Snapshot(repo, "a" * 40, str(folder), files)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def argv_for(name: str, folder: Path, port: int) -> list[str]:
    engine, snapshot = ENGINES[name], snapshot_of(folder)
    path = engine.accepts([entry.path for entry in snapshot.files])
    assert path is not None, f"{name} does not take its own sample"
    return engine.command(snapshot, path, port=port, threads=1, context=1024)


@contextlib.contextmanager
def bare_worker(name: str, folder: Path):
    """(process, client with the right key). stderr goes to worker.log beside the folder."""
    port = free_port()
    with (folder.parent / "worker.log").open("wb") as log:
        process = subprocess.Popen(argv_for(name, folder, port), stdin=subprocess.PIPE, stdout=log, stderr=log,
                                   env={**environment(KEY), **SAMPLES[name].env()})
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60,
                          headers={"Authorization": f"Bearer {KEY}", "Connection": "close"})
    try:
        with client:
            yield process, client
    finally:
        process.kill()
        process.wait()
