"""Clusterings from files of distances, trajectories and predictions."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from landscape_cli.compute.predictions.clustering import dendrogram
from landscape_cli.errors import ConflictError, DataError, UsageError
from landscape_cli.jobs.clusters import ClusterJob, ClusterSettings, members, run_clusters, varying
from landscape_cli.store.clusters import Clusters
from landscape_cli.store.matrix_writing import MatrixHead, write_matrix
from landscape_cli.store.tables import Table
from tests.jobs.made_predictions import plain_distances
from tests.jobs.made_runs import write_sweep

PLACE = {"mlp": 0.0, "cnn": 3.0, "vit": 9.0, "sgd": 0.0, "adam": 1.0}


def write_distances(path: Path, *, seeds: int = 3, truth: float | None = None, symmetric: bool = True) -> Path:
    """A matrix of runs whose distances come from their architecture, a little from their optimiser."""
    rows = [
        {"key": f"{a}{o}{s}", "name": f"{a}-{o}-{s}", "reference": "", "network": a, "optimizer": o, "seed": s, "bs": 8}
        for a in ("mlp", "cnn", "vit") for o in ("sgd", "adam") for s in range(seeds)
    ]  # fmt: skip
    at = np.array([PLACE[str(row["network"])] + PLACE[str(row["optimizer"])] + 0.01 * int(row["seed"]) for row in rows])  # type: ignore[call-overload]
    values = np.abs(at[:, None] - at[None])
    if truth is not None:
        rows.append({"key": "truth", "name": "truth", "reference": "truth"})
        values = np.pad(values, ((0, 1), (0, 1)), constant_values=truth)
        values[-1, -1] = 0.0
    table = Table.from_rows(rows)
    head = MatrixHead(
        "bhattacharyya", table, table, symmetric=symmetric, samples=5, classes=2, identity={"made": len(rows)}
    )
    write_matrix(path, values, head)
    return path


def made(file: Path, **settings: object) -> Clusters:
    out = file.with_name("clusters.h5")
    run_clusters(ClusterJob(file, out, ClusterSettings(**settings), force=True))  # type: ignore[arg-type]
    return Clusters.open(out)


def test_the_tree_and_its_cut(tmp_path: Path) -> None:
    found = made(write_distances(tmp_path / "d.h5"), clusters=3)
    assert found.rows.column("network")[found.order].tolist() in (
        [*["mlp"] * 6, *["cnn"] * 6, *["vit"] * 6], [*["vit"] * 6, *["cnn"] * 6, *["mlp"] * 6]
    )  # fmt: skip
    for network in ("mlp", "cnn", "vit"):
        assert len(set(found.rows.column("cluster")[found.rows.column("network") == network])) == 1
    assert found.method == "complete"
    assert found.distance == "bhattacharyya"
    assert found.labels[0] == "mlp-sgd-0"
    assert 0.9 < found.cophenetic <= 1
    assert len(found.importance) == 0
    records = members(found)
    assert [record["cluster"] for record in records] == sorted(record["cluster"] for record in records)
    assert [record["name"] for record in records] == [found.labels[item] for item in found.order]


def test_groups_are_averaged(tmp_path: Path) -> None:
    found = made(write_distances(tmp_path / "d.h5", truth=20.0), group_by=("network", "optimizer"))
    assert found.labels == ["mlp, sgd", "mlp, adam", "cnn, sgd", "cnn, adam", "vit, sgd", "vit, adam", "truth"]
    assert found.rows.column("runs").tolist() == [3] * 6 + [1]
    assert found.rows.column("within")[0] == pytest.approx((0.01 + 0.02 + 0.01) / 3)
    assert math.isnan(found.rows.column("within")[-1])
    assert found.rows.column("network").tolist()[-1] == ""
    alone = made(tmp_path / "d.h5", group_by=("network", "optimizer"), references=False)
    assert "truth" not in alone.labels


def test_conditions_choose_items(tmp_path: Path) -> None:
    found = made(write_distances(tmp_path / "d.h5"), where="network != 'vit'")
    assert len(found.labels) == 12
    with pytest.raises(UsageError, match="no model"):
        made(tmp_path / "d.h5", where="network == 'none'")


def test_importance_of_the_columns_that_vary(tmp_path: Path) -> None:
    file = write_distances(tmp_path / "d.h5", truth=50.0)
    found = made(file, factors=None, repeats=2, trees=20)
    assert found.importance.column("factor").tolist() == ["network", "optimizer", "seed"]
    arch, opt, seed = found.importance.column("importance")
    assert arch > 10 * max(abs(opt), abs(seed))
    assert found.importance.column("levels").tolist() == [3, 2, 3]
    assert len(found.explained) == 2
    assert found.attributes["pairs_tested"] == 10  # pairs among 5 of the 18
    record = run_clusters(
        ClusterJob(file, tmp_path / "r.h5", ClusterSettings(factors=("network",), repeats=2, trees=5))
    )
    assert set(record["importance"]) == {"network"}
    assert record["explained"] > 0.5
    by_configuration = made(file, factors=("network", "optimizer"), hold_out="configuration", repeats=1, trees=5)
    assert by_configuration.attributes["pairs_tested"] == 15  # two of the six configurations
    with_distance = made(file, factors=("optimizer",), covariates=("seed",), repeats=1, trees=5)
    assert with_distance.importance.column("factor").tolist() == ["optimizer", "seed"]


def test_columns_that_may_be_factors() -> None:
    table = Table.from_rows(
        [
            {
                "key": str(k),
                "name": f"n{k}",
                "run": f"r{k}",
                "opt": "ab"[k % 2],
                "tag": f"t{k}",
                "bs": 8,
                "loss": k,
                "lr": k / 2,
            }
            for k in range(4)
        ]
    )
    assert varying(table) == ["opt", "lr"]


def test_factors_that_say_nothing_are_told(tmp_path: Path) -> None:
    notes: list[str] = []
    settings = ClusterSettings(factors=("seed",), repeats=1, trees=5)
    run_clusters(ClusterJob(write_distances(tmp_path / "d.h5"), tmp_path / "c.h5", settings, note=notes.append))
    assert "explain little" in notes[-1]


def test_models_of_predictions(tmp_path: Path) -> None:
    sweep = write_sweep(tmp_path / "p.h5")
    found = made(tmp_path / "p.h5", where="step == 20", clusters=2)
    own = sweep.where("step == 20")
    expected = plain_distances(own.read(), own.read(), "bhattacharyya")
    expected = np.triu(expected, 1) + np.triu(expected, 1).T
    assert np.allclose(found.linkage, dendrogram(expected).linkage, rtol=1e-6)
    assert len(set(found.rows.column("cluster")[:4])) == 1
    assert found.rows.column("cluster")[0] != found.rows.column("cluster")[-1]
    assert made(tmp_path / "p.h5", distance="hellinger").distance == "hellinger"


def test_the_same_twice_is_a_skip_and_another_is_refused(tmp_path: Path) -> None:
    notes: list[str] = []
    job = ClusterJob(
        write_distances(tmp_path / "d.h5"), tmp_path / "c.h5", ClusterSettings(clusters=2), note=notes.append
    )
    first = run_clusters(job)
    second = run_clusters(job)
    assert notes == [f"{tmp_path / 'c.h5'} is finished already: nothing to do"]
    assert first | {"seconds": 0} == second | {"seconds": 0}
    with pytest.raises(ConflictError, match="clusters is 2 there, 3 was asked for"):
        run_clusters(replace(job, settings=ClusterSettings(clusters=3)))
    (tmp_path / "x.h5").write_text("something")
    with pytest.raises(ConflictError):
        run_clusters(replace(job, out=tmp_path / "x.h5"))


def test_what_cannot_be_clustered(tmp_path: Path) -> None:
    file = write_distances(tmp_path / "d.h5", truth=math.inf)
    with pytest.raises(DataError, match="distance between mlp-sgd-0 and truth is inf") as told:
        made(file)
    assert "--cap" in str(told.value.hint)
    assert len(made(file, references=False).labels) == 18
    with pytest.raises(DataError, match="1 item is left"):
        made(file, where="name == 'mlp-sgd-0'", references=False)
    with pytest.raises(UsageError, match="18 items cannot be cut into 19"):
        made(file, references=False, clusters=19)
    with pytest.raises(UsageError, match="'bs' is the same everywhere"):
        made(file, references=False, factors=("bs",))
    with pytest.raises(UsageError, match="no column 'arch'"):
        made(file, references=False, factors=("arch",))
    with pytest.raises(UsageError, match="takes"):
        run_clusters(ClusterJob(file, tmp_path / "c2.h5", memory=10))
    between = write_distances(tmp_path / "two.h5", symmetric=False)
    with pytest.raises(UsageError, match="between two sets"):
        made(between)
    with pytest.raises(DataError, match="does not exist"):
        made(tmp_path / "nothing.h5")


def test_identical_trajectories_have_a_tree_but_no_importance(tmp_path: Path) -> None:
    table = Table.from_rows([{"key": str(k), "name": str(k), "reference": "", "opt": "ab"[k % 2]} for k in range(8)])
    head = MatrixHead("bhattacharyya", table, table, symmetric=True, samples=5, classes=2)
    write_matrix(tmp_path / "d.h5", np.zeros((8, 8)), head)
    assert math.isnan(made(tmp_path / "d.h5").cophenetic)
    with pytest.raises(DataError, match="all distances are equal"):
        made(tmp_path / "d.h5", factors=None)


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    import h5py

    found = made(write_distances(tmp_path / "d.h5"))
    assert found.path is not None
    with h5py.File(found.path, "r+") as file:
        del file["order"]
    with pytest.raises(DataError, match="damaged"):
        Clusters.open(found.path)
