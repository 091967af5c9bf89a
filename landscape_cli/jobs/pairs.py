"""Which checkpoints are compared with which."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from landscape_cli.errors import UsageError
from landscape_cli.store.checkpoints import Checkpoint
from landscape_cli.store.runs import Run

Pairing = Literal["siblings", "all", "consecutive", "given"]


@dataclass(frozen=True)
class Subject:
    """A checkpoint to measure, with what came along.

    Args:
        checkpoint: The checkpoint.
        time: The time it was asked for at, as text; siblings are compared at equal times.
        extra: Entries of the record it came in that this toolkit does not know.
    """

    checkpoint: Checkpoint
    time: str = "last"
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def run(self) -> Run | None:
        """The run the checkpoint belongs to."""
        return None if self.checkpoint.run is None else Run.open(self.checkpoint.run)


def default_pairing(subjects: Sequence[Subject]) -> Pairing:
    """What a user means without ``--pairs``: two are a pair; children are compared with their siblings.

    Raises:
        UsageError: If it cannot be told.
    """
    if len(subjects) == 1:
        raise UsageError(
            f"{subjects[0].checkpoint.label} alone is no pair", "give two, or times of one: RUN@2ep RUN@8ep"
        )
    if len(subjects) == 2:
        return "given"
    if all((run := s.run) is not None and run.lineage for s in subjects):
        return "siblings"
    raise UsageError(
        f"{len(subjects)} checkpoints: which are to be compared?",
        "say it: --pairs siblings, all, consecutive, or given (in twos)",
    )


def two_or_all(subjects: Sequence[Subject]) -> Pairing:
    """Without ``--pairs``, where a distance means something between any two: two are a pair, of more all are."""
    return "given" if len(subjects) == 2 else "all"


def pair(subjects: Sequence[Subject], how: Pairing) -> list[tuple[Subject, Subject]]:
    """Pairs of subjects, in their order.

    Args:
        subjects: What there is to compare.
        how: ``siblings`` (children of one parent and spawn time, at equal times), ``all``, ``consecutive``, or
            ``given`` (in twos).

    Raises:
        UsageError: If that leaves no pair, or one without a partner in ``given``.
    """
    pairs: list[tuple[Subject, Subject]]
    if how == "given":
        if len(subjects) % 2:
            raise UsageError(f"{len(subjects)} checkpoints do not come in pairs", "give an even number, or --pairs all")
        pairs = list(zip(subjects[::2], subjects[1::2], strict=True))
    elif how == "consecutive":
        pairs = list(itertools.pairwise(subjects))
    elif how == "all":
        pairs = list(itertools.combinations(subjects, 2))
    else:
        pairs = _siblings(subjects)
    if not pairs:
        reason = (
            "no two of them are children of one parent, spawned at one time" if how == "siblings" else "one is not two"
        )
        raise UsageError(f"there is no pair to compare: {reason}", "see --pairs in 'landscape barrier --help'")
    return pairs


def _siblings(subjects: Sequence[Subject]) -> list[tuple[Subject, Subject]]:
    groups: dict[tuple[Any, ...], list[Subject]] = {}
    for subject in subjects:
        run = subject.run
        if run is None or run.lineage is None:
            raise UsageError(
                f"{subject.checkpoint.label} is no child: it was not spawned",
                "use --pairs all, consecutive or given",
            )
        key = (run.lineage["parent_name"], run.lineage["hash"], run.lineage["step"], subject.time)
        groups.setdefault(key, []).append(subject)
    return [two for group in groups.values() for two in itertools.combinations(group, 2)]


def sides(a: Subject, b: Subject) -> dict[str, Any]:
    """Step and epoch of each of two, so that a record can be placed in a matrix."""
    ends = (("a", a.checkpoint), ("b", b.checkpoint))
    return {f"{name}_{side}": getattr(end, name) for side, end in ends for name in ("step", "epoch")}
