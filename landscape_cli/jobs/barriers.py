"""Measuring barriers between checkpoints on disk."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch

from landscape_cli.compute.batchnorm import batch_norms
from landscape_cli.compute.choices import BatchNormMode, SplitName
from landscape_cli.compute.device import Placement, math_mode, place
from landscape_cli.compute.evaluation import Evaluation, evaluate
from landscape_cli.compute.samples import BATCH, Samples
from landscape_cli.compute.weights.barrier import (
    POINTS,
    REFINE,
    PathPoint,
    barriers,
    grid,
    measure_on,
    search,
)
from landscape_cli.compute.weights.interpolation import LinearPath
from landscape_cli.datasets import DataSet, DataSpec, Normalization
from landscape_cli.errors import CheckpointError, UsageError
from landscape_cli.jobs.pairs import Subject
from landscape_cli.jobs.subjects import (
    build_network,
    chosen_data,
    load_data,
    load_state,
    recorded_network,
    normalization_for,
    samples_of,
    subset,
)
from landscape_cli.networks.registry import NetworkSpec, resolve
from landscape_cli.store.cache import PointCache
from landscape_cli.store.checkpoints import Checkpoint
from landscape_cli.store.runs import Run

STATISTICS = 10_000  # training images that batch norm is recomputed on, unless told otherwise
VERSION = 1  # of the measurement: raised when its numbers change, so that kept points are not mixed


@dataclass(frozen=True)
class BarrierSettings:
    """How to measure a barrier.

    Args:
        splits: Where the risk is measured.
        points: Points of the grid.
        refine: Rounds of the finer search around each maximum.
        batch_norm: What happens to batch-norm statistics on the path.
        bn_samples: Training samples for their recomputation; None for 10,000 or all.
        samples: Samples of each split, with its class proportions; None for all.
        seed: Of the choice of samples.
        batch: Samples a forward pass.
        fresh: Measure again what is already known.
    """

    splits: tuple[SplitName, ...] = ("train", "test")
    points: int = POINTS
    refine: int = REFINE
    batch_norm: BatchNormMode = "recompute"
    bn_samples: int | None = None
    samples: int | None = None
    seed: int = 0
    batch: int = BATCH
    fresh: bool = False


@dataclass(frozen=True)
class PairResult:
    """What was measured between two checkpoints.

    Args:
        records: One a split.
        points: The whole path, by α.
        reused: How many points were known before.
    """

    records: list[dict[str, Any]]
    points: list[PathPoint]
    reused: int


class BarrierBench:
    """Measures one pair after another; data and network stay loaded while they serve.

    Args:
        settings: How to measure.
        where: Device and precision.
        network: The network, if a person names it; else what each run recorded.
        data: The data, if a person names it; else what each run was trained on.
        note: Told what a user should know (other data than trained on, for one).
    """

    def __init__(
        self,
        settings: BarrierSettings,
        where: Placement,
        *,
        network: NetworkSpec | None = None,
        data: DataSpec | None = None,
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.settings = settings
        self.where = where
        self.asked_network = network
        self.asked_data = data
        self.note = note
        self._key: Any = None
        self._splits: dict[str, Samples] = {}
        self._statistics: Samples | None = None
        self._network: torch.nn.Module | None = None
        self._told: set[str] = set()

    def measure(
        self, first: Subject, second: Subject, progress: Callable[[int, int], None] | None = None
    ) -> PairResult:
        """Measure the path between two checkpoints.

        Raises:
            CheckpointError: If one is damaged, or they are not of one network.
            DataError: If the data does not fit the network.
            UsageError: If it is not known what network or data they belong to.
        """
        a, b = first.checkpoint, second.checkpoint
        same_network(a, b)
        spec, data, normalization, other = self._subject(first, second)
        settings = self.settings
        network = self._prepare(spec, data, normalization)
        known_hashes = (a.hash(), b.hash())
        cache = PointCache("barrier", self._identity(known_hashes, spec, data, normalization), fresh=settings.fresh)
        known = {p.alpha: p for p in (_point(document, settings.splits) for document in cache.read())}
        states = (a.tensors(), b.tensors())
        with math_mode(self.where):
            own = self._own(network, states, (a, b))
            path = LinearPath(
                network,
                *states,
                batch_norm=settings.batch_norm,
                statistics=self._statistics,
                batch=settings.batch,
            )
            del states
            expected = len(grid(settings.points)) + 4 * settings.refine
            points: list[PathPoint] = []
            measure = measure_on(path, self._splits, batch=settings.batch)
            for point in search(measure, points=settings.points, refine=settings.refine, known=known):
                points.append(point)
                if point.alpha not in known:
                    cache.add({"alpha": point.alpha, "results": {k: asdict(v) for k, v in point.results.items()}})
                if progress is not None:
                    progress(len(points), max(expected, len(points)))
        points.sort(key=lambda point: point.alpha)
        common = self._common(first, second, spec, data, other, path)
        records = [
            {
                "kind": "barrier",
                "a": a.label,
                "b": b.label,
                "split": split,
                **_readings(found),
                **own.get(split, {}),
                **common,
            }
            | {"points": len(points), "samples": points[0].results[split].samples}
            for split, found in barriers(points).items()
        ]
        reused = sum(point.alpha in known for point in points)
        return PairResult(records, points, reused)

    def _subject(self, first: Subject, second: Subject) -> tuple[NetworkSpec, DataSet, Normalization | None, bool]:
        """The network, data and normalisation of a pair, and whether the data is not what it was trained on."""
        runs = [s.run for s in (first, second)]
        for subject, run in zip((first, second), runs, strict=True):
            if run is None and (self.asked_network is None or self.asked_data is None):
                raise UsageError(
                    f"{subject.checkpoint.path} does not say what network and data it belongs to",
                    "add --network NAME --data DATA, or make it a run with 'landscape import'",
                )
        known = [run for run in runs if run is not None]
        spec = resolve(self.asked_network or _common_network(known))
        data = load_data(_common_data(known, self.asked_data))
        normalization = normalization_for(known[0], data) if known else data.normalization
        other = [run for run in known if _fingerprint(run) not in (None, data.fingerprint["train"])]
        for run in other:
            self._tell(f"{run.path} was trained on other data than {data.name} as given here")
        return spec, data, normalization, bool(other)

    def _tell(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self.note(text)

    def _prepare(self, spec: NetworkSpec, data: DataSet, normalization: Normalization | None) -> torch.nn.Module:
        """The network on the device, and the samples beside it; kept while pairs share them."""
        key = (spec, id(data), normalization)
        if self._key == key and self._network is not None:
            return self._network
        settings = self.settings
        self._network = place(build_network(spec, data), self.where)
        self._splits = {
            name: samples_of(
                subset(data.split(name), settings.samples, data.classes, settings.seed),
                normalization,
                self.where,
            )
            for name in settings.splits
        }
        self._statistics = None
        if batch_norms(self._network) and settings.batch_norm == "recompute":
            count = min(settings.bn_samples or STATISTICS, len(data.train))
            part = subset(data.train, count, data.classes, settings.seed)
            self._statistics = samples_of(part, normalization, self.where)
        self._key = key
        return self._network

    def _own(
        self, network: torch.nn.Module, states: tuple[Any, Any], ends: tuple[Checkpoint, Checkpoint]
    ) -> dict[str, dict[str, float]]:
        """The ends with their own batch-norm statistics, where the path replaces those."""
        found: dict[str, dict[str, float]] = {}
        for name, state, end in zip("ab", states, ends, strict=True):
            load_state(network, state, str(end.path))
            if self._statistics is not None:
                for split, samples in self._splits.items():
                    result = evaluate(network, samples, batch=self.settings.batch)
                    found.setdefault(split, {}).update(
                        {f"own_error_{name}": result.error, f"own_loss_{name}": result.loss}
                    )
        return found

    def _identity(
        self, hashes: tuple[str, str], spec: NetworkSpec, data: DataSet, normalization: Normalization | None
    ) -> dict[str, Any]:
        """Everything the risk at an α depends on."""
        settings = self.settings
        return {
            "version": VERSION,
            "torch": str(torch.__version__),
            "a": hashes[0],
            "b": hashes[1],
            "network": spec.to_json(),
            "fingerprint": data.fingerprint,
            "normalization": None if normalization is None else normalization.to_json(),
            "splits": list(settings.splits),
            "samples": settings.samples,
            "seed": settings.seed,
            "batch_norm": settings.batch_norm,
            "bn_samples": None if self._statistics is None else len(self._statistics),
            "batch": settings.batch,
            "precision": self.where.precision,
            "device": self.where.describe(),
        }

    def _common(
        self,
        first: Subject,
        second: Subject,
        spec: NetworkSpec,
        data: DataSet,
        other: bool,
        path: LinearPath,
    ) -> dict[str, Any]:
        """What every record of a pair says beside its numbers."""
        settings = self.settings
        record: dict[str, Any] = {
            "batch_norm": path.mode,
            "bn_samples": None if self._statistics is None else len(self._statistics),
            "grid": settings.points,
            "refine": settings.refine,
            "data": data.name,
            "fingerprint": data.fingerprint,
            "other_data": other,
            "network": spec.name,
            "precision": self.where.precision,
            "device": self.where.name,
        }
        for name in ("step", "epoch"):
            values = {getattr(s.checkpoint, name) for s in (first, second)}
            record[name] = values.pop() if len(values) == 1 else None
        lineages = [run.lineage if (run := s.run) is not None else None for s in (first, second)]
        for key in ("parent", "step", "epoch"):
            values = {lineage.get(key) if lineage else None for lineage in lineages}
            record["parent" if key == "parent" else f"spawn_{key}"] = values.pop() if len(values) == 1 else None
        return {**_extra(first.extra, second.extra), **record}


def _extra(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Unknown entries pass through: once where both inputs agree, else as ``a_…`` and ``b_…``."""
    passed: dict[str, Any] = {}
    for key in [*first, *(k for k in second if k not in first)]:
        if first.get(key) == second.get(key):
            passed[key] = first[key]
        else:
            passed |= {f"{side}_{key}": part[key] for side, part in (("a", first), ("b", second)) if key in part}
    return passed


def _readings(found: dict[str, Any]) -> dict[str, float]:
    """The readings of both risks as flat entries, error first."""
    flat: dict[str, float] = {}
    for risk in ("error", "loss"):
        values = asdict(found[risk])
        flat |= {f"{risk}_{key}": values[key] for key in ("sup", "sup_alpha", "mid", "chord", "chord_alpha")}
        flat |= {f"{risk}_a": values["first"], f"{risk}_b": values["second"]}
    return flat


def _point(document: dict[str, Any], splits: Sequence[str]) -> PathPoint:
    return PathPoint(document["alpha"], {name: Evaluation(**document["results"][name]) for name in splits})


def _fingerprint(run: Run) -> str | None:
    fingerprint = ((run.document.get("data") or {}).get("fingerprint") or {}).get("train")
    return str(fingerprint) if fingerprint else None


def _common_network(runs: Sequence[Run]) -> NetworkSpec:
    specs = [recorded_network(run) for run in runs]
    if any(spec != specs[0] for spec in specs):
        raise CheckpointError(
            f"{runs[0].path} and {runs[-1].path} are different networks: {specs[0].name} {specs[0].options} and "
            f"{specs[-1].name} {specs[-1].options}",
            "only checkpoints of one architecture can be joined by a line",
        )
    return specs[0]


def _common_data(runs: Sequence[Run], asked: DataSpec | None) -> DataSpec:
    if asked is None and len({_fingerprint(run) for run in runs}) > 1:
        raise UsageError(
            f"{runs[0].path} and {runs[-1].path} were trained on different data",
            "say where to measure: --data NAME",
        )
    if runs:
        return chosen_data(runs[0], asked)
    assert asked is not None
    return asked


def same_network(a: Checkpoint, b: Checkpoint) -> None:
    """Check from the headers that two checkpoints hold tensors of the same names and shapes.

    Raises:
        CheckpointError: If not; the first difference is named.
    """
    shapes = [{n: t.shape for header in c.headers() for n, t in header.tensors.items()} for c in (a, b)]
    for name in sorted(shapes[0].keys() | shapes[1].keys()):
        one, two = shapes[0].get(name), shapes[1].get(name)
        if one != two:
            told = [f"{'has no such tensor' if s is None else f'has shape {s}'}" for s in (one, two)]
            raise CheckpointError(
                f"{a.label} and {b.label} are different networks: tensor '{name}': the first {told[0]}, the second "
                f"{told[1]}",
                "only checkpoints of one architecture can be joined by a line",
            )


def curve(result: PairResult, a: Checkpoint, b: Checkpoint) -> Iterator[dict[str, Any]]:
    """The whole path as records, one a point and split."""
    for point in result.points:
        for split, value in point.results.items():
            yield {
                "kind": "path-point",
                "a": a.label,
                "b": b.label,
                "split": split,
                "alpha": point.alpha,
                "error": value.error,
                "loss": value.loss,
            }
