"""A report as one page: pictures, the table of runs, numbers to take away, and the commands that made them.

Self-contained: pictures are inlined, numbers are links that hold their file, and a content security policy lets
nothing be fetched and no script run but the page's own.
"""

import base64
import html
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from landscape_cli.plots.pages import digest, script_text, style_text

SCRIPT = "report.js"
STYLE = "report.css"
BROAD = 620  # points of a picture that takes both columns
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; script-src {scripts}; \
style-src {styles}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="landscape report">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header><h1>{title}</h1><p>{caption}</p>
<nav aria-label="Sections">{sections}</nav></header>
<main>
{body}
</main>
<dialog id="large" aria-label="One panel, large"><button type="button" id="close">Close</button>
<p class="note">Wheel or <kbd>+</kbd> <kbd>−</kbd> to zoom, drag to move, <kbd>←</kbd> <kbd>→</kbd> to the next panel,
<kbd>Esc</kbd> closes.</p>
<div id="room"></div></dialog>
<script>{script}</script>
</body>
</html>
"""


@dataclass(frozen=True)
class Panel:
    """One picture of the page.

    Args:
        name: Unique on the page.
        title: What it shows.
        picture: The bytes of an SVG file; None if there is no picture, but a reason.
        problem: Why there is none, or what is missing in it.
        command: What made the numbers.
        draw: What draws the picture of them.
        numbers: Name and text of a CSV file.
        page: A page to turn, put below the picture.
    """

    name: str
    title: str
    picture: bytes | None = None
    problem: str | None = None
    command: str = ""
    draw: str = ""
    numbers: tuple[str, str] | None = None
    page: str | None = None


@dataclass(frozen=True)
class Section:
    """Panels that belong together.

    Args:
        name: Of its anchor.
        title: Its heading.
        text: A sentence below it.
        panels: Its panels.
        whole: All of them as one figure: links of name and bytes.
    """

    name: str
    title: str
    text: str
    panels: Sequence[Panel]
    whole: Sequence[tuple[str, bytes]] = field(default_factory=list)


def report_page(
    *,
    title: str,
    caption: str,
    sections: Sequence[Section],
    runs: Sequence[dict[str, Any]],
    columns: Sequence[tuple[str, str]],
    runs_csv: str,
    settings: Sequence[tuple[str, str]],
    missing: Sequence[tuple[str, str]],
    commands: Sequence[str] = (),
) -> str:
    """The page.

    Args:
        title: As plain text.
        caption: As plain text, under the title.
        sections: Pictures, in order.
        runs: Records of the runs.
        columns: Keys of the records to show, with their headings; what is the same for all is said once.
        runs_csv: The whole table of runs as CSV.
        settings: What the report was asked for: names and values; empty ones are left out.
        missing: What cannot be shown: a title, and what it would take, or why.
        commands: What made the results, in order; those of the panels come after them where they are others.
    """
    turned = [panel.page for section in sections for panel in section.panels if panel.page]
    style, script = style_text() + style_text(STYLE), script_text([SCRIPT])
    scripts, styles = {digest(script)}, {digest(style)}
    for page in turned:  # a page within the page obeys both policies
        scripts.add(digest(_between(page, "<script>", "</script>")))
        styles.add(digest(_between(page, "<style>", "</style>")))
    parts = [_section(section) for section in sections]
    parts.append(_runs(runs, columns, runs_csv))
    parts.append(_made(sections, settings, missing, commands))
    names = [*((s.name, s.title) for s in sections), ("runs", "Runs"), ("made", "How it was made")]
    links = " ".join(f'<a href="#{name}">{html.escape(text)}</a>' for name, text in names)
    return _PAGE.format(
        title=html.escape(title), caption=html.escape(caption), sections=links, body="\n".join(parts), style=style,
        script=script, scripts=" ".join(f"'{text}'" for text in sorted(scripts)),
        styles=" ".join(f"'{text}'" for text in sorted(styles)),
    )  # fmt: skip


def _between(page: str, begin: str, end: str) -> str:
    start = page.rindex(begin) + len(begin)
    return page[start : page.index(end, start)]


def _section(section: Section) -> str:
    panels = "\n".join(map(_panel, section.panels))
    whole = ", ".join(_link(name, content, _kind(name)) for name, content in section.whole)
    together = f'<p class="note">All panels as one figure: {whole}.</p>' if whole else ""
    return (
        f'<section id="{section.name}"><h2>{html.escape(section.title)}</h2><p>{html.escape(section.text)}</p>'
        f'<div class="panels">{panels}</div>{together}</section>'
    )


def _panel(panel: Panel) -> str:
    told = html.escape(panel.title)
    kind = "panel broad" if panel.picture is not None and _points(panel.picture) > BROAD else "panel"
    parts = [f'<figure id="{panel.name}" class="{kind}"><h3>{told}</h3>']
    if panel.picture is not None:
        source = base64.b64encode(panel.picture).decode()
        parts.append(
            f'<button type="button" class="open" aria-label="{told}, large"><img alt="{told}" '
            f'src="data:image/svg+xml;base64,{source}"></button>'
        )
    if panel.problem is not None:
        parts.append(f'<p class="problem">{html.escape(panel.problem)}</p>')
    if panel.page is not None:
        parts.append(f'<details><summary>Turn it</summary><iframe title="{told}" srcdoc="{html.escape(panel.page)}">')
        parts.append("</iframe></details>")
    numbers = "" if panel.numbers is None else _link(panel.numbers[0], panel.numbers[1].encode(), "text/csv")
    commands = "\n".join(html.escape(line) for line in (panel.command, panel.draw) if line)
    if commands:
        parts.append(f"<details><summary>Commands</summary><pre>{commands}</pre></details>")
    parts.append(f"<figcaption>{numbers}</figcaption></figure>")
    return "".join(parts)


def _points(picture: bytes) -> float:
    """How wide an SVG is by itself; 0 if it does not say."""
    found = re.search(rb'<svg[^>]*?\swidth="([0-9.]+)pt"', picture[:4000])
    return float(found[1]) if found else 0.0


def _runs(runs: Sequence[dict[str, Any]], columns: Sequence[tuple[str, str]], text: str) -> str:
    there = [(key, head) for key, head in columns if any(run.get(key) is not None for run in runs)]
    same = [(key, head) for key, head in there[1:] if len(runs) > 1 and len({str(run.get(key)) for run in runs}) == 1]
    alike = ", ".join(f"{html.escape(head)} {_shown(runs[0][key])}" for key, head in same)
    there = [column for column in there if column not in same]
    heads = "".join(
        f'<th scope="col"><button type="button" class="sort">{html.escape(head)}</button></th>' for _, head in there
    )
    rows = "".join(f"<tr>{''.join(_cell(run.get(key)) for key, _ in there)}</tr>" for run in runs)
    link = _link("runs.csv", text.encode(), "text/csv")
    count = "1 run" if len(runs) == 1 else f"{len(runs)} runs"
    same_for_all = f'<p class="alike">The same for all: {alike}.</p>' if alike else ""
    return (
        f'<section id="runs"><h2>Runs</h2><p>{count}; all their entries: {link}</p>{same_for_all}'
        f'<div class="wide"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table></div></section>'
    )


def _cell(value: Any) -> str:
    if value is None:
        return "<td></td>"
    if isinstance(value, bool | str):
        return f"<td>{_shown(value)}</td>"
    return f'<td class="number" data-value="{html.escape(str(value))}">{_shown(value)}</td>'


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else html.escape(str(value))


def _made(
    sections: Sequence[Section], settings: Sequence[tuple[str, str]], missing: Sequence[tuple[str, str]],
    commands: Sequence[str],
) -> str:  # fmt: skip
    drawn = [line for section in sections for panel in section.panels for line in (panel.command, panel.draw) if line]
    lines = html.escape("\n".join(dict.fromkeys([*commands, *drawn])))
    chosen = "".join(f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>" for name, value in settings if value)
    lacking = "".join(f"<li>{html.escape(what)}: {html.escape(need)}</li>" for what, need in missing)
    absent = f"<h3>What is not here</h3><ul>{lacking}</ul>" if lacking else ""
    return (
        f'<section id="made"><h2>How it was made</h2><dl>{chosen}</dl><h3>Commands</h3><pre>{lines}</pre>{absent}'
        "</section>"
    )


def _kind(name: str) -> str:
    return {".svg": "image/svg+xml", ".png": "image/png", ".pdf": "application/pdf"}[Path(name).suffix]


def _link(name: str, content: bytes, kind: str) -> str:
    data = base64.b64encode(content).decode()
    return f'<a download="{html.escape(name)}" href="data:{kind};base64,{data}">{html.escape(name)}</a>'
