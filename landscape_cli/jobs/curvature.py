"""Curvature of the loss at checkpoints on disk."""

from collections.abc import Callable, Sequence
from typing import Any

from landscape_cli.compute.batchnorm import batch_norms, recompute_statistics
from landscape_cli.compute.device import math_mode
from landscape_cli.compute.evaluation import forward_operations
from landscape_cli.compute.samples import BATCH, Samples
from landscape_cli.compute.weights.curvature_operators import OPERATORS, Batch, NetworkOperator
from landscape_cli.compute.weights.lanczos import Eigenpairs
from landscape_cli.errors import DataError, UsageError
from landscape_cli.jobs.bench import Bench, Setup
from landscape_cli.jobs.curvature_samples import choose_samples, few, sample_entries
from landscape_cli.jobs.curvature_stages import (
    EXPECTED,
    Counter,
    CurvatureSettings,
    Progress,
    density_stage,
    pairs_stage,
    trace_stage,
)
from landscape_cli.jobs.model_columns import model_name
from landscape_cli.jobs.pairs import Subject
from landscape_cli.jobs.subjects import load_state
from landscape_cli.store.cache import PointCache
from landscape_cli.store.runs import Run

VERSION = 1  # of the measurement: raised when its numbers change


def measure_curvature(
    bench: Bench,
    subject: Subject,
    settings: CurvatureSettings,
    *,
    progress: Progress = lambda done, of: None,
    keep: Callable[[Eigenpairs, NetworkOperator], None] | None = None,
) -> dict[str, Any]:
    """The curvature at a checkpoint, as a record; parts of it that were measured before are not measured again.

    Args:
        bench: Networks and data; its sampling names the settings' split, and all of it.
        subject: The checkpoint.
        settings: What to measure.
        progress: Told how many products are done, and of how many.
        keep: Given the eigenpairs, which then are measured whether known or not.

    Raises:
        CheckpointError: If the checkpoint is damaged or does not fit its network.
        DataError: If there are too few samples.
        NetworkError: If an operation of the network has no second derivative, or a product is no number.
        UsageError: If it is not known what network or data it belongs to, or a setting means nothing for it.
    """
    setup = bench.setup([subject])
    normed = bool(batch_norms(setup.network))
    mode = settings.batch_norm if normed else None
    if settings.overlap and mode == "train":
        raise UsageError(
            "--overlap is of logit gradients, which have no batch statistics", "use --bn eval or recompute"
        )
    size = batch_size_of(subject, settings.batch_size, batch_statistics=mode == "train")
    seed = bench.sampling.seed
    samples = choose_samples(setup, settings.split, settings.samples, seed)
    few(len(samples), bench.tell)
    identity = {
        "version": VERSION, "checkpoint": subject.checkpoint.hash(), **bench.identity(setup, None),
        "curvature": settings.curvature, "split": settings.split, "norm": mode, "pass": size,
        "sample": [len(samples), seed], "bn_samples": _bn_samples(setup, mode),
    }  # fmt: skip
    cache = PointCache("hessian", identity, fresh=settings.fresh)
    known = cache.read()
    load_state(setup.network, subject.checkpoint.tensors(), subject.checkpoint.label)
    count = Counter(progress, settings)
    record: dict[str, Any] = {}
    with math_mode(bench.where):
        if mode == "recompute" and setup.statistics is not None:
            recompute_statistics(setup.network, setup.statistics, batch=bench.sampling.batch)
        batches = batches_of(samples, size, whole=mode == "train")
        operator = OPERATORS[settings.curvature](
            setup.network, batches, batch_statistics=mode == "train", memory=settings.memory
        )
        # Each stage is kept under what it depends on, so that asking for a trace too measures the trace alone.
        stages: list[tuple[tuple[str, ...], Callable[[], dict[str, Any]]]] = [
            (
                ("top", "bottom", "tolerance", "products", "parts", "overlap"),
                lambda: pairs_stage(operator, samples, settings, setup, seed, count, keep),
            ),
            (("trace_products", "trace_method"), lambda: trace_stage(operator, settings, seed, count)),
            (("probes", "steps", "smoothing"), lambda: density_stage(operator, settings, seed, count)),
        ]
        for names, measure in stages:
            key = {name: getattr(settings, name) for name in names}
            found = next((point["found"] for point in known if point["stage"] == key), None)
            if found is None or (keep is not None and "top" in names):
                found = measure()
                cache.add({"stage": key, "found": found})
            record |= found
    if not record["converged"]:
        bench.tell(
            f"{model_name(subject)}: {record['products']} products were not enough, a residual is still "
            f"{max(record['residuals']):.2g} of its eigenvalue; give more --max-products"
        )
    if record["steps_in_network"]:
        bench.tell(
            f"{', '.join(record['steps_in_network'])} is constant almost everywhere: weights that act through it alone "
            "have no curvature"
        )
    if record["own_functions"]:
        bench.tell(f"{', '.join(record['own_functions'])}: its second derivative is that of its own backward pass")
    whole = {
        **entries(subject),
        **record,
        **sample_entries(samples, operator.samples, settings.split, seed),
        "batch_norm": mode,
        "batch": size,
        "bn_samples": _bn_samples(setup, mode),
        **bench.context(setup),
    }
    return whole | {key: value for key, value in subject.extra.items() if key not in whole}


def entries(subject: Subject) -> dict[str, Any]:
    """What a record says of the checkpoint, its kind apart."""
    run = subject.run
    return {
        "kind": "hessian",
        "checkpoint": model_name(subject),
        "path": str(subject.checkpoint.path if run is None else run.path),
        "step": subject.checkpoint.step,
        "epoch": subject.checkpoint.epoch,
    }


def batch_size_of(subject: Subject, asked: int | None, *, batch_statistics: bool) -> int:
    """Samples a pass: those asked for; with batch statistics, of which they are part, the run's own; else 100.

    Raises:
        UsageError: If the run does not say.
    """
    if asked is not None or not batch_statistics:
        return asked or BATCH
    own = protocol_of(subject.run).get("batch_size")
    if own is None:
        raise UsageError(
            f"{subject.checkpoint.label} does not say what batches it was trained in, and the statistics of a batch "
            "depend on its size",
            "add --batch-size N, or use --bn eval",
        )
    return int(own)


def protocol_of(run: Run | None) -> dict[str, Any]:
    """The recorded training protocol; empty if there is none."""
    return {} if run is None else dict((run.document.get("config") or {}).get("protocol") or {})


def batches_of(samples: Samples, size: int, *, whole: bool) -> list[Batch]:
    """Normalised batches; with ``whole`` an incomplete last one is left out, as its statistics are not the others'.

    Raises:
        DataError: If there is none.
    """
    found = [(x, y) for x, y in samples.batches(size) if len(y) == size or not whole]
    if not found:
        raise DataError(f"{len(samples)} samples make no batch of {size}", "give more --samples or a smaller batch")
    return found


def _bn_samples(setup: Setup, mode: str | None) -> int | None:
    return len(setup.statistics) if mode == "recompute" and setup.statistics is not None else None


def plan_curvature(bench: Bench, subjects: Sequence[Subject], settings: CurvatureSettings) -> dict[str, Any]:
    """What measuring would cost: products as they usually come, and operations.

    A kept graph costs three forward passes, a product six.
    """
    setup = bench.setup(subjects[:1])
    samples = choose_samples(setup, settings.split, settings.samples, bench.sampling.seed)
    parameters = sum(p.numel() for p in setup.network.parameters() if p.requires_grad)
    wanted = max(settings.top, setup.data.classes if settings.overlap else 0) + settings.bottom
    products = EXPECTED * wanted + settings.trace_products + settings.probes * min(settings.steps, parameters)
    each = forward_operations(setup.network, samples) * len(samples)
    return {
        "kind": "plan",
        "checkpoints": len(subjects),
        "network": setup.spec.name,
        "parameters": parameters,
        "samples": len(samples),
        "products": products * len(subjects),
        "vector_bytes": 4 * parameters * max(30, 2 * wanted + 5),
        "operations": len(subjects) * each * (3 + 6 * products),
    }
