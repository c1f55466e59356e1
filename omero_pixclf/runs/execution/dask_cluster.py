"""Process images, whole or in blocks, with the workers of a dask.distributed cluster."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from typing import Any

from omero_pixclf.errors import LoginError, OutputError, UnreachableError, UsageError
from omero_pixclf.image import ImageInfo
from omero_pixclf.runs.execution.concurrency import RunStopped
from omero_pixclf.runs.execution.malloc import keep_freed_memory
from omero_pixclf.runs.execution.serial import (
    ImageOutcome,
    TaskFunction,
    TaskResult,
    execute_task,
    make_failed_result,
    skip_decided,
)
from omero_pixclf.runs.execution.task import Task, get_task_image
from omero_pixclf.runs.execution.task_queue import ImageSplitter, TaskQueue, split_none
from omero_pixclf.runs.execution.worker import OpenWorker, ServerLost, TaskReturned
from omero_pixclf.runs.planning.plan import PlanItem
from omero_pixclf.runs.planning.workers import ClusterCapacity
from omero_pixclf.runs.state.manifest import Manifest

__all__ = [
    "DEFAULT_WORKERS",
    "MAX_KILLED_WORKERS",
    "MAX_LOSSES",
    "POLL_S",
    "TASKS_PER_WORKER",
    "DaskSettings",
    "execute_on_dask",
    "log",
    "read_cluster_capacity",
]

log = logging.getLogger(__name__)

TASKS_PER_WORKER = 3  # images per worker that are on their way at a time: one read, one computed, one written
POLL_S = 0.1
MAX_LOSSES = 5  # times in a row that workers may lose OMERO without one task done
MAX_KILLED_WORKERS = (
    3  # times that dask may give a task up: it counts a worker's death against all that the worker had in hand
)
DEFAULT_WORKERS = 8


@dataclass(frozen=True)
class DaskSettings:
    """A cluster, and what its workers open.

    Attributes
    ----------
    address
        The scheduler's, ``tcp://host:8786``.
    prepare_worker
        Returns what workers open; called again when they have lost OMERO. It goes through the scheduler: whoever can
        read that traffic can use OMERO as this user while the run lasts.
    split
        Chooses the images that workers share.
    security
        What is needed to connect to the scheduler (`distributed.Security`); None: nothing.
    expected
        Number of workers to split images for while fewer have connected; 0: the number of connected workers, or
        `DEFAULT_WORKERS` where there are none.
    waits_s
        Seconds to wait before each attempt to reconnect to a lost scheduler.
    """

    address: str
    prepare_worker: Callable[[], OpenWorker]
    split: ImageSplitter = split_none
    security: Any = None
    expected: int = 0
    waits_s: tuple[float, ...] = (1, 2, 4, 8, 15, 30)


class _WorkerPluginState:
    """A run on a dask worker: opens what it needs with the first image, closes it with the worker or the run."""

    def __init__(self, name: str, open_worker: OpenWorker) -> None:
        self.name, self._open_worker = name, open_worker

    def setup(self, worker: Any) -> None:
        """Prepare the run on the worker."""
        keep_freed_memory()
        self._lock, self._stopping, self._resources = threading.Lock(), threading.Event(), ExitStack()
        self._function: TaskFunction | None = None
        self._threads = int(worker.state.nthreads)

    def get_function(self) -> TaskFunction:
        """Return what executes tasks; the first call opens the connections."""
        with self._lock:
            if self._function is None:
                self._function = self._resources.enter_context(self._open_worker(self._stopping, self._threads))
            return self._function

    def teardown(self, worker: Any) -> None:
        """Close everything on the worker."""
        self._stopping.set()
        self._resources.close()


def _execute_on_worker(task: Task, post: str) -> TaskResult | ServerLost | TaskReturned:
    """Execute one task on a dask worker that has the run's plugin."""
    from distributed import get_worker

    try:
        return execute_task(task, get_worker().plugins[post].get_function())
    except (UnreachableError, LoginError) as error:
        return ServerLost(task, error)
    except RunStopped:
        return TaskReturned(task)


def execute_on_dask(items: Iterable[PlanItem], manifest: Manifest, cluster: DaskSettings) -> Iterator[ImageOutcome]:
    """Process the items on a cluster (`serial.Executor`); only this process writes the manifest.

    All workers must see the run's folder under the same path. dask gives the tasks of a worker that died to another
    worker, at most three times (its setting ``allowed-failures``). A task that dask then gives up is submitted again,
    `MAX_KILLED_WORKERS` times in all.

    Raises
    ------
    UsageError
        Where ``distributed`` is not installed.
    UnreachableError, LoginError, OutputError
        OMERO or the scheduler is gone and does not come back. `--resume` goes on later.
    """
    due: list[ImageInfo] = []
    for item in items:
        if settled := skip_decided(item, manifest):
            yield settled
        else:
            due.append(item.image)
    run = _DaskRun(due, manifest, cluster)
    try:
        while run.busy:
            yield from [result.record(manifest) for result in run.step()]
    finally:
        run.close()


@dataclass
class _DaskRun:
    """Tasks to do and under way, and the connection to the scheduler."""

    images: list[ImageInfo]
    manifest: Manifest
    cluster: DaskSettings
    client: Any = None
    queue: TaskQueue | None = None
    plugins: list[str] = field(default_factory=list)
    losses: int = 0
    warned_of_none: bool = False
    futures: dict[Any, tuple[Task, str]] = field(default_factory=dict)
    killed: Counter[str] = field(default_factory=Counter)  # by the task's key

    @property
    def busy(self) -> bool:
        return bool(self.futures or (self.images if self.queue is None else self.queue))

    def step(self) -> list[TaskResult]:
        """Submit tasks, wait a moment, and return the results that have arrived."""
        try:
            self._submit_tasks()
            time.sleep(POLL_S)
            if self.client.status == "running":
                return self._collect()
        except OSError as error:
            log.debug("the scheduler does not answer: %s", error)
        self._lose_scheduler()
        return []

    def _submit_tasks(self) -> None:
        client = self._connect()
        workers = len(client.nthreads())
        if workers == 0 and not self.warned_of_none:
            log.warning("the scheduler at %s has no workers at this moment: waiting for some", self.cluster.address)
        self.warned_of_none = workers == 0
        if self.queue is None:
            share = max(workers, self.cluster.expected) or DEFAULT_WORKERS
            self.queue = TaskQueue(self.images, self.manifest, self.cluster.split, share)
        while self.queue and len(self.futures) < TASKS_PER_WORKER * max(1, workers):
            task = self.queue.get()
            try:
                future = client.submit(_execute_on_worker, task, self.plugins[-1], pure=False, retries=0)
            except BaseException:
                self.queue.put_back(task)
                raise
            self.futures[future] = (task, self.plugins[-1])

    def _collect(self) -> list[TaskResult]:
        news = [f for f in self.futures if f.status != "pending"]
        return [result for future in news for result in self._handle_future(future, *self.futures.pop(future))]

    def _handle_future(self, future: Any, task: Task, post: str) -> list[TaskResult]:
        assert self.queue is not None  # it gave the task
        if future.status == "finished":
            message: TaskResult | ServerLost | TaskReturned = future.result()
            if isinstance(message, TaskResult):
                self.losses = 0
                return self.queue.finish(task, message)
            self.queue.put_back(task)
            if isinstance(message, ServerLost) and post == self.plugins[-1]:  # the first who says so
                self._renew_session(message.error)
            return []
        if future.status == "error":
            error = future.exception()
            if self._should_retry(task, error):
                self.queue.put_back(task)
                return []
            reason = f"{task.key}: {type(error).__name__}: {error}"
            return self.queue.finish(task, make_failed_result(get_task_image(task), reason))
        self.queue.put_back(task)  # cancelled or lost: the scheduler forgot it
        return []

    def _should_retry(self, task: Task, error: BaseException) -> bool:
        """Return whether a task failed only because its workers died, perhaps because of another task."""
        from distributed import KilledWorker

        if not isinstance(error, KilledWorker):
            return False
        self.killed[task.key] += 1
        if self.killed[task.key] >= MAX_KILLED_WORKERS:
            return False
        log.warning("%s: all workers died that had it, with others; it goes out again", task.key)
        return True

    def _renew_session(self, error: UnreachableError | LoginError) -> None:
        """Give workers that lost OMERO another session."""
        log.warning("a worker: %s; its work goes to another", error)
        self.losses += 1
        if self.losses > MAX_LOSSES:
            raise error
        if self.client is not None:
            self._register(self.client)

    def _connect(self) -> Any:
        if self.client is None:
            self.client = _connect_client(self.cluster)
            self._register(self.client)
        return self.client

    def _register(self, client: Any) -> None:
        from distributed import WorkerPlugin

        class Post(_WorkerPluginState, WorkerPlugin):  # type: ignore[misc]  # an optional library
            """As dask wants it."""

        name = f"omero_pixclf {self.manifest.header.run_id} {time.time_ns()}"
        client.register_plugin(Post(name, self.cluster.prepare_worker()), name=name)
        self.plugins.append(name)

    def _lose_scheduler(self) -> None:
        log.warning("the scheduler at %s is gone; its work goes out again", self.cluster.address)
        self.losses += 1
        if self.losses > MAX_LOSSES:
            raise OutputError(
                f"the dask scheduler at {self.cluster.address} was lost {MAX_LOSSES} times in a row; "
                "see whether it runs, then go on with --resume"
            )
        self._requeue_all()
        if self.client is not None:
            self.client.close(timeout=2)
        self.client = None
        self.plugins.clear()

    def _requeue_all(self) -> None:
        for task, _ in self.futures.values():
            assert self.queue is not None  # it gave them
            self.queue.put_back(task)
        self.futures.clear()

    def close(self) -> None:
        """Put unfinished tasks back; workers close what they opened for this run."""
        futures = list(self.futures)
        self._requeue_all()
        if self.queue is not None:
            self.queue.close()
        if self.client is None:
            return
        if self.client.status == "running":
            self.client.cancel(futures, force=True)
            for post in self.plugins:
                with suppress(ValueError):  # a scheduler that was started anew meanwhile does not know it
                    self.client.unregister_worker_plugin(post)
        self.client.close(timeout=5)


def read_cluster_capacity(address: str) -> ClusterCapacity:
    """Return the workers that a scheduler has now.

    Raises
    ------
    OutputError
        The scheduler does not answer.
    """
    client = _connect_client(DaskSettings(address, _open_no_worker, waits_s=()))
    try:
        workers = client.scheduler_info(n_workers=-1)["workers"].values()
        limits = [int(w["memory_limit"]) for w in workers if w.get("memory_limit")]
        if not workers:
            log.warning("the scheduler at %s has no workers at this moment: this is the plan for one", address)
        threads = min((int(w["nthreads"]) for w in workers), default=1)
        return ClusterCapacity(len(workers), threads, min(limits, default=None))
    finally:
        client.close(timeout=5)


def _open_no_worker() -> OpenWorker:
    raise AssertionError("nobody works")


def _connect_client(cluster: DaskSettings) -> Any:
    try:
        from distributed import Client
    except ImportError as error:
        raise UsageError("--dask needs dask.distributed: pip install '.[dask]' in the checkout") from error
    for wait in (*cluster.waits_s, None):
        try:
            return Client(cluster.address, timeout=10, set_as_default=False, security=cluster.security)
        except (OSError, ValueError) as error:
            if wait is None:
                raise OutputError(
                    f"no dask scheduler at {cluster.address}: {error}; start one, or check --dask"
                ) from error
            time.sleep(wait)
    raise AssertionError("the last wait is None")
