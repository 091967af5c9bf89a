"""Running independent jobs one after another or one a process."""

import contextlib
import math
import multiprocessing
import multiprocessing.connection
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from types import FrameType
from typing import Any

from landscape_cli.errors import InterruptedRunError, LandscapeError, UnforeseenError
from landscape_cli.jobs.stopping import Stop, watching

Result = dict[str, Any] | LandscapeError
Progress = Callable[[int, int, int], None]  # number of the job, done, total

POLL_SECONDS = 0.2
REPORT_SECONDS = 0.05  # between two reports of a job: a small network takes thousands of steps a second
STREAMS = 16  # runs that take turns on a GPU, where its memory holds them

_reports: Any = None  # in a worker: the queue its progress goes to
_in_hand = False  # in a worker: whether it has a job


def cores() -> int:
    """The CPU cores this process may use: those of its affinity, or fewer where a container has a share of them."""
    free = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, math.ceil(min(free, _share())))


def _share(groups: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> float:
    """The processor time a second that Linux control groups (either version) leave this process; infinite without."""
    least = math.inf
    with contextlib.suppress(OSError):
        for line in groups.read_text(encoding="utf-8").splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers and "cpu" not in controllers.split(","):
                continue
            own = root / controllers / path.lstrip("/")
            for folder in (own, *own.parents):  # a limit holds for all below it
                least = min(least, _quota(folder))
                if folder == root:
                    break
    return least


def _quota(folder: Path) -> float:
    """The limit of one control group: ``cpu.max`` is quota and period, as are two files of the older version."""
    for names in (("cpu.max",), ("cpu.cfs_quota_us", "cpu.cfs_period_us")):
        with contextlib.suppress(OSError, ValueError):  # "max 100000" is no limit
            quota, period = " ".join((folder / name).read_text(encoding="utf-8") for name in names).split()
            if int(quota) > 0:
                return int(quota) / int(period)
    return math.inf


def on_cuda(device: str) -> bool:
    """Whether a device asked for means a CUDA device here."""
    import torch

    return device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())


def at_once(jobs: int, asked: int | None, device: str) -> int:
    """How many runs at once: as asked, else one a core on a CPU, :data:`STREAMS` on a CUDA device, one elsewhere."""
    if asked is not None:
        return min(asked, jobs)
    if on_cuda(device):
        return min(jobs, STREAMS)
    return min(jobs, cores()) if device in ("cpu", "auto") else 1


def threads_for(processes: int) -> int | None:
    """CPU threads of each of so many processes, no more than ``OMP_NUM_THREADS`` says; None leaves torch its default.

    That default goes by ``OMP_NUM_THREADS`` itself.
    """
    if processes <= 1:
        return None
    most = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()
    shared = max(1, cores() // processes)
    return min(shared, int(most)) if most.isdecimal() and int(most) > 0 else shared


def run_all(
    function: Callable[..., dict[str, Any]],
    jobs: Sequence[Any],
    *,
    processes: int = 1,
    progress: Progress | None = None,
) -> Iterator[tuple[int, Result]]:
    """Run ``function(job, progress)`` for every job; yield results in the order of the jobs, failures among them.

    A job that fails does not keep the others from running, nor does a mistake in its code, which a job alone raises.
    When the user interrupts, running jobs save their state, waiting ones are dropped, and the interruption is raised at
    the end.

    Args:
        function: Importable by name; takes a job and a progress callback.
        jobs: Jobs that can be pickled.
        processes: How many at once; 1 runs them here.
        progress: Called with the job's number, steps done and steps in all.

    Raises:
        InterruptedRunError: If a job was interrupted.
        LandscapeError: If a worker process died.
    """
    if processes <= 1 or len(jobs) <= 1:
        yield from _inline(function, jobs, progress)
    else:
        yield from _pooled(function, jobs, min(processes, len(jobs)), progress)


def _inline(
    function: Callable[..., dict[str, Any]], jobs: Sequence[Any], progress: Progress | None
) -> Iterator[tuple[int, Result]]:
    for number, job in enumerate(jobs):

        def report(done: int, total: int, number: int = number) -> None:
            if progress is not None:
                progress(number, done, total)

        try:
            yield number, function(job, report)
        except InterruptedRunError:
            raise
        except LandscapeError as error:
            yield number, error.bare() if len(jobs) > 1 else error
        except Exception as error:
            if len(jobs) == 1:
                raise
            yield number, UnforeseenError.of(error)


def _pooled(
    function: Callable[..., dict[str, Any]], jobs: Sequence[Any], processes: int, progress: Progress | None
) -> Iterator[tuple[int, Result]]:
    context = _context(function.__module__)
    desk = _Desk(context.Queue(), progress)
    pool = ProcessPoolExecutor(processes, mp_context=context, initializer=_begin_worker, initargs=(desk.reports,))
    running: dict[Future[Result], int] = {}
    results: dict[int, Result] = {}
    interrupted: InterruptedRunError | None = None
    waiting = iter(enumerate(jobs))
    next_out = 0
    try:
        # A flag, and no exception in the middle of reading a queue: its lock would stay taken, and nobody read on.
        with watching() as stop:
            while True:
                if stop.requested and interrupted is None:
                    interrupted = InterruptedRunError("stopped; the runs are kept", "the same command continues them")
                # No more jobs are handed in than can run: what waits here can be dropped.
                while interrupted is None and len(running) < processes and (item := next(waiting, None)) is not None:
                    running[pool.submit(_work, function, *item)] = item[0]
                if not running:
                    break
                for future in desk.wait(running, stop):
                    number = running.pop(future)
                    result = results[number] = future.result()
                    if isinstance(result, InterruptedRunError):
                        interrupted = interrupted or result
                while next_out in results:
                    result = results.pop(next_out)
                    if not isinstance(result, InterruptedRunError):
                        yield next_out, result
                    next_out += 1
    except BrokenProcessPool as error:
        raise LandscapeError(
            "a worker process was killed (out of memory?)", "give the same command with --jobs 1; it continues"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    if interrupted is not None:
        raise interrupted


class _Desk:
    """Where workers report: progress, and which processes have a job in hand."""

    def __init__(self, reports: Any, progress: Progress | None) -> None:
        self.reports = reports
        self._progress = progress
        self._busy: set[int] = set()
        self._asked: set[int] = set()

    def wait(self, running: "Iterable[Future[Result]]", stop: Stop) -> "set[Future[Result]]":
        """Wait until a job is done, passing on what all workers report, and to them that they are to stop."""
        while True:
            self._read(POLL_SECONDS)
            done, _ = wait(running, timeout=0)
            if stop.requested:
                self._stop_workers()
            if done:
                self._read(0)
                return done

    def _read(self, timeout: float) -> None:
        until = time.monotonic() + POLL_SECONDS  # many workers may report without a pause
        with contextlib.suppress(queue.Empty):
            while time.monotonic() < until:
                process, number, done, total = self.reports.get(timeout=timeout)
                if number < 0:
                    (self._busy.add if done else self._busy.discard)(process)
                elif self._progress is not None:
                    self._progress(number, done, total)

    def _stop_workers(self) -> None:
        """Ask every process that has a job in hand, once, to save and end it; idle ones are left in peace."""
        for process in self._busy - self._asked:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGUSR1)
        self._asked |= self._busy


def _context(module: str) -> Any:
    """Worker processes that start with torch loaded: a fork of a server that has never run a kernel."""
    if sys.platform == "linux":
        context = multiprocessing.get_context("forkserver")
        # torch.optim loads torch._dynamo at its first use, which costs each worker seconds if it is not here already.
        context.set_forkserver_preload([module, "torch._dynamo"])
        return context
    return multiprocessing.get_context("spawn")  # type: ignore[unreachable]


def _begin_worker(reports: Any) -> None:
    global _reports
    _reports = reports
    reports.cancel_join_thread()  # an ending worker need not wait until somebody has read how far it was
    # Ctrl-C reaches the whole process group: a job that runs watches for it, an idle worker must not die loudly.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGUSR1, _pass_on)
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()


def _end_with_parent() -> None:
    """In a worker: a parent that was killed can stop nobody, and would leave processes behind that wait for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    multiprocessing.connection.wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGUSR1)
    while _in_hand:
        time.sleep(POLL_SECONDS)
    os._exit(1)


def _pass_on(number: int, frame: FrameType | None) -> None:
    """In a worker: tell the job in hand to stop, as soon as it listens (it may be loading its data still)."""
    listener = signal.getsignal(signal.SIGTERM)
    if callable(listener):
        listener(signal.SIGTERM, frame)
    elif _in_hand:
        again = threading.Timer(POLL_SECONDS, os.kill, (os.getpid(), number))
        again.daemon = True
        again.start()


def _work(function: Callable[..., dict[str, Any]], number: int, job: Any) -> Result:
    global _in_hand
    process = os.getpid()
    told = -REPORT_SECONDS

    def report(done: int, total: int) -> None:
        nonlocal told
        now = time.monotonic()
        if done >= total or now - told >= REPORT_SECONDS:
            told = now
            _reports.put((process, number, done, total))

    _in_hand = True
    _reports.put((process, -1, True, True))
    try:
        return function(job, report)
    except LandscapeError as error:
        return error
    except Exception as error:
        return UnforeseenError.of(error)
    finally:
        _in_hand = False
        _reports.put((process, -1, False, False))
