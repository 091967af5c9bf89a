"""The part of a report on weight space and tangent kernels: which networks are joined, whose kernels are followed."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from landscape_cli.jobs.report_cast import Cast, data_of, state_of, state_of_files
from landscape_cli.jobs.report_step import Missing, Plan, Settings, Step
from landscape_cli.store.checkpoints import Checkpoint
from landscape_cli.store.locate import checkpoints_of
from landscape_cli.store.runs import Run

POINTS = 11  # of a path; barriers refine beside the highest
MORE_POINTS = 9  # of those, on the average
KERNEL_PASSES = 140.0  # of an image in a kernel of ten classes, as measured: a backward pass a class, and the products
MOST_KERNELS = 16  # checkpoints whose kernels are compared
MOST_JOINED = 6  # networks without parents in common that are joined by lines, each to each


def plan_weights(cast: Cast, folder: Path, settings: Settings) -> Plan:
    """Barriers and distances between networks, and the tangent kernel along one run."""
    pairs, kernels = _pairs(cast, folder, settings), _kernels(cast, folder, settings)
    return Plan((*pairs.steps, *kernels.steps), (*pairs.missing, *kernels.missing))


def _pairs(cast: Cast, folder: Path, settings: Settings) -> Plan:
    """Between siblings; without any, between all of a few runs of one network, or of a few checkpoints."""
    siblings = cast.siblings()
    missing: list[Missing] = []
    if siblings:
        runs = [run for group in siblings.values() for run in group]
        paths, pairing = [str(run.path) for run in runs], "siblings"
        pairs = sum(len(group) * (len(group) - 1) // 2 for group in siblings.values())
        inputs: Any = [state_of(run, last=True) for run in runs]
    else:
        alike, others = _alike(cast.networks)
        theirs = [] if alike else _networks_of(cast.foreign)
        if not alike and len(theirs) < 2:
            hint = "two networks of one kind, or children: 'landscape spawn RUN --at 0ep,1ep,4ep --children 2'"
            return Plan((), (("error barriers and distances between networks", hint),))
        found = [str(run.path) for run in alike] or [str(path) for path, _ in theirs]
        paths, pairing = found[:MOST_JOINED], "all"
        pairs = len(paths) * (len(paths) - 1) // 2
        inputs = [state_of(run, last=True) for run in alike[:MOST_JOINED]] or [
            state_of_files(checkpoints) for _, checkpoints in theirs[:MOST_JOINED]
        ]
        if left := len(found) - len(paths):
            missing.append(
                (f"lines to {left} more networks", f"a report of fewer: {MOST_JOINED} are joined each to each")
            )
        if others:
            missing.append((f"lines to {others} runs of other networks or data", "a report of their own"))
    images = settings.images_of(cast)
    some = () if settings.samples is None else ("--samples", str(settings.samples))
    barrier_images = (*some, "--bn-samples", str(settings.samples)) if some else ()
    words = ("--pairs", pairing, "--split", settings.split, *settings.common, "--format", "jsonl")
    curves = folder / "paths.jsonl"
    steps = (
        Step(
            name="barriers",
            title="Error barriers between networks",
            part="weights",
            command=("barrier", *paths, "--points", str(POINTS), *barrier_images, *words, *settings.precision,
                     "--curve-out", str(curves)),
            result=folder / "barriers.jsonl",
            beside=(curves,),
            panels=(("barrier", "Error barriers between networks"),),
            inputs=inputs,
            passes=pairs * (POINTS + MORE_POINTS) * images,
        ),
        Step(
            name="compare",
            title="Distances between networks, in weights, patterns and predictions",
            part="weights",
            command=("compare", *paths, "--measures", "weight,relu,function,kernel", "--kernel-samples",
                     str(settings.kernel_samples), *some, *words),
            result=folder / "distances.jsonl",
            panels=(
                (("spawn", "Distances between siblings against the time of spawning"),)
                if siblings
                else (("matrix", "Distances between networks"),)
            ),
            inputs=inputs,
            passes=len(paths) * (2 * images + KERNEL_PASSES * settings.kernel_samples),
        ),
    )  # fmt: skip
    return Plan(steps, tuple(missing))


def _kernels(cast: Cast, folder: Path, settings: Settings) -> Plan:
    """The tangent kernel of one run at its times, and how fast it moves."""
    run = next((run for run in cast.networks if len(run.steps()) > 2), None)
    samples = ("--samples", str(settings.kernel_samples))
    words = (*samples, *settings.common, *settings.precision, "--format", "jsonl")
    passes = KERNEL_PASSES * settings.kernel_samples
    if run is None:
        found = next((found for path in cast.foreign if len(found := checkpoints_of(path)) > 2), None)
        if found is None:
            return Plan((), (("tangent kernels along training", "a run with three checkpoints or more"),))
        named = [str(c.path) for c in _spread(found)]
        step = _kernel_step(folder, named, "Distance between tangent kernels", words, state_of_files(found), passes)
        why = "epochs: checkpoints of other tools do not say how many steps one has"
        return Plan((step,), (("kernel velocity", why),))
    chosen = _spread(run.steps())
    times = ("--at", ",".join(f"step:{step}" for step in chosen))
    title = f"Distance between tangent kernels along {run.name}"
    state = state_of(run)
    kernels = _kernel_step(folder, [str(run.path), *times], title, words, state, passes, len(chosen))
    if (dt := best_interval(run)) is None:
        return Plan((kernels,), (("kernel velocity", "checkpoints at equal distances in training"),))
    interval, starts = dt
    begun = _spread(starts)
    velocity = Step(
        name="velocity",
        title=f"Velocity of the tangent kernel along {run.name}",
        part="weights",
        command=("kernel-velocity", str(run.path), "--dt", f"step:{interval}", "--at",
                 ",".join(f"step:{step}" for step in begun), "--no-barriers", *words),
        result=folder / "velocity.jsonl",
        panels=(("velocity", "How fast the tangent kernel moves"),),
        inputs=state,
        passes=passes * len({*begun, *(start + interval for start in begun)}),
    )  # fmt: skip
    return Plan((kernels, velocity), ())


def _kernel_step(
    folder: Path, named: Sequence[str], title: str, words: Sequence[str], inputs: Any, passes: float,
    count: int | None = None,
) -> Step:  # fmt: skip
    count = count or len(named)
    return Step(
        name="kernels",
        title=title,
        part="weights",
        command=("kernel-dist", *named, "--pairs", "all", *words),
        result=folder / "kernels.jsonl",
        panels=(("matrix", "How far the tangent kernel moves"),),
        inputs=inputs,
        passes=passes * count,
    )


def best_interval(run: Run) -> tuple[int, list[int]] | None:
    """The interval of steps that most checkpoints have another one after, and those; the shortest of equals.

    None if no two pairs of checkpoints have one in common.
    """
    steps = run.steps()
    there = set(steps)
    found = {later - earlier for earlier in steps for later in steps if later > earlier}
    best = max(found, key=lambda dt: (sum(step + dt in there for step in steps), -dt), default=None)
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


def _alike(runs: Sequence[Run]) -> tuple[list[Run], int]:
    """The most runs of one network on one data set, between which a straight line has a meaning; how many others."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        network = str((run.document.get("config") or {}).get("network"))
        groups.setdefault((network, data_of(run)), []).append(run)
    most = max(groups.values(), key=len, default=[])
    return (most, len(runs) - len(most)) if len(most) > 1 else ([], len(runs))


def _networks_of(places: Sequence[Path]) -> list[tuple[Path, list[Checkpoint]]]:
    """What stands for a network each: the last checkpoint of a place, or each of it where steps tell no order."""
    found: list[tuple[Path, list[Checkpoint]]] = []
    for place in places:
        checkpoints = checkpoints_of(place)
        if len({checkpoint.step for checkpoint in checkpoints}) < len(checkpoints):
            found += [(checkpoint.path, [checkpoint]) for checkpoint in checkpoints]
        else:
            found.append((place, checkpoints))
    return found
