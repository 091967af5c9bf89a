import json
from pathlib import Path

import pytest
import torch

from landscape_cli.store.checkpoints import read_tensors
from tests.conftest import SAMPLES, Cli

FAST = ["--points", "3", "--refine", "0", "--split", "test"]
NAMES = ("early-a", "early-b", "late-a", "late-b")


def test_children_are_paired_with_their_siblings(cli: Cli) -> None:
    done = cli("barrier", *(SAMPLES / name for name in NAMES), *FAST)
    assert [(r["spawn_epoch"], r["error_sup"] > 0.5) for r in done.records] == [(0.0, True), (8.0, False)]


def test_times_of_one_run_are_paired_in_order(cli: Cli, parent: Path) -> None:
    done = cli("barrier", parent, "--at", "0ep,1ep,last", "--pairs", "consecutive", *FAST)
    labels = [(Path(r["a"]).name, Path(r["b"]).name) for r in done.records]
    assert labels == [("parent@0ep", "parent@1ep"), ("parent@1ep", "parent")]
    assert [r["step"] for r in done.records] == [None, None]


def test_records_and_paths_go_to_files(cli: Cli, tmp_path: Path) -> None:
    out, paths = tmp_path / "b.jsonl", tmp_path / "paths.jsonl"
    done = cli("barrier", SAMPLES / "early-a", SAMPLES / "early-b", *FAST, "--out", out, "--curve-out", paths)
    assert out.read_text() == done.out
    points = [json.loads(line) for line in paths.read_text().splitlines()]
    assert [p["alpha"] for p in points] == [0.0, 0.5, 1.0]
    assert cli("barrier", SAMPLES / "early-a", SAMPLES / "early-b", *FAST, "--out", out).status == 0  # the same again
    refused = cli("barrier", SAMPLES / "late-a", SAMPLES / "late-b", *FAST, "--out", out)
    assert refused.status == 1
    assert "exists and holds other results" in refused.err
    assert out.read_text() == done.out
    assert cli("barrier", SAMPLES / "late-a", SAMPLES / "late-b", *FAST, "--out", out, "--force").status == 0
    assert out.read_text() != done.out


def test_a_pair_that_fails_does_not_stop_the_others(cli: Cli, siblings: list[Path]) -> None:
    (file,) = (siblings[0] / "checkpoints").glob("*")
    file.write_bytes(file.read_bytes()[:-9])
    done = cli("barrier", *siblings, SAMPLES / "late-a", SAMPLES / "late-b", "--pairs", "given", *FAST)
    assert done.status == 3
    assert [r["spawn_epoch"] for r in done.records] == [8.0]
    assert "is damaged" in done.err
    assert "1 of 2 pairs failed" in done.err
    assert cli("barrier", *siblings, *FAST).status == 1  # one of one is no batch


def test_a_dry_run_measures_nothing(cli: Cli) -> None:
    (plan,) = cli("barrier", SAMPLES / "early-a", SAMPLES / "early-b", "--dry-run").records
    assert (plan["kind"], plan["network"]) == ("plan", "simple-cnn")
    assert plan["images"] == plan["points"] * (1442 + 355)


def test_layers_one_by_one_and_beyond_the_ends(cli: Cli, tmp_path: Path) -> None:
    two = (SAMPLES / "early-a", SAMPLES / "early-b")
    done = cli("barrier", *two, *FAST, "--layerwise", "--layers", "conv*", "--curve-out", tmp_path / "paths.jsonl")
    assert [r["layer"] for r in done.records] == [f"conv{i}" for i in range(1, 7)]
    points = [json.loads(line) for line in (tmp_path / "paths.jsonl").read_text().splitlines()]
    assert len(points) == 18
    assert all(p["accuracy"] == 1 - p["error"] for p in points)
    cli("barrier", *two, *FAST, "--span=-0.5,1.5", "--curve-out", tmp_path / "far.jsonl")
    far = [json.loads(line)["alpha"] for line in (tmp_path / "far.jsonl").read_text().splitlines()]
    assert far == [-0.5, 0.0, 0.5, 1.0, 1.5]


@pytest.mark.parametrize("words", [["--span", "0.2,1"], ["--span", "one,two"], ["--span", "0"], ["--layers", "conv1"]])
def test_words_that_mean_nothing(cli: Cli, words: list[str]) -> None:
    done = cli("barrier", SAMPLES / "early-a", SAMPLES / "early-b", *FAST, *words)
    assert done.status == 2
    assert done.out == ""
    assert words[0] in done.err


def test_info_of_a_run(cli: Cli) -> None:
    (record,) = cli("info", SAMPLES / "parent").records
    assert (record["kind"], record["status"], record["network"], record["data"]) == (
        "run",
        "finished",
        "simple-cnn",
        "digits",
    )
    assert record["checkpoint_epochs"] == [0, 8, 15]
    assert record["children"] == list(NAMES)
    assert record["lineage"] is None
    assert record["parameters"] == 72_442
    (child,) = cli("info", SAMPLES / "late-a").records
    assert (child["lineage"]["step"], child["parent"]) == (176, str(SAMPLES / "parent"))
    table = cli("info", SAMPLES / "late-a", "--format", "table").out
    assert "test error" in table
    assert "spawn epoch" in table


def test_info_of_folders_files_and_times(cli: Cli, tmp_path: Path) -> None:
    assert [Path(r["path"]).name for r in cli("info", SAMPLES).records] == sorted([*NAMES, "parent"])
    (record,) = cli("info", f"{SAMPLES / 'parent'}@8ep").records
    assert (record["kind"], record["step"], record["parameters"], record["dtypes"]) == (
        "checkpoint",
        176,
        72_442,
        ["F32"],
    )
    assert record["shapes"]["head.bias"] == [10]
    (file,) = (SAMPLES / "early-a" / "checkpoints").glob("*")
    assert cli("info", file).records[0]["run"] == str(SAMPLES / "early-a")
    assert cli("info", SAMPLES / "early-a", file, "-q").out.splitlines() == [str(SAMPLES / "early-a"), str(file)]


def test_info_of_a_run_in_the_middle(cli: Cli, parent: Path) -> None:
    document = json.loads((parent / "run.json").read_text())
    del document["result"]
    (parent / "run.json").write_text(json.dumps({**document, "status": "running"}))
    (record,) = cli("info", parent).records
    assert (record["status"], record["epoch"]) == ("running", 3.0)


def test_imported_runs_are_measured_like_others(cli: Cli, tmp_path: Path) -> None:
    for name in ("early-a", "early-b"):
        (file,) = (SAMPLES / name / "checkpoints").glob("*")
        torch.save({"model": read_tensors([file])}, tmp_path / f"{name}.pt")
        done = cli(
            "import", tmp_path / f"{name}.pt", "--out", tmp_path / name, "--network", "simple-cnn", "--width", "0.5",
            "--data", "digits",
        )  # fmt: skip
        assert done.records[0]["status"] == "imported"
    (theirs,) = cli("barrier", tmp_path / "early-a", tmp_path / "early-b", *FAST).records
    (ours,) = cli("barrier", SAMPLES / "early-a", SAMPLES / "early-b", *FAST).records
    assert theirs["error_sup"] == ours["error_sup"]


def test_importing_without_a_network_says_what_that_means(cli: Cli, tmp_path: Path) -> None:
    (file,) = (SAMPLES / "early-a" / "checkpoints").glob("*")
    done = cli("import", file, "--out", tmp_path / "run")
    assert done.status == 0
    assert "not checked" in done.err
    refused = cli("barrier", tmp_path / "run", SAMPLES / "early-a", *FAST)
    assert refused.status in (1, 2)
    assert "does not say what network" in refused.err


@pytest.mark.parametrize("steps", ["1,two", "1.5"])
def test_steps_that_are_none(cli: Cli, tmp_path: Path, steps: str) -> None:
    (file,) = (SAMPLES / "early-a" / "checkpoints").glob("*")
    done = cli("import", file, "--out", tmp_path / "run", "--steps", steps)
    assert done.status == 2
    assert "no list of whole numbers" in done.err
