"""States on disk that training starts from: a run's own, or its parent's at the spawn step."""

import contextlib

from torch import Tensor

from landscape_cli.errors import CheckpointError, ConflictError
from landscape_cli.store.checkpoints import tensors_hash
from landscape_cli.store.resume import read_state, state_step
from landscape_cli.store.runs import RESUME, Run

Tensors = dict[str, Tensor]


def resume_point(run: Run, *, at_most: int | None = None) -> tuple[int, Tensors, Tensors] | None:
    """The latest state of a run that is whole: its step, weights and optimiser tensors.

    Args:
        run: The run.
        at_most: Not beyond this step.

    Returns:
        None if the run has none: it begins again.
    """
    checkpoints = set(run.steps())
    candidates = [(step, False) for step in run.steps(RESUME) if step in checkpoints]
    if run.rolling_file.exists():
        with contextlib.suppress(CheckpointError):  # damaged, as below
            candidates.append((state_step(run.rolling_file), True))
    for step, rolling in sorted(candidates, reverse=True):
        if at_most is not None and step > at_most:
            continue
        try:
            optimizer, weights = read_state(run.rolling_file if rolling else run.resume_file(step))
            return step, weights if rolling else run.checkpoint(step).tensors(), optimizer
        except CheckpointError:
            continue  # damaged: an earlier one leads to the same bits
    return None


def origin_state(child: Run) -> tuple[Tensors, Tensors | None]:
    """The weights and the optimiser's tensors that a child starts from.

    Raises:
        CheckpointError: If the parent or its state is gone.
        ConflictError: If the parent's weights are not those that the child was spawned from.
    """
    lineage = child.lineage
    assert lineage is not None
    assert child.parent is not None
    parent = Run.open(child.parent)
    weights = parent.checkpoint(int(lineage["step"])).tensors()
    if tensors_hash(weights) != lineage["hash"]:
        raise ConflictError(
            f"{parent.path} is not the parent it was: its weights at step {lineage['step']} have changed",
            "spawn into another --out",
        )
    if lineage["fresh_optimizer"]:
        return weights, None
    optimizer, _ = read_state(parent.resume_file(int(lineage["step"])))
    return weights, optimizer
