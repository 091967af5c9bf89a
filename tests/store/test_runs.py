import json
from pathlib import Path

import pytest

from landscape_cli.errors import CheckpointError, ConflictError, UsageError
from landscape_cli.store.metrics import append_metrics, forget_after, read_metrics
from landscape_cli.store.runs import RECORD_KEYS, SCHEMA, Run, clear, first_difference
from landscape_cli.times import parse_time


def test_a_missing_path_and_a_directory_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nowhere does not exist"):
        Run.open(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"is no run directory: it has no run\.json"):
        Run.open(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": "one"}', "\xff"])
def test_a_damaged_description_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "run.json").write_text(text, encoding="latin-1")
    with pytest.raises(CheckpointError, match=r"run\.json is damaged"):
        Run.open(tmp_path)


def test_a_newer_schema_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"schema": SCHEMA + 1}))
    with pytest.raises(CheckpointError, match=f"newer landscape .schema {SCHEMA + 1}") as caught:
        Run.open(tmp_path)
    assert "upgrade" in (caught.value.hint or "")


def test_times_of_a_run(parent: Path) -> None:
    run = Run.open(parent)
    assert run.steps() == [0, 4, 8, 12]
    assert run.checkpoint_at(parse_time("2ep")).step == 8
    assert run.checkpoint_at(parse_time("last")).step == 12
    with pytest.raises(CheckpointError, match=r"no checkpoint at 0\.5ep .step 2.") as caught:
        run.checkpoint_at(parse_time("0.5ep"))
    assert "step:0 (0ep), step:4 (1ep)" in (caught.value.hint or "")


def test_epochs_of_a_run_that_does_not_know_them(tmp_path: Path) -> None:
    run = Run.write(tmp_path, {"steps_per_epoch": None})
    with pytest.raises(UsageError, match="does not know how many steps"):
        run.step_of(parse_time("1ep"))
    with pytest.raises(CheckpointError, match="holds no checkpoint yet"):
        run.step_of(parse_time("last"))


def test_the_record_has_the_keys_that_are_ours(parent: Path) -> None:
    assert Run.open(parent).record(skipped=True).keys() == RECORD_KEYS


def test_clearing_deletes_ours_and_nothing_else(parent: Path) -> None:
    (parent / "notes.txt").write_text("mine")
    clear(parent)
    assert {p.name for p in parent.iterdir() if p.name != ".lock"} == {"notes.txt"}
    with pytest.raises(ConflictError, match="is no run directory"):
        clear(parent)
    assert (parent / "notes.txt").read_text() == "mine"


def test_metrics_survive_a_kill_in_the_middle_of_a_line(tmp_path: Path) -> None:
    for step in range(4):
        append_metrics(tmp_path, {"step": step})
    path = tmp_path / "metrics.jsonl"
    path.write_text(path.read_text()[:-5])
    assert [row["step"] for row in read_metrics(tmp_path)] == [0, 1, 2]
    forget_after(tmp_path, 1)
    assert [row["step"] for row in read_metrics(tmp_path)] == [0, 1]
    path.write_text("damaged\n" + path.read_text())
    with pytest.raises(CheckpointError, match="line 1"):
        read_metrics(tmp_path)


def test_first_difference_names_the_entry() -> None:
    assert first_difference({"a": {"b": [1], "c": 2}}, {"a": {"b": [1], "c": 3}}) == ("a.c", 2, 3)
    assert first_difference({"a": 1}, {}) == ("a", 1, None)
    assert first_difference({"a": {"b": 1}}, {"a": {"b": 1}}) is None
