"""The part of a report on prediction space: what is predicted, and what is made of the predictions."""

from pathlib import Path
from typing import Any

from landscape_cli.jobs.report_cast import Cast, data_of, state_of, state_of_files
from landscape_cli.jobs.report_step import Missing, Plan, Settings, Step
from landscape_cli.store.locate import checkpoints_of

GEODESIC = 20  # points of the geodesic beside the models


def plan_predictions(cast: Cast, folder: Path, settings: Settings) -> Plan:
    """Predictions of all checkpoints, their distances, the embedding, progress, trajectories, clusters."""
    runs = [run for run in cast.networks if data_of(run) == data_of(cast.networks[0])]
    paths = [str(run.path) for run in runs] or [str(path) for path in cast.foreign]
    if not paths:
        return Plan((), (("predictions", "runs or checkpoints"),))
    checkpoints = [] if runs else [checkpoints_of(path) for path in cast.foreign]
    models = sum(len(run.steps()) for run in runs) or sum(map(len, checkpoints))
    inputs: Any = [state_of(run) for run in runs] or [state_of_files(found) for found in checkpoints]
    file = folder / f"predictions-{settings.split}.h5"
    distances, embedding = folder / "prediction-distances.h5", folder / "embedding.h5"
    some = () if settings.samples is None else ("--samples", str(settings.samples))
    images = settings.images_of(cast)

    def step(name: str, title: str, *command: str, result: Path, **more: Any) -> Step:
        words = (*command, "-o", str(result), "--format", "jsonl")
        return Step(name, title, "predictions", words, result, captured=False, **more)

    steps = [
        step("predict", "Predictions of all checkpoints", "predict", *paths, "--at", "all", "--split", settings.split,
             *some, *settings.common, *settings.precision, result=file, inputs=inputs, goes_on=True,
             passes=models * images),
        step("distances", "Bhattacharyya distances between predictions", "distances", str(file), "--truth",
             "--ignorance", "--geodesic", str(GEODESIC), result=distances, after=("predict",)),
        step("embedding", "InPCA of predictions", "inpca", str(distances), result=embedding, after=("distances",),
             panels=(("embedding", "What training explores: InPCA of predictions"),
                     ("stress", "How many dimensions that has"))),
        Step("progress", "Progress towards the truth", "predictions",
             ("progress", str(file), "--columns", "all", "--format", "jsonl"), folder / "progress.jsonl",
             (("progress", "Progress towards the truth"),), after=("predict",)),
    ]  # fmt: skip
    missing: list[Missing] = []
    long_enough = [run for run in runs if len(run.steps()) > 2]
    if len(long_enough) > 1:
        follow, clusters = folder / "trajectories.h5", folder / "clusters.h5"
        named = " or ".join(f"run == {str(run.path)!r}" for run in long_enough)
        those = () if len(long_enough) == len(runs) else ("--where", named)
        steps += [
            step("trajectories", "Distance from the geodesic, at equal progress", "trajectories", str(file), *those,
                 result=follow, after=("predict",),
                 panels=(("trajectories", "Distance from the geodesic at equal progress"),)),
            step("clusters", "Which trajectories are alike", "cluster", str(follow), result=clusters,
                 after=("trajectories",), panels=(("dendrogram", "Which trajectories are alike"),)),
        ]  # fmt: skip
    else:
        missing.append(("trajectories and their clusters", "two runs with three checkpoints or more"))
    if runs and cast.foreign:
        missing.append((f"predictions of {', '.join(map(str, cast.foreign))}", "a report of their own"))
    if others := len(cast.networks) - len(runs):
        missing.append((f"predictions of {others} runs on other data", "a report of their own"))
    if models < 3:
        return Plan((), (("an embedding of predictions", "three checkpoints or more"), *missing))
    return Plan(tuple(steps), tuple(missing))
