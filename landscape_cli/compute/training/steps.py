"""One optimiser step, from a batch's numbers to new weights, with buffers that stay where they are.

Everything that changes from step to step (which samples, how they are shifted and flipped, the learning rate) stands
in tensors that are filled before the step, so that a device can record the step once and replay it.
"""

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int64
from torch import Tensor, nn

from landscape_cli.compute.samples import Samples
from landscape_cli.compute.training.augmentation import Augmenter
from landscape_cli.compute.training.optimizers import SCALER, build_optimizer, optimizer_state, restore_optimizer
from landscape_cli.compute.training.protocol import Protocol


class Batch:
    """Which samples a step takes, and how they are shifted and flipped; tensors on the device, filled in place.

    Args:
        size: Samples.
        device: Where.
    """

    def __init__(self, size: int, device: torch.device) -> None:
        self.index: Int64[Tensor, " batch"] = torch.zeros(size, dtype=torch.int64, device=device)
        self.shifts: Int64[Tensor, "batch two"] = torch.zeros(size, 2, dtype=torch.int64, device=device)
        self.flips: Bool[Tensor, " batch"] = torch.zeros(size, dtype=torch.bool, device=device)

    def fill(self, index: Int64[Tensor, " batch"], draws: tuple[Tensor, Tensor] | None) -> None:
        """Take the next samples."""
        self.index.copy_(index)
        if draws is not None:
            self.shifts.copy_(draws[0])
            self.flips.copy_(draws[1])


class Step:
    """Forward pass, loss, backward pass and update of one batch.

    Args:
        network: On the device of ``samples``, in training mode.
        samples: The training set.
        protocol: Optimiser and loss.
        augmenter: Draws of the epoch; None without augmentation.
        state: The optimiser's tensors to begin with.
        autocast: The type of the products; None for that of ``samples``. ``torch.float16`` brings loss scaling: the
            loss is multiplied by a power of two that halves when a gradient overflows (that step is left out) and
            doubles after 2,000 steps without one; its state is part of the optimiser's.
        forward: The network, possibly compiled; None for the network itself.

    Raises:
        CheckpointError: If the state belongs to another network.
        NetworkError: If the network has nothing to train.
    """

    def __init__(
        self,
        network: nn.Module,
        samples: Samples,
        protocol: Protocol,
        *,
        augmenter: Augmenter | None = None,
        state: Mapping[str, Tensor] | None = None,
        autocast: torch.dtype | None = None,
        forward: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self.network = network
        self.samples = samples
        self.protocol = protocol
        self.augmenter = augmenter
        self.autocast = autocast
        self.device = samples.where.device
        self.optimizer = build_optimizer(network, protocol)
        self._scaler = torch.amp.GradScaler(self.device.type) if autocast == torch.float16 else None
        if state:
            restore_optimizer(network, self.optimizer, state)
            self._restore_scaler(state)
        if self._scaler is not None:
            self._begin_momentum()
        self._forward = forward or network
        self.loss = torch.zeros((), dtype=samples.where.dtype, device=self.device)

    def rate(self, rate: float) -> None:
        """Set the learning rate of the next step."""
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    def take(self, batch: Batch) -> None:
        """Make a step on a batch; ``loss`` is its mean cross-entropy before the step."""
        if self.augmenter is None:
            raw = self.samples.inputs[batch.index]
        else:
            raw = self.augmenter.apply(batch.index, batch.shifts, batch.flips)
        with torch.autocast(self.device.type, self.autocast, enabled=self.autocast is not None):
            logits = self._forward(self.samples.normalized(raw))
        loss = F.cross_entropy(
            logits.to(self.samples.where.dtype),
            self.samples.labels[batch.index],
            label_smoothing=self.protocol.label_smoothing,
        )
        self.optimizer.zero_grad(set_to_none=True)
        if self._scaler is None:
            loss.backward()  # type: ignore[no-untyped-call]
            self.optimizer.step()
        else:
            self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            self._scaler.step(self.optimizer)
            self._scaler.update()
        self.loss.copy_(loss.detach())

    def state(self) -> dict[str, Tensor]:
        """The optimiser's live tensors as ``parameter/slot``, and the scale of the loss where it has one."""
        found = optimizer_state(self.network, self.optimizer)
        if self._scaler is not None:
            kept = self._scaler.state_dict()
            found[f"{SCALER}scale"] = torch.tensor(kept["scale"], dtype=torch.float32)
            found[f"{SCALER}steps"] = torch.tensor(kept["_growth_tracker"], dtype=torch.int32)
        return found

    def _begin_momentum(self) -> None:
        """Momentum is zero before the first step: torch leaves it uninitialised where that step overflows."""
        for group in self.optimizer.param_groups:
            if group.get("momentum"):
                for parameter in group["params"]:
                    self.optimizer.state[parameter].setdefault("momentum_buffer", torch.zeros_like(parameter))

    def _restore_scaler(self, state: Mapping[str, Tensor]) -> None:
        if self._scaler is not None and f"{SCALER}scale" in state:
            kept = self._scaler.state_dict()
            kept["scale"] = float(state[f"{SCALER}scale"])
            kept["_growth_tracker"] = int(state[f"{SCALER}steps"])
            self._scaler.load_state_dict(kept)

    def changed(self) -> list[Tensor]:
        """Every tensor that a step changes: weights, buffers, the optimiser's state, the loss."""
        own = [*self.network.parameters(), *self.network.buffers(), self.loss]
        slots = [value for slots in self.optimizer.state.values() for value in slots.values()]
        if self._scaler is not None:
            slots += [self._scaler._scale, self._scaler._growth_tracker]
        return [tensor.detach() for tensor in [*own, *slots] if isinstance(tensor, Tensor)]
