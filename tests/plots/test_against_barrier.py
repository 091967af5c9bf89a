"""Kernel velocity and nonlinear advantage against the error barrier: what is drawn is what was given."""

import json
from pathlib import Path
from typing import Any

import pytest

from landscape_cli.errors import UsageError
from landscape_cli.plots.against_barrier import against_barrier_figure
from tests.conftest import Cli

pytest.importorskip("matplotlib", reason="figures are an extra")


def velocities() -> list[dict[str, Any]]:
    walls = ((0.0, 0.5, 0.1), (1.0, 0.02, None), (0.5, 0.2, 0.05), (3.0, None, None))
    return [
        {"kind": "kernel-velocity", "path": "runs/p", "form": "full", "epoch": e, "dt": 0.5, "velocity": 0.2 + v,
         "samples": 9, "error_barrier": b, "error_barrier_sd": s}
        for v, (e, b, s) in enumerate(walls)
    ]  # fmt: skip


def linearized() -> list[dict[str, Any]]:
    return [
        {"kind": "linearization", "parent": "runs/p", "order": 1, "spawn_epoch": e, "test_error": 0.1, "advantage": a,
         "advantage_sd": 0.01, "repeats": 2}
        for e, a in ((0.0, 0.06), (1.0, 0.02), (4.0, 0.0))
    ]  # fmt: skip


def barriers() -> list[dict[str, Any]]:
    return [
        {"kind": "barrier", "a": f"runs/at{e}-{n}", "b": f"runs/at{e}-{n + 1}", "split": split, "spawn_epoch": e,
         "step_a": 10, "step_b": 10, "error_a": 0.1, "error_b": 0.1}
        | {f"{risk}_{reading}": wall + 0.1 * n + (split == "train") for risk in ("error", "loss")
           for reading in ("sup", "mid", "chord")}
        for split in ("train", "test")
        for e, wall in ((0.0, 0.4), (1.0, 0.02))
        for n in (0, 2)
    ]  # fmt: skip


def drawn(figure: Any) -> list[tuple[str, list[float]]]:
    """Label and place of each point."""
    return [
        (point.get_label(), [float(point[0].get_xdata()[0]), float(point[0].get_ydata()[0])])
        for point in figure.axes[0].containers
    ]


def test_velocity_against_barrier_is_a_point_an_epoch_with_both() -> None:
    figure = against_barrier_figure(velocities())
    assert drawn(figure) == [("0", [50, 0.2]), ("0.5", [20, 2.2]), ("1", [2, 1.2])]
    first, _, last = figure.axes[0].containers
    assert [first.has_xerr, first.has_yerr, last.has_xerr] == [True, False, False]
    assert "rank correlation -0.50" in " ".join(figure.axes[0].texts[0].get_text().split())
    with pytest.raises(UsageError, match="1 epochs have both"):
        against_barrier_figure(velocities()[:1])
    with pytest.raises(UsageError, match="several runs"):
        against_barrier_figure([*velocities(), {**velocities()[0], "path": "runs/q"}])


def test_a_barrier_that_never_changes_has_no_ranks() -> None:
    same = [{**record, "error_barrier": 0.1} for record in velocities()]
    assert "rank" not in against_barrier_figure(same).axes[0].texts[0].get_text()


def test_advantage_against_the_mean_barrier_of_siblings_on_test_images(cli: Cli, tmp_path: Path) -> None:
    files = tmp_path / "linearized.jsonl", tmp_path / "barriers.jsonl"
    for file, records in zip(files, (linearized(), barriers()), strict=True):
        file.write_text("".join(f"{json.dumps(record)}\n" for record in records))
    out = tmp_path / "f.png"
    (record,) = cli("plot", *files, "-o", out).records
    assert (record["figure"], out.exists()) == ("against-barrier", True)
    told = cli("plot", *files, "-o", out, "--force", "--kind", "advantage")
    assert (told.status, "no figure 'advantage'" in told.err) == (2, True)
    alone = cli("plot", files[0], "--kind", "against-barrier", "-o", out, "--force")
    assert (alone.status, "no error barriers of siblings" in alone.err) == (2, True)
    none = cli("plot", *files, "--where", "order == 2", "-o", out, "--force")
    assert (none.status, "Traceback" in none.err) == (2, False)
    assert cli("plot", *files, "--preview").status == 0

    summary = [
        {"kind": "barrier-summary", "spawn_epoch": e, "error_sup_mean": m, "error_sup_std": 0.07}
        for e, m in ((0.0, 0.5), (1.0, 0.12))
    ]
    assert drawn(against_barrier_figure(linearized(), summary)) == [("0", [50, 6]), ("1", [12, 2])]
    with pytest.raises(UsageError, match="several orders"):
        against_barrier_figure([*linearized(), {**linearized()[0], "order": 2}], summary)
