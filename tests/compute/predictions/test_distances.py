import inspect
import math
import subprocess
import sys
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import one_hot

from landscape_cli.compute.predictions import cpu_distances, distances
from landscape_cli.compute.predictions.choices import DistanceName
from landscape_cli.compute.predictions.dense_distances import dense_sums
from landscape_cli.compute.predictions.distances import distance_sums, pairwise, working_memory
from landscape_cli.errors import DataError, UsageError
from tests.oracle import plain_predictions as plain

KINDS: list[DistanceName] = ["bhattacharyya", "skl", "geodesic", "hellinger", "euclidean"]
CLASSES = [2, 3, 10, 40]  # from 32 on, Bhattacharyya takes the float32 path first


def predictions(kind: str, models: int, samples: int, classes: int, *, seed: int = 0) -> Tensor:
    """Log-probabilities in float64 of models that are ``typical``, ``near`` each other, or ``confident``."""
    stream = torch.Generator().manual_seed(seed)
    noise = torch.randn(models, samples, classes, generator=stream, dtype=torch.float64)
    if kind == "near":
        shared = torch.randn(1, samples, classes, generator=stream, dtype=torch.float64)
        return torch.log_softmax(2 * shared + 3e-4 * noise, 2)
    if kind == "mixed":  # clusters of near models: all scales of distance at once
        shared = torch.randn(1 + models // 4, samples, classes, generator=stream, dtype=torch.float64)
        scale = torch.logspace(-5, 0, models, dtype=torch.float64)[:, None, None]
        return torch.log_softmax(2 * shared.repeat_interleave(4, 0)[:models] + scale * noise, 2)
    return torch.log_softmax({"typical": 2, "confident": 60, "beyond": 700}[kind] * noise, 2)


def relative_error(found: Tensor, expected: np.ndarray) -> float:
    ours = found.numpy()
    assert (np.isinf(ours) == np.isinf(expected)).all()
    off = ~np.eye(*ours.shape, dtype=bool) & np.isfinite(expected)
    return float((np.abs(ours - expected)[off] / expected[off]).max())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("data", ["typical", "near", "mixed", "confident", "beyond"])
@pytest.mark.parametrize("kind", KINDS)
def test_distances_are_those_of_the_plain_version(
    kind: DistanceName, data: str, classes: int, dtype: torch.dtype
) -> None:
    log_probs = predictions(data, 7, 9, classes).to(dtype)
    assert relative_error(pairwise(log_probs, kind=kind), plain.distances(log_probs, log_probs, kind)) < 1e-5
    found = pairwise(log_probs[:4], log_probs[2:], kind=kind)
    assert (found.diagonal(-2) == 0).all() or kind in ("skl", "hellinger", "euclidean")
    expected = plain.distances(log_probs[:4], log_probs[2:], kind)
    apart = expected > 1e-12
    assert np.allclose(found.numpy()[apart], expected[apart], rtol=1e-5)


@pytest.mark.parametrize("classes", [10, 100])
def test_nearly_equal_models_keep_their_digits(classes: int) -> None:
    """d ≈ 1e-8, where float32 products hold none."""
    log_probs = predictions("near", 5, 300, classes)
    found = pairwise(log_probs)
    assert 1e-9 < float(found[0, 1]) < 1e-7
    assert relative_error(found, plain.distances(log_probs, log_probs, "bhattacharyya")) < 1e-6


def test_float32_products_are_as_good_as_promised() -> None:
    """100 classes; the same sample many times, so that no error is averaged away; around the threshold of 0.02."""
    stream = torch.Generator().manual_seed(3)
    shared, noise = torch.randn(1, 1, 100, generator=stream), torch.randn(33, 1, 100, generator=stream)
    log_probs = torch.log_softmax(shared + 0.5 * noise, 2).double().expand(-1, 32, -1).contiguous()
    found = pairwise(log_probs)
    assert 0.02 < float(found[0, 1]) < 0.1
    assert relative_error(found, plain.distances(log_probs[:, :1], log_probs[:, :1], "bhattacharyya")) < 1e-5


@pytest.mark.parametrize("classes", [10, 40])
@pytest.mark.parametrize("kind", KINDS)
def test_many_models_and_samples_against_matrix_products(
    kind: DistanceName, classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several tiles, blocks and segments, with ends that fill no panel."""
    monkeypatch.setattr(cpu_distances, "NUMBERS", 1)
    samples = 2 * cpu_distances.kernels.SEGMENT // classes + 37
    log_probs = predictions("mixed", 301, samples, classes)
    found = pairwise(log_probs, kind=kind)
    rows = torch.tensor([0, 1, 15, 16, 17, 127, 128, 129, 255, 299, 300])
    few = log_probs[rows]
    assert relative_error(found[rows][:, rows], plain.distances(few[:, :20], few[:, :20], kind)) < 10  # the right pairs
    if kind in ("bhattacharyya", "geodesic"):
        dense = dense_sums(log_probs, None, angles=kind == "geodesic") / samples
        assert relative_error(found, dense.numpy()) < 1e-5
    across = pairwise(log_probs[:70], log_probs[60:], kind=kind)
    assert torch.allclose(across, found[:70, 60:], rtol=1e-5, atol=1e-13)
    assert torch.equal(found, found.T)
    assert (found.diagonal() == 0).all()


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(KINDS), st.integers(1, 40), st.integers(1, 30), st.integers(2, 35), st.integers(0, 10_000))
def test_symmetric_to_the_bit_with_a_zero_diagonal(
    kind: DistanceName, models: int, samples: int, classes: int, seed: int
) -> None:
    log_probs = predictions("mixed", models, samples, classes, seed=seed).float()
    found = distance_sums(log_probs, kind=kind)
    assert torch.equal(found, found.T)
    assert (found.diagonal() == 0).all()
    assert (found >= 0).all()
    assert found.dtype == torch.float64


@settings(max_examples=15, deadline=None)
@given(st.sampled_from(KINDS), st.integers(1, 29), st.integers(0, 10_000))
def test_blocks_of_samples_add_up_and_order_does_not_matter(kind: DistanceName, block: int, seed: int) -> None:
    log_probs = predictions("typical", 9, 30, 5, seed=seed)
    whole = pairwise(log_probs, kind=kind)
    assert torch.allclose(pairwise(log_probs, kind=kind, block_samples=block), whole, rtol=1e-12, atol=1e-14)
    stream = torch.Generator().manual_seed(seed)
    shuffled = log_probs[:, torch.randperm(30, generator=stream)][:, :, torch.randperm(5, generator=stream)]
    assert torch.allclose(pairwise(shuffled, kind=kind), whole, rtol=1e-12, atol=1e-14)
    order = torch.randperm(9, generator=stream)
    assert torch.allclose(pairwise(log_probs[order], kind=kind), whole[order][:, order], rtol=1e-12, atol=1e-14)


def test_a_pair_does_not_depend_on_the_models_beside_it() -> None:
    """To the last bit, so that a matrix made of tiles is the same whatever their size."""
    log_probs = predictions("mixed", 150, 700, 10).float()
    whole = distance_sums(log_probs, kind="bhattacharyya")
    for rows, cols in ((slice(0, 7), slice(100, 150)), (slice(33, 90), slice(5, 20))):
        tile = distance_sums(log_probs[rows], log_probs[cols], kind="bhattacharyya")
        assert torch.equal(tile, whole[rows, cols])


@pytest.mark.parametrize("classes", [10, 40])
@pytest.mark.parametrize("kind", ["bhattacharyya", "geodesic"])
def test_equal_models_are_exactly_nothing_apart(kind: DistanceName, classes: int) -> None:
    one, other = predictions("typical", 2, 400, classes).float()
    log_probs = torch.stack([one, other] * 20)
    found = distance_sums(log_probs, kind=kind)
    assert (found[::2, ::2] == 0).all()
    assert (found[1::2, 1::2] == 0).all()
    assert (distance_sums(log_probs, log_probs, kind=kind)[::2, ::2] == 0).all()


def test_per_sample_hellinger_and_bhattacharyya_are_isometric() -> None:
    """``h = 2 (1 − e^{−b})`` and ``h = 2 − 2 cos g`` in each sample."""
    log_probs = predictions("typical", 12, 1, 6)
    b, g, h = (pairwise(log_probs, kind=kind) for kind in ("bhattacharyya", "geodesic", "hellinger"))
    assert torch.allclose(h, -2 * torch.expm1(-b), rtol=1e-12, atol=1e-14)
    assert torch.allclose(h, 2 - 2 * torch.cos(g), rtol=1e-12, atol=1e-14)


def test_closed_forms_of_two_coins() -> None:
    log_probs = torch.tensor([[[0.5, 0.5]], [[1.0, 0.0]], [[0.9, 0.1]]], dtype=torch.float64).log()
    found = {kind: pairwise(log_probs, kind=kind) for kind in KINDS}
    assert float(found["bhattacharyya"][0, 1]) == pytest.approx(math.log(2) / 2, rel=1e-15)
    assert float(found["geodesic"][0, 1]) == pytest.approx(math.pi / 4, rel=1e-15)
    assert float(found["hellinger"][0, 1]) == pytest.approx(2 - math.sqrt(2), rel=1e-14)
    assert float(found["euclidean"][0, 1]) == pytest.approx(0.5, rel=1e-14)
    assert float(found["skl"][0, 1]) == math.inf
    assert float(found["skl"][0, 2]) == pytest.approx(0.4 * math.log(9), rel=1e-13)


@pytest.mark.parametrize("classes", [4, 40])
def test_no_overlap_is_infinite_and_stays_with_its_pair(classes: int) -> None:
    labels = torch.arange(60) % 4
    certain = one_hot(labels[:, None].expand(-1, 90).clone(), classes).double().log()
    certain[:, 1:] = predictions("typical", 60, 89, classes)
    found = distance_sums(certain, kind="bhattacharyya")
    same = labels[:, None] == labels
    assert torch.equal(found.isinf(), ~same)
    rest = distance_sums(certain[:, 1:], kind="bhattacharyya")
    assert torch.allclose(found[same], rest[same], rtol=1e-5, atol=0)
    assert torch.equal(distance_sums(certain, kind="skl").isinf(), ~same)


@pytest.mark.parametrize("classes", [3, 10, 40])
def test_affinities_below_the_range_of_float64_are_exact(classes: int) -> None:
    """Log-probabilities of −2000: every product of roots is 0 in float64, the distance is about 1000."""
    sure = torch.full((classes, 5, classes), -2000.0, dtype=torch.float64)
    sure[torch.arange(classes), :, torch.arange(classes)] = 0.0
    found = pairwise(sure)
    assert found[0, 1] == pytest.approx(1000 - math.log(2), rel=1e-12)
    assert torch.equal(found == 0, torch.eye(classes, dtype=torch.bool))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_distribution_is_named(kind: DistanceName, value: float) -> None:
    log_probs = predictions("typical", 20, 30, 4).float()
    log_probs[17, 23] = value
    with pytest.raises(DataError, match="model 17 gives sample 23 no distribution"):
        distance_sums(log_probs, kind=kind)
    with pytest.raises(DataError, match="model 17 on the second side gives sample 23"):
        distance_sums(log_probs[:5], log_probs, kind=kind)


def test_inputs_that_do_not_fit_are_refused() -> None:
    log_probs = predictions("typical", 3, 5, 4)
    unchecked = inspect.unwrap(distance_sums)  # the shapes in the signature are checked under test only
    with pytest.raises(DataError, match="5 samples × 4 classes and 4 samples × 4 classes"):
        unchecked(log_probs, log_probs[:, :4], kind="skl")
    with pytest.raises(UsageError, match="there is no distance 'cosine'"):
        unchecked(log_probs, kind="cosine")
    with pytest.raises(DataError, match="no samples"):
        pairwise(log_probs[:, :0])


@pytest.mark.parametrize("kind", KINDS)
def test_one_model_none_and_half_precision(kind: DistanceName) -> None:
    log_probs = predictions("typical", 3, 5, 4)
    assert distance_sums(log_probs[:1], kind=kind).tolist() == [[0.0]]
    assert distance_sums(log_probs[:0], log_probs, kind=kind).shape == (0, 3)
    half = log_probs.half()
    assert torch.equal(distance_sums(half, kind=kind), distance_sums(half.float(), kind=kind))
    view = log_probs.transpose(0, 1).contiguous().transpose(0, 1)
    assert torch.equal(distance_sums(view, kind=kind), distance_sums(log_probs, kind=kind))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("data", ["typical", "near", "confident", "beyond"])
def test_without_numba_the_numbers_are_the_same(kind: DistanceName, data: str, monkeypatch: pytest.MonkeyPatch) -> None:
    log_probs = predictions(data, 30, 40, 10)
    compiled = distance_sums(log_probs, kind=kind), distance_sums(log_probs[:7], log_probs[9:], kind=kind)
    monkeypatch.setattr(distances, "cpu_kernels", lambda: None)
    plain_torch = distance_sums(log_probs, kind=kind), distance_sums(log_probs[:7], log_probs[9:], kind=kind)
    for one, two in zip(compiled, plain_torch, strict=True):
        assert torch.allclose(one, two, rtol=1e-7 if data == "near" else 1e-12, atol=0)
    assert working_memory(30, 0, 40, 10, kind) > 0


def test_numba_is_not_needed() -> None:
    code = (
        "import sys; sys.modules['numba'] = None\n"
        "import torch\n"
        "from landscape_cli.compute.predictions.distances import cpu_kernels, pairwise\n"
        "from landscape_cli.compute.predictions.progress import progress\n"
        "coins = torch.tensor([[[.5, .5]], [[1., 0.]]]).double().log()\n"
        "assert cpu_kernels() is None\n"
        "print(round(float(pairwise(coins)[0, 1]), 6), progress(coins, torch.tensor([0])).progress.tolist())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0.346574", "[0.0,", "1.0]"]


def test_kernels_run_where_nothing_can_be_kept() -> None:
    """Every place numba would keep machine code in is closed: it compiles anew, without a word."""
    code = (
        "import numba.core.caching as caching\n"
        "def refuse(self): raise OSError('read-only file system')\n"
        "caching._CacheLocator.ensure_cache_path = refuse\n"
        "from landscape_cli.compute.predictions import vector_code\n"
        "@vector_code.compiled\n"
        "def double(x): return 2 * x\n"
        "print(double(21))\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("42\n", "")


def test_a_full_disk_while_code_is_kept_does_not_stop_the_work() -> None:
    calls = []

    def kernel(value: int) -> int:
        calls.append(value)
        if len(calls) == 1:
            raise OSError("no space left on device")
        return value

    assert cpu_distances._run(kernel, (7,)) == 7
    assert calls == [7, 7]


@pytest.mark.parametrize("kind", ["bhattacharyya", "geodesic"])
@pytest.mark.parametrize(("models", "samples", "classes"), [(200, 2000, 10), (30, 3000, 10), (90, 200, 100)])
def test_memory_stays_within_what_is_said(kind: DistanceName, models: int, samples: int, classes: int) -> None:
    """Of numpy's allocations, which can be traced; the kernels' own are in the room that the formula leaves them."""
    log_probs = predictions("typical", models, samples, classes).float()
    distance_sums(log_probs[:20], kind=kind)
    tracemalloc.start()
    distance_sums(log_probs, kind=kind)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    said = working_memory(models, 0, samples, classes, kind)
    assert 0.3 * said < peak - models * models * 8 < 1.02 * said
