"""At the width of a paper's column nothing reaches out of a figure, and what is in it does not lie on each other."""

from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest

from landscape_cli.plots.barrier import barrier_figure, curve_figure, layers_figure
from landscape_cli.plots.curvature import sharpness_figure
from landscape_cli.plots.embedded import Embedded
from landscape_cli.plots.embedding import embedding_figure
from landscape_cli.plots.matrices import matrix_figure
from landscape_cli.plots.pair_distances import spawn_figure
from landscape_cli.plots.plane import plane_figure
from landscape_cli.plots.style import figure
from landscape_cli.plots.tangent import velocity_figure
from landscape_cli.plots.trajectories import trajectories_figure
from landscape_cli.store.trajectories import Trajectories
from tests.plots.made_results import embedding, write_trajectories
from tests.plots.test_curvature_figures import hessians
from tests.plots.test_pair_distances import comparisons
from tests.plots.test_plane_figures import made as made_plane
from tests.plots.test_tangent_figures import distances, velocities

pytest.importorskip("matplotlib", reason="figures are an extra")

COLUMN = 3.4
LONG = "runs/a-folder-of-runs-with-a-very-long-name-indeed-and-then-some"


def paths() -> list[dict[str, Any]]:
    return [
        {
            "kind": "path-point",
            "a": f"{LONG}/{a}",
            "b": f"{LONG}-{a}",
            "split": "test",
            "alpha": x,
            "error": 0.1 + a * x,
        }
        for a in (0, 1)
        for x in (0.0, 0.5, 1.0)
    ]


def layers() -> list[dict[str, Any]]:
    return [
        {
            "kind": "barrier",
            "a": f"a{n}",
            "b": "b",
            "split": "test",
            "layer": f"block{k}.conv",
            "error_sup": 0.1 * k + n,
        }
        for k in range(4)
        for n in range(2)
    ]


def curves() -> list[dict[str, Any]]:
    return [
        {"kind": "curve", "path": f"{LONG}/{n}", "split": "test", "error_sup": 0.1, "line_error_sup": 0.3 + n}
        for n in range(2)
    ]


FIGURES: dict[str, Callable[[], Any]] = {
    "paths": lambda: barrier_figure(paths(), [], [], width=COLUMN),
    "layers": lambda: layers_figure(layers(), width=COLUMN),
    "curve": lambda: curve_figure(curves(), width=COLUMN),
    "spawn": lambda: spawn_figure(comparisons(), width=COLUMN),
    "matrix": lambda: matrix_figure(distances(LONG) + distances("runs/q"), width=COLUMN),
    "velocity": lambda: velocity_figure(velocities(), width=COLUMN),
    "sharpness": lambda: sharpness_figure(hessians(), width=COLUMN),
    "plane": lambda: plane_figure(made_plane(), width=COLUMN),
    "flat": lambda: embedding_figure(Embedded.of(embedding()), width=COLUMN),
    "solid": lambda: embedding_figure(Embedded.of(embedding()), dims=(1, 2, 3), color="epoch", width=COLUMN),
}


def shown(drawn: Any) -> list[Any]:
    """The texts of a figure without those at its ticks."""
    found = [*drawn.texts, *([drawn._suptitle] if drawn._suptitle else [])]
    for legend in drawn.legends:
        found += legend.get_texts()
    for axes in drawn.axes:
        if axes.get_visible():
            legend = axes.get_legend()
            found += [axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label, *axes.texts]
            found += legend.get_texts() if legend else []
            found += [axes.zaxis.label] if axes.name == "3d" else []
    return [text for text in found if text.get_visible() and text.get_text().strip()]


def whole(drawn: Any) -> None:
    drawn.draw_without_rendering()
    limits = drawn.bbox.padded(3)
    for text in shown(drawn):
        box = text.get_window_extent()
        inside = limits.x0 <= box.x0 and box.x1 <= limits.x1 and limits.y0 <= box.y0 and box.y1 <= limits.y1
        assert inside, (text.get_text(), box, limits)


@pytest.mark.parametrize("name", FIGURES)
def test_every_word_is_inside(name: str) -> None:
    whole(FIGURES[name]())


def test_trajectories_too_and_all_their_lines_are_alike(tmp_path: Path) -> None:
    write_trajectories(tmp_path / "t.h5", group_by=())
    drawn = trajectories_figure(Trajectories.open(tmp_path / "t.h5"), width=COLUMN)
    whole(drawn)
    assert len({line.get_marker() for line in drawn.axes[0].lines}) == 1


def test_the_names_of_three_axes_stand_clear() -> None:
    drawn = FIGURES["solid"]()
    drawn.draw_without_rendering()
    axes = next(one for one in drawn.axes if one.name == "3d")
    names = [axis.label for axis in (axes.xaxis, axes.yaxis, axes.zaxis)]
    assert [name.get_text() for name in names] == ["InPC 1", "InPC 2", "InPC 3"]
    assert "Σ₁ = 4, Σ₂ = −1.5, Σ₃ = 0.25" in " ".join(axes.texts[-1].get_text().split())
    for one, two in combinations(names, 2):
        assert not one.get_window_extent().overlaps(two.get_window_extent())
    assert all(name.get_fontsize() >= 7 for name in names)


def test_no_bar_stands_on_the_third_name() -> None:
    drawn = embedding_figure(Embedded.of(embedding()), dims=(1, 2, 3), color="epoch")
    drawn.draw_without_rendering()
    box = next(one for one in drawn.axes if one.name == "3d").zaxis.label.get_window_extent()
    bar = next(one for one in drawn.axes if one.name != "3d").get_tightbbox()
    assert not box.overlaps(bar)


def test_titles_and_labels_break_and_no_others() -> None:
    with figure(COLUMN, 2) as (drawn, axes):
        axes.set(xlabel="short", ylabel="a very long name of an axis that is much too high for it")
        axes.set_title("a title that is far too long for the width of one column of a paper")
    assert "\n" in axes.get_ylabel()
    assert "\n" in axes.get_title(loc="left")
    assert axes.get_xlabel() == "short"
    whole(drawn)
