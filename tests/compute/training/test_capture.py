"""Recorded steps. The recorder of a CUDA device is replaced by one that calls the step again: all else is the same."""

import contextlib
import re
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import nn

from landscape_cli.compute.device import place, placement
from landscape_cli.compute.training import capture
from landscape_cli.compute.training.augmentation import Augmenter
from landscape_cli.compute.training.capture import Replay
from landscape_cli.compute.training.protocol import Augmentation, Protocol, Seeds
from landscape_cli.compute.training.steps import Batch, Step
from landscape_cli.compute.training.trainer import Trainer
from landscape_cli.errors import DeviceError
from tests.compute.test_samples_and_evaluation import make

CPU = placement("cpu")
ADAM = Protocol(optimizer="adam", lr=0.01, batch_size=5)
SGD = Protocol(lr=0.05, batch_size=5, weight_decay=1e-3)


def small() -> nn.Module:
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(384, 4))
    return place(nn.Sequential(*layers), CPU).train()


def calling_again(work: Callable[[], None]) -> Callable[[], None]:
    return work


def prepared(protocol: Protocol, autocast: torch.dtype | None = None) -> tuple[Step, Batch, list[torch.Tensor]]:
    samples = make(40, CPU)
    augmenter = Augmenter(samples, Augmentation(1, True), 0)
    augmenter.begin_epoch(0)
    step, batch = Step(small(), samples, protocol, augmenter=augmenter, autocast=autocast), Batch(5, CPU.device)
    order = list(torch.randperm(40, generator=torch.Generator().manual_seed(1)).split(5))
    return step, batch, order


def go(step: Step, batch: Batch, index: torch.Tensor, number: int) -> None:
    assert step.augmenter is not None
    step.rate(0.01 * (number + 1))
    batch.fill(index, step.augmenter.draws(5 * number, 5))


@pytest.mark.parametrize("protocol", [SGD, ADAM], ids=["sgd", "adam"])
@pytest.mark.parametrize("autocast", [None, torch.float16], ids=["float32", "fp16"])
def test_checked_and_replayed_is_made_step_by_step(protocol: Protocol, autocast: torch.dtype | None) -> None:
    (plain, batch, order), (ours, own, _) = prepared(protocol, autocast), prepared(protocol, autocast)
    for number, index in enumerate(order):
        go(plain, batch, index, number)
        plain.take(batch)
    replay = Replay(ours, own, calling_again)
    for number, index in enumerate(order):
        go(ours, own, index, number)
        if number < 2:
            ours.take(own)
        elif number == 2:
            assert replay.check() is None
        else:
            replay.take()
    assert all(map(torch.equal, plain.changed(), ours.changed()))
    assert len(ours.changed()) > len(list(ours.network.parameters()))  # momentum, statistics and the loss are in it
    assert float(ours.loss) > 0


def forgetting(work: Callable[[], None]) -> Callable[[], None]:
    """A recording that has kept the forward pass and lost what comes after it."""
    return lambda: None


def refusing(work: Callable[[], None]) -> Callable[[], None]:
    raise RuntimeError("operation not permitted when stream is capturing\nmore")


@pytest.mark.parametrize(
    ("record", "reason"), [(forgetting, "does not give the same bits"), (refusing, "cannot be recorded .operation not")]
)
def test_a_step_that_cannot_be_replayed_is_made_as_before(record: Callable, reason: str) -> None:
    (plain, batch, order), (ours, own, _) = prepared(SGD), prepared(SGD)
    for number, index in enumerate(order[:3]):
        for step, where in ((plain, batch), (ours, own)):
            go(step, where, index, number)
        plain.take(batch)
        if number < 2:
            ours.take(own)
    said = Replay(ours, own, record).check()
    assert said is not None
    assert re.search(reason, said)
    assert all(map(torch.equal, plain.changed(), ours.changed()))


@pytest.mark.parametrize("on_default", [True, False])
def test_a_recording_that_fails_leaves_the_streams_as_they_were(
    on_default: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch ends a recording before it leaves its stream: where ending fails, its stream stays the current one."""
    current = ["default" if on_default else "own"]

    @contextlib.contextmanager
    def stream(name: str) -> Iterator[None]:
        before, current[0] = current[0], name
        try:
            yield
        finally:
            current[0] = before

    class Recording:
        def __init__(self, graph: object, *, stream: str | None, capture_error_mode: str) -> None:
            self.stream = stream or "side"

        def __enter__(self) -> None:
            current[0] = self.stream
            assert capture.RECORDING.locked()

        def __exit__(self, *error: object) -> None:
            raise RuntimeError("operation failed due to a previous error during capture")

    fakes = {"CUDAGraph": object, "current_stream": lambda: current[0], "default_stream": lambda: "default"}
    for name, fake in {**fakes, "stream": stream, "graph": Recording}.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    before = current[0]
    with pytest.raises(RuntimeError, match="previous error"):
        capture.record_on_cuda(lambda: None)
    assert current == [before]
    assert not capture.RECORDING.locked()


def test_gradients_are_those_of_the_replay_after_a_step_made_otherwise() -> None:
    step, batch, order = prepared(SGD)
    go(step, batch, order[0], 0)
    step.take(batch)
    replay = Replay(step, batch, calling_again)
    go(step, batch, order[1], 1)
    assert replay.check() is None
    short = Batch(3, CPU.device)
    short.fill(order[2][:3], (batch.shifts[:3], batch.flips[:3]))
    step.take(short)
    before = [p.grad for p in step.network.parameters()]
    replay.take()
    after = [p.grad for p in step.network.parameters()]
    assert not any(one is other for one, other in zip(before, after, strict=True))


def test_a_device_without_graphs_says_so() -> None:
    with pytest.raises(DeviceError, match="cannot be recorded on cpu"):
        Trainer(small(), make(20, CPU), SGD, Seeds(), compile="graph")


def test_half_precision_keeps_the_scale_of_its_loss() -> None:
    """Stopped and continued, in fp16: the scale, and the steps since it last changed, are part of the state."""
    samples = make(40, CPU)
    whole = Trainer(small(), samples, SGD, Seeds(), autocast=torch.float16)
    for _ in range(6):
        whole.advance()
    first = Trainer(small(), samples, SGD, Seeds(), autocast=torch.float16)
    for _ in range(3):
        first.advance()
    kept = {name: tensor.clone() for name, tensor in first.state().optimizer.items()}
    assert float(kept["loss-scale/scale"]) == 65536
    assert int(kept["loss-scale/steps"]) == 3
    second = Trainer(first.network, samples, SGD, Seeds(), start=3, optimizer=kept, autocast=torch.float16)
    for _ in range(3):
        second.advance()
    assert all(map(torch.equal, whole.state().optimizer.values(), second.state().optimizer.values()))
    assert all(map(torch.equal, whole.network.state_dict().values(), second.network.state_dict().values()))


def test_half_precision_keeps_the_scale_of_its_loss_without_momentum() -> None:
    plain = Protocol(lr=0.05, momentum=0.0, batch_size=5)
    trainer = Trainer(small(), make(40, CPU), plain, Seeds(), autocast=torch.float16)
    trainer.advance()
    assert {name: float(value) for name, value in trainer.state().optimizer.items()} == {
        "loss-scale/scale": 65536,
        "loss-scale/steps": 1,
    }


@pytest.fixture
def unset_memory_is_nan() -> Iterator[None]:
    """What torch hands out without a value holds NaN meanwhile."""
    torch.use_deterministic_algorithms(True)
    assert torch.utils.deterministic.fill_uninitialized_memory
    yield
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("unset_memory_is_nan")
def test_momentum_is_zero_where_the_first_step_overflows() -> None:
    """torch's fused SGD makes its buffers without a value in the first step, and then leaves that step out."""
    step, batch, order = prepared(SGD, torch.float16)
    assert step._scaler is not None
    step._scaler.load_state_dict({**step._scaler.state_dict(), "scale": 2.0**60})
    before = [p.detach().clone() for p in step.network.parameters()]
    go(step, batch, order[0], 0)
    step.take(batch)
    assert step._scaler.get_scale() == 2.0**59
    assert all(map(torch.equal, before, step.network.parameters()))
    buffers = [value for name, value in step.state().items() if name.endswith("/momentum_buffer")]
    assert len(buffers) == len(before)
    assert not any(buffer.any() for buffer in buffers)


def test_half_precision_trains_as_single_precision_does() -> None:
    samples = make(40, CPU)
    norms, losses = {}, {}
    for kind in (None, torch.float16, torch.bfloat16):
        trainer = Trainer(small(), samples, SGD, Seeds(), autocast=kind)
        for _ in range(8):
            trainer.advance()
        state = trainer.state()
        norms[kind], losses[kind] = state.gradient_norm, state.batch_loss
    assert norms[torch.float16] == pytest.approx(norms[None], rel=0.02)  # of gradients without the scale of the loss
    assert losses[torch.float16] == pytest.approx(losses[None], rel=0.01)
    assert losses[torch.bfloat16] == pytest.approx(losses[None], rel=0.1)
