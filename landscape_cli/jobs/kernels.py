"""Tangent kernels of checkpoints on disk, and the distances between them."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from landscape_cli.compute.choices import SplitName
from landscape_cli.compute.device import math_mode
from landscape_cli.compute.samples import Samples
from landscape_cli.compute.streams import stream
from landscape_cli.compute.tangent.choices import MEMORY, KernelForm, KernelPrecision
from landscape_cli.compute.tangent.distances import (
    centered_alignment,
    effective_rank,
    eigenvalues,
    kernel_distance,
    participation,
    target_alignment,
)
from landscape_cli.compute.tangent.kernels import tangent_kernel
from landscape_cli.errors import DataError, LandscapeError, UsageError
from landscape_cli.jobs.barriers import with_context
from landscape_cli.jobs.bench import Bench, Setup
from landscape_cli.jobs.model_columns import model_name
from landscape_cli.jobs.pairs import Subject, sides
from landscape_cli.jobs.subjects import load_state
from landscape_cli.store.cache import cache_folder
from landscape_cli.store.kernels import StoredKernel, read_kernel, write_kernel

VERSION = 1  # of the measurement: raised when its numbers change
SAMPLES = 500
KEPT_BYTES = 16_000_000  # kernels up to this size stay in the cache when the job is done

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class KernelSettings:
    """Which kernels.

    Args:
        form: Full, class trace, or of the sum of logits.
        split: Whose samples.
        samples: How many.
        balanced: The same number of every class, in place of the split's proportions.
        by_layer: Each layer's kernel and distance too.
        precision: Of the products.
        memory: Bytes of work space for a kernel, and of kernels held at a time.
        cka: Centred alignment of each pair too.
        spectrum: Eigenvalues and effective rank of each kernel too.
        fresh: Measure again what is already known.
    """

    form: KernelForm = "full"
    split: SplitName = "train"
    samples: int = SAMPLES
    balanced: bool = False
    by_layer: bool = False
    precision: KernelPrecision = "float32"
    memory: int = MEMORY
    cka: bool = False
    spectrum: bool = False
    fresh: bool = False


@dataclass(frozen=True, eq=False)
class Measured:
    """A checkpoint whose kernel is known.

    Args:
        subject: The checkpoint.
        path: Where its kernel is kept.
        identity: All it depends on.
        statistics: Its numbers: alignment with the labels, participation ratio, and with ``spectrum`` the rank.
        context: What every record says of how it was measured.
        fingerprint: Of the samples.
        bytes: Of the kernel.
    """

    subject: Subject
    path: Path
    identity: dict[str, Any]
    statistics: dict[str, Any]
    context: dict[str, Any]
    fingerprint: str
    bytes: int


class Kernels:
    """Measures kernels, each checkpoint's once, and keeps them on disk while the job is at work.

    Args:
        bench: Networks and samples; its sampling names the settings' split, and all samples where they are balanced.
        settings: Which kernels.
    """

    def __init__(self, bench: Bench, settings: KernelSettings) -> None:
        self.bench = bench
        self.settings = settings
        self._held: dict[Path, StoredKernel] = {}
        self._chosen: dict[int, Samples] = {}

    def measure(self, subject: Subject) -> Measured:
        """The kernel of a checkpoint, computed or found from an interrupted or earlier job.

        Raises:
            CheckpointError: If the checkpoint is damaged or does not fit its network.
            NetworkError: If the network has no tangent kernel.
            UsageError: If it is not known what network or data it belongs to, or there are too few samples.
        """
        setup = self.bench.setup([subject])
        samples = self._samples(setup)
        settings = self.settings
        identity = {
            "version": VERSION, "checkpoint": subject.checkpoint.hash(), **self.bench.identity(setup, None),
            "form": settings.form, "count": settings.samples, "balanced": settings.balanced,
            "by_layer": settings.by_layer, "products": settings.precision,
        }  # fmt: skip
        del identity["batch"]
        digest = hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:32]
        path = cache_folder() / "kernels" / f"{digest}.h5"
        found = None if settings.fresh else read_kernel(path, identity)
        if found is None:
            found = self._compute(subject, setup, samples)
            write_kernel(path, found, identity)
        self._hold(path, found)
        values = torch.from_numpy(found.values)
        return Measured(
            subject, path, identity, self._statistics(values, samples, setup), self._context(setup, samples),
            _fingerprint(samples), found.values.nbytes,
        )  # fmt: skip

    def _compute(self, subject: Subject, setup: Setup, samples: Samples) -> StoredKernel:
        load_state(setup.network, subject.checkpoint.tensors(), subject.checkpoint.label)
        settings = self.settings
        with math_mode(self.bench.where):
            inputs = samples.normalized(samples.inputs)
            kernel = tangent_kernel(
                setup.network, inputs, form=settings.form, by_layer=settings.by_layer, precision=settings.precision,
                memory=settings.memory,
            )  # fmt: skip
        return StoredKernel(
            kernel.values.cpu().numpy(), {name: part.cpu().numpy() for name, part in kernel.layers.items()}
        )

    def _samples(self, setup: Setup) -> Samples:
        whole = setup.splits[self.settings.split]
        if not self.settings.balanced:
            return whole
        if id(whole) not in self._chosen:
            self._chosen = {id(whole): _balanced(whole, self.settings.samples, setup.data.classes, self.bench)}
        return self._chosen[id(whole)]

    def _statistics(self, values: torch.Tensor, samples: Samples, setup: Setup) -> dict[str, Any]:
        settings, classes = self.settings, setup.data.classes
        found: dict[str, Any] = {
            "alignment": target_alignment(values, samples.labels.cpu(), form=settings.form, classes=classes),
            "participation": participation(values),
        }
        if settings.spectrum:
            spectrum = eigenvalues(values)
            found |= {"effective_rank": effective_rank(spectrum), "eigenvalues": spectrum.tolist()}
        return found

    def _context(self, setup: Setup, samples: Samples) -> dict[str, Any]:
        return {
            "form": self.settings.form,
            "split": self.settings.split,
            "samples": len(samples),
            "balanced": self.settings.balanced,
            "sample_seed": self.bench.sampling.seed,
            "classes": setup.data.classes,
            **self.bench.context(setup),
            "precision": self.settings.precision,
        }

    def kernel(self, measured: Measured) -> StoredKernel:
        """A measured kernel, from memory or from where it is kept.

        Raises:
            DataError: If it is gone.
        """
        found = self._held.get(measured.path) or read_kernel(measured.path, measured.identity)
        if found is None:
            raise DataError(f"{measured.path} is gone or damaged", "give the same command again")
        self._hold(measured.path, found)
        return found

    @property
    def room(self) -> int:
        """How many kernels are held in memory at a time, two at least."""
        sizes = [kernel.values.nbytes * (1 + len(kernel.layers)) for kernel in self._held.values()]
        return max(2, self.settings.memory // max([1, *sizes]))

    def _hold(self, path: Path, kernel: StoredKernel) -> None:
        self._held.pop(path, None)
        self._held[path] = kernel
        while len(self._held) > self.room:
            del self._held[next(iter(self._held))]

    def forget(self, measured: Sequence[Measured]) -> None:
        """The job is done: delete kept kernels that are too large to lie about."""
        for one in measured:
            if one.path.is_file() and one.path.stat().st_size > KEPT_BYTES:
                one.path.unlink(missing_ok=True)


def plan_kernels(bench: Bench, subjects: Sequence[Subject], settings: KernelSettings) -> dict[str, Any]:
    """What measuring the kernels would cost at most."""
    setup = bench.setup(subjects[:1])
    parameters = sum(p.numel() for p in setup.network.parameters() if p.requires_grad)
    classes, samples = setup.data.classes, settings.samples
    rows = samples * (classes if settings.form == "full" else 1)
    products = {"full": rows * rows, "trace": rows * rows * classes, "pseudo": rows * rows}[settings.form]
    return {
        "kind": "plan",
        "checkpoints": len(subjects),
        "form": settings.form,
        "samples": samples,
        "rows": rows,
        "kernel_bytes": 4 * rows * rows,
        "operations": len(subjects) * products * parameters,
    }


def kernel_pair(kernels: Kernels, a: Measured, b: Measured) -> dict[str, Any]:
    """The distance between the kernels of two checkpoints, as a record.

    Raises:
        UsageError: If they are on different samples or classes.
        NetworkError: If a kernel is zero.
    """
    if a.fingerprint != b.fingerprint or a.context["classes"] != b.context["classes"]:
        raise UsageError(
            f"{a.subject.checkpoint.label} and {b.subject.checkpoint.label} would be measured on different samples",
            "say where to measure both: --split test, or --data NAME",
        )
    first, second = kernels.kernel(a), kernels.kernel(b)
    values = [torch.from_numpy(k.values) for k in (first, second)]
    record: dict[str, Any] = {
        "kind": "kernel-distance",
        "a": model_name(a.subject),
        "b": model_name(b.subject),
        "distance": kernel_distance(*values),
    }
    if kernels.settings.cka:
        record["cka"] = centered_alignment(*values, form=kernels.settings.form, classes=a.context["classes"])
    for side, one in (("a", a), ("b", b)):
        record |= {f"{name}_{side}": value for name, value in one.statistics.items() if name != "eigenvalues"}
    record |= sides(a.subject, b.subject)
    if kernels.settings.by_layer:
        shared = [name for name in first.layers if name in second.layers]
        record["layers"] = {name: _layer_distance(first.layers[name], second.layers[name]) for name in shared}
    return with_context(record, a.subject, b.subject, a.context, b.context)


def _layer_distance(first: "np.ndarray[Any, Any]", second: "np.ndarray[Any, Any]") -> float | None:
    """The distance of one layer's parts; None if that layer moves nothing in one of the two."""
    try:
        return kernel_distance(torch.from_numpy(first), torch.from_numpy(second))
    except LandscapeError:
        return None


def blocked(pairs: Sequence[tuple[int, int]], block: int) -> Iterator[int]:
    """The pairs' numbers in an order that keeps to few kernels at a time.

    >>> list(blocked([(0, 1), (0, 5), (1, 2), (4, 5)], block=2))
    [0, 2, 1, 3]
    """
    yield from sorted(range(len(pairs)), key=lambda n: (pairs[n][0] // block, pairs[n][1] // block, pairs[n]))


def _balanced(whole: Samples, count: int, classes: int, bench: Bench) -> Samples:
    each, rest = divmod(count, classes)
    if rest or not each:
        raise UsageError(
            f"{count} samples cannot be shared equally by {classes} classes",
            f"give --samples {max(1, round(count / classes)) * classes}, or leave --balanced out",
        )
    labels = whole.labels.cpu()
    chosen = []
    for number in range(classes):
        there = (labels == number).nonzero().flatten()
        if len(there) < each:
            raise UsageError(f"class {number} has {len(there)} samples, not {each}", "give fewer --samples")
        order = torch.randperm(len(there), generator=stream("kernel-samples", bench.sampling.seed, number))
        chosen.append(there[order[:each]])
    return whole.take(torch.cat(chosen).sort().values)


def _fingerprint(samples: Samples) -> str:
    digest = hashlib.sha256(samples.labels.cpu().numpy().tobytes())
    digest.update(samples.inputs.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:32]
