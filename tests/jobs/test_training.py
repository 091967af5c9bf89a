"""Runs over directories: written, continued, skipped, refused; killed, interrupted, diverged."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from landscape_cli.compute.training.protocol import Protocol, Seeds
from landscape_cli.compute.training.trainer import Trainer
from landscape_cli.datasets import DataSpec
from landscape_cli.errors import ConflictError, DataError, DivergedError, InterruptedRunError, NetworkError
from landscape_cli.jobs import training_loop
from landscape_cli.jobs.states import resume_point
from landscape_cli.jobs.training import TrainJob, plan_training, run_training
from landscape_cli.networks.registry import NetworkSpec
from landscape_cli.scale.together import train_all
from landscape_cli.store.checkpoints import read_tensors
from landscape_cli.store.metrics import read_metrics
from landscape_cli.store.runs import RESUME, Run

RESNET = NetworkSpec("resnet20", {"width": 0.25})


def job(out: Path, **changes: object) -> TrainJob:
    """A short run of a network with batch norm, momentum, augmentation and a schedule."""
    settings: dict = {
        "out": out,
        "network": RESNET,
        "data": DataSpec("digits", train_size=200),
        "protocol": Protocol(
            lr=0.05, weight_decay=1e-3, schedule="cosine", epochs=3, batch_size=40, augment="crop:1+flip"
        ),
        "seeds": Seeds(1, 2, 3, 4),
        "record": "every:1ep",
        "device": "cpu",
        "threads": 1,
    }
    return TrainJob(**{**settings, **changes})


def contents(run: Path) -> dict[str, bytes]:
    """Every byte that must be the same however often a run was stopped."""
    files = [*run.glob("checkpoints/*"), *run.glob("resume/*"), run / "metrics.jsonl"]
    return {str(file.relative_to(run)): file.read_bytes() for file in files}


@pytest.fixture(scope="module")
def _whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("whole") / "run"
    run_training(job(out))
    return out


@pytest.fixture
def whole(_whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(_whole, tmp_path / "whole"))


def test_what_a_run_leaves(whole: Path) -> None:
    run = Run.open(whole)
    assert run.steps() == run.steps(RESUME) == [0, 5, 10, 15]
    assert (run.status, run.steps_per_epoch, run.threads) == ("finished", 5, 1)
    rows = read_metrics(whole)
    assert [row["step"] for row in rows] == [0, 5, 10, 15]
    assert rows[0].keys() == {
        "step", "epoch", "lr", "train_loss", "train_error", "test_loss", "test_error", "weight_norm", "batch_loss",
        "gradient_norm",
    }  # fmt: skip
    assert rows[-1]["lr"] == 0
    document = run.document
    assert document["result"]["test_error"] == rows[-1]["test_error"]
    assert document["data"]["fingerprint"].keys() == {"train", "test"}
    assert document["network"]["parameters"] == 17_254  # 16,740 in convolutions, 344 in batch norm, 170 in the read-out
    assert document["environment"]["torch"] == torch.__version__
    assert not list(whole.glob("**/.partial-*"))
    header = run.checkpoint(5).headers()[0]
    assert header.landscape == {"step": 5, "epoch": 1.0, "kind": "weights", "hash": run.checkpoint(5).hash()}


def test_the_recorded_metrics_are_those_of_the_recorded_weights(whole: Path) -> None:
    from landscape_cli.compute.device import place, placement
    from landscape_cli.compute.evaluation import evaluate
    from landscape_cli.jobs.subjects import build_network, load_data, samples_of

    data = load_data(DataSpec("digits", train_size=200))
    where = placement("cpu")
    network = place(build_network(RESNET, data), where)
    network.load_state_dict(Run.open(whole).checkpoint(10).tensors())
    row = read_metrics(whole)[2]
    for split in ("train", "test"):
        result = evaluate(network, samples_of(data.split(split), data.normalization, where))
        assert (result.loss, result.error) == (row[f"{split}_loss"], row[f"{split}_error"])
    norm = sum(float((p.detach().double() ** 2).sum()) for p in network.parameters()) ** 0.5
    assert row["weight_norm"] == pytest.approx(norm, rel=1e-6)


def test_finished_is_skipped_and_different_is_refused_by_name(whole: Path) -> None:
    before = contents(whole)
    assert run_training(job(whole))["skipped"] is True
    changes = {
        "protocol.lr": {"protocol": Protocol(lr=0.1, weight_decay=1e-3, schedule="cosine", epochs=3, batch_size=40, augment="crop:1+flip")},
        "seeds.order": {"seeds": Seeds(1, 9, 3, 4)},
        "network.options.width": {"network": NetworkSpec("resnet20", {"width": 0.3})},
        "record": {"record": "last"},
        "data.label_noise": {"data": DataSpec("digits", train_size=200, label_noise=0.5)},
        "precision": {"precision": "bf16"},
    }  # fmt: skip
    for name, change in changes.items():
        with pytest.raises(ConflictError, match=f"made otherwise: {name} is"):
            run_training(job(whole, **change))
    assert contents(whole) == before
    assert run_training(job(whole, seeds=Seeds(1, 9, 3, 4), force=True))["skipped"] is False
    assert contents(whole) != before


def test_where_the_data_lies_is_no_difference(tmp_path: Path) -> None:
    import numpy as np

    random = np.random.default_rng(0)
    arrays = {
        f"{k}_{s}": v for s in ("train", "test") for k, v in (("x", random.random((50, 6))), ("y", np.arange(50) % 3))
    }
    for folder in ("here", "there"):
        (tmp_path / folder).mkdir()
        np.savez(tmp_path / folder / "data.npz", **arrays)

    def named(folder: str) -> TrainJob:
        data = DataSpec(f"npz:{tmp_path / folder / 'data.npz'}")
        return job(tmp_path / "run", network=NetworkSpec("mlp"), data=data, protocol=Protocol(epochs=1, batch_size=10))

    run_training(named("here"))
    assert run_training(named("there"))["skipped"] is True


def test_a_folder_of_something_else_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    for force in (False, True):
        with pytest.raises(ConflictError, match="is no run directory"):
            run_training(job(tmp_path, force=force))
    assert [file.name for file in tmp_path.iterdir()] == ["notes.txt"]


def test_continued_it_has_the_threads_that_it_began_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another number adds up in another order; whoever wants it asks for it."""
    seen: list[int] = []
    begun = job(tmp_path / "run", threads=2)
    with monkeypatch.context() as patch:
        stop_after(patch, 4)
        with pytest.raises(InterruptedRunError):
            run_training(begun)
    assert torch.get_num_threads() == 1
    original = Trainer.advance

    def noted(trainer: Trainer) -> None:
        seen.append(torch.get_num_threads())
        original(trainer)

    monkeypatch.setattr(Trainer, "advance", noted)
    for number, (threads, expected) in enumerate(((None, 2), (1, 1))):
        copy = replace(begun, out=Path(shutil.copytree(begun.out, tmp_path / str(number))), threads=threads)
        run_training(copy)
        assert seen[-1] == expected
        assert torch.get_num_threads() == 1


def test_with_force_the_same_command_would_begin_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stop_after(monkeypatch, 4)
    with pytest.raises(InterruptedRunError) as caught:
        run_training(job(tmp_path / "run", force=True))
    assert caught.value.hint == "the same command without --force continues it"
    with pytest.raises(InterruptedRunError) as caught:
        list(train_all([job(tmp_path / "several", force=True)], at_once=1))
    assert caught.value.hint == "the same command without --force continues them"


def test_what_somebody_keeps_beside_a_run_does_not_hinder_it(whole: Path) -> None:
    (whole / "notes.txt").write_text("mine")
    before = contents(whole)
    assert run_training(job(whole, force=True))["skipped"] is False
    assert contents(whole) == before
    assert (whole / "notes.txt").read_text() == "mine"


def test_killed_as_it_began_a_run_begins_anew(tmp_path: Path) -> None:
    (tmp_path / ".lock").touch()
    (tmp_path / ".partial-1-run.json").write_text("{")
    short = job(tmp_path, protocol=Protocol(lr=0.05, epochs=1, batch_size=40))
    assert run_training(short)["status"] == "finished"
    assert not list(tmp_path.glob(".partial*"))


def stop_after(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """Press Ctrl-C when so many steps are done."""
    original = Trainer.advance

    def counted(trainer: Trainer) -> None:
        original(trainer)
        if trainer.taken == steps:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(Trainer, "advance", counted)


@pytest.mark.parametrize("steps", [1, 5, 7, 10, 13])
def test_interrupted_and_continued_is_never_stopped(
    steps: int, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        stop_after(patch, steps)
        with pytest.raises(InterruptedRunError, match=r"stopped at step \d+ of 15") as caught:
            run_training(job(tmp_path / "run"))
    assert caught.value.exit_code == 130
    run = Run.open(tmp_path / "run")
    assert run.status == "interrupted"
    point = resume_point(run)
    assert point is not None
    assert point[0] in (steps, steps + 1)  # no step that was taken is lost
    with monkeypatch.context() as patch:  # once more, later
        stop_after(patch, steps + 1)
        if steps + 1 < 15 and point[0] < steps + 1:
            with pytest.raises(InterruptedRunError):
                run_training(job(tmp_path / "run"))
    assert run_training(job(tmp_path / "run"))["status"] == "finished"
    assert contents(tmp_path / "run") == contents(whole)


COMMAND = """
import sys, time
from pathlib import Path
from tests.jobs.test_training import job
from landscape_cli.jobs import training
from landscape_cli.store import checkpoints

def slow_save(tensors, path, metadata, original=None):
    from safetensors.torch import save
    raw = save(tensors, metadata)
    with open(path, "wb") as file:  # half of it, then the plug is pulled
        file.write(raw[: len(raw) // 2])
        file.flush()
        if {name!r} in str(path):
            print("half", flush=True)
            time.sleep(60)
        file.write(raw[len(raw) // 2 :])

import safetensors.torch
safetensors.torch.save_file = slow_save
training.run_training(job(Path({out!r})))
"""


@pytest.mark.parametrize("name", ["step-00000005.safetensors", "step-00000010.safetensors"])
def test_killed_in_the_middle_of_a_checkpoint_then_continued(name: str, whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND.format(name=name, out=str(out))],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"half\n"
    with pytest.raises(ConflictError, match=f"being written by process {process.pid}"):  # two processes on one run
        run_training(job(out))
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert list(out.glob("checkpoints/.partial-*"))
    deadline = time.monotonic() + 20
    while True:  # the kernel frees the lock a moment after the process is gone
        try:
            run_training(job(out))
            break
        except ConflictError:
            assert time.monotonic() < deadline
    assert contents(out) == contents(whole)


def test_a_damaged_last_state_is_passed_over(whole: Path, tmp_path: Path) -> None:
    before = contents(whole)
    run = Run.open(whole).update(status="running")
    for file in (run.resume_file(15), run.checkpoint(10).path):
        file.write_bytes(file.read_bytes()[:-3])
    assert resume_point(run)[0] == 5  # type: ignore[index]
    run_training(job(whole))
    assert contents(whole) == before


def test_kept_states_and_the_rolling_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for keep, states in (("last", [15]), ("none", [])):
        run_training(job(tmp_path / keep, keep_resume=keep))
        assert Run.open(tmp_path / keep).steps(RESUME) == states
    monkeypatch.setattr(training_loop, "SAVE_SECONDS", 0.0)  # a long way between checkpoints
    stop_after(monkeypatch, 8)
    with pytest.raises(InterruptedRunError):
        run_training(job(tmp_path / "long", record="last"))
    assert resume_point(Run.open(tmp_path / "long"))[0] in (8, 9)  # type: ignore[index]


def test_divergence_keeps_what_was_saved_and_is_remembered(tmp_path: Path) -> None:
    wild = Protocol(lr=1e4, epochs=30, batch_size=40)
    spec = NetworkSpec("simple-cnn", {"width": 0.25})
    out = tmp_path / "run"
    with pytest.raises(DivergedError, match=r"run: the loss became (nan|inf) at step \d+"):
        run_training(job(out, network=spec, protocol=wild))
    run = Run.open(out)
    assert run.status == "diverged"
    assert run.steps()[0] == 0
    assert torch.isfinite(read_tensors([run.checkpoint(0).path])["head.weight"]).all()
    with pytest.raises(DivergedError, match="diverged at step") as caught:
        run_training(job(out, network=spec, protocol=wild))
    assert "--force" in (caught.value.hint or "")


def test_a_full_disk_in_the_middle_keeps_a_run_that_continues(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from landscape_cli.errors import StorageError
    from landscape_cli.store import atomic

    original = os.fsync
    written = []

    def fill_up(descriptor: int) -> None:
        written.append(descriptor)
        if len(written) > 12:
            raise OSError(28, "No space left on device")
        original(descriptor)

    with monkeypatch.context() as patch:
        patch.setattr(atomic.os, "fsync", fill_up)
        with pytest.raises(StorageError, match="No space left on device"):
            run_training(job(tmp_path / "run"))
    run_training(job(tmp_path / "run"))
    assert contents(tmp_path / "run") == contents(whole)


def test_precisions(tmp_path: Path) -> None:
    short = Protocol(lr=0.05, epochs=1, batch_size=40)
    for precision in ("float64", "bf16", "fp16"):
        run_training(job(tmp_path / precision, precision=precision, protocol=short))
    kinds = {
        p: Run.open(tmp_path / p).checkpoint(5).headers()[0].tensors["head.weight"].dtype
        for p in ("float64", "bf16", "fp16")
    }
    assert kinds == {"float64": "F64", "bf16": "F32", "fp16": "F32"}


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_interrupted_in_half_precision(precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_training(job(tmp_path / "whole", precision=precision))
    with monkeypatch.context() as patch:
        stop_after(patch, 7)
        with pytest.raises(InterruptedRunError):
            run_training(job(tmp_path / "run", precision=precision))
    run_training(job(tmp_path / "run", precision=precision))
    assert contents(tmp_path / "run") == contents(tmp_path / "whole")


def test_a_preset_on_data_of_other_classes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="100 classes, but digits has 10"):
        run_training(job(tmp_path / "run", classes=100))
    assert not (tmp_path / "run").exists()


OWN = """
from torch import nn

class Own(nn.Module):
    def __init__(self, body, change=lambda y: y):
        super().__init__()
        self.body, self.change = body, change

    def forward(self, x):
        return self.change(self.body(x))

def layers(outputs):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, outputs))

def narrow(input_shape, classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(60, classes))

def one_output(input_shape, classes):
    return layers(1)

def pair(input_shape, classes):
    return Own(layers(classes), lambda y: (y, y))

def in_place(input_shape, classes):
    return nn.Sequential(nn.Hardtanh(-0.5, 0.5, inplace=True), layers(classes))
"""


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("narrow", "fails on inputs of shape"),
        ("one_output", "gives 1 classes, but digits has 10"),
        ("pair", "gives a tuple, not a tensor"),
        ("in_place", "changes its inputs in place"),  # the metrics would be those of other images at each point
    ],
)
def test_a_network_of_ones_own_is_tried_first(name: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(OWN)
    own = job(tmp_path / "run", network=NetworkSpec(f"{tmp_path / 'own.py'}:{name}"))
    for work in (run_training, plan_training):
        with pytest.raises(NetworkError, match=rf"own\.py:{name}' {message}"):
            work(own)
    assert not own.out.exists()


def test_a_plan_costs_nothing_and_says_what_it_will_be(tmp_path: Path) -> None:
    plan = plan_training(job(tmp_path / "run"))
    assert not (tmp_path / "run").exists()
    assert (plan["last_step"], plan["checkpoints"]) == (15, 4)
    run_training(job(tmp_path / "run"))
    size = sum(f.stat().st_size for f in (tmp_path / "run").glob("*/*"))
    assert size == pytest.approx(plan["bytes"], rel=0.2)  # headers come on top
    assert json.dumps(plan)
