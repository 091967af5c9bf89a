"""No call changes a notebook's networks, data or session, and none depends on the modes around it."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import landscape_cli as landscape
from tests.api.made import IMAGES, LABELS, Everything, X, Y, net


def seen(network: nn.Module) -> list[Any]:
    """All that a call could change of a network."""
    return [
        {name: tensor.clone() for name, tensor in network.state_dict().items()},
        [(name, p.data_ptr(), p.dtype, p.stride(), p.requires_grad) for name, p in network.named_parameters()],
        [(name, buffer.data_ptr()) for name, buffer in network.named_buffers()],
        [(name, module.training, len(module._forward_hooks)) for name, module in network.named_modules()],
        [p.grad is None for p in network.parameters()],
    ]


def session() -> list[Any]:
    """All that a call could change of a session; the checks of shapes draw from Python's own generator."""
    backends = torch.backends.cudnn
    return [
        torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(),  # type: ignore[index]  # noqa: NPY002
        torch.get_default_dtype(), torch.get_default_device(), torch.get_num_threads(), torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(), torch.is_autocast_enabled("cpu"), backends.deterministic, backends.benchmark,
    ]  # fmt: skip


Call = Callable[[list[nn.Module], Any], Any]
CALLS: dict[str, Call] = {
    "evaluate": lambda n, d: landscape.evaluate(n[0], d),
    "barrier": lambda n, d: landscape.barrier(n[0], n[1], d, bn_data=d, points=3, refine=1).losses.tolist(),
    "barrier-lerp": lambda n, d: landscape.barrier(n[0], n[1], d, bn="lerp", points=3, refine=0).losses.tolist(),
    "plane": lambda n, d: landscape.plane(*n, d, bn_data=d, grid=2).loss.tolist(),
    "weight_distance": lambda n, d: landscape.weight_distance(n[0], n[1]),
    "relu_distance": lambda n, d: landscape.relu_distance(n[0], n[1], d),
    "align": lambda n, d: landscape.align(n[0], n[1], d).after,
    "align-activations": lambda n, d: landscape.align(n[0], n[1], d, method="activations").after,
    "function_distance": lambda n, d: landscape.function_distance(n[0], n[1], d),
    "predict": lambda n, d: landscape.predict(n, d).log_probs.tolist(),
    "tangent_kernel": lambda n, d: landscape.tangent_kernel(n[0], d, state=n[1]).values.tolist(),
    "kernel_distance": lambda n, d: landscape.kernel_distance(n[0], n[1], d),
    "gradient_distance": lambda n, d: landscape.gradient_distance(n[0], n[1], d).by_class.tolist(),
    "linearize": lambda n, d: landscape.linearize(n[0], state=n[1])(d[0].to(n[0].head.weight.dtype)).tolist(),
    "hessian_eigenvalues": lambda n, d: landscape.hessian_eigenvalues(n[0], d).values.tolist(),
    "hessian-train": lambda n, d: landscape.hessian_eigenvalues(n[0], d, bn="train", batch_size=10).values.tolist(),
    "hessian_trace": lambda n, d: landscape.hessian_trace(n[0], d, bn="recompute", bn_data=d, products=6).value,
    "hessian_density": lambda n, d: landscape.hessian_density(n[0], d, probes=1, steps=3).nodes.tolist(),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", CALLS)
def test_networks_data_and_session_are_left_as_they_were(name: str, dtype: torch.dtype) -> None:
    networks = [Everything(seed).to(dtype).train(seed != 1) for seed in range(3)]
    images = IMAGES.clone()
    before = [seen(network) for network in networks], session()
    CALLS[name](networks, (images, LABELS))
    after = [seen(network) for network in networks], session()
    for one, other in zip(before[0], after[0], strict=True):
        assert all(torch.equal(tensor, other[0][key]) for key, tensor in one[0].items())
        assert one[1:] == other[1:]
    assert before[1] == after[1]
    assert torch.equal(images, IMAGES)


@pytest.mark.parametrize("name", CALLS)
def test_modes_around_a_call_change_no_number(name: str) -> None:
    networks: list[nn.Module] = [Everything(seed) for seed in range(3)]
    data = (IMAGES, LABELS)
    plain = CALLS[name](networks, data)
    with torch.no_grad():
        assert CALLS[name](networks, data) == plain
    with torch.inference_mode():
        assert CALLS[name](networks, (IMAGES.clone(), LABELS)) == plain
    if name != "linearize":  # what it gives is the caller's to run
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert CALLS[name](networks, data) == plain


def test_measuring_the_same_samples_in_turn_changes_no_number() -> None:
    """What one measurement prepares for the next serves every kind of it."""
    data = landscape.load_samples("sample_checkpoints/parent", samples=30)
    a, b = (landscape.load_network(f"sample_checkpoints/{name}") for name in ("early-a", "early-b"))
    calls: list[Callable[[], object]] = [
        lambda: landscape.evaluate(a, data),
        lambda: landscape.hessian_eigenvalues(a, data, max_products=5).values.tolist(),
        lambda: landscape.gradient_distance(a, b, data).distance,
        lambda: landscape.kernel_distance(a, b, data, kernel="pseudo"),
    ]
    first = [call() for call in calls]
    assert [call() for call in reversed(calls)] == first[::-1]


def test_a_shuffled_loader_is_read_once_for_all_networks() -> None:
    """In another order for the second network, predictions would be of other samples."""
    networks = [net(seed) for seed in range(3)]
    loader = DataLoader(TensorDataset(X, Y), batch_size=5, shuffle=True)
    found = landscape.predict(networks, loader)
    logits = [network(X).detach().double().log_softmax(1) for network in networks]
    places = (logits[0][None] - found.log_probs[0][:, None]).abs().sum(2).argmin(1)
    assert sorted(places.tolist()) == list(range(len(X)))
    assert places.tolist() != list(range(len(X)))
    assert torch.equal(found.labels, Y[places])
    for mine, theirs in zip(found.log_probs, logits, strict=True):
        assert torch.allclose(mine.double(), theirs[places], atol=1e-6)
    once = iter([(X, Y)])  # a second reading would find nothing
    assert landscape.function_distance(networks[0], networks[1], once).error >= 0
    assert landscape.kernel_distance(networks[0], networks[1], iter([(X, Y)])) > 0
    assert landscape.gradient_distance(networks[0], networks[1], iter([(X, Y)])).distance > 0
    assert landscape.barrier(networks[0], networks[1], iter([(X, Y)]), points=3).samples == len(X)
