"""Who is who in a folder of runs: parents, children, linearised runs, checkpoints of other tools. Knows no torch."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from landscape_cli.errors import CheckpointError
from landscape_cli.jobs.lineage import beginning_of
from landscape_cli.store.checkpoints import Checkpoint
from landscape_cli.store.curves import is_curve
from landscape_cli.store.locate import checkpoints_of
from landscape_cli.store.runs import Run, is_run


@dataclass(frozen=True)
class Cast:
    """The runs of a report by what they are to each other.

    Args:
        parents: Runs of their own, those with the most children first.
        children: Runs spawned from a parent to be trained as it was.
        linearized: Runs trained in a tangent space.
        low_rate: Runs trained from there at the same low rate, as pairs of the linearised ones.
        foreign: Folders and files of checkpoints that are no runs.
        left_out: What is drawn nowhere, and why.
    """

    parents: tuple[Run, ...] = ()
    children: tuple[Run, ...] = ()
    linearized: tuple[Run, ...] = ()
    low_rate: tuple[Run, ...] = ()
    foreign: tuple[Path, ...] = ()
    left_out: tuple[tuple[str, str], ...] = ()

    @property
    def networks(self) -> tuple[Run, ...]:
        """Runs whose predictions are compared: parents and children."""
        return (*self.parents, *self.children)

    @property
    def runs(self) -> tuple[Run, ...]:
        """All of them."""
        return (*self.parents, *self.children, *self.linearized, *self.low_rate)

    def siblings(self) -> dict[tuple[str, int], list[Run]]:
        """Children by their parent's path and spawn step, where there are two or more."""
        found: dict[tuple[str, int], list[Run]] = {}
        for child in self.children:
            lineage = child.lineage or {}
            parent = "" if child.parent is None else str(child.parent.resolve())
            found.setdefault((parent, int(lineage.get("step", 0))), []).append(child)
        return {key: runs for key, runs in found.items() if len(runs) > 1}


@dataclass
class _Sorting:
    found: dict[Path, Run] = field(default_factory=dict)
    foreign: list[Path] = field(default_factory=list)
    left_out: list[tuple[str, str]] = field(default_factory=list)


def cast_of(places: Iterable[Path]) -> Cast:
    """Sort what lies at some places: runs, folders of runs (at any depth), checkpoints of other tools.

    Raises:
        CheckpointError: If a place holds none of these.
    """
    sorting = _Sorting()
    for place in places:
        runs = [place] if is_run(place) else _runs_in(place) if place.is_dir() else []
        if not runs:
            if not checkpoints_of(place):
                raise CheckpointError(f"{place} holds no runs and no checkpoints")
            sorting.foreign.append(place)
        for path in runs:
            _take(sorting, path)
    by_parent: dict[Path, int] = {}
    parents, children, linearized = [], [], []
    for run in sorting.found.values():
        lineage = run.lineage
        if lineage is None:
            parents.append(run)
        elif lineage.get("linearized"):
            linearized.append(run)
        else:
            children.append(run)
        if run.parent is not None:
            by_parent[run.parent.resolve()] = by_parent.get(run.parent.resolve(), 0) + 1
    parents.sort(key=lambda run: -by_parent.get(run.path.resolve(), 0))
    partners = {beginning_of(run) for run in linearized}
    return Cast(
        parents=tuple(parents),
        children=tuple(run for run in children if beginning_of(run) not in partners),
        linearized=tuple(linearized),
        low_rate=tuple(run for run in children if beginning_of(run) in partners),
        foreign=tuple(sorting.foreign),
        left_out=tuple(sorting.left_out),
    )


def _runs_in(folder: Path) -> list[Path]:
    found = []
    for child in sorted(folder.iterdir()):
        if is_run(child):
            found.append(child)
        elif child.is_dir() and not child.name.startswith("."):
            found += _runs_in(child)
    return found


def _take(sorting: _Sorting, path: Path) -> None:
    try:
        run = Run.open(path)
    except CheckpointError as error:
        sorting.left_out.append((str(path), error.message))
        return
    if is_curve(run):
        sorting.left_out.append((str(path), "a curve between two networks: 'landscape barrier --along' measures it"))
    elif not run.steps():
        sorting.left_out.append((str(path), "it has no checkpoint yet"))
    elif run.status == "diverged":
        sorting.left_out.append((str(path), "it diverged"))
    else:
        sorting.found[path.resolve()] = run


def state_of(run: Run) -> dict[str, Any]:
    """What a result made from a run depends on: its checkpoints, by their steps and the contents of the last."""
    try:
        last = run.checkpoints()[-1].hash()
    except CheckpointError:  # damaged: the commands that read it say so, and the rest of the report is made
        last = None
    return {"path": str(run.path.resolve()), "steps": run.steps(), "last": last}


def state_of_files(checkpoints: Sequence[Checkpoint]) -> list[Any]:
    """The same of checkpoints of other tools: their names, sizes and times."""
    return [
        [str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns] for c in checkpoints for file in c.files
    ]
