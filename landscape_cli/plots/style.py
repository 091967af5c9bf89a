"""One look for all figures: colours that colour-blind readers tell apart, sizes for a paper's column."""

import io
import textwrap
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from landscape_cli.errors import ConflictError, LandscapeError, StorageError, UsageError
from landscape_cli.store.atomic import replacing

# Okabe and Ito's palette, the order chosen so that neighbours differ in lightness too.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "^", "s", "D", "v", "P", "X", "p", "<", ">")
MISSING = "#b3b3b3"  # rows without a value in the column that colours
MUTED = "#666666"
NARROW = 4.4  # inches below which a legend stands under the axes
SUFFIXES = (".png", ".svg", ".pdf")

_PART: ContextVar[Any] = ContextVar("part", default=None)  # of a larger figure, that the next one is drawn into

_SETTINGS: Any = {
    "figure.dpi": 150,
    "savefig.dpi": 200,
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "lines.linewidth": 1.4,
    "svg.fonttype": "none",
    "svg.hashsalt": "landscape",  # else the names of its elements are random
}


def settings() -> Any:
    """What all figures are drawn and written with, as matplotlib takes it."""
    return _SETTINGS


def available() -> bool:
    """Whether figures can be drawn here."""
    try:
        import matplotlib  # noqa: F401 - only whether it is there
    except ImportError:
        return False
    return True


@contextmanager
def figure(width: float, height: float, **subplots: Any) -> Iterator[tuple[Any, Any]]:
    """A figure in the common style, drawn without a display; yields the figure and its axes.

    Args:
        width: Inches.
        height: Inches.
        subplots: Arguments of matplotlib's ``subplots``.

    Raises:
        LandscapeError: If matplotlib is missing.
    """
    if not available():
        raise LandscapeError("figures need matplotlib", "pip install 'landscape-cli[plot]'")
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with mpl.rc_context(_SETTINGS), _boxes_for_unknown_signs():
        part = _PART.get()
        if part is not None:
            yield part, part.subplots(**subplots)
            fit(part)
            return
        drawn = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(drawn)
        yield drawn, drawn.subplots(**subplots)
        fit(drawn)


def room(width: float) -> float:
    """Inches across that the next figure has: of the part of a larger one that it is drawn into, else its own."""
    part = _PART.get()
    return width if part is None else float(part.get_figwidth())


def collage(
    panels: Sequence[tuple[Callable[[], Any], int]],
    *,
    width: float,
    row_height: float,
    columns: int,
    title: str | None = None,
) -> Any:
    """Several figures as the parts of one, lettered from A on; each in the first row that has room for it.

    Where a row has room left, its last figure takes it.

    Args:
        panels: What draws each, and how many columns it takes; the size that it asks for is not heard.
        width: Inches of the whole.
        row_height: Inches of a row.
        columns: Columns of a row.
        title: Above all of them.

    Returns:
        A matplotlib figure.

    Raises:
        LandscapeError: If matplotlib is missing, or what a panel raises.
    """
    taken: list[int] = []  # columns of each row
    places = []
    for panel, span in panels:
        span = min(span, columns)
        row = next((row for row, used in enumerate(taken) if used + span <= columns), len(taken))
        if row == len(taken):
            taken.append(0)
        places.append((row, taken[row], span, panel))
        taken[row] += span
    places.sort(key=lambda place: place[:2])
    rows = len(taken)
    for number, (row, column, span, panel) in enumerate(places):
        if column + span == taken[row]:  # the last of its row
            places[number] = (row, column, columns - column, panel)
    with figure(width, rows * row_height + (0.3 if title else 0), squeeze=False) as (drawn, axes):
        axes[0, 0].remove()
        drawn.get_layout_engine().set(w_pad=0.09, h_pad=0.06)
        grid = drawn.add_gridspec(rows, columns)
        for number, (row, column, span, panel) in enumerate(places):
            part = drawn.add_subfigure(grid[row, column : column + span])
            # Figures fit their words to their width; a part of a figure does not say its own by itself.
            part.get_figwidth = lambda span=span: width * span / columns
            part.get_figheight = lambda: row_height
            token = _PART.set(part)
            try:
                panel()
            finally:
                _PART.reset(token)
            if part.get_suptitle():
                part._suptitle.set_x(0.5 / (width * span / columns))  # beside the letter
            letter = chr(ord("A") + number)
            part.text(0.0, 1.0, letter, fontsize=12, fontweight="bold", va="top", in_layout=False)
        if title is not None:
            drawn.suptitle(title, fontsize=11, fontweight="bold", x=0.01, ha="left")
    return drawn


@contextmanager
def _boxes_for_unknown_signs() -> Iterator[None]:
    """No warning of a sign that the font lacks: the picture shows a box for it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"Glyph \d+")
        yield


def fit(drawn: Any) -> None:
    """Break titles and names of axes that are longer than the room for them; :func:`figure` does it at its end."""
    whole = drawn.get_figure(root=True)
    whole.get_layout_engine().execute(whole)
    flat = [axes for axes in drawn.axes if axes.get_visible() and axes.name != "3d"]
    for axes in flat:
        box = axes.get_window_extent()
        beside = [other.get_window_extent() for other in flat if other is not axes]
        ends = [one.x0 for one in beside if one.x0 > box.x1 and one.y0 < box.y1 and one.y1 > box.y0]
        right = min([drawn.bbox.x1, *ends])
        for title in (axes.title, axes._left_title):
            _break(title, title.get_window_extent().width, right - box.x0)
        name = axes.xaxis.label.get_window_extent()
        inside = 2 * min((box.x0 + box.x1) / 2 - drawn.bbox.x0, right - (box.x0 + box.x1) / 2)
        _break(axes.xaxis.label, name.width, inside)
        _break(axes.yaxis.label, axes.yaxis.label.get_window_extent().height, 1.02 * box.height)


def _break(text: Any, length: float, room: float) -> None:
    """Break a text at spaces into lines that have room, if it has not; what is broken already stays so."""
    shown = text.get_text()
    if shown.strip() and "\n" not in shown and length > room > 0:
        text.set_text(textwrap.fill(shown, max(8, int(len(shown) * room / length)), break_long_words=False))


def suptitle(drawn: Any, title: str) -> None:
    """A title above all panels of a figure, broken to fit."""
    wrapped = textwrap.fill(title, max(20, int(11.5 * drawn.get_figwidth())))
    drawn.suptitle(wrapped, fontsize=9, fontweight="bold", x=0.02, ha="left")


def headline(axes: Any, title: str, caption: str | None = None) -> None:
    """A title and, smaller, what else a reader must know, broken to fit: the last thing that a figure gets."""
    drawn = axes.get_figure()
    fit(drawn)  # places the axes and legends too
    place = axes.get_position()
    left = place.x0
    edges = [(legend.get_window_extent().x0 - drawn.bbox.x0) / drawn.bbox.width for legend in drawn.legends]
    right = min([1.0, *(edge for edge in edges if edge >= place.x1 - 0.02)])
    width = (right - left) * drawn.get_figwidth()
    title = textwrap.fill(title, max(16, int(width * 11.5)))
    told = "\n".join(textwrap.wrap(caption or "", max(20, int(width * 15))))
    small = {"fontsize": 7.5, "color": MUTED}
    if axes.name == "3d":  # its box leaves the corners free, and its titles are not placed like others
        axes.text2D(0, 1, title, transform=axes.transAxes, va="top", fontweight="bold")
        below = (0, -3 - 11 * (1 + title.count("\n")))
        axes.annotate(told, (0, 1), below, "axes fraction", "offset points", va="top", **small)
        return
    axes.set_title(title, pad=6 + (10 * (1 + told.count("\n")) if told else 0))
    # It is not to make the axes narrower where the estimate of its width was too low.
    axes.text(0, 1.015, told, transform=axes.transAxes, va="bottom", in_layout=False, **small)


def check_suffix(path: Path) -> None:
    """Refuse a name whose format is unknown.

    Raises:
        UsageError: If it is.
    """
    if path.suffix not in SUFFIXES:
        raise UsageError(f"{path}: figures are written as {', '.join(SUFFIXES)}")


def rendered(drawn: Any, suffix: str) -> bytes:
    """A figure as the bytes of a file, without a date: the same figure is the same file."""
    import matplotlib as mpl

    dateless = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(suffix, {})
    content = io.BytesIO()
    with mpl.rc_context(_SETTINGS), _boxes_for_unknown_signs():
        drawn.savefig(content, format=suffix[1:], metadata=dateless)
    return content.getvalue()


def save(drawn: Any, path: Path, *, force: bool = True) -> bool:
    """Write a figure, atomically, in the format of its suffix; returns whether it was not there already.

    Args:
        drawn: The figure.
        path: Where to.
        force: Whether another file of that name may be replaced.

    Raises:
        UsageError: If the suffix is unknown.
        ConflictError: If another file is there and may not be replaced.
        StorageError: If it cannot be written.
    """
    check_suffix(path)
    return write_picture(rendered(drawn, path.suffix), path, force=force)


def write_picture(content: bytes, path: Path, *, force: bool = True) -> bool:
    """Write the bytes of a picture, atomically; returns whether they were not there already.

    Raises:
        ConflictError: If another file is there and may not be replaced.
        StorageError: If it cannot be written.
    """
    if path.is_dir():
        raise StorageError(f"{path}: could not be written: it is a folder", "choose another name with --out")
    if path.exists():
        if path.read_bytes() == content:
            return False
        if not force:
            raise ConflictError(
                f"{path} exists and shows something else", "choose another name, or --force to overwrite it"
            )
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    return True
