"""Means of models, as models of a predictions file."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from landscape_cli.compute.predictions.centroids import centroid
from landscape_cli.errors import ConflictError, DataError, UsageError
from landscape_cli.jobs.centroids import FIXED_BYTES, KINDS, CentroidJob, run_centroids
from landscape_cli.store.predictions import Predictions
from tests.jobs.made_predictions import random_log_probs, write_predictions
from tests.jobs.made_runs import write_sweep


@pytest.fixture
def sweep(tmp_path: Path) -> Predictions:
    """Eight runs of five checkpoints."""
    return write_sweep(tmp_path / "test.h5")


def test_all_kinds_of_all_groups(sweep: Predictions, tmp_path: Path) -> None:
    job = CentroidJob(sweep.where("step == 20"), tmp_path / "c.h5", group_by=("network",))
    record = run_centroids(job)
    found = Predictions.open(tmp_path / "c.h5")
    assert record["kind"] == "predictions"
    assert (record["models"], record["added"], len(found)) == (14, 14, 14)
    assert found.table.column("centroid").tolist() == list(KINDS) * 2
    assert found.table.column("models").tolist() == [4] * 14
    assert found.table.column("network").tolist() == ["mlp"] * 7 + ["cnn"] * 7
    assert found.table.column("step").tolist() == [20] * 14
    assert "optimizer" not in found.table
    assert found.table.column("name")[0] == "arithmetic mean of mlp"
    found.same_samples(sweep)
    own = sweep.where("step == 20 and network == 'cnn'")
    for number, kind in enumerate(KINDS):
        expected = centroid(torch.from_numpy(own.read()), kind)
        assert np.allclose(found.read()[7 + number], expected, atol=1e-12)
        told = record["centroids"][7 + number]
        assert told["centroid"] == kind
        assert told["loss"] == pytest.approx(-float(expected.gather(1, torch.from_numpy(sweep.labels)[:, None]).mean()))
        assert 0 < told["progress"] < 1


def test_means_along_training_are_runs(sweep: Predictions, tmp_path: Path) -> None:
    run_centroids(CentroidJob(sweep, tmp_path / "c.h5", ("arithmetic", "sqrt"), ("network", "step")))
    found = Predictions.open(tmp_path / "c.h5")
    assert len(found) == 2 * 2 * 5
    assert sorted(set(found.table.column("run"))) == [
        "arithmetic mean of cnn", "arithmetic mean of mlp", "sqrt mean of cnn", "sqrt mean of mlp"
    ]  # fmt: skip


def test_without_groups_and_with_weights(sweep: Predictions, tmp_path: Path) -> None:
    own = sweep.where("step == 40")
    run_centroids(CentroidJob(own, tmp_path / "c.h5", ("harmonic",), weights="seed"))
    found = Predictions.open(tmp_path / "c.h5")
    logs = torch.from_numpy(own.where("seed > 0").read())  # the others weigh nothing
    weights = torch.from_numpy(own.where("seed > 0").table.column("seed").astype(float))
    assert np.allclose(found.read()[0], centroid(logs, "harmonic", weights=weights), atol=1e-12)
    assert found.table.column("name").tolist() == ["harmonic mean of all models"]


def test_blocks_of_samples_do_not_matter(sweep: Predictions, tmp_path: Path) -> None:
    whole, little = tmp_path / "a.h5", tmp_path / "b.h5"
    run_centroids(CentroidJob(sweep, whole))
    run_centroids(CentroidJob(sweep, little, memory=FIXED_BYTES + 8 * 8 * 40 * 4 * 3 + 10))
    assert np.allclose(Predictions.open(whole).read(), Predictions.open(little).read(), atol=1e-14)
    with pytest.raises(UsageError, match="too little for a mean of 40 models"):
        run_centroids(CentroidJob(sweep, tmp_path / "c.h5", memory=1000))


def test_again_is_a_skip_and_more_kinds_are_added(sweep: Predictions, tmp_path: Path) -> None:
    notes: list[str] = []
    job = CentroidJob(sweep, tmp_path / "c.h5", ("arithmetic",), note=notes.append)
    first = run_centroids(job)
    again = run_centroids(job)
    assert (again["added"], again["skipped"]) == (0, 1)
    assert "nothing to do" in notes[-1]
    assert again["centroids"] == first["centroids"]
    more = run_centroids(replace(job, kinds=("geometric", "arithmetic")))
    assert (more["models"], more["added"], more["skipped"]) == (2, 1, 1)
    assert [row["centroid"] for row in more["centroids"]] == ["geometric", "arithmetic"]
    other = run_centroids(replace(job, predictions=sweep.where("step == 40")))
    assert other["models"] == 3
    part = sweep.select_samples(np.arange(10))
    with pytest.raises(ConflictError, match="40 samples are there, 10 were asked for"):
        run_centroids(replace(job, predictions=part))


def test_float32_stays_float32(tmp_path: Path) -> None:
    sweep = write_predictions(tmp_path / "p.h5", random_log_probs(3, 5, 4), dtype="float32")
    run_centroids(CentroidJob(sweep, tmp_path / "c.h5"))
    assert Predictions.open(tmp_path / "c.h5").dtype == "float32"


def test_what_cannot_be_averaged(sweep: Predictions, tmp_path: Path) -> None:
    job = CentroidJob(sweep, tmp_path / "c.h5")
    with pytest.raises(UsageError, match="is the file that is averaged"):
        run_centroids(replace(job, out=sweep.path))
    with pytest.raises(UsageError, match="'network' holds texts"):
        run_centroids(replace(job, weights="network"))
    with pytest.raises(UsageError, match="no column 'arch'"):
        run_centroids(replace(job, group_by=("arch",)))
    signed = write_predictions(tmp_path / "s.h5", random_log_probs(2, 3, 2), columns={"w": [1.0, -2.0]})
    with pytest.raises(DataError, match="weight of model 1 in column 'w' is -2"):
        run_centroids(replace(job, predictions=signed, weights="w"))
    with np.errstate(divide="ignore"):
        apart = write_predictions(tmp_path / "z.h5", np.log(np.array([[[1.0, 0.0]], [[0.0, 1.0]]])))
    with pytest.raises(DataError, match="geometric mean of all models: the geometric mean of 1 of 1 samples is empty"):
        run_centroids(replace(job, predictions=apart, out=tmp_path / "d.h5", kinds=("geometric",)))
    record = run_centroids(replace(job, predictions=apart, out=tmp_path / "e.h5", kinds=("arithmetic", "sqrt")))
    assert record["models"] == 2
