"""Many runs trained as one job: how many at once, with how many threads, and the record of it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from landscape_cli.jobs.training import TrainJob, run_training
from landscape_cli.scale.executors import Progress, Result, run_all, threads_for


def train_all(
    jobs: Sequence[TrainJob],
    *,
    processes: int,
    progress: Progress | None = None,
    function: Callable[..., dict[str, Any]] = run_training,
) -> Iterator[tuple[int, Result]]:
    """Train runs, so many at once; yield records and failures in the order of the jobs.

    Each run is the one that it would be alone with as many threads: it shares nothing with the others but the machine.
    Its ``run.json`` says under ``environment.together`` how it was trained: ``runs`` handed in with it, ``processes``
    at once, and the ``way``, ``processes`` or ``one after another``.

    Args:
        jobs: The runs. Where a job names no number of threads, the cores are shared out.
        processes: How many at once (:func:`landscape_cli.scale.executors.processes_for`).
        progress: Called with a job's number, steps done and steps in all.
        function: What makes a run of a job; importable by name.

    Raises:
        InterruptedRunError: If the user stopped them; the same jobs continue.
        LandscapeError: If a worker process died.
    """
    # By the processes asked for, not by the runs left: a run continued has the threads that it began with.
    threads = threads_for(processes)
    processes = max(1, min(processes, len(jobs)))
    way = "processes" if processes > 1 else "one after another"
    together = {"runs": len(jobs), "processes": processes, "way": way}
    ready = [replace(job, threads=job.threads or threads, together=together) for job in jobs]
    yield from run_all(function, ready, processes=processes, progress=progress)
