import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from landscape_cli.cli.app import run
from landscape_cli.cli.inpca import parse_near
from landscape_cli.errors import UsageError
from landscape_cli.store.embeddings import Embedding
from landscape_cli.store.matrices import Matrix
from landscape_cli.store.matrix_writing import MatrixHead, write_matrix
from landscape_cli.store.tables import Table
from landscape_cli.store.trajectories import write_trajectories
from tests.conftest import Cli
from tests.jobs.made_predictions import plain_distances, plain_references, write_predictions

RUN = ("--device", "cpu", "--threads", "1")
SAMPLES, CLASSES, RUNS, STEPS = 24, 3, 4, 6


def trained(seed: int = 0) -> tuple[np.ndarray, np.ndarray, dict[str, list[Any]]]:
    """Models on their way from ignorance to the truth, of two kinds: log-probabilities, labels, columns."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, SAMPLES)
    models = []
    for number in range(RUNS):
        ease, noise = rng.random(SAMPLES) * (1 + number % 2), rng.normal(size=(SAMPLES, CLASSES))
        for step in range(STEPS):
            t = step / (STEPS - 1)
            logits = 0.8 * t * noise
            logits[np.arange(SAMPLES), labels] += 5 * t * np.clip(2 * t - ease / 2, 0, None)
            models.append(logits - np.log(np.exp(logits).sum(-1, keepdims=True)))
    columns = {
        "network": ["ab"[i % 2] for i in range(RUNS) for _ in range(STEPS)],
        "run": [f"r{i}" for i in range(RUNS) for _ in range(STEPS)],
        "step": [step for _ in range(RUNS) for step in range(STEPS)],
        "times": [1 + (i % 3) for i in range(RUNS * STEPS)],
    }
    return np.array(models), labels, columns


@pytest.fixture(scope="session")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Predictions and their distances with references, made once."""
    folder = tmp_path_factory.mktemp("made")
    log_probs, labels, columns = trained()
    write_predictions(folder / "p.h5", log_probs, labels=labels, columns=columns, split="train")
    assert run(["distances", str(folder / "p.h5"), "--truth", "--ignorance", "--geodesic", "3", "-q", *RUN]) == 0
    return folder


@pytest.fixture
def file(_made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(_made / "p.h5", tmp_path / "p.h5"))


@pytest.fixture
def matrix(_made: Path, file: Path) -> Path:
    return Path(shutil.copy(_made / "p-bhattacharyya.h5", file.with_name("p-bhattacharyya.h5")))


def plain(distances: np.ndarray, dims: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Eigenvalues, coordinates up to signs, and explained stress, by the definition."""
    centre = np.eye(len(distances)) - 1 / len(distances)
    values, vectors = np.linalg.eigh(-0.5 * centre @ distances @ centre)
    order = np.argsort(-np.abs(values))
    values, vectors = values[order], vectors[:, order]
    stress = [1 - math.sqrt((values[m:] ** 2).sum() / (values**2).sum()) for m in range(1, dims + 1)]
    return values[:dims], (vectors * np.sqrt(np.abs(values)))[:, :dims], np.array(stress)


def same_up_to_signs(one: np.ndarray, two: np.ndarray, tolerance: float = 1e-8) -> None:
    np.testing.assert_allclose(one, two * np.sign((one * two).sum(axis=0)), atol=tolerance)


def test_models_are_embedded_and_references_added(cli: Cli, file: Path, matrix: Path) -> None:
    done = cli("inpca", matrix, "-k", 4, *RUN)
    assert done.status == 0, done.err
    (record,) = done.records
    out = matrix.with_name("p-bhattacharyya-inpca.h5")
    assert (record["kind"], record["path"], record["method"], record["models"]) == ("embedding", str(out), "inpca", 24)
    assert (record["embedded"], record["added"], record["references"], record["dims"]) == (24, 0, 5, 4)
    log_probs, labels, _ = trained()
    distances = plain_distances(log_probs, log_probs, "bhattacharyya")
    values, coordinates, stress = plain(distances, 4)
    np.testing.assert_allclose(record["eigenvalues"], values, atol=1e-9)
    np.testing.assert_allclose(record["explained_stress"], stress, atol=1e-9)
    found = Embedding.open(out)
    same_up_to_signs(found.coordinates[:24], coordinates)
    assert found.rows.column("placed").tolist() == ["embedded"] * 24 + ["added"] * 5
    assert found.rows.column("reference").tolist()[24:] == ["ignorance", *["geodesic"] * 3, "truth"]
    # The references by Eq. 9, by hand.
    wide = plain_references(labels, CLASSES, times=[0.25, 0.5, 0.75])
    to_models = plain_distances(wide, log_probs, "bhattacharyya")
    w = -0.5 * (to_models - to_models.mean(axis=1, keepdims=True) - distances.mean(axis=0) + distances.mean())
    np.testing.assert_allclose(found.coordinates[24:], w @ found.coordinates[:24] / found.eigenvalues, atol=1e-8)


def test_references_can_shape_the_embedding(cli: Cli, matrix: Path) -> None:
    (record,) = cli("inpca", matrix, "--references", "embedded", "-k", 3, *RUN).records
    assert (record["embedded"], record["references"]) == (29, 5)
    np.testing.assert_allclose(record["eigenvalues"], plain(Matrix.open(matrix).read(), 3)[0], atol=1e-9)


def test_predictions_give_the_embedding_of_their_distances(cli: Cli, file: Path, matrix: Path) -> None:
    (kept,) = cli("inpca", matrix, *RUN).records
    (direct,) = cli("inpca", file, "--geodesic", "3", *RUN).records
    assert direct["path"] == str(file.with_name("p-inpca.h5"))
    np.testing.assert_allclose(direct["eigenvalues"], kept["eigenvalues"], atol=1e-12)
    one, two = Embedding.open(Path(kept["path"])), Embedding.open(Path(direct["path"]))
    np.testing.assert_allclose(one.coordinates, two.coordinates, atol=1e-10)
    assert not list(file.parent.glob(".partial*"))


@pytest.mark.parametrize(
    ("method", "distance"), [("iskl", "skl"), ("geodesic", "geodesic"), ("pca", "euclidean"), ("inpca", "hellinger")]
)
def test_other_embeddings_are_of_other_distances(cli: Cli, file: Path, method: str, distance: str) -> None:
    extra = ("--distance", "hellinger") if distance == "hellinger" else ()
    done = cli("inpca", file, "--method", method, *extra, "-k", 3, *RUN)
    assert done.status == 0, done.err
    (record,) = done.records
    assert (record["method"], record["distance"]) == (method, distance)
    log_probs, _, _ = trained()
    values, _, _ = plain(plain_distances(log_probs, log_probs, distance), 3)
    np.testing.assert_allclose(record["eigenvalues"], values, atol=1e-9)
    if method == "pca":
        flat = np.exp(log_probs).reshape(24, -1) / math.sqrt(SAMPLES)
        left, sizes, _ = np.linalg.svd(flat - flat.mean(axis=0), full_matrices=False)
        same_up_to_signs(Embedding.open(Path(record["path"])).coordinates[:24], left[:, :3] * sizes[:3])
    kinds = Embedding.open(Path(record["path"])).rows.column("reference").tolist()
    assert ("truth" in kinds) == (method != "iskl")


def test_models_are_chosen_and_weighted(cli: Cli, matrix: Path) -> None:
    (record,) = cli("inpca", matrix, "--where", "network == 'a'", "--weights", "times", "-k", 3, *RUN).records
    assert record["embedded"] == 12
    log_probs, _, columns = trained()
    index = [i for i, name in enumerate(columns["network"]) for _ in range(columns["times"][i]) if name == "a"]
    values, coordinates, _ = plain(plain_distances(log_probs[index], log_probs[index], "bhattacharyya"), 3)
    np.testing.assert_allclose(record["eigenvalues"], values, atol=1e-9)
    first = [index.index(i) for i in dict.fromkeys(index)]
    found = Embedding.open(Path(record["path"]))
    same_up_to_signs(found.coordinates[:12], coordinates[first])
    assert found.weights[:12].tolist() == [columns["times"][i] for i in dict.fromkeys(index)]


@pytest.mark.parametrize("solver", ["dense", "krylov"])
def test_new_models_are_added_and_old_ones_come_back(cli: Cli, file: Path, solver: str) -> None:
    log_probs, labels, columns = trained()
    chosen = [i for i in range(24) if columns["step"][i] != 3]
    small = write_predictions(file.with_name("some.h5"), log_probs[chosen], labels=labels, split="train")
    again = write_predictions(file.with_name("new.h5"), log_probs[chosen[:5]], labels=labels, split="train", name="new")
    assert cli("inpca", small.path, "-k", 4, "--solver", solver, "--tolerance", "1e-12", *RUN).status == 0
    base = file.with_name("some-inpca.h5")
    done = cli("inpca", base, "--project", again.path, *RUN)
    assert done.status == 0, done.err
    (record,) = done.records
    assert record["added"] == 5
    found = Embedding.open(base.with_name("some-inpca-added.h5"))
    before = Embedding.open(base)
    assert np.array_equal(found.coordinates[: len(before.rows)], before.coordinates)
    np.testing.assert_allclose(found.coordinates[-5:], before.coordinates[:5], atol=1e-8)
    # By a matrix between the two files it is the same.
    between = file.with_name("between.h5")
    assert cli("distances", again.path, small.path, "-o", between, *RUN).status == 0
    assert cli("inpca", base, "--project", between, "-o", file.with_name("other.h5"), *RUN).status == 0
    other = Embedding.open(file.with_name("other.h5"))
    np.testing.assert_allclose(other.coordinates, found.coordinates, atol=1e-12)
    # The new file says where its models are, so that more can be added.
    more = cli("inpca", file.with_name("other.h5"), "--project", file, "-o", file.with_name("more.h5"), *RUN)
    assert more.status == 0, more.err


def test_test_models_in_training_coordinates(cli: Cli, file: Path) -> None:
    log_probs, labels, columns = trained()
    part = np.arange(0, SAMPLES, 2)
    test = write_predictions(file.with_name("t.h5"), log_probs[:, part], labels=labels[part], columns=columns)
    assert cli("inpca", file, "-k", 4, *RUN).status == 0
    done = cli("inpca", file.with_name("p-inpca.h5"), "--project-test", test.path, *RUN)
    assert done.status == 0, done.err
    (record,) = done.records
    assert record["test"] == 24
    found = Embedding.open(Path(record["path"]))
    own = plain_distances(log_probs, log_probs, "bhattacharyya")
    other = plain_distances(log_probs[:, part], log_probs[:, part], "bhattacharyya")
    w = -0.5 * (other - own.mean(axis=1)[:, None] - own.mean(axis=0) + own.mean())  # Eq. 10
    by_hand = w @ found.coordinates[:24] / found.eigenvalues
    np.testing.assert_allclose(found.coordinates[-24:], by_hand, atol=1e-8)
    assert set(found.rows.column("placed")[-24:]) == {"test"}
    off = other - (found.signature * (by_hand[:, None] - by_hand[None]) ** 2).sum(-1)
    told = 1 - math.sqrt((off**2).sum() / (other**2).sum())
    assert record["test_explained_pairwise"][-1] == pytest.approx(told, abs=1e-9)


def test_landmarks_and_few_samples(cli: Cli, file: Path, matrix: Path) -> None:
    whole = matrix.with_name("whole.h5")
    assert cli("inpca", matrix, "-k", 3, "-o", whole, *RUN).status == 0
    found = []
    for source, extra in ((matrix, ()), (file, ("--geodesic", "3"))):
        out = file.with_name(f"landmarks-{source.stem}.h5")
        done = cli(
            "inpca",
            source,
            "--fit-on",
            "step in [0, 2, 4]",
            "-k",
            3,
            "-o",
            out,
            "--align",
            whole,
            *extra,
            *RUN,
        )
        assert done.status == 0, done.err
        (record,) = done.records
        assert (record["embedded"], record["added"], record["references"]) == (12, 12, 5)
        assert record["aligned_models"] == 24
        assert record["rmsd"] < 0.1
        found.append(Embedding.open(out))
    np.testing.assert_allclose(found[0].coordinates, found[1].coordinates, atol=1e-8)
    np.testing.assert_allclose(found[0].explained_l2, found[1].explained_l2, atol=1e-10)
    few = cli("inpca", file, "--fit-samples", 12, "-k", 3, "-o", file.with_name("few.h5"), "--align", whole, *RUN)
    assert few.status == 0, few.err
    assert few.records[0]["rmsd"] < 0.2
    all_samples = cli("inpca", file, "--fit-samples", SAMPLES, "-k", 3, "-o", file.with_name("all.h5"), *RUN)
    np.testing.assert_allclose(
        Embedding.open(Path(all_samples.records[0]["path"])).coordinates[:24],
        Embedding.open(whole).coordinates[:24],
        atol=1e-8,
    )
    drawn = cli("inpca", matrix, "--fit-on", 6, "-k", 3, "-o", file.with_name("drawn.h5"), *RUN)
    assert drawn.records[0]["embedded"] == 6


def test_an_embedding_of_few_samples_takes_more_models(cli: Cli, file: Path) -> None:
    out = file.with_name("few.h5")
    assert cli("inpca", file, "--fit-samples", 12, "-k", 3, "-o", out, *RUN).status == 0
    log_probs, labels, _ = trained()
    again = write_predictions(file.with_name("new.h5"), log_probs[3:6], labels=labels, split="train", name="new")
    assert cli("inpca", out, "--project", again.path, *RUN).status == 0
    found = Embedding.open(file.with_name("few-added.h5"))
    np.testing.assert_allclose(found.coordinates[-3:], found.coordinates[3:6], atol=1e-10)


def test_an_embedding_lies_over_itself(cli: Cli, matrix: Path) -> None:
    out = matrix.with_name("e.h5")
    assert cli("inpca", matrix, "-k", 4, "-o", out, *RUN).status == 0
    done = cli("inpca", out, "--align", out, *RUN)
    assert done.status == 0, done.err
    (record,) = done.records
    assert record["rmsd"] == pytest.approx(0, abs=1e-12)
    found = Embedding.open(Path(record["path"]))
    assert found.overlay is not None
    np.testing.assert_allclose(found.overlay.coordinates, found.coordinates[:, :3], atol=1e-12)


def test_the_three_coordinate_reading(cli: Cli, file: Path) -> None:
    done = cli("inpca", file, "-k", 4, "--geodesic", "3", "--reading", "--near", "0.2,0.8", "--sigma", "0.2", *RUN)
    assert done.status == 0, done.err
    (record,) = done.records
    reading = Embedding.open(Path(record["path"])).reading
    assert reading is not None
    assert record["reading_near"] == [0.2, 0.8]
    assert 0 < record["reading_rmsd"] < 0.5
    assert len(record["reading_explained_pairwise"]) == 3
    _, labels, _ = trained()
    references = plain_references(labels, CLASSES, times=[0.25, 0.5, 0.75])
    # Ignorance and truth are two of the four: their distance comes back exactly.
    own, signs = reading.own_coordinates, np.sign(reading.eigenvalues)
    between = (signs * (own[24] - own[28]) ** 2).sum()
    assert between == pytest.approx(plain_distances(references[[0]], references[[4]], "bhattacharyya")[0, 0])
    assert np.isfinite(own).all()
    by_hand = np.sqrt(
        ((reading.overlay.coordinates - Embedding.open(Path(record["path"])).coordinates[:, :3])[:24] ** 2)
        .sum(axis=1)
        .mean()
    )
    assert record["reading_rmsd"] == pytest.approx(by_hand)


def test_a_matrix_finds_its_predictions_for_the_reading(cli: Cli, file: Path, matrix: Path) -> None:
    reading = ("-k", 3, "--reading", "--sigma", "0.2", *RUN)
    direct = cli("inpca", file, "--geodesic", "3", *reading)
    for extra in ((), ("--predictions", file, "-o", file.with_name("told.h5"))):
        done = cli("inpca", matrix, *extra, *reading)
        assert done.status == 0, done.err
        assert done.records[0]["reading_rmsd"] == pytest.approx(direct.records[0]["reading_rmsd"], abs=1e-8)
    part = cli("distances", file, "--samples", 15, "--seed", 3, "-o", file.with_name("part.h5"), *RUN).records[0][
        "path"
    ]
    assert cli("inpca", part, "--seed", 3, *reading).status == 0
    done = cli("inpca", part, "--seed", 4, "-o", file.with_name("other.h5"), *reading)
    assert done.status == 1
    assert "other samples than the embedded models" in done.err
    file.unlink()
    assert "p.h5 does not exist" in cli("inpca", matrix, "--force", *reading).err


def test_a_matrix_of_unknown_models_has_no_reading(cli: Cli, tmp_path: Path) -> None:
    points = np.random.default_rng(0).normal(size=(6, 3))
    values = ((points[:, None] - points[None]) ** 2).sum(-1)
    rows = Table.from_rows([{"key": f"k{i}", "name": f"m{i}"} for i in range(6)])
    path = tmp_path / "own.h5"
    write_matrix(path, values, MatrixHead("euclidean", rows, rows, True, 10, 3, identity={"a": 1}))
    done = cli("inpca", path, "-k", 3, *RUN)
    assert done.status == 0, done.err
    assert (done.records[0]["method"], done.records[0]["explained_stress"][2]) == ("pca", pytest.approx(1))
    told = cli("inpca", path, "-k", 3, "--reading", "--force", *RUN)
    assert told.status == 2
    assert "--predictions FILE" in told.err


def test_twice_is_a_skip_and_another_configuration_a_conflict(cli: Cli, matrix: Path) -> None:
    first = cli("inpca", matrix, "-k", 3, *RUN)
    again = cli("inpca", matrix, "-k", 3, *RUN)
    assert "nothing to do" in again.err
    assert again.records[0] | {"seconds": 0} == first.records[0] | {"seconds": 0}
    other = cli("inpca", matrix, "-k", 4, *RUN)
    assert other.status == 1
    assert "its dims is 3, not 4" in other.err
    assert cli("inpca", matrix, "-k", 4, "--force", *RUN).records[0]["dims"] == 4
    assert cli("inpca", matrix, "-o", matrix, *RUN).status == 1


def test_a_pipe_of_distances(cli: Cli, matrix: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stdin:
        def __iter__(self) -> object:
            return iter([json.dumps({"kind": "distances", "path": str(matrix)})])

        def isatty(self) -> bool:
            return False

    monkeypatch.setattr("sys.stdin", Stdin())
    assert cli("inpca", "-q", *RUN).out.strip() == str(matrix.with_name("p-bhattacharyya-inpca.h5"))


def test_a_terminal_gets_a_row_a_dimension(cli: Cli, matrix: Path) -> None:
    done = cli("inpca", matrix, "-k", 3, "--format", "table", *RUN)
    rows = [line.split() for line in done.out.splitlines() if line.strip()[:1].isdigit()]
    assert [row[0] for row in rows] == ["1", "2", "3"]
    assert all(row[2] in "+−" for row in rows)
    assert "24 embedded, 5 references" in done.err


def test_few_models_have_few_dimensions(cli: Cli, matrix: Path) -> None:
    done = cli("inpca", matrix, "--where", "run == 'r0' and step < 3", *RUN)
    assert done.records[0]["dims"] == 2
    assert "3 models have 2 dimensions at most, not 10" in done.err


def test_without_enough_passes_the_residual_is_told(cli: Cli, matrix: Path) -> None:
    done = cli("inpca", matrix, "-k", 2, "--solver", "krylov", "--max-passes", 2, "--tolerance", "1e-300", *RUN)
    assert done.status == 0
    assert done.records[0]["converged"] or "not converged" in done.err


def infinite(path: Path) -> Path:
    values = np.ones((5, 5)) - np.eye(5)
    values[1, 3] = values[3, 1] = np.inf
    rows = Table.from_rows([{"key": f"k{i}", "name": f"m{i}", "reference": ""} for i in range(5)])
    write_matrix(path, values, MatrixHead("skl", rows, rows, True, 10, 3, identity={"a": 1}))
    return path


def test_an_infinite_distance_is_named(cli: Cli, tmp_path: Path) -> None:
    done = cli("inpca", infinite(tmp_path / "d.h5"), *RUN)
    assert done.status == 1
    assert "m1 and m3 are infinitely far apart (skl)" in done.err
    assert "--cap X" in done.err
    assert cli("inpca", tmp_path / "d.h5", "--where", "name != 'm3'", *RUN).status == 0


def test_identical_models_and_one_model(cli: Cli, file: Path) -> None:
    log_probs, labels, _ = trained()
    same = write_predictions(file.with_name("same.h5"), log_probs[[3, 3, 3]], labels=labels)
    done = cli("inpca", same.path, *RUN)
    assert done.status == 1
    assert "all 3 models predict the same" in done.err
    assert not file.with_name("same-inpca.h5").exists()
    alone = write_predictions(file.with_name("alone.h5"), log_probs[[3]], labels=labels)
    for extra in ((), ("--no-truth", "--no-ignorance", "--geodesic", "0")):
        done = cli("inpca", alone.path, *extra, *RUN)
        assert done.status in (1, 2)
        assert "1 model cannot be embedded" in done.err or "there is one model" in done.err


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["{matrix}", "--method", "pca"], 2, "--method pca is of euclidean"),
        (["{matrix}", "--distance", "skl"], 2, "holds bhattacharyya distances, not skl"),
        (["{file}", "--method", "pca", "--distance", "skl"], 2, "--method pca is of the distance euclidean, not skl"),
        (["{matrix}", "--samples", "5"], 2, "--samples chooses samples of predictions"),
        (["{matrix}", "--fit-samples", "5"], 2, "--fit-samples chooses samples of predictions"),
        (["{file}", "--fit-samples", "999"], 2, "has 24 samples"),
        (["{matrix}", "--fit-on", "1"], 2, "needs 2 at least"),
        (["{matrix}", "--fit-on", "step > 99"], 2, "no model fulfils --fit-on"),
        (["{matrix}", "--where", "step > 99"], 2, "no model"),
        (["{matrix}", "--weights", "network"], 2, "holds texts, not numbers"),
        (["{matrix}", "--weights", "tims"], 2, "did you mean 'times'?"),
        (["{matrix}", "--near", "0.7,0.3"], 2, "no pair of progress values"),
        (["{file}", "--reading", "-k", "2"], 2, "the reading compares 3 dimensions"),
        (["{file}", "--reading", "--near", "0.9,0.99", "--sigma", "1e-4"], 1, "no model has progress near 0.9"),
        (["{file}", "--memory", "1kB"], 2, "too little"),
        (["{matrix}", "--memory", "10kB"], 2, "too little"),
        (["{file}", "{matrix}", "-o", "x.h5"], 2, "2 embeddings cannot go to one --out"),
        (["{file}", "--fit-on", "5", "--references", "embedded"], 2, "does not go with"),
        (["nowhere.h5"], 1, "does not exist"),
        (["{file}", "--project", "nowhere.h5"], 1, "does not exist"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_a_hint(
    cli: Cli, file: Path, matrix: Path, arguments: list[str], status: int, told: str
) -> None:
    done = cli("inpca", *(a.format(file=file, matrix=matrix) for a in arguments), *RUN)
    assert (done.status, done.out) == (status, "")
    assert told in done.err
    assert "Traceback" not in done.err


def test_an_embedding_needs_something_to_be_done_with_it(cli: Cli, file: Path, matrix: Path) -> None:
    out = matrix.with_name("e.h5")
    assert cli("inpca", matrix, "-k", 3, "-o", out, *RUN).status == 0
    done = cli("inpca", out, *RUN)
    assert done.status == 2
    assert "is an embedding already" in done.err
    assert "--reading is for making an embedding" in cli("inpca", out, "--align", out, "--reading", *RUN).err
    skl = cli("distances", file, "--distance", "skl", *RUN).records[0]["path"]
    assert "the embedding is of bhattacharyya" in cli("inpca", out, "--project", skl, *RUN).err
    assert "holds all of its models already" in cli("inpca", out, "--project", matrix, *RUN).err
    log_probs, labels, _ = trained()
    few = write_predictions(file.with_name("few.h5"), log_probs[:3], labels=labels, split="train", name="few")
    new = cli("distances", few.path, *RUN).records[0]["path"]
    done = cli("inpca", out, "--project", new, *RUN)
    assert done.status == 1
    assert "lacks distances to models that shaped the embedding: model 0, model 1, model 2 and 21 more" in done.err
    turned = cli("distances", file, few.path, "-o", file.with_name("turned.h5"), *RUN).records[0]["path"]
    assert "the new models first" in cli("inpca", out, "--project", turned, *RUN).err
    assert "--project takes predictions or distances" in cli("inpca", out, "--project", out, *RUN).err


def test_progress_values_of_the_means() -> None:
    assert parse_near("0.3,0.7") == (0.3, 0.7)
    for text in ("0.3", "a,b", "0.5,0.5", "0.2,1.2"):
        with pytest.raises(UsageError):
            parse_near(text)


def test_a_dry_run_writes_nothing(cli: Cli, file: Path, matrix: Path) -> None:
    (plan,) = cli("inpca", matrix, "--dry-run", *RUN).records
    assert (plan["kind"], plan["models"], plan["solver"], plan["passes"]) == ("plan", 29, "dense", 2)
    (plan,) = cli("inpca", file, "--dry-run", "--solver", "krylov", "--max-passes", 9, *RUN).records
    assert (plan["models"], plan["passes"]) == (24 + 52, 9)
    assert plan["distance_operations"] == 76 * 75 // 2 * SAMPLES * CLASSES
    assert not list(file.parent.glob("*inpca*"))


def test_distances_of_trajectories_are_embedded_too(cli: Cli, tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((5, 5))
    values = np.triu(values, 1) + np.triu(values, 1).T
    rows = Table.from_rows([{"key": f"r{i}", "name": f"run {i}", "reference": ""} for i in range(5)])
    path = tmp_path / "runs.h5"
    head = MatrixHead("trajectories", rows, rows, True, 10, 3, identity={"a": 1})
    write_trajectories(path, values, head, points=Table({}), averages=Table({}))
    done = cli("inpca", path, "-k", 2, "--where", "name != 'run 4'", *RUN)
    assert done.status == 0, done.err
    np.testing.assert_allclose(done.records[0]["eigenvalues"], plain(values[:4, :4], 2)[0], atol=1e-9)
