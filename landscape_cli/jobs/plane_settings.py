"""Which plane is to be measured, which part of it, how finely, and with what."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from landscape_cli.compute.choices import BatchNormMode
from landscape_cli.compute.weights.plane_choices import Corner, Directions
from landscape_cli.compute.weights.plane_grid import LEVELS, POINTS, TOLERANCE
from landscape_cli.errors import UsageError
from landscape_cli.jobs.bench import Bench
from landscape_cli.jobs.pairs import Subject
from landscape_cli.jobs.plane_spans import ROLES, Track, check_directions, track_of


@dataclass(frozen=True)
class PlaneSettings:
    """Which part of which plane, and how finely.

    Args:
        directions: What spans it beside one or two networks.
        grid: Columns and rows of the grid.
        adaptive: Divide cells where the values change.
        budget: Points in all then; None for twice the grid's.
        levels: How often a cell can be divided.
        tolerance: The change, as a share of a value's range, below which a cell is left.
        margin: Room around the networks, as a share of their extent; around one network in units of the directions.
        x: The range of x, in place of that.
        y: The range of y.
        reference: The corner that function distance is measured to.
        linearize: The corner whose linearised network is measured too.
        batch_norm: What happens to batch-norm statistics on the plane.
        fresh: Measure again what is already known, and overwrite.
    """

    directions: Directions | None = None
    grid: tuple[int, int] = (POINTS, POINTS)
    adaptive: bool = False
    budget: int | None = None
    levels: int = LEVELS
    tolerance: float = TOLERANCE
    margin: float | None = None
    x: tuple[float, float] | None = None
    y: tuple[float, float] | None = None
    reference: Corner = "A"
    linearize: Corner | None = None
    batch_norm: BatchNormMode = "recompute"
    fresh: bool = False

    @property
    def points(self) -> int:
        """Points of the plane at most."""
        columns, rows = self.grid
        if not self.adaptive:
            return columns * rows
        return max(columns * rows, self.budget or 2 * columns * rows)

    def identity(self) -> dict[str, Any]:
        """The settings that a result depends on."""
        own = asdict(self)
        unused = {"fresh"} | (set() if self.adaptive else {"budget", "levels", "tolerance"})
        return {name: list(v) if isinstance(v, tuple) else v for name, v in own.items() if name not in unused}


@dataclass(frozen=True, eq=False)
class PlaneJob:
    """One plane to measure.

    Args:
        bench: Networks and samples.
        subjects: One, two or three checkpoints.
        trajectories: Runs to be seen from the plane.
        settings: Which part of which plane.
        out: The file that gets it.
        command: The command line, for the record.
        note: Told what a user should know.
    """

    bench: Bench
    subjects: Sequence[Subject]
    trajectories: Sequence[Path]
    settings: PlaneSettings
    out: Path
    command: str = ""
    note: Callable[[str], None] = lambda text: None

    def corner(self, role: Corner | None, option: str) -> int:
        """The number of a corner that an option names.

        Raises:
            UsageError: If there is no such network.
        """
        number = ROLES.index(role or "A")
        if number >= len(self.subjects):
            raise UsageError(f"{option} {role}: there are {len(self.subjects)} networks", f"say {option} A")
        return number

    def tracks(self) -> list[Track]:
        """The trajectories; for the principal plane of a run's own trajectory that one."""
        paths = list(self.trajectories)
        run = self.subjects[0].run
        if self.settings.directions == "pca" and not paths and run is not None:
            paths = [run.path]
        return [track_of(path) for path in paths]

    def chosen_directions(self) -> Directions | None:
        """What spans the plane beside the networks.

        Raises:
            UsageError: If the options do not go together.
        """
        if self.settings.budget is not None and not self.settings.adaptive:
            raise UsageError("--budget is of adaptive grids", "add --adaptive, or leave --budget out")
        return check_directions(self.subjects, self.settings.directions, len(self.trajectories))
