"""Curves of low loss between two networks (Garipov et al. 2018; Draxler et al. 2018): their points, and training them.

A curve is given by control points: the two ends, which stay, and the bends between them, which are trained to make
``E_{t ~ U(0,1)} loss(w(t))`` small. As on the line of a barrier, t = 1 is the first network and t = 0 the second.
"""

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from landscape_cli.compute.batchnorm import batch_norms
from landscape_cli.compute.choices import BatchNormMode
from landscape_cli.compute.named_tensors import home_of
from landscape_cli.compute.samples import BATCH, Samples
from landscape_cli.compute.weights.curve_choices import CurveForm
from landscape_cli.compute.weights.interpolation import Path, Prepared
from landscape_cli.errors import NetworkError

State = Mapping[str, Tensor]

MIDDLE = 0.5  # the point that a curve in training is evaluated at


def coefficients(form: CurveForm, points: int, t: float) -> list[float]:
    """The weight of each control point in w(t); they are not negative and add up to 1.

    ``bezier``: Bernstein polynomials of degree n = ``points`` − 1, ``binom(n, k) (1−s)^{n−k} s^k`` with s = 1 − t, so
    that the first control point is at t = 1; of degree 2 Garipov et al.'s ``(1−s)² w₁ + 2 s (1−s) θ + s² w₂``.
    ``chain``: the straight lines between neighbours, each for an equal part of t.

    Raises:
        ValueError: If there are fewer than two points, or t lies outside [0, 1].

    >>> coefficients("bezier", 3, 0.5), coefficients("chain", 3, 0.75)
    ([0.25, 0.5, 0.25], [0.5, 0.5, 0.0])
    """
    if points < 2 or not 0 <= t <= 1:
        raise ValueError("a curve has at least two points and goes from 0 to 1")
    last, s = points - 1, 1 - t
    if form == "bezier":
        return [math.comb(last, k) * t ** (last - k) * s**k for k in range(points)]
    place = min(int(s * last), last - 1)
    share = s * last - place
    return [1 - share if k == place else share if k == place + 1 else 0.0 for k in range(points)]


def mixed(form: CurveForm, tensors: Sequence[Tensor], t: float) -> Tensor:
    """``w(t)`` of one tensor by repeated linear interpolation (de Casteljau), in float32 at least.

    At t = 1 and t = 0 it is the end's to the last bit, and between equal control points it stays equal.

    Args:
        form: Of the curve.
        tensors: The control points', the first at t = 1.
        t: Where.
    """
    if form == "chain":
        last, s = len(tensors) - 1, 1 - t
        place = min(int(s * last), last - 1)
        return torch.lerp(tensors[place], tensors[place + 1], s * last - place)
    level = list(tensors)
    while len(level) > 1:
        level = [torch.lerp(two, one, t) for one, two in itertools.pairwise(level)]
    return level[0]


class CurvePath(Path[float]):
    """A curve as a path that a network walks in place; see :class:`Path` for batch norm and errors.

    Args:
        network: The module that walks; its own weights do not matter.
        controls: The states of the control points, the first at t = 1.
        form: Of the curve.
        batch_norm: What happens to the statistics; ``lerp`` mixes those of the control points.
        statistics: The samples to recompute them on.
        batch: Samples a forward pass when recomputing.
    """

    def __init__(
        self,
        network: nn.Module,
        controls: Sequence[State | Prepared],
        form: CurveForm,
        *,
        batch_norm: BatchNormMode = "recompute",
        statistics: Samples | None = None,
        batch: int = BATCH,
    ) -> None:
        super().__init__(network, controls, batch_norm=batch_norm, statistics=statistics, batch=batch)
        self.form: CurveForm = form

    def mix(self, tensors: Sequence[Tensor], at: float, out: Tensor | None = None) -> Tensor:
        """``w(t)``."""
        found = mixed(self.form, tensors, at)
        return found if out is None else out.copy_(found)


class CurveNetwork(nn.Module):
    """A curve as a module whose parameters are its bends; in training each batch is that of the network at a random t.

    The gradient of a bend is ``c_k(t) ∇loss(w(t))``, so that stochastic gradient descent minimises the mean loss along
    the curve. t is drawn from the default generator, once a forward pass. Weight decay acts on the point, not on the
    bends: ``½ λ ‖w(t)‖²`` is part of the loss (as in Garipov et al.'s code), whatever the optimiser.

    In evaluation mode it is the network in the middle, t = ½, batch norm by the statistics of the batch: those of one
    point would be wrong for all others, and are recomputed where a point is measured.

    Its state holds every control point whole: ``first.…``, ``bends.0.…``, ``second.…``.

    Cost: a training step of the network, and one pass over the weights of all control points. Memory: as many networks
    as control points, and the network.

    Args:
        network: The network; it is taken over.
        controls: States of the control points; the first and the last are the ends.
        form: Of the curve.
        decay: λ.

    Raises:
        NetworkError: If there is no bend.
    """

    def __init__(self, network: nn.Module, controls: Sequence[State], form: CurveForm, *, decay: float = 0.0) -> None:
        super().__init__()
        if len(controls) < 3:
            raise NetworkError("a curve without a bend is a line", "give --bends 1 or more")
        self._network = [network]  # in a list: its weights are none of the curve's
        self.form: CurveForm = form
        self.decay = decay
        self._trained = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
        first: dict[nn.Parameter, str] = {}  # tied weights stay tied
        for name, parameter in network.named_parameters(remove_duplicate=False):
            first.setdefault(parameter, name)
        self._owner = {name: first[p] for name, p in network.named_parameters(remove_duplicate=False)}
        names = ["first", *(f"bends.{k}" for k in range(len(controls) - 2)), "second"]
        for name, state in zip(names, controls, strict=True):
            self._hold(name, state, trains=name.startswith("bends"))
        self._names = names

    def _hold(self, prefix: str, state: State, *, trains: bool) -> None:
        bends: dict[str, nn.Parameter] = {}
        for name, tensor in state.items():
            home, leaf = home_of(self, f"{prefix}.{name}")
            owner = self._owner.get(name, name)
            if trains and owner in self._trained:
                home.register_parameter(leaf, bends.setdefault(owner, nn.Parameter(state[owner].detach().clone())))
            else:
                home.register_buffer(leaf, tensor.detach().clone())

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "CurveNetwork":
        self._network[0]._apply(fn)  # type: ignore[no-untyped-call]
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def train(self, mode: bool = True) -> "CurveNetwork":
        """Training or evaluation mode; batch norm always takes the batch's statistics."""
        super().train(mode)
        self._network[0].train(mode)
        for layer in batch_norms(self._network[0]):
            layer.train()
        return self

    def forward(self, x: Tensor) -> Tensor:
        """The logits of a batch at a random point, or in evaluation mode in the middle."""
        t = float(torch.rand(())) if self.training else MIDDLE
        logits: Tensor = functional_call(self._network[0], self.point(t), (x,))
        return logits

    def point(self, t: float) -> dict[str, Tensor]:
        """The trainable tensors at t, and the first end's others."""
        shares = coefficients(self.form, len(self._names), t)
        own = dict(self.named_parameters(remove_duplicate=False)) | dict(self.named_buffers())
        made = {}
        for name in self._trained:
            parts = [
                own[f"{prefix}.{name}"] * share for prefix, share in zip(self._names, shares, strict=True) if share
            ]
            whole = torch.stack(parts).sum(0) if len(parts) > 3 else sum(parts[1:], parts[0])
            made[name] = _decayed(whole, self.decay) if self.decay and self.training else whole
        frozen = [name for name, p in self._network[0].named_parameters() if not p.requires_grad]
        return made | {name: own[f"first.{name}"] for name in frozen}


class _Decayed(torch.autograd.Function):
    """The identity, to whose gradient that of ``½ λ ‖w‖²`` is added."""

    @staticmethod
    def forward(ctx: Any, weights: Tensor, decay: float) -> Tensor:
        ctx.save_for_backward(weights)
        ctx.decay = decay
        return weights.view_as(weights)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (weights,) = ctx.saved_tensors
        return gradients[0] + ctx.decay * weights, None


def _decayed(weights: Tensor, decay: float) -> Tensor:
    found: Tensor = _Decayed.apply(weights, decay)  # type: ignore[no-untyped-call]
    return found


def straight(first: State, second: State, bends: int) -> list[dict[str, Tensor]]:
    """Control points on the straight line between two states: where the bends begin.

    Counters (integers) are the first's. A curve through them is the line itself, at equal speed.

    >>> [float(c["w"]) for c in straight({"w": torch.tensor(4.0)}, {"w": torch.tensor(0.0)}, 3)]
    [4.0, 3.0, 2.0, 1.0, 0.0]
    """
    made = [dict(first)]
    for k in range(1, bends + 1):
        share = k / (bends + 1)
        made.append({n: torch.lerp(t, second[n], share) if t.is_floating_point() else t for n, t in first.items()})
    return [*made, dict(second)]


def curve_length(controls: Sequence[State], names: Sequence[str], form: CurveForm, *, pieces: int = 64) -> float:
    """The length of a curve in units of the straight line between its ends, from a polygon of equal steps in t.

    Args:
        controls: States of the control points.
        names: The tensors that count.
        form: Of the curve.
        pieces: Sides of the polygon.

    Cost: ``pieces`` passes over the weights.
    """
    squares = [0.0] * pieces
    ends = 0.0
    for name in names:
        tensors = [control[name].detach().double() for control in controls]
        ends += float((tensors[0] - tensors[-1]).square().sum())
        before = tensors[-1]
        for k in range(pieces):
            after = mixed(form, tensors, (k + 1) / pieces)
            squares[k] += float((after - before).square().sum())
            before = after
    return sum(map(math.sqrt, squares)) / math.sqrt(ends) if ends else math.nan
