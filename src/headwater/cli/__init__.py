"""The terminal: `headwater VERB`. One file a verb, loaded when it is asked for; every verb speaks HTTP with a hub.

VERBS is the whole list: module of the verb, function, and the line that stands beside it in the help.
"""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

from headwater import __version__

if TYPE_CHECKING:
    from cyclopts import App, CycloptsError

    from headwater.core.errors import HeadwaterError

VERBS: dict[str, str] = {
    "up": "Serve the hub: pages, and the APIs your programs already speak.",
    "add": "Bring a model in from another hub, a package, a folder or a file.",
    "list": "List the models (or datasets) of the hub.",
    "show": "Show what a model is: revision, files, what its headers say.",
    "chat": "Talk with a model, or ask it one thing with -m.",
    "push": "Send a folder or a file to a repo of the hub.",
    "pull": "Fetch the files of a repo.",
    "trace": "Say where a model comes from, by its weights.",
    "doctor": "Say whether the hub is well, or whether a model would run.",
    "sweep": "Delete bytes that no commit names any more.",
    "scrub": "Read every file again and hash it; set aside what is damaged.",
    "backup": "Copy records and files of the hub to a folder or a .tar file.",
    "restore": "Lay a backup out in an empty data folder.",
}
GROUPS: dict[str, tuple[str, dict[str, str]]] = {
    "token": ("Tokens: what programs sign in with.", {
        "create": "Make a token; it is shown this once.",
        "list": "List tokens.",
        "revoke": "Revoke a token.",
    }),
    "user": ("Users of the hub.", {
        "create": "Make a user. The first one with a password closes an open hub.",
        "list": "List users.",
        "password": "Set a user's password.",
        "delete": "Delete a user who owns no repos.",
    }),
    "org": ("Organisations: names that several users share.", {
        "create": "Make an organisation; you become its first administrator.",
        "list": "List organisations and their members.",
        "role": "Give a user a role in an organisation: read, write, admin, or none to remove.",
        "delete": "Delete an organisation that owns no repos.",
    }),
    "engine": ("What models run with: compile llama.cpp for this processor, find a model's fastest form.", {
        "build": "Compile llama.cpp for this processor.",
        "list": "List the engines and the builds made here.",
        "remove": "Delete a build made here.",
        "probe": "Find the form in which this processor runs a model fastest, and keep it.",
    }),
    "models": ("Models that can be used now: loaded, pinned, at rest.", {
        "list": "List the models that can be used now, and which are loaded.",
        "load": "Load a model now; unused, it goes again.",
        "unload": "Let an idle model go now, pinned or not.",
        "pin": "Load a model and keep it loaded.",
        "unpin": "Let a model go again when nobody uses it.",
    }),
    "film": ("Films: set a photo in motion, or make one from words. `headwater film PHOTO PROMPT` makes one.", {
        "make": "Set a photo in motion, or make a film from words. Ctrl-C gives it up.",
        "verify": "Say what made a film: by its credential, or for a copy without one by what it looks like.",
        "list": "List your films, newest first.",
        "cancel": "Give up a film that waits or is under way.",
        "queue": "Show the line of films: your own, all of them for an administrator.",
        "move": "Move a film that waits to another place in the line.",
        "pause": "Hold a film: it keeps its place and waits. Without a film, the whole line is paused.",
        "resume": "Let a held film go on. Without a film, the whole line.",
        "change": "Change the order of a film that waits. It is checked anew and keeps its place.",
        "duplicate": "Order the same film again with a new seed.",
        "finish": "Stop a film under way here and keep the draft: the steps that are left are skipped.",
        "extend": "Go on where a film ended: a new film, with the frames of both.",
    }),
    "jobs": ("Long work: what runs, and how far it is.", {
        "list": "List jobs, newest first.",
        "cancel": "Cancel a job.",
    }),
}


def build() -> App:
    """The command line as cyclopts knows it. Loads no verb."""
    from cyclopts import App

    app = App(
        name="headwater", version=__version__, help_format="plaintext",
        help="A self-hosted hub for open models.",
        help_epilogue="Verbs talk to the hub at HEADWATER_URL (with HF_TOKEN), else to the one that serves the data "
                      "folder (--data, HEADWATER_DATA, ~/.headwater), else they open the data folder themselves.")
    for name, line in VERBS.items():
        app.command(f"headwater.cli.{name}:{_function(name)}", name=name, help=line)
    for group, (line, verbs) in GROUPS.items():
        sub = App(name=group, help=line, help_format="plaintext")
        for name, what in verbs.items():
            sub.command(f"headwater.cli.{group}:{_function(name)}", name=name, help=what)
        app.command(sub)
    app.register_install_completion_command(add_to_startup=False)
    return app


def _function(verb: str) -> str:
    return "list_" if verb == "list" else verb  # list is what Python calls its own


def main(argv: list[str] | None = None) -> None:
    """Run one command and exit: 0 done, 1 it could not be done, 2 it was not understood, 130 interrupted."""
    sys.exit(run(sys.argv[1:] if argv is None else argv))


def run(argv: list[str]) -> int:
    from cyclopts import CycloptsError

    from headwater.core.errors import HeadwaterError

    as_json = "--json" in argv
    try:
        code = build()(_spelled_out(argv), exit_on_error=False, print_error=False, result_action="return_value")
        return code if isinstance(code, int) else 0
    except CycloptsError as error:
        return _misunderstood(error, as_json)
    except HeadwaterError as error:
        return _failed(error, as_json)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # the reader of a pipe, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


OF_A_FILM = {"-o", "--out", "--photo", "--prompt", "--model", "--seconds", "--size", "--fps", "--seed", "--preset",
             "--camera", "--badge"}
"""Options that only the making of a film has."""


def _spelled_out(argv: list[str]) -> list[str]:
    """A group alone lists: `headwater jobs` means `headwater jobs list`. `headwater film photo.jpg` makes one."""
    if argv[:1] == ["film"] and len(argv) > 1 and argv[1] not in GROUPS["film"][1] and (
            not argv[1].startswith("-") or argv[1].partition("=")[0] in OF_A_FILM):
        return ["film", "make", *argv[1:]]
    if argv and argv[0] in GROUPS and not {"-h", "--help"} & {*argv} and (len(argv) == 1 or argv[1].startswith("-")):
        return [argv[0], "list", *argv[1:]]
    return argv


def _failed(error: HeadwaterError, as_json: bool) -> int:
    if as_json:
        said = {"error": error.message, "code": error.code, **({"hint": error.hint} if error.hint else {})}
        print(json.dumps(said, ensure_ascii=False), file=sys.stderr)
    else:
        print(f"headwater: {' '.join(str(error).split())}", file=sys.stderr)
    return 1


def _misunderstood(error: CycloptsError, as_json: bool) -> int:
    words = " ".join(str(error).split())
    if as_json:
        print(json.dumps({"error": words, "code": "Usage"}, ensure_ascii=False), file=sys.stderr)
    else:
        command = " ".join(["headwater", *(error.command_chain or ())])
        print(f"headwater: {words} Try: {command} --help", file=sys.stderr)
    return 2
