"""Measuring barriers between checkpoints on disk."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from landscape_cli.compute.choices import BatchNormMode
from landscape_cli.compute.device import math_mode
from landscape_cli.compute.evaluation import Evaluation, evaluate, forward_operations
from landscape_cli.compute.weights.barrier import POINTS, REFINE, PathPoint, barriers, grid, measure_on, search
from landscape_cli.compute.weights.interpolation import LinearPath
from landscape_cli.errors import CheckpointError
from landscape_cli.jobs.bench import Bench, Setup
from landscape_cli.jobs.pairs import Subject
from landscape_cli.jobs.subjects import load_state
from landscape_cli.store.cache import PointCache
from landscape_cli.store.checkpoints import Checkpoint

VERSION = 1  # of the measurement: raised when its numbers change, so that kept points are not mixed

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class BarrierSettings:
    """How to measure a barrier.

    Args:
        points: Points of the grid.
        refine: Rounds of the finer search around each maximum.
        batch_norm: What happens to batch-norm statistics on the path.
        fresh: Measure again what is already known.
    """

    points: int = POINTS
    refine: int = REFINE
    batch_norm: BatchNormMode = "recompute"
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


def measure_pair(
    bench: Bench, first: Subject, second: Subject, settings: BarrierSettings, progress: Progress | None = None
) -> PairResult:
    """Measure the path between two checkpoints; points that were measured before are not measured again.

    Raises:
        CheckpointError: If one is damaged, or they are not of one network.
        DataError: If the data does not fit the network.
        UsageError: If it is not known what network or data they belong to.
    """
    a, b = first.checkpoint, second.checkpoint
    same_network(a, b)
    setup = bench.setup((first, second))
    identity = {"version": VERSION, "a": a.hash(), "b": b.hash(), **bench.identity(setup, settings.batch_norm)}
    cache = PointCache("barrier", identity, fresh=settings.fresh)
    known = {p.alpha: p for p in (_point(document, bench.sampling.splits) for document in cache.read())}
    points: list[PathPoint] = []
    with math_mode(bench.where):
        own, path = _walker(bench, setup, settings, a, b)
        measure = measure_on(path, setup.splits, batch=bench.sampling.batch)
        expected = len(grid(settings.points)) + 4 * settings.refine
        for point in search(measure, points=settings.points, refine=settings.refine, known=known):
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
        | _readings(found)
        | own.get(split, {})
        | {"samples": points[0].results[split].samples}
        | tail
        for split, found in barriers(points).items()
    ]
    return PairResult(records, points, reused=sum(point.alpha in known for point in points))


def _walker(
    bench: Bench, setup: Setup, settings: BarrierSettings, a: Checkpoint, b: Checkpoint
) -> tuple[dict[str, dict[str, float]], LinearPath]:
    """The path between two checkpoints, and their risks under their own batch norm where the path replaces that."""
    own: dict[str, dict[str, float]] = {}
    states = (a.tensors(), b.tensors())
    for name, state, end in zip("ab", states, (a, b), strict=True):
        load_state(setup.network, state, end.label)
        if setup.statistics is not None and settings.batch_norm == "recompute":
            for split, samples in setup.splits.items():
                result = evaluate(setup.network, samples, batch=bench.sampling.batch)
                own.setdefault(split, {}).update({f"own_error_{name}": result.error, f"own_loss_{name}": result.loss})
    path = LinearPath(
        setup.network,
        *states,
        batch_norm=settings.batch_norm,
        statistics=setup.statistics,
        batch=bench.sampling.batch,
    )
    return own, path


def plan_pair(bench: Bench, first: Subject, second: Subject, settings: BarrierSettings) -> dict[str, Any]:
    """What measuring a pair would cost at most: points, images through the network, operations."""
    same_network(first.checkpoint, second.checkpoint)
    setup = bench.setup((first, second))
    points = len(grid(settings.points)) + 8 * settings.refine
    images = sum(map(len, setup.splits.values()))
    if setup.statistics is not None and settings.batch_norm == "recompute":
        images += len(setup.statistics)
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
    return flat


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
