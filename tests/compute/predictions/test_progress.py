import inspect
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from landscape_cli.compute.predictions import progress as module
from landscape_cli.compute.predictions.geodesics import geodesic
from landscape_cli.compute.predictions.progress import overlaps, progress, progress_from_overlaps
from landscape_cli.compute.predictions.references import distances_to_ignorance, distances_to_truth, ignorance, truth
from landscape_cli.errors import DataError, UsageError
from tests.compute.predictions.test_distances import predictions
from tests.oracle import plain_predictions as plain

CLASSES = 6
LABELS = torch.arange(200) % CLASSES


def confident(error: float, samples: int, classes: int, *, surety: float = math.inf) -> tuple[Tensor, Tensor]:
    """A model with all mass on one class, wrong on a share of the samples, and the labels."""
    labels = torch.arange(samples) % classes
    told = torch.where(torch.arange(samples) < round(error * samples), (labels + 1) % classes, labels)
    certain = one_hot(told, classes).double()
    return (certain.log() if surety == math.inf else torch.log_softmax(surety * certain, 1))[None], labels


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("classes", [2, 10])
def test_points_on_the_geodesic_are_where_they_are(classes: int, smoothing: float) -> None:
    labels = torch.arange(60) % classes
    times = torch.linspace(0, 1, 41, dtype=torch.float64)
    points = geodesic(ignorance(60, classes), truth(labels, classes, smoothing=smoothing), times)
    exact, rounded = (
        progress(points, labels, smoothing=smoothing),
        progress(points.float(), labels, smoothing=smoothing),
    )
    assert np.abs(exact.progress - times.numpy()).max() < 1e-7
    assert np.abs(rounded.progress - times.numpy()).max() < 1e-5
    assert exact.progress[[0, -1]].tolist() == [0.0, 1.0]
    assert rounded.progress[[0, -1]].tolist() == [0.0, 1.0]
    assert exact.distance_to_geodesic.max() < 1e-7


@pytest.mark.parametrize("classes", [2, 5, 10])
@pytest.mark.parametrize("error", [0.0, 0.25, 0.5, 0.75, 0.8, 0.85, 0.9, 1.0])
def test_the_confident_model_in_closed_form(classes: int, error: float) -> None:
    """Mao et al. C.2: with r = (1−ε)/ε and κ² = 1/(C−1), ``sin² x = (κ² − r²) / (κ² (1 − r²))``, λ = 1 − x/d.

    Where r ≥ κ all the way is right (λ = 1), and from ε = (C−1)/C on, none (λ = 0).
    """
    log_probs, labels = confident(error, 20 * classes, classes)
    error = float((log_probs[0].argmax(1) != labels).double().mean())
    whole, kappa = math.acos(1 / math.sqrt(classes)), 1 / (classes - 1)
    ratio = math.inf if error == 0 else (1 - error) / error
    if ratio**2 >= kappa:
        expected = 1.0
    elif error >= (classes - 1) / classes:
        expected = 0.0
    else:
        expected = 1 - math.asin(math.sqrt((kappa - ratio**2) / (kappa * (1 - ratio**2)))) / whole
    if abs(ratio**2 - kappa) > 1e-9:  # there, every point of the geodesic is equally near
        assert progress(log_probs, labels).progress[0] == pytest.approx(expected, abs=1e-6)


def brute_force(log_probs: Tensor, labels: Tensor, points: int = 2001) -> tuple[float, np.ndarray]:
    roots = np.exp(plain.renormalised(log_probs.numpy()) / 2)
    goal = one_hot(labels, roots.shape[1]).double().numpy()
    values = np.array([plain.mean_angle(roots, goal, t) for t in np.linspace(0, 1, points)])
    return float(values.min()), values


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 5), st.integers(1, 8), st.sampled_from([0.5, 3.0, 30.0, 500.0]), st.integers(0, 10_000))
def test_the_minimum_is_global_and_the_objective_convex(classes: int, samples: int, scale: float, seed: int) -> None:
    """Random models, most of them wrong and the last ones certain of it, against every point of a fine grid."""
    stream = torch.Generator().manual_seed(seed)
    log_probs = torch.log_softmax(scale * torch.randn(1, samples, classes, generator=stream, dtype=torch.float64), 2)
    labels = torch.randint(classes, (samples,), generator=stream)
    found = progress(log_probs, labels)
    least, values = brute_force(log_probs[0], labels, 401)
    assert found.distance_to_geodesic[0] <= least + 1e-7
    here = brute_force(log_probs[0], labels, 2)[1] if found.progress[0] in (0.0, 1.0) else None
    if here is not None:
        assert here[int(found.progress[0])] == pytest.approx(least, abs=1e-6)
    assert (np.diff(values, 2) > -1e-6).all()


def test_the_point_found_is_the_nearest_of_a_fine_grid() -> None:
    log_probs = torch.log_softmax(
        torch.linspace(0, 5, 6, dtype=torch.float64)[:, None, None] * one_hot(LABELS, CLASSES)
        + 2 * torch.randn(6, 200, CLASSES, generator=torch.Generator().manual_seed(0), dtype=torch.float64),
        2,
    )
    found = progress(log_probs, LABELS)
    for model, where in enumerate(found.progress):
        values = brute_force(log_probs[model], LABELS)[1]
        assert where == pytest.approx(values.argmin() / 2000, abs=1 / 2000)
    assert (np.diff(found.progress) > 0).all()


def test_error_loss_and_distances_are_those_of_other_functions() -> None:
    log_probs = predictions("typical", 7, 200, CLASSES).float()
    for smoothing in (0.0, 0.2):
        found = progress(log_probs, LABELS, smoothing=smoothing)
        loss = [float(cross_entropy(model.double(), LABELS)) for model in log_probs]
        assert found.loss == pytest.approx(loss, rel=1e-13)
        assert np.allclose(found.truth, distances_to_truth(log_probs, LABELS, smoothing=smoothing), rtol=1e-12)
        assert np.allclose(found.ignorance, distances_to_ignorance(log_probs), rtol=1e-12)
        assert (found.error == (log_probs.argmax(2) != LABELS).double().mean(1).numpy()).all()


def test_of_several_largest_probabilities_the_first_counts() -> None:
    found = progress(ignorance(12, 4)[None], torch.arange(12) % 4)
    assert found.error.tolist() == [0.75]
    assert found.ignorance.tolist() == [0.0]


@pytest.mark.parametrize("data", ["typical", "near", "confident", "beyond"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_without_numba_the_numbers_are_the_same(data: str, smoothing: float, monkeypatch: pytest.MonkeyPatch) -> None:
    log_probs = predictions(data, 9, 200, CLASSES)
    compiled = progress(log_probs, LABELS, smoothing=smoothing)
    stats = overlaps(log_probs, LABELS, smoothing=smoothing)
    again = progress_from_overlaps(*stats, CLASSES, smoothing=smoothing)
    monkeypatch.setattr(module, "compiled_kernels", lambda: None)
    monkeypatch.setattr(module, "TORCH_NUMBERS", 4 * 200 * CLASSES)
    plainer = progress(log_probs, LABELS, smoothing=smoothing)
    for name in ("progress", "distance_to_geodesic", "truth", "ignorance", "error", "loss"):
        assert np.allclose(getattr(compiled, name), getattr(plainer, name), rtol=1e-9, atol=1e-9), name
    for one, two in zip(stats, overlaps(log_probs, LABELS, smoothing=smoothing), strict=True):
        assert torch.allclose(one, two, rtol=1e-12, atol=1e-15)
    assert np.allclose(again[0], progress_from_overlaps(*stats, CLASSES, smoothing=smoothing)[0], atol=1e-9)


def test_blocks_of_models_and_of_samples_give_the_same() -> None:
    log_probs = predictions("typical", 9, 200, CLASSES).float()
    whole = progress(log_probs, LABELS)
    assert np.array_equal(progress(log_probs[4:6], LABELS).progress, whole.progress[4:6])
    parts = [overlaps(log_probs[:, part], LABELS[part]) for part in (slice(0, 70), slice(70, 200))]
    joined = (torch.cat(side, 1) for side in zip(*parts, strict=True))
    progressed, distance = progress_from_overlaps(*joined, CLASSES)
    # Not to the bit: the compiler may fuse a product and a sum in one kernel and not in another.
    assert np.allclose(progressed, whole.progress, rtol=0, atol=1e-9)
    assert np.allclose(distance, whole.distance_to_geodesic, rtol=1e-12)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000))
def test_the_order_of_samples_and_classes_does_not_matter(seed: int) -> None:
    stream = torch.Generator().manual_seed(seed)
    log_probs = predictions("typical", 3, 40, CLASSES, seed=seed)
    samples, classes = torch.randperm(40, generator=stream), torch.randperm(CLASSES, generator=stream)
    shuffled, labels = log_probs[:, samples][:, :, classes], classes.argsort()[LABELS[:40]][samples]
    one, two = progress(log_probs, LABELS[:40]), progress(shuffled, labels)
    assert np.allclose(one.progress, two.progress, atol=1e-9)
    assert np.allclose(one.loss, two.loss, rtol=1e-12)


def test_what_cannot_be_measured_is_refused() -> None:
    log_probs = predictions("typical", 3, 200, CLASSES)
    with pytest.raises(DataError, match="the label of sample 5 is 6"):
        progress(log_probs, LABELS + 1)
    with pytest.raises(DataError, match="7 labels for predictions of 200"):
        inspect.unwrap(progress)(log_probs, LABELS[:7])  # the shapes in the signature are checked under test only
    with pytest.raises(DataError, match="no samples"):
        progress(log_probs[:, :0], LABELS[:0])
    with pytest.raises(UsageError, match="truth is ignorance"):
        progress(log_probs, LABELS, smoothing=5 / 6)
    with pytest.raises(UsageError, match="truth is ignorance"):
        progress(log_probs[:, :, :1], LABELS * 0)
    for value in (math.nan, math.inf, -math.inf):
        broken = log_probs.clone()
        broken[2, 31] = value
        with pytest.raises(DataError, match="model 2 gives sample 31 no distribution"):
            progress(broken, LABELS)
        with pytest.raises(DataError, match="model 2 gives sample 31 no distribution"):
            overlaps(broken, LABELS)
    assert progress(log_probs[:0], LABELS).progress.shape == (0,)
