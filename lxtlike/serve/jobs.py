"""Jobs of one model: they wait in a bounded queue and run one after the other, in one thread."""

from __future__ import annotations

import logging
import secrets
import threading
from collections import deque
from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

from lxtlike.attribution import Attribution, GenerationAttribution
from lxtlike.errors import InputError, LxtlikeError

Result: TypeAlias = Attribution | GenerationAttribution
State = Literal["queued", "running", "done", "failed", "cancelled"]
Step = Literal["generating", "explaining"]

CLOSING_SECONDS = 5.0

_LOG = logging.getLogger(__name__)


class Full(LxtlikeError):  # noqa: N818 - said of the queue
    """As many jobs are waiting as may wait."""


class Cancelled(Exception):  # noqa: N818 - no error: somebody wanted it
    """Raised within a job to end it."""


class Progress(NamedTuple):
    """How far a job is in what it does now."""

    step: Step
    done: int
    all: int


class Job:
    """One piece of work for the model.

    Attributes:
        id: cannot be guessed.
        progress: None before the work says something.
        error: why it failed, in a sentence.
        refused: whether it failed for what it was asked to do, and not for what happened on the way.
    """

    def __init__(self, work: Callable[[Job], Result]) -> None:
        self.id = secrets.token_urlsafe(16)
        self.state: State = "queued"
        self.progress: Progress | None = None
        self.result: Result | None = None
        self.error: str | None = None
        self.refused = False
        self._work: Callable[[Job], Result] | None = work
        self._unwanted = threading.Event()

    def tell(self, step: Step, done: int, all: int) -> None:
        """Called by the work as it goes on.

        Raises:
            Cancelled: the job shall end.
        """
        if self._unwanted.is_set():
            raise Cancelled
        self.progress = Progress(step, done, all)

    def cancel(self) -> None:
        """End a job that waits at once, one that runs when it next tells where it is; others stay what they are."""
        self._unwanted.set()
        if self.state == "queued":
            self.state = "cancelled"

    def run(self) -> None:
        """Do the work. What it raises is kept as a sentence only: a traceback would keep the tensors in its frames."""
        work, self._work = self._work, None
        state: State = "failed"
        try:
            assert work is not None
            result = work(self)
            if self._unwanted.is_set():
                raise Cancelled
            self.result, state = result, "done"
        except Cancelled:
            state = "cancelled"
        except LxtlikeError as error:
            self.error, self.refused = str(error), isinstance(error, InputError)
        except Exception as error:  # noqa: BLE001 - whatever happens, the next job runs
            if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # the latter is torch's
                self.error = "out of memory: use a shorter text, fewer tokens or a smaller dtype"
            else:
                _LOG.exception("a job failed")
                self.error = f"{type(error).__name__}: {error}"
        self.state = state  # last: who sees it sees all else


class Jobs:
    """The jobs that wait, the one that runs, and the last ones that ended.

    Args:
        waiting: how many may wait.
        kept: how many that ended are remembered.
    """

    def __init__(self, waiting: int, kept: int = 20) -> None:
        self.waiting = waiting
        self.kept = kept
        self._queue: deque[Job] = deque()
        self._known: dict[str, Job] = {}
        self._changed = threading.Condition()
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="lxtlike jobs", daemon=True)
        self._thread.start()

    def add(self, work: Callable[[Job], Result]) -> Job:
        """Put a job at the end of the queue.

        Raises:
            Full: nothing more may wait.
        """
        with self._changed:
            if len(self._queue) >= self.waiting:
                raise Full(f"{self.waiting} jobs are waiting, and no more may: try again in a few seconds")
            job = Job(work)
            self._queue.append(job)
            self._known[job.id] = job
            self._forget()
            self._changed.notify_all()
        return job

    def find(self, id: str) -> Job | None:
        """The job of that id; None if there never was one, or if it ended long ago."""
        with self._changed:
            return self._known.get(id)

    def ahead(self, job: Job) -> int:
        """How many jobs come before one that waits, the running one among them."""
        with self._changed:
            return self._queue.index(job) + 1 if job in self._queue else 0

    def cancel(self, job: Job) -> None:
        """See `Job.cancel`; the place in the queue is free at once."""
        with self._changed:
            if job in self._queue:
                self._queue.remove(job)
            job.cancel()

    def close(self) -> None:
        """End everything; waits for the running job, but not long."""
        with self._changed:
            self._closed = True
            for job in self._known.values():
                job.cancel()
            self._queue.clear()
            self._changed.notify_all()
        self._thread.join(CLOSING_SECONDS)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._closed)
                if self._closed:
                    return
                job = self._queue.popleft()
                job.state = "running"
            job.run()
            del job  # or it would be held until the next one comes

    def _forget(self) -> None:
        ended = [job.id for job in self._known.values() if job.state not in ("queued", "running")]
        for id in ended[: len(ended) - self.kept if len(ended) > self.kept else 0]:
            del self._known[id]
