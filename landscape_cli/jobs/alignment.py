"""Aligning one checkpoint's hidden units to another's."""

import time
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

from landscape_cli.compute.device import math_mode
from landscape_cli.compute.samples import Samples
from landscape_cli.compute.weights.activation_matching import match_activations
from landscape_cli.compute.weights.alignment_choices import ACTIVATION_SAMPLES, RESTARTS, AlignMethod, Similarity
from landscape_cli.compute.weights.distances import weight_distance
from landscape_cli.compute.weights.matching import match_weights
from landscape_cli.compute.weights.permutation_tracing import logit_difference, trace_permutations
from landscape_cli.compute.weights.permutations import Permutation, PermutationGraph, moved_units
from landscape_cli.errors import NetworkError
from landscape_cli.jobs.bench import Bench, Setup
from landscape_cli.jobs.linearizations import LinearizedSpec
from landscape_cli.jobs.subjects import load_state, samples_of, subset
from landscape_cli.store.checkpoints import Checkpoint

VERSION = 1  # of the alignment: raised when it finds other permutations, so that what is kept is not mixed
CHECKED = 8  # samples on which the aligned network is compared with the one it was made from

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class AlignSettings:
    """How to align.

    Args:
        method: ``weights`` (Ainsworth et al. 2023, weight matching) or ``activations`` (Li et al. 2015).
        restarts: Starts of weight matching.
        similarity: What activation matching maximises.
        samples: Training samples of activation matching; all, if there are fewer.
        seed: Of starts, and of the choice of samples.
    """

    method: AlignMethod = "weights"
    restarts: int = RESTARTS
    similarity: Similarity = "correlation"
    samples: int = ACTIVATION_SAMPLES
    seed: int = 0

    def identity(self) -> dict[str, Any]:
        """Those of them that matter to the method."""
        part: dict[str, Any] = {"restarts": self.restarts}
        if self.method == "activations":
            part = {"similarity": self.similarity, "samples": self.samples}
        return {"version": VERSION, "method": self.method, "seed": self.seed, **part}


@dataclass(frozen=True)
class Aligned:
    """A checkpoint in another order of units.

    Args:
        state: Its tensors.
        permutations: By group, the number of the old unit that each new one was.
        facts: What a record says of the alignment.
    """

    state: dict[str, Tensor]
    permutations: dict[str, list[int]]
    facts: dict[str, Any]


class Aligner:
    """Aligns checkpoints of one network after another; what may be permuted in a network is derived once.

    Args:
        bench: Builds networks and data.
        settings: How to align.
    """

    def __init__(self, bench: Bench, settings: AlignSettings) -> None:
        self.bench = bench
        self.settings = settings
        self._graphs: list[tuple[nn.Module, PermutationGraph]] = []
        self._samples: list[tuple[Setup, Samples]] = []

    def graph(self, setup: Setup) -> PermutationGraph:
        """What may be permuted in a setup's network.

        Raises:
            NetworkError: If it cannot be derived, or there is nothing.
        """
        for network, graph in self._graphs:
            if network is setup.network:
                return graph
        if isinstance(setup.spec, LinearizedSpec):
            raise NetworkError(
                "a linearised network cannot be permuted: its function is tied to the weights it was linearised around",
                "align the runs that it comes from",
            )
        with math_mode(self.bench.where):
            graph = trace_permutations(setup.network, self._inputs(setup))
        if not graph.groups:
            raise NetworkError(f"network '{setup.spec.name}' has no hidden units that may be permuted")
        self._graphs = [*self._graphs[-3:], (setup.network, graph)]
        return graph

    def identity(self, setup: Setup, first: Checkpoint, second: Checkpoint) -> dict[str, Any]:
        """Everything that an alignment depends on."""
        identity: dict[str, Any] = {"to": first.hash(), "from": second.hash(), "network": setup.spec.to_json()}
        if self.settings.method == "activations":
            normalization = setup.normalization
            identity |= {
                "fingerprint": setup.data.fingerprint["train"],
                "normalization": None if normalization is None else normalization.to_json(),
            }
        return identity | self.settings.identity()

    def _inputs(self, setup: Setup) -> Tensor:
        part = setup.data.train.take(np.arange(min(2, len(setup.data.train))))
        samples = samples_of(part, setup.normalization, self.bench.where)
        return samples.normalized(samples.inputs)

    def _chosen(self, setup: Setup) -> Samples:
        """The training samples of activation matching."""
        for known, samples in self._samples:
            if known.data is setup.data and known.normalization == setup.normalization:
                return samples
        count = min(self.settings.samples, len(setup.data.train))
        part = subset(setup.data.train, count, setup.data.classes, self.settings.seed)
        self._samples = [(setup, samples_of(part, setup.normalization, self.bench.where))]
        return self._samples[0][1]

    def align(
        self,
        setup: Setup,
        first: Mapping[str, Tensor],
        second: Mapping[str, Tensor],
        labels: tuple[str, str],
        progress: Progress | None = None,
    ) -> Aligned:
        """The second network with its units in the order that suits the first.

        Args:
            setup: Their network and data.
            first: A's tensors.
            second: B's tensors.
            labels: What they are called.
            progress: Told of starts, or samples, done.

        Raises:
            CheckpointError: If one does not fit the network.
            NetworkError: If what may be permuted cannot be derived, or the result does not compute what B computes.
        """
        begun = time.monotonic()
        graph = self.graph(setup)
        network, settings = setup.network, self.settings
        for state, label in ((second, labels[1]), (first, labels[0])):
            load_state(network, state, label)
        facts: dict[str, Any] = {"method": settings.method}
        if settings.method == "weights":
            found = match_weights(
                graph, first, second, restarts=settings.restarts, seed=settings.seed, progress=progress
            )
            permutations = found.permutations
            facts |= {"restarts": settings.restarts, "sweeps": found.sweeps}
            facts |= {"objective_before": found.before, "objective": found.objective}
        else:
            samples, other = self._chosen(setup), deepcopy(network)
            load_state(other, second, labels[1])
            with math_mode(self.bench.where):
                active = match_activations(
                    graph, network, other, samples,
                    similarity=settings.similarity, batch=self.bench.sampling.batch, progress=progress,
                )  # fmt: skip
            permutations = active.permutations
            facts |= {"similarity": settings.similarity, "activation_samples": len(samples)}
            facts |= {"objective_before": active.before, "objective": active.similarity}
        moved = graph.apply(second, permutations)
        facts |= self._distances(network, first, second, moved)
        facts |= {
            "groups": len(graph.groups),
            "units": graph.units,
            "moved": moved_units(permutations),
            "fixed": graph.fixed,
            "logit_difference": self._difference(setup, second, moved),
            "seconds": time.monotonic() - begun,
        }
        return Aligned(moved, _named(graph, permutations), facts)

    def _distances(
        self, network: nn.Module, first: Mapping[str, Tensor], second: Mapping[str, Tensor], moved: Mapping[str, Tensor]
    ) -> dict[str, float]:
        names = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
        before, after = (weight_distance(first, other, names) for other in (second, moved))
        return {
            "distance_before": before.distance,
            "distance": after.distance,
            "cosine_before": before.cosine,
            "cosine": after.cosine,
        }

    def _difference(self, setup: Setup, second: Mapping[str, Tensor], moved: Mapping[str, Tensor]) -> float:
        """The largest difference between logits before and after, on a few training samples; refused if it is large."""
        part = setup.data.train.take(np.arange(min(CHECKED, len(setup.data.train))))
        samples = samples_of(part, setup.normalization, self.bench.where)
        return logit_difference(setup.network, second, moved, samples.normalized(samples.inputs))


def _named(graph: PermutationGraph, permutations: list[Permutation]) -> dict[str, list[int]]:
    return {group.name: order.tolist() for group, order in zip(graph.groups, permutations, strict=True)}
