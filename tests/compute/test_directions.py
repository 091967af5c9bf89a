"""Directions: filter norms one by one, the gradient by hand, principal components by scikit-learn and numpy."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.decomposition import PCA
from torch import nn

from landscape_cli.compute.device import placement
from landscape_cli.compute.samples import Samples
from landscape_cli.compute.weights.directions import (
    filter_normalized,
    gradient_direction,
    principal_directions,
    random_direction,
    tied,
    trained_names,
)
from landscape_cli.compute.weights.plane import along_directions
from landscape_cli.errors import CheckpointError, NetworkError


def convolutional() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 3))


def test_every_filter_has_the_networks_norm() -> None:
    network = convolutional()
    state, names = network.state_dict(), trained_names(network)
    with torch.no_grad():
        state["0.weight"][2] = 0
    direction = random_direction(state, names, 5, 0)
    found = filter_normalized(direction, state)
    for name in ("0.weight", "4.weight"):
        for number, (d, raw, w) in enumerate(zip(found[name], direction[name], state[name], strict=True)):
            assert float(d.norm()) == pytest.approx(float(w.double().norm()), rel=1e-12)
            if (name, number) != ("0.weight", 2):
                assert float(F.cosine_similarity(d.flatten(), raw.flatten(), 0)) == pytest.approx(1)
    for name in ("0.bias", "1.weight", "1.bias", "4.bias"):
        assert not found[name].any()


def test_random_directions_are_seeded_and_different() -> None:
    network = convolutional()
    state, names = network.state_dict(), trained_names(network)
    one, same, other = (random_direction(state, names, 5, n) for n in (0, 0, 1))
    assert all(torch.equal(one[name], same[name]) for name in names)
    assert not any(torch.equal(one[name], other[name]) for name in names)
    values = torch.cat([d.flatten() for d in one.values()])
    assert float(values.std()) == pytest.approx(1, abs=0.15)


def test_the_gradient_of_softmax_regression_in_closed_form() -> None:
    torch.manual_seed(1)
    network = nn.Linear(4, 3).double()
    inputs, labels = torch.randn(25, 4, dtype=torch.float64), torch.arange(25) % 3
    found = gradient_direction(network, Samples(inputs, labels, placement("cpu", "float64")), batch=7)
    errors = torch.softmax(network(inputs), 1).detach() - F.one_hot(labels)
    torch.testing.assert_close(found["weight"], errors.T @ inputs / 25)
    torch.testing.assert_close(found["bias"], errors.mean(0))
    with torch.no_grad():
        network.weight.fill_(math.inf)
    with pytest.raises(NetworkError, match="no number"):
        gradient_direction(network, Samples(inputs, labels, placement("cpu", "float64")))


def test_tied_weights_move_together() -> None:
    network = nn.ModuleDict({"in": nn.Linear(3, 3), "out": nn.Linear(3, 3)})
    network["out"].weight = network["in"].weight
    names = trained_names(network)
    direction = tied(network, random_direction(network.state_dict(), names, 0, 0))
    assert "out.weight" not in names
    assert torch.equal(direction["in.weight"], direction["out.weight"])


def trajectory(count: int) -> list[dict[str, torch.Tensor]]:
    random = torch.Generator().manual_seed(2)
    made, steps = [], torch.zeros(2)
    for _ in range(count):
        steps = steps + torch.tensor([1.0, 0.3])
        w = torch.randn(3, 5, generator=random, dtype=torch.float64)
        w[0, 0] += 9 * float(steps[0])
        w[1, 3] += 5 * math.sin(float(steps[1]))
        made.append({"w": w, "b": torch.randn(3, generator=random, dtype=torch.float64)})
    return made


@pytest.mark.parametrize("block", [1, 400, 1 << 30])
def test_principal_components_are_those_of_scikit_learn_and_numpy(block: int) -> None:
    made = trajectory(9)
    dense = np.stack([np.concatenate([s[n].numpy().ravel() for n in ("w", "b")]) for s in made])
    peer = PCA().fit(dense)
    _, _, rows = np.linalg.svd(dense - dense.mean(0), full_matrices=False)
    found = principal_directions([lambda s=s: s for s in made], ["w", "b"], block=block)
    np.testing.assert_allclose(found.explained[:8], peer.explained_variance_ratio_[:8], rtol=1e-9)
    for k in range(2):
        own = np.concatenate([found.directions[k][n].numpy().ravel() for n in ("w", "b")])
        assert abs(own @ peer.components_[k]) == pytest.approx(1, abs=1e-12)
        assert abs(own @ rows[k]) == pytest.approx(1, abs=1e-12)
        scores = found.scores[:, k].numpy()
        np.testing.assert_allclose(scores, (dense - dense.mean(0)) @ own, atol=1e-9)
        assert scores[np.abs(scores).argmax()] > 0
    plane = along_directions(made[-1], *found.directions, ["w", "b"], units=(8.0, 8.0))
    shift = found.scores - found.scores[-1]
    for state, place in zip(made, shift.tolist(), strict=True):
        *here, off = plane.project(state)
        np.testing.assert_allclose(here, place, atol=1e-9)
        step = np.concatenate([(state[n] - made[-1][n]).numpy().ravel() for n in ("w", "b")])
        assert off**2 == pytest.approx(step @ step - np.square(place).sum(), abs=1e-8)


def test_trajectories_that_span_no_plane() -> None:
    made = trajectory(2)
    with pytest.raises(CheckpointError, match="2 checkpoints"):
        principal_directions([lambda s=s: s for s in made], ["w"])
    line = [{"w": made[0]["w"] * k} for k in (1.0, 2.0, 4.0)]
    with pytest.raises(CheckpointError, match="lie on a line"):
        principal_directions([lambda s=s: s for s in line], ["w"])
