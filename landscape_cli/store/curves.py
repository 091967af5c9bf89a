"""Curves on disk: a run whose checkpoints hold the control points, and beside them the curve's points as networks."""

import re
from pathlib import Path

from landscape_cli.errors import CheckpointError, UsageError
from landscape_cli.store.checkpoints import Checkpoint
from landscape_cli.store.runs import POINTS, Run
from landscape_cli.times import Time

_POINT_FILE = re.compile(r"t-([0-9]\.[0-9]+)\.safetensors")


def is_curve(run: Run) -> bool:
    """Whether a run trained a curve between two networks, not a network."""
    return "curve" in ((run.document.get("config") or {}).get("network") or {})


def point_file(run: Run, t: float) -> Path:
    """Where the network at a point of a curve lies."""
    return run.path / POINTS / f"t-{t:.6f}.safetensors"


def curve_points(run: Run) -> list[Checkpoint]:
    """The networks along a curve, from t = 0 (the second end) to t = 1 (the first).

    Raises:
        CheckpointError: If the curve is not finished.
    """
    found = (_POINT_FILE.fullmatch(file.name) for file in (run.path / POINTS).glob("t-*.safetensors"))
    times = sorted(float(match[1]) for match in found if match)
    if not times or (times[0], times[-1]) != (0.0, 1.0):  # they are written in this order
        raise CheckpointError(
            f"{run.path} is a curve that is not finished", "continue it with the command that began it"
        )
    return [
        Checkpoint(path=file, files=(file,), run=run.path, called=f"{run.path}@t={t:g}")
        for t in times
        for file in [point_file(run, t)]
    ]


def point_at(run: Run, time: Time | None) -> Checkpoint:
    """The network at one point of a curve.

    Raises:
        UsageError: If no point is named.
        CheckpointError: If there is no network at that point.
    """
    points = curve_points(run)
    shown = ", ".join((point.called or "").rpartition("@")[2] for point in points)
    if time is None or time.unit != "t":
        raise UsageError(
            f"{run.path} is a curve between networks: one of its points is meant by {run.path}@t=0.5",
            f"it has {shown}; --at all means all of them",
        )
    for point in points:
        if point.path == point_file(run, float(time.value)):
            return point
    raise CheckpointError(f"{run.path} has no network at {time}", f"it has {shown}")
