"""`make calibrate`: train what is missing, measure, fill the null library, write docs/calibration.md.

    python -m calibrate [tiny] [middle] [real] [report]   some of the steps; all of them without a word
    python -m calibrate again [tiny] …             the same, of trace alone: what is known of other methods is kept
    python -m calibrate cases FOLDER_OR_HUB        the named cases of cases.toml
"""

from __future__ import annotations

import sys
import time


def main(words: list[str]) -> int:
    if words[:1] == ["cases"]:
        from calibrate.cases import run

        return run(words[1])
    began = time.monotonic()

    def told(line: str) -> None:
        print(f"{time.monotonic() - began:6.0f} s  {line}", flush=True)

    again = words[:1] == ["again"]
    steps = words[again:] or ["tiny", "middle", "real", "report"]
    if "tiny" in steps:
        from calibrate import FOLDER, populations
        from calibrate.measure import keep, measure

        populations.make(FOLDER, [*populations.descendants(), *populations.independents()])
        keep(measure(FOLDER, told, *([{}] if again else [])))
    if "middle" in steps:
        from calibrate import middle, middle_measure
        from calibrate.measure import keep

        for kind in middle.STEPS:
            middle.make(kind)
        keep(middle_measure.measure(told))
    if "real" in steps:
        from calibrate.measure import keep
        from calibrate.real_measure import measure as measure_real

        keep(measure_real(told, *([()] if again else [])))
    if "report" in steps:
        from calibrate.report import write

        told(f"written: {write()}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
