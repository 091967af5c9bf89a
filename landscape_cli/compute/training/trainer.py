"""The training loop: a generator of states."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from landscape_cli.compute.batchnorm import batch_norms, recompute_statistics
from landscape_cli.compute.samples import Samples
from landscape_cli.compute.streams import seed_device, stream, stream_seed
from landscape_cli.compute.training.augmentation import Augmenter
from landscape_cli.compute.training.optimizers import build_optimizer, optimizer_state, restore_optimizer
from landscape_cli.compute.training.protocol import Protocol, Seeds, parse_augment
from landscape_cli.compute.training.schedules import learning_rate
from landscape_cli.errors import DataError, DivergedError

CHECK_EVERY = 50  # steps between looks at the loss where a look stalls the device


@dataclass(frozen=True)
class TrainingState:
    """A moment of training.

    Args:
        step: Steps taken.
        network: The live network: what is not copied before the next state is asked for, changes.
        optimizer: The optimiser's live tensors as ``parameter/slot``.
        lr: The learning rate of the next step.
        batch_loss: Loss of the last batch; None before the first step.
        gradient_norm: Euclidean norm of the last batch's gradient; None before the first step.
    """

    step: int
    network: nn.Module
    optimizer: dict[str, Tensor]
    lr: float
    batch_loss: float | None
    gradient_norm: float | None


def train(
    network: nn.Module,
    samples: Samples,
    protocol: Protocol,
    seeds: Seeds,
    *,
    start: int = 0,
    end: int,
    optimizer: Mapping[str, Tensor] | None = None,
    autocast: torch.dtype | None = None,
    prime: bool = False,
    wanted: Callable[[int], bool],
    on_step: Callable[[int], None] | None = None,
) -> Iterator[TrainingState]:
    """Train from step ``start`` to step ``end``, yielding a state at ``start`` and after each step that is wanted.

    The order of an epoch, its augmentation, and the draws of each step come from streams of their own
    (:mod:`landscape_cli.compute.streams`), so that from equal weights, optimiser state and step, training goes on
    equally, whenever it was begun: bit for bit on the same device with the same number of threads. The global random
    state is given back whenever a state is yielded.

    Args:
        network: On the device of ``samples``; trained in place.
        samples: The training set.
        protocol: How to train; its schedule counts from step 0, not from ``start``.
        seeds: Of the streams.
        start: Steps taken before.
        end: The last step.
        optimizer: Its state at ``start``; None begins afresh.
        autocast: ``torch.bfloat16`` makes the products of the forward and backward pass in that type; weights, their
            update and the loss stay in the type of ``samples``.
        prime: Whether this is the beginning of a run, at which its protocol may prime batch norm.
        wanted: Whether to yield after a given number of steps; asked once a step, ``end`` included.
        on_step: Told the number of steps taken, once a step.

    Raises:
        DivergedError: If a loss is NaN or infinite. The states yielded before are good.
        UsageError: If a batch is larger than the training set.
        DataError: If augmentation is asked for and inputs are no images.
    """
    loop = _Loop(network, samples, protocol, seeds, optimizer, autocast)
    if prime and protocol.prime_bn:
        loop.prime()
    yield loop.state(start)
    outer = torch.get_rng_state()
    loss: Tensor | None = None
    look = samples.where.device.type == "cpu"
    for step in range(start, end):
        loss = loop.step(step)
        done = step + 1
        chosen = wanted(done)
        if (look or chosen or done % CHECK_EVERY == 0 or done == end) and not math.isfinite(loss.item()):
            torch.set_rng_state(outer)
            raise DivergedError(
                f"the loss became {loss.item()} at step {done} (epoch {done / loop.steps_per_epoch:.4g})",
                "lower --lr, or lengthen --warmup; what was recorded before is kept",
                step=done,
            )
        if on_step is not None:
            on_step(done)
        if chosen:
            inner = torch.get_rng_state()
            torch.set_rng_state(outer)
            yield loop.state(done, loss)
            outer = torch.get_rng_state()
            torch.set_rng_state(inner)
    torch.set_rng_state(outer)


class _Loop:
    """What stays the same from step to step."""

    def __init__(
        self,
        network: nn.Module,
        samples: Samples,
        protocol: Protocol,
        seeds: Seeds,
        state: Mapping[str, Tensor] | None,
        autocast: torch.dtype | None,
    ) -> None:
        self.network = network.train()
        self.samples = samples
        self.protocol = protocol
        self.seeds = seeds
        self.steps_per_epoch = protocol.steps_per_epoch(len(samples))
        self.optimizer = build_optimizer(network, protocol)
        if state:
            restore_optimizer(network, self.optimizer, dict(state))
        augmentation = parse_augment(protocol.augment)
        self.augmenter: Augmenter | None = None
        if augmentation.padding or augmentation.flip:
            if samples.inputs.ndim != 4:
                raise DataError("only images can be cropped and flipped", "leave --augment out")
            self.augmenter = Augmenter(samples.inputs, augmentation, seeds.augment)
        self.epoch = -1
        self.order: Tensor = torch.empty(0, dtype=torch.int64)
        self.autocast = autocast

    def prime(self) -> None:
        """Set batch-norm statistics by a few batches before the first step."""
        if batch_norms(self.network):
            count = min(self.protocol.prime_bn * self.protocol.batch_size, len(self.samples))
            order = torch.randperm(len(self.samples), generator=stream("prime", self.seeds.order))
            recompute_statistics(self.network, self.samples.take(order[:count]), batch=self.protocol.batch_size)

    def step(self, step: int) -> Tensor:
        """One optimiser step; returns the batch's loss."""
        epoch, position = divmod(step, self.steps_per_epoch)
        if epoch != self.epoch:
            self._begin_epoch(epoch)
        start = position * self.protocol.batch_size
        index = self.order[start : start + self.protocol.batch_size]
        raw = self.samples.inputs[index] if self.augmenter is None else self.augmenter.batch(index, start)
        device = self.samples.where.device
        seed_device(device, stream_seed("dropout", self.seeds.dropout, step))
        rate = learning_rate(self.protocol, step, steps_per_epoch=self.steps_per_epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        with torch.autocast(device.type, self.autocast, enabled=self.autocast is not None):
            logits = self.network(self.samples.normalized(raw))
        loss = F.cross_entropy(
            logits.to(self.samples.where.dtype),
            self.samples.labels[index],
            label_smoothing=self.protocol.label_smoothing,
        )
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return loss.detach()

    def _begin_epoch(self, epoch: int) -> None:
        random = stream("order", self.seeds.order, epoch)
        self.order = torch.randperm(len(self.samples), generator=random).to(self.samples.where.device)
        self.epoch = epoch
        if self.augmenter is not None:
            self.augmenter.begin_epoch(epoch)

    def state(self, step: int, loss: Tensor | None = None) -> TrainingState:
        """The state after ``step`` steps."""
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        norm = float(torch.nn.utils.get_total_norm(gradients)) if gradients else None
        return TrainingState(
            step=step,
            network=self.network,
            optimizer=optimizer_state(self.network, self.optimizer),
            lr=learning_rate(self.protocol, step, steps_per_epoch=self.steps_per_epoch),
            batch_loss=None if loss is None else float(loss),
            gradient_norm=norm,
        )
