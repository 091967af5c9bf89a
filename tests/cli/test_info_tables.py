"""A folder of runs as a table: chosen, sorted, cut and written."""

import csv
import io
import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from landscape_cli.cli.output import csv_text
from tests.conftest import REPOSITORY, SAMPLES, Cli

NAMES = ["early-a", "early-b", "late-a", "late-b", "parent"]


def names(done) -> list[str]:
    assert done.status == 0, done.err
    return [Path(record["path"]).name for record in done.records]


def test_a_folder_is_a_table_of_its_runs(cli: Cli) -> None:
    assert names(cli("info", SAMPLES)) == NAMES


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("parent == None", ["parent"]),
        ("spawn_epoch > 0", ["late-a", "late-b"]),
        ("network == 'simple-cnn' and lr < 0.1 and batch_size == 64 and optimizer == 'sgd'", NAMES),
        ("child == 1", ["early-b", "late-b"]),
        ("name in ['parent', 'late-a']", ["late-a", "parent"]),
        ("parameters < 10", []),
    ],
)
def test_where(cli: Cli, condition: str, expected: list[str]) -> None:
    done = cli("info", SAMPLES, "--where", condition)
    assert names(done) == expected
    plain = {record["path"]: record for record in cli("info", SAMPLES).records}
    assert all(record == plain[record["path"]] for record in done.records)  # what a pipe would have got without it
    assert done.err == ("" if expected else "no run fulfils the condition\n")


def test_sort_both_ways_what_is_missing_last(cli: Cli) -> None:
    rising = cli("info", SAMPLES, "--sort", "test_loss").records
    losses = [record["test_loss"] for record in rising]
    assert losses == sorted(losses)
    assert names(cli("info", SAMPLES, "--sort", "-test_loss")) == [Path(r["path"]).name for r in reversed(rising)]
    for order in ("spawn_epoch", "-spawn_epoch"):
        found = names(cli("info", SAMPLES, "--sort", order))
        assert found[-1] == "parent"
        assert found[0].startswith("late" if order.startswith("-") else "early")


def test_columns_and_csv(cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "runs.csv"
    asked = ("info", SAMPLES, "--columns", "lr,optimizer,seed_order,network_options", "--sort", "name")
    (first, *_) = cli(*asked, "-o", out).records
    assert list(first) == ["kind", "path", "lr", "optimizer", "seed_order", "network_options"]
    assert (first["lr"], first["network_options"]) == (0.07, {"width": 0.5})
    text = cli(*asked, "--format", "csv").out
    assert text == out.read_text()
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["network_options"] for row in rows] == ['{"width": 0.5}'] * 5
    table = cli(*asked, "--format", "table").out
    assert "optimizer" in table
    assert len(cli("info", SAMPLES, "--columns", "all").records[0]) > 30
    done = cli("info", SAMPLES, "--columns", "lr", "-o", out)
    assert (done.status, "holds other results" in done.err) == (1, True)
    assert cli("info", SAMPLES, "--columns", "lr", "-o", out, "--force").status == 0


def test_csv_is_read_back_to_the_same_values() -> None:
    """By Python's reader and by this toolkit's own."""
    records = [
        {"a": 'x,"y"\n z', "b": 1, "c": None, "d": {"k": [1, 2]}, "e": 1e-17, "f": "ünï", "g": "one\rtwo", "h": "007"},
        {"a": "-", "b": 2**53 + 1, "h": " ", "i": math.nan, "j": True},
    ]
    text = csv_text(records)
    names, *rows = csv.reader(io.StringIO(text, newline=""))
    assert names == list("abcdefghij")
    assert rows[0] == ['x,"y"\n z', "1", "", '{"k": [1, 2]}', "1e-17", "ünï", "one\rtwo", "007", "", ""]
    assert rows[1] == ["-", str(2**53 + 1), "", "", "", "", "", " ", "nan", "True"]
    assert json.loads(rows[0][3]) == records[0]["d"]


def test_a_name_is_meant_whatever_its_capitals_and_hyphens(cli: Cli) -> None:
    assert "did you mean 'lr'?" in cli("info", SAMPLES, "--columns", "LR").err
    assert "did you mean 'batch_size'?" in cli("info", SAMPLES, "--sort", "Batch-Size").err


def test_closed_streams_are_no_failure(tmp_path: Path) -> None:
    """``>&-``, ``2>&-``, and a reader that leaves before the help is written."""

    def status(line: str) -> tuple[int, str]:
        command = f"{sys.executable} -m landscape_cli"
        done = subprocess.run(
            ["bash", "-c", line.replace("landscape", command, 1)], capture_output=True, text=True, check=False,
            cwd=REPOSITORY,
        )  # fmt: skip
        return done.returncode, done.stderr

    assert status("landscape info sample_checkpoints >&-") == (0, "")
    assert status("landscape --version >&-") == (0, "")
    assert status("landscape info nowhere 2>&-") == (1, "")
    assert status("set -o pipefail; landscape --help | true") == (141, "")


def test_runs_of_sub_folders_where_a_folder_has_none_itself(cli: Cli, tmp_path: Path) -> None:
    for name, home in (("parent", "a"), ("early-a", "a"), ("late-a", "b/c"), ("late-b", ".hidden")):
        shutil.copytree(SAMPLES / name, tmp_path / home / name)
    shutil.copytree(SAMPLES / "early-b", tmp_path / "a" / "parent" / "inside")
    assert [Path(r["path"]).relative_to(tmp_path) for r in cli("info", tmp_path).records] == [
        Path("a/early-a"), Path("a/parent"), Path("b/c/late-a")
    ]  # fmt: skip
    assert names(cli("info", tmp_path, "--where", "spawn_epoch == 8")) == ["late-a"]
    assert names(cli("info", tmp_path / "a")) == ["early-a", "parent"]
    assert names(cli("info", tmp_path / "a", tmp_path / "b" / "c" / "late-a", "--sort", "name")) == [
        "early-a",
        "late-a",
        "parent",
    ]


def test_what_holds_no_run_is_named(cli: Cli, tmp_path: Path) -> None:
    done = cli("info", tmp_path, "--where", "lr > 0")
    assert (done.status, done.out) == (2, "")
    assert "holds no run" in done.err
    done = cli("info", SAMPLES / "early-a" / "checkpoints" / "step-00000330.safetensors", "--sort", "lr")
    assert done.status == 1
    assert "is no run directory" in done.err


def test_a_text_without_quotes_is_told_of(cli: Cli) -> None:
    refused = cli("info", SAMPLES, "--where", "status == finished")
    assert (refused.status, "a text stands in quotes: 'finished'" in refused.err) == (2, True)
