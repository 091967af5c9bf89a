import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from landscape_cli.compute import samples as samples_module
from landscape_cli.compute.device import Placement, place, placement
from landscape_cli.compute.evaluation import evaluate, forward_operations
from landscape_cli.compute.samples import Samples
from landscape_cli.errors import DataError
from landscape_cli.networks.registry import NetworkSpec, build

EXACT = Placement(torch.device("cpu"), "float64")


def make(count: int, where: Placement, *, channels: int = 3, size: int = 8, classes: int = 4) -> Samples:
    random = np.random.default_rng(count)
    inputs = random.integers(0, 256, (count, channels, size, size), dtype=np.uint8)
    return Samples(inputs, random.integers(0, classes, count), where, mean=[0.4] * channels, std=[0.2] * channels)


def test_batches_are_normalised_and_laid_out() -> None:
    samples = make(7, EXACT)
    batches = list(samples.batches(3))
    assert [len(x) for x, _ in batches] == [3, 3, 1]
    x = torch.cat([x for x, _ in batches])
    assert torch.allclose(x, (samples.inputs.double() / 255 - 0.4) / 0.2, rtol=1e-12)
    assert batches[0][0].is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(torch.cat([y for _, y in batches]), samples.labels)


def test_batches_are_the_same_with_and_without_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = [x for x, _ in make(10, placement("cpu")).batches(4)]
    monkeypatch.setattr(samples_module, "PREPARED_LIMIT", 0)
    fresh = [x for x, _ in make(10, placement("cpu")).batches(4)]
    assert all(torch.equal(a, b) for a, b in zip(kept, fresh, strict=True))


def test_a_part_is_normalised_like_the_whole() -> None:
    samples = make(9, EXACT)
    index = torch.tensor([5, 2])
    assert torch.equal(
        samples.take(index).normalized(samples.take(index).inputs), samples.normalized(samples.inputs[index])
    )


def test_lengths_must_agree() -> None:
    with pytest.raises(DataError, match="3 inputs but 2 labels"):
        Samples(np.zeros((3, 2), np.float32), np.zeros(2, np.int64), EXACT)


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 30), st.integers(1, 40))
def test_evaluation_against_the_definition(count: int, batch: int) -> None:
    """Mean −log softmax at the label, and the share of wrong largest logits, written plainly in numpy."""
    samples = make(count, EXACT)
    torch.manual_seed(0)
    network = place(build(NetworkSpec("simple-cnn", {"width": 0.25}), (3, 8, 8), 4), EXACT)
    result = evaluate(network, samples, batch=batch)
    logits = network.eval()(samples.normalized(samples.inputs)).detach().numpy()
    labels = samples.labels.numpy()
    losses = np.log(np.exp(logits).sum(1)) - logits[np.arange(count), labels]
    assert result.loss == pytest.approx(losses.mean(), rel=1e-12)
    assert result.error == (logits.argmax(1) != labels).mean()
    assert result.samples == count


def test_evaluation_restores_the_mode_and_does_not_learn_statistics() -> None:
    samples = make(6, placement("cpu"))
    network = place(build(NetworkSpec("resnet20", {"width": 0.25}), (3, 8, 8), 4), placement("cpu")).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    evaluate(network, samples)
    assert network.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())
    assert all(p.grad is None for p in network.parameters())


def test_nan_logits_give_nan_not_an_error_rate() -> None:
    samples = make(6, placement("cpu"))
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 4))
    with torch.no_grad():
        network[1].weight[0, 0] = math.nan
    result = evaluate(network, samples)
    assert math.isnan(result.error)
    assert math.isnan(result.loss)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_is_near(precision: str) -> None:
    torch.manual_seed(0)
    spec = NetworkSpec("resnet20", {"width": 0.25})
    network = build(spec, (3, 8, 8), 4)
    state = network.state_dict()
    exact = evaluate(place(network, placement("cpu")), make(50, placement("cpu")))
    where = Placement(torch.device("cpu"), precision)  # type: ignore[arg-type]
    other = place(build(spec, (3, 8, 8), 4), where)
    other.load_state_dict(state)
    assert evaluate(other, make(50, where)).loss == pytest.approx(exact.loss, rel=0.02)


def test_operations_of_a_linear_layer() -> None:
    samples = make(3, placement("cpu"))
    assert forward_operations(nn.Sequential(nn.Flatten(), nn.Linear(192, 5)), samples) == 2 * 192 * 5
