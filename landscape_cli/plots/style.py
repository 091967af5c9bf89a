"""One look for all figures: colours that colour-blind readers tell apart, sizes for a paper's column."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from landscape_cli.errors import LandscapeError, UsageError
from landscape_cli.store.atomic import replacing

# Okabe and Ito's palette, the order chosen so that neighbours differ in lightness too.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
SUFFIXES = (".png", ".svg", ".pdf")

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
}


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

    with mpl.rc_context(_SETTINGS):
        drawn = Figure(figsize=(width, height), layout="constrained")
        FigureCanvasAgg(drawn)
        yield drawn, drawn.subplots(**subplots)


def save(drawn: Any, path: Path) -> None:
    """Write a figure, atomically, in the format of its suffix, without a date: the same figure is the same file.

    Raises:
        UsageError: If the suffix is unknown.
        StorageError: If it cannot be written.
    """
    if path.suffix not in SUFFIXES:
        raise UsageError(f"{path}: figures are written as {', '.join(SUFFIXES)}")
    dateless = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(path.suffix, {})
    with replacing(path) as temporary:
        drawn.savefig(temporary, format=path.suffix[1:], metadata=dateless)
