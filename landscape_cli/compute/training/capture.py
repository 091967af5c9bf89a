"""A training step recorded once on a CUDA device and replayed: one launch in place of hundreds.

A replay runs the very kernels of the step, in their order, so that it gives the same bits; but what Python does
between them is not repeated. Whether a network bears that is not believed: the first replay is compared with the step
itself, bit for bit, and where they differ, or recording fails, steps are made one launch at a time as before.
"""

import threading
from collections.abc import Callable

import torch
from torch import Tensor

from landscape_cli.compute.training.steps import Batch, Step

Recorder = Callable[[Callable[[], None]], Callable[[], None]]

# Held while a step is recorded, and by whoever frees page-locked memory in another thread: torch marks by an event how
# far the streams have come that used it, and an event on a stream that is being recorded fails when it is looked at.
RECORDING = threading.Lock()


def record_on_cuda(work: Callable[[], None]) -> Callable[[], None]:
    """Record what ``work`` launches, without running it, and return how to replay it.

    Recording on the stream that the steps run on, where that is not the default one, which cannot be recorded.

    Raises:
        RuntimeError: If something in it cannot be recorded: a look at a value from the host, say.
    """
    graph = torch.cuda.CUDAGraph()
    current = torch.cuda.current_stream()
    side = None if current == torch.cuda.default_stream() else current
    # Other threads (which write checkpoints) may wait for the device meanwhile. Where recording fails, torch leaves its
    # stream the current one: the block around it puts the right one back.
    with (
        RECORDING,
        torch.cuda.stream(current),
        torch.cuda.graph(graph, stream=side, capture_error_mode="thread_local"),
    ):
        work()
    return graph.replay


def draws_numbers(device: torch.device) -> bool:
    """Whether anything was drawn on the device since its generator was last seeded."""
    return torch.cuda.default_generators[device.index or 0].get_offset() > 0


class Replay:
    """A step on one batch's buffers, recorded, checked against the step itself, then replayed.

    Args:
        step: The step; it has been taken at least once, so that all its state exists.
        batch: The buffers it reads, filled for the next step.
        record: How to record; replaced in tests.

    After :meth:`check` one step has been taken, whatever came out.
    """

    def __init__(self, step: Step, batch: Batch, record: Recorder = record_on_cuda) -> None:
        self.step = step
        self.batch = batch
        self._record = record
        self._replay: Callable[[], None] | None = None
        self._gradients: list[Tensor | None] = []

    def check(self) -> str | None:
        """Record the step, replay it, make it again from the same state, and compare.

        Returns:
            None if the bits are equal and :meth:`take` may be used; else why not.
        """
        try:
            replay = self._record(self._work)
        except RuntimeError as error:
            self._work()
            return f"it cannot be recorded ({str(error).splitlines()[0]})"
        gradients = [p.grad for p in self.step.network.parameters()]
        before = [tensor.clone() for tensor in self.step.changed()]
        replay()
        replayed = [tensor.clone() for tensor in self.step.changed()]
        for tensor, value in zip(self.step.changed(), before, strict=True):
            tensor.copy_(value)
        self._work()
        made = self.step.changed()
        if len(made) != len(replayed) or not all(map(_same_bits, made, replayed)):
            return "replaying it does not give the same bits"
        self._replay, self._gradients = replay, gradients
        return None

    def take(self) -> None:
        """Replay the step on what the buffers hold now."""
        assert self._replay is not None
        self._replay()
        # A step made otherwise, of a short last batch, has left gradients of its own.
        for parameter, gradient in zip(self.step.network.parameters(), self._gradients, strict=True):
            parameter.grad = gradient

    def _work(self) -> None:
        self.step.take(self.batch)


def _same_bits(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)
