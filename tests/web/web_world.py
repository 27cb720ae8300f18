"""A small world for the pages: repos of every kind of content, made with the hub's own verbs, and a server over it."""

from __future__ import annotations

import json
import pickle
import socket
import struct
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import uvicorn
from trace_made import made, noisy, permuted, rotated, save_gguf, save_hf

from headwater.app import App, open_app
from headwater.core.settings import load
from headwater.core.types import Access, Actor, Conversation, KeptFilm, Kind, Message, Repo
from headwater.film.make import film_job
from headwater.film.order import keep_file
from headwater.hub import accounts, repos
from headwater.hub.commit import Add, Delete, commit
from headwater.talks.files import upload
from headwater.trace.work import trace_job

RIVER_CARD = """---
license: apache-2.0
language: [en, zh]
pipeline_tag: text-generation
library_name: transformers
base_model: HuggingFaceTB/SmolLM2-135M
base_model_relation: finetune
datasets: [reader/streams]
tags: [chat, toy]
---
# Streamlet 8K

A small language model that talks of rivers, made to try a hub with. It knows few words and says them gladly.

## What it is for

Trying a hub. Not for advice on floods.

| part | figure |
|---|---:|
| layers | 4 |
| width | 64 |

```python
from transformers import pipeline

talk = pipeline("text-generation", model="reader/Streamlet-8K")
print(talk("Where does the river begin?", max_new_tokens=40)[0]["generated_text"])  # in the hills
```

![The course](course.png) and a badge from elsewhere: ![build](https://example.org/badge.svg)

- [x] talks
- [ ] swims

<script>document.title = "stolen"</script><img src="x" onerror="document.title='stolen'">
See [the licence](LICENSE) and [a section](#what-it-is-for).
"""

CHINESE_CARD = """---
license: mit
language: zh
pipeline_tag: text-generation
base_model: reader/Streamlet-8K
tags: [chat]
---
# 溪流

一个谈论河流的小模型，用来试用模型库。它认识的字不多，说起话来却很高兴。

## 用途

试用模型库；不要拿它来问汛情。
"""

BROOK_CARD = """---
license: cc0-1.0
pipeline_tag: text-generation
tags: [toy]
description: A chain over the words of five sentences. It keeps the whole contract of an engine and weighs nothing.
---
# Brook
"""

CORPUS = ("The river begins in the hills. The water runs down to the sea. A small spring feeds the river. "
          "The hills are high and the sea is wide. **Rain** falls on the hills and the river rises. ")


@dataclass(frozen=True)
class World:
    app: App
    url: str
    owner: Actor


@contextmanager
def served(data: Path, *, fill: bool = True) -> Iterator[World]:
    """A hub over `data` on a free port, open on loopback, with the sample repos in it."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    app = open_app(load(data, {"port": port, "owner": "reader", "trace_uploads": 0}, {}))
    server = uvicorn.Server(uvicorn.Config(app.http, host="127.0.0.1", port=port, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    owner = accounts.owner_actor(app.hub)
    if fill:
        fill_hub(app, owner)
    thread.start()
    while not server.started:
        if not thread.is_alive():
            raise RuntimeError("the server did not start")
        time.sleep(0.02)
    try:
        yield World(app, f"http://127.0.0.1:{port}", owner)
    finally:
        server.should_exit = True
        thread.join(20)


def fill_hub(app: App, owner: Actor) -> None:
    hub = app.hub

    def make(name: str, files: dict[str, bytes], *, kind: Kind = Kind.MODEL, of: str = "reader",
             private: bool = False) -> Repo:
        made = repos.create(hub, owner, kind, of, name, private=private)
        put(made, files, "Upload the files")
        return made

    def put(repo: Repo, files: dict[str, bytes], title: str) -> None:
        commit(hub, owner, repo, "main", [Add(path, content=data) for path, data in files.items()], title=title)

    streamlet = make("Streamlet-8K", {
        "config.json": json.dumps({
            "architectures": ["LlamaForCausalLM"], "model_type": "llama", "num_hidden_layers": 4, "hidden_size": 64,
            "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 512, "max_position_embeddings": 2048,
        }, indent=2).encode(),
        "tokenizer_config.json": json.dumps({
            "eos_token": "<|im_end|>", "chat_template": "{% for m in messages %}<|im_start|>{{ m.role }}\n"
            "{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}",
        }).encode(),
        "model.safetensors": safetensors(), "LICENSE": b"Apache License 2.0\n", "course.png": picture(),
    })
    put(streamlet, {"README.md": RIVER_CARD.encode()}, "Write the card")
    put(streamlet, {"notes/first.md": b"# First notes\n\nIt runs.\n", "notes/deep/second.py": b'print("down")\n'},
        "Keep the notes")
    put(streamlet, {"notes/first.md": b"# First notes\n\nIt runs, and runs on.\n"}, "Say that it runs on")
    commit(hub, owner, streamlet, "main", [Delete("notes/deep/second.py")], title="Drop a script nobody ran")
    repos.create_tag(hub, owner, streamlet, "v1")
    repos.create_branch(hub, owner, streamlet, "spring")
    hub.repos.like(streamlet, True, by=owner)

    make("xiliu", {"README.md": CHINESE_CARD.encode(),
                   "config.json": b'{"model_type": "markov", "tokens_per_second": 60}',
                   "corpus.txt": ("河从山里来。水往海里去。" * 3).encode()})
    make("brook-markov", {
        "config.json": b'{"model_type": "markov", "tokens_per_second": 40}', "corpus.txt": (CORPUS * 3).encode(),
        "README.md": BROOK_CARD.encode()})
    make("old-pickle", {"pytorch_model.bin": hostile_pickle(), "broken.safetensors": b"\xff" * 64})
    make("bare", {"weights.bin": b"\0" * 4096})
    repos.create(hub, owner, Kind.MODEL, "reader", "nothing-yet")
    make("hidden", {"README.md": b"# Hidden\n\nNobody else sees this one.\n"}, private=True)
    make("streams", {
        "README.md": b"---\nlicense: cc-by-4.0\ntask_categories: [text-generation]\nsize_categories: n<1K\n---\n"
                     b"# Streams\n\nA hundred sentences on rivers, one a line, written for this page.\n",
        "train.jsonl": b'{"text": "The river begins in the hills."}\n' * 100}, kind=Kind.DATASET)
    org = accounts.create_org(hub, owner, "watershed", fullname="Watershed Collective")
    other = hub.accounts.create("mei", is_org=False, fullname="Mei", email=None, is_admin=False, password_hash=None,
                                by=owner)
    hub.accounts.set_role(org, other, Access.WRITE, by=owner)
    make("delta-tokenizer", {"tokenizer.json": b'{"model": {"type": "BPE", "vocab": {}}}'}, of="watershed")
    talk(app, owner)
    film(app, owner)
    family(app, owner, make)


def family(app: App, owner: Actor, make: Callable[..., Repo]) -> None:
    """Read weights: a source, a child that says so, one of it that says nothing, a private one, a stranger."""
    source = made(0, layers=6)
    child = noisy(source, 0.1)
    hidden = permuted(rotated(noisy(child, 0.1, seed=4)))
    models = {"headspring": (source, "license: gemma\n", save_hf),
              "stranger": (made(5, layers=6), "license: mit\n", save_hf),
              "rill": (child, "base_model: reader/headspring\nlicense: gemma\n", save_hf),
              "brooklet": (hidden, "license: mit\n", save_gguf),
              "unseen-rill": (noisy(source, 0.2, seed=9), "license: mit\n", save_hf)}
    for name, (model, front, save) in models.items():
        with tempfile.TemporaryDirectory() as folder:
            save(Path(folder), model)
            files = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
        repo = make(name, files | {"README.md": f"---\n{front}---\n# {name}\n".encode()},
                    private=name.startswith("unseen"))
        trace_job(app.trace)({"repo_id": repo.id, "revision": app.hub.repos.get(repo.id).head},
                             lambda *said, **more: None)


def film(app: App, owner: Actor) -> None:
    """A small film that is made, one that came to nothing, and one nobody wanted any more."""
    here, staged = app.film, app.film.stage([picture(320, 240)], limit=1_000_000)
    photo = keep_file(here, owner.account, staged, "photo", "image/png")
    asked = {"engine": "plain", "kind": "i2v", "model": "", "revision": "", "prompt": "The river comes closer",
             "negative": "", "seconds": 1.0, "fps": 6, "width": 96, "height": 72, "seed": 7, "steps": None,
             "guidance": None, "preset": "normal", "camera": {"zoom": 4.0}, "more": {}, "notes": ["A note to read."]}
    for name, state, error in (("f", "queued", None), ("e", "failed", "The film needs more memory."),
                               ("d", "cancelled", None)):
        here.films.add(KeptFilm(f"video_{name * 32}", owner.account.id, None, state, asked, photo.id, None, None, None,
                                None, error, None, None, None, 1.7e9, None))
    film_job(here)({"film_id": f"video_{'f' * 32}"}, lambda *said, **more: None)


def talk(app: App, owner: Actor) -> None:
    """A shared conversation: reasoning, a table, a picture, and words that would like to be HTML."""
    talks = app.talks
    staged = talks.stage([picture()], limit=1_000_000)
    shown = upload(talks, owner.account, staged, "course.png", "vision")
    made = {"repo": "reader/Streamlet-8K", "revision": "4f" * 20, "engine": "llamacpp", "seed": 7}
    said = [("user", [{"type": "text", "text": "Where does this river run? <script>alert(1)</script>"},
                      {"type": "file", "file": {"file_id": shown.id, "filename": "course.png"}}], "", {}),
            ("assistant", "# Down\n\nFrom the **hills** to the sea.\n\n| from | to |\n|---|---|\n| hills | sea |"
             "\n\n```python\nprint('river')\n```\n\n[elsewhere](https://example.org) ![x](https://example.org/x.png)",
             "It starts high up.", made),
            ("user", "河流去哪里？", "", {}), ("assistant", "# Down\n\n往海里去。", "", made)]
    messages = [Message(f"{n:032x}", f"{n - 1:032x}" if n else None, role, content, reasoning,
                        "reader/Streamlet-8K" if made else "", made, 1.7e9) for n, (role, content, reasoning, made)
                in enumerate(said)]
    talks.conversations.create(Conversation(
        "c" * 32, owner.account.id, "Where rivers run", "", "Answer briefly.", "reader/Streamlet-8K", {},
        messages[-1].id, "s" * 32, 1.7e9, 1.7e9), messages, most=9)


def safetensors() -> bytes:
    """A file of 4 layers whose numbers are all zero: only its header is ever read here."""
    shapes = {"model.embed_tokens.weight": (512, 64), "model.norm.weight": (64,)}
    for n in range(4):
        layer = f"model.layers.{n}"
        shapes |= {f"{layer}.self_attn.q_proj.weight": (64, 64), f"{layer}.mlp.up_proj.weight": (172, 64),
                   f"{layer}.input_layernorm.weight": (64,)}
    header, at = {}, 0
    for name, shape in shapes.items():
        size = 2
        for dimension in shape:
            size *= dimension
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + b"\0" * at


def picture(width: int = 320, height: int = 90) -> bytes:
    """A PNG of a blue band in two shades, so that no image library is needed."""
    dark, light = bytes((23, 89, 138)), bytes((140, 190, 225))
    rows = b"".join(b"\0" + b"".join(dark if (x // 2 + y) % 60 < 30 else light for x in range(width))
                    for y in range(height))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


class _Call:
    def __reduce__(self) -> tuple:
        import os

        return os.system, ("true",)


def hostile_pickle() -> bytes:
    """A pickle that would run a command if anybody loaded it. Nobody does."""
    return pickle.dumps({"weight": _Call()}, protocol=2)
