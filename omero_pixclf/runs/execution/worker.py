"""A worker process: takes images, or pieces of them, from its parent, works on them, and tells how each ended."""

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
from typing import Literal

from omero_pixclf.errors import LoginError, PixclfError, UnreachableError
from omero_pixclf.image import ImageInfo
from omero_pixclf.runs.execution.concurrency import Stopped
from omero_pixclf.runs.execution.serial import Ended, Perform, attempt
from omero_pixclf.runs.execution.task import Piece, Task

__all__ = ["Beat", "Broken", "Done", "Lost", "Message", "OpenWork", "Returned", "serve"]

OpenWork = Callable[[threading.Event], AbstractContextManager[Perform]]
"""Opens all that a worker needs (a session of its own); can be pickled. The event tells it to stop early."""


@dataclass(frozen=True)
class Beat:
    """I am alive."""


@dataclass(frozen=True)
class Lost:
    """The connection to the server is gone; the task is given back."""

    task: Task
    error: UnreachableError | LoginError


@dataclass(frozen=True)
class Returned:
    """The run ends; the task is given back as it was."""

    task: Task


@dataclass(frozen=True)
class Done:
    """A task has ended, well or not."""

    task: Task
    ended: Ended


@dataclass(frozen=True)
class Broken:
    """The worker cannot begin."""

    error: PixclfError


Message = Beat | Done | Lost | Returned | Broken
Orders = queue.SimpleQueue[Task | None]


def serve(connection: Connection, lanes: int, beat_s: float, level: int) -> None:
    """Work on the tasks that come until None comes, ``lanes`` of them on their way at a time.

    The first message is what opens the work (`OpenWork`). A parent that is gone means that the run was killed: another
    one may take over at any moment, so this one ends at once, whatever it was doing.
    """
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s")
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the parent decides what an interrupt means
    stopping, orders, sending = threading.Event(), Orders(), threading.Lock()

    def send(message: Message) -> None:
        with sending:
            try:
                connection.send(message)
            except OSError:
                os._exit(1)

    try:
        open_work: OpenWork | Literal["stop"] | None = connection.recv()
    except (EOFError, OSError):
        os._exit(1)
    if open_work is None or open_work == "stop":  # the run was interrupted while this one started
        return
    threading.Thread(target=_listen, args=(connection, orders, stopping, lanes), daemon=True).start()
    threading.Thread(target=_beat, args=(send, beat_s), daemon=True).start()
    try:
        with open_work(stopping) as work, ThreadPoolExecutor(lanes) as pool:
            for lane in [pool.submit(_lane, orders, work, send) for _ in range(lanes)]:
                lane.result()
    except PixclfError as error:
        send(Broken(error))


def _listen(connection: Connection, orders: Orders, stopping: threading.Event, lanes: int) -> None:
    """Pass orders on; None ends every lane after its task, "stop" also at its next stage."""
    while True:
        try:
            order = connection.recv()
        except (EOFError, OSError):
            os._exit(1)
        if order == "stop":
            stopping.set()
        for _ in range(lanes if order in (None, "stop") else 1):
            orders.put(order if isinstance(order, ImageInfo | Piece) else None)


def _beat(send: Callable[[Message], None], beat_s: float) -> None:
    pause = threading.Event()
    while not pause.wait(beat_s):
        send(Beat())


def _lane(orders: Orders, work: Perform, send: Callable[[Message], None]) -> None:
    while (task := orders.get()) is not None:
        try:
            send(Done(task, attempt(task, work)))
        except (UnreachableError, LoginError) as error:
            send(Lost(task, error))
        except Stopped:
            send(Returned(task))
