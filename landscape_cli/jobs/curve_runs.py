"""Finished curves on disk."""

from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from landscape_cli.compute.weights.curve_choices import CurveForm
from landscape_cli.errors import CheckpointError
from landscape_cli.jobs.curve_specs import controls_of, form_of
from landscape_cli.jobs.pairs import Subject
from landscape_cli.store.curves import curve_points, is_curve
from landscape_cli.store.runs import Run


@dataclass(frozen=True, eq=False)
class Curve:
    """A finished curve on disk.

    Args:
        run: Its run.
        form: ``bezier`` or ``chain``.
        controls: The states of its control points, the first at t = 1.
        hash: Of what holds them.
        first: The network at t = 1.
        second: The network at t = 0.
    """

    run: Run
    form: CurveForm
    controls: list[dict[str, Tensor]]
    hash: str
    first: Subject
    second: Subject


def open_curve(path: Path) -> Curve:
    """Read a finished curve.

    Raises:
        CheckpointError: If there is no curve, or it is not finished.
    """
    run = Run.open(path)
    if not is_curve(run):
        raise CheckpointError(f"{path} is a run, no curve", "curves are made by 'landscape curve A B --out CURVE'")
    points = curve_points(run)
    held = run.checkpoint(run.steps()[-1])
    form, bends = form_of(run)
    ends = (Subject(points[-1], "t=1"), Subject(points[0], "t=0"))
    return Curve(run, form, controls_of(held.tensors(), bends), held.hash(), *ends)
