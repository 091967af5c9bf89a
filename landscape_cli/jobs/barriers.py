"""Measuring barriers between checkpoints on disk: along the line between them, or layer by layer."""

import fnmatch
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from landscape_cli.compute.choices import BatchNormMode, Side
from landscape_cli.compute.device import math_mode
from landscape_cli.compute.evaluation import Evaluation, evaluate, forward_operations
from landscape_cli.compute.samples import Samples
from landscape_cli.compute.weights.barrier import (
    POINTS,
    REFINE,
    UNIT,
    PathPoint,
    Span,
    barriers,
    grid,
    measure_on,
    search,
)
from landscape_cli.compute.weights.curves import CurvePath
from landscape_cli.compute.weights.distances import by_layer
from landscape_cli.compute.weights.interpolation import LinearPath, Path, Prepared
from landscape_cli.compute.weights.repair import RepairedPath
from landscape_cli.errors import CheckpointError, UsageError
from landscape_cli.jobs.bench import Bench, Setup
from landscape_cli.jobs.curve_runs import Curve
from landscape_cli.jobs.pairs import Subject
from landscape_cli.jobs.path_ends import PathEnds, Results, Statistics
from landscape_cli.store.cache import PointCache
from landscape_cli.store.checkpoints import Checkpoint

VERSION = 1  # of the measurement: raised when its numbers change, so that kept points are not mixed

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class BarrierSettings:
    """How to measure a barrier.

    Args:
        points: Points of the grid from 0 to 1.
        refine: Rounds of the finer search around each maximum.
        batch_norm: What happens to batch-norm statistics on the path.
        span: From which α to which; the line goes on beyond the two networks.
        layers: Patterns of layers that are moved one at a time; None moves all at once.
        others: At which network the other layers stay meanwhile.
        repair: Whether units between the ends get the statistics between theirs (networks without batch norm).
        fresh: Measure again what is already known.
    """

    points: int = POINTS
    refine: int = REFINE
    batch_norm: BatchNormMode = "recompute"
    span: Span = UNIT
    layers: tuple[str, ...] | None = None
    others: Side = "a"
    repair: bool = False
    fresh: bool = False


@dataclass(frozen=True)
class PathResult:
    """What was measured on one path between two checkpoints.

    Args:
        records: One a split.
        points: The whole path, by α.
        reused: How many points were known before.
        layer: The layer that moved, if only one did.
        along: The curve that was walked, if it was no line.
    """

    records: list[dict[str, Any]]
    points: list[PathPoint]
    reused: int
    layer: str | None = None
    along: str | None = None


class Barriers:
    """Measures barriers of many pairs; what they share is read, laid out and evaluated once.

    Args:
        bench: Networks and samples.
        settings: How to measure.
    """

    def __init__(self, bench: Bench, settings: BarrierSettings) -> None:
        self.bench = bench
        self.settings = settings
        self.ends = PathEnds(bench, fresh=settings.fresh)

    def paths(self, first: Subject, second: Subject, progress: Progress | None = None) -> Iterator[PathResult]:
        """The line between two checkpoints, or a path a layer if the settings say so, each as it is done.

        Raises:
            CheckpointError: If one is damaged, or they are not of one network.
            DataError: If the data does not fit the network.
            UsageError: If it is not known what network or data they belong to, or no layer has such a name.
        """
        if self.settings.layers is None:
            yield self.line(first, second, progress)
            return
        same_network(first.checkpoint, second.checkpoint)
        names = list(self._layers(self.bench.setup((first, second))))
        for number, layer in enumerate(names):

            def tell(done: int, of: int, number: int = number) -> None:
                if progress is not None:
                    progress(number * of + done, len(names) * of)

            yield self.line(first, second, tell, layer=layer)

    def along(self, curve: Curve, progress: Progress | None = None) -> PathResult:
        """A trained curve between two networks, α its t.

        Raises:
            UsageError: If it is to be walked beyond its ends.
            LandscapeError: As :meth:`line`.
        """
        if self.settings.span != UNIT:
            raise UsageError("a curve ends at its two networks", "leave --span out")
        return self.line(curve.first, curve.second, progress, curve=curve)

    def line(
        self,
        first: Subject,
        second: Subject,
        progress: Progress | None = None,
        *,
        layer: str | None = None,
        curve: Curve | None = None,
    ) -> PathResult:
        """The line between two checkpoints; points that were measured before are not measured again.

        Args:
            first: The network at α = 1.
            second: The network at α = 0.
            progress: Told how many points are done, and of how many.
            layer: The only layer that moves; the others stay at the network that the settings name.
            curve: The curve to walk in place of the line.

        Raises:
            CheckpointError: If one is damaged, or they are not of one network.
            DataError: If the data does not fit the network.
            UsageError: If it is not known what network or data they belong to.
        """
        bench, settings, a, b = self.bench, self.settings, first.checkpoint, second.checkpoint
        same_network(a, b)
        setup = bench.setup((first, second))
        identity = {"version": VERSION, "a": a.hash(), "b": b.hash(), **bench.identity(setup, settings.batch_norm)}
        moved = {} if layer is None else {"layer": layer, "others": settings.others}
        walked = {} if curve is None else {"along": str(curve.run.path)}
        held = {} if curve is None else {"curve": curve.hash}
        repair = self.bench.training_samples(setup) if settings.repair else None
        repaired = {} if repair is None else {"repair": len(repair)}
        cache = PointCache("barrier", identity | moved | held | repaired, fresh=settings.fresh)
        known = {p.alpha: p for p in (_point(document, bench.sampling.splits) for document in cache.read())}
        points: list[PathPoint] = []
        with math_mode(bench.where):
            own = self._own(setup, first, second)
            path = self._path(setup, first, second, layer, curve, repair)
            measure = self._sharing(measure_on(path, setup.splits, batch=bench.sampling.batch), setup, first, second,
                                    path, layer)  # fmt: skip
            expected = len(grid(settings.points, settings.span)) + 4 * settings.refine
            for point in search(
                measure, points=settings.points, refine=settings.refine, known=known, span=settings.span
            ):
                points.append(point)
                if point.alpha not in known:
                    cache.add({"alpha": point.alpha, "results": {k: asdict(v) for k, v in point.results.items()}})
                if progress is not None:
                    progress(len(points), max(expected, len(points)))
        points.sort(key=lambda point: point.alpha)
        recomputed = path.mode == "recompute" and setup.statistics is not None
        tail = {
            "points": len(points),
            "grid": settings.points,
            "refine": settings.refine,
            "batch_norm": path.mode,
            "bn_samples": len(setup.statistics) if recomputed and setup.statistics is not None else None,
            **bench.context(setup),
            **common_entries(first, second),
        }
        records = [
            {"kind": "barrier", "a": a.label, "b": b.label, "split": split}
            | moved
            | walked
            | repaired
            | _readings(found)
            | own.get(split, {})
            | {"samples": points[0].results[split].samples}
            | tail
            for split, found in barriers(points).items()
        ]
        reused = sum(point.alpha in known for point in points)
        return PathResult(records, points, reused, layer, walked.get("along"))

    def _path(
        self,
        setup: Setup,
        first: Subject,
        second: Subject,
        layer: str | None,
        curve: Curve | None,
        repair: Samples | None,
    ) -> Path[float]:
        how: dict[str, Any] = {
            "batch_norm": self.settings.batch_norm,
            "statistics": setup.statistics,
            "batch": self.bench.sampling.batch,
        }
        if curve is not None:
            return CurvePath(setup.network, curve.controls, curve.form, **how)
        one, two = (self.ends.prepared(end, setup) for end in (first, second))
        if layer is not None:
            names = self._layers(setup)[layer]
            if self.settings.others == "a":
                two = Prepared({**one.tensors, **{name: two.tensors[name] for name in names}})
            else:
                one = Prepared({**two.tensors, **{name: one.tensors[name] for name in names}})
        if repair is not None:
            return RepairedPath(setup.network, one, two, repair, batch=self.bench.sampling.batch)
        return LinearPath(setup.network, one, two, **how)

    def _layers(self, setup: Setup) -> dict[str, list[str]]:
        """The tensors of each layer that trains and is asked for, with its statistics and what is tied to it."""
        trained = by_layer(name for name, p in setup.network.named_parameters() if p.requires_grad)
        patterns = self.settings.layers or ("*",)
        tied: dict[nn.Parameter, list[str]] = {}
        for name, parameter in setup.network.named_parameters(remove_duplicate=False):
            tied.setdefault(parameter, []).append(name)
        same = {name: names for names in tied.values() for name in names}
        found = {
            layer: [other for name in names for other in same.get(name, [name])]
            for layer, names in by_layer(setup.network.state_dict()).items()
            if layer in trained and any(fnmatch.fnmatchcase(layer, pattern) for pattern in patterns)
        }
        for pattern in patterns:
            if not fnmatch.filter(trained, pattern):
                raise UsageError(f"{setup.spec.name} has no layer '{pattern}'", f"its layers: {', '.join(trained)}")
        return found

    def _own(self, setup: Setup, first: Subject, second: Subject) -> dict[str, dict[str, float]]:
        """The ends' risks under their own batch norm, where the path replaces that."""
        own: dict[str, dict[str, float]] = {}
        if setup.statistics is None or self.settings.batch_norm != "recompute":
            return own
        for side, end in zip("ab", (first, second), strict=True):

            def measure(end: Subject = end) -> Results:
                setup.network.load_state_dict(self.ends.prepared(end, setup).tensors)
                batch = self.bench.sampling.batch
                return {name: evaluate(setup.network, part, batch=batch) for name, part in setup.splits.items()}

            for split, result in self.ends.evaluation(end, setup, "own", measure).items():
                own.setdefault(split, {}).update({f"own_error_{side}": result.error, f"own_loss_{side}": result.loss})
        return own

    def _sharing(
        self,
        measure: Callable[[float], PathPoint],
        setup: Setup,
        first: Subject,
        second: Subject,
        path: Path[float],
        layer: str | None,
    ) -> Callable[[float], PathPoint]:
        """The same function, which takes over from other paths what is known of a checkpoint at an end."""
        statistics: Statistics = "recompute" if path.mode == "recompute" else "own"
        ends = {1.0: first, 0.0: second}
        if path.mode == "keep":  # the second network with the statistics of the path's first
            ends.pop(0.0)
        if layer is not None:  # at one end all layers but one are the other network's
            ends.pop(0.0 if self.settings.others == "a" else 1.0, None)

        def look(alpha: float) -> PathPoint:
            end = ends.get(alpha)
            if end is None:
                return measure(alpha)
            return PathPoint(alpha, self.ends.evaluation(end, setup, statistics, lambda: measure(alpha).results))

        return look

    def plan(self, first: Subject, second: Subject) -> dict[str, Any]:
        """What measuring a pair would cost at most: points, images through the network, operations."""
        settings = self.settings
        same_network(first.checkpoint, second.checkpoint)
        setup = self.bench.setup((first, second))
        points = len(grid(settings.points, settings.span)) + 8 * settings.refine
        if settings.layers is not None:
            points *= len(self._layers(setup))
        images = sum(map(len, setup.splits.values()))
        if setup.statistics is not None and settings.batch_norm == "recompute":
            images += len(setup.statistics)
        if settings.repair:
            images += len(self.bench.training_samples(setup))
        each = forward_operations(setup.network, next(iter(setup.splits.values())))
        return {
            "kind": "plan",
            "a": first.checkpoint.label,
            "b": second.checkpoint.label,
            "network": setup.spec.name,
            "data": setup.data.name,
            "points": points,
            "images": points * images,
            "operations": points * images * each,
        }


def common_entries(first: Subject, second: Subject) -> dict[str, Any]:
    """Step, lineage and unknown entries of two inputs: once where they agree, else None or ``a_…`` and ``b_…``."""
    record: dict[str, Any] = {
        "step": _shared(first.checkpoint.step, second.checkpoint.step),
        "epoch": _shared(first.checkpoint.epoch, second.checkpoint.epoch),
    }
    runs = [{} if (run := s.run) is None else run.record() for s in (first, second)]
    record |= {key: _shared(runs[0].get(key), runs[1].get(key)) for key in ("parent", "spawn_step", "spawn_epoch")}
    for key in dict.fromkeys([*first.extra, *second.extra]):
        if first.extra.get(key) == second.extra.get(key):
            record.setdefault(key, first.extra[key])
        else:
            record |= {f"{side}_{key}": s.extra[key] for side, s in (("a", first), ("b", second)) if key in s.extra}
    return record


def _shared(one: Any, two: Any) -> Any:
    return one if one == two else None


def _readings(found: dict[str, Any]) -> dict[str, float]:
    """The readings of both risks as flat entries, error first."""
    flat: dict[str, float] = {}
    for risk in ("error", "loss"):
        values = asdict(found[risk])
        flat |= {f"{risk}_{key}": values[key] for key in ("sup", "sup_alpha", "mid", "chord", "chord_alpha")}
        flat |= {f"{risk}_a": values["first"], f"{risk}_b": values["second"]}
    return flat | {f"accuracy_{side}": 1 - flat[f"error_{side}"] for side in "ab"}


def _point(document: dict[str, Any], splits: Sequence[str]) -> PathPoint:
    return PathPoint(document["alpha"], {name: Evaluation(**document["results"][name]) for name in splits})


def same_network(a: Checkpoint, b: Checkpoint) -> None:
    """Check from the headers that two checkpoints hold tensors of the same names and shapes.

    Raises:
        CheckpointError: If not; the first difference is named.
    """
    one, two = ({n: t.shape for header in c.headers() for n, t in header.tensors.items()} for c in (a, b))
    for name in sorted(one.keys() | two.keys()):
        if one.get(name) != two.get(name):
            told = ["has no such tensor" if s is None else f"has shape {s}" for s in (one.get(name), two.get(name))]
            raise CheckpointError(
                f"{a.label} and {b.label} are different networks: tensor '{name}': the first {told[0]}, the second "
                f"{told[1]}",
                "only checkpoints of one architecture can be joined by a line",
            )


def with_context(
    record: dict[str, Any], a: Subject, b: Subject, first: Mapping[str, Any], second: Mapping[str, Any]
) -> dict[str, Any]:
    """A pair's record, and how its sides were measured: None where that differs; then their common entries."""
    record = record | {key: value if second.get(key) == value else None for key, value in first.items()}
    return record | {key: value for key, value in common_entries(a, b).items() if key not in record}


def path_points(result: PathResult, a: Checkpoint, b: Checkpoint) -> Iterator[dict[str, Any]]:
    """The whole path as records, one a point and split."""
    for point in result.points:
        for split, value in point.results.items():
            yield (
                {"kind": "path-point", "a": a.label, "b": b.label, "split": split}
                | ({} if result.layer is None else {"layer": result.layer})
                | ({} if result.along is None else {"along": result.along})
                | {"alpha": point.alpha, "error": value.error, "accuracy": 1 - value.error, "loss": value.loss}
            )
