"""The demonstration, shortened: two epochs, two spawn times."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from landscape_cli.jobs import demonstration
from landscape_cli.plots import style
from tests.conftest import Cli


@pytest.fixture(autouse=True)
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demonstration, "PROTOCOL", replace(demonstration.PROTOCOL, epochs=2))
    monkeypatch.setattr(demonstration, "SPAWN_TIMES", "0ep,1ep")


def test_the_demonstration_ends_with_numbers_and_a_picture(cli: Cli, tmp_path: Path) -> None:
    out = tmp_path / "demo"
    done = cli("demo", "--out", out, "--parents", "2", "--jobs", "1", "--format", "jsonl")
    assert done.status == 0
    assert [(r["kind"], r["spawn_epoch"], r["pairs"]) for r in done.records] == [
        ("barrier-summary", 0.0, 2), ("barrier-summary", 1.0, 2),
    ]  # fmt: skip
    assert all(0 <= r["error_sup_min"] <= r["error_sup_mean"] <= r["error_sup_max"] for r in done.records)
    assert "landscape train --data digits" in done.err
    assert f"picture: {out / 'barrier.png'}" in done.err
    assert (out / "barrier.png").read_bytes().startswith(b"\x89PNG")
    report = out / "report"
    assert len((report / "barriers.jsonl").read_text().splitlines()) == 4
    assert {json.loads(line)["kind"] for line in (report / "paths.jsonl").read_text().splitlines()} == {"path-point"}
    page = (report / "index.html").read_text()
    assert page.count('<figure id="') == page.count('<img alt="') == 6
    assert len(list((out / "runs").iterdir())) == 2 + 2 * 2 * 2
    again = cli("demo", "--out", out, "--parents", "2", "--jobs", "1", "--format", "jsonl")
    assert again.records == done.records
    assert cli("demo", "--out", out, "--parents", "2", "-q").out == f"{out}\n"


def test_without_matplotlib_it_says_how_to_get_the_picture(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(style, "available", lambda: False)
    done = cli("demo", "--out", tmp_path / "demo", "--parents", "1", "--jobs", "1", "--format", "table")
    assert done.status == 0
    assert "pip install 'landscape-cli[plot]'" in done.err
    assert "█" in done.out


def test_the_commands_it_shows_make_its_runs(cli: Cli, tmp_path: Path) -> None:
    """The command lines in the notes are those of the runs: given by hand they find them finished."""
    import shlex

    out = tmp_path / "demo"
    cli("demo", "--out", out, "--parents", "1", "--jobs", "1")
    folder = out / "runs" / "parent0"
    train = shlex.split(demonstration.train_command(folder, 0))[1:]
    train[train.index("--epochs") + 1] = "2"  # shortened above
    (record,) = cli(*train).records
    assert record["skipped"] is True
    records = cli(*shlex.split(demonstration.spawn_command(folder))[1:], "--jobs", "1").records
    assert [r["skipped"] for r in records] == [True] * 4
