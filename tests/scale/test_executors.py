"""One job after another, or one a process: the same results in the same order."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from landscape_cli.errors import DataError, InterruptedRunError, LandscapeError, UnforeseenError
from landscape_cli.jobs.stopping import watching
from landscape_cli.scale import executors
from landscape_cli.scale.executors import STREAMS, at_once, cores, run_all, threads_for


def work(job: dict, progress) -> dict:
    progress(1, 2)
    time.sleep(job.get("sleep", 0))
    if job.get("mistake"):
        raise ZeroDivisionError("division by zero\nand more")
    if job.get("fail"):
        raise DataError(f"job {job['name']} failed", "a hint")
    if job.get("die"):
        os._exit(1)
    progress(2, 2)
    return {"name": job["name"], "process": os.getpid()}


def wait_for_signal(job: dict, progress) -> dict:
    with watching() as stop:
        Path(job["started"]).touch()
        for _ in range(600):
            if stop.requested:
                Path(job["saved"]).touch()
                raise InterruptedRunError("stopped", "the same command continues")
            time.sleep(0.05)
    return {}


@pytest.mark.parametrize("processes", [1, 2])
def test_results_come_in_order_and_failures_do_not_stop_the_rest(processes: int) -> None:
    jobs = [{"name": "a", "sleep": 0.3}, {"name": "b", "fail": True}, {"name": "c"}]
    told: list[tuple[int, int, int]] = []
    results = [r for _, r in run_all(work, jobs, processes=processes, progress=lambda *p: told.append(p))]
    assert isinstance(results[0], dict)
    assert isinstance(results[2], dict)
    assert (results[0]["name"], results[2]["name"]) == ("a", "c")
    assert isinstance(results[1], DataError)
    assert (results[1].message, results[1].hint) == ("job b failed", "a hint")
    assert {(0, 2, 2), (1, 1, 2), (2, 2, 2)} <= set(told)
    here = {r["process"] == os.getpid() for r in (results[0], results[2])}
    assert here == {processes == 1}


@pytest.mark.parametrize("processes", [1, 2])
def test_a_mistake_in_one_of_several_is_its_failure_and_one_alone_shows_it(processes: int) -> None:
    jobs = [{"name": "a", "mistake": True}, {"name": "b"}, {"name": "c"}]
    results = [r for _, r in run_all(work, jobs, processes=processes)]
    assert isinstance(results[0], UnforeseenError)
    assert results[0].message == "ZeroDivisionError: division by zero"
    assert [r["name"] for r in results[1:]] == ["b", "c"]  # type: ignore[index]
    with pytest.raises(ZeroDivisionError):
        list(run_all(work, jobs[:1], processes=processes))


def test_a_worker_that_dies_is_told() -> None:
    with pytest.raises(LandscapeError, match="a worker process was killed"):
        list(run_all(work, [{"name": "a", "die": True}, {"name": "b"}], processes=2))


def test_ctrl_c_lets_every_job_save(tmp_path: Path) -> None:
    jobs = [{"started": str(tmp_path / f"started{i}"), "saved": str(tmp_path / f"saved{i}")} for i in range(4)]

    def press() -> None:
        deadline = time.monotonic() + 60
        while len(list(tmp_path.glob("started*"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press).start()
    with pytest.raises(InterruptedRunError):
        list(run_all(wait_for_signal, jobs, processes=2))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["saved0", "saved1", "started0", "started1"]


def chatter(job: dict, progress) -> dict:
    """Report far more than a pipe holds, again and again."""
    with watching() as stop:
        Path(job["started"]).touch()
        while not stop.requested:
            progress(1, 1)
    raise InterruptedRunError("stopped", "the same command continues")


def deaf_at_first(job: dict, progress) -> dict:
    """As a run that loads its data before it listens."""
    Path(job["started"]).touch()
    time.sleep(1.0)
    return wait_for_signal(job, progress)


@pytest.mark.parametrize("function", [chatter, deaf_at_first])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_jobs_that_talk_much_or_listen_late_are_stopped_too(tmp_path: Path, function, number: int) -> None:
    jobs = [{"started": str(tmp_path / f"started{i}"), "saved": str(tmp_path / f"saved{i}")} for i in range(3)]

    def press() -> None:
        deadline = time.monotonic() + 60
        while len(list(tmp_path.glob("started*"))) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(os.getpid(), number)

    threading.Thread(target=press).start()
    with pytest.raises(InterruptedRunError, match="stopped"):
        list(run_all(function, jobs, processes=2, progress=lambda *told: None))
    assert not (tmp_path / "started2").exists()


def test_reports_that_nobody_reads_do_not_keep_a_worker_from_ending() -> None:
    """4 MB of them: the reader is slow, and is gone when the job is done."""
    results = list(run_all(talk, [{}, {}], processes=2, progress=lambda *told: time.sleep(0.001)))
    assert [result["said"] for _, result in results] == [50_000] * 2


def talk(job: dict, progress) -> dict:
    for _ in range(50_000):
        progress(1, 1)
    return {"said": 50_000}


def test_interruption_of_an_inline_job_goes_up() -> None:
    def interrupted(job: dict, progress) -> dict:
        raise InterruptedRunError("stopped")

    with pytest.raises(InterruptedRunError):
        list(run_all(interrupted, [{}, {}]))


def test_how_many_at_once() -> None:
    assert at_once(1, None, "cpu") == 1
    assert at_once(100, None, "cpu") == cores()
    assert at_once(100, 3, "cpu") == 3
    assert at_once(2, 8, "cuda") == 2
    assert at_once(8, None, "cuda") == 8
    assert at_once(99, None, "cuda") == STREAMS
    assert at_once(8, None, "mps") == 1
    assert threads_for(1) is None
    assert threads_for(2 * cores()) == 1


def test_a_containers_share_of_the_cores_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both versions of control groups; a limit holds for all below it, and ``max`` or −1 is none."""
    groups, root = tmp_path / "cgroup", tmp_path / "fs"
    files = {
        "job/step/cpu.max": "max 100000",
        "job/cpu.max": "250000 100000",
        "cpu,cpuacct/docker/cpu.cfs_quota_us": "50000",
        "cpu,cpuacct/docker/cpu.cfs_period_us": "100000",
        "cpu,cpuacct/cpu.cfs_quota_us": "-1",
        "cpu,cpuacct/cpu.cfs_period_us": "100000",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text + "\n")
    for text, share in {
        "0::/job/step": 2.5,
        "0::/other": float("inf"),
        "4:memory:/docker\n3:cpu,cpuacct:/docker": 0.5,
        "3:cpu,cpuacct:/": float("inf"),
    }.items():
        groups.write_text(text + "\n")
        assert executors._share(groups, root) == share
    assert executors._share(tmp_path / "missing", root) == float("inf")
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(64)), raising=False)
    for share, expected in ((2.5, 3), (0.2, 1), (float("inf"), 64)):
        monkeypatch.setattr(executors, "_share", lambda share=share: share)
        assert cores() == expected


def test_threads_are_no_more_than_the_user_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executors, "cores", lambda: 16)
    for allowed, threads in {"": 4, "2": 2, "3,1": 3, "64": 4, "many": 4, "0": 4}.items():
        monkeypatch.setenv("OMP_NUM_THREADS", allowed)
        assert threads_for(4) == threads
        assert threads_for(1) is None


def test_one_key_press_that_arrives_twice_is_one_request() -> None:
    with watching() as stop:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.requested
        stop._since -= 5  # and five seconds later
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
