"""The update that an optimiser would make of a gradient, without making it."""

import copy
from collections.abc import Mapping

import torch
from jaxtyping import Float
from torch import Tensor, nn

from landscape_cli.compute.training.optimizers import build_optimizer, restore_optimizer
from landscape_cli.compute.training.protocol import Protocol
from landscape_cli.errors import UsageError


class Updates:
    """Directions ``u`` of steps ``w ← w − η u``, made by the very optimiser that trains.

    A copy of the network takes the step on the CPU in float64, where the difference of the weights before and after
    it still has all the digits of u; weights, state and the network itself stay as they are. Momentum, Nesterov's
    look-ahead, Adam's scaling and weight decay, coupled or not, are all in u.

    Args:
        network: At the weights where the step begins.
        protocol: Optimiser, momentum and weight decay; its schedule is not asked.
        lr: The learning rate η of the step.
        state: The optimiser's tensors as ``parameter/slot``; None for an optimiser that begins.

    Cost: a copy of the network and its state; a few passes over the weights for each direction.

    Raises:
        CheckpointError: If the state belongs to another network.
        NetworkError: If the network has nothing to train.
        UsageError: If the learning rate is not above zero.
    """

    def __init__(
        self, network: nn.Module, protocol: Protocol, *, lr: float, state: Mapping[str, Tensor] | None = None
    ) -> None:
        if not lr > 0:
            raise UsageError(f"a step at learning rate {lr} goes nowhere", "give another --lr")
        self.lr = lr
        self._network = copy.deepcopy(network).cpu().double()
        self._before = [p.detach().clone() for p in self._trained()]
        self._protocol = protocol
        self._state = {
            name: value.double() if value.is_floating_point() and value.ndim else value
            for name, value in (state or {}).items()
        }

    def _trained(self) -> list[nn.Parameter]:
        return [p for p in self._network.parameters() if p.requires_grad]

    def direction(self, gradient: Float[Tensor, " parameter"]) -> Float[Tensor, " parameter"]:
        """``u`` of a gradient, flattened in the order of ``named_parameters``, of its type and on its device."""
        parameters = self._trained()
        exact = torch.split(gradient.cpu().double(), [p.numel() for p in parameters])
        for parameter, before, part in zip(parameters, self._before, exact, strict=True):
            parameter.data.copy_(before)
            parameter.grad = torch.empty_like(parameter).copy_(part.view(parameter.shape))
        optimizer = build_optimizer(self._network, self._protocol)
        restore_optimizer(self._network, optimizer, self._state)
        for group in optimizer.param_groups:
            group["lr"] = self.lr
        optimizer.step()
        moved = [(b - p.detach()).reshape(-1) for p, b in zip(parameters, self._before, strict=True)]
        return (torch.cat(moved) / self.lr).to(gradient)
