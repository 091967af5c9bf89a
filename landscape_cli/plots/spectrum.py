"""How many dimensions an embedding has: its eigenvalues with their signs, and what the first of them explain."""

from typing import Any

import numpy as np

from landscape_cli.errors import UsageError
from landscape_cli.plots.embedded import TSNE, Embedded
from landscape_cli.plots.style import COLORS, figure, headline

# Measures of what the first m dimensions explain: colour, marker and line tell them apart.
_CURVES = ((COLORS[0], "o", "-"), (COLORS[1], "s", "--"), (COLORS[2], "^", ":"))
MANY = 40  # dimensions above which points would touch
FALL = 10.0  # largest over smallest |eigenvalue| from which a logarithmic axis is the one that shows them


def spectrum_figure(
    embedded: Embedded, *, title: str | None = None, width: float | None = None, height: float | None = None
) -> Any:
    """The eigenvalues of an embedding by magnitude, real and imaginary dimensions told apart.

    Args:
        embedded: What to draw.
        title: By default the method and the number of models.
        width: Inches.
        height: Inches.

    Returns:
        A matplotlib figure.

    Raises:
        LandscapeError: If matplotlib is missing.
        UsageError: If there is no eigenvalue but zero.
    """
    values = embedded.eigenvalues
    if embedded.method == TSNE:
        raise UsageError("a t-SNE map has no eigenvalues", "landscape inpca makes an embedding that has")
    if not (values != 0).any():
        raise UsageError("the embedding has no eigenvalue but zero", "are all its models the same?")
    numbers = np.arange(1, len(values) + 1)
    with figure(width or 3.6, height or 2.8) as (drawn, axes):
        signs = (
            ("+, real", values > 0, COLORS[0], "o"),
            ("−, imaginary", values < 0, COLORS[1], "v"),
        )
        for label, chosen, color, mark in signs:
            if chosen.any():
                axes.plot(
                    numbers[chosen], np.abs(values[chosen]), linestyle="none", marker=mark, color=color,
                    markersize=5 if len(values) <= MANY else 3, markeredgewidth=0, label=label, zorder=3,
                )  # fmt: skip
        magnitudes = np.abs(values[values != 0])
        if magnitudes.max() >= FALL * magnitudes.min():
            axes.set_yscale("log")
        else:
            axes.set_ylim(0, 1.08 * magnitudes.max())
        _count(axes, len(values))
        axes.set(xlabel="dimension k", ylabel="|Σₖ|")
        axes.legend(title="sign", loc="upper right")
        zeros = int((values == 0).sum())
        told = f"{zeros} eigenvalue{' is' if zeros == 1 else 's are'} 0 and not drawn" if zeros else None
        headline(axes, title or embedded.heading, told)
    return drawn


def stress_figure(
    embedded: Embedded, *, title: str | None = None, width: float | None = None, height: float | None = None
) -> Any:
    """What the first m dimensions explain of the distances, against m.

    Args:
        embedded: What to draw.
        title: By default what is drawn.
        width: Inches.
        height: Inches.

    Returns:
        A matplotlib figure.

    Raises:
        LandscapeError: If matplotlib is missing.
        UsageError: If nothing is stored of what the dimensions explain.
    """
    if not embedded.explained:
        raise UsageError("nothing is stored of what these dimensions explain")
    numbers = np.arange(1, embedded.dims + 1)
    with figure(width or 3.6, height or 2.8) as (drawn, axes):
        for (label, values), (color, mark, line) in zip(embedded.explained.items(), _CURVES, strict=False):
            axes.plot(
                numbers, values, line, color=color, marker=mark if len(values) <= MANY else None,
                markersize=4, label=label, clip_on=False, zorder=3,
            )  # fmt: skip
        # A measure can be below zero: distances of imaginary dimensions are overshot before these are added.
        lowest = min(float(np.nanmin(values)) for values in embedded.explained.values())
        axes.set_ylim(min(0.0, lowest), 1)
        _count(axes, embedded.dims)
        axes.set(xlabel="first m dimensions", ylabel="explained")
        axes.legend(loc="best")
        headline(axes, title or "What m dimensions explain", embedded.heading)
    return drawn


def _count(axes: Any, dims: int) -> None:
    """An axis of dimensions: whole numbers."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlim(0.5, dims + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
