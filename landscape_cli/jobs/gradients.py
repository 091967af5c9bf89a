"""Logit-gradient centroids of checkpoints on disk, and how they align."""

from typing import Any

import torch
from torch import Tensor

from landscape_cli.compute.choices import SplitName
from landscape_cli.compute.device import math_mode
from landscape_cli.compute.tangent.centroids import centroid_cosines, gradient_centroids
from landscape_cli.errors import CheckpointError
from landscape_cli.jobs.barriers import common_entries, same_network
from landscape_cli.jobs.bench import Bench
from landscape_cli.jobs.kept import Kept
from landscape_cli.jobs.model_columns import model_name
from landscape_cli.jobs.pairs import Subject, sides
from landscape_cli.jobs.subjects import load_state


class Centroids:
    """Measures gradient centroids, each checkpoint's once while it is among the last few.

    Args:
        bench: Networks and samples.
        split: Whose samples.
        keep: Centroids held at a time.
    """

    def __init__(self, bench: Bench, split: SplitName, *, keep: int = 64) -> None:
        self.bench = bench
        self.split = split
        self._held = Kept[Tensor](keep)

    def _of(self, subject: Subject) -> Tensor:
        return self._held.get(subject.checkpoint.hash(), lambda: self._measure(subject))

    def _measure(self, subject: Subject) -> Tensor:
        setup = self.bench.setup([subject])
        load_state(setup.network, subject.checkpoint.tensors(), subject.checkpoint.label)
        with math_mode(self.bench.where):
            return gradient_centroids(setup.network, setup.splits[self.split], batch=self.bench.sampling.batch)

    def pair(self, a: Subject, b: Subject) -> dict[str, Any]:
        """Alignment of the centroids of two checkpoints, as a record.

        Raises:
            CheckpointError: If they are not of one network.
            NetworkError: If the network has no gradients.
        """
        try:
            same_network(a.checkpoint, b.checkpoint)
        except CheckpointError as error:
            raise CheckpointError(
                error.message, "gradients of two networks have no common coordinates; kernel-dist compares any two"
            ) from None
        setup = self.bench.setup((a, b))
        cosines = centroid_cosines(self._of(a), self._of(b))
        alignment = float(cosines.mean())
        return {
            "kind": "gradient-distance",
            "a": model_name(a),
            "b": model_name(b),
            "alignment": alignment,
            "distance": 1 - alignment,
            "by_class": [round(value, 12) for value in cosines.tolist()],
            "split": self.split,
            "samples": len(setup.splits[self.split]),
            "sample_seed": self.bench.sampling.seed,
            "threads": torch.get_num_threads(),
            **sides(a, b),
            **self.bench.context(setup),
            **common_entries(a, b),
        }
