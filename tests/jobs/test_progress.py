import dataclasses
import math
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from landscape_cli.errors import DataError, InterruptedRunError, UsageError
from landscape_cli.jobs import progress as jobs
from landscape_cli.jobs.model_rows import ModelRows
from landscape_cli.jobs.progress import measure_progress, models_at_a_time
from tests.jobs.made_predictions import plain_distances, plain_references, random_log_probs, write_predictions


def made(folder: Path, log_probs: np.ndarray | None = None, **how: Any) -> Any:
    values = random_log_probs(5, 20, 4) if log_probs is None else log_probs
    return write_predictions(folder / how.pop("file", "p.h5"), values, **how)


def test_reference_models_have_their_own_progress(tmp_path: Path) -> None:
    labels = np.arange(20) % 4
    times = [0.1, 0.5, 0.9]
    predictions = made(tmp_path, plain_references(labels, 4, times=times), labels=labels)
    records = list(measure_progress(predictions))
    assert [r["progress"] for r in records] == pytest.approx([0, *times, 1], abs=1e-6)
    assert records[0]["progress"] == 0.0
    assert records[-1]["progress"] == 1.0
    assert [r["distance_to_geodesic"] for r in records] == pytest.approx([0] * 5, abs=1e-6)
    assert records[-1]["truth"] == 0
    assert records[0]["ignorance"] == pytest.approx(0, abs=1e-15)
    assert (records[-1]["error"], records[-1]["loss"]) == (0, 0)


def test_distances_to_the_ends_are_those_of_the_plain_formulas(tmp_path: Path) -> None:
    predictions = made(tmp_path)
    records = list(measure_progress(predictions))
    values = predictions.read()
    ends = plain_references(predictions.labels, 4, times=[])
    expected = plain_distances(values, ends, "bhattacharyya")
    np.testing.assert_allclose([r["ignorance"] for r in records], expected[:, 0], rtol=1e-9)
    np.testing.assert_allclose([r["truth"] for r in records], expected[:, 1], rtol=1e-9)
    loss = -values[:, np.arange(20), predictions.labels].mean(1)
    np.testing.assert_allclose([r["loss"] for r in records], loss, rtol=1e-9)
    np.testing.assert_allclose([2 * r["truth"] for r in records], loss, rtol=1e-9)
    assert [r["error"] for r in records] == pytest.approx((values.argmax(-1) != predictions.labels).mean(1))
    smooth = list(measure_progress(predictions, smoothing=0.1))
    end = plain_references(predictions.labels, 4, times=[], smoothing=0.1)[1:]
    np.testing.assert_allclose(
        [r["truth"] for r in smooth], plain_distances(values, end, "bhattacharyya")[:, 0], rtol=1e-9
    )


def test_any_number_of_models_at_a_time_gives_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predictions = made(tmp_path)
    whole = list(measure_progress(predictions))
    seen: list[tuple[int, int]] = []
    monkeypatch.setattr(jobs, "models_at_a_time", lambda *a: 2)
    assert list(measure_progress(predictions, report=lambda done, of: seen.append((done, of)))) == whole
    assert seen == [(2, 5), (4, 5), (5, 5)]


def test_records_have_the_columns_asked_for(tmp_path: Path) -> None:
    predictions = made(tmp_path, columns={"opt": list("abcde"), "step": [1, 2, 3, 4, 5]})
    record = next(measure_progress(predictions, columns=["opt", "seed"]))
    assert list(record) == [
        "kind", "path", "name", "progress", "distance_to_geodesic", "truth", "ignorance", "error", "loss", "step",
        "opt", "seed",
    ]  # fmt: skip
    assert (record["kind"], record["path"], record["name"]) == ("progress", str(predictions.path), "model 0")
    assert (record["opt"], record["seed"], record["step"]) == ("a", 0, 1)
    assert "key" in next(measure_progress(predictions, columns=["all"]))
    with pytest.raises(UsageError, match="'optt'") as caught:
        next(measure_progress(predictions, columns=["optt"]))
    assert "opt" in (caught.value.hint or "")


def test_bad_input(tmp_path: Path) -> None:
    predictions = made(tmp_path)
    with pytest.raises(DataError, match="label 9"):
        next(measure_progress(dataclasses.replace(predictions, labels=np.full(20, 9))))
    with pytest.raises(UsageError, match="too little for one model") as caught:
        next(measure_progress(predictions, memory=1000))
    least = int((caught.value.hint or "").split("--memory ")[1].removesuffix("MB")) * 10**6
    assert models_at_a_time(ModelRows(predictions), least) >= 1


def test_a_signal_stops_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "models_at_a_time", lambda *a: 1)
    records = measure_progress(made(tmp_path))
    assert math.isfinite(next(records)["progress"])
    os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(InterruptedRunError, match="after 1 of 5"):
        list(records)
