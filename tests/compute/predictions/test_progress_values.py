"""Progress against brute force, closed forms and its own ends."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from landscape_cli.compute.predictions import progress as module
from landscape_cli.compute.predictions.geodesics import geodesic
from landscape_cli.compute.predictions.progress import overlaps, progress, progress_from_overlaps
from landscape_cli.compute.predictions.references import ignorance, truth
from landscape_cli.errors import DataError


def objective(log_probs: np.ndarray, labels: np.ndarray, times: np.ndarray, smoothing: float = 0.0) -> np.ndarray:
    """``d_G(P, P^λ)`` for each λ, by the definition: the geodesic's points themselves, in float64."""
    samples, classes = log_probs.shape
    s = np.exp(log_softmax(log_probs.astype(np.float64), axis=1) / 2)
    end = np.full((samples, classes), math.sqrt(smoothing / (classes - 1)))
    end[np.arange(samples), labels] = math.sqrt(1 - smoothing)
    start = np.full((samples, classes), 1 / math.sqrt(classes))
    d = np.arccos((start * end).sum(1))[:, None]
    out = []
    for t in times:
        point = (np.sin((1 - t) * d) * start + np.sin(t * d) * end) / np.sin(d)
        out.append(np.arccos(np.clip((s * point).sum(1), -1, 1)).mean())
    return np.array(out)


def made(kind: str, count: int = 12, samples: int = 15, classes: int = 10) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(len(kind))
    labels = torch.randint(0, classes, (samples,), generator=random)
    logits = torch.randn(count, samples, classes, generator=random, dtype=torch.float64)
    if kind == "trained":
        logits[torch.arange(count)[:, None], torch.arange(samples), labels] += torch.linspace(0, 9, count)[:, None]
    if kind == "confidently wrong":
        logits *= 80
    return torch.log_softmax(logits, -1), labels


@pytest.mark.parametrize("kind", ["random", "trained", "confidently wrong"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_no_point_of_the_geodesic_is_nearer(kind: str, smoothing: float) -> None:
    log_probs, labels = made(kind)
    found = progress(log_probs, labels, smoothing=smoothing)
    grid = np.linspace(0, 1, 401)
    for number, model in enumerate(log_probs.numpy()):
        values = objective(model, labels.numpy(), grid, smoothing)
        best = int(values.argmin())
        low, high = grid[max(best - 1, 0)], grid[min(best + 1, 400)]
        refined = minimize_scalar(
            lambda t, model=model: objective(model, labels.numpy(), np.array([t]), smoothing)[0],
            bounds=(low, high), method="bounded", options={"xatol": 1e-10},
        ).fun  # fmt: skip
        assert found.distance_to_geodesic[number] <= min(refined, values[best]) + 1e-7
        there = objective(model, labels.numpy(), found.progress[number : number + 1], smoothing)[0]
        assert there == pytest.approx(found.distance_to_geodesic[number], abs=1e-7)


def test_ends_are_exact() -> None:
    labels = torch.arange(20) % 10
    ends = torch.stack([ignorance(20, 10), truth(labels, 10)])
    assert progress(ends, labels).progress.tolist() == [0.0, 1.0]
    assert progress(ends.float(), labels).progress.tolist() == [0.0, 1.0]
    assert progress(ends, labels).distance_to_geodesic.max() < 1e-15


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 1e-4)])
def test_points_of_the_geodesic_are_where_they_are(dtype: torch.dtype, tolerance: float) -> None:
    labels = torch.arange(50) % 10
    times = torch.tensor([1e-3, 0.1, 0.37, 0.5, 0.9, 0.999], dtype=torch.float64)
    points = geodesic(ignorance(50, 10), truth(labels, 10), times).to(dtype)
    np.testing.assert_allclose(progress(points, labels).progress, times.numpy(), atol=tolerance)


def test_the_other_numbers_are_what_they_say() -> None:
    log_probs, labels = made("trained")
    found = progress(log_probs, labels)
    own = log_probs.gather(2, labels.view(1, -1, 1).expand(len(log_probs), -1, 1)).squeeze(2)
    np.testing.assert_allclose(found.loss, -own.mean(1))
    np.testing.assert_allclose(found.truth, -0.5 * own.mean(1))
    np.testing.assert_allclose(found.ignorance, -((log_probs / 2).exp().sum(2) / math.sqrt(10)).log().mean(1))
    np.testing.assert_allclose(found.error, (log_probs.argmax(2) != labels).double().mean(1))


def test_blocks_of_samples_and_the_fallback_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    log_probs, labels = made("trained")
    whole = progress(log_probs, labels)
    parts = [overlaps(log_probs[:, part], labels[part]) for part in (slice(0, 4), slice(4, 15))]
    a, b = (torch.cat(side, dim=1) for side in zip(*parts, strict=True))
    np.testing.assert_allclose(progress_from_overlaps(a, b, 10)[0], whole.progress, atol=1e-7)
    monkeypatch.setattr(module, "compiled_kernels", lambda: None)
    np.testing.assert_allclose(progress(log_probs, labels).progress, whole.progress, atol=1e-6)


def test_labels_beyond_the_classes_are_refused() -> None:
    log_probs, labels = made("random")
    with pytest.raises(DataError, match="label"):
        progress(log_probs, labels + 5)
