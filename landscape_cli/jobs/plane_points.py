"""Measuring the places of a plane, each once: points are kept as they are made."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from landscape_cli.compute.weights.plane import Place, extents
from landscape_cli.compute.weights.plane_grid import Node, adaptive, axis, regular
from landscape_cli.compute.weights.plane_walk import (
    LinearField,
    PlaneValues,
    PlaneWalk,
    corner_references,
    linear_field,
    values,
)
from landscape_cli.jobs.bench import Setup
from landscape_cli.jobs.plane_results import Axis, Found
from landscape_cli.jobs.plane_settings import PlaneJob, PlaneSettings
from landscape_cli.jobs.plane_spans import Spanned
from landscape_cli.store.cache import PointCache

VERSION = 1  # of the measurement: raised when its numbers change, so that kept points are not mixed

Progress = Callable[[int, int], None]


class Meter:
    """Measures places of a plane, each once, and keeps what it found."""

    def __init__(self, job: PlaneJob, setup: Setup, spanned: Spanned, walk: PlaneWalk, reference: int) -> None:
        bench, settings = job.bench, job.settings
        self.walk, self.setup, self.batch = walk, setup, bench.sampling.batch
        self.splits = bench.sampling.splits
        identity = {
            "version": VERSION,
            "corners": [subject.checkpoint.hash() for subject in spanned.corners],
            **spanned.origin,
            **bench.identity(setup, settings.batch_norm),
            "reference": reference,
        }
        self._cache = PointCache("plane", identity, fresh=settings.fresh)
        self.known: dict[Place, Found] = {}
        for document in self._cache.read():
            found: Found = {name: PlaneValues(**document["results"][name]) for name in self.splits}
            self.known[document["x"], document["y"]] = found
        self._kept = frozenset(self.known)
        self.reused = 0
        self._place = spanned.plane.places[reference]
        self._references: dict[str, Any] | None = None

    @property
    def references(self) -> dict[str, Any]:
        """Log-probabilities at the reference, made when they are first needed."""
        if self._references is None:
            self._references = corner_references(self.walk, self._place, self.setup.splits, batch=self.batch)
        return self._references

    def linearized_at(self, corner: int) -> dict[str, LinearField]:
        """The network linearised at a corner, on every split."""
        place = self.walk.plane.places[corner]
        return {
            split: linear_field(self.walk, place, samples, batch=self.batch)
            for split, samples in self.setup.splits.items()
        }

    def measure(self, place: Place) -> Found:
        """What the network does at a place, on every split."""
        if place in self.known:
            self.reused += place in self._kept
            return self.known[place]
        references = self.references
        network = self.walk.go(*place)
        found = {
            name: values(network, samples, references[name], batch=self.batch)
            for name, samples in self.setup.splits.items()
        }
        self.known[place] = found
        self._cache.add({"x": place[0], "y": place[1], "results": {name: asdict(v) for name, v in found.items()}})
        return found


def measured(
    meter: Meter, settings: PlaneSettings, spanned: Spanned, before: int, total: int, progress: Progress
) -> tuple[Axis, Axis, dict[Node, Found]]:
    """The axes of the lattice, and what was found at its nodes."""
    x_range, y_range = extents(spanned.places, spanned.margin)
    (left, right), (low, high) = settings.x or x_range, settings.y or y_range
    columns, rows = settings.grid
    fine = 2**settings.levels if settings.adaptive else 1
    x, y = axis(left, right, (columns - 1) * fine), axis(low, high, (rows - 1) * fine)
    nodes: dict[Node, Found] = {}

    def visit(node: Node) -> Mapping[str, float]:
        nodes[node] = meter.measure((float(x[node[0]]), float(y[node[1]])))
        return {f"{split}_{m}": getattr(found, m) for split, found in nodes[node].items() for m in ("error", "loss")}

    def walked() -> Iterator[object]:
        if not settings.adaptive:
            return (visit(node) for node in regular(columns, rows))
        return adaptive(
            visit, columns, rows, budget=settings.points, levels=settings.levels, tolerance=settings.tolerance
        )

    for done, _ in enumerate(walked(), start=1):
        progress(before + done, total)
    return x, y, nodes


def linearized(
    meter: Meter, fields: Mapping[str, LinearField], x: Axis, y: Axis, nodes: Mapping[Node, Found]
) -> tuple[dict[Node, Found], list[Found]]:
    """The linearised network at the same nodes and at the anchors: arithmetic on three sets of logits."""
    plane = meter.walk.plane

    def at(place: Place) -> Found:
        shares = plane.shares(*place)
        return {
            split: field.values(shares, meter.setup.splits[split], meter.references[split], batch=meter.batch)
            for split, field in fields.items()
        }

    if not fields:
        return {}, []
    found = {node: at((float(x[node[0]]), float(y[node[1]]))) for node in nodes}
    return found, [at(place) for place in plane.places]
