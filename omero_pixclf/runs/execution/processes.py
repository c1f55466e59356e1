"""Process images, whole or in blocks, in a pool of processes; work of a lost process is repeated."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from math import ceil
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Literal

from omero_pixclf.errors import LoginError, OutputError, UnreachableError
from omero_pixclf.image import ImageInfo
from omero_pixclf.runs.execution.forkserver import block_interrupts, make_process_context
from omero_pixclf.runs.execution.serial import ImageOutcome, TaskResult, make_failed_result, skip_decided
from omero_pixclf.runs.execution.task import BlockTask, Task, get_task_image
from omero_pixclf.runs.execution.task_queue import ImageSplitter, TaskQueue, split_none
from omero_pixclf.runs.execution.worker import (
    OpenWorker,
    ServerLost,
    TaskDone,
    TaskReturned,
    WorkerFailed,
    WorkerMessage,
    run_worker,
)
from omero_pixclf.runs.planning.plan import PlanItem
from omero_pixclf.runs.state.manifest import Manifest

__all__ = [
    "HEARTBEAT_S",
    "MAX_LOSSES",
    "MAX_TRIES",
    "SHUTDOWN_TIMEOUT_S",
    "WORKER_TIMEOUT_S",
    "ProcessPoolSettings",
    "execute_in_processes",
    "log",
]

log = logging.getLogger(__name__)

HEARTBEAT_S, WORKER_TIMEOUT_S = 5.0, 120.0
SHUTDOWN_TIMEOUT_S = 30.0  # for workers to end what they are at, when the run ends
MAX_TRIES = 3  # how often an image may be all that a worker has in its hands when it dies
MAX_LOSSES = 5  # times in a row that workers may lose the server without one image done


@dataclass(frozen=True)
class ProcessPoolSettings:
    """A pool of processes.

    Attributes
    ----------
    workers
        Number of processes.
    prepare_worker
        Returns what a new worker opens; called for each worker, since the session may be another one by then. Raises if
        the server is gone for good.
    concurrency
        Number of tasks that one worker executes at a time.
    split
        Chooses the images that workers share.
    modules
        Modules that workers import first (`omero_pixclf.runs.execution.forkserver`).
    heartbeat_s, timeout_s
        Seconds between two signs of life of a worker, and the silence after which it is killed.
    """

    workers: int
    prepare_worker: Callable[[], OpenWorker]
    concurrency: int = 1
    split: ImageSplitter = split_none
    modules: tuple[str, ...] = ()
    heartbeat_s: float = HEARTBEAT_S
    timeout_s: float = WORKER_TIMEOUT_S


@dataclass
class _Worker:
    process: BaseProcess
    connection: Connection
    last_heard: float
    tasks: dict[str, Task] = field(default_factory=dict)
    leaving: bool = False


def execute_in_processes(
    items: Iterable[PlanItem],
    manifest: Manifest,
    pool: ProcessPoolSettings,
    *,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[ImageOutcome]:
    """Process the items in other processes (`serial.Executor`); only this one writes the manifest.

    A task whose worker dies is tried again alone, by a worker without other tasks, until three workers have died.

    Raises
    ------
    UnreachableError, LoginError
        The server is gone and does not come back. `--resume` continues later.
    OutputError
        Workers die without processing any image.
    """
    due: list[ImageInfo] = []
    for item in items:
        if settled := skip_decided(item, manifest):
            yield settled
        else:
            due.append(item.image)
    workers = _ProcessPool(TaskQueue(due, manifest, pool.split, pool.workers), manifest, pool, clock)
    try:
        while workers.busy:
            workers.assign_tasks()
            outcomes = [result.record(manifest) for result in workers.receive()]  # all known before any is told
            if not workers.busy:
                workers.close_workers()  # workers close what they have open while the last container is finished
            yield from outcomes
    finally:
        workers.shutdown()


class _ProcessPool:
    """The workers of a run, and the tasks to do."""

    def __init__(
        self, queue: TaskQueue, manifest: Manifest, pool: ProcessPoolSettings, clock: Callable[[], float]
    ) -> None:
        self._queue, self._manifest, self._pool, self._clock = queue, manifest, pool, clock
        self._context = make_process_context(pool.modules)
        self._workers: list[_Worker] = []
        self._processes: list[BaseProcess] = []
        self._deaths: dict[str, int] = {}
        self._losses = 0

    @property
    def busy(self) -> bool:
        """Whether tasks are left, assigned or not."""
        return bool(self._queue) or any(w.tasks for w in self._workers)

    def assign_tasks(self) -> None:
        """Start missing workers, and assign tasks to workers that have fewer than they may."""
        staying = [w for w in self._workers if not w.leaving]
        assigned = sum(len(w.tasks) for w in self._workers)
        for _ in range(min(self._pool.workers, len(self._queue) + assigned) - len(staying)):
            staying += self._start_worker()
        # Nobody takes more ahead than the others would get: at the end they would have nothing left to do.
        most = min(self._pool.concurrency, ceil((len(self._queue) + assigned) / self._pool.workers))
        while free := [w for w in staying if len(w.tasks) < most and self._can_assign(w)]:
            worker, task = min(free, key=lambda w: len(w.tasks)), self._queue.get()
            worker.tasks[task.key] = task
            _send(worker, task)

    def _can_assign(self, worker: _Worker) -> bool:
        """Return whether the next task may go to a worker: a task whose worker died is tried alone."""
        task = self._queue.next_task
        if task is None:
            return False
        suspects = [*worker.tasks, *([task.key] if worker.tasks else ())]
        return not any(key in self._deaths for key in suspects)

    def _start_worker(self) -> list[_Worker]:
        """Start one worker; return none if it died at once."""
        open_work = self._pool.prepare_worker()
        ours, theirs = self._context.Pipe()
        arguments = (theirs, self._pool.concurrency, self._pool.heartbeat_s, log.getEffectiveLevel())
        process = self._context.Process(target=run_worker, args=arguments, daemon=True)  # type: ignore[attr-defined]
        worker = _Worker(process, ours, self._clock())
        self._processes.append(process)
        try:
            with block_interrupts():
                process.start()
                self._workers.append(worker)  # an interrupt comes where this ends; whoever disbands must know it
        except (EOFError, OSError) as error:
            self._processes.remove(process)
            said = f"a worker process could not be started ({type(error).__name__}: {error})"
            log.warning("%s", said)
            self._count_worker_loss(said)
            return []
        finally:
            theirs.close()
            if worker not in self._workers:
                ours.close()  # where it runs all the same, it ends by that
        # Not among the arguments: whoever starts a process waits for ever where it dies before it has read long ones.
        _send(worker, open_work)
        return [worker]

    def receive(self) -> list[TaskResult]:
        """Wait for messages, and return the results that have arrived."""
        handles = [w.connection for w in self._workers]
        wait(handles, timeout=self._pool.heartbeat_s)
        results: list[TaskResult] = []
        for worker in list(self._workers):
            alive = self._receive_from(worker, results)
            if alive and self._clock() - worker.last_heard > self._pool.timeout_s:
                log.warning("worker %s has not been heard of for %g s", worker.process.pid, self._pool.timeout_s)
                worker.process.kill()
                alive = False
            if not alive:
                results += self._remove_dead(worker)
        return results

    def _receive_from(self, worker: _Worker, results: list[TaskResult]) -> bool:
        """Receive the messages of a worker; return False if it is gone."""
        try:
            while worker.connection.poll():
                message: WorkerMessage = worker.connection.recv()
                worker.last_heard = self._clock()
                if isinstance(message, TaskDone):
                    worker.tasks.pop(message.task.key)
                    self._losses = 0
                    results += self._queue.finish(message.task, message.result)
                elif isinstance(message, ServerLost | TaskReturned):
                    self._requeue(worker, message)
                elif isinstance(message, WorkerFailed):
                    self._requeue_all(worker)
                    self._count_server_loss(message.error)
        except (EOFError, OSError):
            return False
        return True

    def _requeue(self, worker: _Worker, message: ServerLost | TaskReturned) -> None:
        """Put a task back that is not at fault; a worker that lost the server is replaced."""
        self._queue.put_back(worker.tasks.pop(message.task.key))
        if isinstance(message, ServerLost) and not worker.leaving:
            log.warning("worker %s: %s; its work goes to another", worker.process.pid, message.error)
            worker.leaving = True
            _send(worker, "stop")
            self._count_server_loss(message.error)

    def _requeue_all(self, worker: _Worker) -> None:
        worker.leaving = True
        for task in worker.tasks.values():
            self._queue.put_back(task)
        worker.tasks.clear()

    def _count_server_loss(self, error: Exception) -> None:
        self._losses += 1
        if self._losses > MAX_LOSSES * self._pool.workers or not isinstance(error, UnreachableError | LoginError):
            raise error

    def _remove_dead(self, worker: _Worker) -> list[TaskResult]:
        """Put the tasks of a dead worker back; return failures of tasks that were tried too often."""
        self._workers.remove(worker)
        worker.connection.close()
        worker.process.join()
        self._processes.remove(worker.process)
        failed: list[TaskResult] = []
        said = f"the worker process died ({_describe_exit(worker.process.exitcode)})"
        if not worker.leaving:
            log.warning("%s with %s", said, ", ".join(worker.tasks) or "nothing in its hands")
            try:
                self._count_worker_loss(said)
            except OutputError:
                self._requeue_all(worker)
                raise
        alone = len(worker.tasks) == 1  # else nobody knows which of them it was, and each is tried alone
        for task in worker.tasks.values():
            self._deaths[task.key] = self._deaths.get(task.key, 0) + alone
            if self._deaths[task.key] >= MAX_TRIES:
                reason = f"{task.key}: {said}, {MAX_TRIES} times with this image"
                failed += self._queue.finish(task, make_failed_result(get_task_image(task), reason))
            else:
                self._queue.put_back(task, last=not isinstance(task, BlockTask))
        return failed

    def _count_worker_loss(self, said: str) -> None:
        self._losses += 1
        if self._losses > MAX_LOSSES * self._pool.workers:
            raise OutputError(
                f"{said}; so did {self._losses - 1} before it, and no image was done in between; "
                "lower --workers or give more memory, then go on with --resume"
            )

    def close_workers(self) -> None:
        """Let workers close what they have opened, while the last container is finished."""
        for worker in self._workers:
            worker.leaving = True
            _send(worker, None)

    def shutdown(self) -> None:
        """End the workers at their next stage, or kill them; put their tasks back."""
        try:
            for worker in self._workers:
                _send(worker, "stop")
            self._wait_for_workers()
        finally:
            self._kill_remaining()

    def _kill_remaining(self) -> None:
        """Kill processes that are left, also after two interrupts: Python would wait for them."""
        for process in self._processes:
            if process.is_alive():
                process.kill()
                process.join()

    def _wait_for_workers(self) -> None:
        deadline = self._clock() + SHUTDOWN_TIMEOUT_S
        for worker in self._workers:
            while worker.process.is_alive() and self._clock() < deadline:
                wait([worker.process.sentinel], timeout=0.1)
                self._receive_last_results(worker)
            if worker.process.is_alive():
                worker.process.kill()
            worker.process.join()
            self._receive_last_results(worker)
            for task in worker.tasks.values():
                self._queue.put_back(task)
            worker.connection.close()
        self._workers.clear()
        self._queue.close()

    def _receive_last_results(self, worker: _Worker) -> None:
        try:
            while worker.connection.poll():
                message = worker.connection.recv()
                if isinstance(message, TaskDone):
                    worker.tasks.pop(message.task.key, None)
                    for result in self._queue.finish(message.task, message.result):
                        result.record(self._manifest)
        except (EOFError, OSError):
            return


def _send(worker: _Worker, what: OpenWorker | Task | Literal["stop"] | None) -> None:
    with suppress(OSError):  # it is gone: whoever listens next finds out and gives its images back
        worker.connection.send(what)


def _describe_exit(code: int | None) -> str:
    return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"
