"""The training loop: a generator of states."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from landscape_cli.compute.batchnorm import batch_norms, recompute_statistics
from landscape_cli.compute.choices import Compile
from landscape_cli.compute.samples import Samples
from landscape_cli.compute.streams import seed_device, stream, stream_seed
from landscape_cli.compute.training.augmentation import Augmenter
from landscape_cli.compute.training.capture import Replay, draws_numbers
from landscape_cli.compute.training.compiling import compiled
from landscape_cli.compute.training.protocol import Protocol, Seeds, parse_augment
from landscape_cli.compute.training.schedules import learning_rate
from landscape_cli.compute.training.steps import Batch, Step
from landscape_cli.errors import DataError, DeviceError, DivergedError

CHECK_EVERY = 50  # steps between looks at the loss where a look stalls the device
WARM = 3  # steps before one is recorded: libraries choose their kernels, the optimiser makes its state


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


class Trainer:
    """Training that goes on a step at a time, so that several can take turns.

    The order of an epoch, its augmentation, and the draws of each step come from streams of their own
    (:mod:`landscape_cli.compute.streams`), so that from equal weights, optimiser state and step, training goes on
    equally, whenever it was begun and whatever runs beside it: bit for bit on the same device with the same number of
    threads. The global random state is left as it was.

    Args:
        network: On the device of ``samples``; trained in place.
        samples: The training set.
        protocol: How to train; its schedule counts from step 0, not from ``start``.
        seeds: Of the streams.
        start: Steps taken before.
        optimizer: Its state at ``start``; None begins afresh.
        autocast: ``torch.bfloat16`` or ``torch.float16`` makes the products of the forward and backward pass in that
            type; weights, their update and the loss stay in the type of ``samples``. See
            :class:`landscape_cli.compute.training.steps.Step` for the scale of the loss in ``torch.float16``.
        prime: Whether this is the beginning of a run, at which its protocol may prime batch norm.
        compile: ``none``: each operation is launched; ``graph``: the step is recorded once and replayed, if that gives
            the same bits (:mod:`landscape_cli.compute.training.capture`); ``inductor``: the network is compiled by
            ``torch.compile``, with a rounding of its own; ``auto``: ``graph`` on CUDA, else ``none``.

    Attributes:
        taken: Steps taken.
        way: How steps are made: ``eager``, ``graph`` or ``inductor``.
        reason: Why steps are not replayed where that was wanted; None else.

    Raises:
        UsageError: If a batch is larger than the training set.
        DataError: If augmentation is asked for and inputs are no images.
        DeviceError: If the device has no graphs, or there is no compiler.
    """

    def __init__(
        self,
        network: nn.Module,
        samples: Samples,
        protocol: Protocol,
        seeds: Seeds,
        *,
        start: int = 0,
        optimizer: Mapping[str, Tensor] | None = None,
        autocast: torch.dtype | None = None,
        prime: bool = False,
        compile: Compile = "auto",
    ) -> None:
        self.network = network.train()
        self.samples = samples
        self.protocol = protocol
        self.seeds = seeds
        self.taken = start
        self.steps_per_epoch = protocol.steps_per_epoch(len(samples))
        self._device = samples.where.device
        if compile == "graph" and self._device.type != "cuda":
            raise DeviceError(f"steps cannot be recorded on {self._device}", "use --compile auto or inductor")
        augmentation = parse_augment(protocol.augment)
        self._augmenter: Augmenter | None = None
        if augmentation.padding or augmentation.flip:
            if samples.inputs.ndim != 4:
                raise DataError("only images can be cropped and flipped", "leave --augment out")
            self._augmenter = Augmenter(samples, augmentation, seeds.augment)
        self._step = Step(
            network,
            samples,
            protocol,
            augmenter=self._augmenter,
            state=optimizer,
            autocast=autocast,
            forward=compiled(network) if compile == "inductor" else None,
        )
        self._batch = Batch(protocol.batch_size, self._device)
        self._epoch = -1
        self._order: Tensor = torch.empty(0, dtype=torch.int64)
        self._first = start
        self._looks_at_each = self._device.type == "cpu"
        self._records = self._device.type == "cuda" and compile in ("auto", "graph")
        self._replay: Replay | None = None
        self.way = "inductor" if compile == "inductor" else "eager"
        self.reason: str | None = None
        if prime and protocol.prime_bn:
            self._prime()

    def advance(self) -> None:
        """Take one step. On a device other than the CPU it may still be under way afterwards.

        Raises:
            DivergedError: If the loss is NaN or infinite; looked at once in a while where a look stalls the device.
        """
        epoch, position = divmod(self.taken, self.steps_per_epoch)
        if epoch != self._epoch:
            self._begin_epoch(epoch)
        start = position * self.protocol.batch_size
        index = self._order[start : start + self.protocol.batch_size]
        batch = self._batch if len(index) == self.protocol.batch_size else Batch(len(index), self._device)
        batch.fill(index, None if self._augmenter is None else self._augmenter.draws(start, len(index)))
        self._step.rate(learning_rate(self.protocol, self.taken, steps_per_epoch=self.steps_per_epoch))
        outer = torch.get_rng_state()
        seed_device(self._device, stream_seed("dropout", self.seeds.dropout, self.taken))
        try:
            self._take(batch)
        finally:
            torch.set_rng_state(outer)
        self.taken += 1
        if self._looks_at_each or self.taken % CHECK_EVERY == 0:
            self.check()

    def _take(self, batch: Batch) -> None:
        if batch is not self._batch:
            self._step.take(batch)
        elif self._replay is not None:
            self._replay.take()
        elif self._records and self.taken - self._first >= WARM:
            self._records = False
            replay = Replay(self._step, batch)
            self.reason = replay.check()
            if self.reason is None:
                self._replay, self.way = replay, "graph"
        else:
            self._step.take(batch)
            if self._records and draws_numbers(self._device):
                self._records, self.reason = False, "the network draws random numbers"

    def check(self) -> None:
        """Look at the last step's loss.

        Raises:
            DivergedError: If it is NaN or infinite.
        """
        loss = float(self._step.loss)
        if self.taken > self._first and not math.isfinite(loss):
            raise DivergedError(
                f"the loss became {loss} at step {self.taken} (epoch {self.taken / self.steps_per_epoch:.4g})",
                "lower --lr, or lengthen --warmup; what was recorded before is kept",
                step=self.taken,
            )

    def state(self) -> TrainingState:
        """Where training is.

        Raises:
            DivergedError: If the last step's loss is NaN or infinite.
        """
        self.check()
        begun = self.taken > self._first
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        return TrainingState(
            step=self.taken,
            network=self.network,
            optimizer=self._step.state(),
            lr=learning_rate(self.protocol, self.taken, steps_per_epoch=self.steps_per_epoch),
            batch_loss=float(self._step.loss) if begun else None,
            gradient_norm=float(torch.nn.utils.get_total_norm(gradients)) if begun and gradients else None,
        )

    def _prime(self) -> None:
        """Set batch-norm statistics by a few batches before the first step."""
        if batch_norms(self.network):
            count = min(self.protocol.prime_bn * self.protocol.batch_size, len(self.samples))
            order = torch.randperm(len(self.samples), generator=stream("prime", self.seeds.order))
            recompute_statistics(self.network, self.samples.take(order[:count]), batch=self.protocol.batch_size)

    def _begin_epoch(self, epoch: int) -> None:
        random = stream("order", self.seeds.order, epoch)
        self._order = torch.randperm(len(self.samples), generator=random).to(self._device)
        self._epoch = epoch
        if self._augmenter is not None:
            self._augmenter.begin_epoch(epoch)


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
    compile: Compile = "auto",
    wanted: Callable[[int], bool],
    on_step: Callable[[int], None] | None = None,
) -> Iterator[TrainingState]:
    """Train from step ``start`` to step ``end``, yielding a state at ``start`` and after each step that is wanted.

    Args:
        network: See :class:`Trainer`, as for all that is not named here.
        samples: See there.
        protocol: See there.
        seeds: See there.
        start: See there.
        end: The last step.
        optimizer: See there.
        autocast: See there.
        prime: See there.
        compile: See there.
        wanted: Whether to yield after a given number of steps; asked once a step, ``end`` included.
        on_step: Told the number of steps taken, once a step.

    Raises:
        DivergedError: If a loss is NaN or infinite. The states yielded before are good.
        UsageError: If a batch is larger than the training set.
        DataError: If augmentation is asked for and inputs are no images.
        DeviceError: If the device has no graphs, or there is no compiler.
    """
    trainer = Trainer(
        network, samples, protocol, seeds, start=start, optimizer=optimizer, autocast=autocast, prime=prime,
        compile=compile,
    )  # fmt: skip
    yield trainer.state()
    while trainer.taken < end:
        trainer.advance()
        chosen = wanted(trainer.taken)
        if chosen or trainer.taken == end:
            trainer.check()
        if on_step is not None:
            on_step(trainer.taken)
        if chosen:
            yield trainer.state()
