"""Saves in the background: their order, what fails, what waits."""

import threading
import time
import weakref
from pathlib import Path

import pytest
import torch

from landscape_cli.compute.training.capture import RECORDING
from landscape_cli.errors import DivergedError, StorageError
from landscape_cli.jobs import saving
from landscape_cli.jobs.saving import Saver, Snapshot


def test_saves_happen_in_order_and_all_before_the_end(tmp_path: Path) -> None:
    done: list[int] = []
    here = threading.get_ident()
    with Saver() as saver:
        for number in range(50):
            saver.save(lambda number=number: done.append(number))  # type: ignore[misc]
        saver.flush()
        assert done == list(range(50))
        saver.save(lambda: done.append(threading.get_ident()))
    assert len(done) == 51
    assert done[-1] != here


def full() -> None:
    raise StorageError("no space left")


def test_after_a_save_that_fails_none_is_made_and_the_error_comes_up() -> None:
    done: list[str] = []
    with pytest.raises(StorageError, match="no space"), Saver() as saver:
        saver.save(full)
        saver._waiting.join()
        with pytest.raises(StorageError):
            saver.save(lambda: done.append("at the next save"))
        saver.save(full)
        saver.save(lambda: done.append("behind it"))
    assert done == []


def test_what_waits_behind_a_save_that_fails_is_not_made_once_the_error_is_known() -> None:
    """The error is told to who trains before the thread comes to the save behind it: that one would leave a gap."""
    gate, done = threading.Event(), []

    def fails_late() -> None:
        gate.wait(10)
        full()

    with pytest.raises(StorageError, match="no space"), Saver() as saver:
        saver.save(fails_late)
        saver.save(lambda: done.append("behind it"))
        with saver._room:  # where the thread passes by before it takes the next one
            gate.set()
            while saver._error is None:
                time.sleep(0.001)
            with pytest.raises(StorageError):
                saver.save(lambda: done.append("after it"))
        saver._waiting.join()
    assert done == []


class Copies:
    """What a save holds."""


def test_copies_are_freed_when_they_are_written_but_never_while_a_step_is_recorded() -> None:
    written = threading.Event()

    def save(saver: Saver) -> "weakref.ref[Copies]":
        copies = Copies()

        def write() -> None:
            assert copies
            written.set()

        saver.save(write)
        return weakref.ref(copies)

    with Saver() as saver:
        with RECORDING:
            kept = save(saver)
            assert written.wait(10)
            assert kept() is not None
        saver.flush()
        assert kept() is None


def test_a_full_disk_is_told_beside_another_error_but_not_beside_a_stop() -> None:
    with pytest.raises(StorageError) as caught, Saver() as saver:
        saver.save(full)
        raise DivergedError("the loss became nan")
    assert isinstance(caught.value.__context__, DivergedError)
    with pytest.raises(KeyboardInterrupt), Saver() as saver:
        saver.save(full)
        raise KeyboardInterrupt


def test_what_waits_is_bounded_by_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(saving, "WAITING", 100)
    gate, done = threading.Event(), []
    with Saver() as saver:
        saver.save(lambda: (gate.wait(10), done.append("large"))[1], 1000)  # larger than all that may wait: alone
        handed = threading.Thread(target=lambda: saver.save(lambda: done.append("small"), 10))
        handed.start()
        handed.join(0.2)
        assert handed.is_alive()
        gate.set()
        handed.join(10)
        assert not handed.is_alive()
    assert done == ["large", "small"]


def test_a_snapshot_does_not_change_with_its_tensors() -> None:
    weights = {"a": torch.ones(3), "b": torch.arange(4).view(2, 2).t()}
    kept = Snapshot(weights)
    for tensor in weights.values():
        tensor.zero_()
    found = kept.tensors()
    assert torch.equal(found["a"], torch.ones(3))
    assert torch.equal(found["b"], torch.arange(4).view(2, 2).t())
    assert kept.nbytes == 3 * 4 + 4 * 8
