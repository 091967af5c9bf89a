"""Distances in function space between checkpoints on disk."""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import torch
from torch import Tensor

from landscape_cli.compute.choices import SplitName
from landscape_cli.compute.device import math_mode
from landscape_cli.compute.evaluation import log_probabilities
from landscape_cli.compute.function_distance import function_distance
from landscape_cli.errors import DataError
from landscape_cli.jobs.barriers import with_context
from landscape_cli.jobs.bench import Bench
from landscape_cli.jobs.kept import Kept
from landscape_cli.jobs.model_columns import model_name
from landscape_cli.jobs.pairs import Subject, sides
from landscape_cli.jobs.subjects import load_state


class Functions:
    """Measures function distances; each checkpoint's predictions are made once while it is among the last few.

    Args:
        bench: Networks and samples.
        split: Whose samples.
        note: Told where a distance has no value.
        keep: Predictions held at a time.
    """

    def __init__(
        self, bench: Bench, split: SplitName, *, note: Callable[[str], None] = lambda text: None, keep: int = 64
    ) -> None:
        self.bench = bench
        self.split = split
        self._note = note
        self._held = Kept[tuple[Tensor, Tensor]](keep)

    def _of(self, subject: Subject) -> tuple[Tensor, Tensor]:
        """Log-probabilities and labels."""
        return self._held.get(subject.checkpoint.hash(), lambda: self._predict(subject))

    def _predict(self, subject: Subject) -> tuple[Tensor, Tensor]:
        setup = self.bench.setup([subject])
        load_state(setup.network, subject.checkpoint.tensors(), subject.checkpoint.label)
        samples = setup.splits[self.split]
        with math_mode(self.bench.where):
            made = torch.cat(list(log_probabilities(setup.network, samples, batch=self.bench.sampling.batch)))
        return made, samples.labels.cpu()

    def pair(self, a: Subject, b: Subject) -> dict[str, Any]:
        """How differently two checkpoints answer, as a record; they need not be of one network.

        Raises:
            CheckpointError: If a checkpoint is damaged or does not fit its network.
            DataError: If they are measured on different samples, or a prediction is NaN.
            UsageError: If it is not known what network or data they are of.
        """
        (first, labels), (second, others) = self._of(a), self._of(b)
        if first.shape != second.shape or not torch.equal(labels, others):
            raise DataError(
                f"{a.checkpoint.label} and {b.checkpoint.label} would be measured on different samples",
                "say where to measure both: --data NAME",
            )
        found = asdict(function_distance(first, second, labels))
        record: dict[str, Any] = {
            "kind": "function-distance",
            "a": model_name(a),
            "b": model_name(b),
            "distance": found["normalized"],
            **{name: found[name] for name in ("disagreement", "expected", "jensen_shannon", "correlation")},
            "error_a": found["error"],
            "error_b": found["other_error"],
            "split": self.split,
            "samples": len(labels),
            **sides(a, b),
        }
        if not found["expected"]:
            self._note(f"{record['a']} and {record['b']} make no errors here: their function distance has no value")
        contexts = [self.bench.context(self.bench.setup([side])) for side in (a, b)]
        return with_context(record, a, b, *contexts)
