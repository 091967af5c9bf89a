"""Many runs trained as one job: how many at once, with how many threads, and the record of it."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from landscape_cli.errors import InterruptedRunError, LandscapeError, UnforeseenError
from landscape_cli.jobs.sweep_jobs import kept_as_it_is, named, run_one
from landscape_cli.jobs.training import TrainJob, run_training, threads_begun_with
from landscape_cli.jobs.turns import train_in_turns
from landscape_cli.scale.executors import Progress, Result, on_cuda, run_all, threads_for


def train_all(
    jobs: Sequence[TrainJob], *, at_once: int, progress: Progress | None = None, keep_diverged: bool = False
) -> Iterator[tuple[int, Result]]:
    """Train runs, so many at once; yield records and failures in the order of the jobs.

    On a CPU each has a process; on a CUDA device they take turns in one, each with a stream of the device to itself
    (:mod:`landscape_cli.jobs.turns`). Each run is the one that it would be alone with as many threads: bit for bit on
    the same device, as it shares nothing with the others but the machine. Its ``run.json`` says under
    ``environment.together`` how it was trained: ``runs`` handed in with it, so many ``at_once``, and the ``way``:
    ``processes``, ``streams`` or ``one after another``.

    Args:
        jobs: The runs, of one device. Where one names no number of threads, the cores are shared out; one that is
            continued has those that it began with.
        at_once: How many at once (:func:`landscape_cli.scale.executors.at_once`).
        progress: Called with a job's number, steps done and steps in all.
        keep_diverged: A run that diverges is a result, not a failure.

    Raises:
        InterruptedRunError: If the user stopped them; the same jobs continue.
        LandscapeError: If a worker process died.
    """
    streams = bool(jobs) and on_cuda(jobs[0].device)
    # By the number asked for, not by the runs left: a run continued has the threads that it began with.
    threads = None if streams else threads_for(at_once)
    at_once = max(1, min(at_once, len(jobs)))
    way = "one after another" if at_once == 1 else "streams" if streams else "processes"
    together = {"runs": len(jobs), "at_once": at_once, "way": way}
    ready = [replace(job, threads=job.threads or threads_begun_with(job) or threads, together=together) for job in jobs]
    if way != "streams":
        function = run_one if keep_diverged else run_training
        results = run_all(function, ready, processes=at_once, progress=progress)
    else:
        results = train_in_turns(ready, at_once=at_once, progress=progress)
    try:
        for number, result in results:
            if isinstance(result, UnforeseenError):
                result = named(result, ready[number])
            elif way == "streams" and keep_diverged and isinstance(result, LandscapeError):
                result = kept_as_it_is(ready[number], result)
            yield number, result
    except InterruptedRunError as error:
        if any(job.force for job in ready):
            raise InterruptedRunError(error.message, "the same command without --force continues them") from None
        raise
