"""Reindexing, interpolation, distances between trajectories, and what is measured along them."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from landscape_cli.compute.predictions import trajectories
from landscape_cli.compute.predictions.deviation import deviation, truth_affinity
from landscape_cli.compute.predictions.trajectories import (
    Reindexing,
    distance_sums,
    distances_of,
    follow,
    interpolated,
    reindex,
    trajectory_distances,
    uniform_grid,
)
from landscape_cli.errors import DataError


@pytest.fixture(params=["compiled", "arrays"])
def path(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Both ways of computing: compiled loops, and whole arrays as on a GPU."""
    if request.param == "arrays":
        monkeypatch.setattr(trajectories, "_kernels", lambda log_probs: None)
    elif trajectories._kernels(torch.zeros(1)) is None:
        pytest.skip("no compiled loops on this interpreter")
    return request.param


def walk(
    runs: int = 3, checkpoints: int = 5, samples: int = 70, classes: int = 4, seed: int = 0
) -> tuple[Tensor, Tensor, list[NDArray[np.int64]]]:
    """Runs that go from near ignorance towards the labels, each on its own way: log-probabilities, labels, members."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, classes, samples)
    far = np.linspace(0, 1, checkpoints)[None, :, None, None]
    own = draw.normal(size=(runs, 1, samples, classes))
    logits = 5 * far * np.eye(classes)[labels] + 3 * np.sin(np.pi * far) * own
    logits = logits + 0.2 * draw.normal(size=(runs, checkpoints, samples, classes))
    members = [np.arange(run * checkpoints, (run + 1) * checkpoints) for run in range(runs)]
    logs = torch.log_softmax(torch.from_numpy(logits.reshape(-1, samples, classes)), dim=-1)
    return logs, torch.from_numpy(labels), members


def rising(members: list[NDArray[np.int64]], seed: int = 0) -> NDArray[np.float64]:
    """An index that rises in every run, from somewhere to somewhere."""
    draw = np.random.default_rng(seed)
    return np.concatenate([np.sort(draw.uniform(0.05, 0.95, len(m))) for m in members])


def plain_point(
    logs: NDArray[np.float64], index: NDArray[np.float64], members: NDArray[np.int64], t: float
) -> NDArray[np.float64] | None:
    """√p at the first crossing of t, found and interpolated step by step; None without one."""
    if t < index[members[0]]:
        return None
    k = next((k for k, model in enumerate(members) if index[model] >= t), None)
    if k is None:
        return None
    model = members[k]
    last = np.exp(logs[model] / 2)
    if k == 0:
        return last
    first, below = np.exp(logs[members[k - 1]] / 2), index[members[k - 1]]
    f = (t - below) / (index[model] - below)
    out = np.empty_like(first)
    for n in range(len(first)):
        theta = math.acos(min(1.0, float(first[n] @ last[n])))
        if theta < 1e-9:
            out[n] = first[n]
        else:
            out[n] = (math.sin((1 - f) * theta) * first[n] + math.sin(f * theta) * last[n]) / math.sin(theta)
    return out


def trapezoid(values: Sequence[float], at: Sequence[float]) -> float:
    return sum((t - s) * (x + y) / 2 for s, t, x, y in zip(at, at[1:], values, values[1:], strict=False))


def plain_distance(
    logs: NDArray[np.float64],
    index: NDArray[np.float64],
    one: NDArray[np.int64],
    two: NDArray[np.int64],
    grid: NDArray[np.float64],
    *,
    mean: bool = False,
) -> float:
    """Eq. 5 by the trapezoid rule over the values that both runs have."""
    at, values = [], []
    for t in grid:
        p, q = (plain_point(logs, index, members, float(t)) for members in (one, two))
        if p is not None and q is not None:
            at.append(float(t))
            values.append(-np.log((p * q).sum(-1)).mean())
    if len(at) < 2:
        return math.nan
    area = trapezoid(values, at)
    return area / (at[-1] - at[0]) if mean else area


def test_the_grid() -> None:
    assert uniform_grid().tolist() == pytest.approx([k / 100 for k in range(1, 101)])


def test_first_crossings_by_hand() -> None:
    index = np.array([0.1, 0.5, 0.3, 0.7])
    found = reindex(index, [np.arange(4)], uniform_grid(10))
    # 0.1 at the start itself; 0.6 between 0.3 (the checkpoint before the one that first reaches it) and 0.7.
    assert found.before[0].tolist() == [0, 0, 0, 0, 0, 2, 2, -1, -1, -1]
    assert found.after[0].tolist() == [0, 1, 1, 1, 1, 3, 3, -1, -1, -1]
    assert found.fraction[0, :7].tolist() == pytest.approx([0, 0.25, 0.5, 0.75, 1, 0.75, 1])
    assert (found.first[0], found.last[0], found.backwards[0]) == (0, 6, 1)
    assert found.steps(np.array([0.0, 10, 20, 30]))[0, :7].tolist() == pytest.approx([0, 2.5, 5, 7.5, 10, 27.5, 30])
    assert np.isnan(found.steps(np.arange(4.0))[0, 7:]).all()


def test_no_value_before_the_first_checkpoint_nor_beyond_the_largest() -> None:
    found = reindex(np.array([0.32, 0.68]), [np.arange(2)], uniform_grid(10))
    assert found.present[0].tolist() == [False] * 3 + [True] * 3 + [False] * 4
    nothing = reindex(np.array([0.51, 0.52]), [np.arange(2)], uniform_grid(10))
    assert not nothing.present.any()
    assert nothing.last[0] < nothing.first[0]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=12))
def test_crossings_are_those_of_a_walk_along_the_run(values: list[float]) -> None:
    index = np.array(values)
    grid = uniform_grid(20)
    found = reindex(index, [np.arange(len(values))], grid)
    for place, t in enumerate(grid):
        expected = next((k for k, value in enumerate(values) if value >= t), None)
        if expected is None or values[0] > t:
            assert not found.present[0, place]
            continue
        assert found.after[0, place] == expected
        assert found.before[0, place] == max(expected - 1, 0)
        f = found.fraction[0, place]
        assert 0 <= f <= 1
        assert values[found.before[0, place]] + f * (values[expected] - values[found.before[0, place]]) == (
            pytest.approx(t) if expected else values[0]
        )
    assert found.backwards[0] == sum(value < max(values[:k]) for k, value in enumerate(values) if k)


def test_interpolation_follows_the_great_circle() -> None:
    logs, _, members = walk()
    index = rising(members)
    found = reindex(index, members, uniform_grid(25))
    for time in (3, 11, 20):
        got = interpolated(logs, found, time)
        for run, own in enumerate(members):
            expected = plain_point(logs.numpy(), index, own, float(found.grid[time]))
            if expected is None:
                assert got[run].isnan().all()
            else:
                assert np.allclose(got[run], expected, atol=1e-14)
                assert torch.allclose(got[run].norm(dim=-1), torch.ones(70).double(), atol=1e-14)


@pytest.mark.parametrize("mean", [False, True])
@pytest.mark.parametrize(("samples", "classes"), [(70, 4), (33, 40)])
def test_distances_are_eq_5(path: str, samples: int, classes: int, mean: bool) -> None:
    logs, _, members = walk(samples=samples, classes=classes)
    index = rising(members)
    grid = uniform_grid(25)
    got = trajectory_distances(logs, reindex(index, members, grid), mean=mean)
    for u in range(3):
        for v in range(3):
            expected = 0.0 if u == v else plain_distance(logs.numpy(), index, members[u], members[v], grid, mean=mean)
            assert got[u, v] == pytest.approx(expected, rel=1e-12, nan_ok=True)
    assert np.array_equal(got, got.T, equal_nan=True)


def test_more_runs_than_a_tile(path: str) -> None:
    logs, _, members = walk(runs=37, checkpoints=3, samples=6)
    index = rising(members)
    grid = uniform_grid(8)
    got = trajectory_distances(logs, reindex(index, members, grid))
    for u, v in ((0, 36), (31, 32), (5, 33), (35, 36), (2, 3)):
        expected = plain_distance(logs.numpy(), index, members[u], members[v], grid)
        assert got[u, v] == pytest.approx(expected, rel=1e-12, nan_ok=True)


@pytest.mark.parametrize("kind", ["skl", "geodesic", "hellinger", "euclidean"])
def test_other_distances(kind: str) -> None:
    pytest.importorskip("landscape_cli.compute.predictions.distances")
    logs, _, members = walk()
    index = rising(members)
    grid = uniform_grid(25)
    got = trajectory_distances(logs, reindex(index, members, grid), kind=kind)  # type: ignore[arg-type]
    at, values = [], []
    for t in grid:
        p, q = (plain_point(logs.numpy(), index, own, float(t)) for own in members[:2])
        if p is not None and q is not None:
            each = {
                "skl": 2 * (p**2 - q**2) * (np.log(p) - np.log(q)),
                "geodesic": np.arccos(np.minimum((p * q).sum(-1, keepdims=True), 1)),
                "hellinger": (p - q) ** 2,
                "euclidean": (p**2 - q**2) ** 2,
            }[kind]
            at.append(t)
            values.append(each.sum(-1).mean())
    assert got[0, 1] == pytest.approx(trapezoid(values, at), rel=1e-9)


def test_blocks_of_samples_and_parts_of_the_grid_add_up(path: str) -> None:
    logs, labels, members = walk(samples=90)
    found = reindex(rising(members), members, uniform_grid(30))
    groups = [np.array([0, 2]), np.array([1])]
    whole, together = distance_sums(logs, found), follow(logs, labels, found, groups)
    pieces = np.zeros_like(whole)
    wrong, width = np.zeros_like(together.wrong), np.zeros_like(together.width)
    for start, stop in ((0, 17), (17, 18), (18, 30)):
        part = found.part(start, stop)
        models = part.models()
        part = part.among(models)
        for block in (slice(0, 40), slice(40, 90)):
            some = logs[torch.from_numpy(models)][:, block]
            pieces += distance_sums(some, part)
            seen = follow(some, labels[block], part, groups)
            wrong[:, start:stop] += seen.wrong
            width[:, start:stop] += seen.width
            assert np.allclose(seen.truth, together.truth[:, start:stop, block], atol=1e-15, equal_nan=True)
            assert np.allclose(seen.ignorance, together.ignorance[:, start:stop, block], atol=1e-15, equal_nan=True)
    assert np.allclose(pieces, whole, rtol=1e-12)
    assert np.array_equal(wrong, together.wrong, equal_nan=True)
    assert np.allclose(width, together.width, rtol=1e-12, equal_nan=True)


def test_equal_runs_are_at_distance_zero_and_nearly_equal_ones_keep_their_digits(path: str) -> None:
    logs, _, members = walk(runs=1, samples=50)
    index = np.tile(rising(members), 3)
    near = torch.log_softmax(logs + 1e-4 * torch.randn(logs.shape, generator=torch.Generator().manual_seed(1)), dim=-1)
    runs = [members[0], members[0] + 5, members[0] + 10]
    grid = uniform_grid(25)
    got = trajectory_distances(torch.cat([logs, logs, near.double()]), reindex(index, runs, grid))
    assert got[0, 1] < 1e-16
    mixed = torch.cat([logs, logs, near.double()]).numpy()
    exact = 0.0
    at = [t for t in grid if plain_point(mixed, index, runs[0], float(t)) is not None]
    values = []
    for t in at:
        p, q = (plain_point(mixed, index, runs[k], float(t)) for k in (0, 2))
        assert p is not None
        assert q is not None
        values.append((-np.log1p(-((p - q) ** 2).sum(-1) / 2)).mean())
    exact = trapezoid(values, at)
    assert 1e-11 < exact < 1e-8
    assert got[0, 2] == pytest.approx(exact, rel=1e-5)


def test_confident_and_impossible_predictions(path: str) -> None:
    no = -math.inf
    sure = torch.tensor([[0, -600, -700, -700], [-600, 0, -650, -700], [-0.1, -2, no, no], [-0.1, -2, no, no]])
    logs = torch.log_softmax(sure.double()[:, None].expand(4, 3, 4).contiguous(), dim=-1)
    index = np.array([0.1, 0.9, 0.1, 0.9])
    runs = [np.array([0, 1]), np.array([2, 3])]
    grid = uniform_grid(10)
    got = trajectory_distances(logs, reindex(index, runs, grid))
    assert got[0, 1] == pytest.approx(plain_distance(logs.numpy(), index, *runs, grid), rel=1e-12)
    never = torch.tensor([[0, no, no, no], [0, no, no, no], [no, 0, no, no], [no, 0, no, no]]).double()[:, None]
    assert trajectory_distances(never, reindex(index, runs, grid))[0, 1] == math.inf
    assert not np.isnan(trajectory_distances(never, reindex(index, runs, grid))).any()


def test_many_unlikely_samples_do_not_underflow(path: str) -> None:
    logs = torch.log_softmax(
        torch.tensor([[[0.0, -60.0]], [[0.0, -60.0]], [[-60.0, 0.0]], [[-60.0, 0.0]]]).double(), -1
    )
    logs = logs.expand(4, 100, 2).contiguous()
    found = reindex(np.array([0.1, 0.9, 0.1, 0.9]), [np.array([0, 1]), np.array([2, 3])], uniform_grid(10))
    assert trajectory_distances(logs, found, mean=True)[0, 1] == pytest.approx(30 - math.log(2), rel=1e-12)


def test_runs_that_share_nothing_are_nan() -> None:
    logs, _, members = walk(runs=2, checkpoints=2)
    found = reindex(np.array([0.1, 0.3, 0.5, 0.9]), members, uniform_grid(10))
    got = trajectory_distances(logs, found)
    assert math.isnan(got[0, 1])
    assert got[0, 0] == 0
    assert np.isnan(distances_of(np.zeros((2, 2)), found, 5, mean=True)[1, 0])


def test_following_by_hand(path: str) -> None:
    logs, labels, members = walk(runs=4)
    index = rising(members)
    found = reindex(index, members, uniform_grid(20))
    groups = [np.array([0, 3, 1]), np.array([2])]
    seen = follow(logs, labels, found, groups)
    for time, t in enumerate(found.grid):
        points = [plain_point(logs.numpy(), index, own, float(t)) for own in members]
        for group in groups:
            there = {run: points[run] for run in group.tolist() if points[run] is not None}
            for run in group.tolist():
                assert seen.members[run, time] == (len(there) if run in there else 0)
                if run not in there:
                    assert np.isnan([seen.wrong[run, time], seen.width[run, time], seen.truth[run, time, 0]]).all()
                    continue
                s = there[run]
                assert s is not None
                own = s[np.arange(len(labels)), labels]
                assert np.allclose(seen.truth[run, time], own, atol=1e-14)
                assert np.allclose(seen.ignorance[run, time], s.sum(-1) / 2, atol=1e-14)
                assert seen.wrong[run, time] == (s.argmax(-1) != labels.numpy()).sum()
                if len(there) < 2:
                    assert math.isnan(seen.width[run, time])
                else:
                    mean = np.mean([np.square(x) for x in there.values()], axis=0)  # type: ignore[arg-type]
                    expected = -np.log((s * np.sqrt(mean)).sum(-1)).sum()
                    assert seen.width[run, time] == pytest.approx(expected, rel=1e-12)


def test_samples_and_classes_may_be_permuted(path: str) -> None:
    logs, _, members = walk()
    found = reindex(rising(members), members)
    once = trajectory_distances(logs, found)
    turned = logs[:, torch.randperm(70)][..., [2, 0, 3, 1]].contiguous()
    assert np.allclose(once, trajectory_distances(turned, found), rtol=1e-12, equal_nan=True)


def test_float32_predictions(path: str) -> None:
    logs, labels, members = walk()
    found = reindex(rising(members), members)
    assert np.allclose(
        trajectory_distances(logs.float(), found), trajectory_distances(logs, found), rtol=1e-5, equal_nan=True
    )
    assert np.allclose(
        follow(logs.float(), labels, found).truth, follow(logs, labels, found).truth, atol=1e-6, equal_nan=True
    )


def test_what_is_no_trajectory() -> None:
    with pytest.raises(DataError, match="run 1 has 1 checkpoint"):
        reindex(np.array([0.1, 0.2, 0.3]), [np.array([0, 1]), np.array([2])])
    with pytest.raises(DataError, match="no number"):
        reindex(np.array([0.1, math.nan]), [np.array([0, 1])])


def geodesic_points(classes: int, labels: Tensor, times: list[float], smoothing: float = 0.0) -> Tensor:
    """√p on the geodesic from ignorance to truth, plainly."""
    start = torch.full((len(labels), classes), 1 / classes, dtype=torch.float64).sqrt()
    end = torch.full_like(start, smoothing / (classes - 1))
    end[torch.arange(len(labels)), labels] = 1 - smoothing
    end = end.sqrt()
    angle = torch.arccos((start * end).sum(-1, keepdim=True))
    return torch.stack([(torch.sin((1 - t) * angle) * start + torch.sin(t * angle) * end) / angle.sin() for t in times])


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_deviation_of_points_on_the_geodesic(smoothing: float) -> None:
    labels = torch.tensor([0, 2, 1, 2])
    times = [0.0, 0.2, 0.5, 0.9, 1.0]
    on = geodesic_points(3, labels, times, smoothing)
    ignorance = on.sum(-1) / math.sqrt(3)
    truth = truth_affinity(on[:, torch.arange(4), labels], ignorance, 3, smoothing)
    assert torch.allclose(truth, (on * geodesic_points(3, labels, [1.0], smoothing)).sum(-1), atol=1e-15)
    found = deviation(ignorance, truth, torch.tensor(times).double(), classes=3, smoothing=smoothing)
    assert found.nearest.abs().max() < 1e-15
    assert torch.allclose(found.place, torch.tensor(times, dtype=torch.float64), atol=1e-7)
    assert found.equal.abs().max() < 1e-15


def test_deviation_is_a_minimum() -> None:
    logs, labels, _ = walk(runs=2)
    roots = (logs / 2).exp()
    affinity = roots.sum(-1) / 2, roots[:, torch.arange(70), labels]
    at = torch.linspace(0, 1, 10, dtype=torch.float64)
    found = deviation(*affinity, at, classes=4)
    times = torch.linspace(0, 1, 1001).tolist()
    line = geodesic_points(4, labels, times)
    apart = -torch.einsum("msc,tsc->mts", roots, line).log().mean(-1)
    least, where = apart.min(dim=1)
    assert (found.nearest <= least + 1e-15).all()
    assert torch.allclose(found.nearest, least, atol=1e-5)
    assert (found.place - where / 1000).abs().max() < 1e-3
    for model, time in enumerate(at.tolist()):
        there = geodesic_points(4, labels, [time])[0]
        assert found.equal[model].item() == pytest.approx(
            float(-(roots[model] * there).sum(-1).log().mean()), rel=1e-12
        )


def test_deviation_of_sure_guesses() -> None:
    wrong = torch.zeros(1, 4, 3).double()
    wrong[..., 1] = 1.0
    half = wrong.clone()
    half[:, :2] = torch.tensor([1.0, 0.0, 0.0]).double()
    for roots in (wrong, half):
        found = deviation(roots.sum(-1) / math.sqrt(3), roots[..., 0], torch.tensor([1.0]).double(), classes=3)
        assert found.equal.item() == math.inf
        assert 0 <= found.place.item() < 1
        assert math.isfinite(found.nearest.item())
    missing = deviation(
        torch.full((1, 2), math.nan).double(),
        torch.full((1, 2), math.nan).double(),
        torch.tensor([0.5]).double(),
        classes=3,
    )
    assert missing.nearest.isnan().all()
    assert missing.place.isnan().all()


def test_the_integrand_at_equal_progress_is_what_the_matrix_sums(path: str) -> None:
    """The geodesic itself as a trajectory: its distance from the sums is the one from the affinities."""
    logs, labels, members = walk(runs=1, samples=20)
    index = rising(members)
    grid = uniform_grid(40)
    line = 2 * geodesic_points(4, labels, grid.tolist()).clamp(min=1e-200).log()
    every = torch.cat([logs, torch.log_softmax(line, dim=-1)])
    found = reindex(np.concatenate([index, grid]), [members[0], 5 + np.arange(40)], grid)
    seen = follow(logs, labels, reindex(index, members, grid))
    here = np.flatnonzero(reindex(index, members, grid).present[0])
    truth, ignorance = (torch.from_numpy(x[0][here]) for x in (seen.truth, seen.ignorance))
    along = deviation(ignorance, truth, torch.from_numpy(grid[here]), classes=4).equal
    assert trajectory_distances(every, found)[0, 1] == pytest.approx(
        trapezoid(along.tolist(), grid[here].tolist()), rel=1e-9
    )


def test_reindexing_names_its_models() -> None:
    found = reindex(np.array([0.1, 0.2, 0.9, 0.95]), [np.arange(4)], uniform_grid(2))
    assert isinstance(found, Reindexing)
    assert found.models().tolist() == [1, 2]
    assert found.among(found.models()).before.tolist() == [[0, -1]]
