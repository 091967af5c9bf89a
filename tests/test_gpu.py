"""What must hold on a CUDA device; skipped where there is none."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from landscape_cli.compute.training.protocol import Protocol
from landscape_cli.errors import InterruptedRunError
from landscape_cli.jobs.training import run_training
from landscape_cli.jobs.turns import train_in_turns
from landscape_cli.store.runs import Run
from tests.conftest import SAMPLES, Cli
from tests.jobs.test_training import contents, job, stop_after
from tests.jobs.test_turns import several

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here"),
]


def test_a_barrier_is_the_same_on_both_devices(cli: Cli) -> None:
    command = ["barrier", SAMPLES / "early-a", SAMPLES / "early-b", "--points", "9", "--refine", "0"]
    cpu, gpu = (cli(*command, "--device", device).records for device in ("cpu", "cuda"))
    for one, two in zip(cpu, gpu, strict=True):
        assert two["device"] == "cuda:0"
        assert two["loss_sup"] == pytest.approx(one["loss_sup"], rel=1e-4)
        assert two["error_sup"] == pytest.approx(one["error_sup"], abs=2 / one["samples"])


def test_a_plane_is_the_same_on_both_devices(cli: Cli, tmp_path: Path) -> None:
    corners = (f"{SAMPLES / 'parent'}@0ep", SAMPLES / "early-a", SAMPLES / "early-b")
    command = ["plane", *corners, "--grid", "4", "--linearize", "B"]
    cpu, gpu = (
        cli(*command, "--device", device, "-o", tmp_path / f"{device}.h5").records[0] for device in ("cpu", "cuda")
    )
    assert gpu["device"] == "cuda:0"
    for key in ("loss_a", "loss_b", "loss_max", "linearized_loss_a", "linearized_loss_max"):
        assert gpu[key] == pytest.approx(cpu[key], rel=1e-3)
    assert gpu["linearized_error_b"] == gpu["error_b"]


def test_a_run_with_itself_is_exactly_zero(cli: Cli) -> None:
    for record in cli("barrier", SAMPLES / "early-a", SAMPLES / "early-a", "--points", "5", "--device", "cuda").records:
        assert {record[f"{risk}_{key}"] for risk in ("error", "loss") for key in ("sup", "mid", "chord")} == {0.0}


@pytest.mark.parametrize("precision", ["float32", "bf16", "tf32", "fp16"])
def test_interrupted_and_continued_is_never_stopped(
    precision: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_gpu = {
        "device": "cuda",
        "precision": precision,
        "protocol": Protocol(lr=0.05, epochs=3, batch_size=40, augment="crop:1+flip"),
    }
    run_training(job(tmp_path / "whole", **on_gpu))
    with monkeypatch.context() as patch:
        stop_after(patch, 7)
        with pytest.raises(InterruptedRunError):
            run_training(job(tmp_path / "cut", **on_gpu))
    run_training(job(tmp_path / "cut", **on_gpu))
    assert contents(tmp_path / "cut") == contents(tmp_path / "whole")


def test_training_is_near_the_cpus(tmp_path: Path) -> None:
    short = Protocol(lr=0.02, epochs=1, batch_size=40)
    for device in ("cpu", "cuda"):
        run_training(replace(job(tmp_path / device, protocol=short), device=device))
    cpu, gpu = (Run.open(tmp_path / device).checkpoint(5).tensors() for device in ("cpu", "cuda"))
    for name, tensor in cpu.items():
        assert torch.allclose(tensor.float(), gpu[name].float(), rtol=1e-3, atol=1e-3), name


@pytest.mark.parametrize("optimizer", ["sgd", "nesterov", "adam", "adamw"])
def test_replayed_steps_are_the_steps(optimizer: str, tmp_path: Path) -> None:
    protocol = Protocol(
        optimizer=optimizer,  # type: ignore[arg-type]
        lr=0.01,
        weight_decay=1e-3,
        schedule="cosine",
        epochs=3,
        batch_size=30,
        keep_last_batch=True,
        augment="crop:1+flip",
    )
    for how in ("none", "graph"):
        run_training(job(tmp_path / how, device="cuda", protocol=protocol, compile=how))
    made = {way: Run.open(tmp_path / way).document["environment"]["steps"] for way in ("none", "graph")}
    assert made == {"none": {"way": "eager"}, "graph": {"way": "graph"}}
    assert contents(tmp_path / "none") == contents(tmp_path / "graph")


def test_in_turns_on_streams_as_alone(tmp_path: Path) -> None:
    for one in several(tmp_path / "alone"):
        run_training(replace(one, device="cuda"))
    jobs = [replace(one, device="cuda") for one in several(tmp_path / "turns")]
    assert all(isinstance(outcome, dict) for _, outcome in train_in_turns(jobs, at_once=5))
    for number in range(len(jobs)):
        assert contents(tmp_path / "turns" / str(number)) == contents(tmp_path / "alone" / str(number))


def test_patterns_and_curvature_are_near_the_cpus(cli: Cli) -> None:
    one, other = SAMPLES / "early-a", SAMPLES / "early-b"
    commands = {"distance": ["relu-dist", one, other], "lambda_max": ["hessian", one, "--samples", "300"]}
    for key, command in commands.items():
        cpu, gpu = (cli(*command, "--device", device, "--force").records[0] for device in ("cpu", "cuda"))
        assert gpu[key] == pytest.approx(cpu[key], rel=1e-2)
