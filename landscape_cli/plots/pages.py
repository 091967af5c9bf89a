"""What every page to turn is made of: its frame and policy, its data as text, script and style of the folder ``page``.

A content security policy lets nothing else run and nothing be fetched, whatever the names in the data may hold.
"""

import base64
import hashlib
import html
import importlib.resources
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Ten steps of matplotlib's viridis, so that a page can be made without matplotlib.
VIRIDIS = (
    "#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725",
)  # fmt: skip

HANDS = "hands.js"  # pointer, wheel and keys, the same on all pages
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; script-src '{script_hash}'; \
style-src '{style_hash}'">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="landscape plot">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<header><h1>{title}</h1><p>{caption}</p></header>
<main>
<div id="stage">
<canvas id="view" tabindex="0" role="application" aria-roledescription="{role}" aria-describedby="keys"
 aria-label="{title}">This page draws with a canvas, which your browser does not have.</canvas>
<div id="tip" role="tooltip" hidden></div>
<div id="said" class="unseen" role="status" aria-live="polite"></div>
</div>
<aside aria-label="What is shown">
{panel}<button type="button" id="reset">Reset the view</button>
<p class="note" id="keys">Drag to turn, with shift to move; wheel or <kbd>+</kbd> <kbd>−</kbd> to zoom; arrows
turn, with shift they move; <kbd>R</kbd> resets; <kbd>N</kbd> and <kbd>P</kbd> go from {thing} to {thing} and read it
out.</p>
</aside>
</main>
<script type="application/json" id="data">{data}</script>
<script>{script}</script>
</body>
</html>
"""


def whole_page(
    *, title: str, caption: str, role: str, thing: str, panel: str, scripts: Sequence[str], data: dict[str, Any]
) -> str:
    """A page, self-contained.

    Args:
        title: As plain text.
        caption: As plain text, under the title.
        role: What its canvas shows, for readers that cannot see it.
        thing: What keys go from one to the next of.
        panel: The fieldsets beside the canvas, as HTML.
        scripts: Files of the folder ``page``, in order; :data:`HANDS` comes after them.
        data: What the scripts read, as JSON can hold it.
    """
    style, script = style_text(), script_text([*scripts, HANDS])
    return _PAGE.format(
        title=html.escape(title), caption=html.escape(caption), role=role, thing=thing, panel=panel, style=style,
        style_hash=digest(style), script=script, script_hash=digest(script), data=json_text(data),
    )  # fmt: skip


def as_base64(values: NDArray[Any], kind: str) -> str:
    """Numbers as base64, little endian."""
    return base64.b64encode(np.ascontiguousarray(values, dtype=f"<{kind}").tobytes()).decode()


def json_text(document: Any) -> str:
    """JSON that may stand inside a script element: no text in it can end that element or begin a comment."""
    text = json.dumps(document, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def digest(text: str) -> str:
    """The hash by which a policy knows a script or style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def style_text(name: str = "page.css") -> str:
    """A style of the folder ``page``; by default that of all pages."""
    return "\n" + (importlib.resources.files(__package__) / "page" / name).read_text(encoding="utf-8")


def script_text(names: Sequence[str]) -> str:
    """Scripts of the folder ``page`` as one, in one scope."""
    folder = importlib.resources.files(__package__) / "page"
    parts = "\n".join((folder / name).read_text(encoding="utf-8") for name in names)
    return f'\n"use strict";\n(() => {{\n{parts}}})();\n'
