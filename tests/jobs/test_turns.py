"""Runs that take turns in one process: each is the run that it is alone."""

import gc
import os
import signal
import weakref
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from landscape_cli.compute.training.protocol import Protocol, Seeds
from landscape_cli.compute.training.trainer import Trainer
from landscape_cli.errors import ConflictError, DeviceError, DivergedError, InterruptedRunError, LandscapeError
from landscape_cli.jobs.training import TrainJob, run_training
from landscape_cli.jobs.turns import train_in_turns
from landscape_cli.networks.registry import NetworkSpec
from landscape_cli.store.runs import Run
from tests.jobs.test_training import contents, job

SHORT = Protocol(lr=0.05, epochs=2, batch_size=40, augment="crop:1+flip")


def several(folder: Path) -> list[TrainJob]:
    """Runs that differ in all that a process could mix up: seeds, networks, lengths, precisions."""
    return [
        job(folder / "0", protocol=SHORT),
        job(folder / "1", protocol=SHORT, seeds=Seeds(5, 6, 7, 8)),
        job(folder / "2", protocol=replace(SHORT, optimizer="adam", lr=1e-3, epochs=3)),
        job(folder / "3", protocol=SHORT, network=NetworkSpec("vit", {"dim": 16, "depth": 1, "heads": 2, "patch": 4})),
        job(folder / "4", protocol=SHORT, precision="float64"),
    ]


def outcomes(jobs: list[TrainJob], at_once: int) -> list[Any]:
    found = list(train_in_turns(jobs, at_once=at_once))
    assert [number for number, _ in found] == list(range(len(jobs)))
    return [outcome for _, outcome in found]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    for one in several(folder):
        run_training(one)
    return folder


@pytest.mark.parametrize("at_once", [1, 2, 8])
def test_in_turns_as_alone(at_once: int, alone: Path, tmp_path: Path) -> None:
    found = outcomes(several(tmp_path), at_once)
    assert [outcome["status"] for outcome in found] == ["finished"] * 5
    for number in range(5):
        assert contents(tmp_path / str(number)) == contents(alone / str(number))
    again = outcomes(several(tmp_path), at_once)
    assert all(outcome["skipped"] for outcome in again)


def test_one_that_fails_or_diverges_stops_and_the_others_go_on(alone: Path, tmp_path: Path) -> None:
    jobs = several(tmp_path)[:4]
    jobs[1] = replace(jobs[1], protocol=Protocol(lr=1e8, epochs=2, batch_size=40))
    jobs[2].out.mkdir()
    (jobs[2].out / "mine.txt").write_text("mine")
    told: list[tuple[int, int, int]] = []
    found = dict(train_in_turns(jobs, at_once=4, progress=lambda *what: told.append(what)))
    assert isinstance(found[1], DivergedError)
    assert isinstance(found[2], ConflictError)
    for number in (0, 3):
        assert contents(tmp_path / str(number)) == contents(alone / str(number))
    assert Run.open(jobs[1].out).status == "diverged"
    assert (0, 10, 10) in told
    assert (3, 10, 10) in told


def test_a_run_that_failed_holds_no_memory_while_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its error waits to be told in its turn, and must not hold what was at work where it was raised."""
    jobs = several(tmp_path)[1:4]
    jobs[2] = replace(jobs[2], protocol=Protocol(lr=1e8, epochs=2, batch_size=40))
    trainers: list[weakref.ref[Trainer]] = []
    original = Trainer.__init__

    def noted(trainer: Trainer, *given: Any, **named: Any) -> None:
        original(trainer, *given, **named)
        trainers.append(weakref.ref(trainer))

    monkeypatch.setattr(Trainer, "__init__", noted)
    alive = {}

    def look(number: int, done: int, total: int) -> None:
        if (number, done) == (1, total):
            gc.collect()
            alive.update({number: trainer() is not None for number, trainer in enumerate(trainers)})

    found = dict(train_in_turns(jobs, at_once=3, progress=look))
    assert isinstance(found[2], DivergedError)
    assert alive == {0: False, 1: True, 2: False}


def test_a_device_without_memory_is_the_failure_of_its_run(
    alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [replace(one, together={"at_once": 2}) for one in several(tmp_path)[:2]]
    original = Trainer.advance

    def full(trainer: Trainer) -> None:
        if trainer.seeds == jobs[1].seeds and trainer.taken == 3:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        original(trainer)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "advance", full)
        found = outcomes(jobs, 2)
        assert isinstance(found[1], DeviceError)
        assert found[1].message == f"{jobs[1].out}: cpu has no memory left for it"
        assert "fewer --jobs" in str(found[1].hint)
        with pytest.raises(DeviceError, match="no memory left"):
            run_training(replace(jobs[1], together=None))
    assert contents(tmp_path / "0") == contents(alone / "0")
    assert run_training(jobs[1])["status"] == "finished"
    assert contents(tmp_path / "1") == contents(alone / "1")


def test_a_device_that_is_not_there_is_the_failure_of_its_runs(alone: Path, tmp_path: Path) -> None:
    jobs = several(tmp_path)[:2]
    found = outcomes([replace(jobs[0], device="cuda:99"), jobs[1]], 2)
    assert isinstance(found[0], LandscapeError)
    assert contents(tmp_path / "1") == contents(alone / "1")


def test_stopped_they_are_all_kept_and_go_on(alone: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs = several(tmp_path)[:4]
    taken = []
    with monkeypatch.context() as patch:
        original = Trainer.advance

        def counted(trainer: Trainer) -> None:
            original(trainer)
            taken.append(trainer.taken)
            if len(taken) == 11:
                os.kill(os.getpid(), signal.SIGINT)

        patch.setattr(Trainer, "advance", counted)
        with pytest.raises(InterruptedRunError):
            list(train_in_turns(jobs, at_once=3))
    assert {Run.open(tmp_path / str(number)).status for number in range(3)} == {"interrupted"}
    assert not (tmp_path / "3").exists()
    assert max(taken) <= 5  # in turns: none has run ahead
    assert [outcome["status"] for outcome in outcomes(jobs, 3)] == ["finished"] * 4
    for number in range(4):
        assert contents(tmp_path / str(number)) == contents(alone / str(number))


def test_left_half_way_the_runs_are_free_again(tmp_path: Path) -> None:
    jobs = several(tmp_path)[:3]
    walk = train_in_turns([jobs[0], jobs[2]], at_once=2)
    assert next(walk)[0] == 0
    walk.close()
    assert run_training(jobs[2])["status"] == "finished"
