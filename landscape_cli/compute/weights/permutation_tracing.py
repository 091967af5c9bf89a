"""Finding what may be permuted in a network, by watching one forward pass.

No network is described by hand. A forward pass in evaluation mode is watched operation by operation, whatever Python
code makes it, and each number of each activation is followed back to the hidden unit it belongs to
(:mod:`landscape_cli.compute.weights.permutation_rules` says what each operation does to that). Sums tie units of two
layers into one (a residual stream), a zero-padded shortcut ties the units it carries and leaves the others to
themselves, a flattening gives a unit several places in the next layer, a concatenation puts units side by side.

Two units may be exchanged if they are used alike: on the same axes of the same tensors, as often, and with activations
that were computed alike. That makes the groups. At the end permutations are tried on the network itself.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from landscape_cli.compute.weights.permutation_labels import INPUT, Labels, key, mix, places
from landscape_cli.compute.weights.permutation_rules import Rules
from landscape_cli.compute.weights.permutation_uses import Uses
from landscape_cli.compute.weights.permutations import PermutationGraph, State
from landscape_cli.errors import NetworkError

FURTHER = 6  # random inputs of the trial, beside the given ones
TOLERANCE = 1e-8  # of the trial, relative to the largest logit, in float64


def trace_permutations(network: nn.Module, inputs: Tensor) -> PermutationGraph:
    """The groups of hidden units of a network that may be permuted, and where they are.

    Inputs and outputs of the network keep their order. The result is checked: permutations of the network with random
    weights must leave its outputs as they are.

    Args:
        network: The network; it is left as it was.
        inputs: A batch of one or more inputs, of which the first two are used.

    Cost: a copy of the network, a forward pass of two inputs, hashing as many numbers as they have activations, and
    three passes of eight inputs in float64.

    Raises:
        NetworkError: If an operation cannot be followed; the message names the module and the operation.
    """
    # A copy in torch's plain memory layout: in another one, some operations only rearrange memory.
    network = deepcopy(network).to("cpu").to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    inputs = inputs[:2].detach().to("cpu").contiguous()
    uses = Uses(_parameters(network))
    rules = Rules(uses)
    watch = _Watch(network, rules)
    rules.known[id(inputs)] = Labels(
        np.full(tuple(inputs.shape), INPUT),
        mix(key("input"), places(tuple(inputs.shape), range(inputs.ndim))),
    )
    network.eval()
    with watch.modules(), torch.no_grad(), watch:
        outputs = network(inputs)
    if not isinstance(outputs, Tensor):
        raise NetworkError(f"the network returns {type(outputs).__name__}, not logits: it cannot be permuted")
    found = rules.known.get(id(outputs))
    graph = uses.graph(found.atoms if isinstance(found, Labels) else np.zeros(0, dtype=np.int64))
    check(network, graph, inputs)
    return graph


def check(network: nn.Module, graph: PermutationGraph, inputs: Tensor, *, seed: int = 0) -> None:
    """Make sure that permutations do not change what a network with random weights computes: a shift, a random one.

    Raises:
        NetworkError: If it does.
    """
    draw = np.random.default_rng(seed)
    trial = deepcopy(network).to(device="cpu", dtype=torch.float64)
    with torch.no_grad():
        for name, tensor in trial.state_dict().items():
            if tensor.is_floating_point():
                factors = torch.from_numpy(draw.uniform(0.5, 1.5, tuple(tensor.shape)))
                noise = torch.from_numpy(draw.uniform(0, 0.2, tuple(tensor.shape)))
                spread = float(tensor.std()) if tensor.numel() > 1 and "running_" not in name else 0.0
                tensor.copy_(tensor * factors + noise * (spread or 0.5))
    state = {name: tensor.clone() for name, tensor in trial.state_dict().items()}
    x = inputs.detach().to(device="cpu", dtype=torch.float64)
    # Units that are off on all of a few inputs would hide what is wrong with them.
    x = torch.cat([x, x.mean() + x.std() * torch.from_numpy(draw.normal(size=(FURTHER, *x.shape[1:])))])
    trial.eval()
    with torch.no_grad():
        before = trial(x)
        difference, scale = 0.0, float(before.abs().max())
        shifted = [np.roll(order, 1) for order in graph.identity()]  # moves every unit
        for permutations in (shifted, graph.shuffled(draw)):
            trial.load_state_dict(graph.apply(state, permutations))
            difference = max(difference, float((trial(x) - before).abs().max()))
    if not difference <= TOLERANCE * scale:
        raise NetworkError(
            "the permutations that were derived for this network change its outputs "
            f"(by {difference:.2g} of {scale:.2g}): it does something that tracing does not see",
            "an in-place change of part of an activation can be such a thing",
        )


def logit_difference(network: nn.Module, before: State, after: State, inputs: Tensor) -> float:
    """The largest difference between the logits of a network before and after its units were permuted, in float64.

    Args:
        network: Of that architecture; it is left alone.
        before: Its tensors.
        after: The same with units in another order.
        inputs: A few, as the network takes them.

    Cost: a copy of the network, and two passes of the inputs.

    Raises:
        NetworkError: If it is no rounding error.
    """
    x = inputs.detach().to("cpu", torch.float64)
    trial = deepcopy(network).to(device="cpu", dtype=torch.float64).eval()
    outputs = []
    with torch.no_grad():
        for state in (before, after):
            trial.load_state_dict(dict(state))
            outputs.append(trial(x))
    difference = float((outputs[0] - outputs[1]).abs().max())
    if not difference <= TOLERANCE * max(1.0, float(outputs[0].abs().max())):
        raise NetworkError(
            f"the aligned network does not compute what it was made from: logits differ by {difference:.2g}",
            "does its forward pass depend on values of activations?",
        )
    return difference


def _parameters(network: nn.Module) -> dict[int, tuple[Tensor, tuple[str, ...], bool]]:
    """Parameters and stored floating buffers by identity: the tensor, its names, whether it is a parameter."""
    stored = network.state_dict(keep_vars=True)
    found: dict[int, tuple[Tensor, tuple[str, ...], bool]] = {}
    for name, tensor in stored.items():
        if isinstance(tensor, Tensor) and tensor.is_floating_point():
            names = found[id(tensor)][1] if id(tensor) in found else ()
            found[id(tensor)] = (tensor, (*names, name), isinstance(tensor, nn.Parameter))
    return found


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Hands each operation of a forward pass to the rules, with the module that it is part of."""

    def __init__(self, network: nn.Module, rules: Rules) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.network = network
        self.rules = rules

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """No: torch would import its compiler, which takes seconds, only to keep it away from here."""
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        self.rules.follow(func, args, dict(kwargs or {}), result)
        return result

    @contextmanager
    def modules(self) -> Iterator[None]:
        """While the block runs, the rules know which module is running."""
        path = self.rules.path
        handles = []
        for name, module in self.network.named_modules():

            def enter(module: nn.Module, args: Any, name: str = name) -> None:
                path.append(f"{name or 'the network'} ({type(module).__name__})")

            handles.append(module.register_forward_pre_hook(enter))
            handles.append(module.register_forward_hook(_leaving(path), always_call=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
            path.clear()


def _leaving(path: list[str]) -> Callable[[nn.Module, Any, Any], None]:
    def leave(module: nn.Module, args: Any, result: Any) -> None:
        if path:
            path.pop()

    return leave
