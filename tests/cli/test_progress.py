import csv
import json
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import Cli
from tests.jobs.made_predictions import random_log_probs, write_predictions


@pytest.fixture
def file(tmp_path: Path) -> Path:
    columns = {"opt": ["sgd", "adam", "", "sgd", "adam"], "epoch": [1.0, 2.0, 3.0, 4.0, np.nan]}
    return write_predictions(tmp_path / "p.h5", random_log_probs(5, 12, 3), columns=columns).path


def test_a_record_a_model(cli: Cli, file: Path) -> None:
    done = cli("progress", file, "--columns", "opt")
    assert done.status == 0
    assert [r["name"] for r in done.records] == [f"model {i}" for i in range(5)]
    assert {r["kind"] for r in done.records} == {"progress"}
    assert [r["opt"] for r in done.records] == ["sgd", "adam", None, "sgd", "adam"]
    assert all(0 <= r["progress"] <= 1 for r in done.records)


def test_sorted_by_a_column(cli: Cli, file: Path) -> None:
    values = [r["progress"] for r in cli("progress", file, "--sort", "progress").records]
    assert values == sorted(values)
    values = [r["progress"] for r in cli("progress", file, "--sort", "progress", "--descending").records]
    assert values == sorted(values, reverse=True)
    assert [r["epoch"] for r in cli("progress", file, "--sort", "epoch", "--descending").records] == [4, 3, 2, 1, None]
    names = [r["opt"] for r in cli("progress", file, "--columns", "opt", "--sort", "opt").records]
    assert names == ["adam", "adam", "sgd", "sgd", None]
    done = cli("progress", file, "--sort", "nothing")
    assert done.status == 2
    assert "no column 'nothing'" in done.err


def test_some_models_and_samples(cli: Cli, file: Path) -> None:
    done = cli("progress", file, "--where", "opt == 'sgd'", "--samples", "6", "--label-smoothing", "0.1")
    assert [r["name"] for r in done.records] == ["model 0", "model 3"]
    assert all(r["error"] * 6 == pytest.approx(round(r["error"] * 6)) for r in done.records)
    assert cli("progress", file, "--where", "opt == 'x'").status == 2


def test_written_as_json_lines_or_csv(cli: Cli, file: Path) -> None:
    done = cli("progress", file, "-o", file.with_name("p.jsonl"))
    assert [json.loads(line) for line in file.with_name("p.jsonl").read_text().splitlines()] == done.records
    assert cli("progress", file, "-o", file.with_name("p.csv")).status == 0
    with file.with_name("p.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert [float(r["progress"]) for r in rows] == [r["progress"] for r in done.records]
    assert rows[-1]["epoch"] == ""
    done = cli("progress", file, "--samples", "3", "-o", file.with_name("p.csv"))
    assert done.status == 1
    assert "other results" in done.err


def test_a_table_for_people(cli: Cli, file: Path) -> None:
    done = cli("progress", file, "--format", "table", "--columns", "opt")
    assert "to geodesic" in done.out
    assert "opt" in done.out
    assert "model 3" in done.out


def test_several_files_are_measured_one_after_the_other(cli: Cli, file: Path) -> None:
    other = write_predictions(file.with_name("q.h5"), random_log_probs(2, 7, 3)).path
    done = cli("progress", file, other)
    assert [r["path"] for r in done.records] == [str(file)] * 5 + [str(other)] * 2
    done = cli("progress", file, "nowhere.h5")
    assert done.status == 1
    assert "nowhere.h5 does not exist" in done.err
    assert done.out == ""
