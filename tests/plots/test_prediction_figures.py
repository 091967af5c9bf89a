import base64
import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from landscape_cli.errors import DataError, UsageError
from landscape_cli.plots import interactive
from landscape_cli.plots.barrier import barrier_figure, layers_figure
from landscape_cli.plots.coloring import coloring
from landscape_cli.plots.dendrogram import branches, dendrogram_figure, importance_figure
from landscape_cli.plots.embedded import Embedded, label_of, reference_rows, tracks
from landscape_cli.plots.embedding import embedding_figure
from landscape_cli.plots.interactive import interactive_page
from landscape_cli.plots.progress import progress_figure
from landscape_cli.plots.recognise import Result
from landscape_cli.plots.spectrum import spectrum_figure, stress_figure
from landscape_cli.plots.style import COLORS, MARKERS, save
from landscape_cli.plots.trajectories import trajectories_figure
from landscape_cli.store.tables import Table
from landscape_cli.store.trajectories import Trajectories
from tests.plots.made_results import (
    NETWORKS,
    STEPS,
    barrier_records,
    clusters,
    embedding,
    model_rows,
    progress_records,
    with_views,
    write_trajectories,
)

pytest.importorskip("matplotlib", reason="figures are an extra")
from matplotlib.colors import to_rgba


def made(**other: Any) -> Embedded:
    return Embedded.of(embedding(**other))


def by_place(points: Any) -> np.ndarray:
    points = np.asarray(points, dtype=float)
    return points[np.lexsort(points.T)]


def scattered(axes: Any) -> list[Any]:
    return [c for c in axes.collections if type(c).__name__.startswith("Path") and len(c.get_offsets()) > 1]


def texts(drawn: Any) -> list[str]:
    return [text.get_text() for legend in drawn.legends for text in legend.get_texts()]


# ---- embedding


@pytest.mark.parametrize("dims", [(1, 2), (3, 1)])
def test_the_points_drawn_are_the_models_coordinates(dims: tuple[int, ...]) -> None:
    shown = made()
    drawn = embedding_figure(shown, dims=dims, color=None)
    (points,) = scattered(drawn.axes[0])
    models = shown.coordinates[:24][:, [d - 1 for d in dims]]
    np.testing.assert_allclose(by_place(points.get_offsets()), by_place(models))


def test_text_colours_by_palette_and_numbers_by_viridis() -> None:
    shown = made()
    drawn = embedding_figure(shown, color="network")
    (points,) = scattered(drawn.axes[0])
    color_at = {tuple(p): tuple(c) for p, c in zip(points.get_offsets(), points.get_facecolors(), strict=True)}
    for row, network in enumerate(shown.table.columns["network"][:24]):
        expected = to_rgba(COLORS[NETWORKS.index(network)], 0.85)
        assert color_at[tuple(shown.coordinates[row, :2])] == pytest.approx(expected)
    assert texts(drawn) == ["network:", *NETWORKS, "geodesic", "ignorance", "truth"]

    drawn = embedding_figure(shown, color="step")
    bar = drawn.axes[1]
    assert bar.get_ylabel() == "step"
    assert (bar.get_ylim(), bar.get_yscale()) == ((0, 1000), "linear")  # 0 has no logarithm
    drawn = embedding_figure(shown, color="lr")
    assert (drawn.axes[1].get_ylim(), drawn.axes[1].get_yscale()) == (pytest.approx((0.001, 0.1)), "log")


def test_references_are_drawn_apart_and_the_geodesic_in_order() -> None:
    shown = made()
    drawn = embedding_figure(shown, color="network")
    geodesic, ignorance, truth = drawn.axes[0].lines
    rows = shown.coordinates[[24, 26, 25, 27, 28], :2]  # ignorance, λ = ¼, ½, ¾, truth
    np.testing.assert_array_equal(geodesic.get_xydata(), rows)
    np.testing.assert_array_equal(ignorance.get_xydata(), shown.coordinates[24:25, :2])
    np.testing.assert_array_equal(truth.get_xydata(), shown.coordinates[28:29, :2])
    assert (geodesic.get_color(), ignorance.get_marker(), truth.get_marker()) == ("black", "X", "*")


def test_a_missing_end_is_left_out_of_the_geodesic() -> None:
    coordinates = embedding().coordinates.copy()
    coordinates[28] = np.inf  # a truth that could not be placed
    shown = made(coordinates=coordinates)
    assert reference_rows(shown, "geodesic").tolist() == [24, 26, 25, 27]
    assert [line.get_label() for line in embedding_figure(shown).axes[0].lines] == ["geodesic", "ignorance"]
    assert json.loads(data_of(interactive_page(shown)))["rows"] == 28


def test_runs_are_joined_in_order_of_step() -> None:
    shown = made()
    drawn = embedding_figure(shown, color="network")
    (lines,) = [c for c in drawn.axes[0].collections if type(c).__name__ == "LineCollection"]
    joined = lines.get_segments()
    assert len(joined) == 6
    for number, segment in enumerate(joined):
        np.testing.assert_array_equal(segment, shown.coordinates[4 * number : 4 * number + 4, :2][::-1])
    without = embedding_figure(shown, line=None).axes[0]
    assert not [c for c in without.collections if type(c).__name__ == "LineCollection"]
    assert [len(t) for t in tracks(shown.table.take(np.arange(24)), "network")] == [8, 8, 8]


def test_models_on_test_samples_are_a_curve_of_their_own() -> None:
    rows = [*model_rows(), *({**row, "placed": "test"} for row in model_rows())]
    table = embedding(rows=rows).rows.take(np.arange(48))
    joined = tracks(table, "run")
    assert [len(members) for members in joined] == [4] * 12
    assert all(len({str(table.columns["placed"][row]) for row in members}) == 1 for members in joined)


def test_three_dimensions() -> None:
    shown = made()
    drawn = embedding_figure(shown, dims=(1, 2, 3), color="network", marker="seed")
    axes = drawn.axes[0]
    assert axes.name == "3d"
    points = np.concatenate([np.stack(c._offsets3d, axis=1) for c in axes.collections if hasattr(c, "_offsets3d")])
    np.testing.assert_allclose(by_place(points), by_place(shown.coordinates[:24, :3]))
    assert texts(drawn)[4:7] == ["seed:", "0", "1"]
    assert axes.get_zlabel() == "InPC 3 (Σ₃ = 0.25, +)"


def test_axes_say_eigenvalue_and_sign() -> None:
    shown = made(dims=6)
    assert [label_of(shown, dim) for dim in (1, 2, 4)] == [
        "InPC 1 (Σ₁ = 4, +)", "InPC 2 (Σ₂ = −1.5, −, imaginary)", "InPC 4 (Σ₄ = 0, no extent)",
    ]  # fmt: skip
    axes = embedding_figure(shown, dims=(1, 2)).axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == (label_of(shown, 1), label_of(shown, 2))
    assert "explained stress: 59.8\u00a0% (2 dimensions)" in [text.get_text() for text in axes.texts]
    assert made(method="pca").heading == "PCA: 24 models"


def test_one_scale_where_it_shows_something() -> None:
    assert embedding_figure(made()).axes[0].get_aspect() == 1
    stretched = embedding().coordinates * [100, 1, 1, 1]
    axes = embedding_figure(made(coordinates=stretched)).axes[0]
    assert axes.get_aspect() == "auto"
    assert any("axes not to one scale" in text.get_text().replace("\n", " ") for text in axes.texts)


def test_many_texts_get_markers_too_and_far_too_many_are_refused() -> None:
    names = [f"n{i}" for i in range(9)]
    read = coloring("c", np.array([*names, ""], dtype=object))
    assert read.entries()[8] == ("n8", COLORS[1], MARKERS[1])
    assert read.markers()[6:] == [MARKERS[0], MARKERS[1], MARKERS[1], MARKERS[0]]
    assert read.missing.tolist() == [False] * 9 + [True]
    rows = [{**row, "id": f"id{n % 9}", "other": n} for n, row in enumerate(model_rows())]
    shown = made(rows=rows)
    assert len(scattered(embedding_figure(shown, color="id").axes[0])) == 2
    with pytest.raises(UsageError, match="9 different texts, which need markers themselves"):
        embedding_figure(shown, color="id", marker="seed")
    with pytest.raises(UsageError, match="'other' has 24 different texts; a reader tells at most 10 apart"):
        embedding_figure(shown, marker="other")
    many = [{**row, "id": f"id{n}"} for n, row in enumerate(model_rows() * 3)]
    with pytest.raises(UsageError, match="'id' has 72 different texts; a reader tells at most 70 apart"):
        embedding_figure(made(rows=many), color="id")


def test_rows_without_a_value_are_grey_and_say_so() -> None:
    rows = [{key: v for key, v in row.items() if not (key == "network" and row["seed"])} for row in model_rows()]
    drawn = embedding_figure(made(rows=rows), color="network")
    assert texts(drawn)[4] == "no network"


def test_a_column_is_found_if_none_is_named() -> None:
    assert texts(embedding_figure(made()))[0] == "network:"
    rows = [{k: v for k, v in row.items() if k not in ("network", "run")} for row in model_rows()]
    assert embedding_figure(made(rows=rows)).axes[1].get_ylabel() == "epoch"
    rows = [{"name": "a", "reference": ""}, {"name": "b", "reference": ""}]
    assert texts(embedding_figure(made(rows=rows))) == ["geodesic", "ignorance", "truth"]


def test_what_cannot_be_drawn_is_named() -> None:
    shown = made()
    with pytest.raises(UsageError, match="no column 'netwrk'") as error:
        embedding_figure(shown, color="netwrk")
    assert error.value.hint == "did you mean 'network'?"
    for dims, message in [
        ((1, 5), "there is no dimension 5"), ((0, 1), "there is no dimension 0"), ((1,), "two or three"),
        ((1, 1), "two or three different"), ((1, 2, 3, 4), "two or three"),
    ]:  # fmt: skip
        with pytest.raises(UsageError, match=message):
            embedding_figure(shown, dims=dims)
        with pytest.raises(UsageError, match=message):
            interactive_page(shown, dims=dims)
    with pytest.raises(UsageError, match="one dimension only") as error:
        embedding_figure(made(dims=1))
    assert "--kind spectrum" in str(error.value.hint)
    nowhere = np.full_like(embedding().coordinates, np.nan)
    with pytest.raises(UsageError, match="no model with coordinates"):
        embedding_figure(made(coordinates=nowhere))


def test_some_models_only() -> None:
    chosen = made().where("network == 'mlp' and step > 5")
    assert len(chosen.models) == 6
    assert (chosen.references != "").sum() == 5
    assert chosen.heading == "InPCA: 6 models"
    with pytest.raises(UsageError, match="none of the 24 models fulfils it"):
        made().where("network == 'resnet'")


def test_other_views_of_an_embedding() -> None:
    stored = with_views(embedding())
    aligned, reading = Embedded.of(stored, "aligned"), Embedded.of(stored, "reading")
    assert label_of(aligned, 1) == "InPC 1"
    assert label_of(reading, 2) == "InPC 2 (Σ₂ = −1, −, imaginary)"
    (points,) = scattered(embedding_figure(reading, color=None).axes[0])
    np.testing.assert_allclose(by_place(points.get_offsets()), by_place(stored.coordinates[:24, :2] + 2))
    assert aligned.heading == "InPCA aligned to other.h5: 24 models"
    assert any("RMSD 0.125" in t.get_text() for t in embedding_figure(aligned).axes[0].texts)
    with pytest.raises(UsageError, match="aligned to no other"):
        Embedded.of(embedding(), "aligned")
    with pytest.raises(UsageError, match="no three-coordinate reading"):
        Embedded.of(embedding(), "reading")


# ---- spectrum


def test_eigenvalues_by_sign_and_magnitude() -> None:
    axes = spectrum_figure(made(dims=6)).axes[0]
    real, imaginary = axes.lines
    np.testing.assert_allclose(real.get_xydata(), [[1, 4], [3, 0.25], [5, 0.01], [6, 0.001]])
    np.testing.assert_allclose(imaginary.get_xydata(), [[2, 1.5]])
    assert real.get_marker() != imaginary.get_marker()
    assert real.get_color() != imaginary.get_color()
    assert axes.get_yscale() == "log"
    assert any("1 eigenvalue is 0" in text.get_text() for text in axes.texts)
    with pytest.raises(UsageError, match="no eigenvalue but zero"):
        spectrum_figure(made(dims=2, eigenvalues=np.zeros(2)))
    assert len(spectrum_figure(made(dims=1)).axes[0].lines) == 1


def test_what_the_dimensions_explain() -> None:
    shown = made(explained_l1=np.array([-0.2, 0.5, 0.8, 0.9]), explained_l2=np.array([0.1, 0.6, 0.8, 0.9]))
    axes = stress_figure(shown).axes[0]
    assert [line.get_label() for line in axes.lines] == [
        "stress", "pairwise distances, L2", "pairwise distances, L1",
    ]  # fmt: skip
    np.testing.assert_allclose(axes.lines[0].get_ydata(), shown.explained["stress"])
    assert axes.get_ylim() == (-0.2, 1)
    with pytest.raises(UsageError, match="nothing is stored"):
        stress_figure(Embedded.of(with_views(embedding()), "aligned"))


# ---- progress


def test_a_curve_for_each_run_in_order_of_training() -> None:
    axes = progress_figure(Table.from_rows(progress_records())).axes[0]
    assert len(axes.lines) == 6
    np.testing.assert_allclose(axes.lines[0].get_xdata(), [s / 10 for s in STEPS])
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [s / (s + 50) for s in STEPS])
    assert axes.get_xscale() == "symlog"
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("epoch", "progress")
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["0", "1", "10", "100"]


def test_groups_are_mean_and_spread_over_runs() -> None:
    drawn = progress_figure(Table.from_rows(progress_records()), group_by=["network"])
    axes = drawn.axes[0]
    assert len(axes.lines) == 3
    mean = np.array([s / (s + 50) + 0.005 for s in STEPS])
    np.testing.assert_allclose(axes.lines[0].get_ydata(), mean)
    band = axes.collections[0].get_paths()[0].vertices
    upper = mean + np.std([0, 0.01], ddof=1)
    assert all(np.isclose(band[:, 1], value).any() for value in upper)
    assert texts(drawn) == ["network:", "mlp (2 runs)", "cnn (2 runs)", "vit (2 runs)"]
    uneven = Table.from_rows(progress_records()[1:])
    assert texts(progress_figure(uneven, group_by=["network"]))[1] == "mlp (1–2 runs)"


def test_runs_without_times_in_common_are_drawn_each() -> None:
    records = [{**r, "epoch": r["epoch"] + 0.001 * n} for n, r in enumerate(progress_records())]
    axes = progress_figure(Table.from_rows(records), group_by=["network"]).axes[0]
    assert len(axes.lines) == 6
    axes = progress_figure(Table.from_rows(progress_records()), x="progress", y="error", group_by=["network"]).axes[0]
    assert len(axes.lines) == 6
    assert (axes.get_xlabel(), axes.get_xscale()) == ("progress", "linear")


def test_points_that_nothing_joins_are_points() -> None:
    records = progress_records()
    drawn = progress_figure(Table.from_rows(records), x="progress", y="error", color="network", line="none")
    axes = drawn.axes[0]
    assert not axes.lines
    shown = np.concatenate([points.get_offsets() for points in axes.collections])
    given = [[r["progress"], r["error"]] for r in records]
    np.testing.assert_allclose(sorted(shown.tolist()), sorted(given))
    assert texts(drawn) == ["network:", "mlp", "cnn", "vit"]
    assert f"each of {len(records)} models" in [text.get_text() for text in axes.texts]
    with pytest.raises(UsageError, match="no column 'rum'"):
        progress_figure(Table.from_rows(records), line="rum")


def test_progress_of_what_has_none() -> None:
    table = Table.from_rows([{"name": "a", "progress": 0.5}])
    with pytest.raises(UsageError, match="neither epoch nor step"):
        progress_figure(table)
    with pytest.raises(UsageError, match="'name' holds text"):
        progress_figure(table, x="name")
    with pytest.raises(UsageError, match="no column 'progres'"):
        progress_figure(table, x="progres")
    single = Table.from_rows([{"name": "a", "epoch": 3.0, "progress": 0.5}])
    assert progress_figure(single).axes[0].lines[0].get_xydata().tolist() == [[3.0, 0.5]]


# ---- trajectories


@pytest.fixture
def trajectories(tmp_path: Path) -> Trajectories:
    write_trajectories(tmp_path / "t.h5")
    return Trajectories.open(tmp_path / "t.h5")


def test_averages_over_groups_are_drawn_as_stored(trajectories: Trajectories) -> None:
    drawn = trajectories_figure(trajectories)
    geodesic, width = drawn.axes
    labels = tuple(" ".join(axes.get_ylabel().split()) for axes in (geodesic, width))  # broken where they are long
    assert labels == ("distance to the geodesic (nats)", "tube width (nats)")
    assert (geodesic.get_xlabel(), geodesic.get_xlim()) == ("progress", (0, 1))
    for number, line in enumerate(geodesic.lines):
        np.testing.assert_allclose(line.get_xydata(), [[i, number + i] for i in (0.25, 0.5, 0.75)])
    band = geodesic.collections[0].get_paths()[0].vertices
    assert {0.125, 0.375, 0.875} <= set(np.round(band[:, 1], 6))
    assert texts(drawn) == ["network:", "mlp (2 runs)", "cnn (2 runs)", "vit (1–2 runs)"]


def test_runs_are_drawn_if_they_are_coloured_chosen_or_not_grouped(trajectories: Trajectories, tmp_path: Path) -> None:
    axes = trajectories_figure(trajectories, y="error", color="seed").axes[0]
    assert [len(line.get_xydata()) for line in axes.lines] == [3, 3, 3, 3, 3, 2]
    np.testing.assert_allclose(axes.lines[0].get_ydata(), [0.75, 0.5, 0.25])
    drawn = trajectories_figure(trajectories, where="network != 'vit'")
    assert [len(axes.lines) for axes in drawn.axes] == [4, 4]
    assert texts(drawn) == ["network:", "mlp", "cnn"]
    write_trajectories(tmp_path / "alone.h5", ())
    drawn = trajectories_figure(Trajectories.open(tmp_path / "alone.h5"))
    assert [len(axes.lines) for axes in drawn.axes] == [6]  # no tube width without groups
    for wrong in ({"y": "widht"}, {"color": "netwrok"}, {"where": "seed > 4"}):
        with pytest.raises(UsageError):
            trajectories_figure(trajectories, **wrong)


# ---- dendrogram


def test_branches_stand_over_their_leaves() -> None:
    lines = branches(clusters())
    assert lines[0].tolist() == [[0, 0], [0, 1], [1, 1], [1, 0]]  # leaf 2 at 0, leaf 0 at 1
    assert lines[1].tolist() == [[2, 0], [2, 2], [3, 2], [3, 0]]
    assert lines[2].tolist() == [[0.5, 1], [0.5, 5], [2.5, 5], [2.5, 2]]


def test_branches_agree_with_scipy() -> None:
    from scipy.cluster.hierarchy import dendrogram, leaves_list, linkage

    tree = linkage(np.random.default_rng(2).normal(size=(12, 3)), "complete", optimal_ordering=True)
    ours = branches(replace(clusters(), linkage=tree, order=leaves_list(tree).astype(np.int64)))
    theirs = dendrogram(tree, no_plot=True)
    expected = {
        (tuple(np.round((np.array(x) - 5) / 10, 9)), tuple(y))
        for x, y in zip(theirs["icoord"], theirs["dcoord"], strict=True)
    }
    assert {(tuple(np.round(line[:, 0], 9)), tuple(line[:, 1])) for line in ours} == expected


def test_strips_stand_under_their_leaves() -> None:
    drawn = dendrogram_figure(clusters(), columns=["arch", "loss"])
    tree, under = drawn.axes
    np.testing.assert_allclose(tree.collections[0].get_segments(), branches(clusters()))
    cells = np.asarray(under.images[0].get_array())
    assert cells.shape == (2, 4, 4)
    # Leaves 2, 0, 3, 1 are x, x, z, y.
    assert [tuple(c) for c in cells[0]] == [to_rgba(COLORS[n]) for n in (0, 0, 2, 1)]
    assert [tick.get_text() for tick in under.get_xticklabels()] == ["c", "a", "d", "b"]
    assert [tick.get_text() for tick in under.get_yticklabels()] == ["arch", "loss"]


def test_columns_that_tell_leaves_apart_become_strips() -> None:
    drawn = dendrogram_figure(clusters())
    assert [tick.get_text() for tick in drawn.axes[1].get_yticklabels()] == ["arch", "seed"]  # each loss is its own
    assert texts(drawn)[:4] == ["arch:", "x", "y", "z"]
    assert not dendrogram_figure(clusters(), columns=[]).legends
    with pytest.raises(UsageError, match="no column 'arhc'"):
        dendrogram_figure(clusters(), columns=["arhc"])


def test_damaged_trees_are_named() -> None:
    good = clusters()
    with pytest.raises(DataError, match="damaged"):
        dendrogram_figure(replace(good, order=np.array([0, 0, 1, 2])))
    with pytest.raises(UsageError, match="two leaves"):
        dendrogram_figure(replace(good, linkage=np.empty((0, 4)), order=np.array([0])))


def test_importance_is_drawn_largest_on_top() -> None:
    axes = importance_figure(clusters()).axes[0]
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["seed", "loss", "arch"]
    assert [bar.get_width() for bar in axes.patches] == [-0.01, 0.2, 0.7]
    with pytest.raises(UsageError, match="no importance of factors"):
        importance_figure(replace(clusters(), importance=Table({})))


# ---- barrier


def test_barriers_without_paths_and_paths_without_barriers() -> None:
    from landscape_cli.jobs.summaries import barriers_by_spawn_time

    barriers, points = barrier_records()
    barriers = [r for r in barriers if r["split"] == "test"]
    summary = barriers_by_spawn_time(barriers)
    (alone,) = barrier_figure([], barriers, summary).axes
    assert alone.get_title(loc="left") == "Barrier against spawn time"
    (alone,) = barrier_figure([p for p in points if p["split"] == "test"], [], []).axes
    assert [line.get_label() for line in alone.lines] == ["b → a0.00", "b → a0.01", "b → a2.50", "b → a2.51"]
    assert list(alone.lines[0].get_xdata()) == [0, 0.5, 1]
    assert len(barrier_figure(points, barriers, summary, width=3.4, title="one").axes) == 2
    with pytest.raises(UsageError, match="no spawn time"):
        barrier_figure([], barriers, [])


# ---- files


@pytest.mark.parametrize("suffix", ["png", "svg", "pdf"])
def test_the_same_figure_is_the_same_file(tmp_path: Path, suffix: str) -> None:
    files = [tmp_path / f"{n}.{suffix}" for n in (1, 2)]
    for file in files:
        save(embedding_figure(made(), color="network"), file)
    assert files[0].read_bytes() == files[1].read_bytes()


# ---- the page


class Reader(HTMLParser):
    """Elements with their attributes and what scripts hold."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.inside: dict[str, str] = {}
        self.last = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.last = f"{tag} {dict(attrs).get('id', '')}".strip()

    def handle_endtag(self, tag: str) -> None:
        self.last = ""

    def handle_data(self, data: str) -> None:
        self.inside[self.last] = self.inside.get(self.last, "") + data


def data_of(page: str) -> str:
    return Reader(page).inside["script data"]


def unpacked(text: str, kind: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), dtype=f"<{kind}")


def test_the_page_holds_every_point_and_column() -> None:
    shown = made(dims=6)
    data = json.loads(data_of(interactive_page(shown)))
    points = unpacked(data["coordinates"], "f4").reshape(29, 6)
    np.testing.assert_array_equal(points, shown.coordinates.astype(np.float32))
    assert unpacked(data["roles"], "u1").tolist() == [0] * 24 + [1, 2, 2, 2, 3]
    assert unpacked(data["geodesic"], "i4").tolist() == [24, 26, 25, 27, 28]
    assert unpacked(data["tracks"], "i4").tolist()[:6] == [3, 2, 1, 0, -1, 7]
    columns = {column["name"]: column for column in data["columns"]}
    assert list(columns) == [
        "name", "run", "step", "epoch", "network", "seed", "lr", "error", "placed", "progress",
    ]  # fmt: skip
    codes = unpacked(columns["network"]["data"], "i4")
    assert [columns["network"]["names"][c] for c in codes[:24]] == shown.table.columns["network"][:24].tolist()
    assert codes[24:].tolist() == [-1] * 5
    np.testing.assert_array_equal(unpacked(columns["error"]["data"], "f4"), shown.table.columns["error"].astype("f4"))
    assert (columns["step"]["low"], columns["step"]["high"], columns["lr"]["log"]) == (0, 1000, True)
    assert (data["color"], data["axes"], data["labels"][1]) == ("network", [0, 1, 2], label_of(shown, 2))


def test_whole_numbers_stay_exact() -> None:
    rows = [{**row, "big": 2**24 + 1 + n, "huge": 2**60 + n} for n, row in enumerate(model_rows())]
    shown = made(rows=rows)
    shown = replace(shown, table=shown.table.take(np.arange(24)), coordinates=shown.coordinates[:24])
    columns = {c["name"]: c for c in json.loads(data_of(interactive_page(shown)))["columns"]}
    assert unpacked(columns["big"]["data"], "f8")[:2].tolist() == [2**24 + 1, 2**24 + 2]
    assert columns["huge"]["names"][1] == str(2**60 + 1)


def test_a_flat_page_a_marker_and_no_colour() -> None:
    data = json.loads(data_of(interactive_page(made(dims=2), color=None, marker="seed")))
    assert (data["axes"], data["color"], data["marker"]) == ([0, 1, -1], None, "seed")
    (seed,) = [c for c in data["columns"] if c["name"] == "seed"]
    assert seed["names"] == ["0", "1"]
    chosen = json.loads(data_of(interactive_page(made(dims=4), dims=(4, 2))))
    assert chosen["axes"] == [3, 1, -1]


EVIL = '</script><script>alert(1)</script><!-- <img src=x onerror="alert(2)"> & \u2028'


def test_names_from_files_cannot_break_the_page() -> None:
    rows = [{**row, "name": EVIL, "network": EVIL if row["seed"] else "<b>", EVIL: 1.5} for row in model_rows()]
    page = interactive_page(made(rows=rows), title=EVIL)
    reader = Reader(page)
    assert [tag for tag, _ in reader.elements if tag in ("script", "img", "b")] == ["script", "script"]
    assert reader.inside["title"] == EVIL
    assert EVIL in json.loads(reader.inside["script data"])["columns"][0]["names"]


def test_the_page_asks_nothing_of_a_network() -> None:
    page = interactive_page(made())
    assert not re.search(r"https?:|//[a-z0-9-]+\.|@import|url\(|\bfetch\(|XMLHttpRequest|import\(", page)
    assert not [a for _, a in Reader(page).elements if "src" in a or "href" in a]
    policy = next(a["content"] for _, a in Reader(page).elements if a.get("http-equiv"))
    import hashlib

    parts = {"style": "style", "script": "script"}
    for what, element in parts.items():
        digest = base64.b64encode(hashlib.sha256(Reader(page).inside[element].encode()).digest()).decode()
        assert f"{what}-src 'sha256-{digest}'" in str(policy)


def test_twenty_thousand_models_stay_small() -> None:
    base = made(dims=6)
    rows = np.resize(np.arange(24), 20_000)
    table = base.table.take(rows)
    names = np.array([f"runs/some-network-with-a-long-name-{i}@{i % 70}ep" for i in range(20_000)], dtype=object)
    extra = {f"number{k}": np.random.default_rng(k).normal(size=20_000) for k in range(12)}
    big = replace(base, table=Table({**table.columns, **extra, "name": names}), coordinates=base.coordinates[rows])
    assert len(interactive_page(big, line=None)) < 6_000_000


def test_its_map_is_viridis() -> None:
    import matplotlib as mpl
    from matplotlib.colors import to_hex

    exact = [to_hex(mpl.colormaps["viridis"](i / 9)) for i in range(10)]
    assert list(interactive.VIRIDIS) == exact


def test_the_page_can_be_operated_without_a_mouse() -> None:
    reader = Reader(interactive_page(made()))
    (canvas,) = [attributes for tag, attributes in reader.elements if tag == "canvas"]
    assert (canvas["tabindex"], canvas["aria-describedby"]) == ("0", "keys")
    assert canvas["aria-label"] == "InPCA: 24 models"
    assert any(attributes.get("aria-live") == "polite" for _, attributes in reader.elements)
    labels = sum(tag == "label" for tag, _ in reader.elements)
    assert labels == sum(tag in ("select", "input") for tag, _ in reader.elements)


def test_the_scripts_are_javascript(tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    whole = tmp_path / "page.js"
    whole.write_text(Reader(interactive_page(made())).inside["script"], encoding="utf-8")
    subprocess.run([node, "--check", whole], check=True, capture_output=True)


def in_browser(text: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """A page as a browser leaves it after two seconds; skips where there is none."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium is installed")
    page = folder / "page.html"
    page.write_text(text, encoding="utf-8")
    return subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}",
         "--enable-logging=stderr", "--virtual-time-budget=2000", "--dump-dom", page.as_uri()],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_a_browser_runs_it(tmp_path: Path) -> None:
    done = in_browser(interactive_page(made()), tmp_path)
    assert "CONSOLE" not in done.stderr
    assert all(f"{network} (8)" in done.stdout for network in NETWORKS)
    assert 'aria-pressed="true"' in done.stdout


def test_the_barrier_of_each_layer_is_its_bar() -> None:
    records = [
        {"kind": "barrier", "a": f"a{pair}", "b": "b", "split": "test", "layer": layer, "error_sup": value + pair / 100}
        for pair in (0, 1)
        for layer, value in (("conv1", 0.4), ("conv2", 0.1), ("head", 0.0))
    ]
    (axes,) = layers_figure(records).axes
    assert [bar.get_width() for bar in axes.patches] == pytest.approx([40.5, 10.5, 0.5])
    assert [label.get_text() for label in axes.get_yticklabels()] == ["conv1", "conv2", "head"]
    assert Result("barrier", records=records).figure(None) == "layers"
    with pytest.raises(UsageError, match="none of these barriers is of a single layer"):
        layers_figure([{**records[0], "layer": None}])
