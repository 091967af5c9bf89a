"""Every distance between two checkpoints, in one record."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from landscape_cli.compute.choices import BatchNormMode, SplitName
from landscape_cli.compute.device import Placement
from landscape_cli.datasets import DataSpec
from landscape_cli.errors import LandscapeError
from landscape_cli.jobs.barriers import Barriers, BarrierSettings, with_context
from landscape_cli.jobs.bench import Bench, Sampling
from landscape_cli.jobs.function_distances import Functions
from landscape_cli.jobs.gradients import Centroids
from landscape_cli.jobs.kernels import Kernels, KernelSettings, kernel_pair
from landscape_cli.jobs.measures import MEASURES, Measure
from landscape_cli.jobs.model_columns import model_name
from landscape_cli.jobs.pairs import Subject, sides
from landscape_cli.jobs.relu_distances import ReluPatterns
from landscape_cli.jobs.weight_distances import Weights
from landscape_cli.networks.registry import NetworkSpec

# What of each measure's own record is kept, and under which name.
ENTRIES: dict[Measure, dict[str, str]] = {
    "barrier": {"error_sup": "error_barrier", "error_mid": "error_mid", "error_chord": "error_chord",
                "loss_sup": "loss_barrier", "error_a": "error_a", "error_b": "error_b"},
    "weight": {"distance": "weight_distance", "relative": "weight_relative", "cosine": "weight_cosine"},
    "relu": {"distance": "relu_distance"},
    "function": {"distance": "function_distance", "disagreement": "disagreement",
                 "jensen_shannon": "jensen_shannon", "correlation": "correlation",
                 "error_a": "error_a", "error_b": "error_b"},
    "kernel": {"distance": "kernel_distance"},
    "gradient": {"distance": "gradient_distance"},
}  # fmt: skip


@dataclass(frozen=True)
class ComparisonSettings:
    """What is measured, and where.

    Args:
        measures: Which distances.
        split: Whose samples (barrier, relu, function).
        samples: How many of them; None for all.
        kernel_samples: Of the training set, for kernels.
        gradient_samples: Of the training set, for logit gradients.
        points: Of the line.
        batch_norm: On the line.
        bn_samples: Training samples that batch norm is recomputed on.
        seed: Of the choice of samples.
        batch: Samples a forward pass.
        fresh: Measure again what is already known.
    """

    measures: Sequence[Measure] = MEASURES
    split: SplitName = "test"
    samples: int | None = None
    kernel_samples: int = 200
    gradient_samples: int = 1000
    points: int = 25
    batch_norm: BatchNormMode = "recompute"
    bn_samples: int | None = None
    seed: int = 0
    batch: int = 100
    fresh: bool = False


class Comparison:
    """Measures pairs in every way asked for; each checkpoint is prepared once a measure.

    Args:
        settings: What is measured.
        where: Device and precision.
        network: The network, if a person names it.
        data: The data, if a person names it.
        note: Told what a user should know.
    """

    def __init__(
        self,
        settings: ComparisonSettings,
        where: Placement,
        *,
        network: NetworkSpec | None = None,
        data: DataSpec | None = None,
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.settings = settings

        def bench(split: SplitName, samples: int | None, *, statistics: bool = False) -> Bench:
            sampling = Sampling((split,), samples, settings.bn_samples, settings.seed, settings.batch)
            return Bench(sampling, where, network=network, data=data, statistics=statistics, note=note)

        self._plain = plain = bench(settings.split, settings.samples)
        self._walked = walked = bench(settings.split, settings.samples, statistics=True)
        self._barriers = Barriers(
            walked, BarrierSettings(settings.points, batch_norm=settings.batch_norm, fresh=settings.fresh)
        )
        self._weights = Weights(plain)
        self._relus = ReluPatterns(plain, settings.split)
        self._functions = Functions(plain, settings.split, note=note)
        self._kernels = Kernels(
            bench("train", settings.kernel_samples),
            KernelSettings(samples=settings.kernel_samples, fresh=settings.fresh),
        )
        self._centroids = Centroids(bench("train", settings.gradient_samples), "train")

    def pairs(
        self, chosen: Sequence[tuple[Subject, Subject]], progress: Callable[[int, int], None] | None = None
    ) -> Iterator[dict[str, Any] | LandscapeError]:
        """A record for each pair in their order, or why it could not be measured.

        Args:
            chosen: The pairs.
            progress: Told how many pairs are done, and of how many.
        """
        relus: list[dict[str, Any] | LandscapeError] = []
        if "relu" in self.settings.measures:
            relus = list(self._relus.pairs(chosen))  # all at once: a batch goes through every checkpoint
        for number, (a, b) in enumerate(chosen):
            try:
                yield self._pair(a, b, relus[number] if relus else None)
            except LandscapeError as error:
                yield error
            if progress is not None:
                progress(number + 1, len(chosen))

    def _pair(self, a: Subject, b: Subject, relu: dict[str, Any] | LandscapeError | None) -> dict[str, Any]:
        settings, found = self.settings, dict[str, Any]()
        # In one order, whatever that of the words: where two measures tell an error, it is the network's own.
        for measure in sorted(settings.measures, key=MEASURES.index):
            record = self._measure(measure, a, b, relu)
            found |= {name: record[key] for key, name in ENTRIES[measure].items()}
        setups = [self._plain.setup([side]) for side in (a, b)]
        told: dict[str, Any] = {"split": settings.split, "samples": len(setups[0].splits[settings.split])}
        if "barrier" in settings.measures:
            told |= {"points": settings.points, "batch_norm": settings.batch_norm if self._has_statistics(a) else None}
        for name, count in (("kernel", settings.kernel_samples), ("gradient", settings.gradient_samples)):
            told |= {f"{name}_samples": count} if name in settings.measures else {}
        contexts = [self._plain.context(setup) for setup in setups]
        return with_context(
            {"kind": "comparison", "a": model_name(a), "b": model_name(b)} | found | told | sides(a, b), a, b, *contexts
        )

    def _has_statistics(self, subject: Subject) -> bool:
        return self._walked.setup([subject]).statistics is not None

    def _measure(
        self, measure: Measure, a: Subject, b: Subject, relu: dict[str, Any] | LandscapeError | None
    ) -> dict[str, Any]:
        if measure == "barrier":
            (record,) = self._barriers.line(a, b).records
            return record
        if measure == "relu":
            if isinstance(relu, LandscapeError):
                raise relu
            assert relu is not None
            return relu
        if measure == "kernel":
            return kernel_pair(self._kernels, *(self._kernels.measure(side) for side in (a, b)))
        one = {"weight": self._weights, "function": self._functions, "gradient": self._centroids}[measure]
        return one.pair(a, b)  # type: ignore[attr-defined, no-any-return]
