import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from landscape_cli.compute.device import placement
from landscape_cli.datasets import DataSpec, load
from landscape_cli.datasets.transforms import balanced_index
from landscape_cli.errors import (
    ConflictError,
    DataError,
    InterruptedRunError,
    LandscapeError,
    UsageError,
)
from landscape_cli.jobs import predicting
from landscape_cli.jobs.importing import ImportPlan, run_import
from landscape_cli.jobs.pairs import Subject
from landscape_cli.jobs.predicting import PredictionJob, PredictionRun
from landscape_cli.jobs.sample_choice import SampleChoice
from landscape_cli.networks.registry import NetworkSpec, build
from landscape_cli.store.checkpoints import read_tensors
from landscape_cli.store.locate import locate
from landscape_cli.store.predictions import Predictions
from tests.conftest import SAMPLES

FEW = SampleChoice(samples=60, seed=1)


def subjects(*names: object, **extra: Any) -> list[Subject]:
    return [Subject(locate(str(name)), extra=extra) for name in names]


class Done:
    """What a job left: its records, what it told, what failed."""

    def __init__(self, found: Sequence[Subject], path: Path, split: str = "test", **changes: Any) -> None:
        options = {name: changes.pop(name) for name in ("network", "data") if name in changes}
        self.notes: list[str] = []
        self.failed: list[LandscapeError] = []
        job = PredictionJob(outs={split: path}, **{"samples": FEW, **changes})  # type: ignore[dict-item]
        self.run = PredictionRun(
            found, job, placement("cpu"), note=self.notes.append, failed=self.failed.append, **options
        )
        self.records = self.run.run()


def tiny_run(path: Path, network: str, seed: int = 0, **options: Any) -> Path:
    """An imported run of an untrained network on digits, its batch-norm statistics its own."""
    torch.manual_seed(seed)
    net = build(NetworkSpec(network, options), (1, 8, 8), 10)
    for name, buffer in net.named_buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 1.5) if "var" in name else buffer.normal_(0, 0.3)
    weights = path.with_suffix(".safetensors")
    save_file({k: v.clone() for k, v in net.state_dict().items()}, weights)
    run_import(ImportPlan(sources=[weights], out=path, network=NetworkSpec(network, options), data=DataSpec("digits")))
    return path


def plain_predictions(network: NetworkSpec, weights: dict[str, torch.Tensor], split: str) -> np.ndarray:
    """The oracle: all samples in one float64 pass of the plain module."""
    data = load(DataSpec("digits"))
    net = build(network, data.input_shape, data.classes)
    net.load_state_dict(weights)
    part = data.train if split == "train" else data.test
    assert data.normalization is not None
    unit = 255.0 if part.inputs.dtype == np.uint8 else 1.0
    x = (torch.as_tensor(part.inputs).double() / unit - data.normalization.mean[0]) / data.normalization.std[0]
    with torch.no_grad():
        return torch.log_softmax(net.double().eval()(x), dim=1).numpy()


def test_predictions_are_those_of_the_plain_module(tmp_path: Path) -> None:
    """Several networks in one file, with and without batch norm, against float64 passes of each module."""
    runs = {
        "cnn": (SAMPLES / "early-a", NetworkSpec("simple-cnn", {"width": 0.5})),
        "resnet": (tiny_run(tmp_path / "resnet", "resnet20", width=0.25), NetworkSpec("resnet20", {"width": 0.25})),
        "mlp": (tiny_run(tmp_path / "mlp", "mlp", widths=(8,)), NetworkSpec("mlp", {"widths": (8,)})),
    }
    done = Done(subjects(*(run for run, _ in runs.values())), tmp_path / "p.h5", samples=SampleChoice())
    found = Predictions.open(tmp_path / "p.h5")
    values = found.read()
    for number, (run, network) in enumerate(runs.values()):
        expected = plain_predictions(network, locate(str(run)).tensors(), "test")
        np.testing.assert_allclose(values[number], expected, atol=5e-5, rtol=1e-5)
        np.testing.assert_allclose(np.exp(values[number].astype(np.float64)).sum(-1), 1, atol=1e-6)
    assert found.table.column("network").tolist() == ["simple-cnn", "resnet20", "mlp"]
    assert done.records == [
        {
            "kind": "predictions", "path": str(tmp_path / "p.h5"), "split": "test", "models": 3, "samples": 355,
            "classes": 10, "data": "digits", "fingerprint": found.fingerprint, "dtype": "float32", "added": 3,
            "skipped": 0, "bytes": (tmp_path / "p.h5").stat().st_size,
        }
    ]  # fmt: skip
    assert (done.notes, done.failed) == ([], [])


def test_loss_and_error_are_those_that_training_recorded(tmp_path: Path) -> None:
    paths = {split: tmp_path / f"{split}.h5" for split in ("train", "test")}
    run = PredictionRun(
        subjects(SAMPLES / "early-a", f"{SAMPLES / 'parent'}@8ep"),
        PredictionJob(outs=paths), placement("cpu"), failed=lambda error: None,
    )  # fmt: skip
    assert [r["samples"] for r in run.run()] == [1442, 355]
    for split, path in paths.items():
        table = Predictions.open(path).table
        np.testing.assert_allclose(table.column("loss"), table.column(f"{split}_loss"), rtol=1e-4)
        assert np.array_equal(table.column("error"), table.column(f"{split}_error"))
    assert table.rows()[1] | {
        "name": f"{SAMPLES / 'parent'}@8ep", "run": str(SAMPLES / "parent"), "step": 176, "epoch": 8.0, "seed": 0,
        "network": "simple-cnn", "optimizer": "sgd", "lr": 0.07, "batch_size": 64, "data": "digits",
    } == table.rows()[1]  # fmt: skip
    child = table.rows()[0]
    assert (child["parent"], child["spawn_epoch"], child["child"]) == (str(SAMPLES / "parent"), 0.0, 0.0)
    assert locate(child["name"]).hash() == locate(str(SAMPLES / "early-a")).hash()  # names can be given back


def test_models_are_known_again_wherever_their_run_lies(tmp_path: Path) -> None:
    path = tmp_path / "p.h5"
    Done(subjects(SAMPLES / "early-a"), path)
    moved = Path(shutil.copytree(SAMPLES / "early-a", tmp_path / "moved" / "early-a"))
    again = Done(subjects(moved, f"{SAMPLES / 'early-a'}@15ep"), path)
    assert again.records[0] | {"models": 1, "added": 0, "skipped": 1} == again.records[0]
    assert any("is given twice" in note for note in again.notes)
    assert any("holds this model already" in note for note in again.notes)
    twin = Path(shutil.copytree(SAMPLES / "early-a", tmp_path / "twin"))  # the same tensors, another run
    assert Done(subjects(twin), path).records[0]["models"] == 2


def test_a_model_added_later_is_the_one_made_at_once(tmp_path: Path) -> None:
    names = [SAMPLES / "early-a", SAMPLES / "late-a", f"{SAMPLES / 'parent'}@0ep"]
    Done(subjects(*names[:2]), tmp_path / "a.h5")
    done = Done(subjects(*names), tmp_path / "a.h5")
    assert done.records[0] | {"models": 3, "added": 1, "skipped": 2} == done.records[0]
    Done(subjects(*names), tmp_path / "b.h5")
    one, two = (Predictions.open(tmp_path / name) for name in ("a.h5", "b.h5"))
    assert one.identity() == two.identity()
    assert np.array_equal(one.read(), two.read())
    assert one.table.rows() == two.table.rows()


def test_interrupted_and_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = [SAMPLES / "early-a", SAMPLES / "early-b", SAMPLES / "late-a", SAMPLES / "late-b"]
    whole = Done(subjects(*names), tmp_path / "whole.h5")
    real, calls = predicting.log_probabilities, []

    def interrupted(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return real(*arguments, **options)

    monkeypatch.setattr(predicting, "log_probabilities", interrupted)
    with pytest.raises(InterruptedRunError, match="stopped at model 3 of 4"):
        Done(subjects(*names), tmp_path / "p.h5")
    assert len(Predictions.open(tmp_path / "p.h5")) == 2
    done = Done(subjects(*names), tmp_path / "p.h5")
    assert done.records[0] | {"added": 2, "skipped": 2} == done.records[0]
    assert len(calls) == 5
    assert (tmp_path / "p.h5").read_bytes() == (tmp_path / "whole.h5").read_bytes()
    assert whole.records[0]["added"] == 4


def broken(path: Path, source: Path, change: Any) -> Path:
    """A copy of a run whose last checkpoint is changed."""
    shutil.copytree(source, path)
    file = max((path / "checkpoints").glob("*"))
    tensors = read_tensors([file])
    change(tensors)
    save_file(tensors, file)
    return path


def test_models_that_fail_do_not_stop_the_others(tmp_path: Path) -> None:
    names = [
        broken(tmp_path / "nan", SAMPLES / "early-a", lambda t: t["head.bias"].fill_(np.nan)),
        SAMPLES / "early-b",
        broken(tmp_path / "huge", SAMPLES / "late-a", lambda t: t["head.weight"].mul_(1e38)),
        broken(tmp_path / "short", SAMPLES / "late-a", lambda t: t.pop("head.bias")),
        SAMPLES / "late-b",
    ]
    (tmp_path / "cut").mkdir()
    cut = tmp_path / "cut" / "m.safetensors"
    cut.write_bytes(b"12")
    done = Done(subjects(*names), tmp_path / "p.h5")
    assert done.records[0] | {"models": 2, "added": 2, "skipped": 0} == done.records[0]
    told = [error.message for error in done.failed]
    assert len(told) == 3
    assert "nan" in told[0]
    assert "'head.bias' holds NaN" in told[0]
    assert "huge@15ep: its prediction for sample" in told[1]
    assert "is NaN or infinite" in told[1]
    assert "'head.bias'" in told[2]
    assert Predictions.open(tmp_path / "p.h5").table.column("run").tolist() == [str(names[1]), str(names[4])]
    alone = Done(subjects(names[0]), tmp_path / "alone.h5")
    assert (len(alone.failed), alone.records, (tmp_path / "alone.h5").exists()) == (1, [], False)


def test_other_numbers_of_classes_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("nets.py").write_text(
        "import torch\ndef build():\n    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 7))\n"
    )
    save_file({"1.weight": torch.zeros(7, 64), "1.bias": torch.zeros(7)}, "m.safetensors")
    done = Done(
        subjects("m.safetensors"), tmp_path / "p.h5", network=NetworkSpec("nets.py:build"), data=DataSpec("digits")
    )
    assert done.failed[0].message == "m.safetensors tells 7 classes apart, digits has 10"


def test_foreign_checkpoints_need_a_network_and_data(tmp_path: Path) -> None:
    (file,) = (SAMPLES / "early-a" / "checkpoints").glob("*")
    for name in ("step_100", "step_200"):
        save_file(read_tensors([file]), tmp_path / f"{name}.safetensors")
    found = subjects(tmp_path / "step_100.safetensors", tmp_path / "step_200.safetensors")
    network = NetworkSpec("simple-cnn", {"width": "0.5"})
    with pytest.raises(UsageError, match="does not say what data it belongs to"):
        Done(found, tmp_path / "p.h5", network=network)
    with pytest.raises(UsageError, match="does not say what network"):
        Done(found, tmp_path / "p.h5", data=DataSpec("digits"))
    done = Done(found, tmp_path / "p.h5", network=network, data=DataSpec("digits"))
    assert done.records[0]["models"] == 2  # the same tensors in two places are two models
    theirs = Predictions.open(tmp_path / "p.h5")
    assert theirs.table.column("step").tolist() == [100, 200]
    assert theirs.table.column("name").tolist() == [str(s.checkpoint.path) for s in found]
    Done(subjects(SAMPLES / "early-a"), tmp_path / "ours.h5")
    assert np.array_equal(theirs.read(slice(1)), Predictions.open(tmp_path / "ours.h5").read())


def test_a_subset_is_seeded_recorded_and_class_balanced(tmp_path: Path) -> None:
    labels = load(DataSpec("digits")).test.labels
    whole = Done(subjects(SAMPLES / "early-a"), tmp_path / "all.h5", samples=SampleChoice())
    every = Predictions.open(tmp_path / "all.h5")
    assert every.sample_ids.tolist() == list(range(355))
    assert every.description["sampling"] == {"samples": 355, "of": 355, "how": "all"}
    Done(subjects(SAMPLES / "early-a"), tmp_path / "few.h5")
    few = Predictions.open(tmp_path / "few.h5")
    assert few.sample_ids.tolist() == balanced_index(labels, 60, 10, 1).tolist()
    assert few.description["sampling"] == {"samples": 60, "of": 355, "how": "balanced subset", "seed": 1}
    assert np.bincount(few.labels).tolist() == [6] * 10
    np.testing.assert_allclose(few.read(), every.read(samples=few.sample_ids), atol=1e-5)
    (tmp_path / "ids.txt").write_text("30\n\n4\n354\n")
    np.save(tmp_path / "ids.npy", np.array([30, 4, 354]))
    for name in ("ids.txt", "ids.npy"):
        Done(subjects(SAMPLES / "early-a"), tmp_path / f"{name}.h5", samples=SampleChoice(ids=tmp_path / name))
        listed = Predictions.open(tmp_path / f"{name}.h5")
        assert listed.sample_ids.tolist() == [30, 4, 354]
        assert listed.labels.tolist() == labels[[30, 4, 354]].tolist()
        np.testing.assert_allclose(listed.read(), every.read(samples=listed.sample_ids), atol=1e-5)
    with pytest.raises(ConflictError, match="60 samples are there, 61 were asked for"):
        Done(subjects(SAMPLES / "early-a"), tmp_path / "few.h5", samples=SampleChoice(61, 1))
    with pytest.raises(ConflictError, match="of the split is there"):
        Done(subjects(SAMPLES / "early-a"), tmp_path / "few.h5", samples=SampleChoice(60, 2))
    assert whole.records[0]["samples"] == 355


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1\nx\n", "line 2 is no whole number: 'x'"),
        ("1\n1\n", "sample 1 comes twice"),
        ("355\n", "355 is no sample: the split has 355"),
        ("-1\n", "-1 is below zero"),
        ("\n", "names no sample"),
        (None, "does not exist"),
    ],
)
def test_wrong_lists_of_samples_are_named(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "ids.txt"
    if text is not None:
        path.write_text(text)
    with pytest.raises(DataError, match=message):
        Done(subjects(SAMPLES / "early-a"), tmp_path / "p.h5", samples=SampleChoice(ids=path))


@pytest.mark.parametrize(
    ("array", "message"),
    [(np.zeros((2, 2)), "has shape"), (np.array([0.5]), "not whole"), (np.array(["a"]), "no whole numbers")],
)
def test_wrong_arrays_of_samples_are_named(tmp_path: Path, array: np.ndarray, message: str) -> None:
    np.save(tmp_path / "ids.npy", array)
    with pytest.raises(DataError, match=message):
        Done(subjects(SAMPLES / "early-a"), tmp_path / "p.h5", samples=SampleChoice(ids=tmp_path / "ids.npy"))


def test_other_data_is_refused_or_told(tmp_path: Path) -> None:
    data = load(DataSpec("digits"))
    arrays = {"x_train": data.train.inputs, "y_train": data.train.labels, "y_test": data.test.labels[::-1].copy()}
    np.savez(tmp_path / "own.npz", **arrays, x_test=data.test.inputs[::-1])
    weights = tmp_path / "w.safetensors"
    save_file(locate(str(SAMPLES / "early-a")).tensors(), weights)
    network = NetworkSpec("simple-cnn", {"width": "0.5"})
    spec = DataSpec(f"npz:{tmp_path / 'own.npz'}")
    run_import(ImportPlan(sources=[weights], out=tmp_path / "own", network=network, data=spec))
    both = subjects(SAMPLES / "early-b", tmp_path / "own")
    with pytest.raises(UsageError, match=r"own was trained on other data than the models before it \(digits\)"):
        Done(both, tmp_path / "p.h5")
    assert not (tmp_path / "p.h5").exists()
    done = Done(both, tmp_path / "p.h5", data=DataSpec("digits"))
    assert done.records[0]["models"] == 2
    assert [note for note in done.notes if "was trained on other data than the digits it predicts here" in note]
    assert Done(both, tmp_path / "train.h5", "train").records[0]["models"] == 2  # its training samples are the same
    with pytest.raises(ConflictError, match="is not the data asked for"):
        Done(subjects(tmp_path / "own"), tmp_path / "p.h5")


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("name,tag\n{parent}@8ep,x\n{parent},y\n", ["x", "y"]),
        ("path,tag\n{parent}/checkpoints/step-00000176.safetensors,x\n", ["x", ""]),
        ("run,tag,optimizer\nparent,1,mine\n", [1, 1]),
        ('{{"run": "{parent}/", "tag": 0.5}}\n', [0.5, 0.5]),
    ],
)
def test_metadata_is_joined_by_name_path_or_run(tmp_path: Path, text: str, columns: list[Any]) -> None:
    table = tmp_path / "m.csv"
    table.write_text(text.format(parent=SAMPLES / "parent"))
    Done(subjects(f"{SAMPLES / 'parent'}@8ep", SAMPLES / "parent"), tmp_path / "p.h5", metadata=table)
    found = Predictions.open(tmp_path / "p.h5")
    assert found.table.column("tag").tolist() == columns
    assert found.table.column("optimizer").tolist() == (["mine"] * 2 if "mine" in text else ["sgd"] * 2)
    assert len(found.where(f"tag == {columns[0]!r}")) in (1, 2)


def test_metadata_of_models_that_are_there_is_renewed(tmp_path: Path) -> None:
    Done(subjects(SAMPLES / "parent"), tmp_path / "p.h5")
    (tmp_path / "m.csv").write_text("run,tag,lr\nparent,x,9\n")
    done = Done(subjects(SAMPLES / "parent"), tmp_path / "p.h5", metadata=tmp_path / "m.csv")
    assert done.records[0]["added"] == 0
    assert (
        Predictions.open(tmp_path / "p.h5").table.rows()[0] | {"tag": "x", "lr": 9}
        == (Predictions.open(tmp_path / "p.h5").table.rows()[0])
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("run,tag\nparent,1\nnobody,2\nelse,3\n", "no model here has the run 'nobody', 'else'"),
        ("tag\n1\n", "says of no model which it is"),
        ("run,loss\nparent,1\n", "'loss' is filled by what is computed"),
        ("name,tag\n{parent},1\n{parent}@15ep,2\n", "are for the same model"),
        ("run,tag\nparent\n", "line 2 has 1 cells"),
    ],
)
def test_metadata_that_does_not_fit_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "m.csv").write_text(text.format(parent=SAMPLES / "parent"))
    with pytest.raises(DataError, match=message):
        Done(subjects(SAMPLES / "parent"), tmp_path / "p.h5", metadata=tmp_path / "m.csv")
    assert not (tmp_path / "p.h5").exists()


def test_entries_that_came_through_a_pipe_become_columns(tmp_path: Path) -> None:
    Done(subjects(SAMPLES / "parent", tag="x", lr=99, note=None, key="no"), tmp_path / "p.h5")
    row = Predictions.open(tmp_path / "p.h5").table.rows()[0]
    assert (row["tag"], row["lr"]) == ("x", 0.07)  # what the run says of itself stands
    assert "note" not in row
    assert row["key"] != "no"


def test_float16_files_say_what_rounding_did(tmp_path: Path) -> None:
    done = Done(subjects(SAMPLES / "early-a", SAMPLES / "late-a"), tmp_path / "p.h5", dtype="float16")
    error = done.records[0]["float16_error"]
    assert 0 < error["probability"] < 2**-11 / np.e * 1.001
    assert 0 < error["log_prob"] < 0.1
    assert error["clipped"] == 0


def test_a_plan_counts_what_is_missing(tmp_path: Path) -> None:
    Done(subjects(SAMPLES / "early-a"), tmp_path / "p.h5")
    job = PredictionJob(outs={"test": tmp_path / "p.h5"}, samples=FEW)
    run = PredictionRun(
        subjects(SAMPLES / "early-a", SAMPLES / "early-b", SAMPLES / "late-a"), job, placement("cpu"),
        failed=lambda error: None,
    )  # fmt: skip
    (plan,) = run.plan()
    assert plan | {"models": 2, "skipped": 1, "samples": 60, "bytes": 2 * 60 * 10 * 4, "images": 120} == plan
    assert plan["operations"] > 120 * 72_442
    assert len(Predictions.open(tmp_path / "p.h5")) == 1
    with pytest.raises(ConflictError, match="dtype"):
        PredictionRun(
            subjects(SAMPLES / "early-a"), PredictionJob(outs=job.outs, samples=FEW, dtype="float16"),
            placement("cpu"), failed=lambda error: None,
        ).plan()  # fmt: skip


def test_too_little_room_is_told_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=100))
    done = Done(subjects(SAMPLES / "early-a"), tmp_path / "new" / "p.h5")
    assert any("may grow to 2,400 bytes, but the disk has 100 left" in note for note in done.notes)
