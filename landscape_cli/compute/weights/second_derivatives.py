"""Which operation of a network keeps its loss from being differentiated twice."""

import contextlib
import re
from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor
from torch.autograd.function import BackwardCFunction

from landscape_cli.compute.weights.convolution_derivatives import PlainConvolution
from landscape_cli.errors import NetworkError

HINT = "write it from operations whose backward pass can itself be differentiated"
# Smooth almost everywhere: between their kinks the Hessian is that of the piece the sample lies on.
KINKS = {
    "ReluBackward": "ReLU", "ThresholdBackward": "threshold", "LeakyReluBackward": "leaky ReLU",
    "PreluKernelBackward": "PReLU", "HardtanhBackward": "hardtanh", "HardsigmoidBackward": "hardsigmoid",
    "HardswishBackward": "hardswish", "RreluWithNoiseBackward": "RReLU", "AbsBackward": "abs",
    "ClampBackward": "clamp", "ClampMinBackward": "clamp", "ClampMaxBackward": "clamp", "MaxBackward": "max",
    "AmaxBackward": "max", "MinBackward": "min", "AminBackward": "min", "MaximumBackward": "maximum",
    "MinimumBackward": "minimum", "SortBackward": "sort", "TopkBackward": "topk",
    "MaxPool2DWithIndicesBackward": "max-pooling", "MaxPool3DWithIndicesBackward": "max-pooling",
    "AdaptiveMaxPool2DBackward": "max-pooling",
}  # fmt: skip
# Constant almost everywhere: what lies before them gets no gradient at all.
STEPS = {
    "SignBackward": "sign", "RoundBackward": "round", "FloorBackward": "floor", "CeilBackward": "ceil",
    "TruncBackward": "trunc", "HeavisideBackward": "heaviside", "SgnBackward": "sgn",
}  # fmt: skip

_MISSING = re.compile(r"derivative for (?:aten::)?(\S+) is not implemented")
_ERROR = "autograd::Error"  # what torch puts in place of the derivative of a once_differentiable backward


def operations(outputs: Tensor) -> list[Any]:
    """All nodes of the graph behind a tensor. Cost: one walk over the graph."""
    seen: set[Any] = set()
    waiting = [outputs.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        waiting += [following for following, _ in node.next_functions]
    return list(seen)


def own_functions(nodes: Sequence[Any]) -> tuple[str, ...]:
    """The names of user-written ``autograd.Function`` among the nodes of a graph."""
    return tuple(sorted({type(node).__name__.removesuffix("Backward") for node in _own(nodes)}))


def _own(nodes: Sequence[Any]) -> list[Any]:
    """The nodes of user-written functions, this toolkit's apart."""
    return [
        node
        for node in nodes
        if isinstance(node, BackwardCFunction) and type(node).__name__ != f"{PlainConvolution.__name__}Backward"
    ]


def kinks(nodes: Sequence[Any]) -> tuple[str, ...]:
    """The operations of a graph whose derivative jumps."""
    return tuple(sorted({KINKS[name] for node in nodes if (name := node.name().rstrip("0123456789")) in KINKS}))


def steps(nodes: Sequence[Any]) -> tuple[str, ...]:
    """The operations of a graph that are constant almost everywhere."""
    return tuple(sorted({STEPS[name] for node in nodes if (name := node.name().rstrip("0123456789")) in STEPS}))


def no_second_derivative(nodes: Sequence[Any]) -> NetworkError:
    """What to say when none of the gradients depends on the weights."""
    suspects = own_functions(nodes) or steps(nodes)
    if suspects:
        return NetworkError(f"the loss has no second derivative: {', '.join(suspects)} gives none", HINT)
    return NetworkError("the loss is linear in every weight: its second derivative is zero")


@contextlib.contextmanager
def watching_own(nodes: Sequence[Any]) -> Iterator[None]:
    """While a gradient is taken with its graph, see that user-written backward passes take part in it.

    torch is silent about one that does not, and goes on as if the function were constant.

    Raises:
        NetworkError: If one is cut off; the function is named.
    """
    cut: dict[str, str] = {}

    def look(name: str) -> Any:
        def hook(found: tuple[Tensor | None, ...], given: tuple[Tensor | None, ...]) -> None:
            if not any(g is not None and g.requires_grad for g in given):
                return
            for gradient in found:
                if gradient is not None and not gradient.requires_grad:
                    cut[name] = "has a backward pass without a graph of its own"
                elif gradient is not None and gradient.grad_fn is not None and _ERROR in gradient.grad_fn.name():
                    cut[name] = "can be differentiated only once (once_differentiable)"

        return hook

    handles = [node.register_hook(look(type(node).__name__.removesuffix("Backward"))) for node in _own(nodes)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
    for name, why in cut.items():
        raise NetworkError(f"{name} {why}: the loss cannot be differentiated twice", HINT)


@contextlib.contextmanager
def naming() -> Iterator[None]:
    """Turn torch's errors about a missing second derivative into one that names the operation.

    Raises:
        NetworkError: If a derivative is missing.
    """
    try:
        yield
    except RuntimeError as error:  # also what torch has not implemented
        if match := _MISSING.search(str(error)):
            name = match[1]
            hint = HINT
            if "attention" in name:
                hint = "run it with torch.nn.attention.sdpa_kernel(SDPBackend.MATH) around its attention"
            raise NetworkError(
                f"{name} has no derivative in torch: the loss cannot be differentiated twice", hint
            ) from error
        raise


def asymmetric(suspects: Sequence[str], share: float) -> NetworkError:
    """What to say when products with a Hessian are not those of a symmetric matrix.

    Args:
        suspects: User-written functions in the graph.
        share: The asymmetry as a share of the largest eigenvalue.
    """
    who = f"the second derivative of {', '.join(suspects)} is wrong or missing" if suspects else (
        "a second derivative is wrong, or rounding outweighs it"
    )  # fmt: skip
    hint = HINT if suspects else "try --precision float64"
    return NetworkError(f"products with the curvature are not symmetric (by {share:.0%} of it): {who}", hint)
