"""The pictures of a report, its two large figures and its page, drawn of what its steps have made."""

import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landscape_cli.cli.asked import Asked
from landscape_cli.cli.drawing import draw, embedded_of
from landscape_cli.cli.output import csv_text
from landscape_cli.cli.report_numbers import numbers_of
from landscape_cli.cli.report_steps import Made
from landscape_cli.errors import LandscapeError
from landscape_cli.jobs.linearizing import summaries_of
from landscape_cli.jobs.model_columns import run_columns
from landscape_cli.jobs.report_cast import Cast
from landscape_cli.jobs.report_step import Part, Plan, Settings
from landscape_cli.plots.interactive import interactive_page
from landscape_cli.plots.recognise import Figure, Result, recognise
from landscape_cli.plots.report_page import Panel, Section, report_page
from landscape_cli.plots.style import collage, rendered, write_picture
from landscape_cli.store.atomic import write_text
from landscape_cli.store.runs import Run

PAGE_NAME = "index.html"
COLUMNS_OF_FIGURE = 3
ROW = 3.9  # inches of a row of panels
WIDTH = 14.5
WIDE = ("training", "spawn")  # figures of several axes, one beside the other
PANEL = 5.6  # inches of a panel of the page, so that all are written in one size; wide ones keep their own
SECTIONS: tuple[tuple[Part, str, str, str], ...] = (
    ("weights", "fort", "Weight space and tangent kernels", "Fort et al. 2020, Figs. 2–4, 7 and 8"),
    ("predictions", "mao", "Prediction space", "Mao et al. 2023, Figs. 2 and 7–9"),
)
RUN_COLUMNS = (
    ("path", "run"), ("status", "status"), ("network", "network"), ("data", "data"), ("optimizer", "optimizer"),
    ("lr", "lr"), ("batch_size", "batch"), ("weight_decay", "decay"), ("augment", "augmentation"), ("seed", "seed"),
    ("parent", "parent"), ("spawn_epoch", "spawned at epoch"), ("epoch", "epoch"), ("train_error", "train error"),
    ("test_error", "test error"), ("test_loss", "test loss"), ("checkpoints", "checkpoints"), ("seconds", "seconds"),
)  # fmt: skip


@dataclass(frozen=True)
class _Drawing:
    """A picture that can be drawn.

    Args:
        name: Unique in the report.
        title: What it shows.
        part: Which large figure it belongs to.
        result: What it is drawn of; None if that is not there.
        figure: Which figure.
        problem: Why there is nothing to draw, or what is missing in it.
        command: What made the result.
        files: The result's files.
    """

    name: str
    title: str
    part: Part
    result: Result | None
    figure: Figure
    problem: str | None
    command: str
    files: tuple[str, ...]

    @property
    def several(self) -> bool:
        """Whether it is of several axes, one beside the other."""
        if self.result is None:
            return False
        if self.figure == "barrier":  # beside it, for children, the barrier against spawn time
            return any(record.get("spawn_epoch") is not None for record in self.result.records)
        return self.figure in WIDE or (self.figure == "matrix" and self.result.kind == "comparison")

    @property
    def width(self) -> float | None:
        """Inches of it alone; None for what the figure has by itself."""
        return None if self.several else PANEL

    def draw(self, width: float | None = None) -> Any:
        """The figure."""
        assert self.result is not None
        return draw(self.result, self.figure, Asked(width=width))

    @property
    def line(self) -> str:
        """What a person types for the same picture."""
        size = () if self.width is None else ("--width", f"{self.width:g}")
        return shlex.join(["landscape", "plot", *self.files, "--kind", self.figure, *size])


def write_report(
    folder: Path,
    cast: Cast,
    plan: Plan,
    made: Sequence[Made],
    settings: Settings,
    *,
    title: str | None,
    command: str,
) -> tuple[dict[str, Any], list[str]]:
    """Draw and write everything; returns the report's record, and the names of the pictures and tables beside the page.

    Raises:
        LandscapeError: If matplotlib is missing.
        StorageError: If something cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    recorded = _of_runs(folder, cast)
    drawings = [*recorded, *_of_steps(folder, made)]
    sections: list[Section] = []
    beside: list[str] = []
    drawn = 0
    problems = []
    for part, name, heading, text in SECTIONS:
        mine = [drawing for drawing in drawings if drawing.part == part]
        panels, good = [], []
        for drawing in mine:
            panel = _panel(folder, drawing)
            panels.append(panel)
            beside += [panel.numbers[0]] if panel.numbers is not None else []
            if panel.picture is not None:
                good.append(drawing)
                beside.append(f"{panel.name}.svg")
            if panel.problem is not None:
                problems.append(f"{panel.title}: {panel.problem}")
        drawn += len(good)
        whole = _whole(folder, name, f"{heading} ({text})", good) if len(good) > 1 else []
        beside += [file for file, _ in whole]
        sections.append(Section(name, heading, text, panels, whole))
    runs = [{**run_columns(run), **run.record()} for run in cast.runs]
    table = csv_text(runs)
    write_text(folder / "runs.csv", table)
    places = ", ".join(sorted({str(run.path.parent) for run in cast.runs} | {str(path) for path in cast.foreign}))
    missing = [*((what, f"needs {need}") for what, need in plan.missing), *cast.left_out]
    page = report_page(
        title=title or f"Report of {places}",
        caption=_caption(cast),
        sections=sections,
        runs=runs,
        columns=RUN_COLUMNS,
        runs_csv=table,
        settings=[
            ("command", command), ("split", settings.split), ("images", str(settings.samples or "all")),
            ("images of kernels", str(settings.kernel_samples)), ("left out", ", ".join(sorted(settings.without))),
        ],
        missing=missing,
        commands=[*(one.command for one in recorded), *(one.step.line for one in made)],
    )  # fmt: skip
    write_picture(page.encode("utf-8"), folder / PAGE_NAME)
    record = {
        "kind": "report",
        "path": str(folder / PAGE_NAME),
        "runs": len(cast.runs),
        "panels": drawn,
        "problems": problems or None,
        "missing": [f"{what}: {why}" for what, why in missing] or None,
    }
    return record, [*beside, "runs.csv"]


def _caption(cast: Cast) -> str:
    counts = (
        (len(cast.parents), "run of its own", "runs of their own"), (len(cast.children), "child", "children"),
        (len(cast.linearized), "linearised run", "linearised runs"),
        (len(cast.low_rate), "run at their low rate", "runs at their low rate"),
        (len(cast.foreign), "place of other tools' checkpoints", "places of other tools' checkpoints"),
    )  # fmt: skip
    return ", ".join(f"{count} {one if count == 1 else more}" for count, one, more in counts if count)


def _of_runs(folder: Path, cast: Cast) -> list[_Drawing]:
    """What the runs themselves recorded: training curves, and what linearised training reached."""
    found = []
    if trained := [run for run in cast.parents if (run.path / "metrics.jsonl").exists()]:
        paths = tuple(str(run.path) for run in trained)
        result = Result("run", None, [{"kind": "run", "path": path} for path in paths])
        found.append(
            _Drawing(
                "training", "Training of the parents", "weights", result, "training", None, _made_by(trained), paths
            )
        )
    if cast.linearized and (records := summaries_of(cast.linearized, cast.low_rate)):
        file = folder / "linearized.jsonl"
        write_text(file, "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records))
        found.append(
            _Drawing(
                "linearized", "What training in a tangent space reaches", "weights",
                Result("linearization", file, records), "linearized", None, _made_by(cast.linearized), (str(file),),
            )
        )  # fmt: skip
    return found


def _made_by(runs: Sequence[Run]) -> str:
    """The commands that made some runs, as they were typed there."""
    typed = (run.document.get("command") for run in runs)
    return "\n".join(dict.fromkeys(command for command in typed if isinstance(command, str)))


def _of_steps(folder: Path, made: Sequence[Made]) -> list[_Drawing]:
    found = []
    for one in made:
        step = one.step
        for figure, title in step.panels:
            name = step.name if len(step.panels) == 1 else f"{step.name}-{figure}"
            result, problem = None, one.problem
            files: tuple[str, ...] = ()
            if one.result is not None:
                files = tuple(str(file) for file in step.files)
                try:
                    result = recognise(list(files))
                except LandscapeError as error:
                    problem = error.message
            found.append(
                _Drawing(name, title, step.part, result, figure, problem, step.line, files)  # type: ignore[arg-type]
            )
    return found


def _panel(folder: Path, drawing: _Drawing) -> Panel:
    """Draw one, and keep it beside the page as SVG and its numbers as CSV."""
    if drawing.result is None:
        return Panel(drawing.name, drawing.title, problem=drawing.problem, command=drawing.command)
    drawn, picture, problem, page = None, None, drawing.problem, None
    try:
        drawn = drawing.draw(drawing.width)
        picture = rendered(drawn, ".svg")
    except LandscapeError as error:
        problem = error.message
    target = folder / f"{drawing.name}.svg"
    if picture is not None:
        write_picture(picture, target)
    text = numbers_of(drawing.result, drawing.figure, drawn)
    if text is not None:
        write_text(folder / f"{drawing.name}.csv", text)
    if drawing.figure == "embedding":
        page = interactive_page(embedded_of(drawing.result, drawing.figure, Asked()))
    line = f"{drawing.line} -o {shlex.quote(str(target))}"
    return Panel(
        name=drawing.name,
        title=drawing.title,
        picture=picture,
        problem=problem,
        command=drawing.command,
        draw=line if picture is not None else "",
        numbers=None if text is None else (f"{drawing.name}.csv", text),
        page=page,
    )


def _whole(folder: Path, name: str, title: str, drawings: Sequence[_Drawing]) -> list[tuple[str, bytes]]:
    """All panels of a part as one figure, in the three formats."""
    parts: list[tuple[Callable[[], Any], int]] = [(one.draw, 2 if one.several else 1) for one in drawings]
    columns = min(COLUMNS_OF_FIGURE, sum(span for _, span in parts))
    drawn = collage(parts, width=WIDTH * columns / COLUMNS_OF_FIGURE, row_height=ROW, columns=columns, title=title)
    found = []
    for suffix in (".png", ".svg", ".pdf"):
        content = rendered(drawn, suffix)
        drawn.set_layout_engine("none")  # the first one's is that of all: it takes longer than the drawing
        write_picture(content, folder / f"{name}{suffix}")
        found.append((f"{name}{suffix}", content))
    return found
