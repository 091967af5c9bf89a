"""From the words of ``landscape plot`` to a figure in a file, or in the terminal."""

import sys
from collections.abc import Sequence
from pathlib import Path

from landscape_cli.cli.asked import PAGE, PLANES, PREVIEWS, VIEWS, Asked
from landscape_cli.cli.drawing import draw, embedded_of, plane_of, plane_options
from landscape_cli.errors import UsageError
from landscape_cli.jobs.run_tables import runs_in
from landscape_cli.plots.recognise import Figure, Result
from landscape_cli.plots.style import SUFFIXES, save, write_picture
from landscape_cli.store.runs import is_run


def arguments(results: Sequence[str] | None) -> Sequence[str]:
    """What is to be drawn: of a folder of runs each of them; without arguments, stdin if that is no terminal.

    Raises:
        UsageError: If there is neither.
    """
    if results:
        return [name for text in results for name in _runs_of(text)]
    if sys.stdin is None or sys.stdin.isatty():
        raise UsageError("no result is given", "name a file, or pipe the records of another command in")
    return ["-"]


def _runs_of(text: str) -> list[str]:
    """The runs of a folder of them; anything else is itself."""
    path = Path(text)
    if text == "-" or is_run(path) or not path.is_dir():
        return [text]
    return [str(run.path) for run in runs_in(path)] or [text]


def check_format(out: Path) -> None:
    """Refuse a name whose format is unknown, before anything is read.

    Raises:
        UsageError: If it is.
    """
    if out.suffix not in (*SUFFIXES, PAGE):
        known = ", ".join(SUFFIXES)
        raise UsageError(f"{out}: figures are written as {known} or, for a browser, {PAGE}", "change the suffix")


def write(result: Result, figure: Figure, asked: Asked, target: Path, *, force: bool) -> bool:
    """Draw a figure of a result into a file; returns whether it was not there already.

    As a page, embeddings and planes are turned, other figures zoomed into, with their numbers beneath.

    Raises:
        LandscapeError: If matplotlib is missing and it is no page to turn.
        UsageError: If a column or dimension is not there, or there is nothing to draw.
        DataError: If the result is damaged.
        ConflictError: If another file is there and may not be replaced.
        StorageError: If it cannot be written.
    """
    if target.suffix != PAGE:
        return save(draw(result, figure, asked), target, force=force)
    if figure in PLANES:
        from landscape_cli.plots.surface import surface_page

        page = surface_page(plane_of(result), title=asked.title, **plane_options(asked))
    elif figure in VIEWS:
        from landscape_cli.plots.interactive import interactive_page

        page = interactive_page(
            embedded_of(result, figure, asked), title=asked.title, **asked.given("dims", "color", "marker", "line")
        )
    else:
        from landscape_cli.plots.still_page import still_page

        page = still_page(draw(result, figure, asked), title=asked.title)
    return write_picture(page.encode("utf-8"), target, force=force)


def previewed(result: Result, figure: Figure, asked: Asked, *, width: int, colored: bool) -> str:
    """A figure as text for a terminal.

    Raises:
        UsageError: If it is of no lines or points, or see :func:`write`.
    """
    if figure not in PREVIEWS:
        raise UsageError(f"a figure '{figure}' is nothing for a terminal", "leave --preview out, and look at the file")
    from landscape_cli.plots.drawn_data import panels
    from landscape_cli.plots.preview import preview

    shown = panels(draw(result, figure, asked))
    if not shown:
        raise UsageError("three dimensions are nothing for a terminal", "--dims 1,2")
    return preview(shown, width=width, colored=colored)
