import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from landscape_cli.compute.batchnorm import batch_norms, recompute_statistics
from landscape_cli.compute.device import Placement
from landscape_cli.compute.samples import Samples
from landscape_cli.errors import DataError

EXACT = Placement(torch.device("cpu"), "float64")


def samples(count: int, *, drift: float = 0.0) -> Samples:
    random = np.random.default_rng(count)
    inputs = random.normal(2.0, 3.0, (count, 3, 4, 4)) + drift * np.arange(count)[:, None, None, None]
    return Samples(inputs, np.zeros(count, np.int64), EXACT)


@settings(deadline=None, max_examples=25)
@given(st.integers(4, 40), st.integers(2, 40))
def test_a_first_layer_gets_the_statistics_of_the_whole_sample(count: int, batch: int) -> None:
    """Whatever the batches: mean and unbiased variance over samples and pixels. Images drift along the set, so that
    the mean of batch variances alone (the published tools' estimate) would be far off."""
    layer = nn.BatchNorm2d(3).double()
    part = samples(count, drift=1.0)
    recompute_statistics(nn.Sequential(layer), part, batch=batch)
    kept = count - 1 if count % batch == 1 else count  # a last batch of one sample is left out
    values = part.inputs[:kept].numpy().transpose(1, 0, 2, 3).reshape(3, -1)
    assert np.allclose(layer.running_mean, values.mean(1), rtol=1e-12)
    assert np.allclose(layer.running_var, values.var(1, ddof=1), rtol=1e-10)


def test_both_terms_of_the_pooled_variance_count() -> None:
    part = samples(40, drift=1.0)
    layer = nn.BatchNorm2d(3).double()
    recompute_statistics(nn.Sequential(layer), part, batch=4)
    variances = part.inputs.reshape(10, 4, 3, 16).transpose(1, 2).reshape(10, 3, -1).var(2, unbiased=True)
    assert (variances.mean(0) < 0.2 * layer.running_var).all()


def test_a_later_layer_sees_inputs_normalised_by_batches() -> None:
    torch.manual_seed(0)
    part = samples(30)
    network = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 5, 1), nn.ReLU(), nn.BatchNorm2d(5)).double()
    recompute_statistics(network, part, batch=10)
    batches = part.inputs.reshape(3, 10, 3, 4, 4)
    mean, var = (
        f(batches, dim=(1, 3, 4), keepdim=True) for f in (torch.mean, lambda x, **k: x.var(unbiased=False, **k))
    )
    inside = torch.relu(network[1](((batches - mean) / torch.sqrt(var + 1e-5)).reshape(30, 3, 4, 4)))
    values = inside.detach().numpy().transpose(1, 0, 2, 3).reshape(5, -1)
    assert np.allclose(network[3].running_mean, values.mean(1), rtol=1e-10)
    assert np.allclose(network[3].running_var, values.var(1, ddof=1), rtol=1e-10)


@pytest.mark.parametrize(("count", "batch"), [(1, 100), (40, 1), (0, 10)])
def test_single_samples_have_no_statistics(count: int, batch: int) -> None:
    """They were left out one by one, and the layer was given mean 0 and variance 1."""
    layer = nn.BatchNorm2d(3).double()
    with pytest.raises(DataError, match=f"{count} samples in batches of {batch}"):
        recompute_statistics(nn.Sequential(layer), samples(count), batch=batch)


def test_nothing_else_changes() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, momentum=0.3), nn.Dropout(0.5)).double().train()
    before = {name: t.clone() for name, t in network.state_dict().items()}
    recompute_statistics(network, samples(8))
    assert network.training
    assert network[2].training
    assert network[1].momentum == 0.3
    assert not network[1]._forward_hooks
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]) == ("running" not in name)
    assert all(p.grad is None for p in network.parameters())


def test_a_nan_of_an_earlier_network_is_forgotten() -> None:
    network = nn.Sequential(nn.BatchNorm2d(3)).double()
    network[0].running_mean.fill_(float("nan"))
    network[0].running_var.fill_(float("inf"))
    recompute_statistics(network, samples(8))
    assert torch.isfinite(network[0].running_mean).all()
    assert torch.isfinite(network[0].running_var).all()


@pytest.mark.parametrize("network", [nn.Linear(2, 2), nn.BatchNorm2d(3, track_running_stats=False), nn.GroupNorm(1, 3)])
def test_networks_without_running_statistics_are_left_alone(network: nn.Module) -> None:
    assert batch_norms(network) == []
    recompute_statistics(network, samples(4))
