from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from landscape_cli.errors import ConflictError, DataError, UsageError
from landscape_cli.jobs.foreign_predictions import ForeignJob, import_predictions
from landscape_cli.jobs.prediction_values import recognize, to_log_probabilities
from landscape_cli.jobs.sample_choice import SampleChoice
from landscape_cli.store.predictions import Predictions
from tests.store.small_predictions import log_probs

LABELS = np.arange(30) % 4
EXACT = log_probs(3, 30, 4)
FORMS = {
    "probabilities": np.exp(EXACT),
    "log-probabilities": EXACT,
    "logits": EXACT + np.random.default_rng(1).normal(size=(3, 30, 1)) * 5 + 2,
}


def put(path: Path, values: NDArray[Any], **beside: Any) -> Path:
    """A file of predictions in the format that its name says."""
    if path.suffix == ".npy":
        np.save(path, values)
    elif path.suffix == ".npz":
        np.savez(path, values=values, **beside)
    else:
        with h5py.File(path, "w") as file:
            file["group/values"] = values
            for name, array in beside.items():
                file[name] = array
    return path


def taken(source: Path, **changes: Any) -> tuple[Predictions, dict[str, Any], list[str]]:
    notes: list[str] = []
    out = changes.pop("out", source.with_name("out.h5"))
    record = import_predictions(ForeignJob(source, out, **changes), note=notes.append)
    return Predictions.open(out), record, notes


@pytest.mark.parametrize("kind", FORMS)
@pytest.mark.parametrize("suffix", [".npz", ".npy", ".h5"])
@pytest.mark.parametrize("said", [True, False])
def test_all_forms_in_all_formats_are_the_same_predictions(tmp_path: Path, kind: str, suffix: str, said: bool) -> None:
    np.save(tmp_path / "y.npy", LABELS)
    beside = {"labels": LABELS} if suffix != ".npy" else {}
    source = put(tmp_path / f"theirs{suffix}", FORMS[kind], **beside)
    found, record, notes = taken(
        source, dtype="float64", values=kind if said else "auto", labels=None if beside else tmp_path / "y.npy"
    )
    np.testing.assert_allclose(found.read(), EXACT, atol=1e-12)
    assert found.labels.tolist() == LABELS.tolist()
    assert found.table.column("name").tolist() == [f"theirs:{n}" for n in range(3)]
    assert notes == ([] if said else [f"{source}: its numbers are {kind}"])
    assert record | {"kind": "predictions", "models": 3, "added": 3, "skipped": 0, "data": "theirs"} == record


def test_float32_and_one_model_and_a_second_time(tmp_path: Path) -> None:
    source = put(tmp_path / "one.npz", np.exp(EXACT[0]).astype(np.float32), labels=LABELS)
    found, record, _ = taken(source)
    assert (len(found), found.dtype, found.table.column("name").tolist()) == (1, "float32", ["one"])
    np.testing.assert_allclose(found.read()[0], EXACT[0], atol=1e-5)
    _, again, notes = taken(source)
    assert again | {"added": 0, "skipped": 1} == again
    assert again["fingerprint"] == record["fingerprint"]
    assert "holds this model already" in notes[-1]
    both, more, _ = taken(put(tmp_path / "two.npz", EXACT, labels=LABELS))
    assert more | {"models": 4, "added": 3} == more
    assert len(both.table.where("loss > 0").nonzero()[0]) == 4
    with pytest.raises(ConflictError, match="not the data asked for"):
        taken(put(tmp_path / "other.npz", EXACT, labels=LABELS[::-1]))


def test_names_ids_and_metadata(tmp_path: Path) -> None:
    beside = {"labels": LABELS, "sample_ids": np.arange(30) + 100}
    named = put(tmp_path / "named.h5", EXACT, names=np.array([b"a", b"b", b"c"]), **beside)
    (tmp_path / "joined.csv").write_text("name,lr\nc,0.3\na,0.1\n")
    found, _, _ = taken(named, metadata=tmp_path / "joined.csv")
    assert found.sample_ids.tolist() == list(range(100, 130))
    assert found.table.column("name").tolist() == ["a", "b", "c"]
    assert found.table.column("lr").tolist() == [0.1, pytest.approx(np.nan, nan_ok=True), 0.3]
    unnamed = put(tmp_path / "unnamed.npz", EXACT, **beside)
    (tmp_path / "rows.jsonl").write_text('{"name": "x", "opt": "sgd"}\n{"name": 7, "opt": "adam"}\n{"opt": "sgd"}\n')
    found, _, _ = taken(unnamed, metadata=tmp_path / "rows.jsonl", force=True)
    assert found.table.column("name").tolist() == ["x", "7", "unnamed:2"]
    assert len(found.where("opt == 'sgd'")) == 2
    (tmp_path / "short.csv").write_text("opt\nsgd\n")
    with pytest.raises(DataError, match="has 1 rows for the 3 models"):
        taken(unnamed, metadata=tmp_path / "short.csv")
    (tmp_path / "wrong.csv").write_text("name,opt\nz,sgd\n")
    with pytest.raises(DataError, match="no model here has the name 'z'"):
        taken(named, metadata=tmp_path / "wrong.csv")
    (tmp_path / "loss.csv").write_text("loss\n1\n2\n3\n")
    with pytest.raises(DataError, match="'loss' is filled by what is computed"):
        taken(unnamed, metadata=tmp_path / "loss.csv")


def test_a_subset_of_their_samples(tmp_path: Path) -> None:
    source = put(tmp_path / "t.npz", EXACT, labels=LABELS)
    found, record, _ = taken(source, samples=SampleChoice(samples=8, seed=0))
    assert record["samples"] == 8
    assert sorted(np.bincount(found.labels).tolist()) == [2, 2, 2, 2]
    np.testing.assert_allclose(found.read(), EXACT[:, found.sample_ids], atol=1e-6)


def test_certain_models_keep_their_zeros(tmp_path: Path) -> None:
    values = np.eye(4)[LABELS][None]
    found, _, notes = taken(put(tmp_path / "t.npz", values, labels=LABELS))
    assert "90 probabilities are exactly zero" in notes[-1]
    assert np.isneginf(found.read()).sum() == 90
    assert found.table.column("loss").tolist() == found.table.column("error").tolist() == [0.0]
    assert taken(put(tmp_path / "ints.npz", values.astype(int), labels=LABELS), array="values")[1]["models"] == 2


def changed(form: str, place: tuple[int, ...], value: float) -> NDArray[np.float64]:
    values = FORMS[form].copy()
    values[place] = value
    return values


WRONG: list[tuple[NDArray[Any], dict[str, Any], dict[str, Any], str]] = [
    (changed("probabilities", (1, 5, 2), 0.9), {}, {}, r"t:1: the probabilities of sample 5 sum to 1\.\d+, not to one"),
    (FORMS["probabilities"] * 0.9, {}, {}, "do not sum to one: broken probabilities, or logits"),
    (FORMS["probabilities"] * 0.9, {}, {"values": "probabilities"}, "sample 0 sum to 0.9"),
    (FORMS["log-probabilities"] - 0.1, {}, {}, "broken log-probabilities, or logits"),
    (FORMS["log-probabilities"] - 0.1, {}, {"values": "log-probabilities"}, "sample 0 sum to 0.904"),
    (changed("probabilities", (2, 7, 0), np.nan), {}, {}, r"t:2: the prediction for sample 7 is NaN \(class 0\)"),
    (changed("logits", (0, 7, 3), np.nan), {}, {}, r"t:0: the prediction for sample 7 is NaN \(class 3\)"),
    (changed("logits", (2, 3, 1), np.inf), {}, {"values": "logits"}, "t:2: the largest number of sample 3 is inf"),
    (changed("probabilities", (0, 2, 1), -0.5), {}, {"values": "probabilities"}, "sample 2 has the probability -0.5"),
    (FORMS["logits"], {}, {"values": "probabilities"}, "t:0: "),
    (FORMS["logits"], {}, {"values": "log-probabilities"}, "t:0: the probabilities of sample 0 sum to"),
    (EXACT, {"labels": LABELS + 1}, {}, "labels run from 1 to 4, which does not fit 4 classes"),
    (EXACT, {"labels": LABELS - 1}, {}, "labels run from -1 to 2"),
    (EXACT, {"labels": LABELS[:29]}, {}, "30 samples but 29 labels"),
    (EXACT, {"labels": LABELS + 0.5}, {}, "not whole"),
    (EXACT, {"labels": np.eye(4)[LABELS]}, {}, "one number a sample"),
    (EXACT, {"labels": None}, {}, "has no array 'labels'"),
    (EXACT, {"sample_ids": np.arange(29)}, {}, "30 samples but 29 sample ids"),
    (EXACT, {"names": np.array(["a"])}, {}, "3 models but 1 names"),
    (EXACT[0, 0], {}, {"array": "values"}, r"has shape \(4,\)"),
    (EXACT[None], {}, {"array": "values"}, r"has shape \(1, 3, 30, 4\)"),
    (EXACT[:0], {}, {}, r"has shape \(0, 30, 4\)"),
    (np.full((3, 30, 4), "x"), {}, {"array": "values"}, "no numbers"),
]


@pytest.mark.parametrize(("values", "beside", "job", "message"), WRONG, ids=range(len(WRONG)))
def test_what_is_wrong_is_named_before_anything_is_written(
    tmp_path: Path, values: NDArray[Any], beside: dict[str, Any], job: dict[str, Any], message: str
) -> None:
    arrays = {name: array for name, array in ({"labels": LABELS} | beside).items() if array is not None}
    source = put(tmp_path / "t.npz", values, **arrays)
    with pytest.raises(DataError, match=message):
        taken(source, **job)
    assert [p.name for p in tmp_path.iterdir()] == ["t.npz"]


def test_which_array_is_meant(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", one=EXACT, two=EXACT, labels=LABELS)
    with pytest.raises(UsageError, match=r"which array holds the predictions\? It has one \(3, 30, 4\), two") as caught:
        taken(tmp_path / "t.npz")
    assert "--array" in (caught.value.hint or "")
    with pytest.raises(UsageError, match="has no array 'onne'") as caught:
        taken(tmp_path / "t.npz", array="onne")
    assert caught.value.hint == "did you mean 'one'?"
    assert taken(tmp_path / "t.npz", array="two")[1]["models"] == 3
    np.savez(tmp_path / "u.npz", features=EXACT, probs=np.exp(EXACT), labels=LABELS)
    assert taken(tmp_path / "u.npz", out=tmp_path / "u.h5")[1]["models"] == 3


@pytest.mark.parametrize("name", ["t.npz", "t.npy", "t.h5", "t.mat"])
def test_damaged_sources_are_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="does not exist"):
        taken(tmp_path / name)
    (tmp_path / name).write_text("hello")
    with pytest.raises((DataError, UsageError), match=r"cannot be read|is no \.npz"):
        taken(tmp_path / name)


def test_pickles_are_not_opened(tmp_path: Path) -> None:
    np.savez(tmp_path / "t.npz", values=np.array([{}], dtype=object), labels=LABELS)
    with pytest.raises(DataError, match="cannot be read"):
        taken(tmp_path / "t.npz")


def test_our_own_files_come_in_too(tmp_path: Path) -> None:
    first, _, _ = taken(put(tmp_path / "t.npz", EXACT, labels=LABELS), out=tmp_path / "a.h5")
    again, record, _ = taken(tmp_path / "a.h5", out=tmp_path / "b.h5")
    assert record["models"] == 3
    np.testing.assert_allclose(again.read(), first.read(), atol=1e-6)


logits = st.lists(st.lists(st.floats(-300, 300), min_size=3, max_size=3), min_size=1, max_size=4).map(np.array)


@settings(max_examples=60, deadline=None)
@given(logits)
def test_normalised_predictions_are_recognised_and_made_exact(values: NDArray[np.float64]) -> None:
    exact = to_log_probabilities(values, "logits", "m")
    np.testing.assert_allclose(np.exp(exact).sum(1), 1, atol=1e-12)
    np.testing.assert_allclose(np.diff(exact, axis=1), np.diff(values, axis=1), atol=1e-9)
    assert recognize(exact, "m") == "log-probabilities"
    assert recognize(np.exp(exact), "m") == "probabilities"
    np.testing.assert_allclose(to_log_probabilities(exact, "log-probabilities", "m"), exact, atol=1e-12)
    back = to_log_probabilities(np.exp(exact), "probabilities", "m")
    normal = exact > -700  # below, the probability itself is no normal number of float64
    np.testing.assert_allclose(back[normal], exact[normal], atol=1e-9)
