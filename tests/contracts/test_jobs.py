"""The contract of core.work.Jobs, on SQLite and on PostgreSQL, with real threads and a process really killed."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from sqlalchemy import text, update

from headwater.core.errors import BadInput
from headwater.core.types import JobState
from headwater.jobs.ledger import ATTEMPTS_MAX, Ledger
from headwater.jobs.local import JSON_MAX, LocalJobs
from headwater.jobs.owners import new_owner, surely_dead
from headwater.storage.database import Database, open_engine
from headwater.storage.tables import jobs as table
from headwater.storage.tables import pauses

CHILD = Path(__file__).with_name("jobs_child.py")
QUICK = {"beat_s": 0.2, "dead_s": 1.5, "tick_s": 0.1}


def wait_for(question, seconds=20):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if answer := question():
            return answer
        time.sleep(0.02)
    raise AssertionError("it did not come to pass")


@pytest.fixture
def database(database_url, tmp_path):
    engine = open_engine(database_url, tmp_path)
    yield Database(engine, time.time)
    engine.dispose()


@pytest.fixture
def executor(database):
    """Makes executors on one database; all are stopped at the end."""
    made = []

    def make(start=True, **options):
        jobs = LocalJobs(database, table, pauses, **{**QUICK, **options})
        jobs.register("echo", lambda payload, progress: payload)
        made.append(jobs)
        if start:
            jobs.start()
        return jobs

    yield make
    for jobs in made:
        jobs.stop()


def finished(jobs, job):
    return wait_for(lambda: (now := jobs.get(job.id)).state.final and now)


class Gate:
    """Work that stays until it is opened, calling its progress all the while."""

    def __init__(self):
        self.opened, self.running, self.most = threading.Event(), 0, 0
        self._lock = threading.Lock()

    def __call__(self, payload, progress):
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
        try:
            step = 0
            while not self.opened.wait(0.02):
                step += 1
                progress(step, 1000, stage="waiting", unit="turns")
        finally:
            with self._lock:
                self.running -= 1
        return {"opened": True}


@pytest.fixture
def gate():
    gate = Gate()
    yield gate
    gate.opened.set()


def test_a_job_runs_and_its_result_is_kept(executor):
    jobs = executor()
    job = jobs.enqueue("echo", {"a": [1, "二"]}, title="say it back", by="anna")
    assert (job.state, job.attempts, job.actor, job.started_at) == (JobState.QUEUED, 0, "anna", None)
    done = finished(jobs, job)
    assert (done.state, done.result, done.error, done.attempts) == (JobState.DONE, {"a": [1, "二"]}, None, 1)
    assert done.created_at <= done.started_at <= done.finished_at


def test_progress_is_seen_while_a_job_runs(executor, gate):
    jobs = executor(start=False)
    jobs.register("wait", gate)
    jobs.start()
    job = jobs.enqueue("wait", {}, title="wait", by="anna")
    seen = wait_for(lambda: (now := jobs.get(job.id)).done > 3 and now)
    assert (seen.state, seen.total, seen.stage, seen.unit) == (JobState.RUNNING, 1000, "waiting", "turns")
    gate.opened.set()
    assert finished(jobs, job).stage == "waiting"


def test_a_hundred_thousand_progress_calls_cost_few_writes(executor, database):
    from sqlalchemy import event

    jobs, writes = executor(start=False, tick_s=0.5), []

    def busy(payload, progress):
        for i in range(100_000):
            progress(i, 100_000)

    jobs.register("busy", busy)
    event.listen(database.engine, "before_cursor_execute", lambda *args: writes.append(args[2]))
    jobs.start()
    assert finished(jobs, jobs.enqueue("busy", {}, title="busy", by="anna")).done == 99_999
    assert len([statement for statement in writes if "UPDATE" in statement]) < 50


def test_a_failure_keeps_the_sentence_of_our_errors_and_the_kind_of_others(executor):
    jobs = executor(start=False)

    def refuse(payload, progress):
        raise BadInput("No such thing.", hint="Try another.")

    def crash(payload, progress):
        raise ZeroDivisionError("x" * 5000)

    def leave(payload, progress):
        raise SystemExit(3)

    for kind, work in (("refuse", refuse), ("crash", crash), ("leave", leave)):
        jobs.register(kind, work)
    jobs.start()
    errors = {k: finished(jobs, jobs.enqueue(k, {}, title=k, by="anna")).error for k in ("refuse", "crash", "leave")}
    assert errors["refuse"] == "No such thing. Try another."
    assert errors["crash"].startswith("ZeroDivisionError: xxx") and len(errors["crash"]) <= 1000
    assert errors["leave"].startswith("SystemExit")


def test_a_result_too_long_for_a_row_is_told_by_its_size(executor):
    jobs = executor(start=False)
    jobs.register("long", lambda payload, progress: {"x": "y" * JSON_MAX})
    jobs.start()
    done = finished(jobs, jobs.enqueue("long", {}, title="long", by="anna"))
    assert done.state is JobState.DONE and str(JSON_MAX) in done.result["left_out"]
    with pytest.raises(BadInput, match="payload"):
        jobs.enqueue("echo", {"x": "y" * JSON_MAX}, title="long", by="anna")


def test_text_no_database_keeps_does_not_hold_a_job_up(executor):
    jobs = executor(start=False)

    def odd(payload, progress):
        progress(1, stage="a\0b\ud800")
        time.sleep(0.3)
        if payload["fail"]:
            raise ValueError("c\0d\udfff")
        return {"nan": float("nan")}

    jobs.register("odd", odd)
    jobs.start()
    first = finished(jobs, jobs.enqueue("odd", {"fail": True}, title="odd", by="anna"))
    second = finished(jobs, jobs.enqueue("odd", {"fail": False}, title="odd", by="anna"))
    assert (first.stage, first.error) == ("a?b?", "ValueError: c?d?")
    assert second.state is JobState.FAILED and "JSON" in second.error
    with pytest.raises(BadInput, match="JSON"):
        jobs.enqueue("odd", {"fail": object()}, title="odd", by="anna")


def test_work_of_an_unknown_kind_is_refused_with_the_kinds_there_are(executor):
    with pytest.raises(BadInput, match="echo"):
        executor().enqueue("eccho", {}, title="typo", by="anna")


def test_a_queued_job_is_cancelled_at_once_and_a_running_one_at_its_next_progress_call(executor, gate):
    jobs = executor(start=False)
    jobs.register("wait", gate, at_once=1)
    first = jobs.enqueue("wait", {}, title="1", by="anna")
    second = jobs.enqueue("wait", {}, title="2", by="anna")
    jobs.start()
    wait_for(lambda: jobs.get(first.id).state is JobState.RUNNING)
    assert jobs.cancel(second.id).state is JobState.CANCELLED
    jobs.cancel(first.id)
    assert finished(jobs, first).state is JobState.CANCELLED
    assert jobs.get(second.id).attempts == 0
    assert jobs.cancel(first.id).state is JobState.CANCELLED
    assert jobs.cancel("nothing") is None


def test_another_process_can_cancel_a_running_job(executor, gate):
    here, there = executor(start=False), executor(start=False)
    here.register("wait", gate)
    here.start()
    job = here.enqueue("wait", {}, title="wait", by="anna")
    wait_for(lambda: here.get(job.id).state is JobState.RUNNING)
    there.cancel(job.id)
    assert finished(here, job).state is JobState.CANCELLED


def test_a_finished_job_cannot_be_cancelled(executor):
    jobs = executor()
    done = finished(jobs, jobs.enqueue("echo", {}, title="echo", by="anna"))
    assert jobs.cancel(done.id) == done


def test_a_key_makes_enqueueing_idempotent_while_the_job_is_not_finished(executor, gate):
    jobs = executor(start=False)
    jobs.register("wait", gate)
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(
        jobs.enqueue("wait", {}, title="wait", by="anna", key="same").id)) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 8 and len(set(answers)) == 1
    jobs.start()
    gate.opened.set()
    finished(jobs, jobs.get(answers[0]))
    assert jobs.enqueue("wait", {}, title="again", by="anna", key="same").id != answers[0]


def test_no_more_of_a_kind_run_at_once_than_its_limit_over_two_executors(executor, gate):
    both = [executor(start=False), executor(start=False)]
    for jobs in both:
        jobs.register("wait", gate, at_once=3)
        jobs.start()
    queued = [both[i % 2].enqueue("wait", {}, title=str(i), by="anna") for i in range(8)]
    echo = both[0].enqueue("echo", {}, title="another kind is not held up", by="anna")
    assert finished(both[0], echo).state is JobState.DONE
    wait_for(lambda: gate.running == 3)
    time.sleep(0.5)
    assert gate.most == 3
    gate.opened.set()
    assert {finished(both[0], job).attempts for job in queued} == {1}
    assert gate.most == 3


def test_jobs_of_a_kind_run_oldest_first(executor):
    jobs, order = executor(start=False), []
    jobs.register("note", lambda payload, progress: order.append(payload["n"]))
    queued = [jobs.enqueue("note", {"n": n}, title=str(n), by="anna") for n in range(6)]
    jobs.start()
    for job in queued:
        finished(jobs, job)
    assert order == list(range(6))


def test_the_list_is_newest_first_and_filters(executor, gate):
    jobs = executor(start=False)
    jobs.register("wait", gate)
    made = [jobs.enqueue(kind, {}, title=kind, by="anna").id for kind in ("echo", "wait", "echo")]
    assert [job.id for job in jobs.list()] == made[::-1]
    assert [job.id for job in jobs.list(kind="echo", limit=1)] == [made[2]]
    jobs.cancel(made[0])
    assert [job.id for job in jobs.list(state="cancelled")] == [made[0]]
    assert jobs.get("nothing") is None


def test_an_orderly_stop_puts_a_running_job_back_and_does_not_count_the_attempt(executor, gate):
    first = executor(start=False)
    first.register("wait", gate)
    first.start()
    job = first.enqueue("wait", {}, title="wait", by="anna")
    wait_for(lambda: first.get(job.id).state is JobState.RUNNING)
    first.stop()
    put_back = first.get(job.id)
    assert (put_back.state, put_back.attempts) == (JobState.QUEUED, 0)
    gate.opened.set()
    second = executor(start=False)
    second.register("wait", gate)
    second.start()
    assert finished(second, job).state is JobState.DONE


@pytest.fixture
def child(database, tmp_path):
    """A process that runs jobs of the kind `count` on the same database."""
    url = database.engine.url
    where = ["", str(Path(url.database).parent)] if url.get_backend_name() == "sqlite" else [
        url.set(drivername="postgresql").render_as_string(hide_password=False), ""]
    process = subprocess.Popen([sys.executable, CHILD, *where, tmp_path / "trace"], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_jobs_of_a_process_killed_run_again_at_the_next_start(executor, child):
    jobs = executor(start=False)
    jobs.register("count", lambda payload, progress: {"second": True}, at_once=2)
    queued = [jobs.enqueue("count", {"name": n, "steps": 1000}, title=n, by="anna") for n in "abc"]
    wait_for(lambda: [jobs.get(job.id).done > 2 for job in queued] == [True, True, False])
    child.send_signal(signal.SIGKILL)
    child.wait()
    assert [jobs.get(job.id).state for job in queued] == [JobState.RUNNING, JobState.RUNNING, JobState.QUEUED]
    jobs.start()
    done = [finished(jobs, job) for job in queued]
    assert [job.result for job in done] == [{"second": True}] * 3
    assert [job.attempts for job in done] == [2, 2, 1]


def test_two_hubs_on_one_database_run_each_job_once(executor, child, tmp_path):
    jobs, here = executor(start=False), []
    jobs.register("count", lambda payload, progress: here.append(payload["name"]), at_once=8)
    queued = [jobs.enqueue("count", {"name": f"{n}", "steps": 1}, title="count", by="anna") for n in range(40)]
    jobs.start()
    assert {finished(jobs, job).attempts for job in queued} == {1}
    trace = tmp_path / "trace"
    there = [line.split()[0] for line in trace.read_text().splitlines()] if trace.exists() else []
    assert sorted(here + there, key=int) == [str(n) for n in range(40)]


def test_a_living_hub_takes_over_from_one_that_was_killed(executor, child):
    jobs = executor(start=False)
    jobs.register("count", lambda payload, progress: {"by": "the living"}, at_once=2)
    job = jobs.enqueue("count", {"name": "a", "steps": 1000}, title="a", by="anna")
    wait_for(lambda: jobs.get(job.id).state is JobState.RUNNING)
    jobs.start()
    time.sleep(0.6)
    assert jobs.get(job.id).state is JobState.RUNNING, "a living process keeps its job"
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert finished(jobs, job).result == {"by": "the living"}


def test_a_job_of_another_machine_is_taken_over_when_its_sign_of_life_stops(executor, database):
    jobs = executor(start=False)
    job = jobs.enqueue("echo", {"n": 1}, title="echo", by="anna")
    ledger = Ledger(database, table, pauses)
    ledger.claim({"echo": 1}, "elsewhere-1-x-y", 1e12)  # a clock far in the future
    jobs.start()
    for _ in range(8):  # as long as it beats, however wrong its clock, it keeps the job
        ledger.beat("elsewhere-1-x-y", {}, 5.0)
        time.sleep(0.25)
    assert jobs.get(job.id).state is JobState.RUNNING
    assert finished(jobs, job).attempts == 2


def test_a_clock_set_back_neither_loses_nor_repeats_a_job(executor, gate):
    clock = [2e9]
    first, second = executor(start=False, now=lambda: clock[0]), executor(start=False)
    for jobs in (first, second):
        jobs.register("wait", gate)
    first.start()
    job = first.enqueue("wait", {}, title="wait", by="anna")
    wait_for(lambda: first.get(job.id).state is JobState.RUNNING)
    clock[0] = 1e9
    second.start()
    time.sleep(2.5)
    assert gate.most == 1
    gate.opened.set()
    assert finished(second, job).attempts == 1


def test_who_lost_a_job_writes_nothing_to_it(executor, database, gate):
    jobs = executor(start=False)
    jobs.register("wait", gate)
    jobs.start()
    job = jobs.enqueue("wait", {}, title="wait", by="anna")
    wait_for(lambda: jobs.get(job.id).done > 0)
    with database.write() as db:
        db.execute(update(table).where(table.c.id == job.id).values(owner="elsewhere-1-x-y", done=7))
    wait_for(lambda: gate.running == 0)
    now = jobs.get(job.id)
    assert (now.state, now.done) == (JobState.RUNNING, 7)


def test_a_job_whose_process_keeps_dying_fails_with_a_reason(executor, database):
    jobs = executor(start=False)
    job = jobs.enqueue("echo", {}, title="echo", by="anna")
    with database.write() as db:
        db.execute(update(table).where(table.c.id == job.id).values(attempts=ATTEMPTS_MAX - 1))
    dead = new_owner().replace(f"-{os.getpid()}-", f"-{os.getpid()}-0")  # this pid, an earlier life
    assert surely_dead(dead)
    Ledger(database, table, pauses).claim({"echo": 1}, dead, 1.0)
    jobs.start()
    failed = finished(jobs, job)
    assert failed.state is JobState.FAILED and f"died {ATTEMPTS_MAX} times" in failed.error


def test_a_cancel_asked_of_a_process_that_died_is_not_forgotten(executor, database):
    jobs = executor(start=False)
    job = jobs.enqueue("echo", {}, title="echo", by="anna")
    Ledger(database, table, pauses).claim({"echo": 1}, "", 1.0)
    jobs.cancel(job.id)
    jobs.start()
    assert finished(jobs, job).state is JobState.CANCELLED


def test_a_job_outlives_its_databases_connections(executor, database, gate):
    """F9: PostgreSQL restarts or drops everybody while a job runs."""
    if database.engine.dialect.name == "sqlite":
        pytest.skip("SQLite has no server to lose")
    jobs = executor(start=False)
    jobs.register("wait", gate)
    jobs.start()
    job = jobs.enqueue("wait", {}, title="wait", by="anna")
    wait_for(lambda: jobs.get(job.id).done > 0)
    for moment in range(6):
        with contextlib.suppress(Exception), database.write() as db:  # it may hit the connection it is sent on
            db.execute(text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                            "WHERE datname = current_database() AND pid <> pg_backend_pid()"))
        time.sleep(0.1)
        if moment == 3:
            gate.opened.set()
    done = finished(jobs, job)
    assert (done.state, done.result, done.attempts) == (JobState.DONE, {"opened": True}, 1)


def test_only_the_newest_finished_jobs_are_remembered(executor, database):
    jobs = executor()
    made = [finished(jobs, jobs.enqueue("echo", {}, title=str(n), by="anna")).id for n in range(4)]
    waiting = executor(start=False).enqueue
    jobs.stop()
    queued = waiting("echo", {}, title="queued", by="anna").id
    assert Ledger(database, table, pauses).forget(keep=2) == 2
    assert [job.id for job in jobs.list()] == [queued, made[3], made[2]]


def test_the_tables_columns_are_those_of_a_job_and_three_of_the_executor():
    from dataclasses import fields

    from headwater.core.types import Job

    assert set(table.c.keys()) == {f.name for f in fields(Job)} | {"heartbeat_at", "cancel_requested", "owner"}


def test_jobs_are_taken_in_the_order_of_the_line_and_held_ones_let_others_by(executor):
    jobs = executor(start=False)
    ids = [jobs.enqueue("echo", {"n": n}, title="echo", by="anna").id for n in range(4)]
    jobs.rearrange("echo", lambda line: [line[2], line[0], line[3], line[1]])
    jobs.hold(ids[0])
    jobs.rename(ids[1], "said anew")
    assert [job.id for job in jobs.waiting("echo")] == [ids[2], ids[0], ids[3], ids[1]]
    assert [job.held for job in jobs.waiting("echo")] == [False, True, False, False]
    with pytest.raises(BadInput):
        jobs.rearrange("echo", lambda line: line[:2])
    jobs.start()
    ended = [wait_for(lambda job_id=job_id: (job := jobs.get(job_id)).state is JobState.DONE and job)
             for job_id in (ids[2], ids[3], ids[1])]
    assert [job.started_at for job in ended] == sorted(job.started_at for job in ended)
    assert ended[2].title == "said anew" and jobs.get(ids[0]).state is JobState.QUEUED
    jobs.hold(ids[0], False)
    wait_for(lambda: jobs.get(ids[0]).state is JobState.DONE)


def test_a_running_job_that_is_held_is_given_back_and_runs_again_when_it_is_let_go(executor):
    jobs, other = executor(start=False), executor(start=False)
    runs = []

    def work(payload, progress):
        runs.append(1)
        while len(runs) < 2:
            progress(1)
            time.sleep(0.01)

    jobs.register("long", work)
    jobs.start()
    job = jobs.enqueue("long", {}, title="long", by="anna")
    wait_for(lambda: runs)
    other.hold(job.id)  # another hub's word reaches it with the next sign of life
    held = wait_for(lambda: (now := jobs.get(job.id)).state is JobState.QUEUED and now)
    assert held.held and held.attempts == 0
    time.sleep(0.3)
    assert len(runs) == 1
    jobs.hold(job.id, False)
    wait_for(lambda: jobs.get(job.id).state is JobState.DONE)


def test_a_kind_that_is_paused_waits_in_every_process_and_others_go_on(executor):
    jobs, other = executor(start=False), executor(start=False)
    jobs.register("film", lambda payload, progress: None)
    other.pause("film", "anna")
    other.pause("film", "bob")
    assert jobs.paused() == {"film"}
    jobs.start()
    waits, goes = (jobs.enqueue(kind, {}, title=kind, by="anna") for kind in ("film", "echo"))
    wait_for(lambda: jobs.get(goes.id).state is JobState.DONE)
    assert jobs.get(waits.id).state is JobState.QUEUED
    other.go_on("film")
    wait_for(lambda: jobs.get(waits.id).state is JobState.DONE)


def test_two_who_order_a_line_at_once_leave_every_job_in_it_once(executor):
    jobs = executor(start=False)
    jobs.register("fair", lambda payload, progress: None, fair=True)
    ids = [jobs.enqueue("fair", {}, title="", by="ab"[n % 2]).id for n in range(6)]
    threads = [threading.Thread(target=lambda: [jobs.rearrange("fair", lambda line: [*line[1:], line[0]])
                                                for _ in range(10)]) for _ in range(2)]
    [one.start() for one in threads]
    more = [jobs.enqueue("fair", {}, title="", by="c").id for _ in range(4)]
    [one.join() for one in threads]
    line = jobs.waiting("fair")
    assert sorted(job.id for job in line) == sorted(ids + more)
    assert len({job.place for job in line}) == 10
