"""The end of a run over dask, at a scheduler that has forgotten it."""

from __future__ import annotations

from omero_pixclf.runs.execution.dask_cluster import DaskSettings, _DaskRun


class Forgetful:
    """A client that has reconnected to a scheduler which was started anew."""

    status = "running"

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.closed = False

    def cancel(self, futures: list[object], *, force: bool) -> None:
        assert futures == [] and force

    def unregister_worker_plugin(self, name: str) -> None:
        self.asked.append(name)
        raise ValueError(f"The worker plugin {name} does not exist")

    def close(self, timeout: float) -> None:
        self.closed = timeout > 0


def test_a_run_ends_well_at_a_scheduler_that_was_started_anew() -> None:
    client = Forgetful()
    run = _DaskRun([], None, DaskSettings("tcp://127.0.0.1:1", lambda: None), client=client, plugins=["one", "two"])  # type: ignore[arg-type]
    run.close()
    assert client.asked == ["one", "two"] and client.closed
