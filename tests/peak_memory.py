"""How much memory a reader takes for a file, measured from outside: the resident peak of a child process."""

import subprocess
import sys
from pathlib import Path

_CHILD = """
import resource, sys
from headwater.core.errors import CorruptFile
from headwater.weights.read import read_header
from headwater.weights.source import FileSource

def peak():
    if sys.platform != "linux":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    # Not ru_maxrss, which on Linux begins at the size of the process that started this one.
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))

before = peak()
with FileSource(sys.argv[1]) as source:
    try:
        read_header(source, sys.argv[1])
    except CorruptFile as error:
        pass
print(peak() - before)
"""


def peak_of_reading(path: Path) -> int:
    """Bytes the process grew by while it read the header of `path` (a refused file counts too)."""
    run = subprocess.run([sys.executable, "-c", _CHILD, str(path)], capture_output=True, text=True, check=True)
    return int(run.stdout)
