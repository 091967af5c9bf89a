"""A reduced protocol on real images, with the test error that it is known to reach: the whole training loop at once.

Half-width resnet20 on 5,000 images of CIFAR-10, 4 epochs (312 steps): what went into the interval is in
benchmarks/README.md, "Reduced protocols".
"""

import os
from pathlib import Path

import pytest

from landscape_cli.compute.training.protocol import Protocol, Seeds
from landscape_cli.datasets import DataSpec
from landscape_cli.jobs.training import TrainJob, run_training
from landscape_cli.networks.registry import NetworkSpec
from landscape_cli.store.metrics import read_metrics

REAL = os.environ.get("LANDSCAPE_TEST_DATA")
LOWEST, HIGHEST = 0.56, 0.63


@pytest.mark.skipif(REAL is None, reason="LANDSCAPE_TEST_DATA names no folder with the real files")
def test_resnet20_on_a_tenth_of_cifar10(tmp_path: Path) -> None:
    record = run_training(
        TrainJob(
            out=tmp_path / "run",
            network=NetworkSpec("resnet20", {"width": 0.5}),
            data=DataSpec(f"cifar10:{REAL}", train_size=5000),
            protocol=Protocol(
                lr=0.1, weight_decay=1e-4, schedule="cosine", epochs=4, batch_size=64, augment="crop+flip"
            ),
            seeds=Seeds(0, 0, 0, 0),
            record="0ep+last",
            evaluate=1000,
            device="cpu",
        )
    )
    first, last = read_metrics(tmp_path / "run")
    assert (record["status"], last["step"]) == ("finished", 312)
    assert 0.85 < first["test_error"] < 0.95
    assert LOWEST < last["test_error"] < HIGHEST
