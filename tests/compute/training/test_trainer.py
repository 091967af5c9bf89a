import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from landscape_cli.compute.device import Placement, place, placement
from landscape_cli.compute.samples import Samples
from landscape_cli.compute.training.augmentation import Augmenter
from landscape_cli.compute.training.optimizers import build_optimizer
from landscape_cli.compute.training.protocol import Augmentation, Protocol, Seeds
from landscape_cli.compute.training.trainer import TrainingState, train
from landscape_cli.errors import CheckpointError, DataError, DivergedError, NetworkError
from landscape_cli.networks.registry import NetworkSpec, build
from tests.compute.test_samples_and_evaluation import make
from tests.oracle.plain_training import cosine, plain_training

EXACT = Placement(torch.device("cpu"), "float64")
CPU = placement("cpu")
SEEDS = Seeds(order=3, augment=4, dropout=5)


def network(name: str = "simple-cnn", where: Placement = CPU) -> nn.Module:
    torch.manual_seed(0)
    return place(build(NetworkSpec(name, {"width": 0.25}), (3, 8, 8), 4), where)


def finish(states) -> TrainingState:
    *_, last = states
    return last


@pytest.mark.parametrize("optimizer", ["sgd", "nesterov", "adam", "adamw"])
def test_against_a_loop_written_plainly(optimizer: str) -> None:
    """Every optimiser, weight decay, label smoothing, warm-up and cosine: 25 steps over 3 epochs, in float64."""
    samples = make(40, EXACT)
    ours, theirs = network(where=EXACT), network(where=EXACT)
    lr = 0.05 if optimizer in ("sgd", "nesterov") else 0.003
    protocol = Protocol(
        optimizer=optimizer, lr=lr, weight_decay=0.01, batch_size=4, epochs=3, schedule="cosine", warmup=0.5,  # type: ignore[arg-type]
        label_smoothing=0.1,
    )  # fmt: skip
    losses = []
    for state in train(ours, samples, protocol, SEEDS, end=25, wanted=lambda step: True):
        losses.append(state.batch_loss)
    expected = plain_training(
        theirs, samples.normalized(samples.inputs), samples.labels, steps=25, batch=4, order_seed=3,
        rate=cosine(lr, 30, 5), optimizer=optimizer, decay=0.01, smoothing=0.1,
    )  # fmt: skip
    assert losses[1:] == pytest.approx(expected, rel=1e-9)
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.allclose(a, b, rtol=1e-7, atol=1e-10)


class Noisy(nn.Sequential):
    """Convolution, batch norm and dropout: everything that has a state or draws."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(3, 6, 3, padding=1),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Flatten(),
            nn.Linear(384, 4),
        )


@pytest.mark.parametrize("optimizer", ["sgd", "nesterov", "adam", "adamw"])
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_stopped_anywhere_and_continued_is_never_stopped(optimizer: str, precision: str) -> None:
    samples = make(37, CPU)
    protocol = Protocol(
        optimizer=optimizer,
        lr=0.01,
        batch_size=5,
        epochs=3,
        weight_decay=1e-3,
        augment="crop:2+flip",
        schedule="linear",  # type: ignore[arg-type]
    )
    autocast = torch.bfloat16 if precision == "bf16" else None

    def fresh() -> nn.Module:
        torch.manual_seed(1)
        return place(Noisy(), CPU)

    kept = {}
    whole = fresh()
    for state in train(whole, samples, protocol, SEEDS, end=21, wanted=lambda step: True, autocast=autocast):
        kept[state.step] = (
            copy.deepcopy(state.network.state_dict()),
            {name: tensor.clone() for name, tensor in state.optimizer.items()},
        )
    for start in (0, 1, 7, 10, 20):
        other = fresh()
        weights, slots = kept[start]
        other.load_state_dict(weights)
        torch.manual_seed(start)  # the global state of another process
        states = train(
            other,
            samples,
            protocol,
            SEEDS,
            start=start,
            end=21,
            optimizer=slots,
            wanted=lambda s: s == 21,
            autocast=autocast,
        )
        last = finish(states)
        assert last.step == 21
        for name, tensor in other.state_dict().items():
            assert torch.equal(tensor, kept[21][0][name]), name
        for name, tensor in last.optimizer.items():
            assert torch.equal(tensor, kept[21][1][name]), name


def test_each_stream_decides_its_own_part() -> None:
    samples = make(20, CPU)
    protocol = Protocol(lr=0.01, batch_size=5, epochs=1, augment="crop:1+flip")

    def result(**changes: int) -> torch.Tensor:
        torch.manual_seed(1)
        model = place(Noisy(), CPU)
        finish(train(model, samples, protocol, Seeds(**changes), end=4, wanted=lambda s: s == 4))
        return model[0].weight.detach().clone()

    base = result()
    assert torch.equal(base, result())
    assert torch.equal(base, result(init=7))  # nothing is initialised here
    for stream in ("order", "augment", "dropout"):
        assert not torch.equal(base, result(**{stream: 7}))


def test_the_callers_random_state_is_left_alone() -> None:
    torch.manual_seed(11)
    states = train(
        place(Noisy(), CPU), make(20, CPU), Protocol(lr=0.01, batch_size=5), SEEDS, end=4, wanted=lambda s: True
    )
    drawn = [torch.rand(1) for _ in zip(range(3), states, strict=False)]
    torch.manual_seed(11)
    Noisy()  # building drew before the first of them
    assert torch.equal(torch.cat(drawn), torch.rand(3))


def test_states_come_at_the_start_and_when_wanted() -> None:
    told: list[int] = []
    states = train(
        network(), make(20, CPU), Protocol(lr=0.01, batch_size=5), SEEDS, start=2, end=9, wanted=lambda s: s in (4, 9),
        on_step=told.append,
    )  # fmt: skip
    found = [(s.step, s.batch_loss is None, s.gradient_norm is None) for s in states]
    assert found == [(2, True, True), (4, False, False), (9, False, False)]
    assert told == list(range(3, 10))


def test_every_sample_is_seen_once_an_epoch() -> None:
    seen: list[int] = []

    class Spy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(1, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.extend(x[:, 0].int().tolist())
            return self.head(x)

    samples = Samples(np.arange(23, dtype=np.float32)[:, None], np.zeros(23, np.int64), CPU)
    protocol = Protocol(lr=1e-6, batch_size=5, keep_last_batch=True)
    finish(train(Spy(), samples, protocol, SEEDS, end=10, wanted=lambda s: s == 10))
    assert sorted(seen[:23]) == sorted(seen[23:]) == list(range(23))
    assert seen[:23] != seen[23:]
    seen.clear()
    finish(train(Spy(), samples, Protocol(lr=1e-6, batch_size=5), SEEDS, end=4, wanted=lambda s: s == 4))
    assert len(seen) == len(set(seen)) == 20


def test_divergence_stops_with_its_step() -> None:
    with pytest.raises(DivergedError, match="the loss became") as caught:
        finish(train(network(), make(20, CPU), Protocol(lr=1e6, batch_size=5), SEEDS, end=40, wanted=lambda s: False))
    assert 1 <= caught.value.step <= 40


def test_priming_sets_statistics_before_the_first_step() -> None:
    samples = make(20, CPU)
    protocol = Protocol(lr=0.01, batch_size=5, prime_bn=3)
    plain, primed = (
        next(iter(train(place(Noisy(), CPU), samples, protocol, SEEDS, end=1, prime=prime, wanted=lambda s: True)))
        for prime in (False, True)
    )
    assert not plain.network[1].running_mean.any()
    assert primed.network[1].running_mean.any()


def test_weight_decay_can_spare_norms_and_biases() -> None:
    model = Noisy()
    groups = build_optimizer(model, Protocol(weight_decay=0.1, decay_norm_bias=False)).param_groups
    decayed = {id(p) for p in groups[0]["params"]}
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0]
    assert decayed == {id(model[0].weight), id(model[5].weight)}
    assert len(build_optimizer(model, Protocol(weight_decay=0.1)).param_groups) == 1


def test_what_cannot_be_trained_is_named() -> None:
    with pytest.raises(NetworkError, match="no trainable parameters"):
        build_optimizer(nn.Flatten(), Protocol())
    vectors = Samples(np.zeros((9, 4), np.float32), np.zeros(9, np.int64), CPU)
    with pytest.raises(DataError, match="only images"):
        finish(
            train(nn.Linear(4, 2), vectors, Protocol(batch_size=3, augment="flip"), SEEDS, end=1, wanted=lambda s: True)
        )
    with pytest.raises(CheckpointError, match="optimiser state of 'other' does not fit"):
        finish(
            train(
                nn.Linear(4, 2), vectors, Protocol(batch_size=3), SEEDS, end=1, wanted=lambda s: True,
                optimizer={"other/momentum_buffer": torch.zeros(1)},
            )
        )  # fmt: skip


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 3), st.booleans(), st.integers(0, 5), st.integers(0, 4))
def test_augmentation_against_cutting_from_the_padded_image(padding: int, flip: bool, seed: int, epoch: int) -> None:
    images = torch.randint(1, 256, (7, 3, 5, 6), dtype=torch.uint8)
    samples = Samples(images, torch.zeros(7, dtype=torch.int64), CPU)
    augmenter = Augmenter(samples, Augmentation(padding, flip), seed)
    augmenter.begin_epoch(epoch)
    index = torch.tensor([4, 0, 6])
    found = augmenter.batch(index, start=2)
    padded = np.pad(images.numpy(), ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    for row, image in enumerate(index.tolist()):
        down, right = augmenter.shifts[2 + row].tolist()
        cut = padded[image, :, down : down + 5, right : right + 6]
        cut = cut[:, :, ::-1] if augmenter.flips[2 + row] else cut
        assert np.array_equal(found[row].numpy(), cut)
    assert flip or not augmenter.flips.any()
    assert augmenter.shifts.max() <= 2 * padding


def test_shifts_and_flips_are_drawn_evenly() -> None:
    images, labels = torch.zeros(20_000, 1, 2, 2, dtype=torch.uint8), torch.zeros(20_000, dtype=torch.int64)
    augmenter = Augmenter(Samples(images, labels, CPU), Augmentation(2, True), 0)
    augmenter.begin_epoch(0)
    counts = torch.bincount(augmenter.shifts.flatten(), minlength=5)
    assert (counts / 40_000 - 0.2).abs().max() < 0.01
    assert abs(augmenter.flips.float().mean() - 0.5) < 0.02
    first = augmenter.shifts.clone()
    augmenter.begin_epoch(1)
    assert not torch.equal(first, augmenter.shifts)
