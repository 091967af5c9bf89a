"""Pairs of checkpoints whose second is aligned to the first before they are measured."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from torch import Tensor

from landscape_cli.jobs.alignment import Aligner, Progress
from landscape_cli.jobs.bench import Setup
from landscape_cli.jobs.pairs import Subject
from landscape_cli.store.cache import PointCache
from landscape_cli.store.checkpoints import Checkpoint, tensors_hash


@dataclass(frozen=True)
class AlignedCheckpoint(Checkpoint):
    """A checkpoint as it is on disk, but for the order of its units.

    Its content hash is that of the tensors in their new order, so that nothing measured with it is taken for the
    checkpoint's own.

    Args:
        state: Its tensors.
        digest: Their content hash.
    """

    state: Mapping[str, Tensor] = field(default_factory=dict, compare=False)
    digest: str = ""

    def hash(self) -> str:
        """The content hash of the tensors in their new order."""
        return self.digest

    def tensors(self, *, finite: bool = True) -> dict[str, Tensor]:
        """The tensors, which were checked when they were aligned."""
        return dict(self.state)


class AlignedPairs:
    """Aligns the second of each pair to the first, in memory; found permutations are kept for the next command.

    Args:
        aligner: Aligns.
        fresh: Align again what is known.
    """

    def __init__(self, aligner: Aligner, fresh: bool = False) -> None:
        self.aligner = aligner
        self.fresh = fresh

    def pair(self, first: Subject, second: Subject, progress: Progress | None = None) -> tuple[Subject, Subject]:
        """The same pair with its second aligned; its records will say so.

        Raises:
            CheckpointError: If one is damaged, or they are not of one network.
            NetworkError: If what may be permuted in the network cannot be derived.
        """
        setup = self.aligner.bench.setup((first, second))
        state, facts = self._aligned(setup, first, second, progress)
        b = second.checkpoint
        aligned = AlignedCheckpoint(
            b.path, b.files, b.step, b.epoch, b.run, b.called, state=state, digest=tensors_hash(state)
        )
        told = {"align": self.aligner.settings.method} | {
            f"align_{key}": facts[key] for key in ("moved", "distance_before", "distance")
        }
        return (
            replace(first, extra={**first.extra, **told}),
            replace(second, checkpoint=aligned, extra={**second.extra, **told}),
        )

    def _aligned(
        self, setup: Setup, first: Subject, second: Subject, progress: Progress | None
    ) -> tuple[Mapping[str, Tensor], dict[str, Any]]:
        a, b = first.checkpoint, second.checkpoint
        cache = PointCache("alignment", self.aligner.identity(setup, a, b), fresh=self.fresh)
        if kept := cache.read():
            graph = self.aligner.graph(setup)
            orders = [np.asarray(kept[-1]["permutations"][group.name]) for group in graph.groups]
            return graph.apply(b.tensors(), orders), kept[-1]["facts"]
        found = self.aligner.align(setup, a.tensors(), b.tensors(), (a.label, b.label), progress)
        cache.add({"permutations": found.permutations, "facts": found.facts})
        return found.state, found.facts
