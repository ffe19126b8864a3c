"""Jobs: one at a time, in order, bounded, and ended where somebody wants that."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from lxtlike.errors import InputError, NumericalError
from lxtlike.serve.jobs import Full, Job, Jobs


@pytest.fixture
def jobs() -> Iterator[Jobs]:
    made = Jobs(waiting=2, kept=3)
    yield made
    made.close()
    assert not made._thread.is_alive()


class Held:
    """Work that goes on until it is let go, telling all the time where it is."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go = threading.Event()

    def __call__(self, job: Job) -> Any:
        self.begun.set()
        while not self.go.wait(0.005):
            job.tell("explaining", 1, 2)
        return "result"


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not true():
        assert time.monotonic() < end
        time.sleep(0.002)


def test_one_at_a_time_in_order(jobs: Jobs) -> None:
    seen: list[str] = []
    running = 0

    def work(name: str) -> Callable[[Job], Any]:
        def run(_job: Job) -> Any:
            nonlocal running
            running += 1
            assert running == 1
            time.sleep(0.01)
            seen.append(name)
            running -= 1
            return name

        return run

    first = Held()
    added = [jobs.add(first)]
    first.begun.wait(5)
    added += [jobs.add(work("b")), jobs.add(work("c"))]
    assert [job.state for job in added] == ["running", "queued", "queued"]
    assert [jobs.ahead(job) for job in added] == [0, 1, 2]
    with pytest.raises(Full, match="2 jobs are waiting"):
        jobs.add(work("d"))
    first.go.set()
    until(lambda: added[-1].state == "done")
    assert seen == ["b", "c"]
    assert [job.result for job in added] == ["result", "b", "c"]


def test_cancelling(jobs: Jobs) -> None:
    held = Held()
    running, queued = jobs.add(held), jobs.add(Held())
    held.begun.wait(5)
    jobs.cancel(queued)
    assert queued.state == "cancelled"
    jobs.cancel(running)
    until(lambda: running.state == "cancelled")
    assert running.result is None
    done = jobs.add(lambda job: "result")  # type: ignore[arg-type, return-value]
    until(lambda: done.state == "done")
    jobs.cancel(done)
    assert (done.state, done.result) == ("done", "result")


def test_a_result_that_nobody_wants_any_more_is_dropped(jobs: Jobs) -> None:
    go = threading.Event()
    job = jobs.add(lambda job: go.wait(5))  # type: ignore[arg-type, return-value]
    until(lambda: job.state == "running")
    jobs.cancel(job)
    go.set()
    until(lambda: job.state == "cancelled")
    assert job.result is None


@pytest.mark.parametrize(
    ("error", "said", "refused"),
    [
        (InputError("no such label"), "no such label", True),
        (NumericalError("NaN"), "NaN", False),
        (MemoryError(), "out of memory", False),
        (KeyError("x"), "KeyError: 'x'", False),
    ],
)
def test_failing(jobs: Jobs, error: Exception, said: str, refused: bool) -> None:
    def work(_job: Job) -> Any:
        raise error

    job = jobs.add(work)
    until(lambda: job.state == "failed")
    assert job.error is not None
    assert said in job.error
    assert job.refused is refused
    after = jobs.add(lambda job: "result")  # type: ignore[arg-type, return-value]
    until(lambda: after.state == "done")


def test_old_jobs_are_forgotten(jobs: Jobs) -> None:
    ids = []
    for number in range(8):
        job = jobs.add(lambda job, number=number: number)  # type: ignore[misc]
        until(lambda job=job: job.state == "done")
        ids.append(job.id)
    jobs.add(lambda job: 0)  # type: ignore[arg-type, return-value]
    assert [jobs.find(id) is None for id in ids] == [True] * 5 + [False] * 3
    assert jobs.find("nothing") is None
    assert len(set(ids)) == 8
    assert min(map(len, ids)) >= 20
