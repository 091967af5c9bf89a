"""Planes: Gram–Schmidt by numpy, closed forms of linear networks, the line's own numbers, brute force off the plane."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from landscape_cli.compute.device import placement
from landscape_cli.compute.evaluation import evaluate
from landscape_cli.compute.function_distance import function_distance
from landscape_cli.compute.samples import Samples
from landscape_cli.compute.weights.interpolation import LinearPath
from landscape_cli.compute.weights.plane import Plane, along_directions, moved, through
from landscape_cli.compute.weights.plane_walk import PlaneWalk, corner_references, evaluated, linear_field, values
from landscape_cli.errors import CheckpointError, NetworkError, UsageError

EXACT = placement("cpu", "float64")


def build(seed: int = 0, *, norm: bool = False) -> nn.Module:
    torch.manual_seed(seed)
    layers = [nn.Linear(6, 8), nn.BatchNorm1d(8) if norm else nn.Identity(), nn.Tanh(), nn.Linear(8, 3)]
    network = nn.Sequential(*layers).double()
    for name, buffer in network.named_buffers():
        if name.endswith("running_var"):
            buffer.uniform_(0.5, 2)
    return network


def states(count: int = 3, *, norm: bool = False) -> list[dict[str, torch.Tensor]]:
    return [{k: v.clone() for k, v in build(seed, norm=norm).state_dict().items()} for seed in range(count)]


def samples(count: int = 60) -> Samples:
    random = torch.Generator().manual_seed(9)
    inputs = torch.randn(count, 6, generator=random, dtype=torch.float64)
    return Samples(inputs, torch.randint(0, 3, (count,), generator=random), EXACT)


NAMES = [name for name, _ in build().named_parameters()]


def dense(state: dict[str, torch.Tensor]) -> np.ndarray:
    return np.concatenate([state[name].double().numpy().ravel() for name in NAMES])


def weights_at(walk: PlaneWalk, x: float, y: float) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in walk.go(x, y).state_dict().items()}


def test_places_are_those_of_numpys_qr() -> None:
    corners = states()
    plane = through(*corners, NAMES)
    a, b, c = map(dense, corners)
    q, r = np.linalg.qr(np.stack([b - a, c - a], axis=1))
    signs = np.sign(np.diag(r))
    expected = (signs[:, None] * r).T
    assert plane.places[0] == (0, 0)
    np.testing.assert_allclose(plane.places[1:], expected, rtol=1e-12, atol=1e-12)
    walk = PlaneWalk(build(7), plane)
    for place in ((0.3, -1.2), (2.5, 4.0), (-3.0, 0.7)):
        np.testing.assert_allclose(dense(weights_at(walk, *place)), a + (q * signs) @ place, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("norm", [False, True])
def test_the_corners_are_the_networks_to_the_last_bit(dtype: torch.dtype, norm: bool) -> None:
    corners = [{k: v.to(dtype) if v.is_floating_point() else v for k, v in s.items()} for s in states(norm=norm)]
    plane = through(*corners, NAMES[:-1])
    walk = PlaneWalk(build(7, norm=norm).to(dtype), plane, batch_norm="lerp")
    for place, corner in zip(plane.places, corners, strict=True):
        walk.go(5.0, -3.0)
        found = weights_at(walk, *place)
        assert all(torch.equal(found[name], corner[name]) for name in corner if not name.endswith("tracked"))


def test_the_sides_are_the_lines_of_barriers() -> None:
    corners = states()
    walk = PlaneWalk(build(7), through(*corners, NAMES))
    for one, two in ((0, 1), (1, 2), (0, 2)):
        line = LinearPath(build(8), corners[two], corners[one])
        for alpha in (0.0, 0.13, 0.5, 0.75, 1.0):
            shares = [0.0, 0.0, 0.0]
            shares[one], shares[two] = 1 - alpha, alpha
            here = {k: v.clone() for k, v in walk.go_shares((shares[0], shares[1], shares[2])).state_dict().items()}
            there = line.go(alpha).state_dict()
            assert all(torch.equal(here[name], there[name]) for name in here)
    part = samples()
    (b, _) = walk.plane.places[1]
    line = LinearPath(build(8), corners[1], corners[0])
    for alpha in (-0.25, 0.1, 0.5, 1.25):
        on_plane = evaluate(walk.go(alpha * b, 0.0), part)
        assert on_plane.loss == pytest.approx(evaluate(line.go(alpha), part).loss, rel=1e-13)


@settings(max_examples=40, deadline=None)
@given(st.floats(-50, 50), st.floats(-50, 50))
def test_shares_and_places_are_inverse(x: float, y: float) -> None:
    plane = Plane(({}, {}, {}), (), ((0.0, 0.0), (2.5, 0.0), (-1.25, 3.0)))
    shares = plane.shares(x, y)
    assert sum(shares) == pytest.approx(1)
    assert plane.place(shares) == pytest.approx((x, y), abs=1e-9)


def test_projection_is_least_squares() -> None:
    *corners, other = states(4)
    plane = through(*corners, NAMES)
    a, b, c, w = map(dense, [*corners, other])
    axes = np.linalg.qr(np.stack([b - a, c - a], axis=1))[0]
    foot = axes @ (axes.T @ (w - a))
    x, y, off = plane.project(other)
    assert off == pytest.approx(np.linalg.norm(w - a - foot), rel=1e-12)
    assert math.hypot(x, y) == pytest.approx(np.linalg.norm(foot), rel=1e-12)
    walk = PlaneWalk(build(7), plane)
    np.testing.assert_allclose(dense(weights_at(walk, x, y)), a + foot, atol=1e-12)
    for corner, place in zip(corners, plane.places, strict=True):
        *found, off = plane.project(corner)
        np.testing.assert_allclose(found, place, atol=1e-12)
        assert off < 1e-12


def test_projection_on_oblique_directions() -> None:
    origin, one, two, other = states(4)
    u = {name: one[name] for name in NAMES}
    v = {name: one[name] + 0.1 * two[name] for name in NAMES}
    plane = along_directions(origin, u, v, NAMES)
    axes = np.stack([dense(u), dense(v)], axis=1)
    solved, residual, *_ = np.linalg.lstsq(axes, dense(other) - dense(origin), rcond=None)
    x, y, off = plane.project(other)
    np.testing.assert_allclose((x, y), solved, rtol=1e-8)
    assert off == pytest.approx(math.sqrt(residual[0]), rel=1e-10)
    assert plane.length(0.3, -0.7) == pytest.approx(np.linalg.norm(axes @ (0.3, -0.7)))


def test_a_softmax_regression_has_its_own_loss_everywhere() -> None:
    """A network linear in its weights: the loss in closed form, and its linearisation is itself, anywhere."""
    torch.manual_seed(3)
    corners = [nn.Linear(6, 3).double().state_dict() for _ in range(3)]
    plane = through(*corners, ["weight", "bias"])
    walk, part = PlaneWalk(nn.Linear(6, 3).double(), plane), samples()
    reference = corner_references(walk, plane.places[0], {"test": part})["test"]
    field = linear_field(walk, plane.places[1], part)
    a, b, c = (np.concatenate([s["weight"].numpy(), s["bias"].numpy()[:, None]], axis=1) for s in corners)
    inputs = np.concatenate([part.inputs.numpy(), np.ones((60, 1))], axis=1)
    truth = part.labels.numpy()
    for x, y in ((0.0, 0.0), (1.1, -0.4), (-2.0, 3.0), plane.places[2]):
        shares = plane.shares(x, y)
        logits = inputs @ (shares[0] * a + shares[1] * b + shares[2] * c).T
        loss = np.mean(np.log(np.exp(logits).sum(1)) - logits[np.arange(60), truth])
        found = values(walk.go(x, y), part, reference)
        assert found.loss == pytest.approx(loss, rel=1e-12)
        assert found.error == (logits.argmax(1) != truth).mean()
        linear = field.values(shares, part, reference)
        assert linear.loss == pytest.approx(loss, rel=1e-11)
        assert (linear.error, linear.disagreement) == (found.error, found.disagreement)


@pytest.mark.parametrize("norm", [False, True])
def test_the_linearised_network_is_the_network_at_its_corner(norm: bool) -> None:
    corners, part = states(norm=norm), samples()
    plane = through(*corners, NAMES if not norm else [n for n in corners[0] if not n.split(".")[1].startswith("runn")])
    walk = PlaneWalk(build(7, norm=norm), plane, statistics=part)
    for place in plane.places:
        field = linear_field(walk, place, part)
        found, answers = evaluated(walk.go(*place), part)
        assert torch.equal(torch.log_softmax(field.logits(plane.shares(*place)), 1), answers)
        assert field.values(plane.shares(*place), part, answers).loss == found.loss


def test_the_linearised_network_has_the_slope_of_finite_differences() -> None:
    corners, part = states(), samples()
    plane = through(*corners, NAMES)
    walk = PlaneWalk(build(7), plane)
    x, y = plane.places[1]
    field, step = linear_field(walk, (x, y), part), 1e-5
    for way in ((1.0, 0.0), (0.6, -0.8)):
        ends = [
            walk.go(x + s * step * way[0], y + s * step * way[1])(part.inputs).detach().clone() for s in (1.0, -1.0)
        ]
        slope = field.logits(plane.shares(x + way[0], y + way[1])) - field.value
        torch.testing.assert_close(slope, (ends[0] - ends[1]) / (2 * step), rtol=1e-6, atol=1e-7)


def test_function_distance_is_to_the_chosen_corner() -> None:
    corners, part = states(), samples()
    plane = through(*corners, NAMES)
    walk = PlaneWalk(build(7), plane)
    for corner, place in zip(corners, plane.places, strict=True):
        reference = corner_references(walk, place, {"test": part})["test"]
        assert values(walk.go(*place), part, reference).disagreement == 0
        own, other = build(1), build(1)
        own.load_state_dict(corner)
        other.load_state_dict(corners[0])
        sides = [F.log_softmax(network(part.inputs).detach(), 1) for network in (own, other)]
        found = values(walk.go(0.0, 0.0), part, reference)
        assert found.distance == pytest.approx(function_distance(*sides, part.labels).normalized, nan_ok=True)


def test_batch_norm_is_recomputed_kept_or_interpolated() -> None:
    corners, part = states(norm=True), samples()
    names = [name for name, _ in build(norm=True).named_parameters()]
    plane = through(*corners, names)
    middle = plane.place((1 / 3, 1 / 3, 1 / 3))
    kept = PlaneWalk(build(7, norm=True), plane, batch_norm="keep").go(*middle).state_dict()
    assert torch.equal(kept["1.running_var"], corners[0]["1.running_var"])
    mixed = PlaneWalk(build(7, norm=True), plane, batch_norm="lerp").go(*middle).state_dict()
    expected = sum(corner["1.running_var"] for corner in corners) / 3
    torch.testing.assert_close(mixed["1.running_var"], expected, rtol=1e-12, atol=0)
    network = PlaneWalk(build(7, norm=True), plane, statistics=part, batch=60).go(*middle)
    hidden = part.inputs @ network[0].weight.T + network[0].bias
    torch.testing.assert_close(network[1].running_mean, hidden.mean(0).detach())
    torch.testing.assert_close(network[1].running_var, hidden.var(0).detach())
    with pytest.raises(NetworkError, match="needs samples"):
        PlaneWalk(build(7, norm=True), plane)


def test_far_out_losses_are_told_as_they_are() -> None:
    corners, part = states(), samples()
    plane = through(*corners, NAMES)
    walk = PlaneWalk(build(7), plane)
    reference = corner_references(walk, (0.0, 0.0), {"test": part})["test"]
    found = values(walk.go(1e308, 1e308), part, reference)
    assert (found.loss, found.error > 0.3) == (math.inf, True)
    found = values(walk.go(1.5e308, -1.5e308), part, reference)
    assert [math.isnan(v) for v in (found.loss, found.error, found.disagreement, found.distance)] == [True] * 4
    assert math.isfinite(values(walk.go(0.1, 0.1), part, reference).loss)


def test_corners_that_span_no_plane() -> None:
    a, b, c = states()
    middle = {name: torch.lerp(a[name].float(), b[name].float(), 0.3) for name in a}
    with pytest.raises(UsageError, match="A and C are the same point"):
        through(a, b, a, NAMES)
    with pytest.raises(UsageError, match="A and B are the same point"):
        through(a, a, c, NAMES)
    with pytest.raises(UsageError, match="one, two and three lie on one line"):
        through(a, b, middle, NAMES, ("one", "two", "three"))
    near = moved(a, {name: b[name] for name in NAMES}, 1e-3)
    rounded = {name: torch.lerp(a[name].float(), near[name].float(), 0.5) for name in a}
    with pytest.raises(UsageError, match="lie on one line"):
        through(a, near, rounded, NAMES)
    direction = {name: b[name] for name in NAMES}
    for second in ({}, direction, {name: -2 * value for name, value in direction.items()}):
        with pytest.raises(UsageError, match="span no plane"):
            along_directions(a, direction, second, NAMES)


def test_corners_of_another_network() -> None:
    plane = through(*states(), NAMES)
    with pytest.raises(CheckpointError, match="corner A of the plane does not fit"):
        PlaneWalk(nn.Linear(6, 3), plane)
