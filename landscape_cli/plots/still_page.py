"""A figure as one page: its drawing to zoom into and to read values off, and its numbers beneath.

The drawing is matplotlib's SVG. A content security policy lets nothing be fetched and no script run but the page's own;
styles may stand at the elements of the drawing.
"""

import csv
import html
import io
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

import numpy as np

from landscape_cli.plots.drawn_data import Panel, as_csv, panels
from landscape_cli.plots.pages import digest, json_text, script_text, style_text
from landscape_cli.plots.style import settings

SCRIPT = "still.js"
MOST_ROWS = 400  # of the table; the CSV has all
MOST_POINTS = 20_000  # that can be read off the drawing
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src '{script_hash}'; \
style-src 'unsafe-inline'; img-src data:">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="landscape plot">
<title>{title}</title>
<style>{style}</style>
</head>
<body class="still">
<header><h1>{title}</h1><p>Wheel, pinch or <kbd>+</kbd> <kbd>−</kbd> to zoom; drag or arrows to move; <kbd>R</kbd> \
resets; <kbd>N</kbd> and <kbd>P</kbd> go from point to point and read them out.</p></header>
<main>
<div id="stage" tabindex="0" role="application" aria-roledescription="figure to zoom" aria-label="{title}">
{drawing}
<div id="tip" role="tooltip" hidden></div>
<div id="said" class="unseen" role="status" aria-live="polite"></div>
</div>
<p><button type="button" id="reset">Reset the view</button> {save}</p>
{table}
</main>
<script type="application/json" id="data">{data}</script>
<script>{script}</script>
</body>
</html>
"""


def still_page(drawn: Any, *, title: str | None = None) -> str:
    """One HTML page of a figure.

    Args:
        drawn: A matplotlib figure.
        title: By default the figure's own first title.

    Cost: the length of the figure's SVG, and about 60 bytes a number.
    """
    svg = _svg(drawn)
    shown = panels(drawn)
    name = title or _title(drawn, shown)
    style, script = style_text(), script_text([SCRIPT])
    return _PAGE.format(
        title=html.escape(name), style=style, script=script, script_hash=digest(script), drawing=svg,
        data=json_text(_points(drawn, shown)), table=_table(shown), save=_save(shown),
    )  # fmt: skip


def _svg(drawn: Any) -> str:
    """The figure as an SVG element at 72 units an inch, as its own transforms then are."""
    import matplotlib as mpl

    content = io.StringIO()
    drawn.set_dpi(72)
    with mpl.rc_context(settings()):
        drawn.savefig(content, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = content.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, count=1, flags=re.DOTALL)
    text = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", text)
    text = re.sub(r'^<svg([^>]*?)\swidth="[^"]*"', r"<svg\1", text, count=1)
    text = re.sub(r'^<svg([^>]*?)\sheight="[^"]*"', r"<svg\1", text, count=1)
    return text.replace("<svg", '<svg id="drawing" aria-hidden="true"', 1).strip()


def _title(drawn: Any, shown: Sequence[Panel]) -> str:
    whole = drawn.get_suptitle() if hasattr(drawn, "get_suptitle") else ""
    found = whole or "; ".join(dict.fromkeys(panel.title for panel in shown if panel.title)) or "Figure"
    return " ".join(found.split())


def _points(drawn: Any, shown: Sequence[Panel]) -> dict[str, Any]:
    """Where each point lies in the drawing, and what is said of it."""
    height = drawn.get_figheight() * 72
    places: list[list[float]] = []
    said: list[list[str]] = []
    for panel in shown:
        for one in panel.series:
            at = panel.axes.transData.transform(np.column_stack([one.x, one.y]))
            # A matrix is read off by its cells, which lie at their row.
            if one.color == "#000000" and panel.axes.images and not one.joined:
                row = next(k for k, other in enumerate(panel.series) if other is one)
                at = panel.axes.transData.transform(np.column_stack([one.x, np.full(len(one.x), row)]))
            for number, (x, y) in enumerate(at):
                if not (np.isfinite(x) and np.isfinite(y)) or len(places) >= MOST_POINTS:
                    continue
                places.append([round(float(x), 1), round(height - float(y), 1)])
                said.append(_said(panel, one, number))
    return {"places": places, "said": said}


def _said(panel: Panel, one: Any, number: int) -> list[str]:
    across = panel.xticks.get(float(one.x[number]), f"{one.x[number]:.5g}")
    told = f"{one.y[number]:.5g}"
    if one.spread is not None and np.isfinite(one.spread[:, number]).all() and one.spread[:, number].any():
        below, above = one.spread[:, number]
        same = np.isclose(below, above)
        told += f" ± {above:.3g}" if same else f" (−{below:.3g}, +{above:.3g})"
    return [one.label, f"{' '.join(panel.xlabel.split())}: {across}", f"{' '.join(panel.ylabel.split())}: {told}"]


def _save(shown: Sequence[Panel]) -> str:
    if not shown:
        return ""
    link = f"data:text/csv;charset=utf-8,{quote(as_csv(shown))}"
    return f'<a download="numbers.csv" href="{link}">Save the numbers (CSV)</a>'


def _table(shown: Sequence[Panel]) -> str:
    """The numbers, behind a heading that opens them."""
    if not shown:
        return ""
    lines = list(csv.reader(io.StringIO(as_csv(shown))))
    head, rows = lines[0], lines[1:]
    cells = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(value)}</td>" for value in row) + "</tr>" for row in rows[:MOST_ROWS]
    )
    more = f"<p>The first {MOST_ROWS} of {len(rows):,}; the CSV has all.</p>" if len(rows) > MOST_ROWS else ""
    return (
        f"<details><summary>The {len(rows):,} numbers</summary>{more}<table><thead><tr>{cells}</tr></thead>"
        f"<tbody>{body}</tbody></table></details>"
    )
