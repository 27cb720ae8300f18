"""What the licences of a model's ancestors ask of whoever passes the model on. Not legal advice: a reminder of texts.

Rows whose text was not read here say so (`checked` False). Obligations add up over all ancestors that were found, not
only over the declared base. Knows licences by the names cards use.
"""

from __future__ import annotations

from dataclasses import dataclass

from headwater.trace.said import said

PERMISSIVE = ("apache-2.0", "mit", "bsd-3-clause", "bsd-2-clause", "cc0-1.0", "unlicense", "isc")


@dataclass(frozen=True)
class Licence:
    """asks: sentences. name_prefix: what the name of a derivative must begin with; name_contains: must hold.
    users_max: monthly users from which a licence must be asked for. source: where the text was seen."""

    title: str
    asks: tuple[str, ...]
    checked: bool
    source: str
    name_prefix: str | None = None
    name_contains: str | None = None
    noncommercial: bool = False
    passes_on: bool = False
    users_max: int | None = None


@dataclass(frozen=True)
class Duty:
    """of: the ancestors' full names."""

    licence: str
    title: str
    of: tuple[str, ...]
    asks: tuple[str, ...]
    checked: bool
    source: str


@dataclass(frozen=True)
class Duties:
    """unknown: ancestors whose licence is not in the table or not said. conflicts: sentences."""

    duties: tuple[Duty, ...]
    conflicts: tuple[str, ...]
    unknown: tuple[str, ...]


_COPY = said("Pass a copy of the licence on.")
_CHANGES = said("Say that you changed the files.")
_POLICY = said("Bind those who get it to the use policy.")
_NO_TEACHING = said("Its outputs may not improve other language models.")


def _llama(title: str, notice: str, display: str | None, prefix: str | None, checked: bool, *more: str) -> Licence:
    shows = (said("Show “%(sign)s” on the page or in the product.", sign=display),) if display else ()
    names = (said("Begin the model's name with “%(word)s”.", word=prefix),) if prefix else ()
    return Licence(title, (_COPY, said("Keep a NOTICE file: “%(text)s”", text=notice), *shows, *names, _POLICY, *more),
                   checked, "the agreement's text in public repositories", name_prefix=prefix, passes_on=True,
                   users_max=700_000_000)


def _notice(name: str) -> str:
    return (f"{name} is licensed under the {name} Community License, Copyright (c) Meta Platforms, Inc. All Rights "
            "Reserved.")


_LLAMA_3 = _llama("Meta Llama 3 Community License", _notice("Meta Llama 3"), "Built with Meta Llama 3", "Llama 3", True,
                  _NO_TEACHING)
_LATER = {version: _llama(f"Llama {version} Community License", _notice(f"Llama {version}"), "Built with Llama",
                          "Llama", False, said("A model taught with its outputs takes the name as well."))
          for version in ("3.1", "3.2", "3.3", "4")}

LICENCES: dict[str, Licence] = {
    "apache-2.0": Licence("Apache License 2.0", (_COPY, said("Keep NOTICE, if there is one."), _CHANGES), False,
                          "recalled"),
    "mit": Licence("MIT License", (said("Keep the copyright line and the licence."),), False,
                   "the licence of DeepSeek-V3"),
    "llama2": _llama("Llama 2 Community License", "Llama 2 is licensed under the LLAMA 2 Community License, Copyright "
                     "(c) Meta Platforms, Inc. All Rights Reserved.", None, None, False, _NO_TEACHING),
    "llama3": _LLAMA_3,
    **{f"llama{version}": licence for version, licence in _LATER.items()},
    "qwen": Licence("Qwen License", (_COPY, said("Show “Built with Qwen” or “Improved using Qwen”, also if only its "
                                                 "outputs taught the model.")), True,
                    "the licence of Qwen2.5-72B and its makers' answer", users_max=100_000_000),
    "qwen-research": Licence("Qwen Research License", (_COPY, said("Not for commercial use.")), False, "recalled",
                             noncommercial=True),
    "tongyi-qianwen": Licence("Tongyi Qianwen License", (
        _COPY, said("Ask for a licence for commercial use."), _NO_TEACHING), False,
        "the licence in QwenLM/Qwen", users_max=100_000_000),
    "deepseek": Licence("DeepSeek License 1.0", (
        _COPY, said("Pass on the use restrictions (Attachment A) in your terms.")), True,
        "the licence and its FAQ", passes_on=True),
    "yi-license": Licence("Yi Series Models License (2023)", (
        said("Ask for written authorisation for commercial use."),), False,
        "a quotation of it; later Yi models are Apache-2.0"),
    "gemma": Licence("Gemma Terms of Use", (
        _COPY, said("Keep a notice: “%(text)s”", text="Gemma is provided under and subject to the Gemma Terms of Use "
                    "found at ai.google.dev/gemma/terms"), _CHANGES, said("Bind those who get it to section 3.2."),
        said("A model made to imitate it from its outputs is a derivative too.")), False, "the terms of 2026-04-01",
        passes_on=True),
    "minicpm": Licence("MiniCPM Model License (2024)", (
        _COPY, said("Show “%(sign)s” on the page or in the product.", sign="Built with MiniCPM"),
        said("Have “%(word)s” in the model's name.", word="MiniCPM"), said("Register for commercial use.")),
        False, "a summary of it", name_contains="MiniCPM"),
    "cc-by-nc-4.0": Licence("CC BY-NC 4.0", (said("Name the authors."), said("Not for commercial use.")), False,
                            "recalled", noncommercial=True),
    "openrail": Licence("OpenRAIL-M", (_COPY, _CHANGES, said("Pass on the use restrictions in your terms.")), False,
                        "recalled", passes_on=True),
}
_ALIASES = {"llama-2": "llama2", "llama-3": "llama3", "gemma-terms-of-use": "gemma", "deepseek-license": "deepseek",
            "yi": "yi-license", "openrail-m": "openrail", "bigscience-openrail-m": "openrail",
            "creativeml-openrail-m": "openrail", "bigscience-bloom-rail-1.0": "openrail",
            "minicpm-model-license": "minicpm", "qwen-license": "qwen",
            "tongyi-qianwen-license-agreement": "tongyi-qianwen",
            "qwen-research-license": "qwen-research"}


def known(name: str | None) -> str | None:
    """The table's name of a licence as a card writes it; None if it is not in the table."""
    plain = (name or "").strip().lower().replace(" ", "-").replace("_", "-")
    plain = _ALIASES.get(plain, plain)
    return plain if plain in LICENCES else None


def duties_of(own: str | None, ancestors: list[tuple[str, str | None]], name: str | None = None) -> Duties:
    """own: the model's licence. ancestors: (full name, licence). name: of the model, to see whether it is named so."""
    held: dict[str, list[str]] = {}
    unknown = []
    for ancestor, licence in dict.fromkeys(ancestors):
        key = known(licence)
        if key is None:
            unknown.append(ancestor)
        else:
            held.setdefault(key, []).append(ancestor)
    duties = tuple(Duty(key, LICENCES[key].title, tuple(of), LICENCES[key].asks, LICENCES[key].checked,
                        LICENCES[key].source) for key, of in held.items())
    return Duties(duties, tuple(_conflicts(known(own), held, name)), tuple(unknown))


def _conflicts(own: str | None, held: dict[str, list[str]], name: str | None) -> list[str]:
    found = []
    for key, of in held.items():
        licence = LICENCES[key]
        if own in PERMISSIVE and key != own and (licence.noncommercial or licence.passes_on):
            found.append(said("The card says %(own)s, but %(title)s (of %(of)s) forbids commercial use.", own=own,
                              title=licence.title, of=", ".join(of)) if licence.noncommercial else
                         said("The card says %(own)s, but %(title)s (of %(of)s) must be passed on with its "
                              "restrictions.", own=own, title=licence.title, of=", ".join(of)))
    # "Llama 3" begins with "Llama" too: the longest prefix satisfies those it begins with.
    prefixes = sorted({p for key in held if (p := LICENCES[key].name_prefix)}, key=len)
    if prefixes and not all(prefixes[-1].startswith(p) for p in prefixes):
        found.append(said("The name would have to begin with %(words)s at once.", words=" + ".join(prefixes)))
    if name is not None:
        plain = name.rpartition("/")[2].replace("-", " ").lower()
        wanted = prefixes[-1] if prefixes else None
        if wanted and not plain.startswith(wanted.lower()):
            found.append(said("The name does not begin with “%(word)s”.", word=wanted))
        found += [said("“%(word)s” is not in the name.", word=part) for key in held
                  if (part := LICENCES[key].name_contains) and part.lower() not in plain]
    return found
