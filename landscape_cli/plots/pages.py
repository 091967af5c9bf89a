"""What every page to turn is made of: its policy, its data as text, its script and style from the folder ``page``.

A content security policy lets nothing else run and nothing be fetched, whatever the names in the data may hold.
"""

import base64
import hashlib
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


def style_text() -> str:
    """The style of all pages."""
    return "\n" + (importlib.resources.files(__package__) / "page" / "page.css").read_text(encoding="utf-8")


def script_text(names: Sequence[str]) -> str:
    """Scripts of the folder ``page`` as one, in one scope."""
    folder = importlib.resources.files(__package__) / "page"
    parts = "\n".join((folder / name).read_text(encoding="utf-8") for name in names)
    return f'\n"use strict";\n(() => {{\n{parts}}})();\n'
