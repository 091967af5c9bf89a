"""Training curves: what is drawn is what runs recorded."""

import json
from pathlib import Path

import pytest

from landscape_cli.errors import UsageError
from landscape_cli.plots.barrier import barrier_figure
from landscape_cli.plots.training import training_figure
from landscape_cli.store.metrics import read_metrics
from tests.conftest import SAMPLES, Cli

pytest.importorskip("matplotlib", reason="figures are an extra")


def test_each_split_is_a_line(tmp_path: Path) -> None:
    run = SAMPLES / "parent"
    error, loss = training_figure([run]).axes
    rows = read_metrics(run)
    assert error.lines[0].get_xydata().tolist() == [[r["epoch"], 100 * r["test_error"]] for r in rows]
    assert loss.lines[1].get_ydata().tolist() == [r["train_loss"] for r in rows]
    assert loss.get_yscale() == "log"
    assert len(training_figure([run, SAMPLES / "late-a"], width=3.4).axes) == 2
    with pytest.raises(UsageError, match="no metrics"):
        training_figure([tmp_path])


def test_from_the_shell_beside_the_run(cli: Cli, parent: Path) -> None:
    (record,) = cli("plot", parent).records
    assert (record["figure"], Path(record["path"])) == ("training", parent.with_name("parent-training.png"))
    assert Path(record["path"]).stat().st_size > 10_000
    assert cli("plot", parent, SAMPLES / "early-a", "-o", parent / "two.svg").status == 0
    (folder,) = cli("plot", SAMPLES, SAMPLES / "early-a", "-o", parent / "all.svg").records
    assert (folder["figure"], folder["source"]) == ("training", "the run records")
    assert "5 runs" in (parent / "all.svg").read_text()  # early-a is no repeat of itself
    refused = cli("plot", parent / "checkpoints", "-o", parent / "x.png")
    assert (refused.status, "is a folder, no result" in refused.err) == (1, True)


def test_a_curve_is_drawn_beside_the_line() -> None:
    points = [
        {"kind": "path-point", "a": "A", "b": "B", "split": "test", "alpha": alpha, "error": error, **walked}
        for walked, errors in (({"along": "runs/curve"}, (0.1, 0.12, 0.1)), ({}, (0.1, 0.9, 0.1)))
        for alpha, error in zip((0.0, 0.5, 1.0), errors, strict=True)
    ]
    (axes,) = barrier_figure(points, [], []).axes
    assert [line.get_label() for line in axes.lines] == ["along runs/curve", "along the straight line"]
    assert [max(line.get_ydata()) for line in axes.lines] == [12, 90]


def test_clean_and_patch_only_errors_get_panels_where_they_are_recorded(tmp_path: Path) -> None:
    rows = [
        {"epoch": e, **{f"{s}_{q}": v for s in ("train", "test", "clean", "patch") for q in ("error", "loss")}}
        for e, v in ((0.0, 0.9), (1.0, 0.5), (2.0, 0.25))
    ]
    for row, patch in zip(rows, (0.9, 0.8, 0.1), strict=True):
        row["patch_error"] = patch
    (tmp_path / "patched").mkdir()
    (tmp_path / "patched" / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    *_, clean, patch = training_figure([SAMPLES / "parent", tmp_path / "patched"]).axes
    assert [line.get_xydata().tolist() for line in clean.lines] == [[[0, 90], [1, 50], [2, 25]]]
    assert patch.lines[0].get_ydata() == pytest.approx([90, 80, 10])
    assert patch.get_ylabel() == "error on the patch alone (%)"
    assert len(training_figure([tmp_path / "patched"], width=3.4).axes) == 4


def test_repeats_become_their_mean_and_spread(tmp_path: Path) -> None:
    for name, errors, seed, lr in (
        ("a-s0", (0.9, 0.2), 0, 0.1),
        ("a-s1", (0.7, 0.4), 1, 0.1),
        ("b-s0", (0.5, 0.5), 0, 0.2),
    ):
        run = tmp_path / name
        run.mkdir()
        document = json.loads((SAMPLES / "parent" / "run.json").read_text())
        document["config"]["seeds"] = {"init": seed}
        document["config"]["protocol"]["lr"] = lr
        (run / "run.json").write_text(json.dumps(document))
        rows = [
            {"epoch": float(k), "test_error": e, "train_error": e, "test_loss": 1.0, "train_loss": 1.0}
            for k, e in enumerate(errors)
        ]
        (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    runs = sorted(tmp_path.iterdir())
    error, _ = training_figure(runs).axes
    drawn = [line for line in error.lines if len(line.get_xdata())]
    for line, values in zip(drawn, ([80, 30], [50, 50]) * 2, strict=True):
        assert line.get_ydata() == pytest.approx(values)
    band = error.collections[0].get_paths()[0].vertices[:, 1]
    assert max(band) == pytest.approx(80 + 100 * 0.2 / 2**0.5)
    assert [text.get_text() for text in error.get_legend().get_texts()] == ["test", "train", "a (2 runs)", "b-s0"]
    alone, _ = training_figure(runs, apart=True).axes
    assert len([line for line in alone.lines if len(line.get_xdata())]) == 6


def test_children_of_one_time_are_repeats(cli: Cli, tmp_path: Path) -> None:
    from landscape_cli.plots.training import repeats

    names = [str(SAMPLES / name) for name in ("parent", "early-a", "early-b", "late-a", "late-b")]
    assert [len(members) for members in repeats(names).values()] == [1, 2, 2]
    done = cli("plot", *names[1:], "--line", "seed", "-o", tmp_path / "x.png")
    assert (done.status, "--line run" in done.err) == (2, True)
