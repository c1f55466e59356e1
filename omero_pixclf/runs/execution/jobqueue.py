"""Start dask workers as jobs of a batch system (Slurm, PBS) with dask-jobqueue.

Scheduler, workers and this process use TLS with certificates made for the run: whoever can read this traffic can use
OMERO as this user. Workers read their certificates from a folder that they share, readable by the user only.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from omero_pixclf.config import parse_size, read_toml
from omero_pixclf.errors import OutputError, UsageError
from omero_pixclf.runs.execution.dask_cluster import DaskSettings, execute_on_dask
from omero_pixclf.runs.execution.serial import ImageOutcome
from omero_pixclf.runs.planning.plan import PlanItem
from omero_pixclf.runs.state.manifest import Manifest
from omero_pixclf.text import format_validation_error, pluralize

__all__ = ["JobQueueSettings", "Text", "execute_on_jobqueue", "load_jobqueue_settings", "start_jobqueue_cluster"]

_ROLES = ("scheduler", "worker", "client")
_COMMANDS = {"slurm": "sbatch", "pbs": "qsub"}
_LEAN = (
    "export DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED=False",
    "export DASK_DISTRIBUTED__ADMIN__TICK__INTERVAL=1s",
)
"""Workers of this run only need not watch themselves a hundred times a second: it takes a twentieth of their time."""

Text = Annotated[str, Field(min_length=1)]


class JobQueueSettings(BaseModel):
    """Jobs to submit: the section ``[dask]`` of a TOML file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    cluster: Literal["slurm", "pbs"] = Field(description="the batch system")
    jobs: int = Field(ge=1, description="how many jobs to submit")
    cores: int = Field(ge=1, description="processors of a job")
    memory: Text = Field(description="memory of a job, such as 16G")
    processes: int = Field(1, ge=1, description="workers of a job, which share its cores and memory")
    walltime: Text = Field("01:00:00", description="a job may take so long; then another is submitted")
    queue: Text | None = Field(None, description="queue or partition")
    account: Text | None = Field(None, description="account or project that pays")
    interface: Text | None = Field(None, description="network interface that workers reach this machine by: ib0")
    host: Text | None = Field(None, description="address of this machine that workers reach it by, instead")
    directives: tuple[str, ...] = Field((), description="more lines for the job's head, such as --constraint=avx2")
    prologue: tuple[str, ...] = Field((), description="lines to run before the worker, such as module load python")
    python: Text | None = Field(None, description="the interpreter there, with omero_pixclf (default: this one)")
    local_directory: Text | None = Field(None, description="where workers put temporary files (default: the system's)")

    @property
    def workers(self) -> int:
        """Worker processes in all."""
        return self.jobs * self.processes

    @property
    def worker_memory(self) -> int:
        """Bytes for each worker."""
        return parse_size(self.memory) // self.processes


def load_jobqueue_settings(path: Path) -> JobQueueSettings:
    """The section ``[dask]`` of a TOML file.

    Raises
    ------
    UsageError
        Where it cannot be read, or a key is unknown, missing or has a bad value; says which.
    """
    content = read_toml(path).get("dask")
    if not isinstance(content, Mapping):
        raise UsageError(f"{path}: has no section [dask] with the jobs to submit: cluster, jobs, cores, memory, …")
    try:
        batch = JobQueueSettings.model_validate(content)
    except ValidationError as error:
        raise UsageError(format_validation_error(error, JobQueueSettings, f"{path}: [dask]")) from error
    if batch.processes > batch.cores:
        too_many = f"{pluralize(batch.processes, 'worker')} of a job with {pluralize(batch.cores, 'core')}"
        raise UsageError(f"{path}: [dask]: processes: {too_many}")
    try:
        parse_size(batch.memory)
    except UsageError as error:
        raise UsageError(f"{path}: [dask]: memory: {error}") from error
    return batch


def execute_on_jobqueue(
    items: Iterable[PlanItem], manifest: Manifest, jobs: JobQueueSettings, cluster: DaskSettings
) -> Iterator[ImageOutcome]:
    """Work on the items by jobs (`serial.Executor`), which are submitted first and end with the run.

    Raises
    ------
    UsageError
        Where dask-jobqueue or the batch system is not installed.
    OutputError
        Where a job is refused. What `execute_on_dask` raises besides.
    """
    items = list(items)
    if not any(item.decision in ("due", "replace") for item in items):
        yield from execute_on_dask(items, manifest, cluster)  # which then asks nobody
        return
    with start_jobqueue_cluster(jobs, manifest.folder) as (address, security):
        there = replace(cluster, address=address, security=security, expected=jobs.workers)
        yield from execute_on_dask(items, manifest, there)


@contextmanager
def start_jobqueue_cluster(batch: JobQueueSettings, folder: Path) -> Iterator[tuple[str, Any]]:
    """A scheduler in this process, and its workers as jobs; gives its address and what is needed to talk to it.

    ``folder`` is one that the jobs see, too: certificates, and what jobs say, lie there.
    """
    submit = _COMMANDS[batch.cluster]
    if shutil.which(submit) is None:
        raise UsageError(f"{submit} is not to be found here: run this where jobs of {batch.cluster} are submitted")
    logs = folder / "jobs"
    logs.mkdir(exist_ok=True)
    keys = Path(tempfile.mkdtemp(prefix="keys-", dir=folder))  # for this user only
    try:
        made = _create_cluster(batch, _write_certificates(keys), logs)
        _submit_jobs(made, batch.jobs, submit)
        with made:
            made.adapt(minimum_jobs=batch.jobs, maximum_jobs=batch.jobs)  # a job that ends early is submitted again
            yield made.scheduler_address, made.security
    finally:
        shutil.rmtree(keys, ignore_errors=True)


def _submit_jobs(made: Any, jobs: int, command: str) -> None:
    try:
        made.sync(_scale_and_check, made, jobs)
    except RuntimeError as error:
        with suppress(AssertionError):  # it takes for granted that all jobs were accepted
            made.close()
        said = str(error).partition("stderr:")[2].strip() or str(error)
        raise OutputError(f"{command}: {said}") from error


async def _scale_and_check(made: Any, jobs: int) -> None:
    """Submit the jobs, and hear of it where one is refused: scaling by itself only logs that."""
    made.scale(jobs=jobs)
    await made._correct_state()


def _write_certificates(folder: Path) -> Any:
    """What scheduler, workers and client prove to each other, as files (`distributed.Security`)."""
    from distributed import Security

    made, files = Security.temporary(), {}
    for name in ("tls_ca_file", *(f"tls_{role}_{what}" for role in _ROLES for what in ("cert", "key"))):
        path = folder / f"{name}.pem"
        path.touch(mode=0o600)
        path.write_text(getattr(made, name), encoding="ascii")
        files[name] = os.fspath(path)
    return Security(require_encryption=True, **files)


def _create_cluster(batch: JobQueueSettings, security: Any, logs: Path) -> Any:
    try:
        from dask_jobqueue import PBSCluster, SLURMCluster
    except ImportError as error:
        raise UsageError("jobs as workers need dask-jobqueue: pip install '.[jobqueue]' in the checkout") from error
    wanted = {"queue": batch.queue, "account": batch.account, "python": batch.python, "interface": batch.interface}
    kind = SLURMCluster if batch.cluster == "slurm" else PBSCluster
    scheduler = {"dashboard": False, **({"host": batch.host} if batch.host else {})}
    return kind(
        cores=batch.cores,
        memory=str(parse_size(batch.memory)),
        processes=batch.processes,
        walltime=batch.walltime,
        job_name="omero_pixclf",
        job_extra_directives=list(batch.directives),
        job_script_prologue=[*_LEAN, *batch.prologue],
        local_directory=batch.local_directory or tempfile.gettempdir(),
        log_directory=os.fspath(logs),
        scheduler_options=scheduler,
        security=security,
        **{key: value for key, value in wanted.items() if value is not None},
    )
