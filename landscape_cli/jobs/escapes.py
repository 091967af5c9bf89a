"""Escape threshold, gradient noise and scale invariance at checkpoints on disk, for the optimiser that trained them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from landscape_cli.compute.batchnorm import batch_norms, recompute_statistics
from landscape_cli.compute.device import math_mode
from landscape_cli.compute.evaluation import forward_operations
from landscape_cli.compute.samples import Samples
from landscape_cli.compute.training.augmentation import Augmenter
from landscape_cli.compute.training.protocol import Protocol, parse_augment
from landscape_cli.compute.training.schedules import learning_rate, total_steps
from landscape_cli.compute.training.updates import Updates
from landscape_cli.compute.weights.curvature_choices import CurvatureNorm
from landscape_cli.compute.weights.curvature_operators import MEMORY, Batch, HessianOperator
from landscape_cli.compute.weights.escape import escape_threshold
from landscape_cli.compute.weights.gradient_noise import gradient_noise, noise_curvature
from landscape_cli.compute.weights.lanczos import PRODUCTS, TOLERANCE, dot, eigenpairs
from landscape_cli.compute.weights.scale_invariance import INPUTS, scale_invariance
from landscape_cli.errors import DataError, UsageError
from landscape_cli.jobs.bench import Bench
from landscape_cli.jobs.curvature import entries, protocol_of
from landscape_cli.jobs.curvature_samples import SAMPLES, choose_samples, few, sample_entries
from landscape_cli.jobs.curvature_stages import EXPECTED, Progress
from landscape_cli.jobs.pairs import Subject
from landscape_cli.jobs.subjects import load_state
from landscape_cli.store.cache import PointCache
from landscape_cli.store.checkpoints import tensors_hash
from landscape_cli.store.resume import read_state

VERSION = 1  # of the measurement: raised when its numbers change
LEAST_BATCHES = 8  # minibatches that the sample holds at least, where the data has as many


@dataclass(frozen=True)
class EscapeSettings:
    """How to measure escape thresholds.

    Args:
        samples: Images; None for 2,000, or eight minibatches if that is more, or all.
        batch_norm: What batch norm normalises by; ``train`` is what the optimiser sees.
        minibatches: How many steps are measured.
        tolerance: Relative residual of λ_max.
        products: Most products for it.
        augment: Augment the sample once, as an epoch of the run does.
        lr: Learning rate of the step; None for the schedule's.
        changes: Entries of the protocol in place of the run's.
        fresh_optimizer: Without the state that the run kept.
        memory: Bytes of graphs kept.
        fresh: Measure again what is already known.
    """

    samples: int | None = None
    batch_norm: CurvatureNorm = "train"
    minibatches: int = 8
    tolerance: float = TOLERANCE
    products: int = PRODUCTS
    augment: bool = True
    lr: float | None = None
    changes: Mapping[str, Any] = field(default_factory=dict)
    fresh_optimizer: bool = False
    memory: int = MEMORY
    fresh: bool = False


@dataclass(frozen=True, eq=False)
class Stepping:
    """The optimiser at a checkpoint.

    Args:
        protocol: Its settings.
        lr: η of its next step.
        state: Its tensors; None if it begins there.
        origin: Where they come from: ``kept`` by the run, ``fresh`` (asked for, or a new run's), or ``missing``.
    """

    protocol: Protocol
    lr: float
    state: dict[str, Tensor] | None
    origin: str


def stepping(subject: Subject, settings: EscapeSettings, samples: int) -> Stepping:
    """The optimiser, learning rate and state with which a checkpoint's run went on, as far as nothing else is asked.

    Args:
        subject: The checkpoint.
        settings: With what is asked instead.
        samples: Images in the training set, which tell the length of an epoch.

    Raises:
        UsageError: If the run does not say how it was trained, and it was not given.
        CheckpointError: If the kept state is damaged.
    """
    run, step = subject.run, subject.checkpoint.step
    recorded = protocol_of(run)
    changes = dict(settings.changes)
    if not recorded and (settings.lr is None or "batch_size" not in changes):
        raise UsageError(
            f"{subject.checkpoint.label} does not say how it was trained", "add --lr, --batch-size and --optimizer"
        )
    if not recorded:
        changes = {"momentum": 0.0, **changes} if changes.get("optimizer", "sgd") == "sgd" else changes
    protocol = replace(Protocol.from_json(recorded), **changes)
    lr = settings.lr
    if lr is None:
        if run is None or step is None:
            raise UsageError(f"{subject.checkpoint.label} is at no known step of its schedule", "add --lr")
        own = run.steps_per_epoch or Protocol.from_json(recorded).steps_per_epoch(samples)
        # At its end a schedule may be at zero: the last step that it had is the one that counts.
        last = max(total_steps(protocol, own) - 1, 0)
        lr = learning_rate(protocol, min(step, last), steps_per_epoch=own)
    protocol = replace(protocol, lr=lr)
    families = [{"adamw": "adam", "nesterov": "sgd"}.get(name, name) for name in (
        str(recorded.get("optimizer", "")), protocol.optimizer)]  # fmt: skip
    if settings.fresh_optimizer or families[0] != families[1] or run is None or step is None:
        return Stepping(protocol, lr, None, "fresh" if settings.fresh_optimizer or recorded else "missing")
    file = run.resume_file(step)
    if file.is_file():
        return Stepping(protocol, lr, read_state(file)[0], "kept")
    begins = step == 0 and run.lineage is None
    return Stepping(protocol, lr, None, "fresh" if begins else "missing")


def measure_escape(
    bench: Bench, subject: Subject, settings: EscapeSettings, *, progress: Progress = lambda done, of: None
) -> dict[str, Any]:
    """Escape threshold, gradient noise and scale-invariant weights at a checkpoint, as a record.

    All of them are of one loss: the mean over the sample's minibatches of what the optimiser minimises on each, label
    smoothing and one draw of augmentation included, weight decay apart (it is part of the step, not of the loss).

    Args:
        bench: Networks and data; its sampling names the train split, and all of it.
        subject: The checkpoint.
        settings: How.
        progress: Told how many products are done, and of how many.

    Raises:
        CheckpointError: If the checkpoint or its optimiser state is damaged or does not fit its network.
        DataError: If there are too few samples for two minibatches.
        NetworkError: If an operation of the network has no second derivative, or a product is no number.
        UsageError: If it is not known how it was trained, or what network or data it belongs to.
    """
    setup = bench.setup([subject])
    how = stepping(subject, settings, len(setup.splits["train"]))
    protocol, seed = how.protocol, bench.sampling.seed
    mode = settings.batch_norm if batch_norms(setup.network) else None
    samples = choose_samples(
        setup, "train", settings.samples, seed, least=max(SAMPLES, LEAST_BATCHES * protocol.batch_size)
    )
    few(len(samples), bench.tell)
    if how.origin == "missing" and (protocol.momentum or protocol.optimizer.startswith("adam")):
        bench.tell(
            f"{subject.checkpoint.label}: its optimiser state was not kept, so that its step is a first step, without "
            "momentum; train with --resume-states all"
        )
    identity = {
        "version": VERSION, "checkpoint": subject.checkpoint.hash(),
        **bench.identity(setup, "recompute" if mode == "recompute" else None),
        "settings": {**asdict(settings), "memory": None, "fresh": None, "batch_norm": mode},
        "protocol": protocol.to_json(), "sample": [len(samples), seed],
        # Runs may share a checkpoint and not its optimiser: a child may have begun without its parent's momentum.
        "state": [how.origin, None if how.state is None else tensors_hash(how.state)],
    }  # fmt: skip
    cache = PointCache("escape", identity, fresh=settings.fresh)
    found = next(iter(cache.read()), None)
    if found is None:
        load_state(setup.network, subject.checkpoint.tensors(), subject.checkpoint.label)
        with math_mode(bench.where):
            if mode == "recompute" and setup.statistics is not None:
                recompute_statistics(setup.network, setup.statistics, batch=bench.sampling.batch)
            batches = minibatches(samples, protocol, augment=settings.augment, seed=seed)
            operator = HessianOperator(
                setup.network, batches, batch_statistics=mode == "train", label_smoothing=protocol.label_smoothing,
                memory=settings.memory,
            )  # fmt: skip
            found = _measure(operator, how, settings, seed, progress)
        cache.add(found)
    augment = protocol.augment if settings.augment else "none"
    whole = {
        **entries(subject), "kind": "escape", **found, "optimizer": protocol.optimizer, "lr": how.lr,
        "momentum": protocol.momentum, "weight_decay": protocol.weight_decay, "batch_size": protocol.batch_size,
        "optimizer_state": how.origin, "augment": augment, "label_smoothing": protocol.label_smoothing,
        **sample_entries(samples, found["noise_minibatches"] * protocol.batch_size, "train", seed), "batch_norm": mode,
        "bn_samples": identity["bn_samples"], **bench.context(setup),
    }  # fmt: skip
    return whole | {key: value for key, value in subject.extra.items() if key not in whole}


def plan_escape(bench: Bench, subjects: Sequence[Subject], settings: EscapeSettings) -> dict[str, Any]:
    """What measuring would cost: products as they usually come, and operations, six forward passes a product."""
    setup = bench.setup(subjects[:1])
    how = stepping(subjects[0], settings, len(setup.splits["train"]))
    size = how.protocol.batch_size
    samples = choose_samples(
        setup, "train", settings.samples, bench.sampling.seed, least=max(SAMPLES, LEAST_BATCHES * size)
    )
    count = len(samples) // size
    products = EXPECTED + 2 * min(settings.minibatches, count) + 1
    return {
        "kind": "plan",
        "checkpoints": len(subjects),
        "network": setup.spec.name,
        "parameters": sum(p.numel() for p in setup.network.parameters() if p.requires_grad),
        "samples": count * size,
        "batch_size": size,
        "products": products * len(subjects),
        "operations": len(subjects) * count * size * forward_operations(setup.network, samples) * (9 + 6 * products),
    }


def minibatches(samples: Samples, protocol: Protocol, *, augment: bool, seed: int) -> list[Batch]:
    """Whole minibatches of a sample, in its order, augmented once if asked for.

    Raises:
        DataError: If there are not two of them.
    """
    size = protocol.batch_size
    count = len(samples) // size
    if count < 2:
        raise DataError(
            f"{len(samples)} samples make {count} minibatches of {size}; their spread takes two",
            "give more --samples or a smaller --batch-size",
        )
    augmentation = parse_augment(protocol.augment if augment else "none")
    augmenter = None
    if augmentation.padding or augmentation.flip:
        augmenter = Augmenter(samples, augmentation, seed)
        augmenter.begin_epoch(0)
    found = []
    for start in range(0, count * size, size):
        index = torch.arange(start, start + size, device=samples.where.device)
        raw = samples.inputs[index] if augmenter is None else augmenter.batch(index, start)
        found.append((samples.normalized(raw), samples.labels[index]))
    return found


def _measure(
    operator: HessianOperator, how: Stepping, settings: EscapeSettings, seed: int, progress: Progress
) -> dict[str, Any]:
    count = min(settings.minibatches, len(operator.batches))
    steps = EXPECTED + 2 * count + 1

    def told(_: int) -> None:
        progress(operator.products, max(steps, operator.products))

    pairs = eigenpairs(operator, tolerance=settings.tolerance, products=settings.products, seed=seed, on_product=told)
    sharpness = float(pairs.values[0])
    loss, gradient = operator.gradient()
    square = dot(gradient, gradient)
    updates = Updates(operator.network, how.protocol, lr=how.lr, state=how.state)
    parts, directions, noises = [], [], []
    for number in range(len(operator.batches)):
        _, own = operator.batch_gradient(number)
        noise = own - gradient
        parts.append((dot(noise, noise), dot(gradient, noise)))
        if number < count:
            directions.append(updates.direction(own))
            noises.append(noise)
    escape = asdict(escape_threshold(operator, gradient, directions, lr=how.lr, sharpness=sharpness, on_product=told))
    noise_all = gradient_noise(parts, square, len(operator.batches[0][1]))
    along, along_error = noise_curvature(operator, noises)
    bend = dot(gradient, operator.apply(gradient)) / square if square else math.nan
    told(0)
    # Last, as it moves the weights about and so ends the kept graphs.
    invariant = scale_invariance(operator.network, operator.batches[0][0][:INPUTS])
    length = invariant.norm**2
    return {
        "escape": escape["raw"], "escape_error": escape["raw_error"], "escape_spread": escape["raw_spread"],
        "escape_scale_free": escape["scale_free"], "escape_scale_free_error": escape["scale_free_error"],
        "escape_gradient_descent": escape["gradient_descent"], "uphill": escape["uphill"], "minibatches": count,
        "escape_each": escape["each"], "step_curvature": escape["curvature"], "step_slope": escape["slope"],
        "step_norm": escape["step_norm"],
        "lambda_max": sharpness, "residual": pairs.relative[0], "converged": pairs.converged,
        "products": operator.products,
        "loss": loss, "gradient_norm": math.sqrt(square),
        "gradient_curvature": bend,
        "noise_trace": noise_all.trace, "noise_trace_error": noise_all.trace_error,
        "noise_per_sample": noise_all.per_sample, "noise_gradient_square": noise_all.gradient,
        "noise_scale": noise_all.scale, "noise_scale_error": noise_all.scale_error,
        "noise_minibatches": noise_all.minibatches,
        "noise_curvature": along, "noise_curvature_error": along_error,
        "noise_alignment": along / sharpness if sharpness else math.nan,
        "scale_invariant_norm": invariant.norm or None, "scale_invariant_parameters": invariant.parameters,
        "scale_invariant": list(invariant.names), "without_effect": list(invariant.without_effect),
        "effective_lr": how.lr / length if length else None,
        "effective_sharpness": sharpness * length if length else None,
    }  # fmt: skip
