"""Hessian, Gauss–Newton matrix and empirical Fisher matrix of a mean loss, as products with vectors.

Anything with a ``size``, a ``like`` vector and an ``apply`` is an operator; the algorithms beside this module (Lanczos,
trace, spectral density) know nothing else of it.
"""

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from landscape_cli.compute.batchnorm import batch_norms
from landscape_cli.compute.weights.convolution_derivatives import PlainConvolutions
from landscape_cli.compute.weights.curvature_choices import Curvature
from landscape_cli.compute.weights.second_derivatives import (
    kinks,
    naming,
    no_second_derivative,
    operations,
    own_functions,
    steps,
    watching_own,
)
from landscape_cli.errors import DataError, NetworkError

MEMORY = 4_000_000_000  # bytes of graphs kept between products
Batch = tuple[Float[Tensor, "..."], Int64[Tensor, "_"]]  # inputs and labels


@runtime_checkable
class Operator(Protocol):
    """A symmetric matrix of which only products with vectors are known."""

    @property
    def size(self) -> int:
        """Rows."""

    @property
    def like(self) -> Tensor:
        """A tensor of the type and device that vectors have."""

    def apply(self, vector: Float[Tensor, " parameter"]) -> Float[Tensor, " parameter"]:
        """The product with a vector."""


@dataclass(eq=False)
class _Kept:
    """The graph of one batch: what a product differentiates."""

    outputs: Tensor  # whose vector–Jacobian products are wanted; of the Hessian, none
    probe: Tensor | None  # the cotangent that the graph was made with, to be differentiated in turn
    gradients: list[Tensor]  # of each parameter; those that depend on nothing further are left out
    places: list[int]  # the parameters they belong to


class NetworkOperator(ABC):
    """A curvature of ``L(w) = (1/n) Σ_i ℓ(f(x_i; w), y_i)``, ℓ the cross-entropy in nats, over the trainable weights.

    The graph of a batch's gradient is made once and kept for all products, as far as the memory goes: a product then
    costs two thirds of one that makes it anew. Graphs beyond the budget are made anew in every product.

    Args:
        network: On the device of the batches, its weights in place; they must not change while the operator lives.
        batches: Normalised inputs and labels. With batch statistics each batch is a minibatch of its own, and L the
            mean over images of the loss that each has inside its batch; else L does not depend on the batches.
        batch_statistics: Batch norm normalises with the statistics of the batch (as in training), and the derivative
            goes through them. Else it uses its running statistics as constants. All other layers are in evaluation
            mode; running statistics are never changed.
        label_smoothing: Share of the target spread over all classes.
        memory: Bytes of graphs kept.

    Raises:
        DataError: If there are no samples.
        NetworkError: If the network has nothing to train, or an operation cannot be differentiated twice.
    """

    name: Curvature

    def __init__(
        self,
        network: nn.Module,
        batches: Sequence[Batch],
        *,
        batch_statistics: bool = False,
        label_smoothing: float = 0.0,
        memory: int = MEMORY,
    ) -> None:
        self.parameters = [(name, p) for name, p in network.named_parameters() if p.requires_grad]
        if not self.parameters:
            raise NetworkError("the network has no trainable parameters", "curvature is over requires_grad=True")
        self.network = network
        self.batches = batches
        self.samples = sum(len(y) for _, y in batches)
        if not self.samples:
            raise DataError("the curvature of a loss needs samples")
        self.batch_statistics = batch_statistics
        self.label_smoothing = label_smoothing
        self.products = 0
        self.kinks: tuple[str, ...] = ()
        self.steps: tuple[str, ...] = ()
        self.suspects: tuple[str, ...] = ()
        self._tensors = [p for _, p in self.parameters]
        self._kept: dict[int, _Kept] = {}
        self._room = memory
        self._each: int | None = None

    @property
    def size(self) -> int:
        """The number of trainable weights."""
        return sum(p.numel() for p in self._tensors)

    @property
    def like(self) -> Tensor:
        """A trainable weight."""
        return self._tensors[0].detach()

    @property
    def kept_batches(self) -> int:
        """How many batches keep their graphs."""
        return len(self._kept)

    def apply(self, vector: Float[Tensor, " parameter"]) -> Float[Tensor, " parameter"]:
        """The product with a vector over all weights, flattened in the order of ``named_parameters``.

        Cost: two forward and backward passes over batches with a kept graph, three over others.

        Raises:
            NetworkError: If an operation has no second derivative, or the product is NaN or infinite.
        """
        return self._over(vector, range(len(self.batches)))

    def part(self, numbers: Sequence[int]) -> "PartOperator":
        """The same curvature of the mean loss over some of the batches, by their numbers; it shares the kept graphs."""
        return PartOperator(self, numbers)

    def _over(self, vector: Float[Tensor, " parameter"], numbers: Sequence[int]) -> Float[Tensor, " parameter"]:
        """What so many batches add to the product."""
        lengths = [p.numel() for p in self._tensors]
        parts = [part.view(p.shape) for part, p in zip(torch.split(vector, lengths), self._tensors, strict=True)]
        total = torch.zeros_like(vector)
        pieces = torch.split(total, lengths)
        for number in numbers:
            graph, kept = self._graph(number)
            with naming():
                found = self._product(graph, parts, keep=kept)
            for piece, part in zip(pieces, found, strict=True):
                if part is not None:
                    piece += part.reshape(-1)
        self.products += 1
        if not bool(torch.isfinite(total).all()):
            where = next(name for (name, _), piece in zip(self.parameters, pieces, strict=True) if not _finite(piece))
            raise NetworkError(
                f"a product with the {self.name} is NaN or infinite, first in '{where}'",
                "a square root or norm at zero has no second derivative; --precision float64 helps against overflow",
            )
        return total

    @abstractmethod
    def _build(self, logits: Tensor, labels: Tensor) -> _Kept:
        """The graph of a batch."""

    @abstractmethod
    def _product(self, graph: _Kept, parts: Sequence[Tensor], *, keep: bool) -> Sequence[Tensor | None]:
        """A batch's share of the product, by parameter."""

    def _graph(self, number: int) -> tuple[_Kept, bool]:
        """The graph of a batch, and whether it stays."""
        if number in self._kept:
            return self._kept[number], True
        if self._each is None:
            measured = _Size()
            with torch.autograd.graph.saved_tensors_hooks(measured, lambda saved: saved):
                self._make(number)
            self._each = max(1, measured.bytes)
        graph = self._make(number)
        keep = (len(self._kept) + 1) * self._each <= self._room
        if keep:
            self._kept[number] = graph
        return graph, keep

    def _make(self, number: int) -> _Kept:
        inputs, labels = self.batches[number]
        with modes(self.network, batch_statistics=self.batch_statistics), torch.enable_grad():
            with PlainConvolutions():
                logits = self.network(inputs)
            if logits.ndim != 2 or not logits.requires_grad:
                raise NetworkError("the network's outputs are no differentiable (sample, class)")
            if int(labels.max()) >= logits.shape[1]:
                raise DataError(f"label {int(labels.max())} lies outside the network's {logits.shape[1]} outputs")
            if not _finite(logits):
                raise NetworkError(
                    f"the network's outputs are NaN or infinite on batch {number + 1} of {len(self.batches)}"
                )
            nodes = operations(logits)
            self.kinks, self.steps, self.suspects = kinks(nodes), steps(nodes), own_functions(nodes)
            with naming(), watching_own(nodes):
                graph = self._build(logits, labels)
        if not graph.gradients:
            raise no_second_derivative(nodes)
        return graph

    def _gradients(self, outputs: Tensor, cotangent: Tensor | None) -> tuple[list[Tensor], list[int]]:
        """Gradients of the parameters that can be differentiated further, and whose they are."""
        found = torch.autograd.grad(
            outputs, self._tensors, cotangent, create_graph=True, retain_graph=True, allow_unused=True
        )
        places = [k for k, gradient in enumerate(found) if gradient is not None and gradient.requires_grad]
        return [found[k] for k in places], places

    def _losses(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits, labels, reduction="none", label_smoothing=self.label_smoothing)

    def gradient(self) -> tuple[float, Float[Tensor, " parameter"]]:
        """The mean loss and its gradient. Cost: a forward and a backward pass over the samples."""
        total = torch.zeros(self.size, dtype=self.like.dtype, device=self.like.device)
        loss = 0.0
        for number in range(len(self.batches)):
            value, found = self.batch_gradient(number)
            share = len(self.batches[number][1]) / self.samples
            total += found * share
            loss += value * share
        return loss, total

    def batch_gradient(self, number: int) -> tuple[float, Float[Tensor, " parameter"]]:
        """The mean loss of one batch and its gradient. Cost: a forward and a backward pass over the batch."""
        inputs, labels = self.batches[number]
        with modes(self.network, batch_statistics=self.batch_statistics), torch.enable_grad():
            loss = self._losses(self.network(inputs), labels).mean()
            found = torch.autograd.grad(loss, self._tensors, materialize_grads=True)
        return float(loss.detach()), torch.cat([g.reshape(-1) for g in found])


class HessianOperator(NetworkOperator):
    """``H = ∇²L``, by differentiating the gradient (Pearlmutter 1994)."""

    name: Curvature = "hessian"

    def _build(self, logits: Tensor, labels: Tensor) -> _Kept:
        loss = self._losses(logits, labels).sum() / self.samples
        gradients, places = self._gradients(loss, None)
        return _Kept(loss, None, gradients, places)

    def _product(self, graph: _Kept, parts: Sequence[Tensor], *, keep: bool) -> Sequence[Tensor | None]:
        return torch.autograd.grad(
            graph.gradients, self._tensors, [parts[k] for k in graph.places], retain_graph=keep, allow_unused=True
        )


class GaussNewtonOperator(NetworkOperator):
    """``G = (1/n) Σ_i J_iᵀ (diag p_i − p_i p_iᵀ) J_i``, J_i the Jacobian of the logits (Schraudolph 2002).

    It is the Hessian without the curvature of the network itself, positive semi-definite, and for the cross-entropy of
    a softmax equal to the (true) Fisher information matrix. The Jacobian–vector product is the derivative of the
    vector–Jacobian product with respect to its cotangent, in which it is linear.
    """

    name: Curvature = "gauss-newton"

    def _build(self, logits: Tensor, labels: Tensor) -> _Kept:
        return self._linear(logits)

    def _linear(self, outputs: Tensor) -> _Kept:
        probe = torch.zeros_like(outputs, requires_grad=True)
        gradients, places = self._gradients(outputs, probe)
        return _Kept(outputs, probe, gradients, places)

    def _product(self, graph: _Kept, parts: Sequence[Tensor], *, keep: bool) -> Sequence[Tensor | None]:
        assert graph.probe is not None
        (along,) = torch.autograd.grad(
            graph.gradients, [graph.probe], [parts[k] for k in graph.places], retain_graph=True
        )
        return torch.autograd.grad(
            graph.outputs, self._tensors, self._middle(graph.outputs, along), retain_graph=keep, allow_unused=True
        )

    def _middle(self, outputs: Tensor, along: Tensor) -> Tensor:
        p = outputs.detach().softmax(1)
        return p * (along - (p * along).sum(1, keepdim=True)) / self.samples


class EmpiricalFisherOperator(GaussNewtonOperator):
    """``F = (1/n) Σ_i ∇ℓ_i ∇ℓ_iᵀ``, the second moment of the gradients of single samples."""

    name: Curvature = "empirical-fisher"

    def _build(self, logits: Tensor, labels: Tensor) -> _Kept:
        return self._linear(self._losses(logits, labels))

    def _middle(self, outputs: Tensor, along: Tensor) -> Tensor:
        return along / self.samples


class PartOperator:
    """The curvature of the mean loss over some of an operator's batches.

    Args:
        whole: The operator.
        numbers: Of the batches.
    """

    def __init__(self, whole: NetworkOperator, numbers: Sequence[int]) -> None:
        self._whole, self._numbers = whole, numbers
        self._scale = whole.samples / sum(len(whole.batches[number][1]) for number in numbers)

    @property
    def size(self) -> int:
        """The number of trainable weights."""
        return self._whole.size

    @property
    def like(self) -> Tensor:
        """A trainable weight."""
        return self._whole.like

    @property
    def suspects(self) -> tuple[str, ...]:
        """User-written functions in the network."""
        return self._whole.suspects

    def apply(self, vector: Float[Tensor, " parameter"]) -> Float[Tensor, " parameter"]:
        """The product with a vector; see :meth:`NetworkOperator.apply`."""
        return self._whole._over(vector, self._numbers) * self._scale


OPERATORS: dict[Curvature, type[NetworkOperator]] = {
    "hessian": HessianOperator,
    "gauss-newton": GaussNewtonOperator,
    "empirical-fisher": EmpiricalFisherOperator,
}


@contextlib.contextmanager
def modes(network: nn.Module, *, batch_statistics: bool) -> Iterator[None]:
    """Evaluation mode; with ``batch_statistics`` batch norm normalises by the batch. Its buffers stay as they are."""
    before = [(module, module.training) for module in network.modules()]
    layers = batch_norms(network) if batch_statistics else []
    network.eval()
    for layer in layers:
        # Training without tracking: the batch's statistics are used and none are kept.
        layer.train()
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in layers:
            layer.track_running_stats = True
        for module, training in before:
            module.training = training


class _Size:
    """Counts the bytes that a graph saves, each storage once."""

    def __init__(self) -> None:
        self.bytes = 0
        self._seen: set[int] = set()
        self._alive: list[Any] = []  # an address is taken again once its tensor is gone

    def __call__(self, saved: Tensor) -> Tensor:
        storage = saved.untyped_storage()
        if storage.data_ptr() not in self._seen:
            self._seen.add(storage.data_ptr())
            self._alive.append(storage)
            self.bytes += storage.nbytes()
        return saved


def _finite(tensor: Tensor) -> bool:
    return bool(torch.isfinite(tensor).all())
