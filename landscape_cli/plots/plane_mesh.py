"""A measured plane as triangles: a regular or adaptive lattice, and values between its nodes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from landscape_cli.errors import UsageError
from landscape_cli.store.planes import StoredPlane

PANELS = ("error", "loss", "distance", "linearized_error")  # drawn unless others are asked for
UNITS = {"error": " (%)", "loss": " (nats)", "disagreement": " (%)", "distance": ""}
WIDE = 10.0  # ratio of losses from which on a logarithmic scale is drawn unless told otherwise

Cell = tuple[int, int, int]  # column, row, size


@dataclass(frozen=True)
class Shown:
    """One value to draw.

    Args:
        split: Of which split.
        measure: Which, as the file names it.
        log: Whether on a logarithmic scale.
        reference: The corner that distances are measured to.
        linearized: The corner of the linearised network.
    """

    split: str
    measure: str
    log: bool
    reference: str = "A"
    linearized: str = ""

    @property
    def plain(self) -> str:
        """The measure, whether linearised or not."""
        return self.measure.removeprefix("linearized_")

    @property
    def title(self) -> str:
        """What it is, and its unit."""
        distance = {"distance": "function distance", "disagreement": f"{self.split} disagreement"}.get(self.plain)
        name = f"{distance} to {self.reference}" if distance else f"{self.split} {self.plain}"
        after = f", linearised at {self.linearized}" if self.measure != self.plain else ""
        return name[0].upper() + name[1:] + UNITS[self.plain] + after

    def of(self, plane: StoredPlane) -> NDArray[np.float64]:
        """``(row, column)``, shares in percent."""
        return self.scaled(plane.values[self.split][self.measure])

    def scaled(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Stored values as they are drawn."""
        return 100 * values if self.plain in ("error", "disagreement") else values

    @property
    def column(self) -> str:
        """The column of the corners' table that holds it."""
        return f"{self.split}_{self.measure}"


def chosen(plane: StoredPlane, names: Sequence[str] | None, log: bool | None) -> list[Shown]:
    """The values to draw: those asked for, else error, loss, function distance and the linearised error.

    Args:
        plane: The plane.
        names: As in ``loss`` or ``train_loss``; without a split it is test, if that was measured.
        log: Whether losses are on a logarithmic scale; None if they span a power of ten.

    Raises:
        UsageError: If one was not measured, or a logarithm was asked for where no loss is drawn.
    """
    default = "test" if "test" in plane.splits else plane.splits[0]
    there = {f"{split}_{m}": (split, m) for split, part in plane.values.items() for m in part}
    found = []
    for name in names or [name for name in PANELS if f"{default}_{name}" in there]:
        split, measure = there.get(name) or there.get(f"{default}_{name}") or ("", "")
        if not measure:
            known = ", ".join(plane.values[default])
            raise UsageError(f"'{name}' was not measured on this plane", f"it has {known}")
        attributes = plane.attributes
        shown = Shown(
            split, measure, False, str(attributes.get("reference", "A")), str(attributes.get("linearized", ""))
        )
        if shown.plain == "loss":
            values = shown.of(plane)[plane.measured]
            values = values[np.isfinite(values) & (values > 0)]
            wide = bool(len(values) and values.max() > WIDE * values.min())
            wanted = bool(len(values)) and (wide if log is None else log)
            shown = Shown(split, measure, wanted, shown.reference, shown.linearized)
        found.append(shown)
    if log is not None and not any(shown.plain == "loss" for shown in found):
        raise UsageError("--log and --linear are of losses, and none is drawn", "leave it out, or add loss to --color")
    return found


def names_of(plane: StoredPlane) -> list[str]:
    """All values of a plane, those that are drawn by default first."""
    first = "test" if "test" in plane.splits else plane.splits[0]
    order = {name: number for number, name in enumerate(("loss", "error", "distance", "linearized_error"))}
    there = [(split, name) for split, part in plane.values.items() for name in part]
    there.sort(key=lambda one: (one[0] != first, order.get(one[1], len(order)), one[1]))
    return [f"{split}_{name}" for split, name in there]


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles over the nodes of a lattice and the centres of its cells.

    Args:
        x: Of the vertices.
        y: Of the vertices.
        triangles: Three vertices each.
        nodes: ``(row, column)`` of those vertices that are nodes; they come first.
        centres: For each further vertex, the four corners of its cell, as numbers of vertices.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    triangles: NDArray[np.int64]
    nodes: tuple[NDArray[np.int64], NDArray[np.int64]]
    centres: NDArray[np.int64]

    def values(self, lattice: NDArray[np.float64], *, log: bool = False) -> NDArray[np.float64]:
        """The values of all vertices: a centre's is the mean of its cell's corners, of their logarithms with ``log``.

        With ``log`` a loss of zero stands at the lowest one that has a logarithm.
        """
        at_nodes = lattice[self.nodes]
        with np.errstate(invalid="ignore", divide="ignore"):
            if log:
                lowest = at_nodes[at_nodes > 0].min(initial=np.inf)
                at_nodes = np.where(at_nodes == 0, lowest, at_nodes)
                return np.concatenate([at_nodes, np.exp(np.log(at_nodes)[self.centres].mean(1))])
            return np.concatenate([at_nodes, at_nodes[self.centres].mean(1)])


def mesh(plane: StoredPlane) -> Mesh:
    """Triangles over a plane: each undivided cell is a fan around its centre through all measured nodes on its rim.

    Finer cells beside a coarse one leave nodes on its rim; the fan takes them in, so that the surface has no cracks.
    """
    rows, columns = np.nonzero(plane.measured)
    number = np.full(plane.measured.shape, -1)
    number[rows, columns] = np.arange(len(rows))
    triangles: list[tuple[int, int, int]] = []
    centres: list[list[int]] = []
    xs, ys = [plane.x[columns]], [plane.y[rows]]
    middle = []
    for column, row, size in leaves(plane.measured, plane.stride):
        steps = range(size)
        rim = [(row, column + k) for k in steps] + [(row + k, column + size) for k in steps]
        rim += [(row + size, column + size - k) for k in steps] + [(row + size - k, column) for k in steps]
        ring = [int(number[node]) for node in rim if number[node] >= 0]
        centre = len(rows) + len(centres)
        centres.append([int(number[row + j * size, column + i * size]) for j in range(2) for i in range(2)])
        middle.append(((column, column + size), (row, row + size)))
        triangles += [(centre, ring[k - 1], ring[k]) for k in range(len(ring))]
    xs.append(np.asarray([plane.x[list(across)].mean() for across, _ in middle]))
    ys.append(np.asarray([plane.y[list(up)].mean() for _, up in middle]))
    return Mesh(np.concatenate(xs), np.concatenate(ys), np.asarray(triangles), (rows, columns), np.asarray(centres))


def leaves(measured: NDArray[np.bool_], stride: int) -> list[Cell]:
    """The undivided cells of a lattice of which some nodes are measured: those whose centre is not."""
    rows, columns = measured.shape
    found: list[Cell] = []
    waiting = [(column, row, stride) for row in range(0, rows - 1, stride) for column in range(0, columns - 1, stride)]
    while waiting:
        column, row, size = waiting.pop()
        half = size // 2
        if half and measured[row + half, column + half]:
            waiting += [(column + i * half, row + j * half, half) for j in range(2) for i in range(2)]
        else:
            found.append((column, row, size))
    return found


def height(plane: StoredPlane, lattice: NDArray[np.float64], x: float, y: float) -> float:
    """The value at a place, bilinear over its undivided cell; NaN beyond the grid."""
    if not (plane.x[0] <= x <= plane.x[-1] and plane.y[0] <= y <= plane.y[-1]):
        return float("nan")
    size = plane.stride
    last = [len(axis) - 1 - size for axis in (plane.x, plane.y)]
    column, row = (
        min(int(np.searchsorted(axis, value, side="right") - 1) // size * size, end)
        for axis, value, end in ((plane.x, x, last[0]), (plane.y, y, last[1]))
    )
    while size > 1 and plane.measured[row + size // 2, column + size // 2]:
        size //= 2
        column += size * (x >= plane.x[column + size])
        row += size * (y >= plane.y[row + size])
    across = (x - plane.x[column]) / (plane.x[column + size] - plane.x[column])
    up = (y - plane.y[row]) / (plane.y[row + size] - plane.y[row])
    low, high = ((1 - across) * lattice[r, column] + across * lattice[r, column + size] for r in (row, row + size))
    return float((1 - up) * low + up * high)


def axis_labels(plane: StoredPlane) -> tuple[str, str]:
    """What x and y are."""
    attributes = plane.attributes
    directions = str(attributes.get("directions", "networks"))
    if directions == "pca":
        shares = [100 * float(share) for share in attributes["explained"][:2]]
        return tuple(  # type: ignore[return-value]
            f"{which} principal component ({share:.1f} % of the variance)"
            for which, share in zip(("first", "second"), shares, strict=True)
        )
    if attributes.get("units") == "directions":
        names = ("along the gradient", "along a random direction") if directions == "gradient" else None
        first, second = names or ("along the first random direction", "along the second")
        return f"{first}, filter-normalised", f"{second}, filter-normalised"
    other = {"gradient": "towards the gradient", "random": "along a random direction"}.get(directions)
    return "distance from A towards B", f"distance {other}" if other else "distance from the line A–B, towards C"
