"""Kernel regression on a run's tangent kernels: where linearised training with squared loss would end."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from landscape_cli.compute.choices import Precision
from landscape_cli.compute.device import math_mode, place, placement
from landscape_cli.compute.samples import Samples
from landscape_cli.compute.tangent.regression import (
    SolvedForm,
    centred_targets,
    kernel_regression,
    regression_memory,
)
from landscape_cli.datasets import DataSet, DataSpec
from landscape_cli.errors import InterruptedRunError, UsageError
from landscape_cli.jobs.linearizing import end_metrics
from landscape_cli.jobs.replaying import materialize
from landscape_cli.jobs.spawning import SpawnPlan, child_jobs
from landscape_cli.jobs.subjects import build_network, load_data, load_state, normalization_for, samples_of, subset
from landscape_cli.networks.registry import NetworkSpec
from landscape_cli.store.runs import Run
from landscape_cli.times import Time

MEMORY_LIMIT = 4 << 30  # bytes, unless more is allowed


@dataclass(frozen=True)
class RegressionPlan:
    """Kernel regressions at times of a run.

    Args:
        parent: The run.
        network: Its network.
        data: Its data.
        at: The times t̃.
        form: Which kernel.
        ridge: λ, in the units of the kernel; 0 for the limit.
        samples: Training samples, with the classes' proportions; None for all.
        memory: Bytes that one regression may take.
        seed: Of the choice of samples.
        device: See TrainJob.
        precision: ``float64`` or ``float32``.
    """

    parent: Run
    network: NetworkSpec
    data: DataSpec
    at: Sequence[Time]
    form: SolvedForm = "full"
    ridge: float = 0.0
    samples: int | None = 500
    memory: int = MEMORY_LIMIT
    seed: int = 0
    device: str = "auto"
    precision: Precision = "float64"


def plan_regressions(plan: RegressionPlan) -> list[dict[str, Any]]:
    """What :func:`run_regressions` would do and take, one record a time; it raises the same for what cannot be done."""
    _, steps, data, count = _prepared(plan)
    rows = count * data.classes if plan.form == "full" else count
    common = {"kernel": plan.form, "samples": count, "rows": rows, "data": data.name, "network": plan.network.name}
    return [
        {"kind": "plan", "path": f"{plan.parent.path}@{time}", "spawn_step": step, **common}
        | {"bytes": regression_memory(count, data.classes, plan.form)}
        for time, step in zip(plan.at, steps, strict=True)
    ]


def _prepared(plan: RegressionPlan) -> tuple[SpawnPlan, list[int], DataSet, int]:
    """How the weights are made, the steps, the data, and the number of training samples."""
    if plan.precision not in ("float32", "float64"):
        raise UsageError(f"--solve works in float64 or float32, not {plan.precision}")
    spawn = SpawnPlan(
        plan.parent, plan.network, plan.data, plan.at, children=1, until="+0ep", fresh_optimizer=True,
        changes={"schedule": "constant", "milestones": ()}, device=plan.device,
    )  # fmt: skip
    steps = [int((job.lineage or {})["step"]) for job in child_jobs(spawn)]
    data = load_data(plan.data)
    count = len(data.train) if plan.samples is None else min(plan.samples, len(data.train))
    need = regression_memory(count, data.classes, plan.form)
    if need > plan.memory:
        raise UsageError(
            f"the {plan.form} kernel of {count:,} samples and {data.classes} classes needs about {need / 2**30:.1f} "
            f"GiB, more than the {plan.memory / 2**30:.1f} GiB allowed",
            "use --kernel trace, fewer --samples, or allow --memory MORE (GiB)",
        )
    return spawn, steps, data, count


def run_regressions(plan: RegressionPlan, progress: Callable[[int, int], None]) -> list[dict[str, Any]]:
    """One record a time t̃: errors and squared losses on the training samples taken and on the test set.

    ``train_…`` and ``test_…`` are of the regression from the network's own logits, ``kernel_train_…`` and
    ``kernel_test_…`` of that from zero (:mod:`landscape_cli.compute.tangent.regression`). The squared loss is
    ``½ Σ_k (f_k − y_k)²``, mean over samples, to the one-hot labels less ``1/C``.

    Raises:
        UsageError: If a time lies beyond the run, the precision is no plain one, the ridge is below zero, or the
            kernel would not fit into the memory allowed.
        CheckpointError: If the parent is no training run of this toolkit, or its weights cannot be made.
        NetworkError: If the network has no tangent kernel.
        InterruptedRunError: On Ctrl-C.
    """
    spawn, steps, data, count = _prepared(plan)
    records = []
    for number, (time, step) in enumerate(zip(plan.at, steps, strict=True)):
        progress(number, len(steps))
        try:
            materialize(spawn, step)
            records.append(_regress(plan, data, count, time, step))
        except KeyboardInterrupt:
            raise InterruptedRunError(f"stopped at {time}", "the same command begins again") from None
    progress(len(steps), len(steps))
    return records


def _regress(plan: RegressionPlan, data: DataSet, count: int, time: Time, step: int) -> dict[str, Any]:
    parent = plan.parent
    where = placement(plan.device, plan.precision)
    network = place(build_network(plan.network, data), where)
    load_state(network, parent.checkpoint(step).tensors(), str(parent.path))
    normalization = normalization_for(parent, data)
    train = samples_of(subset(data.train, count, data.classes, plan.seed), normalization, where)
    test = samples_of(data.test, normalization, where)
    with math_mode(where):
        found = kernel_regression(
            network,
            _all(train),
            train.labels,
            _all(test),
            form=plan.form,
            ridge=plan.ridge,
            precision="float32" if plan.precision == "float32" else "float64",
        )
    end = end_metrics(parent)
    return {
        "kind": "kernel-regression",
        "path": f"{parent.path}@{time}",
        "parent": str(parent.path),
        "at": str(time),
        "spawn_step": step,
        "spawn_epoch": parent.epoch(step),
        "kernel": plan.form,
        "ridge": plan.ridge,
        "samples": len(train),
        "seed": plan.seed,
        "rows": found.rows,
        "rank": found.rank,
        "targets": "one-hot minus 1/C",
        "parent_test_error": end.get("test_error"),
        **_score("train", found.network.train, train.labels),
        **_score("test", found.network.test, test.labels),
        **_score("kernel_train", found.zero.train, train.labels),
        **_score("kernel_test", found.zero.test, test.labels),
        "network": plan.network.name,
        "data": data.name,
        "fingerprint": data.fingerprint,
        "precision": plan.precision,
        "device": where.name,
    }


def _all(samples: Samples) -> Tensor:
    return torch.cat([x for x, _ in samples.batches()])


def _score(split: str, logits: Tensor, labels: Tensor) -> dict[str, float]:
    wrong = (logits.argmax(1) != labels).double().mean()
    squares = (logits.double() - centred_targets(labels, logits.shape[1])).square().sum(1)
    return {f"{split}_error": float(wrong), f"{split}_squared_loss": float(0.5 * squares.mean())}
