import itertools
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from landscape_cli.compute.training.protocol import Protocol
from landscape_cli.compute.training.recording import recorded_steps
from landscape_cli.compute.training.schedules import learning_rate, total_steps
from landscape_cli.errors import UsageError


def rates(protocol: Protocol, per_epoch: int) -> list[float]:
    return [learning_rate(protocol, s, steps_per_epoch=per_epoch) for s in range(total_steps(protocol, per_epoch))]


def torch_rates(make, steps: int, lr: float = 0.1) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    scheduler = make(optimizer)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_against_torchs_schedulers() -> None:
    scheduler = torch.optim.lr_scheduler
    cases = [
        (Protocol(lr=0.1, epochs=6, schedule="cosine"), lambda o: scheduler.CosineAnnealingLR(o, 60)),
        (Protocol(lr=0.1, epochs=6, schedule="linear"), lambda o: scheduler.LinearLR(o, 1.0, 0.0, 60)),
        (
            Protocol(lr=0.1, epochs=6, schedule="step", milestones=(2, 4), factor=0.2),
            lambda o: scheduler.MultiStepLR(o, [20, 40], 0.2),
        ),
        (Protocol(lr=0.1, epochs=6), lambda o: scheduler.ConstantLR(o, 1.0)),
    ]
    for protocol, make in cases:
        assert rates(protocol, 10) == pytest.approx(torch_rates(make, 60), rel=1e-9, abs=1e-12)


@given(st.integers(1, 30), st.floats(0.5, 8), st.sampled_from(["constant", "cosine", "linear"]))
def test_warm_up_grows_evenly_to_the_peak(per_epoch: int, epochs: float, schedule: str) -> None:
    protocol = Protocol(lr=0.3, epochs=epochs, schedule=schedule, warmup=epochs / 2)  # type: ignore[arg-type]
    found = rates(protocol, per_epoch)
    warm = round(epochs / 2 * per_epoch)
    assert found[:warm] == pytest.approx([0.3 * (s + 1) / warm for s in range(warm)])
    assert max(found) <= 0.3 + 1e-12


def test_beyond_its_end_the_last_value_holds() -> None:
    protocol = Protocol(lr=0.1, epochs=2, schedule="step", milestones=(1,))
    assert learning_rate(protocol, 999, steps_per_epoch=10) == pytest.approx(0.01)
    assert learning_rate(Protocol(lr=0.1, epochs=2, schedule="cosine"), 999, steps_per_epoch=10) == pytest.approx(0)


def record(text: str, *, per_epoch: int = 10, start: int = 0, end: int = 100, clip: bool = False) -> list[int]:
    return recorded_steps(text, steps_per_epoch=per_epoch, start=start, end=end, clip=clip)


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("every:2ep", [0, 20, 40, 60, 80, 100]),
        ("every:step:30", [0, 30, 60, 90, 100]),
        ("every:0.25ep+last", [0, 3, 5, 8, *[int(2.5 * k + 0.5) for k in range(4, 41)]]),
        ("0ep,0.5ep,step:7", [0, 5, 7, 100]),
        ("last", [100]),
        ("last+1ep", [0, 10, 100]),
        ("1ep+every:5ep", [0, 10, 50, 100]),
    ],
)
def test_recorded_steps(text: str, steps: list[int]) -> None:
    assert record(text) == steps


def test_the_points_of_mao_2023() -> None:
    """Step 0; four an epoch in epochs 0–4; each epoch 5–25; every 4th to 65; every 15th after; the last."""
    steps = record("mao2023", per_epoch=100, end=20_000)
    epochs = [step / 100 for step in steps]
    assert epochs[:21] == [k / 4 for k in range(20)] + [5]
    assert epochs[20:41] == list(range(5, 26))
    assert epochs[41:51] == list(range(29, 66, 4))
    assert epochs[51:] == [80, 95, 110, 125, 140, 155, 170, 185, 200]
    assert 60 <= len(steps) <= 73


def test_logarithmic_spacing() -> None:
    steps = record("log:12", end=10_000)
    assert (steps[0], steps[1], steps[-1], len(steps)) == (0, 1, 10_000, 12)
    ratios = [b / a for a, b in itertools.pairwise(steps[4:])]
    assert max(ratios) / min(ratios) < 1.1


def test_the_default_is_dense_early_and_sparse_late() -> None:
    steps = record("auto", per_epoch=100, end=20_000)
    assert steps[:6] == [0, 50, 100, 150, 200, 300]
    assert len(steps) < 45
    assert record("auto", per_epoch=3, end=3) == [0, 2, 3]


def test_a_child_records_from_its_start() -> None:
    assert record("every:2ep", start=35) == [35, 40, 60, 80, 100]
    assert record("0ep,2ep,9ep", start=20, end=50, clip=True) == [20, 50]
    with pytest.raises(UsageError, match="11ep lies beyond the end"):
        record("0ep,11ep")


@pytest.mark.parametrize("text", ["often", "every:", "every:0ep", "log:1", "log:x", "every:last", ""])
def test_what_is_no_schedule_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        record(text)


@given(
    st.sampled_from(["auto", "mao2023", "every:1ep", "every:0.3ep", "every:step:7", "log:9"]),
    st.integers(1, 40),
    st.integers(0, 50),
    st.integers(0, 500),
)
def test_schedules_are_ascending_and_hold_both_ends(text: str, per_epoch: int, start: int, length: int) -> None:
    steps = record(text, per_epoch=per_epoch, start=start, end=start + length)
    assert steps == sorted(set(steps))
    assert (steps[0], steps[-1]) == (start, start + length)


@pytest.mark.parametrize(
    "settings",
    [
        {"lr": 0}, {"lr": float("nan")}, {"momentum": 1}, {"epochs": 0}, {"batch_size": 0},
        {"schedule": "step"}, {"milestones": (3,)}, {"warmup": 30}, {"label_smoothing": 1}, {"augment": "cutout"},
        {"weight_decay": -1}, {"optimizer": "nesterov", "momentum": 0}, {"prime_bn": -1}, {"beta2": 2},
    ],
)  # fmt: skip
def test_protocols_that_cannot_train_are_refused(settings: dict) -> None:
    with pytest.raises(UsageError):
        Protocol(**settings)


def test_protocols_survive_the_disk() -> None:
    protocol = Protocol(schedule="step", milestones=(80, 120), augment="crop:2+flip", label_smoothing=0.1)
    assert Protocol.from_json(protocol.to_json()) == protocol
    with pytest.raises(UsageError, match="'future'"):
        Protocol.from_json({**protocol.to_json(), "future": 1})


def test_batches_larger_than_the_data() -> None:
    with pytest.raises(UsageError, match="larger than the training set of 100"):
        Protocol(batch_size=128).steps_per_epoch(100)
    assert Protocol(batch_size=30).steps_per_epoch(100) == 3
    assert Protocol(batch_size=30, keep_last_batch=True).steps_per_epoch(100) == 4


@pytest.mark.parametrize(
    ("entry", "value"),
    [
        ("lr", float("inf")),
        ("weight_decay", float("inf")),
        ("epochs", float("inf")),
        ("milestones", (float("nan"),)),
        ("milestones", (1.0, float("inf"))),
        ("milestones", (-5.0,)),
        ("factor", -1.0),
        ("factor", float("nan")),
    ],
)
def test_numbers_that_give_no_learning_rate_are_refused(entry: str, value: object) -> None:
    step = {"schedule": "step", "milestones": (1.0,)}
    with pytest.raises(UsageError, match=re.escape(str(value))):
        Protocol(**{**step, entry: value})  # type: ignore[arg-type]
