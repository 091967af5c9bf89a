"""Activation matching: the permutation of one network's units that are active when another's are.

Li et al. 2015 (Convergent Learning); Ainsworth et al. 2023, section 3.1. On the same samples, units of two networks are
compared by the inputs of the layers that read them (after the activation function, that is), and each group is put
into the order that maximises the sum of its units' similarities: one linear assignment a group.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from landscape_cli.compute.samples import BATCH, Samples
from landscape_cli.compute.weights.alignment_choices import Similarity
from landscape_cli.compute.weights.matching import Progress, assign
from landscape_cli.compute.weights.permutation_rules import PRODUCTS
from landscape_cli.compute.weights.permutations import Permutation, PermutationGraph, Reading
from landscape_cli.errors import NetworkError


@dataclass(frozen=True)
class ActivationMatching:
    """The outcome of a matching.

    Args:
        permutations: For each group, which of B's units takes the place of each of A's.
        similarity: Mean over units of what was maximised, at the end.
        before: The same without a permutation.
    """

    permutations: list[Permutation]
    similarity: float
    before: float


def match_activations(
    graph: PermutationGraph,
    first: nn.Module,
    second: nn.Module,
    samples: Samples,
    *,
    similarity: Similarity = "correlation",
    batch: int = BATCH,
    progress: Progress | None = None,
) -> ActivationMatching:
    """Permutations of the second network's units that make them like the first's on samples.

    For a unit i of A and j of B, over N samples (and places of an image) n: ``correlation`` is Pearson's of ``a_i(n)``
    and ``b_j(n)``, 0 for a unit that never changes; ``product`` is ``(1/N) Σ_n a_i(n) b_j(n)``, Ainsworth et al.'s, in
    which strong units count for more. Of a group that several layers read (a residual stream) it is their mean.

    Args:
        graph: What may be permuted.
        first: A.
        second: B; another module of the same architecture.
        samples: The samples.
        similarity: What is maximised.
        batch: Samples a forward pass.
        progress: Told of samples done.

    Cost: a forward pass of both networks over the samples and, for each layer, (units)² products a sample and place;
    memory for A's activations of one batch.

    Raises:
        NetworkError: If the two do not compute alike.
    """
    parts = [(reading, group) for reading in graph.readings for group in reading.units.places]
    moments = {(reading.number, group): _Moments(reading, group) for reading, group in parts}
    wanted = {reading.number: [m for (n, _), m in moments.items() if n == reading.number] for reading in graph.readings}
    modes = first.training, second.training
    first.eval(), second.eval()
    try:
        for number, (x, _) in enumerate(samples.batches(batch), start=1):
            seen: dict[int, Tensor] = {}
            with torch.no_grad():
                with _Readings(set(wanted), seen.__setitem__):
                    first(x)
                with _Readings(set(wanted), _comparing(seen, wanted)):
                    second(x)
            if progress is not None:
                progress(min(number * batch, len(samples)), len(samples))
    finally:
        first.train(modes[0]), second.train(modes[1])
    permutations = graph.identity()
    found = before = 0.0
    for group in range(len(permutations)):
        scores = [m.scores(similarity) for (_, of), m in moments.items() if of == group]
        if scores:
            mean = np.asarray(sum(scores)) / len(scores)
            permutations[group] = assign(mean)
            found += float(mean[np.arange(len(mean)), permutations[group]].sum())
            before += float(np.trace(mean))
    units = max(graph.units, 1)
    return ActivationMatching(permutations, found / units, before / units)


class _Moments:
    """Sums of one group's activations of two networks, and of their products, in float64."""

    def __init__(self, reading: Reading, group: int) -> None:
        self.axis = reading.axis
        self.places = torch.from_numpy(reading.units.places[group])
        self.count = 0
        self.sums: list[Tensor] = []

    def add(self, one: Tensor, other: Tensor) -> None:
        """Take in a batch of activations of both networks, of one shape."""
        a, b = (self._rows(value) for value in (one, other))
        self.count += a.shape[1]
        new = [a.sum(1), b.sum(1), (a * a).sum(1), (b * b).sum(1), a @ b.T]
        self.sums = [old + part for old, part in zip(self.sums, new, strict=True)] if self.sums else new

    def _rows(self, value: Tensor) -> Tensor:
        """Activations as ``(unit, sample and place)``."""
        moved = value.detach().movedim(self.axis, 0)[self.places.to(value.device)]
        return moved.reshape(len(self.places), -1).to(torch.float32 if value.device.type == "mps" else torch.float64)

    def scores(self, similarity: Similarity) -> Float64[np.ndarray, "unit unit"]:
        """The similarity of each unit of A with each of B."""
        one, other, squares, others, cross = (part.cpu().double().numpy() / self.count for part in self.sums)
        if similarity == "product":
            return cross
        spread = np.sqrt(np.outer(_variance(squares, one), _variance(others, other)))
        return np.divide(cross - np.outer(one, other), spread, out=np.zeros_like(cross), where=spread > 0)


def _variance(
    squares: Float64[np.ndarray, " unit"], mean: Float64[np.ndarray, " unit"]
) -> Float64[np.ndarray, " unit"]:
    """``E[x²] − E[x]²``, 0 where that is rounding."""
    variance = squares - mean**2
    return np.where(variance > 1e-12 * squares, variance, 0.0)


def _comparing(seen: dict[int, Tensor], wanted: Mapping[int, list[_Moments]]) -> Callable[[int, Tensor], None]:
    def compare(number: int, value: Tensor) -> None:
        one = seen.pop(number, None)
        if one is None or one.shape != value.shape:
            raise NetworkError("the two networks do not compute alike: their activations cannot be compared")
        for moments in wanted[number]:
            moments.add(one, value)

    return compare


class _Readings(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Hands over the inputs of layers, numbered as in a trace."""

    def __init__(self, wanted: set[int], take: Callable[[int, Tensor], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.wanted = wanted
        self.take = take
        self.number = -1

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: torch would import its compiler, which takes seconds, only to keep it away from here."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        if name in PRODUCTS:
            self.number += 1
            if self.number in self.wanted:
                self.take(self.number, args[1] if name == "addmm" else args[0])
        return result
