"""A process that runs jobs until it is killed. argv: a PostgreSQL URL or "", the data folder, a file that gets a
line per step."""

import sys
import time
from pathlib import Path

from headwater.jobs.local import LocalJobs
from headwater.storage.database import Database, open_engine
from headwater.storage.tables import jobs as table
from headwater.storage.tables import pauses


def main(url: str, data: str, trace: str) -> None:
    def count(payload, progress):
        for step in range(payload["steps"]):
            with Path(trace).open("a") as file:
                file.write(f"{payload['name']} {step}\n")
            progress(step, payload["steps"])
            time.sleep(0.05)
        return {"steps": payload["steps"]}

    database = Database(open_engine(url or None, Path(data)), time.time)
    jobs = LocalJobs(database, table, pauses, beat_s=0.2, dead_s=1.5, tick_s=0.1)
    jobs.register("count", count, at_once=2)
    jobs.start()
    print("ready", flush=True)
    while True:
        time.sleep(1)


if __name__ == "__main__":
    main(*sys.argv[1:])
