"""Runs inside a client's environment: imports the client once, then each script named on stdin in a forked child.

A line in: the path of a script. A line out: JSON {"ok": bool, "output": text}. Forking saves the import, a second a
script on a small machine; a child shares nothing with the next.
"""

import json
import os
import runpy
import sys
import tempfile
import traceback

import huggingface_hub
from huggingface_hub import HfApi, HfFileSystem, ModelCard, hf_hub_download  # noqa: F401  loads its lazy parts


def run(script: str) -> tuple[bool, str]:
    with tempfile.TemporaryFile() as out:
        child = os.fork()
        if child == 0:
            os.dup2(out.fileno(), 1)
            os.dup2(out.fileno(), 2)
            status = 1
            try:
                sys.path.insert(0, os.path.dirname(script))
                runpy.run_path(script, run_name="__main__")
                status = 0
            except BaseException:
                traceback.print_exc()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
        status = os.waitpid(child, 0)[1]
        out.seek(0)
        return status == 0, out.read().decode("utf-8", "replace")


print(huggingface_hub.__version__, flush=True)
for line in sys.stdin:
    ok, output = run(line.strip())
    print(json.dumps({"ok": ok, "output": output}), flush=True)
