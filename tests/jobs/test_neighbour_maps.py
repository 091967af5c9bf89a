"""``landscape tsne``: from files to maps that plot draws."""

from pathlib import Path

import h5py
import numpy as np
import pytest

from landscape_cli.store.embeddings import Embedding
from tests.conftest import SAMPLES, Cli

RUNS = [SAMPLES / name for name in ("parent", "early-a", "early-b", "late-a")]


@pytest.fixture
def predictions(cli: Cli, tmp_path: Path) -> Path:
    file = tmp_path / "p.h5"
    assert cli("predict", *RUNS, "--at", "all", "--samples", 60, "-o", file).status == 0
    return file


def test_predictions_become_a_map_that_is_drawn(cli: Cli, predictions: Path, tmp_path: Path) -> None:
    done = cli("tsne", predictions)
    (record,) = done.records
    made = Embedding.open(tmp_path / "p-tsne.h5")
    assert (record["kind"], record["method"], record["distance"]) == ("embedding", "tsne", "euclidean")
    assert made.coordinates.shape == (record["models"], 2)
    assert np.isfinite(made.coordinates).all()
    assert "finished already" in cli("tsne", predictions).err
    (drawn,) = cli("plot", record["path"], "-o", tmp_path / "map.svg").records
    assert "t-SNE 1" in Path(drawn["path"]).read_text()
    assert "perplexity" in Path(drawn["path"]).read_text()
    assert cli("plot", record["path"], "-o", tmp_path / "map.html").status == 0


def test_what_it_is_no_map_of_is_refused(cli: Cli, predictions: Path, tmp_path: Path) -> None:
    assert cli("tsne", predictions).status == 0
    for words, told in (
        (("tsne", predictions, "--perplexity", 4000), "is another embedding"),
        (("tsne", predictions, "--perplexity", 4000, "--force"), "does not fit"),
        (("tsne", tmp_path / "p-tsne.h5"), "no predictions"),
        (("inpca", tmp_path / "p-tsne.h5", "--align", tmp_path / "p-tsne.h5"), "t-SNE map"),
        (("plot", tmp_path / "p-tsne.h5", "--kind", "spectrum"), "no eigenvalues"),
        (("tsne", predictions, "--memory", "1kB", "--force"), "too little"),
    ):
        done = cli(*words)
        assert done.status in (1, 2)
        assert told in done.err or "embedding already" in done.err, done.err


def test_a_matrix_of_weights_is_mapped_by_the_squares_of_its_lengths(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "w.h5"
    assert cli("weight-dist", *RUNS, "--at", "all", "--pairs", "all", "--matrix", file).status == 0
    (record,) = cli("tsne", file).records
    assert record["distance"] == "weight"
    with h5py.File(file) as content:
        squared = content["values"][()].astype(float) ** 2
    made = Embedding.open(tmp_path / "w-tsne.h5")
    np.testing.assert_allclose(made.row_means, squared.mean(axis=1))
    # Checkpoints of one run next to each other in time are among the nearest.
    assert record["trustworthiness"] > 0.5
    rows = made.rows
    told = {
        name.partition("@")[0].rpartition("/")[2]: e
        for name, e in zip(rows.column("name"), rows.column("spawn_epoch"), strict=True)
    }
    assert (told["early-a"], told["late-a"]) == (0.0, 8.0)
    assert np.isnan(told["parent"])
