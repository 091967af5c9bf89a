"""What a report consists of: commands that make results, in order, and what each costs. Knows no torch."""

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from landscape_cli.jobs.report_cast import Cast, state_of, state_of_files
from landscape_cli.store.locate import checkpoints_of
from landscape_cli.store.runs import Run

Part = Literal["weights", "predictions"]

POINTS = 11  # of a path; barriers refine beside the highest
KERNEL_PASSES = 60.0  # of an image in a kernel of ten classes: a backward pass a class, and the products
MOST_KERNELS = 16  # checkpoints whose kernels are compared
MOST_FOREIGN = 6  # checkpoints of other tools that are joined by lines


@dataclass(frozen=True)
class Step:
    """One command of a report.

    Args:
        name: What it is called, in files and on the page.
        title: What is measured.
        part: Which of the two figures it belongs to.
        command: Its words, without ``landscape``.
        result: Its file in the report's folder.
        panels: The figures that are drawn of it, each with what it shows; none for results that others are made of.
        captured: Whether the result is what the command prints.
        inputs: What it depends on beside earlier steps.
        after: Steps whose results it reads.
        passes: Forward passes of one image, about.
    """

    name: str
    title: str
    part: Part
    command: tuple[str, ...]
    result: Path
    panels: tuple[tuple[str, str], ...] = ()
    captured: bool = True
    inputs: Any = None
    after: tuple[str, ...] = ()
    passes: float = 0.0

    @property
    def line(self) -> str:
        """The command as a person would type it."""
        words = shlex.join(("landscape", *self.command))
        return f"{words} > {shlex.quote(str(self.result))}" if self.captured else words


@dataclass(frozen=True)
class Settings:
    """What a person may choose of a report's measurements.

    Args:
        split: Whose images.
        samples: Images of barriers and distances; None for all.
        kernel_samples: Images of a kernel.
        common: Words that every measuring command gets: device, precision, network, data, …
        without: Steps to leave out.
    """

    split: str = "test"
    samples: int | None = None
    kernel_samples: int = 100
    common: tuple[str, ...] = ()
    without: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Plan:
    """The steps of a report, and what cannot be had.

    Args:
        steps: In the order in which they are made.
        missing: What there is no panel of: its title, and what it would take.
    """

    steps: tuple[Step, ...]
    missing: tuple[tuple[str, str], ...]


def plan_report(cast: Cast, folder: Path, settings: Settings) -> Plan:
    """What can be measured on these runs, and what cannot and why."""
    steps: list[Step] = []
    missing: list[tuple[str, str]] = []
    for found, lacking in (
        _pairs(cast, folder, settings),
        _kernels(cast, folder, settings),
        _predictions(cast, folder, settings),
    ):
        steps += found
        missing += lacking
    kept = [step for step in steps if step.name not in settings.without]
    usable: list[Step] = []
    for step in kept:  # what reads a step that is left out goes too, and what reads that
        if set(step.after) <= {earlier.name for earlier in usable}:
            usable.append(step)
    return Plan(tuple(usable), tuple(missing))


Found = tuple[list[Step], list[tuple[str, str]]]


def _pairs(cast: Cast, folder: Path, settings: Settings) -> Found:
    """Barriers and distances between siblings; of other tools' checkpoints, between all of a few."""
    siblings = cast.siblings()
    if siblings:
        runs = [run for group in siblings.values() for run in group]
        paths, pairing = [str(run.path) for run in runs], "siblings"
        pairs = sum(len(group) * (len(group) - 1) // 2 for group in siblings.values())
        inputs: Any = [state_of(run) for run in runs]
    elif len(cast.parents) > 1 and _alike(cast.parents):
        runs = list(cast.parents[:MOST_FOREIGN])
        paths, pairing, pairs = [str(run.path) for run in runs], "all", len(runs) * (len(runs) - 1) // 2
        inputs = [state_of(run) for run in runs]
    elif len(cast.foreign) > 1:
        paths, pairing = [str(path) for path in cast.foreign[:MOST_FOREIGN]], "all"
        pairs = len(paths) * (len(paths) - 1) // 2
        inputs = [state_of_files(checkpoints_of(Path(path))) for path in paths]
    else:
        hint = "two networks of one kind, or children: 'landscape spawn RUN --at 0ep,1ep,4ep --children 2'"
        return [], [("error barriers and distances between networks", hint)]
    images = _images(cast, settings)
    some = () if settings.samples is None else ("--samples", str(settings.samples))
    barrier_images = (*some, "--bn-samples", str(settings.samples)) if some else ()
    words = ("--pairs", pairing, "--split", settings.split, *settings.common, "--format", "jsonl", "--force")
    steps = [
        Step(
            name="barriers",
            title="Error barriers between networks",
            part="weights",
            command=("barrier", *paths, "--points", str(POINTS), *barrier_images, *words, "--curve-out",
                     str(folder / "paths.jsonl")),
            result=folder / "barriers.jsonl",
            panels=(("barrier", "Error barriers between networks"),),
            inputs=inputs,
            passes=pairs * (POINTS + 4) * images,
        ),
        Step(
            name="compare",
            title="Distances between networks, in weights, patterns and predictions",
            part="weights",
            command=("compare", *paths, "--measures", "weight,relu,function,kernel", "--kernel-samples",
                     str(settings.kernel_samples), *some, *words),
            result=folder / "distances.jsonl",
            panels=(("spawn", "Distances between siblings against the time of spawning"),) if siblings else (),
            inputs=inputs,
            passes=len(paths) * (2 * images + KERNEL_PASSES * settings.kernel_samples),
        ),
    ]  # fmt: skip
    return steps, []


def _kernels(cast: Cast, folder: Path, settings: Settings) -> Found:
    """The tangent kernel of one run at its times, and how fast it moves."""
    run = next((run for run in cast.parents if len(run.steps()) > 2), None)
    foreign = next((path for path in cast.foreign if len(checkpoints_of(path)) > 2), None)
    lacking = [("tangent kernels along training", "a run with three checkpoints or more")]
    if run is None and foreign is None:
        return [], lacking
    samples = ("--samples", str(settings.kernel_samples))
    words = (*samples, *settings.common, "--format", "jsonl", "--force")
    passes = KERNEL_PASSES * settings.kernel_samples
    if run is None:
        assert foreign is not None
        found = checkpoints_of(foreign)
        named = [str(c.path) for c in _spread(found)]
        step = Step(
            name="kernels",
            title="Distance between tangent kernels",
            part="weights",
            command=("kernel-dist", *named, "--pairs", "all", *words),
            result=folder / "kernels.jsonl",
            panels=(("matrix", "How far the tangent kernel moves"),),
            inputs=state_of_files(found),
            passes=passes * len(named),
        )
        return [step], [("kernel velocity", "epochs: checkpoints of other tools do not say how many steps one has")]
    chosen = _spread(run.steps())
    times = ",".join(f"step:{step}" for step in chosen)
    state = state_of(run)
    steps = [
        Step(
            name="kernels",
            title=f"Distance between tangent kernels along {run.name}",
            part="weights",
            command=("kernel-dist", str(run.path), "--at", times, "--pairs", "all", *words),
            result=folder / "kernels.jsonl",
            panels=(("matrix", "How far the tangent kernel moves"),),
            inputs=state,
            passes=passes * len(chosen),
        )
    ]
    if (dt := best_interval(run)) is not None:
        interval, starts = dt
        named_starts = ",".join(f"step:{step}" for step in _spread(starts))
        velocity = Step(
            name="velocity",
            title=f"Velocity of the tangent kernel along {run.name}",
            part="weights",
            command=("kernel-velocity", str(run.path), "--dt", f"step:{interval}", "--at", named_starts,
                     "--no-barriers", *words),
            result=folder / "velocity.jsonl",
            panels=(("velocity", "How fast the tangent kernel moves"),),
            inputs=state,
            passes=2 * passes * len(_spread(starts)),
        )  # fmt: skip
        return [*steps, velocity], []
    return steps, [("kernel velocity", "checkpoints at equal distances in training")]


def _predictions(cast: Cast, folder: Path, settings: Settings) -> Found:
    """Predictions of all checkpoints, their distances, the embedding, progress, trajectories, clusters."""
    runs = [run for run in cast.networks if _data(run) == _data(cast.networks[0])]
    paths = [str(run.path) for run in runs] or [str(path) for path in cast.foreign]
    if not paths:
        return [], [("predictions", "runs or checkpoints")]
    models = sum(len(run.steps()) for run in runs) or sum(len(checkpoints_of(path)) for path in cast.foreign)
    inputs: Any = [state_of(run) for run in runs] or [state_of_files(checkpoints_of(p)) for p in cast.foreign]
    file = folder / f"predictions-{settings.split}.h5"
    distances, embedding = folder / "prediction-distances.h5", folder / "embedding.h5"
    at = ("--at", "all")
    quiet = ("--format", "jsonl", "--force")
    some = () if settings.samples is None else ("--samples", str(settings.samples))

    def step(name: str, title: str, *command: str, result: Path, **more: Any) -> Step:
        return Step(name, title, "predictions", command, result, captured=False, **more)

    steps = [
        step("predict", "Predictions of all checkpoints", "predict", *paths, *at, "--split", settings.split, *some,
             *settings.common, "-o", str(file), *quiet, result=file, inputs=inputs,
             passes=models * _images(cast, settings)),
        step("distances", "Bhattacharyya distances between predictions", "distances", str(file), "--truth",
             "--ignorance", "--geodesic", "20", "-o", str(distances), *quiet, result=distances, after=("predict",)),
        step("embedding", "InPCA of predictions", "inpca", str(distances), "-o", str(embedding), *quiet,
             result=embedding, after=("distances",),
             panels=(("embedding", "What training explores: InPCA of predictions"),
                     ("stress", "How many dimensions that has"))),
        Step("progress", "Progress towards the truth", "predictions",
             ("progress", str(file), "--columns", "all", "--format", "jsonl"), folder / "progress.jsonl",
             (("progress", "Progress towards the truth"),), after=("predict",)),
    ]  # fmt: skip
    lacking: list[tuple[str, str]] = []
    long_enough = [run for run in runs if len(run.steps()) > 2]
    if len(long_enough) > 1:
        follow, clusters = folder / "trajectories.h5", folder / "clusters.h5"
        named = " or ".join(f"run == {str(run.path)!r}" for run in long_enough)
        those = () if len(long_enough) == len(runs) else ("--where", named)
        steps += [
            step("trajectories", "Distance from the geodesic, at equal progress", "trajectories", str(file), *those,
                 "-o", str(follow), *quiet, result=follow, after=("predict",),
                 panels=(("trajectories", "Distance from the geodesic at equal progress"),)),
            step("clusters", "Which trajectories are alike", "cluster", str(follow), "-o", str(clusters), *quiet,
                 result=clusters, after=("trajectories",),
                 panels=(("dendrogram", "Which trajectories are alike"),)),
        ]  # fmt: skip
    else:
        lacking.append(("trajectories and their clusters", "two runs with three checkpoints or more"))
    if runs and cast.foreign:
        lacking.append((f"predictions of {', '.join(map(str, cast.foreign))}", "a report of their own"))
    if len(runs) < len(cast.networks):
        others = len(cast.networks) - len(runs)
        lacking.append((f"predictions of {others} runs on other data", "a report of their own"))
    if models < 3:
        return [], [("an embedding of predictions", "three checkpoints or more"), *lacking]
    return steps, lacking


def best_interval(run: Run) -> tuple[int, list[int]] | None:
    """The interval of steps that most checkpoints have another one after, and those; the shortest of equals.

    None if no two pairs of checkpoints have one in common.
    """
    steps = run.steps()
    there = set(steps)
    intervals = sorted({later - earlier for earlier in steps for later in steps if later > earlier})
    best = max(intervals, key=lambda dt: (sum(step + dt in there for step in steps), -dt), default=None)
    if best is None:
        return None
    starts = [step for step in steps if step + best in there]
    return (best, starts) if len(starts) > 1 else None


def _spread(items: Sequence[Any]) -> list[Any]:
    """At most :data:`MOST_KERNELS` of them, the first and the last among them, evenly."""
    count = len(items)
    if count <= MOST_KERNELS:
        return list(items)
    return [items[round(k * (count - 1) / (MOST_KERNELS - 1))] for k in range(MOST_KERNELS)]


def _alike(runs: Sequence[Run]) -> bool:
    """Whether a straight line between them has a meaning: one network, one data set."""
    kinds = {str((run.document.get("config") or {}).get("network")) for run in runs}
    return len(kinds) == 1 and len({_data(run) for run in runs}) == 1


def _data(run: Run) -> str:
    data = run.document.get("data") or {}
    return str((data.get("name"), data.get("fingerprint")))


def _images(cast: Cast, settings: Settings) -> int:
    sizes = [int((run.document.get("data") or {}).get(f"{settings.split}_samples") or 0) for run in cast.networks]
    return min(max(sizes, default=0) or 1000, settings.samples or 10**9)
