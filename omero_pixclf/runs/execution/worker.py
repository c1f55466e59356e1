"""A worker process: receives tasks from its parent, executes them, and reports each result."""

from __future__ import annotations

import logging
import os
import queue
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Literal, Protocol

from omero_pixclf.errors import LoginError, PixclfError, UnreachableError
from omero_pixclf.image import ImageInfo
from omero_pixclf.runs.execution.concurrency import RunStopped
from omero_pixclf.runs.execution.serial import TaskFunction, TaskResult, execute_task
from omero_pixclf.runs.execution.task import BlockTask, Task

__all__ = [
    "Inbox",
    "OpenWorker",
    "ServerLost",
    "TaskDone",
    "TaskReturned",
    "WorkerAlive",
    "WorkerFailed",
    "WorkerMessage",
    "run_worker",
]


class OpenWorker(Protocol):
    """Opens what a worker needs, such as a session of its own; can be pickled."""

    def __call__(
        self, stopping: threading.Event, threads: int | None = None, /
    ) -> AbstractContextManager[TaskFunction]:
        """Open it, and give the function that executes tasks.

        ``stopping`` is set when the run ends early; ``threads`` is the number of threads of a worker that was started
        elsewhere and has a number of its own.
        """


@dataclass(frozen=True)
class WorkerAlive:
    """A sign of life."""


@dataclass(frozen=True)
class ServerLost:
    """The connection to the server is lost; the task comes back."""

    task: Task
    error: UnreachableError | LoginError


@dataclass(frozen=True)
class TaskReturned:
    """The run ends; the task comes back unfinished."""

    task: Task


@dataclass(frozen=True)
class TaskDone:
    """A task has ended, successfully or not."""

    task: Task
    result: TaskResult


@dataclass(frozen=True)
class WorkerFailed:
    """The worker cannot start."""

    error: PixclfError


WorkerMessage = WorkerAlive | TaskDone | ServerLost | TaskReturned | WorkerFailed
Inbox = queue.SimpleQueue[Task | None]


def run_worker(connection: Connection, concurrency: int, heartbeat_s: float, level: int) -> None:
    """Execute the tasks that the run's process sends, ``concurrency`` of them at a time, until it sends None.

    The first message is the `OpenWorker`. If the run's process is gone, the run was killed and another one may take
    over at any moment: then this process exits at once, also in the middle of a task.
    """
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the parent decides what an interrupt means
    stopping, inbox, sending = threading.Event(), Inbox(), threading.Lock()

    def send(message: WorkerMessage) -> None:
        with sending:
            try:
                connection.send(message)
            except OSError:
                os._exit(1)

    try:
        open_work: OpenWorker | Literal["stop"] | None = connection.recv()
    except (EOFError, OSError):
        os._exit(1)
    if open_work is None or open_work == "stop":  # the run was interrupted while this one started
        return
    threading.Thread(target=_receive_tasks, args=(connection, inbox, stopping, concurrency), daemon=True).start()
    threading.Thread(target=_send_heartbeats, args=(send, heartbeat_s), daemon=True).start()
    try:
        with open_work(stopping) as work, ThreadPoolExecutor(concurrency) as pool:
            for thread in [pool.submit(_process_tasks, inbox, work, send) for _ in range(concurrency)]:
                thread.result()
    except PixclfError as error:
        send(WorkerFailed(error))


def _receive_tasks(connection: Connection, inbox: Inbox, stopping: threading.Event, concurrency: int) -> None:
    """Put received tasks into the inbox; None ends each thread after its task, "stop" at its next stage."""
    while True:
        try:
            task = connection.recv()
        except (EOFError, OSError):
            os._exit(1)
        if task == "stop":
            stopping.set()
        for _ in range(concurrency if task in (None, "stop") else 1):
            inbox.put(task if isinstance(task, ImageInfo | BlockTask) else None)


def _send_heartbeats(send: Callable[[WorkerMessage], None], heartbeat_s: float) -> None:
    pause = threading.Event()
    while not pause.wait(heartbeat_s):
        send(WorkerAlive())


def _process_tasks(inbox: Inbox, work: TaskFunction, send: Callable[[WorkerMessage], None]) -> None:
    while (task := inbox.get()) is not None:
        try:
            send(TaskDone(task, execute_task(task, work)))
        except (UnreachableError, LoginError) as error:
            send(ServerLost(task, error))
        except RunStopped:
            send(TaskReturned(task))
