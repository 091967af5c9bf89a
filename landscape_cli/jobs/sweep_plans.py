"""What a sweep would cost: bytes, operations and seconds, without training anything."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from landscape_cli.compute.device import Placement, place, placement, set_threads
from landscape_cli.compute.evaluation import forward_operations
from landscape_cli.compute.training.timing import seconds_per_sample
from landscape_cli.errors import LandscapeError
from landscape_cli.jobs.subjects import build_network, check_network, load_data, samples_of
from landscape_cli.jobs.sweep_jobs import Outline
from landscape_cli.jobs.sweep_status import KEPT, Progressed, look
from landscape_cli.jobs.training import TrainJob
from landscape_cli.networks.registry import resolve

TIMED_BATCH = 32  # on a CPU: its time goes with the samples, and a large network's large batch takes minutes


@dataclass(frozen=True)
class Sizes:
    """A network on its data.

    Args:
        parameters: Trainable parameters.
        weights: Bytes of a checkpoint.
        trained: Bytes of the trainable parameters: of each slot of an optimiser.
        forward: Floating-point operations of a forward pass of one input.
        sample_seconds: Seconds that a training sample takes; None where it was not timed.
    """

    parameters: int
    weights: int
    trained: int
    forward: int
    sample_seconds: float | None


def plan_runs(
    jobs: Sequence[TrainJob], outlines: Sequence[Outline | LandscapeError], *, timed: bool = True
) -> Iterator[dict[str, Any]]:
    """A record for each job: what it would do and cost, or what is in the way (``problem``).

    ``bytes``, ``operations`` and ``seconds`` are of what is left to do. Operations are three forward passes a training
    sample and one an evaluated one; seconds are those of one process, from timing each network here (``timed``).

    Cost: each network is built once for its data, run once, and timed for half a second.
    """
    sizes: dict[str, Sizes | LandscapeError] = {}
    for job, outline in zip(jobs, outlines, strict=True):
        there = look(job.out)
        if isinstance(outline, LandscapeError):
            yield _record(job, there, {"problem": outline.message, "hint": outline.hint})
            continue
        if outline.settled is None and there.status in KEPT and not job.force:
            problem = "its directory holds a run made otherwise"
            hint = "without --dry-run the first difference is named; choose another --out, or --force to discard it"
            yield _record(job, there, {"problem": problem, "hint": hint})
            continue
        # Subset and label noise change neither shapes nor times.
        key = json.dumps([job.network.to_json(), job.data.source, job.data.options, job.precision], default=str)
        if key not in sizes:
            sizes[key] = _measured(job, timed=timed)
        found = sizes[key]
        if isinstance(found, LandscapeError):
            yield _record(job, there, {"problem": found.message, "hint": found.hint})
        else:
            yield _record(job, there, costs(job, outline, found, there))


def costs(job: TrainJob, outline: Outline, sizes: Sizes, there: Progressed) -> dict[str, Any]:
    """What one job does and what is left of it."""
    states = {"all": outline.checkpoints, "last": 1, "none": 0}[job.keep_resume]
    slots = 2 if job.protocol.optimizer in ("adam", "adamw") else int(job.protocol.momentum > 0)
    trained = outline.steps * job.protocol.batch_size
    evaluated = outline.checkpoints * outline.evaluated
    left = 0.0 if outline.settled is not None else 1.0
    if left and there.status in ("interrupted", "running") and not job.force:
        left = 1.0 - min(1.0, there.step / outline.steps)
    seconds = None
    if sizes.sample_seconds is not None:
        # A forward pass is a third of a training sample's work.
        seconds = round(left * sizes.sample_seconds * (trained + evaluated / 3), 3)
    return {
        "data": outline.data,
        "parameters": sizes.parameters,
        "steps_per_epoch": outline.steps_per_epoch,
        "last_step": outline.steps,
        "checkpoints": outline.checkpoints,
        "bytes": round(left * (outline.checkpoints * sizes.weights + states * slots * sizes.trained)),
        "operations": round(left * (3 * trained + evaluated) * sizes.forward),
        "seconds": seconds,
    }


def totals(plans: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The sums over the plans of a sweep; seconds are None if they are not known of all that can be made."""
    possible = [plan for plan in plans if "problem" not in plan]
    seconds = [plan["seconds"] for plan in possible]
    return {
        "runs": len(plans),
        "settled": sum(plan["status"] in KEPT for plan in possible),
        "problems": len(plans) - len(possible),
        "bytes": sum(plan["bytes"] for plan in possible),
        "operations": sum(plan["operations"] for plan in possible),
        "seconds": None if None in seconds else sum(seconds),
    }


def _record(job: TrainJob, there: Progressed, found: Mapping[str, Any]) -> dict[str, Any]:
    status = "missing" if job.force else there.status
    known = {"kind": "plan", "path": str(job.out), "status": status, "network": job.network.name}
    return known | {"data": job.data.source, "seed": job.seeds.init} | dict(found)


def _measured(job: TrainJob, *, timed: bool) -> Sizes | LandscapeError:
    try:
        where = placement(job.device, "float64" if job.precision == "float64" else "float32")
        set_threads(job.threads)
        data = load_data(job.data)
        network = place(build_network(resolve(job.network), data), where)
        part = replace(data.train, inputs=data.train.inputs[:1000], labels=data.train.labels[:1000])
        samples = samples_of(part, data.normalization, where)
        check_network(network, samples, data, job.network.name)
        trained = [p for p in network.parameters() if p.requires_grad]
        return Sizes(
            parameters=sum(p.numel() for p in trained),
            weights=sum(tensor.nbytes for tensor in network.state_dict().values()),
            trained=sum(p.nbytes for p in trained),
            forward=forward_operations(network, samples),
            sample_seconds=seconds_per_sample(network, samples, _batch(job, where)) if timed else None,
        )
    except LandscapeError as error:
        return error


def _batch(job: TrainJob, where: Placement) -> int:
    batch = min(job.protocol.batch_size, TIMED_BATCH) if where.device.type == "cpu" else job.protocol.batch_size
    return max(2, batch)  # batch norm has no variance of one sample
