import math
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from landscape_cli.compute.predictions import explained
from landscape_cli.compute.predictions.embedding import Embedding, inpca
from landscape_cli.compute.predictions.explained import explained_pairwise
from landscape_cli.compute.predictions.operators import Centred, DenseRows, block_rows
from landscape_cli.compute.predictions.projection import frame, project, shaped_by
from landscape_cli.compute.predictions.spectrum import leading_pairs
from landscape_cli.errors import DataError


def minkowski(models: int, positive: int = 4, negative: int = 3, seed: int = 0) -> Tensor:
    """Intervals of random points of a Minkowski space: the signs and the number of dimensions are known."""
    generator = np.random.default_rng(seed)
    signs = np.array([1.0] * positive + [-1.0] * negative)
    x = generator.normal(size=(models, len(signs))) * 0.7 ** np.arange(len(signs))
    difference = x[:, None] - x[None]
    return torch.from_numpy((signs * difference**2).sum(-1))


def premetric(models: int, seed: int = 0) -> Tensor:
    """Any symmetric matrix with a zero diagonal."""
    upper = np.triu(np.random.default_rng(seed).random((models, models)), 1)
    return torch.from_numpy(upper + upper.T)


def intervals(coordinates: np.ndarray, signature: np.ndarray) -> np.ndarray:
    return (signature * (coordinates[:, None] - coordinates[None]) ** 2).sum(-1)


def plain(distances: np.ndarray, weights: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """InPCA as the definition has it, by numpy: W of weighted models, its eigenvalues and coordinates in order."""
    models = len(distances)
    m = np.ones(models) if weights is None else weights
    centre = np.eye(models) - np.outer(np.ones(models), m / m.sum())
    w = -0.5 * centre @ distances @ centre.T
    values, vectors = np.linalg.eigh(np.sqrt(m)[:, None] * w * np.sqrt(m))
    order = np.argsort(-np.abs(values))
    values, vectors = values[order], vectors[:, order]
    return w, values, vectors * np.sqrt(np.abs(values)) / np.sqrt(m)[:, None]


def same_up_to_signs(one: np.ndarray, two: np.ndarray, tolerance: float = 1e-8) -> None:
    signs = np.sign((one * two).sum(axis=0))
    np.testing.assert_allclose(one, two * signs, atol=tolerance)


@pytest.mark.parametrize("distances", [minkowski(23), premetric(23)], ids=["minkowski", "premetric"])
def test_with_all_dimensions_the_embedding_is_isometric(distances: Tensor) -> None:
    found = inpca(distances)
    np.testing.assert_allclose(intervals(found.coordinates, found.signature), distances.numpy(), atol=1e-12)
    assert found.explained_stress[-1] == 1
    assert found.explained_l1 is not None
    assert found.explained_l2 is not None
    assert found.explained_l1[-1] == pytest.approx(1, abs=1e-12)
    assert found.explained_l2[-1] == pytest.approx(1, abs=1e-12)


def test_the_signature_is_that_of_the_space_the_points_lie_in() -> None:
    found = inpca(minkowski(40, positive=4, negative=3))
    assert (np.sum(found.signature > 0), np.sum(found.signature < 0)) == (4, 3)
    assert not found.coordinates[:, 7:].any()
    assert (np.diff(np.abs(found.eigenvalues)) <= 0).all()


@pytest.mark.parametrize("solver", ["dense", "krylov"])
@pytest.mark.parametrize("weighted", [False, True])
def test_both_solvers_agree_with_the_definition(solver: str, weighted: bool) -> None:
    distances = premetric(60) + 8 * minkowski(60)
    m = np.random.default_rng(1).integers(1, 5, 60).astype(float) if weighted else None
    found = inpca(
        distances,
        8,
        weights=None if m is None else torch.from_numpy(m),
        solver=solver,  # type: ignore[arg-type]
        tolerance=1e-12,
    )
    w, values, coordinates = plain(distances.numpy(), m)
    assert found.solver == solver
    assert found.converged
    np.testing.assert_allclose(found.eigenvalues, values[:8], atol=1e-9)
    same_up_to_signs(found.coordinates, coordinates[:, :8])
    root = np.ones(60) if m is None else np.sqrt(m)
    assert found.norm == pytest.approx(np.linalg.norm(root[:, None] * w * root), rel=1e-12)
    assert found.trace == pytest.approx(np.sum(root**2 * np.diag(w)), rel=1e-9)
    stress = [1 - math.sqrt(np.sum(values[k + 1 :] ** 2) / np.sum(values**2)) for k in range(8)]
    np.testing.assert_allclose(found.explained_stress, stress, atol=1e-10)


def test_the_iterative_solver_agrees_with_the_dense_one_and_reads_less() -> None:
    distances = premetric(500) * 0.2 + minkowski(500)
    dense = inpca(distances, 5, solver="dense")
    krylov = inpca(distances, 5, solver="krylov", tolerance=1e-11)
    np.testing.assert_allclose(krylov.coordinates, dense.coordinates, atol=1e-8)
    np.testing.assert_allclose(krylov.eigenvalues, dense.eigenvalues, rtol=1e-12)
    np.testing.assert_allclose(krylov.explained_stress, dense.explained_stress, atol=1e-9)
    assert krylov.passes <= 12
    assert krylov.residuals.max() <= 1e-11


@pytest.mark.parametrize("rows", [1, 7, 64, 500])
def test_the_size_of_blocks_changes_nothing(rows: int) -> None:
    distances = minkowski(150) + 0.1 * premetric(150)
    whole = inpca(distances, 4, solver="krylov")
    parts = inpca(DenseRows(distances.float().double(), rows), 4, solver="krylov")
    # In single precision on the disk, the products are still double: only the distances' own rounding remains.
    np.testing.assert_allclose(parts.coordinates, whole.coordinates, atol=1e-6)
    again = inpca(DenseRows(distances, rows), 4, solver="krylov")
    np.testing.assert_allclose(again.coordinates, whole.coordinates, atol=1e-10)
    np.testing.assert_allclose(again.explained_l1, whole.explained_l1, atol=1e-12)
    assert again.passes == whole.passes


def test_a_single_precision_matrix_is_multiplied_in_double() -> None:
    distances = minkowski(80).float()
    found = inpca(distances, 3, solver="krylov", tolerance=1e-12)
    assert found.converged
    np.testing.assert_allclose(found.coordinates, inpca(distances.double(), 3).coordinates, atol=1e-9)


@pytest.mark.parametrize("solver", ["dense", "krylov"])
def test_weights_are_repeated_points(solver: str) -> None:
    distances = minkowski(30) + 0.2 * premetric(30)
    times = np.random.default_rng(3).integers(1, 4, 30)
    index = np.repeat(np.arange(30), times)
    repeated = inpca(distances[index][:, index], 5, solver="dense")
    weights = torch.from_numpy(times.astype(float))
    found = inpca(distances, 5, weights=weights, solver=solver, tolerance=1e-12)  # type: ignore[arg-type]
    np.testing.assert_allclose(found.coordinates[index], repeated.coordinates, atol=1e-8)
    for name in ("eigenvalues", "explained_stress", "explained_l1", "explained_l2", "norm", "trace", "mean"):
        np.testing.assert_allclose(getattr(found, name), getattr(repeated, name), rtol=1e-8, err_msg=name)
    np.testing.assert_allclose(found.row_means[index], repeated.row_means, rtol=1e-10)


@pytest.mark.parametrize("solver", ["dense", "krylov"])
def test_a_model_of_weight_zero_is_added_not_embedded(solver: str) -> None:
    distances = minkowski(40) + 0.2 * premetric(40)
    weights = torch.ones(40, dtype=torch.float64)
    weights[[3, 17]] = 0
    kept = np.delete(np.arange(40), [3, 17])
    apart = inpca(distances[kept][:, kept], 5, solver="dense")
    found = inpca(distances, 5, weights=weights, solver=solver, tolerance=1e-12)  # type: ignore[arg-type]
    np.testing.assert_allclose(found.coordinates[kept], apart.coordinates, atol=1e-8)
    added = project(frame(apart), distances.numpy()[[3, 17]][:, kept])
    np.testing.assert_allclose(found.coordinates[[3, 17]], added, atol=1e-8)
    np.testing.assert_allclose(found.explained_l2, apart.explained_l2, atol=1e-9)
    assert found.norm == pytest.approx(apart.norm)
    assert shaped_by(found).tolist() == [i not in (3, 17) for i in range(40)]


@pytest.mark.parametrize("weighted", [False, True])
def test_an_embedded_model_that_is_added_again_gets_its_own_coordinates(weighted: bool) -> None:
    distances = premetric(50)
    weights = torch.from_numpy(np.random.default_rng(0).random(50) + 0.5) if weighted else None
    found = inpca(distances, 49 if weighted else None, weights=weights)
    np.testing.assert_allclose(project(frame(found), distances.numpy()), found.coordinates, atol=1e-8)


def test_a_copy_of_an_embedded_model_lands_on_it_and_moves_nothing() -> None:
    distances = minkowski(30).numpy()
    found = inpca(torch.from_numpy(distances), 6)
    added = project(frame(found), distances[[4, 4, 9]])
    np.testing.assert_allclose(added, found.coordinates[[4, 4, 9]], atol=1e-10)


def test_equation_10_is_equation_9_with_test_distances() -> None:
    """Written out with the training means, as the paper has it: the mean of the row makes no difference."""
    distances, test = minkowski(30).numpy(), minkowski(30, seed=9).numpy()
    found = inpca(torch.from_numpy(distances), 5)
    w = -0.5 * (test - found.row_means[:, None] - found.row_means + found.mean)
    vectors = found.coordinates / np.sqrt(np.abs(found.eigenvalues))
    by_hand = w @ vectors / found.eigenvalues * np.sqrt(np.abs(found.eigenvalues))
    np.testing.assert_allclose(project(frame(found), test), by_hand, atol=1e-10)
    np.testing.assert_allclose(project(frame(found), distances), found.coordinates, atol=1e-10)


def test_landmarks_carry_the_rest() -> None:
    """Points of a space of 7 dimensions: 12 of them span it, and the others are placed exactly."""
    distances = minkowski(60)
    chosen = np.arange(0, 60, 5)
    few = inpca(distances[chosen][:, chosen], 7)
    rest = project(frame(few), distances.numpy()[:, chosen])
    np.testing.assert_allclose(intervals(rest, few.signature), distances.numpy(), atol=1e-10)


def test_squared_euclidean_distances_give_principal_components() -> None:
    probabilities = np.random.default_rng(0).dirichlet(np.ones(4), size=(25, 6))  # model, sample, class
    flat = probabilities.reshape(25, -1) / math.sqrt(6)
    distances = ((probabilities[:, None] - probabilities[None]) ** 2).sum(-1).mean(-1)
    found = inpca(torch.from_numpy(distances), 6)
    left, sizes, _ = np.linalg.svd(flat - flat.mean(axis=0), full_matrices=False)
    same_up_to_signs(found.coordinates, left[:, :6] * sizes[:6])
    np.testing.assert_allclose(found.eigenvalues, sizes[:6] ** 2, rtol=1e-10)
    assert (found.signature == 1).all()


def test_symmetrised_kl_distances_give_the_closed_form_of_iskl() -> None:
    """Teoh et al. 2020: Σ ΔT Δη = ¼ Σ (Δ(η+T))² − ¼ Σ (Δ(η−T))², so W = ½ (T ηᵀ + η Tᵀ)/N with both centred."""
    p = np.random.default_rng(0).dirichlet(np.ones(3), size=(15, 4)).reshape(15, -1)
    eta = np.log(p)
    distances = ((p[:, None] - p[None]) * (eta[:, None] - eta[None])).sum(-1) / 4
    t, e = p - p.mean(axis=0), eta - eta.mean(axis=0)
    w = (t @ e.T + e @ t.T) / 8
    values = np.linalg.eigvalsh(w)
    values = values[np.argsort(-np.abs(values))]
    found = inpca(torch.from_numpy(distances))
    np.testing.assert_allclose(found.eigenvalues, values, atol=1e-12)
    assert found.norm == pytest.approx(np.linalg.norm(w))


@pytest.mark.parametrize("weighted", [False, True])
def test_explained_pairwise_distances_against_a_plain_sum(weighted: bool) -> None:
    distances = premetric(33) + minkowski(33)
    weights = torch.from_numpy(np.random.default_rng(2).integers(0, 3, 33).astype(float)) if weighted else None
    found = inpca(distances, 4, weights=weights)
    m = np.ones(33) if weights is None else weights.numpy()
    for dims in range(1, 5):
        off = distances.numpy() - intervals(found.coordinates[:, :dims], found.signature[:dims])
        pairs = np.outer(m, m)
        l1 = 1 - (pairs * np.abs(off)).sum() / (pairs * np.abs(distances.numpy())).sum()
        l2 = 1 - math.sqrt((pairs * off**2).sum() / (pairs * distances.numpy() ** 2).sum())
        assert found.explained_l1 is not None
        assert found.explained_l2 is not None
        assert found.explained_l1[dims - 1] == pytest.approx(l1, abs=1e-12)
        assert found.explained_l2[dims - 1] == pytest.approx(l2, abs=1e-12)


def test_signs_do_not_depend_on_the_solver_the_order_or_the_start() -> None:
    distances = minkowski(90) + 0.05 * premetric(90)
    found = inpca(distances, 5, solver="dense")
    order = np.random.default_rng(0).permutation(90)
    shuffled = inpca(distances[order][:, order], 5, solver="krylov", tolerance=1e-12, seed=7)
    np.testing.assert_allclose(shuffled.coordinates, found.coordinates[order], atol=1e-8)
    assert ((found.coordinates**3).sum(axis=0) > 0).all()


def test_a_dimension_without_a_heavier_side_starts_positive() -> None:
    """Two points lie at ±1 of their middle: neither tail is longer, so the first is the positive one."""
    for solver in ("dense", "krylov"):
        found = inpca(torch.tensor([[0.0, 4.0], [4.0, 0.0]], dtype=torch.float64), 1, solver=solver)  # type: ignore[arg-type]
        np.testing.assert_allclose(found.coordinates, [[1.0], [-1.0]])


def test_the_same_call_gives_the_same_bits() -> None:
    distances = minkowski(80) + 0.1 * premetric(80)
    one, two = (inpca(distances, 4, solver="krylov") for _ in range(2))
    assert np.array_equal(one.coordinates, two.coordinates)


@pytest.mark.parametrize("solver", ["dense", "krylov"])
def test_identical_models_are_one_point(solver: str) -> None:
    found = inpca(torch.zeros(6, 6, dtype=torch.float64), 3, solver=solver)  # type: ignore[arg-type]
    assert not found.coordinates.any()
    assert not found.eigenvalues.any()
    assert not found.signature.any()
    assert found.explained_stress.tolist() == [1, 1, 1]
    assert found.explained_l1 is not None
    assert found.explained_l1.tolist() == [1, 1, 1]
    assert not project(frame(found), np.zeros((2, 6))).any()


def test_one_model_is_refused() -> None:
    with pytest.raises(DataError, match="two models at least, not 1"):
        inpca(torch.zeros(1, 1, dtype=torch.float64), 2)


@pytest.mark.parametrize("value", [math.inf, math.nan, -math.inf])
@pytest.mark.parametrize("solver", ["dense", "krylov"])
def test_what_is_no_finite_distance_is_named(value: float, solver: str) -> None:
    distances = minkowski(20)
    distances[4, 11] = distances[11, 4] = value
    with pytest.raises(DataError, match=re.escape(f"models 4 and 11 (counted from 0) is {value}")):
        inpca(DenseRows(distances, 3), 2, solver=solver)  # type: ignore[arg-type]


def test_a_matrix_that_is_not_symmetric_is_refused() -> None:
    distances = minkowski(20)
    distances[4, 11] += 1
    with pytest.raises(DataError, match="not symmetric"):
        inpca(distances, 2)


@pytest.mark.parametrize("weights", [[1.0, -1.0, 1.0], [0.0, 0.0, 0.0], [1.0, math.nan, 1.0]])
def test_unusable_weights_are_refused(weights: list[float]) -> None:
    with pytest.raises(DataError, match="weights"):
        inpca(premetric(3), 1, weights=torch.tensor(weights, dtype=torch.float64))


def test_a_source_that_lacks_rows_is_told() -> None:
    class Torn(DenseRows):
        @property
        def size(self) -> int:
            return 30

        def blocks(self):
            yield from list(super().blocks())[:-1]

    with pytest.raises(DataError, match="ends at row 28 of 30"):
        inpca(Torn(minkowski(30), 4), 2, solver="krylov")


def test_distances_that_do_not_fit_an_embedding_are_refused() -> None:
    found = frame(inpca(minkowski(10), 2))
    with pytest.raises(DataError, match="to 9 models do not fit an embedding of 10"):
        project(found, np.zeros((3, 9)))
    with pytest.raises(DataError, match="new model 1 and embedded model 7"):
        project(found, np.where(np.arange(30).reshape(3, 10) == 17, np.inf, 1.0))


def test_without_enough_passes_the_residual_is_told() -> None:
    distances = premetric(300)
    with pytest.warns(RuntimeWarning, match=r"not converged after 3 passes: the largest residual is \d"):
        found = inpca(distances, 4, solver="krylov", max_passes=4)
    assert not found.converged
    assert found.passes == 4
    assert found.residuals.max() > 1e-8


def test_a_small_basis_is_compressed_and_still_converges() -> None:
    """A flat spectrum needs many products: with a basis of 4 blocks it must start over several times."""
    distances = premetric(400)
    exact = inpca(distances, 3, solver="dense", pairwise=False)
    centred = Centred(DenseRows(distances))
    found = leading_pairs(centred.product, centred.root, 3, tolerance=1e-9, max_products=60, basis=4)
    assert found.converged
    assert centred.passes > 8
    np.testing.assert_allclose(found.values.numpy(), exact.eigenvalues, rtol=1e-10)


def test_an_exhausted_space_ends_the_iteration() -> None:
    """7 dimensions: after two products the block Krylov space is all there is."""
    found = inpca(minkowski(200), 10, solver="krylov", tolerance=0.0, pairwise=False)
    assert found.converged
    assert found.passes <= 3
    assert np.count_nonzero(found.eigenvalues) == 7
    np.testing.assert_allclose(found.explained_stress[6:], 1, atol=1e-7)


def test_progress_is_told() -> None:
    told: list[tuple[int, int]] = []
    found = inpca(minkowski(50), 2, solver="krylov", progress=lambda done, of: told.append((done, of)))
    assert [done for done, _ in told] == list(range(1, found.passes))


def test_rows_of_a_block_fit_their_budget() -> None:
    assert block_rows(1000, 80_000) == 10
    assert block_rows(10**9, 8) == 1


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 12), st.integers(0, 10**6), st.booleans())
def test_for_any_premetric(models: int, seed: int, weighted: bool) -> None:
    distances = premetric(models, seed)
    m = torch.from_numpy(np.random.default_rng(seed).integers(1, 9, models).astype(float)) if weighted else None
    found = inpca(distances, weights=m)
    np.testing.assert_allclose(intervals(found.coordinates, found.signature), distances.numpy(), atol=1e-9)
    assert (np.diff(found.explained_stress) >= -1e-12).all()
    assert np.sum(found.eigenvalues) == pytest.approx(found.trace, abs=1e-9)
    assert np.linalg.norm(found.eigenvalues) == pytest.approx(found.norm, abs=1e-9)
    middle = found.weights @ found.coordinates
    np.testing.assert_allclose(middle, 0, atol=1e-9)
    again = inpca(distances, min(2, models), weights=m, solver="krylov", tolerance=1e-12)
    np.testing.assert_allclose(again.eigenvalues, found.eigenvalues[:2], atol=1e-9)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6))
def test_the_order_of_models_is_carried_through(seed: int) -> None:
    distances = minkowski(14, seed=seed)
    order = np.random.default_rng(seed).permutation(14)
    one, two = inpca(distances, 3), inpca(distances[order][:, order], 3)
    np.testing.assert_allclose(
        intervals(one.coordinates[order], one.signature), intervals(two.coordinates, two.signature), atol=1e-8
    )


def test_explained_pairwise_of_other_coordinates() -> None:
    """Of no coordinates at all nothing is explained; of the exact ones, everything."""
    distances = minkowski(20)
    found: Embedding = inpca(distances)
    nothing = explained_pairwise(
        DenseRows(distances), torch.zeros(20, 1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    )
    assert [float(share) for share in nothing] == [0.0, 0.0]
    exact = explained_pairwise(
        DenseRows(distances), torch.from_numpy(found.coordinates), torch.from_numpy(found.signature)
    )
    assert float(exact[0][-1]) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("rectangular", [False, True])
def test_the_compiled_loop_agrees_with_that_for_any_device(rectangular: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    distances = premetric(30)
    found = inpca(distances, 4)
    x = torch.from_numpy(found.coordinates)
    m = torch.from_numpy(np.random.default_rng(0).random(30))
    taken = torch.arange(0, 30, 3) if rectangular else torch.arange(30)
    shares = []
    for least in (0, math.inf):
        monkeypatch.setattr(explained, "COMPILED_PAIRS", least)
        shares.append(
            explained_pairwise(
                DenseRows(distances[:, taken], 7), x, torch.from_numpy(found.signature), m,
                columns=x[taken], column_weights=m[taken],
            )
        )  # fmt: skip
    for compiled, plainly in zip(*shares, strict=True):
        np.testing.assert_allclose(compiled, plainly, atol=1e-12)
