"""Many runs of notebooks at once: on this machine's cores, or on a cluster of machines."""

import atexit
import itertools
import logging
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from vsnn_lab._basics.checks import check_callable, check_collection, check_int, short_repr
from vsnn_lab._basics.threads import SPIN_COUNT_LINE, spin_count
from vsnn_lab.headless.runs import Run, keep
from vsnn_lab.headless.runs.parameters import check_named_values

if TYPE_CHECKING:
    from distributed import Client, Future

_TOPIC = "vsnn_lab"
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@dataclass(frozen=True)
class Outcome:
    """How a run of a sweep ended.

    Attributes:
        run: The run.
        state: "done"; "failed", in a cell or before the first one; or "lost" with its machines.
        error: What went wrong; empty for a run that is done.
        executed: Whether it was executed now; False where its results were there before.
    """

    run: Run
    state: Literal["done", "failed", "lost"]
    error: str = ""
    executed: bool = True


def grid(choices: Mapping[str, Sequence[Any]]) -> list[dict[str, Any]]:
    """Return every combination of the values of some parameters, the last one fastest.

    Args:
        choices: Values by name.

    Raises:
        TypeError: If a name has no sequence of values.
        ValueError: If a sequence is empty.

    Example:
        >>> grid({"EPOCHS": [5, 10], "SEED": [0, 1]})[:2]
        [{'EPOCHS': 5, 'SEED': 0}, {'EPOCHS': 5, 'SEED': 1}]
    """
    for name, values in check_named_values("choices", choices).items():
        if not len(check_collection(name, values, "values", hint="[8] is a single value")):
            raise ValueError(f"{name} must have at least one value, got none")
    return [
        dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())
    ]


def sweep(
    runs: Sequence[Run],
    *,
    scheduler: str | None = None,
    slurm: int | None = None,
    workers: int | None = None,
    on_cell: Callable[[Run, float, int], None] | None = None,
) -> Generator[Outcome, None, None]:
    """Keep many runs, several at a time and begun in their order, and yield each as it ends.

    Runs whose results are there already are not repeated; a run whose worker dies goes to another,
    up to three times; runs that fail do not stop the others. Machines of a cluster must share the
    folders of the notebooks and of the runs.

    Args:
        runs: What to run; a run that is named twice runs once.
        scheduler: Address of a dask scheduler; None starts a cluster of this machine's cores.
        slurm: Number of Slurm jobs to ask for instead, as dask's configuration ``jobqueue.slurm``
            describes one.
        workers: Processes of the cluster of this machine; by default one a core, at most one a run.
            Each has its share of the cores' threads.
        on_cell: Called with a run, and as in `run_notebook`.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If both a scheduler and Slurm are named, or workers beside either.
        FileNotFoundError: If Slurm is asked for where there is no ``sbatch``.
        ConnectionError: If the scheduler cannot be reached, when the first outcome is asked for.
    """
    check_collection("runs", runs, "runs", hint="Run.of(notebook, parameters) makes one")
    if scheduler is not None and not isinstance(scheduler, str):
        raise TypeError(f"scheduler must be the address of one, got {short_repr(scheduler)}")
    if on_cell is not None:
        check_callable("on_cell", on_cell, "a function of a run and two numbers")
    for run in runs:
        if not isinstance(run, Run):
            raise TypeError(
                f"runs must hold runs, got {short_repr(run)}; "
                "Run.of(notebook, parameters) makes one"
            )
    if workers is not None:
        check_int("workers", workers)
    if slurm is not None:
        check_int("slurm", slurm)
    if scheduler is not None and slurm is not None:
        raise ValueError(f"slurm must be None beside a scheduler, got {slurm} and {scheduler}")
    if workers is not None and (scheduler is not None or slurm is not None):
        other = f"slurm={slurm}" if scheduler is None else f"scheduler={scheduler!r}"
        raise ValueError(
            f"workers must be None beside a scheduler or Slurm, got {workers} and {other}"
        )
    if slurm is not None and shutil.which("sbatch") is None:
        # Otherwise the jobs fail out of sight, and the sweep waits for them without end.
        raise FileNotFoundError(
            f"slurm must be asked for on a machine that has sbatch, got {slurm} without it"
        )
    runs_by_folder = {str(run.folder): run for run in runs}
    return _outcomes(runs_by_folder, scheduler, slurm, workers, on_cell)


def _outcomes(
    runs_by_folder: Mapping[str, Run],
    scheduler: str | None,
    slurm: int | None,
    workers: int | None,
    on_cell: Callable[[Run, float, int], None] | None,
) -> Generator[Outcome, None, None]:
    from distributed import as_completed
    from distributed.scheduler import KilledWorker

    waiting = {}
    for folder, run in runs_by_folder.items():
        try:
            is_done = run.state == "done"
        except ValueError as damaged:
            yield Outcome(run, "failed", str(damaged), executed=False)
            continue
        if is_done:
            yield Outcome(run, "done", executed=False)
        else:
            waiting[folder] = run
    if not waiting:
        return
    queue = iter(waiting.items())
    with _connected_client(scheduler, slurm, workers, len(waiting)) as (client, at_once):
        if on_cell is not None:

            def report_progress(event: tuple[float, dict[str, Any]]) -> None:
                on_cell(runs_by_folder[event[1]["folder"]], *event[1]["cells"])

            client.subscribe_topic(_TOPIC, report_progress)

        def submit(count: int) -> "list[Future[tuple[str, str]]]":
            # A key of its own each, so that the scheduler never runs one twice at a time.
            return [
                client.submit(_keep_on_worker, run, key=key)
                for key, run in itertools.islice(queue, count)
            ]

        futures = as_completed(submit(at_once))
        for future in futures:
            futures.update(submit(1))
            run = waiting[future.key]
            try:
                state, error = future.result()
                yield Outcome(run, state, error)
            except KilledWorker:
                yield Outcome(run, "lost", "every worker that it was tried on died")
            except Exception as error:  # whatever else a machine may do wrong, the rest goes on
                yield Outcome(run, "lost", _error_line(error))


def _error_line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _keep_on_worker(run: Run) -> tuple[str, str]:
    """Execute a run on a worker, and tell the scheduler how far it is."""
    from distributed import get_worker

    worker = get_worker()

    def report_progress(done: float, cells: int) -> None:
        worker.log_event(_TOPIC, {"folder": str(run.folder), "cells": (done, cells)})

    try:
        keep(run, progress=False, on_cell=report_progress)
    except Exception as error:  # dask would fill the terminal with the worker's traceback
        in_cell = type(error).__name__ == "PapermillExecutionError"
        return "failed", str(error) if in_cell else _error_line(error)
    return "done", ""


@contextmanager
def _connected_client(
    scheduler: str | None, slurm: int | None, workers: int | None, runs: int
) -> "Iterator[tuple[Client, int]]":
    """Connect to the machines that are to be used, and let go of them afterwards.

    Beside the client stands how many runs to hand over at a time. This machine is handed what it
    can run: of what a scheduler holds back, it keeps no order. To others workers may come.
    """
    from distributed import Client

    if scheduler is not None:
        try:
            client = Client(scheduler)
        except OSError as error:
            raise ConnectionError(
                f"scheduler must be reachable, got {scheduler!r}: {error}"
            ) from error
        with client:
            yield client, runs
        return
    if slurm is not None:
        with slurm_cluster() as cluster, Client(cluster) as client:
            cluster.scale(jobs=slurm)
            yield client, runs
        return
    with _local_cluster(workers, runs) as cluster, Client(cluster) as client:
        client.register_plugin(_exit_plugin())
        try:
            yield client, len(cluster.workers)
        except (KeyboardInterrupt, GeneratorExit):
            _kill_workers(cluster)
            raise


def _kill_workers(cluster: Any) -> None:
    """End the processes of a local cluster, which would otherwise be given time to finish a run."""
    for nanny in cluster.workers.values():
        nanny.auto_restart = False
        with suppress(ProcessLookupError, TypeError):  # dead already, or about to start
            os.kill(nanny.pid, signal.SIGKILL)


@contextmanager
def _local_cluster(workers: int | None, runs: int) -> Iterator[Any]:
    """Start processes of this machine that share its cores."""
    import dask
    from distributed import LocalCluster

    affinity = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if affinity else os.cpu_count() or 1
    workers = min(runs, cores if workers is None else workers)
    threads = dict.fromkeys(_THREAD_VARIABLES, str(max(1, cores // workers))) | spin_count(
        os.environ
    )
    environ = {f"distributed.nanny.pre-spawn-environ.{name}": threads[name] for name in threads}
    with (
        tempfile.TemporaryDirectory(prefix="vsnn_lab-", ignore_cleanup_errors=True) as scratch,
        dask.config.set({**environ, "temporary-directory": scratch}),
        LocalCluster(
            n_workers=workers,
            threads_per_worker=1,
            memory_limit=0,
            # On loopback, and without the page of figures, which nobody asked for.
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"dashboard": False},
            # What matters of a dead worker is in the run's outcome.
            silence_logs=logging.CRITICAL,
        ) as cluster,
    ):
        yield cluster


def _exit_plugin() -> Any:
    """Return a plugin that spares workers the seconds in which Python takes torch apart."""
    from distributed import Worker, WorkerPlugin

    class ExitWithoutCleanup(WorkerPlugin):
        def setup(self, worker: Worker) -> None:
            atexit.register(os._exit, 0)

    return ExitWithoutCleanup()


def slurm_cluster() -> Any:
    """Return a cluster of Slurm jobs, a worker of one task at a time each.

    Queue, memory, cores and wall time come from dask's configuration, ``jobqueue.slurm``; so does
    ``security``, without which whoever reaches this machine's port may run code as you.
    """
    import dask
    from dask_jobqueue.slurm import SLURMCluster

    extra = dask.config.get("jobqueue.slurm.worker-extra-args")
    prologue = dask.config.get("jobqueue.slurm.job-script-prologue")
    # All cores are for the one run.
    return SLURMCluster(
        processes=1,
        worker_extra_args=[*extra, "--nthreads", "1"],
        job_script_prologue=[*prologue, SPIN_COUNT_LINE],
    )
