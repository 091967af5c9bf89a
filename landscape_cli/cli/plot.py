"""``landscape plot``: pictures of results."""

from pathlib import Path
from typing import Annotated, Any

import typer

from landscape_cli.cli import asked as words
from landscape_cli.cli import figures, options
from landscape_cli.cli import prediction_options as what
from landscape_cli.cli.completion import complete_columns
from landscape_cli.cli.output import Output, picture_terms
from landscape_cli.plots.recognise import Figure, recognise

NAME = "plot"
HELP = """Draw a result: training curves of runs, predictions, distances between models or checkpoints, embeddings,
their spectrum, progress, a dendrogram, trajectories, barriers, curves, planes, kernel velocities, linearised training,
curvature, escape thresholds. Nothing is computed anew.

What a run, a folder of runs, a file or a pipe holds is recognised. The suffix of --out is the format: .png, .svg,
.pdf, or .html, one page that needs no network: embeddings and planes to turn with the mouse or the keys, other figures
to zoom into, with their numbers beneath. --preview shows lines and points in the terminal, on stderr. Text is coloured
by a palette that colour-blind readers tell apart, numbers by viridis."""
EXAMPLES = (
    "landscape plot test-bhattacharyya-inpca.h5 --color network --marker optimizer -o inpca.pdf",
    "landscape distances predictions-test.h5 --truth --ignorance --geodesic 20 | landscape inpca | landscape plot",
    "landscape progress predictions-test.h5 --columns all | landscape plot --group-by network,optimizer",
    "landscape plot barriers.jsonl paths.jsonl",
    "landscape kernel-velocity runs/parent --dt 0.4ep | landscape plot --preview",
)
COLUMNS = (("path", "figure"), ("figure", "shows"), ("source", "of"), ("skipped", "was there already"))
PANEL = "Figure"
COLUMN = "Columns"

Results = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="RESULT...",
        help="A run, a folder of runs, an HDF5 file of any command, or records: JSON lines, or CSV; "
        "- for a pipe (the default there).",
        show_default=False,
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        "--out", "-o", help="File of the figure: .png, .svg, .pdf, .html; default the result's name with .png."
    ),
]
Preview = Annotated[
    bool,
    typer.Option("--preview", help="Show it here, in characters; nothing is written unless --out is given."),
]
KindOption = Annotated[
    Figure | None, typer.Option("--kind", help="Which figure, where a result has several.", rich_help_panel=PANEL)
]
Dims = Annotated[
    str | None,
    typer.Option("--dims", metavar="1,2[,3]", help="Dimensions of an embedding to draw.", rich_help_panel=PANEL),
]
Log = Annotated[
    bool | None,
    typer.Option(
        "--log/--linear",
        help="Scale of losses on a plane; default logarithmic where they span a power of ten.",
        rich_help_panel=PANEL,
        show_default=False,
    ),
]
Title = Annotated[str | None, typer.Option("--title", help="In place of its own.", rich_help_panel=PANEL)]
WidthOption = Annotated[
    float | None,
    typer.Option("--width", min=1.5, max=40, help="Inches; a paper's column has 3.4.", rich_help_panel=PANEL),
]
Height = Annotated[float | None, typer.Option("--height", min=1, max=40, help="Inches.", rich_help_panel=PANEL)]
Color = Annotated[
    str | None,
    typer.Option(
        "--color",
        metavar="COLUMN",
        help="Column that colours, or none; of a dendrogram a list, a strip for each; of a plane the values to draw, "
        "as in error,train_loss.",
        rich_help_panel=COLUMN,
        autocompletion=complete_columns,
    ),
]
Marker = Annotated[
    str | None,
    typer.Option(
        "--marker",
        metavar="COLUMN",
        help="Column that gives the markers.",
        rich_help_panel=COLUMN,
        autocompletion=complete_columns,
    ),
]
Line = Annotated[
    str | None,
    typer.Option(
        "--line",
        metavar="COLUMN",
        help="Column whose equal values are joined in order of training, or none; default run. Of training curves: run "
        "draws repeats, which differ in seeds only, one by one instead of their mean and spread.",
        rich_help_panel=COLUMN,
        autocompletion=complete_columns,
    ),
]
X = Annotated[
    str | None,
    typer.Option(
        "--x",
        metavar="COLUMN",
        help="Across, of progress; default epoch.",
        rich_help_panel=COLUMN,
        autocompletion=complete_columns,
    ),
]
Y = Annotated[
    str | None,
    typer.Option(
        "--y",
        metavar="COLUMN",
        help="Upwards, of progress; default progress.",
        rich_help_panel=COLUMN,
        autocompletion=complete_columns,
    ),
]


def command(
    results: Results = None,
    out: Out = None,
    preview: Preview = False,
    kind: KindOption = None,
    dims: Dims = None,
    color: Color = None,
    marker: Marker = None,
    line: Line = None,
    x: X = None,
    y: Y = None,
    group_by: what.GroupBy = None,
    where: what.Where = None,
    log: Log = None,
    title: Title = None,
    width: WidthOption = None,
    height: Height = None,
    force: options.Force = False,
    format: options.FormatOption = "auto",
    quiet: options.Quiet = False,
    config: options.Config = None,
) -> None:
    """Parse, read, draw, emit."""
    asked = words.Asked(
        dims=words.parse_dims(dims), color=color, marker=marker, line=line, x=x, y=y,
        group_by=what.parse_names(group_by), where=where, log=log, title=title, width=width, height=height,
    )  # fmt: skip
    if out is not None:
        figures.check_format(out)
    result = recognise(figures.arguments(results))
    figure = result.figure(kind)
    target = None if preview and out is None else out or result.default_out(figure)
    asked.check(figure, target)
    output = Output(format, quiet, False, COLUMNS)
    output.tell_mixtures(result.records)
    if preview:
        width, colored = picture_terms()
        output.note(figures.previewed(result, figure, asked, width=width, colored=colored))
    record: dict[str, Any] = {"kind": "figure", "path": None, "figure": figure, "source": result.name}
    if target is not None:
        fresh = figures.write(result, figure, asked, target, force=force)
        if not fresh:
            output.note(f"{target} shows this already")
        record |= {"path": str(target), "skipped": not fresh}
    output.emit(record)
    output.finish()
