"""The named cases of cases.toml, run by whoever has the weights: a folder of models, or a hub that serves them.

Of a hub (Headwater or another that speaks the Hugging Face API) only the ranges that are looked at are fetched.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from headwater.trace.fingerprint import Fingerprint
from headwater.trace.judge import judge
from headwater.trace.judgement import Verdict
from headwater.trace.make import make_fingerprint
from headwater.trace.null import NullLibrary
from headwater.weights.source import FileSource

MANIFEST = Path(__file__).with_name("cases.toml")
LAYERS = {v for v in Verdict if v.kin} - {Verdict.SHARES_EMBEDDINGS}
APART = {Verdict.SAME_ARCHITECTURE, Verdict.UNRELATED, Verdict.BEHAVES_ALIKE}


@dataclass(frozen=True)
class Case:
    a: str
    b: str
    relation: str
    expect: tuple[str, ...]
    record: str
    seen: bool
    settled: bool = True

    @property
    def allowed(self) -> set[Verdict]:
        groups = {"kin": LAYERS, "apart": APART}
        return {verdict for word in self.expect for verdict in groups.get(word) or {Verdict(word)}}


def read_cases(file: Path = MANIFEST) -> list[Case]:
    return [Case(**{**one, "expect": tuple(one["expect"])}) for one in tomllib.loads(file.read_text("utf-8"))["case"]]


def run(where: str, told: Callable[[str], None] = print, cases: list[Case] | None = None) -> int:
    """0 if every settled case that could be run agrees with the record, else 1; 2 if none could."""
    ask = _asking_a_hub(where) if where.startswith(("http://", "https://")) else _asking_a_folder(Path(where))
    ran = wrong = 0
    for case in cases or read_cases():
        found = ask(case)
        if isinstance(found, str):
            told(f"not run     {case.a} / {case.b}: {found}")
            continue
        verdict, says = found
        agrees = verdict in case.allowed
        ran += 1
        wrong += case.settled and not agrees
        mark = "open" if not case.settled else "agrees" if agrees else "DIFFERS"
        told(f"{mark:<11} {case.a} / {case.b}: {verdict} (on record: {case.relation}). {says}")
    told(f"{ran} cases run, {wrong} differ from the record.")
    return 2 if not ran else int(wrong > 0)


_Asked = Callable[[Case], tuple[Verdict, str] | str]
"""The verdict and its sentence, or why the case cannot be run."""


def _asking_a_folder(folder: Path) -> _Asked:
    null = NullLibrary.load()

    @lru_cache(maxsize=64)
    def print_of(name: str) -> Fingerprint | None:
        place = folder / name
        files = {str(p.relative_to(place)): p.stat().st_size for p in sorted(place.rglob("*")) if p.is_file()}
        return make_fingerprint(lambda path: FileSource(place / path), files) if files else None

    def ask(case: Case) -> tuple[Verdict, str] | str:
        one, two = print_of(case.a), print_of(case.b)
        if one is None or two is None:
            return f"{case.a if one is None else case.b} is not here."
        found = judge(one, two, null)
        return found.verdict, found.says

    return ask


def _asking_a_hub(url: str) -> _Asked:
    def ask(case: Case) -> tuple[Verdict, str] | str:
        command = [sys.executable, "-m", "headwater", "trace", f"hf:{case.a}", f"hf:{case.b}", "--json"]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "HF_ENDPOINT": url})
        try:
            said = json.loads(done.stdout)
        except ValueError:
            return done.stderr.strip()[-500:] or f"headwater trace ended with {done.returncode}."
        if done.returncode:
            return str(said.get("error", said))
        return Verdict(said["verdict"]), said.get("says", "")

    return ask
