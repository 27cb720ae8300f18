"""Start a worker with limits: `python -I -S confine.py PARENT_PID MEMORY_BYTES argv...`. Becomes the worker.

A program of its own because a forked child of a threaded process may run no Python before exec. It imports
nothing of Headwater, so that starting through it costs some 15 ms.
"""

import ctypes
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG = 1
FILES_MAX = 4096


def limit(what: int, value: int) -> None:
    try:
        hard = resource.getrlimit(what)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(what, (value, value))
    except (OSError, ValueError) as error:  # macOS does not know every limit; the worker runs without that one
        print(f"limit {what} is not set: {error}", file=sys.stderr)


def die_with(parent: int) -> None:
    """Linux: the kernel kills us when the parent ends. Elsewhere the worker's own standard input must do."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the line above
        sys.exit("the process that started this worker is gone")


def main() -> None:
    parent, memory, argv = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    limit(resource.RLIMIT_CORE, 0)
    limit(resource.RLIMIT_NOFILE, FILES_MAX)
    limit(resource.RLIMIT_AS, memory)
    die_with(parent)
    os.execvp(argv[0], argv)


if __name__ == "__main__":
    main()
