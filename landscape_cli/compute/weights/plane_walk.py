"""A network that walks a plane of weight space in place, and what is measured where it stands."""

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from landscape_cli.compute.choices import BatchNormMode
from landscape_cli.compute.evaluation import Evaluation, evaluate
from landscape_cli.compute.function_distance import function_distance
from landscape_cli.compute.samples import BATCH, Samples
from landscape_cli.compute.tangent.linearized import LinearizedNetwork
from landscape_cli.compute.weights.interpolation import Path
from landscape_cli.compute.weights.plane import Place, Plane, Shares
from landscape_cli.errors import NetworkError


@dataclass(frozen=True)
class PlaneValues:
    """What a network does at a place of the plane.

    Args:
        error: Share of wrong answers; NaN if a logit is NaN.
        loss: Mean cross-entropy in nats; NaN or infinite where the network is.
        disagreement: Share of samples answered otherwise than at the reference; NaN if a logit is NaN.
        distance: Fort et al.'s function distance to the reference; NaN where it has no value (no errors, or NaN).
    """

    error: float
    loss: float
    disagreement: float
    distance: float


class PlaneWalk:
    """``w = a·A + b·B + c·C`` for weights; batch-norm statistics as asked for.

    The module is changed in place, so that memory is four networks however many places are visited. The combination is
    made of two linear interpolations, the corner with the smallest share last, so that neither of their parameters is
    large: at a corner the weights are that network's to the last bit, on a side they are those that the line between
    two networks has (:class:`landscape_cli.compute.weights.interpolation.LinearPath`), and entries equal in all three
    stay equal.

    Args:
        network: The module that walks; its own weights do not matter.
        plane: Where.
        batch_norm: ``recompute`` the running statistics at each place, ``lerp`` them like weights (outside the triangle
            that can make a variance negative, and then the loss NaN), or ``keep`` those of A. Without batch norm the
            three agree.
        statistics: The samples to recompute them on.
        batch: Samples a forward pass when recomputing.

    Raises:
        CheckpointError: If a corner does not fit the network; the message names the tensor.
        NetworkError: If statistics are to be recomputed and there are no samples for it.
    """

    def __init__(
        self,
        network: nn.Module,
        plane: Plane,
        *,
        batch_norm: BatchNormMode = "recompute",
        statistics: Samples | None = None,
        batch: int = BATCH,
    ) -> None:
        self.network = network
        self.plane = plane
        self._path = _CornerPath(network, plane.anchors, batch_norm=batch_norm, statistics=statistics, batch=batch)
        self.mode = self._path.mode

    def go(self, x: float, y: float) -> nn.Module:
        """Put the module at a place and return it.

        Cost: two passes over the weights; with ``recompute`` a forward pass over the statistics samples too.
        """
        return self.go_shares(self.plane.shares(x, y))

    def go_shares(self, shares: Shares) -> nn.Module:
        """:meth:`go`, by barycentric coordinates."""
        last = min(range(3), key=lambda corner: shares[corner])
        one, two = (corner for corner in range(3) if corner != last)
        rest = 1.0 - shares[last]  # at least 2/3
        within = shares[two] / rest
        if shares[last] == 0:
            rest, within = 1.0, shares[two]
        return self._path.go(_Steps(one, two, within, last, rest))


@dataclass(frozen=True)
class _Steps:
    """A place as two interpolations: from one corner to another by ``within``, to there from the last by ``rest``."""

    one: int
    two: int
    within: float
    last: int
    rest: float


class _CornerPath(Path[_Steps]):
    """What the plane has in common with every path."""

    names = tuple(f"corner {name} of the plane" for name in "ABC")

    def mix(self, tensors: Sequence[Tensor], at: _Steps, out: Tensor | None = None) -> Tensor:
        one, two, last = tensors[at.one], tensors[at.two], tensors[at.last]
        within, rest = (_representable(step, one.dtype) for step in (at.within, at.rest))
        found = torch.lerp(one, two, within) if out is None else torch.lerp(one, two, within, out=out)
        if at.rest == 1:
            return found
        return torch.lerp(last, found, rest) if out is None else torch.lerp(last, found, rest, out=out)


def _representable(number: float, dtype: torch.dtype) -> float:
    """A number as its type has it; torch refuses to make infinity of one that is too large."""
    return number if abs(number) <= torch.finfo(dtype).max else math.copysign(math.inf, number)


class _Listening(nn.Module):
    """A network that keeps its logits as it is evaluated."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.heard: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.network(x)
        self.heard.append(logits)
        return logits


def evaluated(
    network: nn.Module, samples: Samples, *, batch: int = BATCH
) -> tuple[Evaluation, Float64[Tensor, "sample class"]]:
    """Loss and error as :func:`landscape_cli.compute.evaluation.evaluate` has them, and the log-probabilities.

    Cost: one forward pass; memory of all log-probabilities in float64, on the CPU.
    """
    listening = _Listening(network)
    listening.train(network.training)
    found = evaluate(listening, samples, batch=batch)
    logits = torch.cat(listening.heard).cpu().double()
    return found, torch.log_softmax(logits, dim=1)


def values(
    network: nn.Module, samples: Samples, reference: Float64[Tensor, "sample class"], *, batch: int = BATCH
) -> PlaneValues:
    """What is measured of a network at one place. Cost: one forward pass, and a few over its outputs."""
    found, answers = evaluated(network, samples, batch=batch)
    return _compared(found, answers, reference, samples)


def _compared(found: Evaluation, answers: Tensor, reference: Tensor, samples: Samples) -> PlaneValues:
    if bool(answers.isnan().any() | reference.isnan().any()):
        return PlaneValues(found.error, found.loss, math.nan, math.nan)
    apart = function_distance(reference, answers, samples.labels.cpu())
    return PlaneValues(found.error, found.loss, apart.disagreement, apart.normalized)


@dataclass(frozen=True, eq=False)
class LinearField:
    """The logits of a network linearised at w̃ over the whole plane (Fort et al. 2020, Fig. 5).

    ``f(w) = f(w̃) + (b − b̃)·J(B − A) + (c − c̃)·J(C − A)`` with the barycentric coordinates of w and w̃: two products
    with the Jacobian a sample, and then arithmetic.

    Args:
        value: f(w̃).
        first: J(B − A), J at w̃.
        second: J(C − A).
        base: Barycentric coordinates of w̃.
    """

    value: Float[Tensor, "sample class"]
    first: Float[Tensor, "sample class"]
    second: Float[Tensor, "sample class"]
    base: Shares

    def logits(self, shares: Shares) -> Float[Tensor, "sample class"]:
        """The linearised network's logits at a place; at w̃ those of the network itself to the last bit."""
        b, c = shares[1] - self.base[1], shares[2] - self.base[2]
        return self.value + b * self.first + c * self.second

    def values(
        self, shares: Shares, samples: Samples, reference: Float64[Tensor, "sample class"], *, batch: int = BATCH
    ) -> PlaneValues:
        """What is measured of the linearised network at a place. Cost: a few passes over its outputs."""
        answers = Samples(self.logits(shares), samples.labels, samples.where)
        return values(nn.Identity(), answers, reference, batch=batch)


def linear_field(walk: PlaneWalk, base: Place, samples: Samples, *, batch: int = BATCH) -> LinearField:
    """Linearise a network at a place of the plane, on samples.

    Batch norm has the statistics that the walk gives it at w̃, as constants.

    Cost: two products with the Jacobian, three forward passes each; memory of two networks more.

    Raises:
        NetworkError: If the network cannot be linearised (the layer is named), or is held in half precision.
    """
    shares = walk.plane.shares(*base)
    network = copy.deepcopy(walk.go(*base))
    if isinstance(network, LinearizedNetwork):
        raise NetworkError("the network is a linearised one already", "leave --linearize out")
    linear = LinearizedNetwork(network)
    corners = walk.plane.anchors
    own = {name: p for name, p in linear.named_parameters() if p.requires_grad}
    directions = [
        {n: (other[n].double() - corners[0][n].double()).to(p.device, p.dtype) for n, p in own.items()}
        for other in corners[1:]
    ]
    made: list[list[Tensor]] = [[], [], []]
    with torch.no_grad():
        for x, _ in samples.batches(batch):
            for number, direction in enumerate(directions):
                value, first, _ = linear.coefficients(x.clone(), direction)
                if not number:
                    made[0].append(value)
                made[1 + number].append(torch.zeros_like(value) if first is None else first)
    value, one, two = (torch.cat(part) for part in made)
    return LinearField(value, one, two, shares)


def corner_references(
    walk: PlaneWalk, place: Place, splits: Mapping[str, Samples], *, batch: int = BATCH
) -> dict[str, Float64[Tensor, "sample class"]]:
    """The log-probabilities of a corner on every split: what function distance is measured to."""
    network = walk.go(*place)
    return {name: evaluated(network, samples, batch=batch)[1] for name, samples in splits.items()}
