"""Eigenpairs, traces, densities and overlaps of matrices whose spectrum is known."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.linalg import LinearOperator, eigsh

from landscape_cli.compute.weights.curvature_operators import HessianOperator
from landscape_cli.compute.weights.eigenspaces import overlap
from landscape_cli.compute.weights.lanczos import eigenpairs
from landscape_cli.compute.weights.spectral_density import spectral_density
from landscape_cli.compute.weights.trace import trace
from landscape_cli.errors import NetworkError, UsageError
from tests.compute.made_curvature import Dense, batches, dense_curvature, samples, small, symmetric

SPECTRUM = torch.cat([torch.tensor([9.0, 5.0, 4.9]), torch.linspace(-0.5, 1.0, 117)]).double()


@pytest.mark.parametrize("basis", [None, 12])
def test_ends_of_a_known_spectrum(basis: int | None) -> None:
    matrix = symmetric(SPECTRUM)
    found = eigenpairs(Dense(matrix), top=3, bottom=2, tolerance=1e-9, basis=basis)
    expected = SPECTRUM.sort(descending=True).values[[0, 1, 2, -2, -1]]
    torch.testing.assert_close(found.values, expected, rtol=1e-9, atol=1e-9)
    true = (matrix @ found.vectors.T - found.vectors.T * found.values).norm(dim=0)
    torch.testing.assert_close(found.residuals, true, rtol=0.05, atol=1e-12)
    torch.testing.assert_close(found.vectors @ found.vectors.T, torch.eye(5, dtype=torch.float64), rtol=0, atol=1e-10)
    assert found.converged
    assert found.asymmetry < 1e-12
    assert max(found.relative[:3]) <= 1e-9


def test_scipy_finds_the_same_of_a_network() -> None:
    net, (x, y) = small("relu"), samples(60)
    operator = HessianOperator(net, batches(x, y, 20))
    found = eigenpairs(operator, top=3, bottom=1, tolerance=1e-8)
    product = LinearOperator(
        (operator.size,) * 2, lambda v: operator.apply(torch.from_numpy(v.ravel())).numpy(), dtype=float
    )
    largest = eigsh(product, k=3, which="LA", return_eigenvectors=False)
    smallest = eigsh(product, k=1, which="SA", return_eigenvectors=False)
    np.testing.assert_allclose(found.values.numpy(), [*largest[::-1], *smallest], rtol=1e-7)


def test_products_stop_when_the_residual_is_inside_the_tolerance() -> None:
    matrix = symmetric(SPECTRUM)
    loose, tight = (Dense(matrix) for _ in range(2))
    one, other = eigenpairs(loose, tolerance=1e-2), eigenpairs(tight, tolerance=1e-6)
    assert len(loose.applied) == one.products < other.products == len(tight.applied)
    assert 1e-6 < one.relative[0] <= 1e-2
    assert abs(float(one.values[0]) - 9) <= float(one.residuals[0])
    cut = eigenpairs(Dense(matrix), tolerance=1e-12, products=4)
    assert (cut.converged, cut.products) == (False, 4)


@pytest.mark.parametrize("capacity", [6, 8, 11])
def test_restarts_lose_nothing(capacity: int) -> None:
    values = torch.linspace(0.0, 1.0, 400, dtype=torch.float64) ** 0.5  # a slow end: its top is crowded
    found = eigenpairs(Dense(torch.diag(values)), top=2, tolerance=1e-5, basis=capacity, products=3000)
    assert found.converged
    assert found.products > capacity
    torch.testing.assert_close(found.values, values.flip(0)[:2], rtol=1e-4, atol=0)


@settings(max_examples=40, deadline=None)
@given(
    values=st.lists(st.floats(-5, 5).map(lambda v: round(v, 2)), min_size=1, max_size=9),
    seed=st.integers(0, 9),
    data=st.data(),
)
def test_small_matrices_with_any_multiplicity_are_exact(values: list[float], seed: int, data: st.DataObject) -> None:
    top = data.draw(st.integers(0, len(values)))
    bottom = data.draw(st.integers(0 if top else 1, len(values) - top))
    spectrum = torch.tensor(values, dtype=torch.float64)
    found = eigenpairs(Dense(symmetric(spectrum, seed)), top=top, bottom=bottom, tolerance=1e-9, seed=seed)
    ordered = sorted(values, reverse=True)
    assert found.converged
    # A single start cannot see how often a value comes: what it finds are eigenvalues, and the outermost are right.
    for value in found.values.tolist():
        assert min(abs(value - v) for v in values) < 1e-8
    if top:
        assert float(found.values[0]) == pytest.approx(ordered[0], abs=1e-8)
    if bottom:
        assert float(found.values[-1]) == pytest.approx(ordered[-1], abs=1e-8)


def test_a_start_orthogonal_to_the_top_does_not_hide_it() -> None:
    matrix = torch.diag(torch.tensor([3.0, 2.0, 1.0, 0.5], dtype=torch.float64))
    start = torch.tensor([0.0, 1.0, 0.0, 0.0], dtype=torch.float64)
    assert float(eigenpairs(Dense(matrix), start=start, tolerance=1e-6).values[0]) == pytest.approx(3.0, rel=1e-9)


def test_float32_vectors_give_float64_ritz_values() -> None:
    matrix = symmetric(SPECTRUM)
    found = eigenpairs(Dense(matrix.float()), top=3, tolerance=1e-4)
    assert found.values.dtype == torch.float64
    assert found.vectors.dtype == torch.float32
    torch.testing.assert_close(found.values, SPECTRUM[:3], rtol=1e-5, atol=0)
    assert 0 < found.asymmetry < 1e-5


def test_what_is_no_symmetric_matrix_is_refused() -> None:
    matrix = symmetric(SPECTRUM)
    matrix[0] *= 2
    with pytest.raises(NetworkError, match="not symmetric"):
        eigenpairs(Dense(matrix), top=3)


@pytest.mark.parametrize("wanted", [0, 5])
def test_more_pairs_than_rows_are_refused(wanted: int) -> None:
    with pytest.raises(UsageError, match="eigenpairs of a matrix of 4 rows"):
        eigenpairs(Dense(torch.eye(4, dtype=torch.float64)), top=wanted)


@pytest.mark.parametrize("method", ["hutch++", "hutchinson"])
def test_traces_are_unbiased_and_their_errors_honest(method: str) -> None:
    matrix = symmetric(SPECTRUM)
    found = [trace(Dense(matrix), products=18, method=method, seed=seed) for seed in range(200)]
    values = torch.tensor([one.value for one in found])
    claimed = torch.tensor([one.standard_error for one in found]).square().mean().sqrt()
    assert abs(float(values.mean()) - float(SPECTRUM.sum())) < 4 * float(values.std()) / math.sqrt(200)
    assert 0.8 < float(claimed / values.std()) < 1.25
    assert {one.products for one in found} == {18}


def test_hutchpp_is_better_where_a_few_eigenvalues_stand_out() -> None:
    matrix = symmetric(torch.cat([torch.tensor([100.0, 80.0]), torch.full((98,), 0.01)]).double())
    spread = {
        method: torch.tensor([trace(Dense(matrix), products=18, method=method, seed=s).value for s in range(40)]).std()
        for method in ("hutch++", "hutchinson")
    }
    assert spread["hutch++"] < spread["hutchinson"] / 50


def test_a_trace_is_exact_where_the_space_is_whole() -> None:
    found = trace(Dense(symmetric(SPECTRUM[:4])), products=30)
    assert found.value == pytest.approx(float(SPECTRUM[:4].sum()), rel=1e-12)
    assert (found.standard_error, found.products) == (0.0, 8)
    with pytest.raises(UsageError, match="too few"):
        trace(Dense(symmetric(SPECTRUM)), products=5)


def test_the_density_integrates_to_one_and_is_that_of_the_dense_spectrum() -> None:
    net, (x, y) = small("tanh"), samples(60)
    dense = torch.linalg.eigvalsh(dense_curvature(net, x, y, "hessian"))
    found = spectral_density(HessianOperator(net, batches(x, y, 30)), probes=60, steps=51)
    grid = found.grid(2000)
    values, error = found.smooth(grid)
    assert float(torch.trapezoid(values, grid)) == pytest.approx(1.0, abs=1e-6)
    width = found.width()
    exact = torch.exp(-0.5 * ((grid[:, None] - dense) / width) ** 2).mean(1) / (width * math.sqrt(2 * math.pi))
    assert float(torch.trapezoid((values - exact).abs(), grid)) < 0.15  # 60 random vectors of 51 entries
    assert float(((values - exact).abs() < 4 * error + 1e-6).double().mean()) > 0.95


def test_moments_of_the_density_are_those_of_the_probes() -> None:
    """Gauss quadrature: the first 2m − 1 moments are exact for each probe, so over an invariant space for all."""
    matrix = symmetric(SPECTRUM)
    found = spectral_density(Dense(matrix), probes=200, steps=12)
    for power in (0, 1, 2, 3):
        value, error = found.moment(power)
        assert abs(value - float((SPECTRUM**power).mean())) <= 4 * error + 1e-12
    assert found.products == 2400
    share, error = found.share_below(0.0)
    assert abs(share - float((SPECTRUM < 0).double().mean())) < 4 * error + 0.03
    assert float(found.weights.sum(1).sub(1).abs().max()) < 1e-12


def test_the_density_of_a_multiple_of_the_identity_is_one_peak() -> None:
    found = spectral_density(Dense(2 * torch.eye(7, dtype=torch.float64)), probes=3, steps=5)
    assert found.products == 3
    grid = found.grid(400)
    values, _ = found.smooth(grid)
    assert float(torch.trapezoid(values, grid)) == pytest.approx(1.0, abs=1e-6)
    assert float(grid[values.argmax()]) == pytest.approx(2.0, abs=0.01)


def test_overlap_of_known_spaces() -> None:
    e = torch.eye(10, dtype=torch.float64)
    assert overlap(e[:3], 5 * e[:3] + e[:3].flip(0)).share == pytest.approx(1.0, abs=1e-12)
    assert overlap(e[:3], e[5:8]).share == 0.0
    half = overlap(e[:2], torch.stack([e[0], e[1] + e[5]]))
    assert half.share == pytest.approx(0.75)
    assert half.cosines == pytest.approx([1.0, math.sqrt(0.5)])
    assert half.each == pytest.approx([1.0, 0.5])
    assert half.expected == pytest.approx(0.2)
    twice = overlap(e[:3], torch.stack([e[0], 2 * e[0], e[1]]))
    assert (twice.share, twice.dimensions) == (pytest.approx(1.0), (3, 2))
    with pytest.raises(NetworkError, match="span nothing"):
        overlap(e[:3], 0 * e[:2])


def test_the_expected_overlap_is_that_of_random_spaces() -> None:
    torch.manual_seed(0)
    found = []
    for _ in range(200):
        q, _ = torch.linalg.qr(torch.randn(60, 4, dtype=torch.float64))
        one = overlap(q.T.contiguous(), torch.randn(6, 60, dtype=torch.float64))
        found.append(one.share)
    assert torch.tensor(found).mean() == pytest.approx(one.expected, rel=0.05)
