"""Numbers read back from figures are those that were given; terminals and pages show them."""

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from landscape_cli.plots.drawn_data import as_csv, panels
from landscape_cli.plots.preview import BRAILLE, preview
from landscape_cli.plots.still_page import still_page
from landscape_cli.plots.style import figure
from tests.conftest import SAMPLES, Cli
from tests.plots.test_prediction_figures import EVIL, Reader, in_browser

pytest.importorskip("matplotlib", reason="figures are an extra")


def drawn(*, scale: str = "linear", label: str = "straight", title: str = "A figure") -> Any:
    with figure(4, 3) as (made, axes):
        axes.plot([1, 2, 4], [10, 20, 40], label=label)
        axes.errorbar([1, 2], [5, 6], yerr=[[1, 2], [3, 4]], label="measured", capsize=3)
        axes.scatter([1.5, 3.5], [30, 31], label="points")
        axes.axhline(25)
        axes.set(xlabel="epoch", ylabel="error (%)", xscale=scale)
        axes.set_title(title)
    return made


def test_what_was_drawn_is_read_back() -> None:
    (panel,) = panels(drawn())
    assert (panel.title, panel.xlabel, panel.ylabel) == ("A figure", "epoch", "error (%)")
    found = {one.label: one for one in panel.series}
    assert set(found) == {"straight", "measured", "points"}  # a level is no data
    assert found["straight"].y.tolist() == [10, 20, 40]
    assert found["measured"].spread is not None
    np.testing.assert_allclose(found["measured"].spread, [[1, 2], [3, 4]])
    assert (found["points"].x.tolist(), found["points"].joined) == ([1.5, 3.5], False)


def test_numbers_as_csv() -> None:
    rows = list(csv.DictReader(io.StringIO(as_csv(panels(drawn(label='odd, "label"'))))))
    assert len(rows) == 7
    assert rows[0] == {"panel": "A figure", "series": "measured", "x": "1", "y": "5", "below": "1", "above": "3"}
    assert [row["y"] for row in rows if row["series"] == 'odd, "label"'] == ["10", "20", "40"]


def test_names_of_ticks_stand_for_their_places() -> None:
    with figure(4, 3) as (made, axes):
        axes.plot([0, 1], [3, 4])
        axes.set_xticks([0, 1], ["0.5", "8"])
    assert [row.split(",")[2] for row in as_csv(panels(made)).splitlines()[1:]] == ["0.5", "8"]


def dots(text: str) -> list[str]:
    return ["".join(c for c in line if ord(c) > BRAILLE and ord(c) < BRAILLE + 256) for line in text.splitlines()]


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_a_line_rises_from_corner_to_corner(scale: str) -> None:
    with figure(4, 3) as (made, axes):
        axes.plot([1, 10, 100], [0, 1, 2] if scale == "log" else [1, 10, 100])
        axes.set(xscale=scale, xlabel="epoch", ylabel="loss (nats)")
    text = preview(panels(made), width=40, height=10)
    lines = text.splitlines()
    assert lines[0] == "loss (nats)"
    assert max(map(len, lines)) <= 40
    rows = [line.partition("┤")[2] for line in lines[1:11]]
    starts = [len(row) - len(row.lstrip()) for row in rows]
    assert starts == sorted(starts, reverse=True)
    assert starts[-1] == 0
    assert len(rows[0]) == max(map(len, rows))
    assert "epoch" in lines[-1]
    assert lines[-1].split()[0] == "1"
    assert lines[-1].split()[-1] == "100"


def test_colours_only_where_they_are_wanted() -> None:
    plain, colored = (preview(panels(drawn()), width=60, colored=c) for c in (False, True))
    assert "\x1b[" not in plain
    assert re.sub(r"\x1b\[\d+m", "", colored).splitlines()[:10] == plain.splitlines()[:10]
    assert "straight (10 … 40)" in plain


def test_numbers_that_are_none_leave_gaps() -> None:
    with figure(4, 3) as (made, axes):
        axes.plot([0, 1, 2, 3], [1, np.nan, np.inf, 2])
        axes.plot([0, 1], [np.nan, np.nan])
    assert sum(map(len, dots(preview(panels(made), width=40, height=4)))) == 2


def test_the_preview_goes_to_stderr_and_writes_nothing(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = cli("plot", SAMPLES / "parent", "--preview")
    (record,) = done.records
    assert (record["figure"], record["path"]) == ("training", None)
    assert "error (%)" in done.err
    assert any(dots(done.err))
    assert not list(tmp_path.iterdir())
    assert cli("plot", SAMPLES / "parent", "--preview", "-o", "t.svg").records[0]["path"] == "t.svg"
    assert (tmp_path / "t.svg").exists()


# ---- the page


def test_the_page_holds_the_drawing_its_points_and_its_numbers() -> None:
    made = drawn()
    page = still_page(made)
    reader = Reader(page)
    data = json.loads(reader.inside["script data"])
    assert len(data["places"]) == len(data["said"]) == 7
    assert data["said"][0] == ["measured", "epoch: 1", "error (%): 5 (−1, +3)"]
    assert reader.inside["title"] == "A figure"
    assert [a["download"] for tag, a in reader.elements if tag == "a"] == ["numbers.csv"]
    assert sum(tag == "td" for tag, _ in reader.elements) == 7 * 6
    assert not re.search(r"https?:|@import|url\((?!#)|\bfetch\(|XMLHttpRequest|import\(", page)


def test_points_lie_where_the_drawing_has_them() -> None:
    made = drawn()
    page = still_page(made)
    data = json.loads(Reader(page).inside["script data"])
    number = data["said"].index(["straight", "epoch: 4", "error (%): 40"])
    paths = re.findall(r'd="M ([\d.]+) ([\d.]+) \s*L ([\d.]+) ([\d.]+) \s*L ([\d.]+) ([\d.]+)', page)
    ends = [(float(p[4]), float(p[5])) for p in paths]
    assert any(np.allclose(end, data["places"][number], atol=0.2) for end in ends)


def test_names_cannot_break_the_page() -> None:
    reader = Reader(still_page(drawn(label=EVIL, title="T"), title=EVIL))
    assert [tag for tag, _ in reader.elements if tag in ("script", "img")] == ["script", "script"]
    assert reader.inside["title"] == EVIL


def test_a_browser_runs_the_page_and_its_keys_and_wheel(tmp_path: Path) -> None:
    script = """<script>
    const stage = document.getElementById("stage"), drawing = document.getElementById("drawing");
    const key = (name) => stage.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true }));
    const said = [], box = () => drawing.getAttribute("viewBox").split(" ").map(Number);
    const home = box();
    key("+"); said.push(box()[2] < home[2] ? "zoomed" : "not zoomed");
    key("ArrowRight"); key("r"); said.push(box().join() === home.join() ? "reset" : "not reset");
    const at = drawing.getBoundingClientRect();
    stage.dispatchEvent(new WheelEvent("wheel", { deltaY: -300, clientX: at.left + 50, clientY: at.top + 50 }));
    said.push(box()[2] < home[2] ? "wheeled" : "not wheeled");
    key("n"); said.push(document.getElementById("tip").innerText.replaceAll("\\n", "; "));
    key("p"); said.push(document.getElementById("said").textContent);
    document.body.dataset.test = said.join(" | ");
    </script></body>"""
    page = still_page(drawn())
    page = re.sub(r"script-src '[^']*'", "script-src 'unsafe-inline'", page).replace("</body>", script)
    done = in_browser(page, tmp_path)
    assert "CONSOLE" not in done.stderr, done.stderr
    (told,) = re.findall(r'data-test="([^"]*)"', done.stdout)
    assert told.split(" | ")[:3] == ["zoomed", "reset", "wheeled"]
    assert "epoch: 1" in told.split(" | ")[3]
    assert told.split(" | ")[4].startswith("points, epoch: 3.5")


def test_a_browser_finds_nothing_to_complain_of(cli: Cli, tmp_path: Path) -> None:
    assert cli("plot", SAMPLES / "parent", SAMPLES / "early-a", "-o", tmp_path / "t.html").status == 0
    done = in_browser((tmp_path / "t.html").read_text(encoding="utf-8"), tmp_path)
    assert "CONSOLE" not in done.stderr, done.stderr
    assert 'data-ready="yes"' in done.stdout
    assert 'id="drawing"' in done.stdout
