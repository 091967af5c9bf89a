"""What must hold on a CUDA device; skipped where there is none."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from landscape_cli.compute.training.protocol import Protocol
from landscape_cli.errors import InterruptedRunError
from landscape_cli.jobs.training import run_training
from landscape_cli.store.runs import Run
from tests.conftest import SAMPLES, Cli
from tests.jobs.test_training import contents, job, stop_after

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


@pytest.mark.parametrize("precision", ["float32", "bf16", "tf32"])
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
