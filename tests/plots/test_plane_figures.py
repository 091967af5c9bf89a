"""Figures of planes: a mesh without cracks, what is no number, the page."""

import base64
import json
import math
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from landscape_cli.errors import UsageError
from landscape_cli.plots.pages import digest
from landscape_cli.plots.plane import _ticks, plane_figure
from landscape_cli.plots.plane_mesh import chosen, height, mesh, names_of
from landscape_cli.plots.recognise import Result, recognise
from landscape_cli.plots.style import save
from landscape_cli.plots.surface import surface_figure, surface_page
from landscape_cli.store.planes import StoredPlane
from landscape_cli.store.tables import Table
from tests.conftest import Cli
from tests.plots.made_results import barrier_records
from tests.plots.test_prediction_figures import EVIL, Reader, data_of, in_browser

X, Y = np.linspace(-1, 2, 9), np.linspace(0, 1, 9)


def made(*, divided: bool = False, log: bool = False, broken: bool = False, name: str = "runs/a") -> StoredPlane:
    """A plane with heights x + 2y: 3×3 nodes, and with ``divided`` one cell cut twice."""
    measured = np.zeros((9, 9), dtype=bool)
    measured[::4, ::4] = True
    if divided:
        measured[:5:2, :5:2] = measured[:3, :3] = True
    flat = np.where(measured, X[None, :] + 2 * Y[:, None] + 1, np.nan)
    loss = np.exp(3 * flat) if log else flat.copy()
    if broken:
        loss[8, 8], loss[8, 4] = np.inf, np.nan
    values = {"error": flat / 10, "loss": loss, "distance": flat / 4, "disagreement": flat / 9}
    corners = [
        {"role": role, "name": f"{name}-{role}", "x": x, "y": y, "test_loss": 2.0, "test_error": 0.2}
        for role, x, y in (("A", 0.0, 0.0), ("B", 1.5, 0.0), ("C", 0.3, 0.7))
    ]
    tracks = [
        {"run": name, "name": f"{name}@{k}ep", "step": k, "epoch": float(k), "x": 0.2 * k, "y": 0.1, "off": k / 2}
        for k in range(3)
    ]
    attributes = {"units": "weights", "directions": "networks", "reference": "B", "linearized": "", "data": "digits",
                  "network": "mlp"}  # fmt: skip
    return StoredPlane(
        X, Y, measured, {"test": values}, Table.from_rows(corners), Table.from_rows(tracks), 4, attributes
    )


@pytest.mark.parametrize("divided", [False, True])
def test_the_mesh_covers_the_plane_without_cracks(divided: bool) -> None:
    plane = made(divided=divided)
    found = mesh(plane)
    corner = np.stack([found.x[found.triangles], found.y[found.triangles]], axis=-1)
    (a, b) = corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]
    areas = (a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]) / 2
    assert abs(areas).sum() == pytest.approx(3.0)
    assert (np.sign(areas) == np.sign(areas[0])).all()
    edges = np.sort(np.concatenate([found.triangles[:, [i, j]] for i, j in ((0, 1), (1, 2), (0, 2))]), axis=1)
    _, counts = np.unique(edges, axis=0, return_counts=True)
    assert set(counts.tolist()) == {1, 2}
    once = edges[np.isin(edges[:, 0] * 10_000 + edges[:, 1], [e[0] * 10_000 + e[1] for e, c in
                 zip(np.unique(edges, axis=0), counts, strict=True) if c == 1])]  # fmt: skip
    on_rim = [(found.x[e] == v).all() for e in once for v in (-1.0, 2.0)]
    on_rim_y = [(found.y[e] == v).all() for e in once for v in (0.0, 1.0)]
    assert sum(on_rim) + sum(on_rim_y) == len(once)
    values = found.values(plane.values["test"]["loss"])
    np.testing.assert_allclose(values, found.x + 2 * found.y + 1, atol=1e-12)
    geometric = found.values(np.exp(plane.values["test"]["loss"]), log=True)
    np.testing.assert_allclose(np.log(geometric), values, atol=1e-12)


def test_a_loss_of_zero_has_a_place_on_a_logarithmic_scale() -> None:
    plane = made()
    loss = plane.values["test"]["loss"]
    assert loss[0, 0] == 0
    values = mesh(plane).values(loss, log=True)
    assert values[0] == loss[loss > 0].min()
    assert np.isfinite(values).all()


@pytest.mark.parametrize(
    ("low", "high", "log", "names"),
    [
        (0.0, 1.0, False, ["0", "0.2", "0.4", "0.6", "0.8", "1"]),
        (-1.1, 0.7, True, ["0.1", "0.2", "0.5", "1", "2", "5"]),
        (-1.0, 3.2, True, ["$10^{-1}$", "$10^{0}$", "$10^{1}$", "$10^{2}$", "$10^{3}$"]),
        (math.log10(2.0), math.log10(6.0), True, ["2", "3", "4", "5", "6"]),
    ],
)
def test_the_marks_of_a_bar(low: float, high: float, log: bool, names: list[str]) -> None:
    pytest.importorskip("matplotlib", reason="figures are an extra")
    places, found = _ticks(low, high, log=log)
    assert found == names
    assert all(low - 1e-12 <= place <= high + 1e-12 for place in places)


@pytest.mark.parametrize("divided", [False, True])
def test_heights_between_nodes(divided: bool) -> None:
    plane = made(divided=divided)
    random = np.random.default_rng(0)
    for x, y in [*zip(random.uniform(-1, 2, 50), random.uniform(0, 1, 50), strict=True), (2.0, 1.0), (-1.0, 0.0)]:
        assert height(plane, plane.values["test"]["loss"], x, y) == pytest.approx(x + 2 * y + 1)
    assert math.isnan(height(plane, plane.values["test"]["loss"], 2.1, 0.5))


def test_what_is_drawn_and_on_which_scale() -> None:
    assert [one.measure for one in chosen(made(), None, None)] == ["error", "loss", "distance"]
    assert [one.log for one in chosen(made(log=True), ["loss", "test_error"], None)] == [True, False]
    assert [one.log for one in chosen(made(), ["loss"], None)] == [False]
    assert chosen(made(log=True), ["loss"], False)[0].log is False
    assert names_of(made())[0] == "test_loss"
    with pytest.raises(UsageError, match="'speed' was not measured") as told:
        chosen(made(), ["speed"], None)
    assert "error, loss" in str(told.value.hint)
    with pytest.raises(UsageError, match="none is drawn"):
        chosen(made(), ["error"], True)


def test_every_panel_marks_the_networks_and_the_trajectories(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="figures are an extra")
    drawn = plane_figure(made(divided=True, log=True, broken=True))
    panels = [axes for axes in drawn.axes if axes.get_title(loc="left")]
    assert [axes.get_title(loc="left") for axes in panels] == [
        "Test error (%)", "Test loss (nats)", "Function distance to B",
    ]  # fmt: skip
    for axes in panels:
        assert [text.get_text() for text in axes.texts] == ["A", "B", "C"]
        lines = {line.get_label(): line for line in axes.lines}
        np.testing.assert_allclose(lines["runs/a"].get_xdata(), [0, 0.2, 0.4])
    crossed = [c for c in panels[1].collections if c.get_label() == "no finite value"]
    assert sorted(map(tuple, crossed[0].get_offsets().tolist())) == [(0.5, 1.0), (2.0, 1.0)]
    assert not any(c.get_label() == "no finite value" for c in panels[0].collections)
    for suffix in (".png", ".svg", ".pdf"):
        assert save(drawn, tmp_path / f"p{suffix}")
    surface_figure(made(log=True, broken=True))


def test_a_plane_of_nothing_finite_is_drawn_all_the_same() -> None:
    pytest.importorskip("matplotlib", reason="figures are an extra")
    plane = made()
    plane.values["test"]["loss"][:] = np.nan
    plane_figure(plane, color=["loss", "error"])
    surface_figure(plane)
    assert json.loads(data_of(surface_page(plane)))["measures"][0]["broken"] == 9


def test_the_page_holds_nodes_networks_and_heights() -> None:
    plane = made(divided=True, broken=True)
    data = json.loads(data_of(surface_page(plane)))
    nodes = int(plane.measured.sum())
    values = np.frombuffer(base64.b64decode(data["measures"][0]["values"]), "<f4")
    centres = np.frombuffer(base64.b64decode(data["centres"]), "<i4").reshape(-1, 4)
    x = np.frombuffer(base64.b64decode(data["x"]), "<f4")
    assert (len(values), len(x)) == (nodes, nodes + len(centres))
    np.testing.assert_allclose(x[:nodes][centres].mean(1), x[nodes:], atol=1e-6)
    assert data["measures"][0]["broken"] == 2
    assert [corner["z"]["test_loss"] for corner in data["corners"]] == [2.0] * 3
    (track,) = data["tracks"]
    assert [point["off"] for point in track["points"]] == [0, 0.5, 1]
    assert track["points"][2]["z"]["test_loss"] == pytest.approx(0.4 + 0.2 + 1)
    assert [m["log"] for m in json.loads(data_of(surface_page(made(log=True))))["measures"]][:2] == [True, False]


def test_the_page_is_closed_and_can_be_operated_without_a_mouse(tmp_path: Path) -> None:
    page = surface_page(made(name=EVIL), title=EVIL)
    reader = Reader(page)
    assert not re.search(r"https?:|//[a-z0-9-]+\.|@import|url\(|\bfetch\(|XMLHttpRequest|import\(", page)
    policy = next(a["content"] for _, a in reader.elements if a.get("http-equiv"))
    assert policy is not None
    assert digest(reader.inside["script"]) in policy
    assert digest(reader.inside["style"]) in policy
    assert sum(tag == "script" for tag, _ in reader.elements) == 2
    assert json.loads(data_of(page))["corners"][0]["name"] == f"{EVIL}-A"
    (canvas,) = [attributes for tag, attributes in reader.elements if tag == "canvas"]
    assert (canvas["tabindex"], canvas["aria-describedby"]) == ("0", "keys")
    labels = sum(tag == "label" for tag, _ in reader.elements)
    assert labels == sum(tag in ("select", "input") for tag, _ in reader.elements)
    if (node := shutil.which("node")) is None:
        pytest.skip("node is not installed")
    (tmp_path / "page.js").write_text(reader.inside["script"], encoding="utf-8")
    subprocess.run([node, "--check", tmp_path / "page.js"], check=True, capture_output=True)


def test_from_the_shell(cli: Cli, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="figures are an extra")
    path = tmp_path / "plane.h5"
    made(log=True).write(path)
    assert recognise([str(path)]) == Result("plane", path)
    assert cli("plot", path, "-q").out == f"{tmp_path / 'plane.png'}\n"
    assert cli("plot", path, "--kind", "surface", "-q").out == f"{tmp_path / 'plane-surface.png'}\n"
    assert cli("plot", path, "--color", "loss", "--linear", "-o", tmp_path / "l.pdf").status == 0
    assert cli("plot", path, "-o", tmp_path / "p.html").status == 0
    refused = cli("plot", path, "--where", "x > 1")
    assert (refused.status, "--where means nothing for figure 'plane'" in refused.err) == (2, True)
    barriers = tmp_path / "b.jsonl"
    barriers.write_text(json.dumps(barrier_records()[0][0]) + "\n")
    for option in ("--log", "--linear"):
        assert "--log means nothing for figure 'barrier'" in cli("plot", barriers, option).err


def test_a_browser_runs_the_surface(tmp_path: Path) -> None:
    done = in_browser(surface_page(made(divided=True)), tmp_path)
    assert "CONSOLE" not in done.stderr
    assert "<option" in done.stdout  # the values to choose from are put there by the script
    moved = surface_page(made(divided=True)).replace(
        "</script>\n</body>",
        """
document.getElementById("view").dispatchEvent(new KeyboardEvent("keydown", { key: "n" }));</script>\n</body>""",
    )
    moved = re.sub(r'<meta http-equiv="Content-Security-Policy".*?">', "", moved, flags=re.DOTALL)
    told = re.search(r'id="said"[^>]*>([^<]*)<', in_browser(moved, tmp_path).stdout)
    assert told is not None
    assert told[1].startswith("A ")
