"""Distances in weight space between checkpoints on disk."""

from dataclasses import asdict
from typing import Any

from torch import Tensor

from landscape_cli.compute.weights.distances import layer_distances, weight_distance
from landscape_cli.jobs.barriers import common_entries, same_network
from landscape_cli.jobs.bench import Bench
from landscape_cli.jobs.kept import Kept
from landscape_cli.jobs.model_columns import model_name
from landscape_cli.jobs.pairs import Subject, sides


class Weights:
    """Measures weight distances; the last few checkpoints read stay in memory.

    Args:
        bench: Says which network a checkpoint is of, and so which of its tensors train.
        by_layer: Whether each layer is measured too.
        keep: Checkpoints held at a time.
    """

    def __init__(self, bench: Bench, *, by_layer: bool = False, keep: int = 8) -> None:
        self.bench = bench
        self.by_layer = by_layer
        self._held = Kept[dict[str, Tensor]](keep)

    def _state(self, subject: Subject) -> dict[str, Tensor]:
        return self._held.get(str(subject.checkpoint.path), lambda: dict(subject.checkpoint.tensors()))

    def pair(self, a: Subject, b: Subject) -> dict[str, Any]:
        """The distance between the trainable weights of two checkpoints, as a record.

        Raises:
            CheckpointError: If they are not of one network, or damaged.
            UsageError: If it is not known what network they are of.
        """
        same_network(a.checkpoint, b.checkpoint)
        setup = self.bench.setup((a, b))
        names = [name for name, parameter in setup.network.named_parameters() if parameter.requires_grad]
        first, second = self._state(a), self._state(b)
        found = asdict(weight_distance(first, second, names))
        record: dict[str, Any] = {
            "kind": "weight-distance",
            "a": model_name(a),
            "b": model_name(b),
            **{k: found[k] for k in ("distance", "relative", "cosine")},
            "norm_a": found["norm"],
            "norm_b": found["other_norm"],
            "parameters": sum(first[name].numel() for name in names),
            **sides(a, b),
        }
        if self.by_layer:
            layers = layer_distances(first, second, names)
            record["layers"] = {layer: asdict(one) for layer, one in layers.items()}
        return record | {"network": setup.spec.name} | common_entries(a, b)
