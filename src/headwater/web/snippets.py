"""How to use a repo from code and terminal: the text of each snippet. Knows clients; knows no HTML."""

from __future__ import annotations

from typing import NamedTuple

from headwater.core.types import Entry, Kind, Repo


class Snippet(NamedTuple):
    """key: for the page to word a heading by. language: for colours."""

    key: str
    title: str
    language: str
    text: str


def snippets(repo: Repo, entries: list[Entry], url: str, talk: str | None, *, needs_token: bool,
             films: tuple[str, bool] | None = None) -> list[Snippet]:
    """Those that fit what the repo holds. url: the hub's address. talk: the name /v1 knows it by, or None. films: the
    name /v1/videos knows it by, and whether it needs a photo; None where no film can be made with it."""
    env = f"export HF_ENDPOINT={url}" + ("\nexport HF_TOKEN=hf_…   # from Settings, Tokens" if needs_token else "")
    names = {e.path for e in entries}
    gguf = [e.path for e in entries if e.path.endswith(".gguf")]
    asked = f'{{"model": "{talk}", "messages": [{{"role": "user", "content": "Why is the sky blue?"}}]}}'
    found = []
    if talk:
        key = "os.environ['HF_TOKEN']" if needs_token else '"none"'
        head = "import os\n\n" if needs_token else ""
        found += [
            Snippet("talk", "headwater", "bash", f"headwater chat {talk}"),
            Snippet("talk", "openai", "python", (
                f'{head}from openai import OpenAI\n\nclient = OpenAI(base_url="{url}/v1", api_key={key})\n'
                f'answer = client.chat.completions.create(\n    model="{talk}",\n'
                '    messages=[{"role": "user", "content": "Why is the sky blue?"}],\n)\n'
                "print(answer.choices[0].message.content)")),
            Snippet("talk", "curl", "bash", (
                f"curl {url}/v1/chat/completions \\\n  -H 'Content-Type: application/json' \\\n"
                + ("  -H \"Authorization: Bearer $HF_TOKEN\" \\\n" if needs_token else "")
                + f"  -d '{asked}'")),
        ]
    found += _films(*films, url, needs_token) if films else []
    kind = ', repo_type="dataset"' if repo.kind is Kind.DATASET else ""
    flag = " --repo-type dataset" if repo.kind is Kind.DATASET else ""
    found += [
        Snippet("get", "hf", "bash", f"{env}\nhf download {repo.full_name}{flag}"),
        Snippet("get", "huggingface_hub", "python", (
            "# with HF_ENDPOINT set as above\nfrom huggingface_hub import snapshot_download\n\n"
            f'folder = snapshot_download("{repo.full_name}"{kind})')),
    ]
    if repo.kind is Kind.DATASET:
        found.append(Snippet("load", "datasets", "python", (
            "# with HF_ENDPOINT set as above\nfrom datasets import load_dataset\n\n"
            f'data = load_dataset("{repo.full_name}")')))
        return found
    if "config.json" in names and any(n.endswith((".safetensors", ".bin")) for n in names):
        found.append(Snippet("load", "transformers", "python", (
            "# with HF_ENDPOINT set as above\nfrom transformers import AutoModelForCausalLM, AutoTokenizer\n\n"
            f'tokenizer = AutoTokenizer.from_pretrained("{repo.full_name}")\n'
            f'model = AutoModelForCausalLM.from_pretrained("{repo.full_name}")')))
    if "model_index.json" in names:
        found.append(Snippet("load", "diffusers", "python", (
            "# with HF_ENDPOINT set as above\nfrom diffusers import DiffusionPipeline\n\n"
            f'pipe = DiffusionPipeline.from_pretrained("{repo.full_name}")')))
    if gguf:
        found.append(Snippet("load", "llama.cpp", "bash", f"{env}\nllama-cli -hf {repo.full_name} -hff {gguf[0]}"))
    return found


def _films(name: str, needs_photo: bool, url: str, needs_token: bool) -> list[Snippet]:
    words = "the camera comes slowly closer" if needs_photo else "a red circle drifts left"
    photo = "photo.jpg " if needs_photo else ""
    sent = ', input_reference=open("photo.jpg", "rb")' if needs_photo else ""
    key, head = ("os.environ['HF_TOKEN']", "import os\n\n") if needs_token else ('"none"', "")
    return [
        Snippet("film", "headwater", "bash", f'headwater film {photo}"{words}" --model {name} -o film.mp4'),
        Snippet("film", "openai", "python", (
            f'{head}from openai import OpenAI\n\nclient = OpenAI(base_url="{url}/v1", api_key={key})\n'
            f'film = client.videos.create_and_poll(\n    model="{name}", prompt="{words}"{sent})\n'
            'client.videos.download_content(film.id).write_to_file("film.mp4")'))]
