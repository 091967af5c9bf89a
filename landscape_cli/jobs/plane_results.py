"""What a measured plane is written as: arrays over its lattice, tables of its corners and trajectories, a summary."""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landscape_cli.compute.weights.plane import Plane
from landscape_cli.compute.weights.plane_grid import Node
from landscape_cli.compute.weights.plane_walk import PlaneValues
from landscape_cli.jobs.model_columns import model_name
from landscape_cli.jobs.pairs import Subject
from landscape_cli.jobs.plane_spans import ROLES, Spanned, Track
from landscape_cli.store.planes import StoredPlane, Values

MEASURES = ("error", "loss", "disagreement", "distance")

Found = dict[str, PlaneValues]
Axis = NDArray[np.float64]


def seen_from(plane: Plane, track: Track) -> Iterator[dict[str, Any]]:
    """Where the checkpoints of a trajectory stand above the plane."""
    for checkpoint in track.checkpoints:
        x, y, off = plane.project(checkpoint.tensors())
        row = {"run": track.name, "name": model_name(Subject(checkpoint)), "step": checkpoint.step}
        yield row | {"epoch": checkpoint.epoch, "x": x, "y": y, "off": off}


def mask(x: Axis, y: Axis, nodes: Mapping[Node, Found]) -> NDArray[np.bool_]:
    """Which nodes of the lattice were measured."""
    measured = np.zeros((len(y), len(x)), dtype=bool)
    for column, row in nodes:
        measured[row, column] = True
    return measured


def arrays(x: Axis, y: Axis, nodes: Mapping[Node, Found], linear: Mapping[Node, Found]) -> Values:
    """``(row, column)`` by split and measure."""
    made: Values = {}
    for prefix, found in (("", nodes), ("linearized_", linear)):
        for (column, row), results in found.items():
            for split, value in results.items():
                part = made.setdefault(split, {})
                for measure in MEASURES:
                    name = prefix + measure
                    if name not in part:
                        part[name] = np.full((len(y), len(x)), np.nan)
                    part[name][row, column] = getattr(value, measure)
    return made


def corner_rows(spanned: Spanned, found: Sequence[Found], linear: Sequence[Found]) -> list[dict[str, Any]]:
    """One row a network that spans the plane: where it stands and what it does."""
    rows = []
    for number, subject in enumerate(spanned.corners):
        x, y = spanned.plane.places[number]
        row: dict[str, Any] = {"role": ROLES[number], "name": model_name(subject), "x": x, "y": y}
        for prefix, results in (("", found), ("linearized_", linear)):
            if number < len(results):
                for split, value in results[number].items():
                    row |= {f"{split}_{prefix}{measure}": getattr(value, measure) for measure in MEASURES}
        rows.append(row)
    return rows


def summary(spanned: Spanned, stored: StoredPlane, seen: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The numbers of a plane for its record; of two splits those of test."""
    plane, split = spanned.plane, "test" if "test" in stored.splits else stored.splits[0]
    of_split = stored.values[split]
    record: dict[str, Any] = {
        "directions": spanned.origin["directions"] or "networks",
        "split": split,
        "points": int(stored.measured.sum()),
        "not_finite": int((~np.isfinite(of_split["loss"][stored.measured])).sum()),
        "x": [float(stored.x[0]), float(stored.x[-1])],
        "y": [float(stored.y[0]), float(stored.y[-1])],
        "units": spanned.units,
    }
    rows = stored.corners.rows()
    for measure in ("error", "loss", "linearized_error", "linearized_loss"):
        if measure in of_split:
            record |= {f"{measure}_{row['role'].lower()}": row.get(f"{split}_{measure}", math.nan) for row in rows}
            known = of_split[measure][stored.measured]
            known = known[np.isfinite(known)]
            record[f"{measure}_min"] = float(known.min()) if len(known) else math.nan
            record[f"{measure}_max"] = float(known.max()) if len(known) else math.nan
    for one, two in ((0, 1), (0, 2), (1, 2)):
        if two < len(rows):
            step = [plane.places[two][k] - plane.places[one][k] for k in range(2)]
            record[f"distance_{ROLES[one]}{ROLES[two]}".lower()] = plane.length(step[0], step[1])
    if seen:
        record |= {"trajectory_points": len(seen), "trajectory_off_max": max(row["off"] for row in seen)}
    if spanned.explained:
        record["explained"] = list(spanned.explained[:2])
    return record
