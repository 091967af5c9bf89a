"""The study that ``landscape demo`` makes: parents and children of a small network on the embedded digits.

The protocol was chosen by trial: at this learning rate training is as unsettled in its first epoch as a large
network's is, and all networks end near 2 % test error.
"""

from pathlib import Path

from landscape_cli.compute.training.protocol import Protocol, Seeds
from landscape_cli.datasets import DataSpec
from landscape_cli.jobs.spawning import SpawnPlan
from landscape_cli.jobs.training import TrainJob
from landscape_cli.networks.registry import NetworkSpec
from landscape_cli.store.runs import Run
from landscape_cli.times import parse_times

NETWORK = NetworkSpec("simple-cnn", {"width": 0.5})
DATA = DataSpec("digits")
PROTOCOL = Protocol(optimizer="sgd", lr=0.07, momentum=0.9, schedule="cosine", epochs=15, batch_size=64)
SPAWN_TIMES = "0ep,0.5ep,1ep,2ep,8ep"
CHILDREN = 2


def train_command(out: Path, seed: int) -> str:
    """The command that makes a parent."""
    return (
        f"landscape train --data digits --network simple-cnn --width 0.5 --lr 0.07 --schedule cosine --epochs 15 "
        f"--batch-size 64 --checkpoints {SPAWN_TIMES} --seed {seed} --threads 1 --device cpu --out {out}"
    )


def spawn_command(parent: Path) -> str:
    """The command that makes a parent's children."""
    return f"landscape spawn {parent} --at {SPAWN_TIMES} --children {CHILDREN} --checkpoints last --resume-states none"


def parent_job(out: Path, seed: int, *, force: bool = False) -> TrainJob:
    """The job of :func:`train_command`."""
    return TrainJob(
        out=out,
        network=NETWORK,
        data=DATA,
        protocol=PROTOCOL,
        seeds=Seeds(seed, seed, seed, seed),
        record=SPAWN_TIMES,
        device="cpu",
        threads=1,
        command=train_command(out, seed),
        force=force,
    )


def spawn_plan(parent: Path, *, force: bool = False) -> SpawnPlan:
    """The plan of :func:`spawn_command`."""
    return SpawnPlan(
        parent=Run.open(parent),
        network=NETWORK,
        data=DATA,
        at=parse_times(SPAWN_TIMES),
        children=CHILDREN,
        record="last",
        keep_resume="none",
        device="cpu",
        threads=1,
        command=spawn_command(parent),
        force=force,
    )
