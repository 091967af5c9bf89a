"""Trajectories from files: runs, streaming, tables, what is refused."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from landscape_cli.compute.predictions.progress import progress
from landscape_cli.compute.predictions.trajectories import interpolated, reindex, trajectory_distances, uniform_grid
from landscape_cli.errors import ConflictError, DataError, UsageError
from landscape_cli.jobs.runs_of_models import find_runs
from landscape_cli.jobs.stopping import Stop
from landscape_cli.jobs.trajectories import TrajectoryJob, TrajectorySettings, along, run_trajectories
from landscape_cli.jobs.trajectory_walk import FIXED_BYTES, plan, walk
from landscape_cli.store.predictions import Predictions
from landscape_cli.store.trajectories import Trajectories
from tests.jobs.made_predictions import write_predictions
from tests.jobs.made_runs import write_sweep

SETTINGS = TrajectorySettings(points=20, group_by=("network", "optimizer"))


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Predictions:
    """Eight runs of five checkpoints."""
    return write_sweep(tmp_path_factory.mktemp("sweep") / "test.h5")


def made(sweep: Predictions, out: Path, **changes: object) -> Trajectories:
    run_trajectories(TrajectoryJob(sweep, out, replace(SETTINGS, **changes)))  # type: ignore[arg-type]
    return Trajectories.open(out)


def test_the_matrix_is_that_of_whole_arrays(sweep: Predictions, tmp_path: Path) -> None:
    found = made(sweep, tmp_path / "t.h5")
    logs, labels = torch.from_numpy(sweep.read()), torch.from_numpy(sweep.labels)
    index = np.asarray(progress(logs, labels).progress)
    runs = [np.arange(5 * k, 5 * k + 5) for k in range(8)]
    expected = trajectory_distances(logs, reindex(index, runs, uniform_grid(20)))
    assert np.allclose(found.matrix.read(), expected, rtol=1e-10)
    rows = found.matrix.rows
    assert rows.column("name").tolist() == [f"runs/{n}-{o}-{s}" for n in ("mlp", "cnn") for o in ("sgd", "adam") for s in (0, 1)]  # fmt: skip
    assert rows.column("network").tolist() == ["mlp"] * 4 + ["cnn"] * 4
    assert rows.column("checkpoints").tolist() == [5] * 8
    assert rows.column("index_largest") == pytest.approx([index[own].max() for own in runs])
    assert rows.column("progress") == pytest.approx([index[own[-1]] for own in runs])
    assert "epoch" not in rows
    assert found.attributes["index"] == "progress"
    assert found.attributes["treatment"] == "integral over what both have"
    assert found.matrix.distance == "bhattacharyya"


def test_points_tell_how_each_run_goes(sweep: Predictions, tmp_path: Path) -> None:
    found = made(sweep, tmp_path / "t.h5")
    logs, labels = torch.from_numpy(sweep.read()), torch.from_numpy(sweep.labels)
    index = np.asarray(progress(logs, labels).progress)
    where = reindex(index, [np.arange(5 * k, 5 * k + 5) for k in range(8)], uniform_grid(20))
    points = found.points
    assert len(points) == where.present.sum()
    for time in (2, 9, 14):
        models = interpolated(logs, where, time)
        truly = progress(2 * models.clamp(min=1e-200).log(), labels)
        here = np.flatnonzero(np.isclose(points.column("index"), where.grid[time]))
        runs = points.column("row")[here]
        assert runs.tolist() == np.flatnonzero(where.present[:, time]).tolist()
        for name in ("truth", "ignorance", "error", "loss"):
            assert points.column(name)[here] == pytest.approx(np.asarray(getattr(truly, name))[runs], rel=1e-9)
        assert np.all(points.column("distance_to_geodesic")[here] <= points.column("distance_at_equal_progress")[here])
        p = models.square()
        pair = p[runs[:2]]
        expected = -(pair.sqrt() * pair.mean(0).sqrt()).sum(-1).log().mean(-1)
        assert points.column("tube_width")[here[:2]] == pytest.approx(expected.tolist(), rel=1e-9)
        assert points.column("runs")[here].tolist() == [2] * len(here)
    own = points.take(np.flatnonzero(points.column("row") == 0))
    assert np.all(np.diff(own.column("step")) > 0)
    assert own.column("epoch") == pytest.approx(own.column("step") / 20)


def test_averages_say_how_many_runs_they_hold(sweep: Predictions, tmp_path: Path) -> None:
    found = made(sweep, tmp_path / "t.h5")
    averages, points = found.averages, found.points
    far = averages.where("network == 'mlp' and optimizer == 'sgd'")
    runs = averages.column("runs")[far]
    assert set(runs) == {1, 2}  # the seeds end at different progress
    assert runs[0] == 2
    assert runs[-1] == 1
    at = averages.column("index")[far]
    for place in (3, len(at) - 1):
        own = np.flatnonzero(np.isclose(points.column("index"), at[place]) & (points.column("row") < 2))
        mean = points.column("distance_to_geodesic")[own].mean()
        assert averages.column("distance_to_geodesic")[far][place] == pytest.approx(mean)
    assert math.isnan(averages.column("tube_width")[far][-1])
    assert math.isnan(averages.column("distance_to_geodesic_std")[far][-1])
    together = made(sweep, tmp_path / "all.h5", group_by=())
    assert together.averages.column("runs").max() == 8
    assert np.isnan(together.averages.column("tube_width")).all()


def test_little_memory_gives_the_same_numbers(sweep: Predictions, tmp_path: Path) -> None:
    whole = made(sweep, tmp_path / "whole.h5")
    grown = write_sweep(tmp_path / "more.h5", samples=200)
    where = reindex(np.tile(np.linspace(0.02, 0.9, 5), 8), [np.arange(5 * k, 5 * k + 5) for k in range(8)])
    parts = {memory: plan(where, grown, memory) for memory in (FIXED_BYTES + 700_000, 2_000_000_000)}
    few, many = parts[2_000_000_000], parts[FIXED_BYTES + 700_000]
    assert len(few) == 1 < len(many)
    assert [part.start for part in many[1:]] == [part.stop for part in many[:-1]]
    assert all(part.samples < 200 for part in many)
    groups = [np.arange(4), np.arange(4, 8)]
    one = walk(grown, where, groups, Stop())
    other = walk(grown, where, groups, Stop(), memory=FIXED_BYTES + 700_000)
    assert np.allclose(one.sums, other.sums, rtol=1e-12)
    for name, values in one.quantities.items():
        assert np.allclose(values, other.quantities[name], rtol=1e-9, atol=1e-12, equal_nan=True), name
    with pytest.raises(UsageError, match="too little for 8 runs") as told:
        plan(where, grown, 1000)
    assert "the least that works" in str(told.value.hint)
    assert whole.matrix.shape == (8, 8)


def test_the_geodesic_as_a_trajectory(sweep: Predictions, tmp_path: Path) -> None:
    plain, found = made(sweep, tmp_path / "a.h5"), made(sweep, tmp_path / "b.h5", geodesic=True)
    values = found.matrix.read()
    assert np.array_equal(values[:8, :8], plain.matrix.read())
    assert found.matrix.rows.column("reference").tolist() == [""] * 8 + ["geodesic"]
    points = found.points.take(np.flatnonzero(found.points.column("row") == 3))
    y = points.column("distance_at_equal_progress")
    assert values[3, 8] == pytest.approx(float(((y[1:] + y[:-1]) / 2).sum()) / 20)
    mean = made(sweep, tmp_path / "c.h5", geodesic=True, mean=True).matrix.read()
    assert mean[3, 8] == pytest.approx(values[3, 8] * 20 / (len(y) - 1))
    with pytest.raises(UsageError, match="--geodesic needs"):
        made(sweep, tmp_path / "d.h5", geodesic=True, index="error")


def test_reindexing_by_error(sweep: Predictions, tmp_path: Path) -> None:
    found = made(sweep, tmp_path / "t.h5", index="error", geodesic=False)
    assert np.isnan(found.points.column("distance_at_equal_progress")).all()
    # Errors of interpolated models lie near 1 − index, up to what one sample makes.
    assert np.abs(found.points.column("error") - (1 - found.points.column("index"))).mean() < 0.1
    assert found.matrix.rows.column("index_first")[0] > 0.1


def test_label_smoothing_moves_the_truth(sweep: Predictions, tmp_path: Path) -> None:
    plain, smooth = made(sweep, tmp_path / "a.h5"), made(sweep, tmp_path / "b.h5", smoothing=0.1, geodesic=True)
    assert smooth.attributes["label_smoothing"] == 0.1
    assert not np.allclose(plain.matrix.read()[0, 1], smooth.matrix.read()[0, 1])
    logs, labels = torch.from_numpy(sweep.read()), torch.from_numpy(sweep.labels)
    index = np.asarray(progress(logs, labels, smoothing=0.1).progress)
    where = reindex(index, [np.arange(5 * k, 5 * k + 5) for k in range(8)], uniform_grid(20))
    truly = progress(2 * interpolated(logs, where, 9).log(), labels, smoothing=0.1)
    here = np.flatnonzero(np.isclose(smooth.points.column("index"), 0.5))
    assert smooth.points.column("truth")[here] == pytest.approx(np.asarray(truly.truth), rel=1e-9)
    assert smooth.points.column("loss")[here] == pytest.approx(np.asarray(truly.loss), rel=1e-9)


def test_other_distances(sweep: Predictions, tmp_path: Path) -> None:
    assert made(sweep, tmp_path / "t.h5", distance="hellinger").matrix.distance == "hellinger"


def test_the_same_twice_is_a_skip_and_another_is_refused(sweep: Predictions, tmp_path: Path) -> None:
    notes: list[str] = []
    out = tmp_path / "t.h5"
    job = TrajectoryJob(sweep, out, SETTINGS, note=notes.append)
    run_trajectories(job)
    stamp = out.stat().st_mtime_ns
    record = run_trajectories(job)
    assert "nothing to do" in notes[-1]
    assert out.stat().st_mtime_ns == stamp
    assert record["runs"] == 8
    with pytest.raises(ConflictError, match="points is 20 there, 30 was asked for"):
        run_trajectories(replace(job, settings=replace(SETTINGS, points=30)))
    run_trajectories(replace(job, settings=replace(SETTINGS, points=30), force=True))
    assert Trajectories.open(out).attributes["points"] == 30
    other = tmp_path / "other.h5"
    other.write_bytes(b"something")
    with pytest.raises(ConflictError, match="exists"):
        run_trajectories(replace(job, out=other))


def test_records_of_points_and_averages(sweep: Predictions, tmp_path: Path) -> None:
    found = made(sweep, tmp_path / "t.h5")
    records = along(found)
    assert {record["kind"] for record in records} == {"trajectory-point", "trajectory-average"}
    assert len(records) == len(found.points) + len(found.averages)
    assert json.loads(json.dumps(records[0]))["name"] == "runs/mlp-sgd-0"


def test_runs_by_other_columns(sweep: Predictions) -> None:
    runs = find_runs(sweep, ("network", "optimizer", "seed"))
    assert runs.names[0] == "mlp, sgd, 0"
    assert runs.order == "step"
    assert find_runs(sweep, ("run",), "epoch").order == "epoch"
    assert set(runs.table.columns) >= {"key", "name", "reference", "run", "network"}
    assert not {"step", "epoch", "loss", "error"} & set(runs.table.columns)


def test_checkpoints_are_put_in_order(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / "a.h5", networks=("mlp",), seeds=1)
    shuffled = sweep.select(np.array([4, 0, 9, 2, 1, 3, 8, 7, 5, 6]))
    one, two = made(sweep, tmp_path / "1.h5"), made(shuffled, tmp_path / "2.h5")
    assert np.array_equal(one.matrix.read(), two.matrix.read())


def test_what_is_no_set_of_runs(tmp_path: Path) -> None:
    logs = np.log(np.full((4, 3, 2), 0.5))
    columns = {"run": ["a", "a", "b", "b"], "step": [0, 1, 0, 1]}

    def runs(**changes: list[object]) -> None:
        kept = {name: values for name, values in (columns | changes).items() if values}
        find_runs(write_predictions(tmp_path / f"{len(list(tmp_path.iterdir()))}.h5", logs, columns=kept), ("run",))

    with pytest.raises(UsageError, match="no column 'run'"):
        runs(run=[])
    with pytest.raises(UsageError, match="no column 'step'"):
        runs(step=[])
    with pytest.raises(DataError, match="run b has a single checkpoint") as told:
        runs(run=["a", "a", "a", "b"], step=[0, 1, 2, 3])
    assert told.value.hint == "leave it out: --where \"run != 'b'\""
    with pytest.raises(DataError, match="two checkpoints at step 1"):
        runs(step=[1, 1, 0, 1])
    with pytest.raises(UsageError, match="holds one run, a"):
        runs(run=["a"] * 4, step=[0, 1, 2, 3])
    with pytest.raises(DataError, match="model 2 has no value in column 'run'"):
        runs(run=["a", "a", "", ""])
    with pytest.raises(DataError, match="model 3 has no value in column 'step'"):
        runs(step=[0, 1, 2, None])
    with pytest.raises(UsageError, match="holds texts"):
        runs(step=["x", "y", "x", "y"])


def test_runs_that_share_nothing_are_named(tmp_path: Path) -> None:
    sure = np.log(np.array([[0.26, 0.74], [0.3, 0.7], [0.8, 0.2], [0.99, 0.01]]))[:, None].repeat(5, 1)
    sweep = write_predictions(
        tmp_path / "a.h5", sure, labels=np.zeros(5), columns={"run": ["a", "a", "b", "b"], "step": [0, 1, 0, 1]}
    )
    with pytest.raises(DataError, match=r"share no range of progress on a grid of 20, the first a \(none\) and b \(0."):
        made(sweep, tmp_path / "t.h5", group_by=())


def test_identical_runs_are_at_distance_zero(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / "a.h5", networks=("mlp",), optimizers=("sgd",), seeds=1)
    logs = np.concatenate([sweep.read()] * 2)
    columns = {"run": ["a"] * 5 + ["b"] * 5, "step": [0, 1, 2, 3, 4] * 2}
    twice = write_predictions(tmp_path / "b.h5", logs, labels=sweep.labels, columns=columns)
    assert made(twice, tmp_path / "t.h5", group_by=()).matrix.read().max() < 1e-16


def test_infinite_distances_are_told(tmp_path: Path) -> None:
    never = np.array([[[0.5, 0.5]] * 4, [[1.0, 0.0]] * 4, [[0.5, 0.5]] * 4, [[1, 0], [1, 0], [1, 0], [0, 1]]])
    with np.errstate(divide="ignore"):
        sure = np.log(never)
    columns = {"run": ["a", "a", "b", "b"], "step": [0, 1, 0, 1]}
    sweep = write_predictions(tmp_path / "a.h5", sure, labels=np.zeros(4), columns=columns)
    notes: list[str] = []
    settings = TrajectorySettings(points=10)
    record = run_trajectories(TrajectoryJob(sweep, tmp_path / "t.h5", settings, note=notes.append))
    assert record["infinite"] == 1  # both end at progress 1, sure of different classes of one sample
    assert notes[-1] == "1 pairs are infinitely far apart, the first a and b"
