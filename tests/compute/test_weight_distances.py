"""Distances in weight space, against numpy on the whole vectors."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from landscape_cli.compute.weights.distances import layer_distances, weight_distance
from landscape_cli.errors import CheckpointError

NAMES = ("one.weight", "one.bias", "deep.two.weight", "scale")
SHAPES = {"one.weight": (3, 4), "one.bias": (3,), "deep.two.weight": (2, 3), "scale": (), "one.running_mean": (3,)}


def state(seed: int, scale: float = 1.0) -> dict[str, torch.Tensor]:
    stream = torch.Generator().manual_seed(seed)
    return {name: scale * torch.randn(shape, generator=stream) for name, shape in SHAPES.items()}


def vector(one: dict[str, torch.Tensor]) -> np.ndarray:
    return np.concatenate([one[name].double().numpy().ravel() for name in NAMES])


@given(st.integers(0, 10**6), st.floats(1e-3, 1e3))
def test_it_is_that_of_the_vectors(seed: int, scale: float) -> None:
    first, second = state(seed), state(seed + 1, scale)
    w, v = vector(first), vector(second)
    found = weight_distance(first, second, NAMES)
    assert found.distance == pytest.approx(np.linalg.norm(w - v), rel=1e-12)
    assert found.relative == pytest.approx(np.linalg.norm(w - v) / np.linalg.norm(w), rel=1e-12)
    assert found.cosine == pytest.approx(w @ v / np.linalg.norm(w) / np.linalg.norm(v), abs=1e-12)
    assert (found.norm, found.other_norm) == pytest.approx((np.linalg.norm(w), np.linalg.norm(v)), rel=1e-12)


def test_layers_add_up_and_buffers_are_no_weights() -> None:
    first, second = state(0), state(1)
    layers = layer_distances(first, second, NAMES)
    assert list(layers) == ["one", "deep.two", "scale"]
    whole = weight_distance(first, second, NAMES)
    assert sum(layer.distance**2 for layer in layers.values()) == pytest.approx(whole.distance**2, rel=1e-12)
    moved = second | {"one.running_mean": second["one.running_mean"] + 1}
    assert weight_distance(first, moved, NAMES) == whole


def test_equal_and_zero_weights() -> None:
    first = state(0)
    same = weight_distance(first, first, NAMES)
    assert (same.distance, same.relative, same.cosine) == (0.0, 0.0, 1.0)
    zero = {name: torch.zeros_like(value) for name, value in first.items()}
    from_zero = weight_distance(zero, first, NAMES)
    assert math.isnan(from_zero.relative)
    assert math.isnan(from_zero.cosine)
    assert weight_distance(first, zero, NAMES).relative == 1.0


def test_neighbours_in_single_precision_keep_their_digits() -> None:
    first = {"w": torch.full((1000,), 1000.0)}
    second = {"w": torch.nextafter(first["w"], torch.tensor(2000.0))}
    step = float(second["w"][0].double() - 1000)
    assert weight_distance(first, second, ["w"]).distance == pytest.approx(math.sqrt(1000) * step, rel=1e-12)


def test_what_does_not_fit_is_named() -> None:
    with pytest.raises(CheckpointError, match="the second checkpoint has no tensor 'scale'"):
        weight_distance(state(0), {k: v for k, v in state(1).items() if k != "scale"}, NAMES)
    with pytest.raises(CheckpointError, match=r"'one.bias' has shape \(3,\) on one side, \(4,\)"):
        weight_distance(state(0), state(1) | {"one.bias": torch.zeros(4)}, NAMES)
