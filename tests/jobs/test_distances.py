import dataclasses
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from landscape_cli.compute.predictions.class_projection import project_classes, random_class_projection
from landscape_cli.errors import ConflictError, DataError, InterruptedRunError, StorageError, UsageError
from landscape_cli.jobs import distance_tiles
from landscape_cli.jobs import distances as jobs
from landscape_cli.jobs.distance_plans import Residency, Room, Shape, cut, spans_read
from landscape_cli.jobs.distances import DistanceJob, DistanceSettings, plan_distances, run_distances
from landscape_cli.jobs.model_rows import ModelRows, References, open_models
from landscape_cli.store.matrices import Matrix
from landscape_cli.store.predictions import Predictions
from landscape_cli.store.tables import Table
from landscape_cli.store.tiles import Grid, TileFolder
from tests.jobs.made_predictions import plain_distances, plain_references, random_log_probs, write_predictions

KINDS = ("bhattacharyya", "skl", "geodesic", "hellinger", "euclidean")
ALL = References(ignorance=True, geodesic=3, truth=True)


@pytest.fixture
def tiles_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    """However small, a matrix is left as tiles."""
    monkeypatch.setattr(jobs, "MERGE_BYTES", 0)


def made(
    folder: Path, models: int = 9, samples: int = 20, classes: int = 4, *, file: str = "p.h5", **how: Any
) -> Predictions:
    seed = how.pop("seed", 0)
    return write_predictions(folder / file, random_log_probs(models, samples, classes, seed=seed), **how)


def run(job: DistanceJob) -> Matrix:
    run_distances(job)
    return Matrix.open(job.out)


def job(first: Predictions, out: Path, *, second: Predictions | None = None, **given: Any) -> DistanceJob:
    own = {field.name for field in dataclasses.fields(DistanceJob)}
    how = {key: given.pop(key) for key in list(given) if key in own}
    return DistanceJob(first, out, DistanceSettings(**given), second=second, device="cpu", **how)


@pytest.mark.parametrize("kind", KINDS)
def test_distances_are_those_of_the_plain_formulas(tmp_path: Path, kind: Any) -> None:
    predictions = made(tmp_path)
    matrix = run(job(predictions, tmp_path / "d.h5", distance=kind, references=ALL, tile=4))
    known = np.concatenate([predictions.read(), plain_references(predictions.labels, 4, times=[0.25, 0.5, 0.75])])
    values = matrix.read()
    np.testing.assert_allclose(values, plain_distances(known, known, kind), rtol=1e-9, atol=1e-12)
    assert np.array_equal(values, values.T)
    assert not np.diag(values).any()
    assert list(matrix.rows.column("reference")) == [""] * 9 + ["ignorance", *["geodesic"] * 3, "truth"]
    assert list(matrix.rows.column("name"))[8:11] == ["model 8", "ignorance", "geodesic 0.25"]
    assert list(matrix.rows.column("progress"))[10:13] == [0.25, 0.5, 0.75]
    assert list(matrix.rows.column("seed"))[:9] == list(range(9))
    assert (matrix.distance, matrix.samples, matrix.classes) == (kind, 20, 4)
    assert (matrix.attributes["split"], matrix.attributes["data"]) == ("test", "made")


@settings(max_examples=4, deadline=None)
@given(
    tile=st.integers(3, 14), memory=st.sampled_from([60_000_000, 2_000_000_000]), pane=st.integers(2, 6),
    resident=st.integers(0, 5), block=st.integers(5, 25),
)  # fmt: skip
def test_the_matrix_does_not_depend_on_how_it_is_cut(
    tmp_path_factory: pytest.TempPathFactory, tile: int, memory: int, pane: int, resident: int, block: int
) -> None:
    folder = tmp_path_factory.mktemp("cut")
    predictions = made(folder)
    whole = run(job(predictions, folder / "whole.h5", references=ALL)).read()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            jobs, "cut", lambda *a, **k: dataclasses.replace(cut(*a, **k), pane=pane, resident=resident, block=block)
        )
        cut_up = run(job(predictions, folder / "cut.h5", references=ALL, tile=tile, memory=memory)).read()
        between = run(job(predictions, folder / "b.h5", second=made(folder, 5, file="q.h5", seed=1), tile=tile)).read()
    np.testing.assert_allclose(cut_up, whole, rtol=1e-13)
    assert np.array_equal(cut_up, cut_up.T)
    assert not np.diag(cut_up).any()
    other = Predictions.open(folder / "q.h5")
    np.testing.assert_allclose(between, plain_distances(predictions.read(), other.read(), "bhattacharyya"), rtol=1e-9)


def test_reading_ahead_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predictions = made(tmp_path)
    values = run(job(predictions, tmp_path / "d.h5")).read()
    real = distance_tiles._Blocks
    monkeypatch.setattr(distance_tiles, "_Blocks", lambda work, ahead: real(work, ahead=True))
    monkeypatch.setattr(jobs, "cut", lambda *a, **k: dataclasses.replace(cut(*a, **k), block=7, resident=1))
    np.testing.assert_allclose(run(job(predictions, tmp_path / "e.h5", tile=4)).read(), values, rtol=1e-13)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")
@pytest.mark.parametrize("kind", KINDS)
def test_a_device_gives_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Any) -> None:
    predictions = made(tmp_path, 40, 100, 10, dtype="float32")
    values = run(job(predictions, tmp_path / "d.h5", distance=kind, references=ALL)).read()
    monkeypatch.setattr(jobs, "cut", lambda *a, **k: dataclasses.replace(cut(*a, **k), block=33, resident=1))
    task = job(predictions, tmp_path / "e.h5", distance=kind, references=ALL, tile=16)
    found = run(dataclasses.replace(task, device="cuda")).read()
    np.testing.assert_allclose(found, values, rtol=1e-5, atol=1e-9)
    assert np.array_equal(found, found.T)
    assert not np.diag(found).any()


def test_between_two_files(tmp_path: Path) -> None:
    one, two = made(tmp_path), made(tmp_path, 5, file="q.h5", seed=1, name="other")
    references = References(ignorance=True)
    matrix = run(job(one, tmp_path / "d.h5", second=two, references=references))
    known = [np.concatenate([p.read(), plain_references(p.labels, 4, times=[])[:1]]) for p in (one, two)]
    np.testing.assert_allclose(matrix.read(), plain_distances(*known, "bhattacharyya"), rtol=1e-9, atol=1e-12)
    assert not matrix.symmetric
    assert matrix.shape == (10, 6)
    # Its columns are the rows of the second file's own matrix: new models against embedded ones.
    own = run(job(two, tmp_path / "own.h5", references=references))
    assert list(own.rows.column("key")) == list(matrix.cols.column("key"))
    same = run(job(one, tmp_path / "same.h5", second=Predictions.open(one.path)))
    assert same.symmetric


def test_infinite_distances_are_counted_named_and_capped_only_if_asked(tmp_path: Path, tiles_stay: None) -> None:
    with np.errstate(divide="ignore"):
        log_probs = np.log(np.array([[[1.0, 0, 0]], [[0, 0.5, 0.5]], [[0.5, 0.5, 0]], [[0, 0, 1.0]]]))
    predictions = write_predictions(tmp_path / "p.h5", log_probs, labels=np.array([0]))
    notes: list[str] = []
    record = run_distances(job(predictions, tmp_path / "d.h5", tile=2, note=notes.append))
    assert record["infinite"] == 3
    assert "model 0 and model 1" in notes[0]
    assert "--cap" in notes[0]
    values = Matrix.open(tmp_path / "d.h5").read()
    assert np.isinf(values[[0, 0, 2], [1, 3, 3]]).all()
    assert np.isfinite(record["mean"])
    capped = run_distances(job(predictions, tmp_path / "c.h5", tile=2, cap=100.0))
    assert (capped["infinite"], capped["cap"], capped["max"]) == (3, 100.0, 100.0)
    again = Matrix.open(tmp_path / "c.h5").read()
    assert np.array_equal(again, np.minimum(values, 100))
    with pytest.raises(UsageError, match="not above zero"):
        run_distances(job(predictions, tmp_path / "c.h5", cap=0.0))


def test_identical_models_are_at_no_distance(tmp_path: Path) -> None:
    log_probs = np.repeat(random_log_probs(1, 6, 3), 5, axis=0)
    predictions = write_predictions(tmp_path / "p.h5", log_probs, dtype="float32")
    for kind in KINDS:
        record = run_distances(job(predictions, tmp_path / f"{kind}.h5", distance=kind, tile=2))
        assert record["max"] == 0
        assert record["infinite"] == 0


def test_label_smoothing_and_class_projection(tmp_path: Path) -> None:
    predictions = made(tmp_path, 4, classes=6)
    smooth = References(truth=True, geodesic=1, smoothing=0.1)
    matrix = run(job(predictions, tmp_path / "s.h5", distance="skl", references=smooth))
    known = np.concatenate(
        [predictions.read(), plain_references(predictions.labels, 6, times=[0.5], smoothing=0.1)[1:]]
    )
    np.testing.assert_allclose(matrix.read(), plain_distances(known, known, "skl"), rtol=1e-9, atol=1e-12)
    assert matrix.infinite == 0
    projected = run(job(predictions, tmp_path / "p2.h5", references=smooth, project_classes=3, seed=5))
    matrix_of_classes = random_class_projection(6, 3, 5).numpy()
    np.testing.assert_allclose(matrix_of_classes.sum(0), 1)
    seen = np.log(np.exp(known) @ matrix_of_classes.T)
    np.testing.assert_allclose(projected.read(), plain_distances(seen, seen, "bhattacharyya"), rtol=1e-9, atol=1e-12)
    assert projected.attributes["project_classes"] == 3
    assert projected.classes == 6
    other = run(job(predictions, tmp_path / "p3.h5", references=smooth, project_classes=3, seed=6))
    assert not np.allclose(other.read(), projected.read())
    with pytest.raises(UsageError, match="projected onto 7"):
        run_distances(job(predictions, tmp_path / "p4.h5", project_classes=7))


def test_projection_of_confident_predictions_keeps_its_digits() -> None:
    log_probs = torch.tensor([[[0.0, -300.0, -200.0]], [[-300.0, 0.0, -1000.0]]], dtype=torch.float64)
    matrix = random_class_projection(3, 2, 0)
    found = project_classes(log_probs, matrix)
    assert torch.allclose(found[:, 0], matrix[:, [0, 1]].log().T, rtol=1e-12)


def test_a_sample_subset_is_the_same_in_both_files(tmp_path: Path) -> None:
    made(tmp_path, 3, 50)
    made(tmp_path, 2, 50, file="q.h5", seed=1)
    one, two = (open_models(tmp_path / name, samples=7, seed=3) for name in ("p.h5", "q.h5"))
    one.same_samples(two)
    assert (np.diff(one.sample_ids) > 0).all()
    matrix = run(job(one, tmp_path / "d.h5", second=two))
    taken = one.sample_ids
    full = [Predictions.open(tmp_path / name).read()[:, taken] for name in ("p.h5", "q.h5")]
    np.testing.assert_allclose(matrix.read(), plain_distances(*full, "bhattacharyya"), rtol=1e-9)
    assert matrix.samples == 7
    assert not np.array_equal(open_models(tmp_path / "p.h5", samples=7, seed=4).sample_ids, taken)
    assert open_models(tmp_path / "p.h5", samples=50).samples == 50
    with pytest.raises(UsageError, match="has 50 samples, not 51"):
        open_models(tmp_path / "p.h5", samples=51)
    some = open_models(tmp_path / "p.h5", where="seed > 0")
    assert list(some.table.column("name")) == ["model 1", "model 2"]
    with pytest.raises(UsageError, match="seed > 8"):
        open_models(tmp_path / "p.h5", where="seed > 8")


def test_rows_are_read_in_any_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predictions = made(tmp_path, 5, 30).select_samples(np.arange(0, 30, 3))
    whole = ModelRows(predictions, ALL).read(slice(0, 10), slice(0, 10))
    monkeypatch.setattr("landscape_cli.jobs.model_rows.PIECE_BYTES", 200)
    rows = ModelRows(predictions, ALL)
    assert np.array_equal(rows.read(slice(0, 10), slice(0, 10)), whole)
    assert np.array_equal(rows.read(slice(3, 7), slice(2, 9)), whole[3:7, 2:9])
    known = np.concatenate([predictions.read(), plain_references(predictions.labels, 4, times=[0.25, 0.5, 0.75])])
    np.testing.assert_allclose(whole, known, rtol=1e-12)


def test_float32_on_disk_follows_the_predictions(tmp_path: Path) -> None:
    single = made(tmp_path, dtype="float32")
    half = made(tmp_path, file="half.h5", dtype="float16")
    double = made(tmp_path, file="double.h5")
    for name, predictions, dtype in (("s", single, "float32"), ("h", half, "float32"), ("d", double, "float64")):
        run_distances(job(predictions, tmp_path / f"{name}.out.h5"))
        with h5py.File(tmp_path / f"{name}.out.h5") as file:
            assert file["values"].dtype == dtype
    run_distances(job(single, tmp_path / "f64.h5", dtype="float64"))
    with h5py.File(tmp_path / "f64.h5") as file:
        assert file["values"].dtype == "float64"
    mixed = run(job(single, tmp_path / "mixed.h5", second=double))
    np.testing.assert_allclose(np.diag(mixed.read()), 0, atol=1e-6)


def test_twice_is_a_skip_and_another_configuration_a_conflict(tmp_path: Path) -> None:
    predictions = made(tmp_path)
    out = tmp_path / "d.h5"
    first = run_distances(job(predictions, out))
    stamp = out.stat().st_mtime_ns
    notes: list[str] = []
    again = run_distances(job(predictions, out, note=notes.append))
    assert out.stat().st_mtime_ns == stamp
    assert "nothing to do" in notes[0]
    assert {k: v for k, v in again.items() if k != "seconds"} == {k: v for k, v in first.items() if k != "seconds"}
    for change, told in (
        ({"distance": "skl"}, "distance is bhattacharyya there and skl here"),
        ({"cap": 1.0}, "cap is None there"),
        ({"references": ALL}, "ignorance is False there"),
        ({"dtype": "float32"}, "dtype is float64 there"),
    ):
        with pytest.raises(ConflictError, match=told):
            run_distances(job(predictions, out, **change))
    with pytest.raises(ConflictError, match="other predictions"):
        run_distances(job(predictions.select(np.arange(4)), out))
    assert run(job(predictions, out, distance="skl", force=True)).distance == "skl"
    (tmp_path / "text.h5").write_text("text")
    with pytest.raises(ConflictError, match="no matrix"):
        run_distances(job(predictions, tmp_path / "text.h5"))
    assert not list(tmp_path.glob("*.tiles"))


@pytest.mark.parametrize("merge", [True, False])
def test_columns_added_since_reach_a_finished_matrix(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, merge: bool
) -> None:
    monkeypatch.setattr(jobs, "MERGE_BYTES", 10**9 if merge else 0)
    predictions, other = made(tmp_path), made(tmp_path, 3, file="q.h5", seed=1)
    tasks = {"d.h5": {"references": ALL}, "b.h5": {"second": other}}
    values = {out: run(job(predictions, tmp_path / out, tile=4, **how)).read() for out, how in tasks.items()}
    folder = TileFolder(tmp_path / "d.h5")
    folder.path.mkdir(exist_ok=True)  # as a kill after the last step leaves it
    table = Table({**predictions.table.columns, "opt": np.array(list("abcdefghi"), dtype=object)})
    predictions = dataclasses.replace(predictions, table=table)
    for out, how in tasks.items():
        matrix = run(job(predictions, tmp_path / out, **how))
        assert list(matrix.rows.column("opt"))[:9] == list("abcdefghi")
        assert np.array_equal(matrix.read(), values[out])
        with h5py.File(tmp_path / out) as file:
            assert np.array_equal(file["values"][()], values[out])
        assert matrix.tiled != merge
    assert folder.path.exists() != merge


def test_a_stopped_job_continues(tmp_path: Path, tiles_stay: None, monkeypatch: pytest.MonkeyPatch) -> None:
    predictions = made(tmp_path)
    written: list[tuple[int, int]] = []
    real = TileFolder.write

    def write(self: TileFolder, i: int, j: int, *rest: Any, **how: Any) -> None:
        real(self, i, j, *rest, **how)
        written.append((i, j))
        if len(written) == 3:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(TileFolder, "write", write)
    with pytest.raises(InterruptedRunError, match="finished tiles are kept"):
        run_distances(job(predictions, tmp_path / "d.h5", tile=3))
    assert len(written) == 3
    assert not (tmp_path / "d.h5").exists()
    for change in ({"tile": 4}, {"distance": "skl"}):
        with pytest.raises(ConflictError, match=r"d\.h5\.tiles holds tiles of"):
            run_distances(job(predictions, tmp_path / "d.h5", **change))
    assert plan_distances(job(predictions, tmp_path / "d.h5"))["tiles_done"] == 3
    matrix = run(job(predictions, tmp_path / "d.h5"))  # the side of the tiles that are there is kept
    assert len(written) == len(set(written)) == 6
    np.testing.assert_allclose(
        matrix.read(), plain_distances(predictions.read(), predictions.read(), "bhattacharyya"), rtol=1e-9, atol=1e-12
    )


def test_a_lost_tile_is_computed_again_alone(tmp_path: Path, tiles_stay: None, monkeypatch: pytest.MonkeyPatch) -> None:
    predictions = made(tmp_path)
    matrix = run(job(predictions, tmp_path / "d.h5", tile=3, command="landscape distances p.h5"))
    values = matrix.read()
    matrix.folder.file(0, 1).unlink()
    broken = matrix.folder.file(1, 2)
    broken.write_bytes(broken.read_bytes()[:2000])
    with pytest.raises(DataError, match="tile-00000-00001") as caught:
        matrix.read()
    assert "landscape distances p.h5" in (caught.value.hint or "")
    written = []
    real = TileFolder.write
    monkeypatch.setattr(TileFolder, "write", lambda s, i, j, *r, **k: (written.append((i, j)), real(s, i, j, *r, **k)))
    assert np.array_equal(run(job(predictions, tmp_path / "d.h5")).read(), values)
    assert written == [(0, 1), (1, 2)]


@settings(max_examples=4, deadline=None)
@given(shards=st.integers(2, 5), tile=st.integers(2, 9), merge=st.booleans())
def test_shards_together_are_the_whole(
    tmp_path_factory: pytest.TempPathFactory, shards: int, tile: int, merge: bool
) -> None:
    folder = tmp_path_factory.mktemp("shards")
    predictions = made(folder)
    whole = run(job(predictions, folder / "whole.h5", references=ALL, tile=tile)).read()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "MERGE_BYTES", jobs.MERGE_BYTES if merge else 0)
        done = []
        for number in range(shards, 0, -1):
            record = run_distances(job(predictions, folder / "d.h5", references=ALL, tile=tile, shard=(number, shards)))
            done.append(record["tiles"])
            assert record["kind"] == "distances-shard"
            assert not (folder / "d.h5").exists()
        patch.setattr(TileFolder, "write", None)  # nothing is left to compute
        matrix = run(job(predictions, folder / "d.h5", references=ALL))
    assert sum(done) == len(Grid(14, 14, tile, symmetric=True).tiles())
    assert np.array_equal(matrix.read(), whole)


def test_an_unsharded_command_does_what_shards_left(tmp_path: Path) -> None:
    predictions = made(tmp_path)
    run_distances(job(predictions, tmp_path / "d.h5", shard=(2, 3)))
    values = run(job(predictions, tmp_path / "d.h5")).read()
    assert np.array_equal(values, run(job(predictions, tmp_path / "e.h5", tile=3)).read())


def test_another_process_at_work_is_named(tmp_path: Path) -> None:
    predictions = made(tmp_path)
    folder = TileFolder(tmp_path / "d.h5")
    with folder.held(), pytest.raises(ConflictError, match=f"written by process {os.getpid()}"):
        run_distances(job(predictions, tmp_path / "d.h5"))


def test_a_killed_job_continues_with_the_same_command(tmp_path: Path) -> None:
    """SIGKILL in the middle: the tiles that were there are not touched again, and the matrix is the same."""
    predictions = made(tmp_path, 40, 300)
    code = f"""
        import sys, time
        sys.path.insert(0, {str(Path(__file__).resolve().parents[2])!r})
        from pathlib import Path
        from landscape_cli.jobs.distances import DistanceJob, DistanceSettings, run_distances
        from landscape_cli.store.predictions import Predictions
        from landscape_cli.store.tiles import TileFolder
        real = TileFolder.write
        def slow(self, *a, **k):
            real(self, *a, **k)
            time.sleep(0.3)
        TileFolder.write = slow
        run_distances(DistanceJob(Predictions.open(Path({str(predictions.path)!r})), Path({str(tmp_path)!r}) / "d.h5",
            DistanceSettings("euclidean"), tile=8, device="cpu", threads=1))
    """
    child = subprocess.Popen([sys.executable, "-c", textwrap.dedent(code)])
    folder = TileFolder(tmp_path / "d.h5")
    until = time.monotonic() + 60
    while len(list(folder.path.glob("tile-*.h5"))) < 3 and time.monotonic() < until:
        time.sleep(0.02)
    child.kill()
    child.wait()
    before = {path: path.stat().st_mtime_ns for path in folder.path.glob("tile-*.h5")}
    assert 3 <= len(before) < 15
    (folder.path / ".partial-1-tile-00000-00000.h5").write_text("half a tile of a killed process")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(jobs, "MERGE_BYTES", 0)
        matrix = run(job(predictions, tmp_path / "d.h5", distance="euclidean"))
    assert before == {path: path.stat().st_mtime_ns for path in before}
    assert not list(folder.path.glob(".partial-*"))
    assert np.array_equal(matrix.read(), run(job(predictions, tmp_path / "e.h5", distance="euclidean", tile=8)).read())


def test_a_full_disk_is_told_and_earlier_tiles_are_kept(
    tmp_path: Path, tiles_stay: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictions = made(tmp_path)
    real, calls = os.fsync, []

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) > 6:
            raise OSError(28, os.strerror(28))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left") as caught:
        run_distances(job(predictions, tmp_path / "d.h5", tile=3))
    assert "finished work is kept" in (caught.value.hint or "")
    monkeypatch.setattr(os, "fsync", real)
    kept = plan_distances(job(predictions, tmp_path / "d.h5"))["tiles_done"]
    assert 0 < kept < 6
    assert run(job(predictions, tmp_path / "d.h5")).shape == (9, 9)


def test_bad_input(tmp_path: Path) -> None:
    predictions = made(tmp_path)
    with pytest.raises(UsageError, match="no pair") as caught:
        run_distances(job(predictions.select(np.array([0])), tmp_path / "d.h5"))
    assert "--truth" in (caught.value.hint or "")
    one = run(job(predictions.select(np.array([0])), tmp_path / "one.h5", references=References(truth=True)))
    assert one.shape == (2, 2)
    for file, change in (
        ("samples.h5", {"samples": 19}),
        ("labels.h5", {"labels": np.zeros(20)}),
        ("classes.h5", {"classes": 5, "labels": np.arange(20) % 4}),
        ("split.h5", {"split": "train"}),
    ):
        with pytest.raises(DataError, match="different samples"):
            run_distances(job(predictions, tmp_path / "d.h5", second=made(tmp_path, file=file, **change)))
    beyond = dataclasses.replace(predictions, labels=np.full(20, 4))
    with pytest.raises(DataError, match="sample 0 has label 4, but the predictions are over 4 classes"):
        run_distances(job(beyond, tmp_path / "d.h5"))
    assert not (tmp_path / "d.h5").exists()
    assert not (tmp_path / "d.h5.tiles").exists()


@pytest.mark.parametrize("kind", ["bhattacharyya", "skl"])
def test_what_is_no_distribution_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Any) -> None:
    made(tmp_path)
    predictions = open_models(tmp_path / "p.h5", samples=9)
    real = Predictions.read

    def damaged(self: Predictions, models: Any = None, samples: Any = None) -> Any:
        values = real(self, models, samples)
        number = np.arange(len(self))[models].tolist().index(5) if 5 in np.arange(len(self))[models] else None
        if number is not None and 4 in np.arange(self.samples)[samples]:
            values[number, np.arange(self.samples)[samples].tolist().index(4)] = np.nan
        return values

    monkeypatch.setattr(Predictions, "read", damaged)
    monkeypatch.setattr(jobs, "cut", lambda *a, **k: dataclasses.replace(cut(*a, **k), pane=2, block=3, step=2))
    with pytest.raises(DataError, match=f"model 5 predicts for sample {predictions.sample_ids[4]} is no distribution"):
        run_distances(job(predictions, tmp_path / "d.h5", distance=kind, tile=4))


# --- the plan -------------------------------------------------------------------------------------------------------


def shape(rows: int, *, cols: int | None = None, samples: int = 1000, classes: int = 10) -> Shape:
    return Shape(rows, cols or rows, cols is None, samples, classes, item=4, stored=4)


def room(memory: int, device: int | None = None) -> Room:
    return Room(memory, lambda models, samples: models * (40_000 + 40 * samples), device)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.integers(2, 200_000), cols=st.none() | st.integers(1, 200_000), samples=st.integers(1, 50_000),
    classes=st.sampled_from([2, 10, 1000]), memory=st.integers(60, 4000), shards=st.integers(1, 8),
    device=st.none() | st.just(80 * 10**9),
)  # fmt: skip
def test_a_plan_obeys_its_budget(
    rows: int, cols: int | None, samples: int, classes: int, memory: int, shards: int, device: int | None
) -> None:
    task = shape(rows, cols=cols, samples=samples, classes=classes)
    plan = cut(task, room(memory * 10**6, device), shards=shards)
    assert plan.memory <= memory * 10**6
    assert 1 <= plan.block <= samples
    assert 1 <= plan.grid.tile <= max(rows, cols or 0)
    assert plan.bytes_read >= (rows + (cols or 0)) * samples * classes * 4


def test_a_larger_budget_reads_less() -> None:
    task = shape(20_000, samples=10_000)
    once = 20_000 * 10_000 * 40
    read = [cut(task, room(memory)).bytes_read for memory in (10**8, 10**9, 10**10, 10**11)]
    assert read == sorted(read, reverse=True)
    assert read[-1] == pytest.approx(once, rel=0.01)  # all of it stays: read once
    plan = cut(task, room(10**9))
    assert plan.bytes_read <= 1.01 * (plan.grid.down + 1) * once
    assert cut(task, room(10**9, 80 * 10**9)).bytes_read == pytest.approx(once, rel=0.01)  # it stays on the device


def test_too_little_memory_says_what_works() -> None:
    task = shape(5000, samples=100, classes=10)
    for tile in (None, 5000):
        with pytest.raises(UsageError, match="too little") as caught:
            cut(task, room(10**7), tile=tile)
        hint = caught.value.hint or ""
        least = int(hint.split("--memory ")[1].split("MB")[0]) * 10**6
        assert cut(task, room(least), tile=tile).memory <= least
        assert ("smaller --tile" in hint) == (tile is not None)


def test_shards_get_tiles_enough() -> None:
    assert cut(shape(1000), room(10**9), shards=8).grid.count >= 32


@settings(max_examples=40, deadline=None)
@given(rows=st.integers(1, 9), cols=st.integers(1, 9), capacity=st.integers(0, 19), symmetric=st.booleans())
def test_what_stays_in_memory_is_read_once(rows: int, cols: int, capacity: int, symmetric: bool) -> None:
    """The number of reads that a plan promises is the number that happens, and memory never holds more."""
    grid = Grid(rows, rows if symmetric else cols, 1, symmetric)
    residency, reads = Residency(capacity, symmetric), 0
    for i, j in grid.tiles():
        for span in residency.wanted(i, j):
            there = span in residency.held
            reads += not (residency.admit(span, i) and there)
            assert len(residency.held) <= capacity
    assert reads == spans_read(grid, capacity)
    if capacity >= rows + cols:
        assert reads == (rows if symmetric else rows + cols)
