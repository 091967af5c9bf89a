"""Many runs as one job: which way, and that the way is no difference."""

from dataclasses import replace
from pathlib import Path

import pytest

from landscape_cli.compute.training.protocol import Protocol, Seeds
from landscape_cli.errors import DivergedError, UnforeseenError
from landscape_cli.jobs.training import TrainJob
from landscape_cli.networks.registry import NetworkSpec
from landscape_cli.scale import together
from landscape_cli.scale.together import train_all
from landscape_cli.store.runs import Run
from tests.jobs.test_training import contents, job

SHORT = Protocol(lr=0.05, epochs=1, batch_size=40)


def jobs(folder: Path) -> list[TrainJob]:
    found = [job(folder / str(k), protocol=SHORT, seeds=Seeds(k, k, k, k)) for k in range(3)]
    wild = Protocol(lr=1e8, epochs=1, batch_size=40)
    found[1] = replace(found[1], network=NetworkSpec("simple-cnn", {"width": 0.25}), protocol=wild)  # diverges
    return found


def test_turns_and_processes_make_the_same_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    apart = dict(train_all(jobs(tmp_path / "processes"), at_once=2))
    monkeypatch.setattr(together, "on_cuda", lambda device: True)
    turns = dict(train_all(jobs(tmp_path / "streams"), at_once=2))
    for found in (apart, turns):
        assert isinstance(found[1], DivergedError)
    for name in "02":
        assert contents(tmp_path / "processes" / name) == contents(tmp_path / "streams" / name)
    ways = {way: Run.open(tmp_path / way / "0").document["environment"]["together"] for way in ("processes", "streams")}
    assert ways == {way: {"runs": 3, "at_once": 2, "way": way} for way in ways}


OWN = """
from torch import nn

class Own(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.head = nn.Linear(64, classes)

    def forward(self, x):
        if self.training:
            raise ValueError("not in training")
        return self.head(x.flatten(1))

def build(input_shape, classes):
    return Own(classes)
"""


@pytest.mark.parametrize("gpu", [False, True])
@pytest.mark.parametrize("keep_diverged", [False, True])
def test_a_mistake_in_a_users_network_is_named_and_the_others_go_on(
    gpu: bool, keep_diverged: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own.py").write_text(OWN)
    monkeypatch.setattr(together, "on_cuda", lambda device: gpu)
    work = jobs(tmp_path)[::2]
    work.append(replace(work[0], out=tmp_path / "own", network=NetworkSpec(f"{tmp_path / 'own.py'}:build")))
    found = dict(train_all(work, at_once=2, keep_diverged=keep_diverged))
    assert [found[k]["status"] for k in range(2)] == ["finished"] * 2  # type: ignore[index]
    assert isinstance(found[2], UnforeseenError)
    assert found[2].message == f"{tmp_path / 'own'}: ValueError: not in training"


@pytest.mark.parametrize("gpu", [False, True])
def test_divergence_is_a_failure_or_a_result(gpu: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(together, "on_cuda", lambda device: gpu)
    found = dict(train_all(jobs(tmp_path), at_once=3, keep_diverged=True))
    assert [found[k]["status"] for k in range(3)] == ["finished", "diverged", "finished"]  # type: ignore[index]
    assert found[1]["checkpoints"] == 1  # type: ignore[index]
