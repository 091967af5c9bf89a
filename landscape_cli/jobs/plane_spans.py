"""Which plane is meant: through three networks, along directions, or the one that a trajectory spans best."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from landscape_cli.compute.weights.directions import (
    filter_normalized,
    gradient_direction,
    principal_directions,
    random_direction,
    tied,
    trained_names,
)
from landscape_cli.compute.weights.plane import Place, Plane, along_directions, moved, through
from landscape_cli.compute.weights.plane_choices import Directions
from landscape_cli.errors import UsageError
from landscape_cli.jobs.barriers import same_network
from landscape_cli.jobs.bench import STATISTICS, Bench, Setup
from landscape_cli.jobs.model_columns import model_name
from landscape_cli.jobs.pairs import Subject
from landscape_cli.jobs.subjects import load_state, samples_of, subset
from landscape_cli.store.checkpoints import Checkpoint
from landscape_cli.store.locate import checkpoints_of

ROLES = "ABC"
PER_NETWORKS, PER_DIRECTION = 0.25, 1.0  # margins, unless told otherwise


@dataclass(frozen=True, eq=False)
class Track:
    """The checkpoints of a run, to be seen from the plane.

    Args:
        name: What the run is called.
        checkpoints: In order of training.
    """

    name: str
    checkpoints: Sequence[Checkpoint]


@dataclass(frozen=True, eq=False)
class Spanned:
    """A plane and how it came about.

    Args:
        plane: The plane.
        corners: The networks that lie on it: A; A and B; or A, B and C.
        origin: What it depends on, beside the corners' tensors.
        places: What the picture should show.
        margin: Room around it, as a share of the larger side.
        explained: Shares of a trajectory's variance along the principal components, all of them.
        units: Of the axes: ``weights`` (distances between weights) or ``directions`` (multiples of them).
    """

    plane: Plane
    corners: tuple[Subject, ...]
    origin: dict[str, Any]
    places: tuple[Place, ...]
    margin: float
    explained: tuple[float, ...] = ()
    units: str = "weights"


def check_directions(subjects: Sequence[Subject], asked: Directions | None, tracks: int) -> Directions | None:
    """The directions that are missing to so many networks: none to three.

    Raises:
        UsageError: If there are too many networks, or the directions do not go with them.
    """
    if len(subjects) > 3:
        raise UsageError(f"{len(subjects)} checkpoints: a plane goes through one, two or three", "name the three")
    if len(subjects) == 3:
        if asked is not None:
            raise UsageError(
                f"three networks span a plane: --directions {asked} has no place in it", "leave --directions out"
            )
        return None
    if asked == "pca" and len(subjects) == 2:
        raise UsageError(
            "the principal plane of a trajectory goes through one network, not two",
            "give one; --trajectory draws others into it",
        )
    if asked == "pca" and not tracks and subjects[0].run is None:
        raise UsageError(
            f"{subjects[0].checkpoint.label} belongs to no run: whose trajectory?", "name it: --trajectory RUN"
        )
    return asked or "random"


def span(
    bench: Bench,
    setup: Setup,
    subjects: Sequence[Subject],
    directions: Directions | None,
    tracks: Sequence[Track],
    margin: float | None,
) -> Spanned:
    """The plane that the words of a command mean.

    Cost: the checkpoints are read; for ``pca`` all of the first track, for ``gradient`` a backward pass.

    Raises:
        CheckpointError: If a checkpoint is damaged, not finite, or of another network.
        NetworkError: If the gradient is zero or no number.
        UsageError: If the corners span no plane.
    """
    for other in [s.checkpoint for s in subjects[1:]] + [c for track in tracks for c in track.checkpoints]:
        same_network(subjects[0].checkpoint, other)
    names = trained_names(setup.network)
    states = [dict(subject.checkpoint.tensors()) for subject in subjects]
    for subject, state in zip(subjects, states, strict=True):
        load_state(setup.network, state, subject.checkpoint.label)
    called = [model_name(subject) for subject in subjects]
    corners = tuple(subjects)
    if directions is None:
        plane = through(states[0], states[1], states[2], names, called)
        return Spanned(plane, corners, {"directions": None}, plane.places, _or(margin, PER_NETWORKS))
    if directions == "pca":
        return _principal(setup, corners, states[0], names, tracks, margin)
    made, origin = _directions(bench, setup, subjects[0], states[0], names, directions, 3 - len(subjects))
    if len(subjects) == 1:
        if margin == 0:
            raise UsageError("--margin 0 around one network leaves nothing to look at", "as in --margin 1")
        plane, reach = along_directions(states[0], made[0], made[1], names), _or(margin, PER_DIRECTION)
        return Spanned(plane, corners, origin, ((-reach, -reach), (reach, reach)), 0.0, units="directions")
    plane = through(states[0], states[1], moved(states[0], made[0]), names, [*called, "the direction"])
    width = plane.places[1][0]
    shown: tuple[Place, ...] = (*plane.places[:2], (width / 2, width / 2), (width / 2, -width / 2))
    return Spanned(plane, corners, origin, shown, _or(margin, PER_NETWORKS))


def _or(asked: float | None, default: float) -> float:
    return default if asked is None else asked


def _directions(
    bench: Bench,
    setup: Setup,
    subject: Subject,
    state: dict[str, Tensor],
    names: Sequence[str],
    kind: Directions,
    count: int,
) -> tuple[list[dict[str, Tensor]], dict[str, Any]]:
    """One or two filter-normalised directions from a network, and what they depend on."""
    seed, made = bench.sampling.seed, []
    origin: dict[str, Any] = {"directions": kind, "seed": seed}
    if kind == "gradient":
        load_state(setup.network, state, subject.checkpoint.label)
        size = gradient_size(bench, setup)
        part = subset(setup.data.train, size, setup.data.classes, seed)
        samples = samples_of(part, setup.normalization, bench.where)
        made.append(gradient_direction(setup.network, samples, batch=bench.sampling.batch))
        origin["gradient_samples"] = size
    while len(made) < count:
        made.append(random_direction(state, names, seed, len(made)))
    return [tied(setup.network, filter_normalized(direction, state)) for direction in made], origin


def gradient_size(bench: Bench, setup: Setup) -> int:
    """How many training samples the gradient is taken over."""
    return min(bench.sampling.bn_samples or STATISTICS, len(setup.data.train))


def _principal(
    setup: Setup,
    corners: tuple[Subject, ...],
    state: dict[str, Tensor],
    names: Sequence[str],
    tracks: Sequence[Track],
    margin: float | None,
) -> Spanned:
    """The plane through a network along the two principal components of a trajectory."""
    track = tracks[0]
    found = principal_directions([checkpoint.tensors for checkpoint in track.checkpoints], names)
    first, second = (tied(setup.network, direction) for direction in found.directions)
    # Anchors as far off as the trajectory goes: rounding them to the weights' type does no harm there.
    reach = [max(float(column.max() - column.min()), 1e-6) for column in found.scores.T]
    plane = along_directions(state, first, second, names, units=(reach[0], reach[1]))
    seen = [plane.project(checkpoint.tensors())[:2] for checkpoint in track.checkpoints]
    origin = {"directions": "pca", "trajectory": [checkpoint.hash() for checkpoint in track.checkpoints]}
    return Spanned(plane, corners, origin, ((0.0, 0.0), *seen), _or(margin, PER_NETWORKS), found.explained)


def track_of(path: Path) -> Track:
    """All checkpoints of a run or a folder, in order.

    Raises:
        CheckpointError: If there are none.
    """
    return Track(str(path), checkpoints_of(path))
